//! Another server decides: it is asked about each request (as nginx' `auth_request`, Traefik's `ForwardAuth` and Caddy's
//! `forward_auth` do), and unless it says 2xx, its answer is the client's.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::denial::Denial;
use crate::fetch::{FetchError, Fetcher};
use crate::identity::{Identity, names, strip};

/// Asks another server whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForwardAuthConfig {
    /// Its address, with the path that decides: `http://127.0.0.1:9091/api/verify`.
    pub to: String,
    /// Header fields of the client that it gets; none: all, but those about the body and the connection.
    pub request_headers: Vec<String>,
    /// Fields of its 2xx answer that go on with the request. The client's own of these names are removed.
    pub copy: Vec<String>,
    /// Fields of its 2xx answer that the client gets, such as `set-cookie`.
    pub copy_to_client: Vec<String>,
    /// The one of `copy` that says who it is.
    pub subject: Option<String>,
    /// The one of `copy` that says what they are, with commas or spaces between.
    pub roles: Option<String>,
    /// How long it may take, milliseconds. Afterwards the request is refused.
    pub timeout_ms: u64,
    /// PEM file of the authorities that the server is verified by, in place of the public ones.
    pub ca: Option<PathBuf>,
}

impl Default for ForwardAuthConfig {
    fn default() -> Self {
        Self {
            to: String::new(),
            request_headers: Vec::new(),
            copy: Vec::new(),
            copy_to_client: Vec::new(),
            subject: None,
            roles: None,
            timeout_ms: 5000,
            ca: None,
        }
    }
}

/// Asks.
#[derive(Debug)]
pub struct ForwardAuth {
    to: Uri,
    request_headers: Vec<HeaderName>,
    copy: Vec<HeaderName>,
    copy_to_client: Vec<HeaderName>,
    subject: Option<HeaderName>,
    roles: Option<HeaderName>,
    timeout: Duration,
    fetcher: Fetcher,
}

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `https` or `http`.
    pub scheme: &'a str,
    /// As the client named it, perhaps with a port.
    pub host: &'a str,
    /// Who asks.
    pub client: IpAddr,
}

/// What the other server said.
#[derive(Debug)]
pub enum Decision {
    /// The request goes on, whose sender may be known now; the client gets these fields.
    Pass(Option<Arc<Identity>>, HeaderMap),
    /// This is the answer.
    Answer(Response<Bytes>),
}

/// Fields that concern the body, which is not sent along, or one connection (RFC 9110, section 7.6.1).
const NOT_SENT: &[HeaderName] = &[
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::HOST,
    header::RANGE,
];

impl ForwardAuth {
    /// Checks the settings. The error is a sentence.
    pub fn new(config: &ForwardAuthConfig, fetcher: Fetcher) -> Result<Self, String> {
        let name = |name: &String| {
            name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no name of a header field"))
        };
        let all = |list: &[String]| list.iter().map(name).collect::<Result<Vec<_>, _>>();
        // Often it is a neighbour in a network of its own: whether that needs TLS is known to who runs it.
        let to = Fetcher::address(&config.to, true).map_err(|error| format!("to: {error}"))?;
        let copy = all(&config.copy)?;
        if let Some(bad) = copy.iter().find(|name| NOT_SENT.contains(name)) {
            return Err(format!("copy: {bad} says how a message travels and cannot be copied"));
        }
        let one = |setting: &str, found: &Option<String>| match found {
            Some(text) => {
                let name = name(text)?;
                let known = copy.contains(&name);
                known
                    .then_some(Some(name))
                    .ok_or_else(|| format!("{setting}: {text:?} must be one of `copy`"))
            }
            None => Ok(None),
        };
        Ok(Self {
            to,
            request_headers: all(&config.request_headers)?,
            subject: one("subject", &config.subject)?,
            roles: one("roles", &config.roles)?,
            copy_to_client: all(&config.copy_to_client)?,
            copy,
            timeout: Duration::from_millis(config.timeout_ms.max(1)),
            fetcher,
        })
    }

    /// Asks about a request; on a yes, sets its fields.
    pub async fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        asked: Asked<'_>,
    ) -> Result<Decision, Denial> {
        let question = self.question(method, uri, headers, asked);
        strip(headers, self.copy.iter());
        let answer = match self.fetcher.send(question, self.timeout).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(to = %self.to, %error, "nobody decides about requests");
                let message = match error {
                    FetchError::Timeout => {
                        "The server that decides about this request did not answer in time."
                    }
                    _ => "The server that decides about this request cannot be asked.",
                };
                return Err(Denial::unavailable("forward_auth_unavailable", message));
            }
        };
        if answer.status().is_success() {
            for name in &self.copy {
                for value in answer.headers().get_all(name) {
                    headers.append(name, value.clone());
                }
            }
            let mut for_client = HeaderMap::new();
            for name in &self.copy_to_client {
                for value in answer.headers().get_all(name) {
                    for_client.append(name, value.clone());
                }
            }
            return Ok(Decision::Pass(self.identity(answer.headers()), for_client));
        }
        if answer.status().is_informational() {
            let message = "The server that decides about this request gave no decision.";
            return Err(Denial::unavailable("forward_auth_unavailable", message));
        }
        Ok(Decision::Answer(for_client(answer)))
    }

    fn question(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        asked: Asked<'_>,
    ) -> Request<Full<Bytes>> {
        let mut question = Request::new(Full::default());
        *question.uri_mut() = self.to.clone();
        let fields = question.headers_mut();
        for (name, value) in headers {
            let wanted = match &self.request_headers[..] {
                [] => !NOT_SENT.contains(name) && !is_told(name),
                some => some.contains(name) && !NOT_SENT.contains(name) && !is_told(name),
            };
            if wanted {
                fields.append(name, value.clone());
            }
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let url = format!("{}://{}{target}", asked.scheme, asked.host);
        let client = asked.client.to_string();
        for (name, value) in [
            ("x-forwarded-method", method.as_str()),
            ("x-forwarded-proto", asked.scheme),
            ("x-forwarded-host", asked.host),
            ("x-forwarded-uri", target),
            ("x-forwarded-for", &client),
            ("x-original-method", method.as_str()),
            ("x-original-uri", target),
            ("x-original-url", &url),
            ("x-real-ip", &client),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        question
    }

    fn identity(&self, answer: &HeaderMap) -> Option<Arc<Identity>> {
        let text = |name: &HeaderName| answer.get(name)?.to_str().ok().filter(|text| !text.is_empty());
        let subject = text(self.subject.as_ref()?)?.to_owned();
        let roles = self.roles.as_ref().and_then(text).map(|roles| names(&roles.into())).unwrap_or_default();
        let claims: Map<String, Value> = self
            .copy
            .iter()
            .filter_map(|name| Some((name.as_str().to_owned(), text(name)?.into())))
            .collect();
        Some(Arc::new(Identity { subject, roles, claims, ..Identity::default() }))
    }
}

/// Fields that this server tells the other one; a client's own would be believed there.
fn is_told(name: &HeaderName) -> bool {
    let name = name.as_str();
    let told = |prefix: &str| name.len() > prefix.len() && name.starts_with(prefix);
    told("x-forwarded-")
        || told("x-original-")
        || name == "x-real-ip"
        || name == "forwarded"
        || name.contains('_')
}

/// An answer without what concerned the connection it came over.
fn for_client(answer: Response<Bytes>) -> Response<Bytes> {
    let (mut head, body) = answer.into_parts();
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
    ] {
        head.headers.remove(name);
    }
    head.headers.remove("keep-alive");
    head.version = http::Version::HTTP_11;
    Response::from_parts(head, body)
}
