//! Lines of one's own looks: `{client} {method} {path} {status}`.

use super::format::AccessRecord;

/// A line's parts, in order.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Vec<u8>),
    Variable(Variable),
    /// A field of the request.
    Request(String),
    Response(String),
}

macro_rules! variables {
    ($($name:literal => $variant:ident,)*) => {
        /// What a line can tell.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Variable { $($variant,)* }

        const NAMES: &[&str] = &[$($name,)*];

        fn variable(name: &str) -> Option<Variable> {
            match name { $($name => Some(Variable::$variant),)* _ => None }
        }
    };
}

variables! {
    "time" => Time,
    "day_time" => DayTime,
    "client" => Client,
    "method" => Method,
    "scheme" => Scheme,
    "host" => Host,
    "target" => Target,
    "path" => Path,
    "query" => Query,
    "protocol" => Protocol,
    "status" => Status,
    "bytes" => Bytes,
    "duration_us" => DurationUs,
    "duration_ms" => DurationMs,
    "worker" => Worker,
    "route" => Route,
    "request_id" => RequestId,
    "trace_id" => TraceId,
    "code" => Code,
    "flags" => Flags,
    "cache" => Cache,
    "upstream" => Upstream,
    "upstream_ms" => UpstreamMs,
    "attempts" => Attempts,
    "referer" => Referer,
    "user_agent" => UserAgent,
    "tls" => Tls,
    "subject" => Subject,
    "client_cert" => ClientCert,
    "client_cert_sha256" => ClientCertSha256,
}

impl Template {
    /// The error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("a line has no control characters; its end comes by itself".into());
        }
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.extend_from_slice(&rest.as_bytes()[..at]);
            let brace = rest.as_bytes()[at];
            let after = &rest[at + 1..];
            if after.as_bytes().first() == Some(&brace) {
                plain.push(brace);
                rest = &after[1..];
                continue;
            }
            let end = after.find('}').filter(|_| brace == b'{');
            let end =
                end.ok_or_else(|| format!("a brace stands alone; write {0}{0} for one", char::from(brace)))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::parse(&after[..end])?);
            rest = &after[end + 1..];
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Names of the request's fields, and of the response's, that it tells.
    pub(super) fn fields(&self) -> (Vec<String>, Vec<String>) {
        let (mut request, mut response) = (Vec::new(), Vec::new());
        for part in &self.0 {
            match part {
                Part::Request(name) => request.push(name.clone()),
                Part::Response(name) => response.push(name.clone()),
                _ => {}
            }
        }
        (request, response)
    }
}

impl Part {
    fn parse(name: &str) -> Result<Self, String> {
        if let Some(field) = name.strip_prefix("request.") {
            return Ok(Self::Request(field.to_ascii_lowercase()));
        }
        if let Some(field) = name.strip_prefix("response.") {
            return Ok(Self::Response(field.to_ascii_lowercase()));
        }
        variable(name).map(Self::Variable).ok_or_else(|| {
            format!("{{{name}}} is not known; there are {}, request.NAME and response.NAME", NAMES.join(", "))
        })
    }
}

/// The value of a field of the message, where it was there.
pub(super) fn field<'a>(fields: &[(&str, Option<&'a [u8]>)], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(known, _)| *known == name)?.1
}

/// Path and query of a target.
pub(super) fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// What is text in the record; numbers and times are the formatter's.
pub(super) fn text<'a>(variable: Variable, record: &AccessRecord<'a>) -> Option<&'a [u8]> {
    match variable {
        Variable::Client => Some(record.client.as_bytes()),
        Variable::Method => Some(record.method),
        Variable::Scheme => Some(record.scheme.as_bytes()),
        Variable::Host => Some(record.host),
        Variable::Protocol => Some(record.protocol.as_bytes()),
        Variable::Route => record.route.map(str::as_bytes),
        Variable::RequestId => Some(record.request_id),
        Variable::TraceId => record.trace_id.map(str::as_bytes),
        Variable::Code => record.code.map(str::as_bytes),
        Variable::Flags => record.flags.map(str::as_bytes),
        Variable::Cache => record.cache.map(str::as_bytes),
        Variable::Upstream => record.server.map(str::as_bytes),
        Variable::UserAgent => record.user_agent,
        Variable::Tls => record.tls.map(str::as_bytes),
        Variable::Subject => record.subject.map(str::as_bytes),
        Variable::ClientCert => record.client_cert.map(|(subject, _)| subject.as_bytes()),
        Variable::ClientCertSha256 => record.client_cert.map(|(_, sha256)| sha256.as_bytes()),
        _ => None,
    }
}
