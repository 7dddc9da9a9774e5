//! One request and what the rules say of it.

use std::fmt::Write;
use std::sync::Arc;

use crate::config::{Mode, WafConfig};
use crate::place::Place;
use crate::rule::{BadRules, Rules};
use crate::{json, multipart, normal, xml};

/// Values of one request that are looked at; one with more is itself suspicious.
const VALUES_MAX: usize = 1000;
/// Of one value, bytes that are looked at.
const VALUE_BYTES_MAX: usize = 32 << 10;
/// Findings that are told.
const MATCHES_MAX: usize = 32;
/// Of a value in which something was found, characters that are told.
const EXCERPT: usize = 60;
/// Id of the finding that a request has too many values.
const TOO_MANY: &str = "too-many-values";
/// Id of the finding that a body is not what it says it is.
const BROKEN_BODY: &str = "broken-body";

/// Id of the finding that a part of a body is to be read in an encoding that hides what it says.
const ODD_CHARSET: &str = "odd-charset";
/// Id of the finding that a page of another site gives a session to whoever follows its link.
const SESSION_FIXATION: &str = "session-fixation";
/// What programs call their sessions, where that does not say so.
const SESSIONS: [&str; 10] = [
    "phpsessid",
    "jsessionid",
    "cfid",
    "cftoken",
    "cakephp",
    "symfony",
    "rack.session",
    "connect.sid",
    "shiny-token",
    "ci_session",
];
/// Fields in which programs look for the name of an upload, without what stands between the words.
const FILE_NAMES: [&str; 2] = ["xfilename", "filename"];

/// The firewall: compiled rules and what to do about them. Shared by all threads.
#[derive(Debug)]
pub struct Waf {
    config: WafConfig,
    rules: Rules,
}

/// A request that is being looked at.
#[derive(Debug)]
pub struct Inspection {
    waf: Arc<Waf>,
    /// Exclusions that concern the request's path.
    exclusions: Vec<usize>,
    /// A parameter is called like a session.
    gives_session: bool,
    /// `Referer` and `Host`, without scheme and path.
    referer: Option<String>,
    host: Option<String>,
    values: usize,
    score: u32,
    matches: Vec<Match>,
}

/// A rule that fitted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Match {
    /// The rule.
    pub rule: String,
    /// What it finds.
    pub say: String,
    /// What it added.
    pub score: u32,
    /// Where the value stands.
    #[serde(rename = "where")]
    pub place: Place,
    /// Name of the parameter, cookie, field or member.
    pub name: String,
    /// Beginning of the value. Of what may be a secret, nothing.
    pub excerpt: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The sum.
    pub score: u32,
    /// It reaches the threshold.
    pub attack: bool,
    /// It is to be refused.
    pub block: bool,
    /// What was found.
    pub matches: Vec<Match>,
}

impl Waf {
    /// Compiles the rules. `more` are the texts of the files that the settings name, with their names.
    ///
    /// # Errors
    /// What is wrong with a rule or a setting, in words.
    pub fn new(config: WafConfig, more: &[(String, String)]) -> Result<Self, BadRules> {
        if !(1..=4).contains(&config.level) {
            return Err(BadRules("level must be 1, 2, 3 or 4".into()));
        }
        if config.threshold == 0 {
            return Err(BadRules("threshold must be at least 1; every request would be an attack".into()));
        }
        let rules = Rules::new(config.level, more)?;
        Ok(Self { config, rules })
    }

    /// The settings.
    pub fn config(&self) -> &WafConfig {
        &self.config
    }

    /// Begins to look at a request for `path`, still encoded.
    pub fn inspect(self: &Arc<Self>, path: &str) -> Inspection {
        let concerned = self.config.exclude.iter().enumerate().filter(|(_, one)| one.concerns_path(path));
        let exclusions = concerned.map(|(index, _)| index).collect();
        let mut inspection = Inspection {
            waf: self.clone(),
            exclusions,
            gives_session: false,
            referer: None,
            host: None,
            values: 0,
            score: 0,
            matches: Vec::new(),
        };
        inspection.value(Place::Path, "", path, false);
        inspection
    }
}

