//! Cross-origin requests by the Fetch standard: which origins may read answers, and what they may ask.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;
use crate::span::Span;

const ASKS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorsConfig {
    /// `https://app.example`, `https://*.example.com` for all names under it, `~expression` for what it fits as a whole, `null`, or
    /// `*` for all.
    pub origins: Vec<String>,
    /// Methods that they may use, or `*` for all.
    pub methods: Vec<String>,
    /// Fields that their requests may have, or `*` for all.
    pub headers: Vec<String>,
    /// Fields of answers that they may read, beside those that are safe, or `*` for all.
    pub expose: Vec<String>,
    /// Whether cookies and logins are sent along. Not together with the origin `*`.
    pub credentials: bool,
    /// How long browsers may remember what they were told.
    pub max_age: Span,
    /// Whether public pages may ask this server although it is in a private network.
    pub private_network: bool,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: ["GET", "HEAD", "POST"].map(str::to_owned).to_vec(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: Span::seconds(600),
            private_network: false,
        }
    }
}

#[derive(Debug)]
enum Origin {
    Exact(String),
    /// What stands before the name, and the name with its dot and port.
    Under(String, String),
    Expression(Regex),
}

/// [`CorsConfig`], ready to use.
#[derive(Debug)]
pub struct Cors {
    any_origin: bool,
    origins: Vec<Origin>,
    /// `None` allows all.
    methods: Option<Vec<Method>>,
    headers: Option<Vec<HeaderName>>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
    private_network: bool,
}

/// What the rules say of a preflight.
#[derive(Debug)]
pub enum Preflight {
    /// The fields of the answer, whose status is 204.
    Allowed(HeaderMap),
    /// It may not ask; a sentence for the developer says why.
    Denied(&'static str),
}

impl Cors {
    /// # Errors
    /// A sentence that says which setting is wrong.
    pub fn new(config: &CorsConfig) -> Result<Self, String> {
        let any = |list: &[String]| list.iter().any(|one| one == "*");
        let any_origin = any(&config.origins);
        if any_origin && config.credentials {
            return Err(
                "`credentials` would give every site the user's rights: name the `origins`, not \"*\"".into(),
            );
        }
        if config.credentials && any(&config.expose) {
            return Err(
                "with `credentials`, `expose` must name its fields: browsers take \"*\" literally".into()
            );
        }
        if config.origins.is_empty() {
            return Err("`origins` names none; there has to be at least one, or \"*\"".into());
        }
        let method = |text: &String| text.parse().map_err(|_| format!("{text:?} is no method"));
        let field =
            |text: &String| text.parse().map_err(|_| format!("{text:?} is no name of a header field"));
        let expose = config
            .expose
            .iter()
            .filter(|text| *text != "*")
            .map(field)
            .collect::<Result<Vec<HeaderName>, _>>()?;
        let expose = match any(&config.expose) {
            true => Some(HeaderValue::from_static("*")),
            false if expose.is_empty() => None,
            false => joined(expose.iter().map(HeaderName::as_str)),
        };
        Ok(Self {
            any_origin,
            origins: config
                .origins
                .iter()
                .filter(|text| *text != "*")
                .map(|text| origin(text))
                .collect::<Result<_, _>>()?,
            methods: (!any(&config.methods))
                .then(|| config.methods.iter().map(method).collect())
                .transpose()?,
            headers: (!any(&config.headers))
                .then(|| config.headers.iter().map(field).collect())
                .transpose()?,
            expose,
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.0.as_secs()),
            private_network: config.private_network,
        })
    }

    /// Whether answers differ by origin, so that caches have to know.
    fn varies(&self) -> bool {
        !self.any_origin
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(text) = origin.to_str() else { return false };
        self.any_origin
            || self.origins.iter().any(|allowed| match allowed {
                Origin::Exact(exact) => text.eq_ignore_ascii_case(exact),
                Origin::Under(scheme, name) => {
                    let text = text.to_ascii_lowercase();
                    let label = text.strip_prefix(&**scheme).and_then(|rest| rest.strip_suffix(&**name));
                    // Nothing that would end the host, such as a port or a path.
                    label.is_some_and(|label| {
                        !label.is_empty()
                            && !label.starts_with('.')
                            && label
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
                    })
                }
                Origin::Expression(expression) => expression.is_match(text),
            })
    }

