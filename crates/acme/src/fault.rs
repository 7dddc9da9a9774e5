//! Why an order failed, and what its operator can do about it.

use instant_acme::{Error, Problem};

use crate::client::Unwell;
use crate::clock::Seconds;
use crate::config::ChallengeKind;
use crate::names::Name;

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The issuer cannot be spoken to: it is left alone, for all names.
    Issuer,
    /// The issuer has had enough of this name or account for now.
    Limit,
    /// The issuer does not know our account any more.
    Account,
    /// Control over the name could not be proven, or the issuer does not sign it.
    Name,
    /// Something on this machine.
    Here,
}

/// A failed attempt.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) blame: Blame,
    /// What happened and what to do, in words.
    pub(crate) text: String,
    /// How long the issuer wants to be left alone.
    pub(crate) retry_after: Option<Seconds>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

impl Fault {
    pub(crate) fn here(text: impl Into<String>) -> Self {
        Self { blame: Blame::Here, text: text.into(), retry_after: None }
    }

    pub(crate) fn name(text: impl Into<String>) -> Self {
        Self { blame: Blame::Name, text: text.into(), retry_after: None }
    }

    /// An order that took longer than it may.
    pub(crate) fn late() -> Self {
        Self {
            blame: Blame::Issuer,
            text: "the issuer did not finish the order in time".into(),
            retry_after: None,
        }
    }

    /// What the ACME library reports. `kind` is the challenge under way, if there was one.
    pub(crate) fn of(error: Error, name: &Name, kind: Option<ChallengeKind>) -> Self {
        match error {
            Error::Api(problem) => Self::problem(&problem, None, name, kind),
            Error::Other(other) => match other.downcast::<Unwell>() {
                Ok(unwell) => match &unwell.problem {
                    Some(problem) if problem.r#type.is_some() => {
                        Self::problem(problem, unwell.retry_after, name, kind)
                    }
                    _ => Self {
                        blame: if unwell.status == 429 { Blame::Limit } else { Blame::Issuer },
                        text: format!("the issuer cannot serve now: {unwell}"),
                        retry_after: unwell.retry_after,
                    },
                },
                Err(other) => {
                    Self { blame: Blame::Issuer, text: format!("the issuer: {other}"), retry_after: None }
                }
            },
            Error::Timeout(_) => Self::late(),
            error => Self { blame: Blame::Issuer, text: format!("the issuer: {error}"), retry_after: None },
        }
    }

    fn problem(
        problem: &Problem,
        retry_after: Option<Seconds>,
        name: &Name,
        kind: Option<ChallengeKind>,
    ) -> Self {
        let class = class(problem);
        let blame = match class {
            "rateLimited" => Blame::Limit,
            "serverInternal" | "badNonce" => Blame::Issuer,
            "accountDoesNotExist" => Blame::Account,
            "externalAccountRequired" | "userActionRequired" | "invalidContact" | "unsupportedContact" => {
                Blame::Here
            }
            _ => Blame::Name,
        };
        let detail = problem.detail.as_deref().unwrap_or("it gave no reason");
        let mut text = format!("the issuer says: {detail}");
        for part in &problem.subproblems {
            text.push_str(&format!("; {part}"));
        }
        if let Some(advice) = advice(class, name, kind) {
            text = format!("{advice} ({text})");
        }
        Self { blame, text: bounded(text), retry_after }
    }
}

/// Issuers repeat what they were sent, which may be long.
fn bounded(mut text: String) -> String {
    const MAX: usize = 1000;
    if text.len() > MAX {
        text.truncate(text.floor_char_boundary(MAX));
        text.push('…');
    }
    text
}

fn class(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

/// Whether an issuer refuses an order because it says which certificate it replaces.
pub(crate) fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        Error::Api(problem) => {
            let detail = problem.detail.as_deref().unwrap_or_default();
            class(problem) == "alreadyReplaced"
                || problem.status == Some(409)
                || (class(problem) == "malformed" && detail.contains("replace"))
        }
        // The library found that the issuer's answer does not repeat the field.
        Error::Other(other) => {
            other.downcast_ref::<Unwell>().is_none() && other.to_string().contains("replaces field")
        }
        _ => false,
    }
}

