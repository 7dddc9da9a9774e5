//! What a route may ask for beyond host and path.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

use crate::address::Network;

/// A test of one value.
#[derive(Clone, Debug)]
pub enum Test {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is this.
    Is(String),
    /// An expression fits somewhere.
    Fits(Regex),
}

impl Test {
    /// `*` is there, `!` is not there, `~expression`, anything else is the value itself.
    pub fn parse(text: &str) -> Result<Self, regex::Error> {
        Ok(match text {
            "*" => Self::Present,
            "!" => Self::Absent,
            _ => match text.strip_prefix('~') {
                Some(expression) => Self::Fits(Regex::new(expression)?),
                None => Self::Is(text.into()),
            },
        })
    }

    fn passes<'v>(&self, mut values: impl Iterator<Item = &'v str>) -> bool {
        match self {
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Is(wanted) => values.any(|value| value == wanted),
            Self::Fits(expression) => values.any(|value| expression.is_match(value)),
        }
    }
}

/// One thing that a route asks of requests.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A header field.
    Header(HeaderName, Test),
    /// A parameter of the query, percent-decoded.
    Query(String, Test),
    /// The client's address is in one of these.
    Address(Vec<Network>),
}

impl Condition {
    pub(crate) fn holds(&self, headers: &HeaderMap, query: &str, client: IpAddr) -> bool {
        match self {
            Self::Header(name, test) => {
                let values = headers.get_all(name).into_iter();
                test.passes(values.map(|value| value.to_str().unwrap_or_default()))
            }
            Self::Query(name, test) => {
                let pairs: Vec<(String, String)> = query.split('&').filter_map(pair).collect();
                let named = pairs.iter().filter(|(key, _)| key == name);
                test.passes(named.map(|(_, value)| value.as_str()))
            }
            Self::Address(networks) => networks.iter().any(|network| network.contains(client)),
        }
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    if text.is_empty() {
        return None;
    }
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decoded(key), decoded(value)))
}

/// Percent-decoded, with `+` for a space, as forms write it.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = |n: usize| bytes.get(at + n).and_then(|digit| (*digit as char).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The methods that a route takes; none named means any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods(pub(crate) Vec<Method>);

impl Methods {
    /// HEAD is taken where GET is (RFC 9110, section 9.3.2).
    pub(crate) fn take(&self, method: &Method) -> bool {
        self.0.is_empty()
            || self.0.contains(method)
            || (*method == Method::HEAD && self.0.contains(&Method::GET))
    }
}