    /// Judges a preflight: OPTIONS with `Origin` and `Access-Control-Request-Method`. `None` for everything else.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Preflight> {
        if *method != Method::OPTIONS {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if !self.allows_origin(origin) {
            return Some(Preflight::Denied("This origin may not ask here."));
        }
        let wanted = Method::from_bytes(asked.as_bytes()).ok();
        let safe = |method: &Method| [Method::GET, Method::HEAD, Method::POST].contains(method);
        let Some(wanted) = wanted.filter(|wanted| {
            safe(wanted) || self.methods.as_ref().is_none_or(|methods| methods.contains(wanted))
        }) else {
            return Some(Preflight::Denied("Other origins may not use this method here."));
        };
        let names: Option<Vec<HeaderName>> = list(headers, header::ACCESS_CONTROL_REQUEST_HEADERS)
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        let allowed = |name: &HeaderName| self.headers.as_ref().is_none_or(|headers| headers.contains(name));
        let Some(names) = names.filter(|names| names.iter().all(allowed)) else {
            return Some(Preflight::Denied("Requests of other origins may not have these fields."));
        };
        let mut answer = HeaderMap::new();
        self.origin_fields(origin, &mut answer);
        if let Ok(method) = HeaderValue::from_str(wanted.as_str()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        }
        if let Some(names) = joined(names.iter().map(HeaderName::as_str)).filter(|names| !names.is_empty()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if self.private_network && headers.get(ASKS_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        let vary = "origin, access-control-request-method, access-control-request-headers";
        answer.insert(header::VARY, HeaderValue::from_static(vary));
        Some(Preflight::Allowed(answer))
    }

    /// Puts into an answer what its page may do with it, in the place of what stands there.
    pub fn answer(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        if self.varies() {
            // Also for those without an origin: the answer to them must not be given to others.
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin.filter(|origin| self.allows_origin(origin)) else { return };
        self.origin_fields(origin, headers);
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn origin_fields(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let allowed = if self.any_origin { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

fn origin(text: &str) -> Result<Origin, String> {
    if let Some(expression) = text.strip_prefix('~') {
        return pattern::whole(expression).map(Origin::Expression);
    }
    if text == "null" {
        return Ok(Origin::Exact(text.to_owned()));
    }
    let wrong = || {
        format!("{text:?} is no origin; write for example https://app.example or https://*.example.com:8443")
    };
    let lower = text.to_ascii_lowercase();
    let (scheme, host) = lower.split_once("://").ok_or_else(wrong)?;
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) || scheme.is_empty() {
        return Err(wrong());
    }
    match host.split_once('*') {
        None => Ok(Origin::Exact(lower)),
        Some(("", name)) if name.starts_with('.') && !name.contains('*') => {
            Ok(Origin::Under(format!("{scheme}://"), name.to_owned()))
        }
        Some(_) => Err(wrong()),
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")).ok()
}

fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(config: &str) -> Result<Cors, String> {
        Cors::new(&serde_json::from_str(config).unwrap())
    }

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn ask(
        cors: &Cors,
        origin: &'static str,
        method: &'static str,
        names: &'static str,
    ) -> Option<HeaderMap> {
        let mut headers = fields(&[("origin", origin), ("access-control-request-method", method)]);
        if !names.is_empty() {
            headers.insert("access-control-request-headers", HeaderValue::from_static(names));
        }
        match cors.preflight(&Method::OPTIONS, &headers)? {
            Preflight::Allowed(headers) => Some(headers),
            Preflight::Denied(_) => None,
        }
    }

    #[test]
    fn origins_are_what_was_meant() {
        let rules = cors(
            r#"{"origins": ["https://app.example", "https://*.b.example:8443", "~https://pr-[0-9]+\\.c\\.example", "null"]}"#,
        )
        .unwrap();
        for good in [
            "https://app.example",
            "HTTPS://App.Example",
            "https://x.b.example:8443",
            "https://x.y.b.example:8443",
            "https://pr-12.c.example",
            "null",
        ] {
            assert!(rules.allows_origin(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in [
            "http://app.example",
            "https://app.example.evil",
            "https://app.example:444",
            "https://xapp.example",
            "https://b.example:8443",
            "https://x.b.example",
            "https://.b.example:8443",
            "https://evil.example/.b.example:8443",
            "https://evil.example:1.b.example:8443",
            "https://evil@x.b.example:8443",
            "https://pr-12.c.example.evil",
            "https://xpr-1.c.example",
            "https://evil.example#https://pr-1.c.example",
            "",
            "*",
        ] {
            assert!(!rules.allows_origin(&HeaderValue::from_static(bad)), "{bad}");
        }
        for wrong in [
            "app.example",
            "https://",
            "https://*",
            "https://a.*.b",
            "https://*b.example",
            "https://a/b",
            "~(",
            "https://*.*.b",
        ] {
            assert!(
                Cors::new(&CorsConfig { origins: vec![wrong.into()], ..CorsConfig::default() }).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn credentials_are_never_for_everybody() {
        assert!(cors(r#"{"origins": ["*"], "credentials": true}"#).is_err());
        assert!(cors(r#"{"origins": ["https://a.example", "*"], "credentials": true}"#).is_err());
        assert!(cors(r#"{"origins": ["https://a.example"], "credentials": true, "expose": ["*"]}"#).is_err());
        assert!(cors(r#"{"origins": []}"#).is_err());
        let rules = cors(
            r#"{"origins": ["https://a.example"], "credentials": true, "headers": ["*"], "methods": ["*"]}"#,
        )
        .unwrap();
        let answer = ask(&rules, "https://a.example", "PURGE", "X-One, x-two").unwrap();
        // Stars would be literal in a request with credentials.
        assert_eq!(answer["access-control-allow-origin"], "https://a.example");
        assert_eq!(answer["access-control-allow-headers"], "x-one, x-two");
        assert_eq!(answer["access-control-allow-methods"], "PURGE");
        assert_eq!(answer["access-control-allow-credentials"], "true");
    }

    #[test]
    fn preflights_are_judged() {
        let rules = cors(
            r#"{"origins": ["*"], "methods": ["PUT"], "headers": ["x-api-key"], "max_age": "1h", "private_network": true}"#,
        )
        .unwrap();
        let answer = ask(&rules, "https://a.example", "PUT", "X-API-Key").unwrap();
        assert_eq!(answer["access-control-allow-origin"], "*");
        assert_eq!(answer["access-control-max-age"], "3600");
        assert_eq!(answer["vary"], "origin, access-control-request-method, access-control-request-headers");
        assert!(!answer.contains_key("access-control-allow-credentials"));
        assert!(ask(&rules, "https://a.example", "POST", "").is_some(), "methods that need no leave");
        assert!(ask(&rules, "https://a.example", "DELETE", "").is_none());
        assert!(ask(&rules, "https://a.example", "put", "").is_none(), "methods have a case");
        assert!(ask(&rules, "https://a.example", "PUT", "x-other").is_none());
        assert!(ask(&rules, "https://a.example", "PUT", "a b").is_none());
        assert!(rules.preflight(&Method::OPTIONS, &fields(&[("origin", "https://a.example")])).is_none());
        assert!(
            rules
                .preflight(
                    &Method::GET,
                    &fields(&[("origin", "x"), ("access-control-request-method", "GET")])
                )
                .is_none()
        );
        let asks = fields(&[
            ("origin", "x"),
            ("access-control-request-method", "GET"),
            ("access-control-request-private-network", "true"),
        ]);
        let Some(Preflight::Allowed(answer)) = rules.preflight(&Method::OPTIONS, &asks) else { panic!() };
        assert_eq!(answer["access-control-allow-private-network"], "true");
    }

    #[test]
    fn answers_say_whom_they_are_for() {
        let rules = cors(r#"{"origins": ["https://a.example"], "expose": ["x-total"]}"#).unwrap();
        let mut headers = fields(&[("access-control-allow-origin", "*"), ("vary", "accept")]);
        rules.answer(Some(&HeaderValue::from_static("https://a.example")), &mut headers);
        assert_eq!(
            (&headers["access-control-allow-origin"], &headers["access-control-expose-headers"]),
            (&HeaderValue::from_static("https://a.example"), &HeaderValue::from_static("x-total"))
        );
        assert_eq!(headers.get_all("vary").iter().count(), 2);
        for origin in [None, Some(HeaderValue::from_static("https://evil.example"))] {
            let mut headers = fields(&[("access-control-allow-origin", "*")]);
            rules.answer(origin.as_ref(), &mut headers);
            assert_eq!(headers, fields(&[("vary", "origin")]));
        }
    }
}