/// What to do, in words.
fn advice(class: &str, name: &Name, kind: Option<ChallengeKind>) -> Option<String> {
    let base = name.base();
    let text = match (class, kind) {
        ("connection", Some(ChallengeKind::Http01)) => format!(
            "port 80 of {name} does not reach us: open it, and point the name's A and AAAA records at this server"
        ),
        ("connection" | "tls", Some(ChallengeKind::TlsAlpn01)) => format!(
            "port 443 of {name} does not reach us: open it, point the name's A and AAAA records at this server, and let \
             TLS through unchanged"
        ),
        ("unauthorized" | "incorrectResponse", Some(ChallengeKind::Http01)) => format!(
            "another server answers for {name} on port 80: point all of its A and AAAA records at this one"
        ),
        ("unauthorized" | "incorrectResponse", Some(ChallengeKind::TlsAlpn01)) => format!(
            "another server answers for {name} on port 443, or something in between ends TLS: point all of its A and AAAA \
             records at this one"
        ),
        ("unauthorized" | "incorrectResponse" | "dns", Some(ChallengeKind::Dns01)) => format!(
            "the TXT record _acme-challenge.{base} does not hold the value that dns_hook was given: see what the hook \
             does, or raise dns_wait_ms"
        ),
        ("dns", _) => format!("{name} has no usable address in DNS: give it an A or AAAA record"),
        ("caa", _) => {
            format!("a CAA record of {name} or a name above it forbids this issuer: add the issuer there")
        }
        ("rejectedIdentifier" | "unsupportedIdentifier", _) => {
            format!(
                "this issuer does not sign {name}: take it out of the site's hosts, or name another issuer"
            )
        }
        ("rateLimited", _) => "the issuer has had enough orders for now; it is tried again later".to_owned(),
        ("externalAccountRequired", _) => {
            "this issuer wants to know your account with it: set eab = { kid, hmac }".to_owned()
        }
        ("userActionRequired", _) => {
            "this issuer wants you to agree to something: follow its address".to_owned()
        }
        ("invalidContact" | "unsupportedContact", _) => {
            "this issuer does not take the address in email".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(class: &str) -> Problem {
        let text = format!("{{\"type\": \"{PREFIX}{class}\", \"detail\": \"they said\"}}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn failures_say_what_to_do() {
        let name = Name::parse("a.example").unwrap();
        for (class, kind, words) in [
            ("connection", ChallengeKind::Http01, "port 80 of a.example does not reach us"),
            ("connection", ChallengeKind::TlsAlpn01, "port 443 of a.example does not reach us"),
            ("unauthorized", ChallengeKind::Http01, "another server answers"),
            ("unauthorized", ChallengeKind::Dns01, "_acme-challenge.a.example"),
            ("dns", ChallengeKind::Http01, "A or AAAA"),
            ("caa", ChallengeKind::Http01, "CAA record"),
        ] {
            let fault = Fault::of(Error::Api(problem(class)), &name, Some(kind));
            assert!(fault.text.contains(words) && fault.text.contains("they said"), "{}", fault.text);
            assert_eq!(fault.blame, Blame::Name);
        }
    }

    #[test]
    fn blame_decides_who_is_left_alone() {
        let name = Name::parse("a.example").unwrap();
        let blame = |class: &str| Fault::of(Error::Api(problem(class)), &name, None).blame;
        assert_eq!(blame("rateLimited"), Blame::Limit);
        assert_eq!(blame("serverInternal"), Blame::Issuer);
        assert_eq!(blame("accountDoesNotExist"), Blame::Account);
        assert_eq!(blame("externalAccountRequired"), Blame::Here);
        let unwell = Unwell { status: 503, retry_after: Some(77), problem: None };
        let fault = Fault::of(Error::Other(Box::new(unwell)), &name, None);
        assert_eq!((fault.blame, fault.retry_after), (Blame::Issuer, Some(77)));
    }
}
