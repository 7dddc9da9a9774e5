//! The provider of logins: what it says of itself (OpenID Connect Discovery 1.0), and tokens from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::fetch::Fetcher;
use crate::jwt::{Algorithm, Jwks, JwtConfig};
use crate::strict_json;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long what it says of itself is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Between two questions when one failed.
const RETRY: Duration = Duration::from_secs(5);

/// What a provider says of itself.
pub(super) struct Provider {
    pub(super) authorization: String,
    token: Uri,
    userinfo: Option<Uri>,
    pub(super) end_session: Option<String>,
    pub(super) jwks: Arc<Jwks>,
    /// It names itself in its answers to logins (RFC 9207).
    pub(super) says_iss: bool,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Tokens of a login or refresh.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: Option<String>,
    pub(super) id_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in: Option<u64>,
    pub(super) scope: Option<String>,
}

/// The provider gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It says no: to a code or refresh token that is used up, wrong or withdrawn.
    Refused,
    /// It is not there, or answers what cannot be understood.
    Unavailable(String),
}

/// How the client is known to the provider.
pub(super) struct Client {
    pub(super) issuer: String,
    pub(super) id: String,
    pub(super) secret: Option<Zeroizing<String>>,
    pub(super) post: bool,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) insecure_http: bool,
    pub(super) fetcher: Fetcher,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    provider: Option<(Instant, Arc<Provider>)>,
    failed: Option<Instant>,
}

impl Client {
    pub(super) fn new(
        issuer: String,
        id: String,
        secret: Option<Zeroizing<String>>,
        post: bool,
        algorithms: Vec<Algorithm>,
        insecure_http: bool,
        fetcher: Fetcher,
    ) -> Self {
        Self { issuer, id, secret, post, algorithms, insecure_http, fetcher, known: Mutex::default() }
    }

    /// The provider; asked once an hour, and what it said is kept while it is down.
    pub(super) async fn provider(&self) -> Option<Arc<Provider>> {
        let mut known = self.known.lock().await;
        let old = known.provider.clone();
        if let Some((since, provider)) = &old
            && since.elapsed() < GOOD_FOR
        {
            return Some(Arc::clone(provider));
        }
        if known.failed.is_none_or(|when| when.elapsed() >= RETRY) {
            match self.discover().await {
                Ok(provider) => {
                    let provider = Arc::new(provider);
                    *known = Known { provider: Some((Instant::now(), Arc::clone(&provider))), failed: None };
                    return Some(provider);
                }
                Err(error) => {
                    tracing::warn!(issuer = self.issuer, error, "the provider of logins cannot be asked");
                    known.failed = Some(Instant::now());
                }
            }
        }
        old.map(|(_, provider)| provider)
    }

    async fn discover(&self) -> Result<Provider, String> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let address =
            |text: &str| Fetcher::address(text, self.insecure_http).map_err(|error| error.to_string());
        let answer = self.fetcher.get(&address(&url)?, TIMEOUT).await.map_err(|error| error.to_string())?;
        let metadata: Metadata = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        // Discovery 1.0, section 4.3: otherwise one provider could stand in for another.
        if metadata.issuer != self.issuer {
            return Err(format!("it says that it is {:?}", metadata.issuer));
        }
        address(&metadata.authorization_endpoint)?;
        if let Some(end) = &metadata.end_session_endpoint {
            address(end)?;
        }
        let config = JwtConfig { insecure_http: self.insecure_http, ..JwtConfig::default() };
        let jwks = Jwks::new(&metadata.jwks_uri, &self.algorithms, &config, self.fetcher.clone());
        Ok(Provider {
            token: address(&metadata.token_endpoint)?,
            userinfo: metadata.userinfo_endpoint.as_deref().map(address).transpose()?,
            authorization: metadata.authorization_endpoint,
            end_session: metadata.end_session_endpoint,
            jwks: Arc::new(jwks.map_err(|error| error.to_string())?),
            says_iss: metadata.authorization_response_iss_parameter_supported,
        })
    }

    /// Tokens for a code or a refresh token (RFC 6749, sections 4.1.3 and 6).
    pub(super) async fn tokens(
        &self,
        provider: &Provider,
        parameters: &[(&str, &str)],
    ) -> Result<Tokens, Failure> {
        let request = self.token_request(provider, parameters);
        let answer = self.fetcher.send(request, TIMEOUT).await;
        let answer = answer.map_err(|error| Failure::Unavailable(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => {
                serde_json::from_slice(answer.body()).map_err(|_| Failure::Unavailable("no tokens".into()))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                let said: Option<Value> = serde_json::from_slice(answer.body()).ok();
                let code = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or_default();
                tracing::warn!(issuer = self.issuer, code, "the provider of logins gives no tokens");
                Err(Failure::Refused)
            }
            status => Err(Failure::Unavailable(format!("status {status}"))),
        }
    }

    fn token_request(&self, provider: &Provider, parameters: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        let mut request = Request::new(Full::default());
        match &self.secret {
            Some(secret) if !self.post => {
                // Both parts are encoded first (RFC 6749, section 2.3.1).
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encoded(&self.id), encoded(secret)));
                if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {pair}")) {
                    value.set_sensitive(true);
                    request.headers_mut().insert(header::AUTHORIZATION, value);
                }
            }
            secret => {
                form.append_pair("client_id", &self.id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret);
                }
            }
        }
        *request.method_mut() = Method::POST;
        *request.uri_mut() = provider.token.clone();
        *request.body_mut() = Full::new(Bytes::from(form.finish()));
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request
    }

    /// More claims (OpenID Connect Core 1.0, section 5.3), which must be of the same subject.
    pub(super) async fn userinfo(
        &self,
        provider: &Provider,
        access: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, Failure> {
        let unavailable = |text: &str| Failure::Unavailable(text.to_owned());
        let uri = provider.userinfo.as_ref().ok_or_else(|| unavailable("it has no userinfo"))?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        let mut value =
            HeaderValue::from_str(&format!("Bearer {access}")).map_err(|_| unavailable("no token"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
        let answer = self.fetcher.send(request, TIMEOUT).await;
        let answer = answer.map_err(|error| Failure::Unavailable(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(Failure::Unavailable(format!("userinfo: status {}", answer.status())));
        }
        let claims =
            strict_json::object(answer.body()).map_err(|_| unavailable("userinfo is no JSON object"))?;
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            Err(Failure::Refused)
        } else {
            Ok(claims)
        }
    }
}
