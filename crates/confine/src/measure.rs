//! What confines a process, in a form that travels as one line of text.

use std::fmt;
use std::str::FromStr;

/// One kind of namespace a process has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Its own user ids; capabilities count only inside.
    User,
    /// Its own mount table.
    Mount,
    /// Its own network stack, without any interface that is up.
    Net,
    /// Its own System V and POSIX message queues.
    Ipc,
    /// Its own host name.
    Uts,
}

impl Namespace {
    pub(crate) const ALL: [Self; 5] = [Self::User, Self::Mount, Self::Net, Self::Ipc, Self::Uts];

    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
        }
    }
}

/// One thing that confines a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// Only listed system calls work.
    Seccomp,
    /// Landlock denies every file and TCP access it knows at this ABI.
    Landlock {
        /// The ABI in force: the kernel's or the newest this crate knows, whichever is older.
        abi: u8,
    },
    /// The process has these namespaces to itself.
    Namespaces(Vec<Namespace>),
    /// The root directory is an empty, read-only file system.
    EmptyRoot,
    /// No capability is left in any set.
    NoCapabilities,
    /// The process gave up root for this user id.
    User(u32),
    /// The kernel bounds the process through a control group.
    Cgroup {
        /// 1 or 2.
        version: u8,
        /// The controllers in use, such as `memory`.
        controllers: Vec<String>,
    },
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seccomp => f.write_str("seccomp"),
            Self::Landlock { abi } => write!(f, "landlock abi {abi}"),
            Self::Namespaces(names) => {
                let names: Vec<_> = names.iter().map(|n| n.name()).collect();
                write!(f, "namespaces {}", names.join(","))
            }
            Self::EmptyRoot => f.write_str("empty root"),
            Self::NoCapabilities => f.write_str("no capabilities"),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Cgroup { version, controllers } => write!(f, "cgroup v{version} {}", controllers.join(",")),
        }
    }
}

/// A word in a list of measures that no measure is called.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown confinement measure `{0}`")]
pub struct UnknownMeasure(pub String);

impl FromStr for Measure {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Self, UnknownMeasure> {
        let unknown = || UnknownMeasure(text.to_owned());
        match text {
            "seccomp" => return Ok(Self::Seccomp),
            "empty root" => return Ok(Self::EmptyRoot),
            "no capabilities" => return Ok(Self::NoCapabilities),
            _ => {}
        }
        if let Some(abi) = text.strip_prefix("landlock abi ") {
            return abi.parse().map(|abi| Self::Landlock { abi }).map_err(|_| unknown());
        }
        if let Some(uid) = text.strip_prefix("uid ") {
            return uid.parse().map(Self::User).map_err(|_| unknown());
        }
        if let Some(names) = text.strip_prefix("namespaces ") {
            let find = |name: &str| Namespace::ALL.into_iter().find(|n| n.name() == name);
            let found: Option<Vec<_>> = names.split(',').map(find).collect();
            return found.map(Self::Namespaces).ok_or_else(unknown);
        }
        if let Some((version, names)) = text.strip_prefix("cgroup v").and_then(|rest| rest.split_once(' ')) {
            let version = version.parse().map_err(|_| unknown())?;
            return Ok(Self::Cgroup { version, controllers: names.split(',').map(str::to_owned).collect() });
        }
        Err(unknown())
    }
}

/// Something that could have confined the process and does not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, such as `empty root`.
    pub what: String,
    /// The reason in words.
    pub why: String,
}

/// Everything that confines a process, and what is missing.
///
/// As text the parts are separated by `; `, and a missing one reads `without <what>: <why>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// What holds.
    pub items: Vec<Measure>,
    /// What this machine or user could not do.
    pub missing: Vec<Missing>,
}

impl InForce {
    /// Adds a measure that has come into force, such as what [`seal`](crate::seal) returns.
    pub fn add(&mut self, measure: Measure) {
        self.items.push(measure);
    }

    /// True when untrusted code may run: a system call filter holds, and the file system is out of reach by
    /// Landlock or by an empty root.
    pub fn is_sufficient(&self) -> bool {
        let seccomp = self.items.iter().any(|m| matches!(m, Measure::Seccomp));
        let no_files = self.items.iter().any(|m| matches!(m, Measure::Landlock { .. } | Measure::EmptyRoot));
        seccomp && no_files
    }

    /// The measures in force, one string each.
    pub fn to_strings(&self) -> Vec<String> {
        self.items.iter().map(Measure::to_string).collect()
    }

    pub(crate) fn lacks(&mut self, what: &str, why: impl fmt::Display) {
        // The separator must not occur inside a part.
        let why = why.to_string().replace(';', ",");
        self.missing.push(Missing { what: what.to_owned(), why });
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.to_strings();
        parts.extend(self.missing.iter().map(|m| format!("without {}: {}", m.what, m.why)));
        f.write_str(&parts.join("; "))
    }
}

impl FromStr for InForce {
    type Err = UnknownMeasure;

    fn from_str(text: &str) -> Result<Self, UnknownMeasure> {
        let mut found = Self::default();
        for part in text.split("; ").filter(|part| !part.is_empty()) {
            match part.strip_prefix("without ") {
                None => found.items.push(part.parse()?),
                Some(rest) => {
                    let (what, why) = rest.split_once(": ").unwrap_or((rest, ""));
                    found.missing.push(Missing { what: what.to_owned(), why: why.to_owned() });
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> InForce {
        let mut all = InForce {
            items: vec![
                Measure::Seccomp,
                Measure::Landlock { abi: 7 },
                Measure::Namespaces(Namespace::ALL.to_vec()),
                Measure::EmptyRoot,
                Measure::NoCapabilities,
                Measure::User(65534),
                Measure::Cgroup { version: 1, controllers: vec!["memory".into(), "cpu".into()] },
            ],
            missing: Vec::new(),
        };
        all.lacks("empty root", "mount: no; not today");
        all
    }

    #[test]
    fn survives_the_trip_through_text() {
        let text = all().to_string();
        assert!(text.starts_with("seccomp; landlock abi 7; namespaces user,mount,net,ipc,uts; empty root; "));
        assert!(text.ends_with("cgroup v1 memory,cpu; without empty root: mount: no, not today"));
        assert_eq!(text.parse(), Ok(all()));
        assert_eq!("".parse(), Ok(InForce::default()));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in [
            "magic",
            "landlock abi x",
            "namespaces user,moon",
            "uid -1",
            "cgroup v9",
            "seccomp;landlock abi 1",
        ] {
            assert!(text.parse::<InForce>().is_err(), "{text}");
        }
    }

    #[test]
    fn sufficient_means_seccomp_and_no_files() {
        let sufficient = |text: &str| text.parse::<InForce>().unwrap().is_sufficient();
        assert!(sufficient("seccomp; landlock abi 1"));
        assert!(sufficient("empty root; seccomp"));
        assert!(!sufficient("seccomp"));
        assert!(!sufficient("landlock abi 7; empty root; no capabilities"));
        assert!(!sufficient("without seccomp: no; landlock abi 7"));
    }
}
