//! Logins at an OpenID provider (OpenID Connect Core 1.0): authorization code with PKCE (RFC 7636), state and nonce; who it is
//! stays in a cookie that only this server can read.

mod config;
mod cookies;
mod provider;
mod session;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::bounded::Bounded;
use crate::credential::{cookies, remove_cookies};
use crate::denial::Denial;
use crate::fetch::Fetcher;
use crate::identity::{Forward, Identity};
use crate::jwt::{Algorithm, Demands, Refused, verify_fetched};
pub use config::OidcConfig;
use cookies::{Jar, Sealer};
use provider::{Client, Failure, Provider, Tokens};
use session::{Session, View};

/// How long somebody may take to log in, seconds.
const LOGIN_S: u64 = 15 * 60;
/// Logins that one browser may have begun; more begin anew.
const MAX_LOGINS: usize = 5;
/// Sessions that are kept opened.
const CACHED_SESSIONS: usize = 8192;
/// Refreshes that are remembered, so that requests that come together share one.
const REFRESHES: usize = 4096;
/// How long, seconds.
const REFRESH_S: u64 = 60;
/// Longest ID token that is kept for logging out, bytes: it comes back in an address.
const MAX_HINT_BYTES: usize = 4096;
/// Longest address to return to, bytes.
const MAX_RETURN_BYTES: usize = 1500;

/// Has people log in.
pub struct Oidc {
    client: Arc<Client>,
    sealer: Sealer,
    config: OidcConfig,
    scope: String,
    demands: Demands,
    forward: Forward,
    opened: Bounded<Arc<View>>,
    refreshes: Bounded<Refresh>,
    /// What sealed cookies are bound to.
    context: String,
}

/// A refresh that is under way or was a moment ago.
type Refresh = Arc<OnceCell<Result<Session, bool>>>;

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}

/// How it goes on.
#[derive(Debug)]
pub enum Outcome {
    /// The request goes on; the client gets these cookies.
    Pass(Option<Arc<Identity>>, Vec<HeaderValue>),
    /// This is the answer.
    Answer(Response<Bytes>),
}

/// A login that was begun, in the browser's cookie.
#[derive(Serialize, Deserialize)]
struct Login {
    state: String,
    nonce: String,
    verifier: String,
    return_to: String,
    until: u64,
}

