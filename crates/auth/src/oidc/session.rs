//! What a session knows, and how it is made and refreshed.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::provider::{Client, Failure, Provider, Tokens};
use super::verify;
use crate::identity::{Forward, Identity, claim, names};
use crate::jwt::Demands;

/// Least time between two refreshes, seconds.
const MIN_REFRESH_S: u64 = 30;
/// Claims about the token rather than the person, which a session need not keep.
const OF_THE_TOKEN: &[&str] = &[
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "aud",
    "azp",
    "iat",
    "exp",
    "nbf",
    "jti",
    "auth_time",
    "sub",
    "iss",
];

/// A session, as it is in the cookie.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    subject: String,
    issuer: Option<String>,
    roles: Vec<String>,
    scopes: Vec<String>,
    claims: Map<String, Value>,
    /// Gets new tokens.
    pub(super) refresh: Option<String>,
    /// When it is time for that, seconds since 1970.
    pub(super) refresh_at: u64,
    /// Its end.
    pub(super) until: u64,
}

/// A session, opened.
pub(super) struct View {
    pub(super) identity: Arc<Identity>,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

impl Session {
    pub(super) fn view(self, forward: &Forward) -> View {
        let Self { subject, issuer, roles, scopes, mut claims, .. } = self;
        claims.insert("sub".into(), subject.as_str().into());
        claims.extend(issuer.as_deref().map(|issuer| ("iss".to_owned(), issuer.into())));
        let identity = Identity { subject, issuer, roles, scopes, claims };
        View { fields: forward.fields(&identity), identity: Arc::new(identity) }
    }
}

/// The session of an ID token that was found good.
#[expect(clippy::too_many_arguments, reason = "each is one thing the session comes from")]
pub(super) async fn make(
    client: &Client,
    provider: &Provider,
    mut identity: Identity,
    tokens: Tokens,
    demands: &Demands,
    userinfo: bool,
    until: u64,
    now: u64,
) -> Result<Session, Failure> {
    if userinfo {
        let access = tokens.access_token.as_deref().ok_or(Failure::Refused)?;
        let more = client.userinfo(provider, access, &identity.subject).await?;
        identity.claims.extend(more);
        let roles = demands.roles.iter().filter_map(|name| claim(&identity.claims, name)).flat_map(names);
        identity.roles = roles.collect();
    }
    if let Some(scope) = tokens.scope {
        identity.scopes = names(&Value::String(scope));
    }
    identity.claims.retain(|name, _| !OF_THE_TOKEN.contains(&name.as_str()));
    let refresh_at = now.saturating_add(tokens.expires_in.unwrap_or(300).max(MIN_REFRESH_S));
    let Identity { subject, issuer, roles, scopes, claims } = identity;
    Ok(Session { subject, issuer, roles, scopes, claims, refresh: tokens.refresh_token, refresh_at, until })
}

/// The same session with new tokens (OpenID Connect Core 1.0, section 12). The error is true when the provider said no.
pub(super) async fn refresh(
    client: &Client,
    old: &Session,
    demands: &Demands,
    userinfo: bool,
    now: u64,
) -> Result<Session, bool> {
    let provider = client.provider().await.ok_or(false)?;
    let refresh = old.refresh.as_deref().ok_or(true)?;
    let refused = |failure| match failure {
        Failure::Refused => true,
        Failure::Unavailable(reason) => {
            tracing::warn!(issuer = client.issuer, reason, "a session cannot be refreshed");
            false
        }
    };
    let parameters = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let mut tokens = client.tokens(&provider, &parameters).await.map_err(refused)?;
    tokens.refresh_token = tokens.refresh_token.or_else(|| old.refresh.clone());
    let Some(id) = tokens.id_token.clone() else {
        let refresh_at = now.saturating_add(tokens.expires_in.unwrap_or(300).max(MIN_REFRESH_S));
        return Ok(Session { refresh: tokens.refresh_token, refresh_at, ..old.clone() });
    };
    let identity = verify(client, &provider, &id, demands, now).await.map_err(refused)?;
    if identity.subject != old.subject {
        return Err(true);
    }
    make(client, &provider, identity, tokens, demands, userinfo, old.until, now).await.map_err(refused)
}
