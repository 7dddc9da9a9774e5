//! 103 Early Hints (RFC 8297): what a page will need, told before the page itself is there.

use std::cell::{Cell, RefCell};
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use schemars::JsonSchema;
use selvedge_telemetry::http_metrics::Protocol;
use selvedge_upstream::Hints;
use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;

/// Bytes of fields that one request's hints may have.
const BYTES_MAX: usize = 8 * 1024;
/// Hints that a route may have of its own.
pub(crate) const LINKS_MAX: usize = 32;

/// Which clients are told early what a page will need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EarlyHints {
    /// Clients of HTTP/2, and browsers that navigate (`Sec-Fetch-Mode: navigate`): some old clients of HTTP/1.1 take the
    /// first response for the last.
    #[default]
    Safe,
    /// All but those of HTTP/1.0.
    Always,
    /// Nobody.
    Off,
}

/// Hints that a connection's task has to send, for the request whose turn it is.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "each connection has room for it, and few ever use it")]
pub(crate) struct Waiting(RefCell<Option<Box<Vec<HeaderMap>>>>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_none()
    }

    pub(crate) fn take(&self) -> Vec<HeaderMap> {
        self.0.take().map_or_else(Vec::new, |hints| *hints)
    }
}

/// Tells the client of one request.
pub(crate) struct Teller<'a> {
    waiting: &'a Waiting,
    left: Cell<usize>,
}

impl fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a> Teller<'a> {
    /// For the client of a request with these fields, where it is to be told. To be used while the request is polled.
    pub(crate) fn of(exchange: &'a Exchange, method: &Method, headers: &HeaderMap) -> Option<Self> {
        let takes = match (exchange.thread.config.early_hints, exchange.protocol) {
            (EarlyHints::Off, _) | (_, Protocol::Http10) => false,
            (EarlyHints::Always, _) | (_, Protocol::Http2) => true,
            (EarlyHints::Safe, Protocol::Http11) => {
                headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
            }
        };
        let safe = matches!(*method, Method::GET | Method::HEAD);
        (takes && safe && !exchange.is_silent())
            .then(|| Self { waiting: &exchange.connection.hints, left: Cell::new(BYTES_MAX) })
    }
}

impl Hints for Teller<'_> {
    /// Only what hints are for goes on; the rest is a matter of the response itself.
    fn early(&self, fields: &HeaderMap) {
        let mut told = HeaderMap::new();
        for (name, value) in fields.iter().filter(|(name, _)| is_hint(name)) {
            let length = name.as_str().len() + value.len();
            if length > self.left.get() {
                break;
            }
            self.left.set(self.left.get() - length);
            told.append(name, value.clone());
        }
        if !told.is_empty() {
            self.waiting.0.borrow_mut().get_or_insert_default().push(told);
        }
    }
}

/// `Link`, and the policy that what it names is fetched under.
fn is_hint(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::LINK | header::CONTENT_SECURITY_POLICY | header::CONTENT_SECURITY_POLICY_REPORT_ONLY
    )
}

/// A route's own hints: values of `Link`.
pub(crate) fn compile(links: &[String]) -> Result<Option<HeaderMap>, String> {
    if links.len() > LINKS_MAX {
        return Err(format!("at most {LINKS_MAX} hints"));
    }
    let mut fields = HeaderMap::new();
    for link in links {
        let good = link.starts_with('<') && link.contains('>');
        let value = HeaderValue::from_str(link).ok().filter(|_| good);
        let value = value
            .ok_or_else(|| format!("{link:?} is no link such as \"</style.css>; rel=preload; as=style\""))?;
        fields.append(header::LINK, value);
    }
    let bytes: usize = links.iter().map(|link| link.len() + header::LINK.as_str().len()).sum();
    if bytes > BYTES_MAX {
        return Err(format!("the hints have {bytes} bytes; at most {BYTES_MAX} are sent"));
    }
    Ok((!fields.is_empty()).then_some(fields))
}

/// An interim response of HTTP/1.1.
pub(crate) fn put(fields: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
    for (name, value) in fields {
        selvedge_http1::put_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_links() {
        let of = |links: &[&str]| compile(&links.iter().map(|link| (*link).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["</a>; rel=preload", "</b>"]).unwrap().unwrap().len(), 2);
        let long = format!("<{}>", "a".repeat(BYTES_MAX));
        for bad in [&["/style.css"][..], &["</a>\r\nx: y"], &["</a>"; LINKS_MAX + 1], &[long.as_str()]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_hints_go_on_and_not_too_many() {
        let waiting = Waiting::default();
        let teller = Teller { waiting: &waiting, left: Cell::new(40) };
        let mut fields = HeaderMap::new();
        fields.append("link", HeaderValue::from_static("</a>"));
        fields.append("set-cookie", HeaderValue::from_static("a=b"));
        fields.append("link", HeaderValue::from_static("</b>"));
        for _ in 0..100 {
            teller.early(&fields);
        }
        let told = waiting.take();
        assert_eq!(told.iter().map(HeaderMap::len).sum::<usize>(), 5);
        assert!(told.iter().all(|fields| fields.keys().all(|name| *name == header::LINK)));
        let mut out = Vec::new();
        put(&told[0], &mut out);
        assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n");
    }
}
