//! One call of the control API: request, answer, and errors in words.

use std::io::{Cursor, Read};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use selvedge_model::Diagnostic;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{Request, Response, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, SendBody};

use super::multipart::Form;
use super::tail::Tail;
use crate::failure::{Failure, Outcome};

/// Largest JSON answer read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// A local control plane answers at once, a far one within seconds; more means that nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Deploying tries the worker in a sandbox, which may take as long as the worker's start-up limit.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// A caller of the control API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: String,
    account: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    message: String,
    #[serde(default)]
    help: Option<String>,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
    #[serde(default)]
    diagnostics: Vec<Diagnostic>,
}

impl Client {
    /// For the control plane at `api` (such as `http://127.0.0.1:8081`).
    pub(crate) fn new(api: &str, token: String, account: &str) -> Outcome<Self> {
        let base = api.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| bad_address(api))?;
        let host = uri.host().ok_or_else(|| bad_address(api))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad_address(api));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .user_agent(concat!("selvedge/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build());
        if matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), base, token, account: account.to_owned() })
    }

    /// Of the machine that it calls.
    pub(crate) fn host_address(&self) -> IpAddr {
        let host = self.base.parse::<Uri>().ok();
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = (host, 0).to_socket_addrs().ok().and_then(|mut found| found.next());
        found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |found| found.ip())
    }

    /// Below `/api/v1/accounts/{account}`.
    pub(crate) fn account_path(&self, rest: &str) -> String {
        format!("/api/v1/accounts/{}{rest}", self.account)
    }

    /// `GET`, answered with JSON.
    pub(crate) fn get(&self, path: &str) -> Outcome<Value> {
        self.json("GET", path, SendBody::none(), None)
    }

    /// `DELETE`.
    pub(crate) fn delete(&self, path: &str) -> Outcome<Value> {
        self.json("DELETE", path, SendBody::none(), None)
    }

    /// `PUT` or `POST` with a JSON body.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Outcome<Value> {
        let bytes = body.to_string().into_bytes();
        let head = ("application/json", bytes.len());
        self.json(method, path, SendBody::from_owned_reader(Cursor::new(bytes)), Some(head))
    }

    /// `PUT` of a file.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) -> Outcome<Value> {
        let head = ("application/octet-stream", bytes.len());
        self.json("PUT", path, SendBody::from_owned_reader(Cursor::new(bytes)), Some(head))
    }

    /// `PUT` of a form; `sent` hears how many bytes went out.
    pub(crate) fn upload(&self, path: &str, form: Form, sent: impl FnMut(usize) + 'static) -> Outcome<Value> {
        let (content_type, bytes) = form.finish();
        let head = (content_type.as_str(), bytes.len());
        let reader = Counted { inner: Cursor::new(bytes), sent };
        self.json("PUT", path, SendBody::from_owned_reader(reader), Some(head))
    }

    /// Live events of a script.
    pub(crate) fn tail(&self, script: &str) -> Outcome<Tail> {
        let path = self.account_path(&format!("/scripts/{script}/tail"));
        let response = self.call("GET", &path, SendBody::none(), None)?;
        if response.status().is_success() {
            return Ok(Tail::new(response.into_body().into_reader()));
        }
        Err(refusal(response))
    }

    fn json(
        &self,
        method: &str,
        path: &str,
        body: SendBody<'_>,
        head: Option<(&str, usize)>,
    ) -> Outcome<Value> {
        let response = self.call(method, path, body, head)?;
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        let text = read_text(response).map_err(|error| self.unreachable(&error.to_string()))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| {
            Failure::new("bad_answer", format!("{} did not answer with JSON: {error}", self.base))
        })
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        body: SendBody<'_>,
        head: Option<(&str, usize)>,
    ) -> Outcome<Response<Body>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("authorization", format!("Bearer {}", self.token));
        if let Some((content_type, length)) = head {
            request = request.header("content-type", content_type).header("content-length", length);
        }
        let request =
            request.body(body).map_err(|error| Failure::new("bad_request", format!("{path}: {error}")))?;
        self.agent.run(request).map_err(|error| self.unreachable(&error.to_string()))
    }

    fn unreachable(&self, reason: &str) -> Failure {
        Failure::new("api_unreachable", format!("no answer from the control API at {}: {reason}", self.base))
            .help("start Selvedge with `selvedge up`, or set SELVEDGE_API to where it listens")
    }
}

fn bad_address(api: &str) -> Failure {
    Failure::new("bad_address", format!("{api:?} is not an http:// or https:// address"))
        .help("set SELVEDGE_API to something like http://127.0.0.1:8081")
}

fn read_text(response: Response<Body>) -> std::io::Result<String> {
    let mut text = String::new();
    response.into_body().into_reader().take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn refusal(response: Response<Body>) -> Failure {
    let status = response.status();
    let text = read_text(response).unwrap_or_default();
    let Ok(ErrorAnswer { error }) = serde_json::from_str(&text) else {
        return Failure::new("bad_answer", format!("the control API answered {status} without a reason"))
            .help("does SELVEDGE_API name the admin address of a Selvedge?");
    };
    let mut failure = match error.diagnostic {
        // The diagnostic says what the message repeats, and its code is the more exact one.
        Some(diagnostic) => {
            let mut failure = Failure::new(&diagnostic.code, "the worker was refused");
            failure.diagnostics.push(diagnostic);
            failure
        }
        None => Failure::new(&error.code, error.message),
    };
    failure.diagnostics.extend(error.diagnostics);
    failure.help = error.help;
    if status.as_u16() == 401 {
        failure = failure.help(
            "the token is not valid there: set SELVEDGE_TOKEN, or SELVEDGE_DATA to the data directory of the Selvedge \
             that you mean",
        );
    }
    failure
}

struct Counted<F> {
    inner: Cursor<Vec<u8>>,
    sent: F,
}

impl<F: FnMut(usize)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.sent)(count);
        Ok(count)
    }
}