impl Oidc {
    /// Checks the settings; secret files are looked for in `directory`. The error is a sentence. Asks nobody yet.
    pub fn new(config: &OidcConfig, directory: &Path, fetcher: Fetcher) -> Result<Self, String> {
        Fetcher::address(&config.issuer, config.insecure_http).map_err(|error| format!("issuer: {error}"))?;
        if config.client_id.is_empty() {
            return Err("client_id is needed".into());
        }
        for (name, path) in [
            ("callback", &config.callback),
            ("login", &config.login),
            ("logout", &config.logout),
            ("after_logout", &config.after_logout),
        ] {
            if safe_return(path) != path.as_str() {
                return Err(format!("{name}: {path:?} is no path of this site"));
            }
        }
        if let Some(origin) = &config.origin
            && !origin.parse::<Uri>().is_ok_and(|uri| {
                uri.authority().is_some_and(|host| {
                    ["https", "http"].iter().any(|scheme| *origin == format!("{scheme}://{host}"))
                })
            })
        {
            return Err(format!("origin: {origin:?} must be a scheme and a host, as https://app.example"));
        }
        let token_like = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if !token_like(&config.cookie) {
            return Err(format!("cookie: {:?} is no name of a cookie", config.cookie));
        }
        if config.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            return Err("algorithms: ID tokens are verified with the provider's public keys".into());
        }
        let algorithms = match &config.algorithms[..] {
            [] => Algorithm::PUBLIC.to_vec(),
            named => named.to_vec(),
        };
        let secret = config.client_secret.as_ref().map(|secret| secret.load(directory)).transpose();
        let secret = secret.map_err(|error| format!("client_secret: {error}"))?;
        let mut scopes = config.scopes.clone();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        Ok(Self {
            client: Arc::new(Client::new(
                config.issuer.clone(),
                config.client_id.clone(),
                secret,
                config.client_secret_post,
                algorithms,
                config.insecure_http,
                fetcher,
            )),
            sealer: Sealer::new(&config.session_keys, directory)?,
            scope: scopes.join(" "),
            demands: Demands {
                issuers: vec![config.issuer.clone()],
                audiences: vec![config.client_id.clone()],
                leeway_s: config.leeway_s,
                roles: config.roles_claim.all().to_vec(),
                ..Demands::default()
            },
            forward: Forward::new(&config.forward).map_err(|error| format!("forward: {error}"))?,
            opened: Bounded::new(CACHED_SESSIONS),
            refreshes: Bounded::new(REFRESHES),
            context: format!("{}|{}", config.issuer, config.client_id),
            config: config.clone(),
        })
    }

    /// Judges a request. `origin` is scheme and host as the client has them.
    pub async fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        origin: &str,
        now: u64,
    ) -> Result<Outcome, Denial> {
        let origin = self.config.origin.as_deref().unwrap_or(origin);
        let secure = origin.starts_with("https://");
        let hint = Jar::at(&format!("{}-hint", self.config.cookie), secure, &self.config.logout);
        let place = Site { origin, jar: Jar::new(&self.config.cookie, secure), hint };
        self.forward.strip(headers);
        let path = uri.path();
        if path == self.config.callback {
            return self.finish(uri, headers, &place, now).await.map(Outcome::Answer);
        }
        if path == self.config.logout {
            return self.logout(headers, &place).await.map(Outcome::Answer);
        }
        if path == self.config.login {
            let query = uri.query().unwrap_or_default().as_bytes();
            let wanted = form_urlencoded::parse(query).find(|(name, _)| name == "return_to");
            let wanted = wanted.map(|(_, value)| value.into_owned()).unwrap_or_else(|| "/".into());
            return self.begin(headers, &place, safe_return(&wanted), now).await.map(Outcome::Answer);
        }
        if let Some((view, cookies)) = self.session(headers, &place, now).await {
            remove_cookies(headers, |name| place.owns(name, &self.config.cookie));
            for (name, value) in &view.fields {
                headers.insert(name, value.clone());
            }
            return Ok(Outcome::Pass(Some(Arc::clone(&view.identity)), cookies));
        }
        if self.config.optional {
            remove_cookies(headers, |name| place.owns(name, &self.config.cookie));
            return Ok(Outcome::Pass(None, Vec::new()));
        }
        if !is_navigation(method, headers) {
            let message = "Nobody is logged in; open this site in a browser to log in.";
            return Err(Denial::unauthorized("login_required", message).challenge("Bearer"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.len() > MAX_RETURN_BYTES { "/" } else { target };
        self.begin(headers, &place, target, now).await.map(Outcome::Answer)
    }

    /// The session of a request, refreshed when it is time, with cookies to set.
    async fn session(
        &self,
        headers: &HeaderMap,
        place: &Site<'_>,
        now: u64,
    ) -> Option<(Arc<View>, Vec<HeaderValue>)> {
        let sealed = place.jar.read(headers)?;
        let digest = sha256(sealed.as_bytes());
        if let Some(view) = self.opened.get(&digest, now) {
            return Some((view, Vec::new()));
        }
        let session: Session = self.sealer.open(&format!("session|{}", self.context), &sealed)?;
        if now >= session.until {
            return None;
        }
        if session.refresh.is_none() || now < session.refresh_at {
            let ends = if session.refresh.is_some() { session.refresh_at } else { session.until };
            let view = Arc::new(session.view(&self.forward));
            self.opened.put(digest, ends, Arc::clone(&view));
            return Some((view, Vec::new()));
        }
        match self.refreshed(&session, now).await {
            Ok(renewed) => {
                let cookies = self.session_cookies(headers, place, &renewed, now)?;
                Some((Arc::new(renewed.view(&self.forward)), cookies))
            }
            // The provider is down, which is no reason to lose what one does; the session's end stays.
            Err(false) => Some((Arc::new(session.view(&self.forward)), Vec::new())),
            Err(true) => None,
        }
    }

    /// New tokens for a session. Requests that come together share them: most providers take a refresh token once. The
    /// error is true when the provider said no.
    async fn refreshed(&self, session: &Session, now: u64) -> Result<Session, bool> {
        let refresh = session.refresh.as_deref().ok_or(true)?;
        let shared =
            self.refreshes.get_or_put(sha256(refresh.as_bytes()), now, now + REFRESH_S, Refresh::default);
        let (client, session, demands) = (Arc::clone(&self.client), session.clone(), self.demands.clone());
        let userinfo = self.config.userinfo;
        // A task of its own: when the client leaves, the token is used up nevertheless.
        let task = tokio::spawn(async move {
            shared.get_or_init(|| session::refresh(&client, &session, &demands, userinfo, now)).await.clone()
        });
        task.await.unwrap_or(Err(false))
    }

    fn session_cookies(
        &self,
        headers: &HeaderMap,
        place: &Site<'_>,
        session: &Session,
        now: u64,
    ) -> Option<Vec<HeaderValue>> {
        let sealed = self.sealer.seal(&format!("session|{}", self.context), session)?;
        let mut cookies = place.jar.clear(headers);
        let set = place.jar.write(&sealed, session.until.saturating_sub(now))?;
        // Parts that are set again need not be removed.
        let name = |cookie: &HeaderValue| {
            cookie.to_str().ok().and_then(|text| Some(text.split_once('=')?.0.to_owned()))
        };
        cookies.retain(|old| !set.iter().any(|new| name(new) == name(old)));
        cookies.extend(set);
        Some(cookies)
    }

    async fn provider(&self) -> Result<Arc<Provider>, Denial> {
        let message = "The server that people log in at cannot be reached at the moment.";
        self.client.provider().await.ok_or_else(|| Denial::unavailable("login_unavailable", message))
    }

    /// Sends a browser to the provider (section 3.1.2.1).
    async fn begin(
        &self,
        headers: &HeaderMap,
        place: &Site<'_>,
        return_to: &str,
        now: u64,
    ) -> Result<Response<Bytes>, Denial> {
        let provider = self.provider().await?;
        let failed = || Denial::unavailable("login_unavailable", "A login cannot be begun at the moment.");
        let random = || random().ok_or_else(failed);
        let login = Login {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: return_to.to_owned(),
            until: now + LOGIN_S,
        };
        let challenge = URL_SAFE_NO_PAD.encode(sha256(login.verifier.as_bytes()));
        let redirect = format!("{}{}", place.origin, self.config.callback);
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &self.config.client_id),
                ("redirect_uri", &redirect),
                ("scope", &self.scope),
                ("state", &login.state),
                ("nonce", &login.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ])
            // The provider gives refresh tokens only to who was asked.
            .extend_pairs(
                self.scope.split(' ').any(|scope| scope == "offline_access").then_some(("prompt", "consent")),
            )
            .finish();
        let jar = place.login_jar(&self.config.cookie, &login.state);
        let sealed = self.sealer.seal(&format!("login|{}", self.context), &login).ok_or_else(failed)?;
        let mut response = redirect_to(&with_query(&provider.authorization, &query)).ok_or_else(failed)?;
        let mine = |name: &str| place.is_login(name, &self.config.cookie);
        let begun: Vec<String> =
            cookies(headers).map(|(name, _)| name).filter(|name| mine(name)).map(str::to_owned).collect();
        if begun.len() >= MAX_LOGINS {
            for name in &begun {
                append(&mut response, place.forget(name));
            }
        }
        append(&mut response, jar.write(&sealed, LOGIN_S).ok_or_else(failed)?);
        Ok(response)
    }

    /// The browser is back (section 3.1.2.5).
    async fn finish(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        place: &Site<'_>,
        now: u64,
    ) -> Result<Response<Bytes>, Denial> {
        let bad = |code, message| Denial::new(StatusCode::BAD_REQUEST, code, message);
        let stale = || {
            bad(
                "login_unknown",
                "This login was not begun in this browser, or too long ago. Open the site again.",
            )
        };
        let (mut code, mut state, mut iss, mut error) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let slot = match &*name {
                "code" => &mut code,
                "state" => &mut state,
                "iss" => &mut iss,
                "error" => &mut error,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(bad("login_invalid", "A parameter of the login is there twice."));
            }
        }
        let state = state.filter(|state| state.len() < 200).ok_or_else(stale)?;
        // Only the browser that began the login has its cookie: nobody is logged in as somebody else by a link.
        let jar = place.login_jar(&self.config.cookie, &state);
        let sealed = jar.read(headers).ok_or_else(stale)?;
        let login: Login = self.sealer.open(&format!("login|{}", self.context), &sealed).ok_or_else(stale)?;
        if login.state != state || now >= login.until {
            return Err(stale());
        }
        let provider = self.provider().await?;
        if iss.as_ref().is_some_and(|iss| *iss != self.config.issuer) || (provider.says_iss && iss.is_none())
        {
            return Err(bad("login_invalid", "This answer to the login comes from another provider."));
        }
        if let Some(error) = error {
            tracing::info!(issuer = self.config.issuer, error, "a login failed at its provider");
            let message = "The provider did not log you in.";
            return Err(Denial::new(StatusCode::FORBIDDEN, "login_refused", message));
        }
        let code = code.ok_or_else(|| bad("login_invalid", "The answer to the login has no code."))?;
        let redirect = format!("{}{}", place.origin, self.config.callback);
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect),
            ("code_verifier", &login.verifier),
        ];
        let mut hint = None;
        let session = match self.client.tokens(&provider, &parameters).await {
            Ok(tokens) => {
                hint = tokens.id_token.clone().filter(|token| token.len() <= MAX_HINT_BYTES);
                self.open_session(&provider, tokens, &login, now).await
            }
            Err(failure) => Err(failure),
        };
        let session = session.map_err(|failure| match failure {
            Failure::Refused => Denial::new(
                StatusCode::FORBIDDEN,
                "login_refused",
                "The provider's answer about this login is not good.",
            ),
            Failure::Unavailable(reason) => {
                tracing::warn!(issuer = self.config.issuer, reason, "a login cannot be finished");
                Denial::unavailable(
                    "login_unavailable",
                    "The server that people log in at failed. Try again.",
                )
            }
        })?;
        let failed = || {
            Denial::unavailable(
                "login_unavailable",
                "The session does not fit into cookies: it has too many claims.",
            )
        };
        let session_cookies = self.session_cookies(headers, place, &session, now).ok_or_else(failed)?;
        // The whole origin: what begins with two slashes would be another site.
        let mut response = redirect_to(&format!("{}{}", place.origin, login.return_to)).ok_or_else(failed)?;
        append(&mut response, session_cookies);
        append(&mut response, jar.clear(headers));
        // Without it the provider asks who it is that logs out; the login is good nevertheless.
        let sealed = hint.and_then(|hint| self.sealer.seal(&format!("hint|{}", self.context), &hint));
        if let Some(sealed) = sealed {
            let seconds = session.until.saturating_sub(now);
            append(&mut response, place.hint.write(&sealed, seconds).into_iter().flatten());
        }
        Ok(response)
    }

    /// Judges the ID token (section 3.1.3.7).
    async fn open_session(
        &self,
        provider: &Provider,
        tokens: Tokens,
        login: &Login,
        now: u64,
    ) -> Result<Session, Failure> {
        let id =
            tokens.id_token.as_deref().ok_or_else(|| Failure::Unavailable("there is no ID token".into()))?;
        let identity = self::verify(&self.client, provider, id, &self.demands, now).await?;
        if identity.claims.get("nonce").and_then(Value::as_str) != Some(&login.nonce)
            || identity.subject.is_empty()
        {
            return Err(Failure::Refused);
        }
        let until = now.saturating_add(self.config.session_s);
        session::make(
            &self.client,
            provider,
            identity,
            tokens,
            &self.demands,
            self.config.userinfo,
            until,
            now,
        )
        .await
    }

    /// Ends the session here, and at the provider where it has a page for that (OpenID Connect RP-Initiated Logout 1.0).
    async fn logout(&self, headers: &HeaderMap, place: &Site<'_>) -> Result<Response<Bytes>, Denial> {
        // A page of another site must not log people out.
        if headers
            .get("sec-fetch-site")
            .is_some_and(|site| *site != "same-origin" && *site != "none" && *site != "same-site")
        {
            let message = "Logging out works from pages of this site only.";
            return Err(Denial::new(StatusCode::FORBIDDEN, "cross_site_request", message));
        }
        let home = format!("{}{}", place.origin, self.config.after_logout);
        let end = self.client.provider().await.and_then(|provider| provider.end_session.clone());
        let hint = place.hint.read(headers);
        let hint: Option<String> =
            hint.and_then(|sealed| self.sealer.open(&format!("hint|{}", self.context), &sealed));
        let target = match end {
            Some(end) => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs([
                        ("client_id", &self.config.client_id),
                        ("post_logout_redirect_uri", &home),
                    ])
                    .extend_pairs(hint.map(|hint| ("id_token_hint", hint)))
                    .finish();
                with_query(&end, &query)
            }
            None => home,
        };
        let failed = || {
            Denial::unavailable("login_unavailable", "The provider's page for logging out cannot be named.")
        };
        let mut response = redirect_to(&target).ok_or_else(failed)?;
        append(&mut response, place.jar.clear(headers));
        append(&mut response, place.hint.clear(headers));
        Ok(response)
    }
}

