//! Versions of an API: which one a request asks for, and what its clients are told of its end: `Deprecation` (RFC 9745),
//! `Sunset` (RFC 8594) and links.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a request says which version it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The first segment of the path: `/v2/users` asks for `2`.
    #[default]
    Path,
    /// A field, of this name.
    Header(String),
    /// `Accept`: `application/json; version=2`, or `application/vnd.acme.v2+json`.
    Accept,
}

/// The versions that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VersionsConfig {
    /// Where requests say which they want: `"path"`, `"accept"`, or `{ header = "NAME" }`.
    pub from: From,
    /// For requests that do not say; without it they are refused.
    pub default: Option<String>,
    /// Takes the segment from the path, when it says the version.
    pub strip: bool,
    /// By name, such as `2`.
    pub versions: BTreeMap<String, VersionConfig>,
}

/// What is known of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VersionConfig {
    /// Since when it should not be used for new things: `2026-01-31` or `2026-01-31T12:00:00Z`.
    pub deprecated: Option<String>,
    /// When it will be gone.
    pub sunset: Option<String>,
    /// A page about that.
    pub link: Option<String>,
    /// Answers 410 once its sunset has come.
    pub refuse_after_sunset: bool,
}

#[derive(Debug)]
struct Version {
    name: String,
    /// Seconds since 1970.
    sunset: Option<u64>,
    refuse_after_sunset: bool,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// [`VersionsConfig`], ready to use.
#[derive(Debug)]
pub struct Versions {
    from: Place,
    default: Option<usize>,
    strip: bool,
    versions: Vec<Version>,
}

#[derive(Debug)]
enum Place {
    Path,
    Field(HeaderName),
    Accept,
}

/// What was found of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<'v> {
    /// This version, for whose answers there are fields.
    Version {
        /// Its name.
        name: &'v str,
        /// To be added to the answer.
        fields: &'v [(HeaderName, HeaderValue)],
        /// So much of the path's front says it, and is to be taken off.
        strip: usize,
    },
    /// One that is not there any more.
    Gone(&'v [(HeaderName, HeaderValue)]),
    /// One that is not there, or none.
    Unknown,
}

impl Versions {
    /// # Errors
    /// A sentence that says which setting is wrong.
    pub fn new(config: &VersionsConfig) -> Result<Self, String> {
        if config.versions.is_empty() {
            return Err("`versions` names none".into());
        }
        let mut versions = Vec::new();
        for (name, version) in &config.versions {
            if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            {
                return Err(format!(
                    "{name:?} is no name of a version; use letters, digits, dots and dashes"
                ));
            }
            versions.push(self::version(name, version)?);
        }
        let default = match &config.default {
            Some(name) => Some(
                versions
                    .iter()
                    .position(|version| version.name == *name)
                    .ok_or(format!("there is no version {name:?}"))?,
            ),
            None => None,
        };
        let from = match &config.from {
            From::Path => Place::Path,
            From::Accept => Place::Accept,
            From::Header(name) => {
                Place::Field(name.parse().map_err(|_| format!("{name:?} is no name of a header field"))?)
            }
        };
        Ok(Self { from, default, strip: config.strip, versions })
    }

    /// The version that a request asks for, at a time in seconds since 1970.
    pub fn find(&self, path: &str, headers: &HeaderMap, now: u64) -> Asked<'_> {
        let mut strip = 0;
        let said = match &self.from {
            Place::Path => {
                let segment =
                    path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
                let name = segment.strip_prefix(['v', 'V']).unwrap_or_default();
                let known = self.named(name);
                if known.is_some() && self.strip {
                    strip = segment.len() + 1;
                }
                // Any other segment is not about versions.
                let looks = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
                if known.is_none() && looks { Some(None) } else { known.map(Some) }
            }
            Place::Field(field) => {
                headers.get(field).map(|value| self.named(value.to_str().unwrap_or_default()))
            }
            Place::Accept => accepted(headers).map(|name| self.named(name)),
        };
        let index = match said {
            Some(Some(index)) => index,
            Some(None) => return Asked::Unknown,
            None => match self.default {
                Some(index) => index,
                None => return Asked::Unknown,
            },
        };
        let version = &self.versions[index];
        if version.refuse_after_sunset && version.sunset.is_some_and(|sunset| now >= sunset) {
            return Asked::Gone(&version.fields);
        }
        Asked::Version { name: &version.name, fields: &version.fields, strip }
    }

    /// The field by which answers differ.
    pub fn vary(&self) -> Option<HeaderValue> {
        match &self.from {
            Place::Path => None,
            Place::Field(name) => HeaderValue::from_str(name.as_str()).ok(),
            Place::Accept => Some(HeaderValue::from_static("accept")),
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.versions.iter().position(|version| version.name == name.trim())
    }
}

fn version(name: &str, config: &VersionConfig) -> Result<Version, String> {
    let time = |text: &Option<String>| text.as_deref().map(moment).transpose();
    let (deprecated, sunset) = (time(&config.deprecated)?, time(&config.sunset)?);
    if let (Some(deprecated), Some(sunset)) = (deprecated, sunset)
        && sunset < deprecated
    {
        return Err(format!("version {name}: `sunset` is before `deprecated`"));
    }
    let mut fields = Vec::new();
    let mut add = |field: HeaderName, text: String| {
        let value = HeaderValue::try_from(text)
            .map_err(|_| format!("version {name}: {field} cannot be sent as it is"))?;
        fields.push((field, value));
        Ok::<_, String>(())
    };
    if let Some(deprecated) = deprecated {
        add(HeaderName::from_static("deprecation"), format!("@{deprecated}"))?;
    }
    if let Some(sunset) = sunset {
        let time = UNIX_EPOCH + Duration::from_secs(sunset);
        add(HeaderName::from_static("sunset"), httpdate::fmt_http_date(time))?;
    }
    if let Some(link) = &config.link {
        if link.contains(['<', '>', ' ']) {
            return Err(format!("version {name}: {link:?} is no address"));
        }
        let relation = if sunset.is_some() { "sunset" } else { "deprecation" };
        add(header::LINK, format!("<{link}>; rel=\"{relation}\"; type=\"text/html\""))?;
    }
    Ok(Version { name: name.to_owned(), sunset, refuse_after_sunset: config.refuse_after_sunset, fields })
}

/// The version that `Accept` names first.
fn accepted(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameter = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("version").then(|| value.trim().trim_matches('"'))
        });
        parameter.or_else(|| {
            let (_, vendor) = kind.split_once("/vnd.")?;
            let name = vendor.split('+').next().unwrap_or_default();
            name.rsplit_once(".v").map(|(_, version)| version)
        })
    })
}

