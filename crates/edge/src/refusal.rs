//! Answers that the edge gives itself: an error with a stable code, as JSON or as a small page.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use selvedge_auth::Denial;
use selvedge_engine::EngineError;
use selvedge_engine::websocket::handshake::VERSION;
use selvedge_http1::Violation;
use selvedge_upstream::UpstreamError;

/// Why a request is not answered by a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Stable.
    pub(crate) code: &'static str,
    /// What happened and what to do about it.
    pub(crate) message: &'static str,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
    /// HTTP/1 connections are closed after requests whose framing or origin is in doubt.
    pub(crate) close: bool,
}

impl Refusal {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None, close: false }
    }

    /// A request that no conforming client sends.
    pub(crate) const fn bad_request(message: &'static str) -> Self {
        Self { close: true, ..Self::new(StatusCode::BAD_REQUEST, "bad_request", message) }
    }

    pub(crate) const METHOD: Self = Self::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "CONNECT and TRACE are not supported.",
    );
    pub(crate) const URI_TOO_LONG: Self =
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", "The path and query are longer than allowed.");
    pub(crate) const BODY_STALLED: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request's body stopped arriving. Try again.",
        )
    };
    pub(crate) const HEAD_LATE: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request's head did not arrive in time.",
        )
    };
    pub(crate) const NO_SUCH_WORKER: Self = Self::new(
        StatusCode::NOT_FOUND,
        "no_such_worker",
        "No worker answers for this host and path; deploy one with `selvedge deploy` or give one a route here.",
    );
    pub(crate) const AMBIGUOUS_PATH: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "ambiguous_path",
        "This path may be read in two ways that lead to different places. Write it without %2F, %5C, %00, backslashes and semicolons.",
    );
    pub(crate) const NO_ROUTE: Self =
        Self::new(StatusCode::NOT_FOUND, "no_route", "This site has nothing at this address.");
    pub(crate) const NO_FILE: Self =
        Self::new(StatusCode::NOT_FOUND, "no_such_file", "There is no file at this address.");
    pub(crate) const FILE_FORBIDDEN: Self = Self::new(
        StatusCode::FORBIDDEN,
        "file_forbidden",
        "The server may not read this file; its owner can change that.",
    );
    pub(crate) const FILES_BUSY: Self = Self {
        retry_after: Some(1),
        ..Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "files_busy",
            "Too many files are open, or this one changes all the time. Try again.",
        )
    };
    pub(crate) const ROUTE_METHOD: Self = Self::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not take requests of this method.",
    );
    pub(crate) const RATE_LIMITED: Self = Self::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "Too many requests. Try again after the time in Retry-After.",
    );
    pub(crate) const LIMIT_UNAVAILABLE: Self = Self {
        retry_after: Some(1),
        ..Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "limit_unavailable",
            "Requests cannot be counted at the moment. Try again.",
        )
    };
    pub(crate) const BODY_TOO_LARGE: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The request's body is longer than allowed here.",
        )
    };
    pub(crate) const BODY_CUT: Self = Self {
        close: true,
        ..Self::new(StatusCode::BAD_REQUEST, "body_cut", "The request's body did not arrive whole.")
    };
    pub(crate) const UNSUPPORTED_TYPE: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_type",
        "Bodies of this Content-Type are not taken here.",
    );
    pub(crate) const UNSUPPORTED_CODING: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_coding",
        "Bodies of this Content-Encoding are not taken here.",
    );
    pub(crate) const BAD_CODING: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "bad_coding",
        "The request's body is not what its Content-Encoding says.",
    );
    pub(crate) const NO_JSON: Self =
        Self::new(StatusCode::BAD_REQUEST, "no_json", "The request's body is no JSON, as its type says.");
    pub(crate) const UNKNOWN_OPERATION: Self =
        Self::new(StatusCode::NOT_FOUND, "unknown_operation", "This API has nothing at this address.");
    pub(crate) const CORS_DENIED: Self =
        Self::new(StatusCode::FORBIDDEN, "cors_denied", "Pages of other origins may not ask this.");
    pub(crate) const REWRITE: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "rewrite_failed",
        "What this address stands for is no address, or too long.",
    );
    pub(crate) const UNKNOWN_VERSION: Self =
        Self::new(StatusCode::NOT_FOUND, "unknown_version", "There is no such version of this API.");
    pub(crate) const GONE_VERSION: Self =
        Self::new(StatusCode::GONE, "version_gone", "This version of the API has ended; use a newer one.");
    pub(crate) const ADDRESS_DENIED: Self =
        Self::new(StatusCode::FORBIDDEN, "address_denied", "Requests from this address are not taken.");
    pub(crate) const PROXY_BODY_TOO_LARGE: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The request's body is larger than this address takes.",
        )
    };
    pub(crate) const ATTACK: Self = Self::new(
        StatusCode::FORBIDDEN,
        "waf_blocked",
        "The request looks like an attack. If it is none, tell the site's operator its request id.",
    );
    pub(crate) const CHALLENGE: Self = Self::new(
        StatusCode::FORBIDDEN,
        "challenge_required",
        "The site asks browsers to solve a riddle now; programs are not answered. Try again later.",
    );
    pub(crate) const WEBSOCKET_VERSION: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_version",
            "This server speaks version 13 of the WebSocket protocol; say so in Sec-WebSocket-Version.",
        )
    };
    pub(crate) const WEBSOCKET_DECLINED: Self = Self::new(
        StatusCode::NOT_IMPLEMENTED,
        "websocket_declined",
        "The worker did not accept the WebSocket: it must answer with status 101 and a webSocket.",
    );
    pub(crate) const MISDIRECTED: Self = Self {
        close: true,
        ..Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "This host asks its clients for a certificate; connect anew, by HTTPS, with its name in the handshake.",
        )
    };
    pub(crate) const NOT_CACHED: Self = Self::new(
        StatusCode::GATEWAY_TIMEOUT,
        "not_cached",
        "The request asks for a cached response only, and there is none.",
    );
    pub(crate) const INTERNAL: Self =
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "The server failed. Try again.");

    /// The answer, without the headers that every response gets. `detail` is for developers.
    pub(crate) fn response(
        &self,
        html: bool,
        request_id: &HeaderValue,
        detail: Option<&str>,
    ) -> Response<Bytes> {
        let request_id = request_id.to_str().unwrap_or_default();
        let (kind, body) = if html {
            ("text/html; charset=utf-8", self.page(request_id, detail))
        } else {
            let mut error = serde_json::json!({
                "error": { "code": self.code, "message": self.message, "request_id": request_id }
            });
            if let Some(detail) = detail {
                error["error"]["detail"] = detail.into();
            }
            ("application/json", error.to_string())
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.add_headers(headers);
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            headers.insert(header::ALLOW, allowed);
        }
    }

    /// Nothing in it comes from the client, except a request id that was found to be sane.
    fn page(&self, request_id: &str, detail: Option<&str>) -> String {
        let (width, detail) = match detail {
            Some(detail) => (60, format!("<pre>{}</pre>\n", escaped(detail))),
            None => (36, String::new()),
        };
        let Self { status, code, message, .. } = self;
        let reason = status.canonical_reason().unwrap_or("Error");
        let number = status.as_u16();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{number} {reason}</title>\n\
             <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:{width}rem;margin:15vh auto;padding:0 1rem}}\
             pre{{overflow:auto;padding:1rem;border-left:.25rem solid #c33;background:#8882}}\
             code{{overflow-wrap:anywhere}}small{{opacity:.7}}</style>\n\
             <h1>{number} {reason}</h1>\n<p>{message}</p>\n{detail}\
             <p><small>Code <code>{code}</code>, request <code>{request_id}</code></small></p>\n</html>\n"
        )
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        let status = StatusCode::from_u16(violation.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self { close: true, ..Self::new(status, violation.code(), violation.message()) }
    }
}

