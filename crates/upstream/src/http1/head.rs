//! From the bytes of a response's head to what is passed on.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, response};
use selvedge_http1::{Field, Limits, ResponseFraming, Version, Violation, parse_response, put_field};

use crate::forward;
use crate::outgoing::{Outgoing, via};

/// A response's head, and what arrived behind it.
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// The fields, `Via` included, in place of `headers`.
    lines: Option<Vec<u8>>,
    in_lines: bool,
    framing: ResponseFraming,
    keep_alive: bool,
    hop: bool,
    pub(super) rest: Bytes,
}

impl Head {
    /// Parses the head that ends at `end` of the response to `outgoing`.
    pub(super) fn parse(
        bytes: Bytes,
        end: usize,
        limits: &Limits,
        fields: &mut Vec<Field>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Self, Violation> {
        let head = parse_response(&bytes[..end], limits, fields)?;
        let asks_head = *outgoing.method == Method::HEAD;
        let whole =
            matches!(head.framing, ResponseFraming::Length(length) if length <= (bytes.len() - end) as u64);
        if let Some(without) = outgoing.lines
            && whole
            && !asks_head
            && head.status >= 200
            && !matches!(head.status, 204 | 304)
            && let Some(mut lines) = lines(&bytes[..end], fields, without)
        {
            if outgoing.via {
                put_field(b"via", via(http_version(head.version)).as_bytes(), &mut lines);
            }
            return Ok(Self {
                version: head.version,
                status: StatusCode::from_u16(head.status).map_err(|_| Violation::StatusLine)?,
                headers: HeaderMap::new(),
                lines: Some(lines),
                in_lines: true,
                framing: head.framing,
                keep_alive: head.keep_alive,
                hop: false,
                rest: bytes.slice(end..),
            });
        }
        // There it does not say how long the body is that follows.
        let keeps_length = asks_head || head.status == 304;
        // One more for `Via`.
        let mut headers = HeaderMap::with_capacity(fields.len() + 1);
        for field in fields.iter() {
            let name =
                HeaderName::from_bytes(&bytes[field.name.range()]).map_err(|_| Violation::FieldName)?;
            // The body knows its length.
            if name == header::CONTENT_LENGTH && !keeps_length {
                continue;
            }
            let value = HeaderValue::from_maybe_shared(bytes.slice(field.value.range()))
                .map_err(|_| Violation::FieldValue)?;
            headers.try_append(name, value).map_err(|_| Violation::TooManyFields)?;
        }
        Ok(Self {
            version: head.version,
            status: StatusCode::from_u16(head.status).map_err(|_| Violation::StatusLine)?,
            headers,
            lines: None,
            in_lines: false,
            framing: head.framing,
            keep_alive: head.keep_alive,
            hop: head.hop,
            rest: bytes.slice(end..),
        })
    }

    /// The fields as they came.
    pub(super) fn fields(&self) -> &HeaderMap {
        &self.headers
    }

    /// It announces a body where its status allows none: the server may send one later, which nobody would know from the
    /// next response (RFC 9112, section 6.1; RFC 9110, section 8.6).
    pub(super) fn contradicts_itself(&self) -> bool {
        let none = self.status.is_informational() || self.status == StatusCode::NO_CONTENT;
        none && !matches!(self.framing, ResponseFraming::Close | ResponseFraming::Length(0))
    }

    /// The server goes on as a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        let upgrade = self.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
        let named = self.headers.get_all(header::CONNECTION).into_iter().any(|value| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
        named && upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
    }

    /// The fields as lines of a head, where they are not among the [parts](Self::into_parts).
    pub(super) fn take_lines(&mut self) -> Option<Bytes> {
        self.lines.take().map(Bytes::from)
    }

    /// What is passed on, what follows the head, where the body ends, and whether the connection may be used again.
    pub(super) fn into_parts(
        mut self,
        outgoing: &Outgoing<'_>,
    ) -> (response::Parts, Bytes, ResponseFraming, bool) {
        if self.hop {
            forward::strip_response(&mut self.headers);
        }
        if outgoing.via && !self.in_lines {
            self.headers.append(header::VIA, HeaderValue::from_static(via(http_version(self.version))));
        }
        let keep_alive = self.keep_alive && !self.contradicts_itself();
        let bodiless = *outgoing.method == Method::HEAD
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = if bodiless { ResponseFraming::Length(0) } else { self.framing };
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = self.status;
        parts.headers = self.headers;
        (parts, self.rest, framing, keep_alive)
    }
}

fn http_version(version: Version) -> http::Version {
    match version {
        Version::Http10 => http::Version::HTTP_10,
        Version::Http11 => http::Version::HTTP_11,
    }
}

/// What of a response's fields is passed on, as lines. None where `Connection` takes more away than itself, which takes a
/// closer look.
fn lines(head: &[u8], fields: &[Field], without: &[HeaderName]) -> Option<Vec<u8>> {
    // One more for `Via`.
    let mut lines = Vec::with_capacity(head.len() + 24);
    for field in fields {
        let (name, value) = (field.name.of(head), field.value.of(head));
        let start = lines.len();
        put_field(name, value, &mut lines);
        let name = &mut lines[start..start + name.len()];
        name.make_ascii_lowercase();
        let dropped = match &*name {
            b"connection"
                if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") =>
            {
                true
            }
            b"connection" => return None,
            b"content-length" | b"te" | b"trailer" | b"transfer-encoding" | b"upgrade" | b"keep-alive" => {
                true
            }
            name => {
                name.starts_with(b"proxy-") || without.iter().any(|other| other.as_str().as_bytes() == name)
            }
        };
        if dropped {
            lines.truncate(start);
        }
    }
    Some(lines)
}