/// Verifies an ID token.
async fn verify(
    client: &Client,
    provider: &Provider,
    id: &str,
    demands: &Demands,
    now: u64,
) -> Result<Identity, Failure> {
    let verified = verify_fetched(id, &provider.jwks, &client.algorithms, demands, now).await;
    let identity = verified.map_err(|refused| match refused {
        Refused::Token(error) => {
            tracing::warn!(issuer = client.issuer, %error, "an ID token is not taken");
            Failure::Refused
        }
        Refused::NoKeys => Failure::Unavailable("its keys cannot be fetched".into()),
    })?;
    // Of tokens for several audiences, only those that were given to this one.
    let several = identity.claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    let azp = identity.claims.get("azp").and_then(Value::as_str);
    if azp.map_or(several, |azp| azp != client.id) { Err(Failure::Refused) } else { Ok(identity) }
}

/// Where clients reach this site.
struct Site<'a> {
    origin: &'a str,
    jar: Jar,
    /// The ID token, for the path that logs out.
    hint: Jar,
}

impl Site<'_> {
    /// The cookie of one login; several may be under way in as many tabs.
    fn login_jar(&self, cookie: &str, state: &str) -> Jar {
        let tag: String = state.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Jar::new(&format!("{cookie}-login-{tag}"), self.secure())
    }

    fn secure(&self) -> bool {
        self.origin.starts_with("https://")
    }

    fn is_login(&self, name: &str, cookie: &str) -> bool {
        let name = if self.secure() { name.strip_prefix("__Host-") } else { Some(name) };
        name.and_then(|name| name.strip_prefix(cookie)).is_some_and(|rest| rest.starts_with("-login-"))
    }

    fn owns(&self, name: &str, cookie: &str) -> bool {
        self.jar.owns(name) || self.hint.owns(name) || self.is_login(name, cookie)
    }

    fn forget(&self, name: &str) -> Option<HeaderValue> {
        let secure = if self.secure() { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}")).ok()
    }
}

/// A person opens a page, so that a redirect to a login makes sense.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name: &HeaderName, part: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(part))
    };
    [Method::GET, Method::HEAD].contains(method)
        && has(&header::ACCEPT, "text/html")
        && !headers.contains_key("x-requested-with")
        && headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

/// A path of this site, or `/`: nothing that a browser takes for another site's address.
fn safe_return(wanted: &str) -> &str {
    let bytes = wanted.as_bytes();
    let second = bytes.get(1);
    let fits = bytes.first() == Some(&b'/')
        && !matches!(second, Some(b'/' | b'\\'))
        && bytes.len() <= MAX_RETURN_BYTES
        && bytes.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'\\');
    if fits { wanted } else { "/" }
}

fn with_query(address: &str, query: &str) -> String {
    format!("{address}{}{query}", if address.contains('?') { '&' } else { '?' })
}

/// 303: whatever it was, what follows is a GET.
fn redirect_to(address: &str) -> Option<Response<Bytes>> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(address).ok()?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn append(response: &mut Response<Bytes>, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// 256 random bits as text.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    key
}

#[cfg(test)]
mod tests;
