//! Rules, as they are written and compiled.

use std::collections::BTreeSet;

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use crate::normal::Decoding;
use crate::place::Place;

/// Memory for the automata of one decoding, bytes.
const AUTOMATON_BYTES: usize = 64 << 20;

/// The rules that are always there.
const BUILT_IN: [(&str, &str); 6] = [
    ("protocol", include_str!("../rules/protocol.toml")),
    ("files", include_str!("../rules/files.toml")),
    ("commands", include_str!("../rules/commands.toml")),
    ("sql", include_str!("../rules/sql.toml")),
    ("script", include_str!("../rules/script.toml")),
    ("code", include_str!("../rules/code.toml")),
];

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Stable.
    pub(crate) id: String,
    /// What it finds, in words.
    pub(crate) say: String,
    /// From which level on it is used.
    #[serde(default = "first_level")]
    pub(crate) level: u8,
    /// What it adds to the sum.
    #[serde(default = "sure")]
    pub(crate) score: u32,
    /// Where it looks; in everything that people fill in, when nothing is said.
    #[serde(default, rename = "where")]
    pub(crate) places: Vec<Place>,
    /// How values are decoded before.
    #[serde(default)]
    decode: Decoding,
    /// Expressions over the decoded value, which is in lower case; one has to fit.
    #[serde(rename = "match")]
    expressions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// Rules that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRules(pub String);

impl std::fmt::Display for BadRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRules {}

fn first_level() -> u8 {
    1
}

fn sure() -> u32 {
    5
}

impl Rule {
    /// Bits of the places where it looks.
    fn mask(&self) -> u16 {
        let default =
            [Place::Path, Place::Parameter, Place::Json, Place::Cookie, Place::FileName, Place::Body];
        let places = if self.places.is_empty() { &default[..] } else { &self.places };
        places.iter().fold(0, |mask, place| mask | place.bit())
    }
}

/// All rules of one decoding as one automaton.
#[derive(Debug)]
pub(crate) struct Group {
    set: RegexSet,
    /// Of each expression, its rule.
    rules: Vec<usize>,
}

/// Rules, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) all: Vec<Rule>,
    masks: Vec<u16>,
    groups: Vec<(Decoding, Group)>,
}

impl Rules {
    /// The built-in rules up to a level, and those of further files, which are given with their names.
    pub(crate) fn new(level: u8, more: &[(String, String)]) -> Result<Self, BadRules> {
        let built_in = BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let mut all: Vec<Rule> = Vec::new();
        let mut ids = BTreeSet::new();
        for (name, text) in built_in.chain(more.iter().cloned()) {
            let file: File = toml::from_str(&text).map_err(|error| BadRules(format!("{name}: {error}")))?;
            for rule in file.rule {
                if !ids.insert(rule.id.clone()) {
                    return Err(BadRules(format!("{name}: there are two rules {:?}", rule.id)));
                }
                for expression in &rule.expressions {
                    if let Err(error) = RegexBuilder::new(expression).unicode(false).build() {
                        return Err(BadRules(format!("{name}: rule {:?}: {error}", rule.id)));
                    }
                }
                if rule.level <= level {
                    all.push(rule);
                }
            }
        }
        let masks = all.iter().map(Rule::mask).collect();
        let mut groups = Vec::new();
        for decoding in Decoding::ALL {
            let mut expressions = Vec::new();
            let mut rules = Vec::new();
            for (index, rule) in all.iter().enumerate().filter(|(_, rule)| rule.decode == decoding) {
                expressions.extend(rule.expressions.iter().map(String::as_str));
                rules.extend(rule.expressions.iter().map(|_| index));
            }
            if rules.is_empty() {
                continue;
            }
            // Over bytes: what `\b` and `.` mean beyond ASCII would make the automata many times larger and slower.
            let set = RegexSetBuilder::new(expressions)
                .unicode(false)
                .size_limit(AUTOMATON_BYTES)
                .dfa_size_limit(AUTOMATON_BYTES)
                .build()
                .map_err(|error| BadRules(format!("the rules together: {error}")))?;
            groups.push((decoding, Group { set, rules }));
        }
        Ok(Self { all, masks, groups })
    }

    /// Decodings that rules for a place use.
    pub(crate) fn decodings(&self, place: Place) -> impl Iterator<Item = (Decoding, &Group)> {
        self.groups
            .iter()
            .filter(move |(_, group)| group.rules.iter().any(|rule| self.masks[*rule] & place.bit() != 0))
            .map(|(decoding, group)| (*decoding, group))
    }

    /// Rules for a place that fit a decoded value.
    pub(crate) fn fitting(&self, group: &Group, place: Place, value: &str) -> BTreeSet<usize> {
        let matches = group.set.matches(value.as_bytes());
        let rules = matches.iter().map(|expression| group.rules[expression]);
        rules.filter(|rule| self.masks[*rule] & place.bit() != 0).collect()
    }
}