impl Inspection {
    /// The query, without `?`, or a form.
    pub fn query(&mut self, text: &str) {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain_name = normal::text(name, true);
            self.gives_session |= !value.is_empty() && names_session(&plain_name);
            self.value(Place::Parameter, &plain_name, name, true);
            self.value(Place::Parameter, &plain_name, value, true);
            if self.is_full() {
                return;
            }
        }
    }

    /// A header field.
    pub fn header(&mut self, name: &str, value: &str) {
        match name {
            "cookie" => {
                for pair in value.split(';') {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    self.value(Place::Cookie, name.trim(), name.trim(), false);
                    self.value(Place::Cookie, name.trim(), value.trim(), false);
                }
            }
            "user-agent" => self.value(Place::UserAgent, name, value, false),
            "referer" => {
                let site = value.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next());
                self.referer = site.flatten().map(str::to_ascii_lowercase);
                self.value(Place::Referer, name, value, false);
            }
            "host" => self.host = Some(value.to_ascii_lowercase()),
            // Their grammar was checked, and what they hold is for the server in front of programs.
            "content-length" | "transfer-encoding" | "connection" | "authorization" | "accept"
            | "accept-encoding" | "accept-language" | "if-none-match" | "if-modified-since" | "range" => {}
            _ => {
                let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
                if FILE_NAMES.contains(&bare.as_str()) {
                    self.value(Place::FileName, name, value, false);
                }
                self.value(Place::Header, name, value, false);
            }
        }
    }

    /// The body, or its beginning; `whole` when nothing is missing.
    pub fn body(&mut self, content_type: &str, bytes: &[u8], whole: bool) {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "application/x-www-form-urlencoded" {
            return self.query(&String::from_utf8_lossy(bytes));
        }
        if kind == "multipart/form-data" {
            let Some(boundary) = multipart::boundary(content_type) else {
                return self.found(BROKEN_BODY, "a multipart body without a boundary", 5, Place::Body);
            };
            for part in multipart::parts(bytes, &boundary, VALUES_MAX) {
                let plain = |charset: &str| {
                    matches!(charset, "utf-8" | "us-ascii" | "iso-8859-1" | "iso-8859-15" | "windows-1252")
                };
                let odd = part.charset.as_deref().is_some_and(|charset| !plain(charset));
                let default = part.name == "_charset_"
                    && !plain(&String::from_utf8_lossy(part.text).trim().to_ascii_lowercase());
                if odd || default || part.encoded {
                    self.found(ODD_CHARSET, "a part in an encoding that rules cannot read", 5, Place::Body);
                }
                self.value(Place::Parameter, &part.name, &part.name, false);
                self.value(Place::Parameter, &part.name, &String::from_utf8_lossy(part.text), false);
                if let Some(file_name) = &part.file_name {
                    self.value(Place::FileName, &part.name, file_name, false);
                }
            }
            return;
        }
        if kind == "application/json" || kind.ends_with("+json") {
            let parsed = json::strings(bytes, VALUES_MAX, &mut |name, value| {
                self.value(Place::Json, name, value, false)
            });
            // What breaks off was looked at as far as it goes; what is broken may be read otherwise by the program behind.
            if parsed.is_err() && whole {
                self.found(BROKEN_BODY, "a JSON body that is none, or has too much in it", 3, Place::Body);
                self.value(Place::Body, "", &String::from_utf8_lossy(bytes), false);
            }
            return;
        }
        if kind.ends_with("xml") {
            let text = String::from_utf8_lossy(bytes);
            let whole = xml::values(&text, VALUES_MAX, &mut |name, value| {
                self.value(Place::Body, name, value, false);
            });
            if !whole {
                self.found(TOO_MANY, "more values than any form has", 5, Place::Body);
            }
            return;
        }
        // Bodies without a type are read by programs that guess.
        if kind.is_empty() || kind.starts_with("text/") {
            self.value(Place::Body, "", &String::from_utf8_lossy(bytes), false);
        }
    }

    /// It will be refused, whatever else is in it.
    pub fn is_decided(&self) -> bool {
        self.score >= self.waf.config.threshold && self.waf.config.mode == Mode::Block
    }

    /// The sum, and what to do.
    pub fn finish(mut self) -> Verdict {
        let foreign = match (&self.referer, &self.host) {
            (Some(referer), Some(host)) => referer != host,
            _ => false,
        };
        if self.gives_session && foreign {
            self.found(SESSION_FIXATION, "a session that another site's page gives", 5, Place::Parameter);
        }
        let (attack, block) = (self.score >= self.waf.config.threshold, self.is_decided());
        Verdict { score: self.score, attack, block, matches: self.matches }
    }

    fn is_full(&self) -> bool {
        self.values > VALUES_MAX
    }

    fn found(&mut self, rule: &str, say: &str, score: u32, place: Place) {
        if self.is_excluded(rule, "") {
            return;
        }
        self.score += score;
        if self.matches.len() < MATCHES_MAX {
            let (rule, say) = (rule.to_owned(), say.to_owned());
            self.matches.push(Match { rule, say, score, place, name: String::new(), excerpt: String::new() });
        }
    }

    fn is_excluded(&self, rule: &str, name: &str) -> bool {
        self.exclusions.iter().any(|index| self.waf.config.exclude[*index].concerns(rule, name))
    }

    /// Compares a value with the rules for its place.
    fn value(&mut self, place: Place, name: &str, raw: &str, plus: bool) {
        self.values += 1;
        if self.values > VALUES_MAX {
            if self.values == VALUES_MAX + 1 {
                self.found(TOO_MANY, "more values than any form has", 5, place);
            }
            return;
        }
        // From level 3 on there are rules about words that look like nothing.
        let looked_at = self.waf.config.level >= 3 || place == Place::Path || place == Place::UserAgent;
        if !looked_at && is_plain_word(raw) {
            return;
        }
        let raw = truncated(raw, VALUE_BYTES_MAX);
        let text = normal::text(raw, plus);
        let waf = self.waf.clone();
        for (decoding, group) in waf.rules.decodings(place) {
            let decoded = decoding.apply(raw, &text);
            for index in waf.rules.fitting(group, place, &decoded) {
                let rule = &waf.rules.all[index];
                let known = self.matches.iter().any(|found| found.rule == rule.id);
                if self.is_excluded(&rule.id, name) || known {
                    continue;
                }
                self.score += rule.score;
                if self.matches.len() < MATCHES_MAX {
                    self.matches.push(Match {
                        rule: rule.id.clone(),
                        say: rule.say.clone(),
                        score: rule.score,
                        place,
                        name: truncated(name, EXCERPT).to_owned(),
                        excerpt: excerpt(place, name, &decoded),
                    });
                }
            }
        }
    }
}

