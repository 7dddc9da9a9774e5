//! Settings of logins.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::ForwardConfig;
use crate::jwt::{Algorithm, OneOrMore};
use crate::secret::Secret;

/// Has people log in at an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OidcConfig {
    /// Address of the provider, exactly as it names itself.
    pub issuer: String,
    /// Name of this site at the provider.
    pub client_id: String,
    /// Its secret there; none for public clients.
    pub client_secret: Option<Secret>,
    /// Sends the secret in the body rather than in `Authorization`.
    pub client_secret_post: bool,
    /// Asked for; `openid` always is. `offline_access` has most providers give a refresh token.
    pub scopes: Vec<String>,
    /// Keys of session cookies, at least 32 characters each: the first makes cookies, the others still open them.
    pub session_keys: Vec<Secret>,
    /// Name of the session cookie; with TLS it gets the prefix `__Host-`.
    pub cookie: String,
    /// Longest session, seconds.
    pub session_s: u64,
    /// Where clients reach this site, such as `https://app.example`; without it, scheme and host of the request.
    pub origin: Option<String>,
    /// Path to which the provider returns; `ORIGIN/PATH` must be registered there.
    pub callback: String,
    /// Path that begins a login; `?return_to=/path` says where it ends.
    pub login: String,
    /// Path that ends the session.
    pub logout: String,
    /// Path to which clients come after logging out; `ORIGIN/PATH` must be registered at the provider.
    pub after_logout: String,
    /// Claims with roles, by name or path.
    pub roles_claim: OneOrMore,
    /// Also asks the provider's userinfo for claims.
    pub userinfo: bool,
    /// Algorithms of ID tokens that are taken; without any RS256, PS256, ES256, ES384 and EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// How much the provider's clock may differ, seconds.
    pub leeway_s: u64,
    /// Header fields that tell of claims: `{ x-user = "sub", x-mail = "email" }`.
    pub forward: ForwardConfig,
    /// Requests without a session go on, as nobody's.
    pub optional: bool,
    /// Talks to a provider that is not on this machine without TLS.
    pub insecure_http: bool,
    /// PEM file of the authorities that the provider is verified by, in place of the public ones.
    pub ca: Option<PathBuf>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            client_secret_post: false,
            scopes: vec!["openid".into(), "profile".into(), "email".into()],
            session_keys: Vec::new(),
            cookie: "session".into(),
            session_s: 8 * 3600,
            origin: None,
            callback: "/.auth/callback".into(),
            login: "/.auth/login".into(),
            logout: "/.auth/logout".into(),
            after_logout: "/".into(),
            roles_claim: OneOrMore::More(vec!["roles".into(), "groups".into()]),
            userinfo: false,
            algorithms: Vec::new(),
            leeway_s: 30,
            forward: ForwardConfig::default(),
            optional: false,
            insecure_http: false,
            ca: None,
        }
    }
}
