//! Where in a request credentials are.

use std::fmt;
use std::str::FromStr;

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Uri};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a token or key is: `bearer`, `header NAME`, `cookie NAME` or `query NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer …` (RFC 6750, section 2.1).
    Bearer,
    /// A header field that holds nothing else.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query. It ends up in histories and logs; for clients that have no other way.
    Query(String),
}

/// Credentials in one place twice: somebody else may have read the other ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credentials are there twice")]
pub struct Twice;

impl Place {
    /// What is in this place.
    pub fn find<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Twice> {
        match self {
            Self::Bearer => {
                Ok(one(headers, &header::AUTHORIZATION)?.and_then(|value| scheme(value, "bearer")))
            }
            Self::Header(name) => Ok(one(headers, name)?.map(str::trim).filter(|value| !value.is_empty())),
            Self::Cookie(name) => {
                only(cookies(headers).filter_map(|(n, value)| (n == name).then_some(value)))
            }
            Self::Query(name) => {
                let pairs =
                    uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
                only(pairs.filter_map(|(n, value)| (n == name).then_some(value)))
            }
        }
    }

    /// The first of `places` that has something.
    pub fn first<'a, 'p>(
        places: &'p [Self],
        uri: &'a Uri,
        headers: &'a HeaderMap,
    ) -> Result<Option<(&'p Self, &'a str)>, Twice> {
        for place in places {
            if let Some(found) = place.find(uri, headers)? {
                return Ok(Some((place, found)));
            }
        }
        Ok(None)
    }

    /// Takes the credentials out, so that whoever answers the request does not get them.
    pub fn remove(&self, uri: &mut Uri, headers: &mut HeaderMap) {
        match self {
            Self::Bearer => drop(headers.remove(header::AUTHORIZATION)),
            Self::Header(name) => drop(headers.remove(name)),
            Self::Cookie(name) => remove_cookies(headers, |n| n == name),
            Self::Query(name) => {
                let Some(query) = uri.query() else { return };
                let is_it = |pair: &&str| pair.split_once('=').is_some_and(|(n, _)| n == name);
                let kept: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
                let path = uri.path();
                let target =
                    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
                let mut parts = uri.clone().into_parts();
                if let Ok(target) = target.parse() {
                    parts.path_and_query = Some(target);
                    if let Ok(without) = Uri::from_parts(parts) {
                        *uri = without;
                    }
                }
            }
        }
    }
}

/// The text of a field that is there once; none when it is not visible ASCII.
pub fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Twice> {
    Ok(only(headers.get_all(name).into_iter())?.and_then(|value| value.to_str().ok()))
}

fn only<T>(mut found: impl Iterator<Item = T>) -> Result<Option<T>, Twice> {
    let first = found.next();
    if found.next().is_some() { Err(Twice) } else { Ok(first) }
}

/// What follows an authentication scheme, whose name has no case (RFC 9110, section 11.1).
pub fn scheme<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (found, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    (found.eq_ignore_ascii_case(name) && !rest.is_empty()).then_some(rest)
}

/// Names and values of all cookies.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// Takes some cookies out of a request.
pub fn remove_cookies(headers: &mut HeaderMap, is_it: impl Fn(&str) -> bool) {
    if !cookies(headers).any(|(name, _)| is_it(name)) {
        return;
    }
    let kept: Vec<String> = cookies(headers)
        .filter(|(name, _)| !is_it(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_str(&kept.join("; "))
        && !kept.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let name = name.trim();
        let sane = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        match kind {
            "bearer" if name.is_empty() => Ok(Self::Bearer),
            "header" if sane => name.parse().map(Self::Header).map_err(|_| format!("{name} is no header")),
            "cookie" if sane => Ok(Self::Cookie(name.into())),
            "query" if sane => Ok(Self::Query(name.into())),
            _ => {
                Err(format!("{text:?} is not \"bearer\", \"header NAME\", \"cookie NAME\" or \"query NAME\""))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query {name}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Place {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Where a token or key is: bearer, header NAME, cookie NAME or query NAME.",
            "pattern": "^(bearer|(header|cookie|query) +[A-Za-z0-9._-]+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn credentials_are_found_where_they_are() {
        let uri: Uri = "/a?key=k1&keys=x&e=".parse().unwrap();
        let headers =
            map(&[("authorization", "bEARER  t1 "), ("x-key", " h1 "), ("cookie", "a=1; s=c1; ss=2")]);
        for (text, found) in [
            ("bearer", Some("t1")),
            ("header X-Key", Some("h1")),
            ("header x-none", None),
            ("cookie s", Some("c1")),
            ("cookie none", None),
            ("query key", Some("k1")),
            ("query ke", None),
        ] {
            assert_eq!(place(text).find(&uri, &headers), Ok(found), "{text}");
            assert_eq!(place(&place(text).to_string()), place(text));
        }
        for bad in ["", "bearer x", "header", "header a b", "cookie a=b", "body x", "query a&b"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn other_schemes_are_no_tokens() {
        let uri = Uri::from_static("/");
        for value in ["Basic eDp5", "Bearer", "Bearer ", "Bearert1", "t1", ""] {
            assert_eq!(Place::Bearer.find(&uri, &map(&[("authorization", value)])), Ok(None), "{value}");
        }
    }

    #[test]
    fn two_are_too_many() {
        let uri: Uri = "/?k=1&k=2".parse().unwrap();
        let headers = map(&[
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("x-key", "1"),
            ("x-key", "1"),
            ("cookie", "s=1"),
            ("cookie", "s=2"),
        ]);
        for text in ["bearer", "header x-key", "cookie s", "query k"] {
            assert_eq!(place(text).find(&uri, &headers), Err(Twice), "{text}");
        }
    }

    #[test]
    fn credentials_can_be_taken_out() {
        let mut uri: Uri = "/a?x=1&k=2&y=3".parse().unwrap();
        let mut headers =
            map(&[("authorization", "Bearer a"), ("x-key", "1"), ("cookie", "a=1; s=2"), ("cookie", "b=3")]);
        for text in ["bearer", "header x-key", "cookie s", "query k"] {
            place(text).remove(&mut uri, &mut headers);
        }
        assert_eq!(uri, "/a?x=1&y=3");
        assert_eq!(headers, map(&[("cookie", "a=1; b=3")]));
        let mut uri = Uri::from_static("/a?k=2");
        place("query k").remove(&mut uri, &mut headers);
        assert_eq!(uri, "/a");
        remove_cookies(&mut headers, |_| true);
        assert!(headers.is_empty());
    }
}