/// Whether programs keep sessions under such a name.
fn names_session(name: &str) -> bool {
    const ENDS: [&str; 11] = [
        "sessionid",
        "session_id",
        "session-id",
        "session.id",
        "session-token",
        "session_token",
        "login_token",
        ".sid",
        "_sid",
        ":sess",
        ".sess",
    ];
    let named = name.len() > "session".len() && name.ends_with("session");
    named || ENDS.iter().any(|end| name.ends_with(end)) || SESSIONS.contains(&name)
}

/// Letters, digits and the like: no rule is about those alone.
fn is_plain_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn truncated(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a log may show of a value: it cannot break a line, and secrets stay out.
fn excerpt(place: Place, name: &str, value: &str) -> String {
    const SECRET: [&str; 6] = ["pass", "secret", "token", "key", "auth", "session"];
    let name = name.to_lowercase();
    if place == Place::Cookie || SECRET.iter().any(|word| name.contains(word)) {
        return format!("({} characters)", value.chars().count());
    }
    let mut out = String::new();
    for c in value.chars().take(EXCERPT) {
        match c.is_control() {
            true => write!(out, "\\u{{{:x}}}", c as u32).unwrap_or_default(),
            false => out.push(c),
        }
    }
    if value.chars().nth(EXCERPT).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests;
