//! Settings of the firewall.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is looked for, and what becomes of requests in which it is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WafConfig {
    /// `block` refuses requests that reach the threshold, `detect` only logs them.
    pub mode: Mode,
    /// Sum of scores from which on a request is an attack. Most rules that are sure give 5.
    pub threshold: u32,
    /// How suspicious the rules are, 1 to 4. Each level adds rules that find more and are wrong more often.
    pub level: u8,
    /// Of a body, bytes that are looked at. What follows passes unseen.
    pub body_bytes: usize,
    /// Files with further rules.
    pub rules: Vec<PathBuf>,
    /// What is not looked at where.
    pub exclude: Vec<Exclusion>,
    /// Where a line of JSON is written for each request in which something was found; none without it.
    pub audit_log: Option<PathBuf>,
}

/// What becomes of attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are logged.
    Detect,
    /// They are refused, and logged.
    #[default]
    Block,
}

/// Rules or values that are left alone on some paths. What is empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exclusion {
    /// Paths: exact, or a beginning that ends in `*`.
    pub path: String,
    /// Ids of rules, or a beginning that ends in `*`, such as `sql-*`.
    pub rules: Vec<String>,
    /// Names of parameters, cookies or fields.
    pub names: Vec<String>,
}

impl Default for WafConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Block,
            threshold: 5,
            level: 1,
            body_bytes: 128 << 10,
            rules: Vec::new(),
            exclude: Vec::new(),
            audit_log: None,
        }
    }
}

impl Exclusion {
    pub(crate) fn concerns_path(&self, path: &str) -> bool {
        self.path.is_empty() || fits(&self.path, path)
    }

    pub(crate) fn concerns(&self, rule: &str, name: &str) -> bool {
        let rule_fits = self.rules.is_empty() || self.rules.iter().any(|pattern| fits(pattern, rule));
        let name_fits = self.names.is_empty() || self.names.iter().any(|other| other == name);
        rule_fits && name_fits
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => text == pattern,
    }
}