/// Text that HTML takes for text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        Self { retry_after: denial.retry_after_s, ..Self::new(denial.status, denial.code, denial.message) }
    }
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        Self { retry_after: error.retry_after(), ..Self::new(status, error.code(), error.message()) }
    }
}

impl From<&EngineError> for Refusal {
    fn from(error: &EngineError) -> Self {
        Self {
            retry_after: error.retry_after_s(),
            ..Self::new(error.status(), error.code(), error.public_message())
        }
    }
}

/// True when the client would rather read a page than JSON: `text/html` is accepted, and with no lower
/// quality than JSON.
pub(crate) fn prefers_html(accept: &[u8]) -> bool {
    let Ok(accept) = std::str::from_utf8(accept) else { return false };
    let quality = |wanted: &str| {
        accept.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
            let q = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        })
    };
    match (quality("text/html"), quality("application/json")) {
        (Some(html), json) => html > 0.0 && html >= json.unwrap_or(0.0),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, html) in [
            (browser, true),
            ("*/*", false),
            ("", false),
            ("application/json", false),
            ("text/html;q=0.5, application/json", false),
            ("text/html ;q=0.9, application/json;q=0.1", true),
            ("text/html;q=0", false),
        ] {
            assert_eq!(prefers_html(accept.as_bytes()), html, "{accept}");
        }
    }

    #[test]
    fn retry_after_comes_from_the_engine() {
        let id = HeaderValue::from_static("abc");
        let response = Refusal::from(&EngineError::Overloaded).response(false, &id, None);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let error: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(error["error"]["code"], "worker_overloaded");
        assert_eq!(error["error"]["request_id"], "abc");
        assert!(error["error"]["detail"].is_null());
    }

    #[test]
    fn what_developers_are_told_is_text() {
        let id = HeaderValue::from_static("abc");
        let page = Refusal::INTERNAL.response(true, &id, Some("<script>a && b</script>"));
        let page = String::from_utf8_lossy(page.body());
        assert!(page.contains("<pre>&lt;script&gt;a &amp;&amp; b&lt;/script&gt;</pre>"), "{page}");
    }
}
