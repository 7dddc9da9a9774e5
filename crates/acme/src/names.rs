//! Names that a certificate can be for. Clients choose what they ask for in a handshake, so nothing is taken on trust.

use std::fmt;
use std::sync::Arc;

/// Longest name, bytes. DNS allows 253; these must also be names of files, with endings.
const NAME_MAX: usize = 220;
/// Longest label, bytes.
const LABEL_MAX: usize = 63;

/// A domain name in lower case, or `*.` in front of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a name gets no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// No authority signs addresses here.
    #[error("is an address; certificates are for names")]
    Address,
    /// Longer than a name may be.
    #[error("is too long; at most 220 bytes")]
    TooLong,
    /// One label only.
    #[error("has one label only; no public authority signs it")]
    OneLabel,
    /// A label that no host name has.
    #[error("holds a label that is no host name's: letters, digits and inner hyphens, in ASCII")]
    Label,
    /// A `*` somewhere else than alone in front.
    #[error("has a * that is not its whole first label")]
    Wildcard,
    /// An internationalised label that only a client asked for.
    #[error("is internationalised, which is allowed only for names that are listed")]
    Internationalised,
}

impl Name {
    /// A name that an operator wrote.
    pub fn parse(text: &str) -> Result<Self, NameProblem> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let base = text.strip_prefix("*.").unwrap_or(text);
        if text.len() > NAME_MAX {
            return Err(NameProblem::TooLong);
        }
        if base.contains('*') {
            return Err(NameProblem::Wildcard);
        }
        if base.parse::<std::net::IpAddr>().is_ok() || base.starts_with('[') {
            return Err(NameProblem::Address);
        }
        if !base.contains('.') {
            return Err(NameProblem::OneLabel);
        }
        if !base.split('.').all(is_label) {
            return Err(NameProblem::Label);
        }
        // What looks like an address in some notation or other, such as 1.2.3 or 0x7f.1.
        let last = base.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x") {
            return Err(NameProblem::Address);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// A name that a client asked for: one that stands for itself only, in letters as they are.
    pub fn asked(text: &str) -> Result<Self, NameProblem> {
        let name = Self::parse(text)?;
        if name.is_wildcard() {
            return Err(NameProblem::Wildcard);
        }
        Ok(name)
    }

    /// Whether a label has the form of an internationalised one, or may get a meaning of that sort: `??--`.
    pub fn is_internationalised(&self) -> bool {
        self.base().split('.').any(|label| label.as_bytes().get(2..4) == Some(b"--"))
    }

    /// As text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all names under another.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Without `*.`.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// As the name of a file.
    pub(crate) fn file_stem(&self) -> String {
        if self.is_wildcard() { format!("_.{}", self.base()) } else { self.0.to_string() }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Names that may be ordered on demand: one, or all with one more label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Name);

impl Pattern {
    /// Reads `name.example` or `*.name.example`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Name::parse(text).map(Self).map_err(|problem| format!("{text:?} {problem}"))
    }

    /// Whether it is this very name.
    pub fn is(&self, name: &Name) -> bool {
        self.0 == *name
    }

    /// Whether it allows a name.
    pub fn allows(&self, name: &Name) -> bool {
        if !self.0.is_wildcard() {
            return self.is(name);
        }
        name.as_str().split_once('.').is_some_and(|(_, rest)| rest == self.0.base())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = format!("{}.example", "a.".repeat(130));
        let label = format!("{}.example", "a".repeat(64));
        for (text, problem) in [
            ("127.0.0.1", NameProblem::Address),
            ("::1", NameProblem::Address),
            ("[::1]", NameProblem::Address),
            ("1.2.3", NameProblem::Address),
            ("127.0x1", NameProblem::Address),
            ("localhost", NameProblem::OneLabel),
            ("", NameProblem::OneLabel),
            ("a_b.example", NameProblem::Label),
            ("a..example", NameProblem::Label),
            ("-a.example", NameProblem::Label),
            ("a-.example", NameProblem::Label),
            ("b\u{fc}cher.example", NameProblem::Label),
            ("a.example\0", NameProblem::Label),
            ("../a.example", NameProblem::Label),
            ("a/b.example", NameProblem::Label),
            ("a.*.example", NameProblem::Wildcard),
            ("a*.example", NameProblem::Wildcard),
            ("*.*.example", NameProblem::Wildcard),
            (&label, NameProblem::Label),
            (&long, NameProblem::TooLong),
        ] {
            assert_eq!(Name::parse(text), Err(problem), "{text:?}");
        }
        assert_eq!(Name::asked("*.a.example"), Err(NameProblem::Wildcard));
        assert!(Name::parse("xn--bcher-kva.example").unwrap().is_internationalised());
        assert!(!Name::parse("a-b.example").unwrap().is_internationalised());
    }

    #[test]
    fn a_name_is_kept_in_lower_case_without_its_root() {
        assert_eq!(Name::parse("Shop.Example.").unwrap().as_str(), "shop.example");
        assert_eq!(Name::parse("*.Shop.Example").unwrap().file_stem(), "_.shop.example");
    }

    #[test]
    fn a_star_is_one_label() {
        let pattern = Pattern::parse("*.a.example").unwrap();
        let allows = |text: &str| pattern.allows(&Name::asked(text).unwrap());
        assert!(allows("x.a.example") && allows("X.A.example"));
        assert!(!allows("a.example") && !allows("y.x.a.example") && !allows("x.b.example"));
        assert!(Pattern::parse("b.example").unwrap().allows(&Name::asked("b.example").unwrap()));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_safe_as_a_file_name(text in "\\PC{0,300}") {
            if let Ok(name) = Name::parse(&text) {
                let stem = name.file_stem();
                prop_assert!(stem.len() <= NAME_MAX && !stem.contains("..") && !stem.starts_with('.'));
                prop_assert!(stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b)));
                prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
