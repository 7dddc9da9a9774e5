//! Middleware: what a request passes on its way to what answers, in the order that `use` names.

mod api_key;
mod basic;
mod body;
mod buffered;
mod challenge;
mod cors;
mod csrf;
mod forward;
mod headers;
mod ip;
mod jwt;
mod oidc;
mod rate_limit;
mod rewrite;
mod roles;
mod security;
mod validate;
mod version;
mod waf;
mod worker;

use std::path::Path;

use http::{Request, Response, Uri, header};
use schemars::JsonSchema;
use selvedge_auth::Denial;
use selvedge_auth::api_key::ApiKeyConfig;
use selvedge_auth::basic::BasicConfig;
use selvedge_auth::csrf::CsrfConfig;
use selvedge_auth::forward::ForwardAuthConfig;
use selvedge_auth::jwt::JwtConfig;
use selvedge_auth::oidc::OidcConfig;
use selvedge_auth::roles::RolesConfig;
use selvedge_auth::secret::Secret;
use serde::{Deserialize, Serialize};

pub use body::BodyConfig;
pub use headers::HeadersConfig;
pub use security::SecurityHeaders;
use selvedge_limit::cors::CorsConfig;
use selvedge_limit::networks::IpRules;
use selvedge_limit::rate::RateLimit;
use selvedge_limit::rewrite::RewriteConfig;
use selvedge_limit::validate::ValidateConfig;
use selvedge_limit::versions::VersionsConfig;
use selvedge_waf::WafConfig;
use selvedge_waf::challenge::ChallengeConfig;
pub use worker::WorkerStepConfig;

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// What a step wants done to the response, whoever answers.
pub(crate) type Later = Box<dyn FnOnce(&mut Response<Content>)>;

/// How it goes on after a step.
#[derive(Debug)]
pub(crate) enum Flow {
    /// With the next step.
    On,
    /// It does not: this is the answer.
    Answer(Box<Response<Content>>),
    /// It does not, and that is why.
    Refuse(Refusal),
}

impl Flow {
    /// Refuses a request that is not let pass, with what the client is asked for.
    fn deny(exchange: &mut Exchange, denial: Denial) -> Self {
        let refusal = Refusal::from(&denial);
        if let Some(challenge) = denial.challenge {
            exchange.later.push(Box::new(move |response| {
                response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
            }));
        }
        Self::Refuse(refusal)
    }
}

/// `[middleware.NAME]`: one table in it says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepConfig {
    /// Sets and removes header fields.
    Headers(HeadersConfig),
    /// Lets clients of some addresses in only, or keeps some out.
    Ip(IpRules),
    /// Limits how often somebody may ask.
    RateLimit(RateLimit),
    /// Lets pages of other origins ask.
    Cors(CorsConfig),
    /// Changes the path and the query for what answers.
    Rewrite(RewriteConfig),
    /// Refuses requests that do not look as they should.
    Validate(Box<ValidateConfig>),
    /// Changes bodies.
    Body(Box<BodyConfig>),
    /// Versions of an API, and their end.
    Version(VersionsConfig),
    /// A worker looks at requests.
    Worker(WorkerStepConfig),
    /// Asks for a JSON Web Token.
    Jwt(Box<JwtConfig>),
    /// Asks for an API key.
    ApiKey(ApiKeyConfig),
    /// Asks for a name and a password.
    Basic(BasicConfig),
    /// Asks another server whether requests may pass.
    ForwardAuth(ForwardAuthConfig),
    /// Has people log in at an OpenID provider.
    Oidc(Box<OidcConfig>),
    /// Lets pass who has roles or scopes.
    Roles(RolesConfig),
    /// Refuses requests from pages of other sites.
    Csrf(CsrfConfig),
    /// Refuses what looks like an attack.
    Waf(WafConfig),
    /// Has browsers solve a riddle first.
    Challenge(ChallengeConfig),
}

/// One step, ready to run. Shared by all threads.
#[derive(Debug)]
pub(crate) enum Step {
    Headers(headers::Headers),
    Ip(ip::Ip),
    RateLimit(Box<rate_limit::RateLimitStep>),
    Cors(cors::CorsStep),
    Rewrite(Box<rewrite::RewriteStep>),
    Validate(validate::ValidateStep),
    Body(Box<body::BodyStep>),
    Version(Box<version::VersionStep>),
    /// Not configured as middleware: sites have it.
    Security(SecurityHeaders),
    Worker(worker::WorkerStep),
    Jwt(Box<jwt::JwtStep>),
    ApiKey(Box<api_key::ApiKeyStep>),
    Basic(Box<basic::BasicStep>),
    ForwardAuth(Box<forward::ForwardAuthStep>),
    Oidc(Box<oidc::OidcStep>),
    Roles(roles::RolesStep),
    Csrf(Box<csrf::CsrfStep>),
    Waf(Box<waf::WafStep>),
    Challenge(Box<challenge::ChallengeStep>),
}

