//! Text with variables of the request: `https://{host}{uri}`.

use http::Request;

use crate::body::RequestBody;
use crate::exchange::Exchange;

/// Longest template, bytes.
const LENGTH_MAX: usize = 4096;

/// Parsed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// What may stand in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    /// `{host}`: without port.
    Host,
    /// `{method}`
    Method,
    /// `{path}`: as it came.
    Path,
    /// `{query}`: with its `?`, empty where there is none.
    Query,
    /// `{uri}`: path and query.
    Uri,
    /// `{scheme}`
    Scheme,
    /// `{client}`: the client's address.
    Client,
    /// `{request_id}`
    RequestId,
    /// `{tls.FACT}`: empty without TLS.
    Tls(Tls),
    /// `{client_cert.FACT}`: empty where the client showed none, or was not asked.
    ClientCertificate(ClientCertificate),
    /// `{path.NAME}`: a parameter of the route's path.
    Parameter(String),
    /// `{header.NAME}`: a field of the request.
    Header(http::HeaderName),
}

/// What was agreed upon with the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Version,
    Cipher,
    Name,
}

/// What a client's certificate says, which was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientCertificate {
    Subject,
    Issuer,
    Fingerprint,
    Serial,
}

impl Template {
    /// Parses text; `{{` and `}}` are braces. The error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("longer than {LENGTH_MAX} characters"));
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let brace = &rest[at..=at];
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = after.split_once('}').filter(|_| brace == "{") else {
                return Err(format!(
                    "{text:?} has a brace that is not closed; write {{{{ and }}}} for braces"
                ));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(variable(name)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The text for a request.
    pub(crate) fn render(&self, exchange: &Exchange, request: &Request<RequestBody>) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        for part in &self.0 {
            // Writing to a string does not fail.
            let _ = match part {
                Part::Text(text) => out.write_str(text),
                Part::Variable(Variable::Host) => out.write_str(host_of(request)),
                Part::Variable(Variable::Method) => out.write_str(request.method().as_str()),
                Part::Variable(Variable::Path) => out.write_str(request.uri().path()),
                Part::Variable(Variable::Query) => match request.uri().query() {
                    Some(query) => write!(out, "?{query}"),
                    None => Ok(()),
                },
                Part::Variable(Variable::Uri) => {
                    out.write_str(request.uri().path_and_query().map_or("/", |target| target.as_str()))
                }
                Part::Variable(Variable::Scheme) => out.write_str(exchange.scheme()),
                Part::Variable(Variable::Client) => write!(out, "{}", exchange.client),
                Part::Variable(Variable::RequestId) => {
                    out.write_str(exchange.request_id.to_str().unwrap_or_default())
                }
                Part::Variable(Variable::Tls(fact)) => {
                    let session = exchange.connection.session();
                    out.write_str(session.map_or("", |session| match fact {
                        Tls::Version => session.version,
                        Tls::Cipher => session.cipher,
                        Tls::Name => session.name.as_deref().unwrap_or_default(),
                    }))
                }
                Part::Variable(Variable::ClientCertificate(fact)) => {
                    let session = exchange.connection.session();
                    let shown = session.and_then(|session| session.client.as_deref());
                    out.write_str(shown.map_or("", |shown| match fact {
                        ClientCertificate::Subject => &shown.subject,
                        ClientCertificate::Issuer => &shown.issuer,
                        ClientCertificate::Fingerprint => &shown.fingerprint,
                        ClientCertificate::Serial => &shown.serial,
                    }))
                }
                Part::Variable(Variable::Parameter(name)) => {
                    let found = exchange.parameters.iter().find(|(key, _)| **key == **name);
                    out.write_str(found.map_or("", |(_, value)| value))
                }
                Part::Variable(Variable::Header(name)) => {
                    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
                    out.write_str(value.unwrap_or_default())
                }
            };
        }
        out
    }
}

/// The host that a request names, without port.
pub(crate) fn host_of(request: &Request<RequestBody>) -> &str {
    without_port(authority_of(request))
}

/// The host as the client named it, with the port where it did.
pub(crate) fn authority_of(request: &Request<RequestBody>) -> &str {
    let field = || request.headers().get(http::header::HOST)?.to_str().ok();
    match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => field().unwrap_or_default(),
    }
}

/// `a.example` of `a.example:80`, `[::1]` of `[::1]:80`.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

fn variable(name: &str) -> Result<Variable, String> {
    Ok(match name {
        "host" => Variable::Host,
        "method" => Variable::Method,
        "path" => Variable::Path,
        "query" => Variable::Query,
        "uri" => Variable::Uri,
        "scheme" => Variable::Scheme,
        "client" => Variable::Client,
        "request_id" => Variable::RequestId,
        "tls.version" => Variable::Tls(Tls::Version),
        "tls.cipher" => Variable::Tls(Tls::Cipher),
        "tls.name" => Variable::Tls(Tls::Name),
        "client_cert.subject" => Variable::ClientCertificate(ClientCertificate::Subject),
        "client_cert.issuer" => Variable::ClientCertificate(ClientCertificate::Issuer),
        "client_cert.fingerprint" => Variable::ClientCertificate(ClientCertificate::Fingerprint),
        "client_cert.serial" => Variable::ClientCertificate(ClientCertificate::Serial),
        _ => match (name.strip_prefix("path."), name.strip_prefix("header.")) {
            (Some(parameter), _) => Variable::Parameter(parameter.into()),
            (_, Some(header)) => Variable::Header(
                header.parse().map_err(|_| format!("{header:?} is no name of a header field"))?,
            ),
            _ => {
                return Err(format!(
                    "there is no variable {{{name}}}; there are host, method, path, query, uri, scheme, client, \
                     request_id, path.NAME, header.NAME, tls.version, tls.cipher, tls.name, client_cert.subject, \
                     client_cert.issuer, client_cert.fingerprint and client_cert.serial"
                ));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_hold_variables() {
        let parsed = Template::parse("a{{b}}{host}/{path.id}").unwrap();
        let parts = [
            Part::Text("a{b}".into()),
            Part::Variable(Variable::Host),
            Part::Text("/".into()),
            Part::Variable(Variable::Parameter("id".into())),
        ];
        assert_eq!(parsed.0, parts);
        for bad in ["{", "}", "{nothing}", "{host", "{header. }", "{{{"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_lose_their_ports() {
        for (host, name) in
            [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:", "a")]
        {
            assert_eq!(without_port(host), name);
        }
    }
}