/// Seconds since 1970 of `2026-01-31` or `2026-01-31T12:00:00Z`.
fn moment(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no date; write for example 2026-01-31 or 2026-01-31T12:00:00Z");
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text
            .split(by)
            .map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())))
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-').ok_or_else(wrong)?;
    let [hour, minute, second] =
        time.strip_suffix('Z').and_then(|time| numbers(time, ':')).ok_or_else(wrong)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let known = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !known || day == 0 || day > lengths[month as usize - 1] || hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    let before = year - 1;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leaps(before) - leaps(1969)
        + lengths[..month as usize - 1].iter().sum::<u64>()
        + day
        - 1;
    Ok(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(from: &str) -> Versions {
        let config = format!(
            r#"{{"from": {from}, "strip": true, "default": "2", "versions": {{
                "1": {{"deprecated": "2025-01-01", "sunset": "2026-01-01T00:00:00Z", "link": "https://a.example/v1", "refuse_after_sunset": true}},
                "2": {{}}}}}}"#
        );
        Versions::new(&serde_json::from_str(&config).unwrap()).unwrap()
    }

    fn name<'v>(
        versions: &'v Versions,
        path: &str,
        field: Option<(&'static str, &'static str)>,
    ) -> Option<(&'v str, usize)> {
        let headers = field
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        match versions.find(path, &headers.collect(), 0) {
            Asked::Version { name, strip, .. } => Some((name, strip)),
            _ => None,
        }
    }

    #[test]
    fn versions_are_found_where_they_are_said() {
        let path = versions("\"path\"");
        for (asked, found) in [
            ("/v1/users", Some(("1", 3))),
            ("/v1", Some(("1", 3))),
            ("/V2/", Some(("2", 3))),
            ("/users", Some(("2", 0))),
            ("/vines", Some(("2", 0))),
            ("/v3/users", None),
            ("/v11/x", None),
        ] {
            assert_eq!(name(&path, asked, None), found, "{asked}");
        }
        let header = versions(r#"{"header": "API-Version"}"#);
        assert_eq!(name(&header, "/v1", Some(("api-version", " 1"))), Some(("1", 0)));
        assert_eq!(name(&header, "/v1", None), Some(("2", 0)));
        assert_eq!(name(&header, "/v1", Some(("api-version", "9"))), None);
        let accept = versions("\"accept\"");
        for (asked, found) in [
            ("application/json; q=0.5; Version=\"1\"", Some(("1", 0))),
            ("text/html, application/vnd.acme.v1+json", Some(("1", 0))),
            ("application/vnd.acme.things.v2", Some(("2", 0))),
            ("*/*", Some(("2", 0))),
            ("application/vnd.acme.v7+json", None),
        ] {
            assert_eq!(name(&accept, "/", Some(("accept", asked))), found, "{asked}");
        }
    }

    #[test]
    fn clients_are_told_of_the_end() {
        let versions = versions("\"path\"");
        let Asked::Version { fields, .. } = versions.find("/v1/x", &HeaderMap::new(), 1_735_689_600) else {
            panic!()
        };
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(
            fields,
            [
                "deprecation: @1735689600",
                "sunset: Thu, 01 Jan 2026 00:00:00 GMT",
                "link: <https://a.example/v1>; rel=\"sunset\"; type=\"text/html\"",
            ]
        );
        assert!(matches!(versions.find("/v1/x", &HeaderMap::new(), 1_767_225_600), Asked::Gone(_)));
    }

    #[test]
    fn dates_are_checked() {
        assert_eq!(moment("1970-01-01").unwrap(), 0);
        assert_eq!(moment("2024-02-29T23:59:59Z").unwrap(), 1_709_251_199);
        assert_eq!(moment("2100-03-01").unwrap(), 4_107_542_400);
        for wrong in [
            "",
            "2025-02-29",
            "2025-13-01",
            "2025-1",
            "2025-01-01T25:00:00Z",
            "2025-01-01 00:00:00",
            "+025-01-01",
            "1969-01-01",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            r#"{"versions": {}}"#,
            r#"{"versions": {"1": {}}, "default": "2"}"#,
            r#"{"versions": {"a/b": {}}}"#,
            r#"{"versions": {"1": {"deprecated": "2026-02-01", "sunset": "2026-01-01"}}}"#,
            r#"{"versions": {"1": {"link": "a>b"}}}"#,
            r#"{"from": {"header": "a b"}, "versions": {"1": {}}}"#,
        ] {
            assert!(Versions::new(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
    }
}