impl Step {
    /// Of `[middleware.NAME]`. The error is a sentence.
    pub(crate) fn new(name: &str, config: &StepConfig, base: &Path) -> Result<Self, String> {
        Ok(match config {
            StepConfig::Headers(config) => Self::Headers(headers::Headers::new(config)?),
            StepConfig::Ip(config) => Self::Ip(ip::Ip::new(config)?),
            StepConfig::RateLimit(config) => {
                Self::RateLimit(Box::new(rate_limit::RateLimitStep::new(name, config)?))
            }
            StepConfig::Cors(config) => Self::Cors(cors::CorsStep::new(config)?),
            StepConfig::Rewrite(config) => Self::Rewrite(Box::new(rewrite::RewriteStep::new(config)?)),
            StepConfig::Validate(config) => Self::Validate(validate::ValidateStep::new(config)?),
            StepConfig::Body(config) => Self::Body(Box::new(body::BodyStep::new(config)?)),
            StepConfig::Version(config) => Self::Version(Box::new(version::VersionStep::new(config)?)),
            StepConfig::Worker(config) => Self::Worker(worker::WorkerStep::new(config)?),
            StepConfig::Jwt(config) => Self::Jwt(Box::new(jwt::JwtStep::new(config, base)?)),
            StepConfig::ApiKey(config) => Self::ApiKey(Box::new(api_key::ApiKeyStep::new(config, base)?)),
            StepConfig::Basic(config) => Self::Basic(Box::new(basic::BasicStep::new(config, base)?)),
            StepConfig::ForwardAuth(config) => {
                Self::ForwardAuth(Box::new(forward::ForwardAuthStep::new(config, base)?))
            }
            StepConfig::Oidc(config) => Self::Oidc(Box::new(oidc::OidcStep::new(config, base)?)),
            StepConfig::Roles(config) => Self::Roles(roles::RolesStep::new(config)?),
            StepConfig::Csrf(config) => Self::Csrf(Box::new(csrf::CsrfStep::new(config, base)?)),
            StepConfig::Waf(config) => Self::Waf(Box::new(waf::WafStep::new(name, config, base)?)),
            StepConfig::Challenge(config) => {
                Self::Challenge(Box::new(challenge::ChallengeStep::new(config)?))
            }
        })
    }

    /// Whether a step has a state that is worth keeping where its settings stay the same: counts, keys that were fetched. Those that
    /// read files are made anew, since the files may have changed.
    pub(crate) fn is_lasting(config: &StepConfig) -> bool {
        let in_file = |secret: &Secret| matches!(secret, Secret::File(_));
        match config {
            StepConfig::RateLimit(_) | StepConfig::Challenge(_) => true,
            StepConfig::Jwt(jwt) => {
                let fetched = jwt
                    .jwks
                    .as_ref()
                    .is_some_and(|place| place.parse::<Uri>().is_ok_and(|uri| uri.host().is_some()));
                fetched && jwt.public_key.is_none() && !jwt.secret.iter().any(in_file)
            }
            StepConfig::Oidc(oidc) => !oidc.client_secret.iter().chain(&oidc.session_keys).any(in_file),
            _ => false,
        }
    }

    /// As settings call it, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Headers(_) => "headers",
            Self::Ip(_) => "ip",
            Self::RateLimit(_) => "rate_limit",
            Self::Cors(_) => "cors",
            Self::Rewrite(_) => "rewrite",
            Self::Validate(_) => "validate",
            Self::Body(_) => "body",
            Self::Version(_) => "version",
            Self::Security(_) => "security_headers",
            Self::Worker(_) => "step_worker",
            Self::Jwt(_) => "jwt",
            Self::ApiKey(_) => "api_key",
            Self::Basic(_) => "basic",
            Self::ForwardAuth(_) => "forward_auth",
            Self::Oidc(_) => "oidc",
            Self::Roles(_) => "roles",
            Self::Csrf(_) => "csrf",
            Self::Waf(_) => "waf",
            Self::Challenge(_) => "challenge",
        }
    }

    /// Looks at a request before what follows does. It may change it, answer it, and leave something to do for later.
    pub(crate) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        match self {
            Self::Headers(step) => step.before(exchange, request),
            Self::Ip(step) => step.before(exchange),
            Self::RateLimit(step) => step.before(exchange, request).await,
            Self::Cors(step) => step.before(exchange, request),
            Self::Rewrite(step) => step.before(request),
            Self::Validate(step) => Box::pin(step.before(exchange, request)).await,
            Self::Body(step) => Box::pin(step.before(exchange, request)).await,
            Self::Version(step) => step.before(exchange, request),
            Self::Security(fields) => {
                exchange.security = *fields;
                Flow::On
            }
            // Boxed, so that requests that pass none reserve no room for it.
            Self::Worker(step) => Box::pin(step.before(exchange, request)).await,
            Self::Jwt(step) => Box::pin(step.before(exchange, request)).await,
            Self::ApiKey(step) => step.before(exchange, request),
            Self::Basic(step) => Box::pin(step.before(exchange, request)).await,
            Self::ForwardAuth(step) => Box::pin(step.before(exchange, request)).await,
            Self::Oidc(step) => Box::pin(step.before(exchange, request)).await,
            Self::Roles(step) => step.before(exchange, request),
            Self::Csrf(step) => step.before(exchange, request),
            Self::Waf(step) => Box::pin(step.before(exchange, request)).await,
            Self::Challenge(step) => step.before(exchange, request),
        }
    }
}
