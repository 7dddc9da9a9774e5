//! Sets of networks: sorted ranges of addresses that do not touch, searched by halves. A hundred thousand networks take
//! under two megabytes and seventeen comparisons.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Networks in one set at most.
pub const NETWORKS_MAX: usize = 4 << 20;

/// Addresses, given as networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    /// Reads networks such as `192.0.2.0/24` or `2001:db8::/32`; a lone address is a network of one.
    ///
    /// # Errors
    /// A sentence that names the first one that is wrong.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for text in texts {
            if v4.len() + v6.len() == NETWORKS_MAX {
                return Err(format!("a set holds at most {NETWORKS_MAX} networks"));
            }
            match range(text)? {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        Ok(Self { v4: merged(v4, |n| n.checked_add(1)), v6: merged(v6, |n| n.checked_add(1)) })
    }

    /// Reads a file's text: a network a line, empty lines and what follows `#` or `;` aside.
    ///
    /// # Errors
    /// As [`Networks::parse`].
    pub fn parse_lines(text: &str) -> Result<Self, String> {
        let content = |line: &'_ str| line.find(['#', ';']).unwrap_or(line.len());
        Self::parse(text.lines().map(|line| line[..content(line)].trim()).filter(|line| !line.is_empty()))
    }

    /// Both sets as one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            v4: merged([&*self.v4, &*other.v4].concat(), |n| n.checked_add(1)),
            v6: merged([&*self.v6, &*other.v6].concat(), |n| n.checked_add(1)),
        }
    }

    /// Whether an address is in one of the networks. IPv6's form of an IPv4 address is that address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

fn range(text: &str) -> Result<Range, String> {
    let wrong = || format!("{text:?} is no network; write for example 192.0.2.0/24 or 2001:db8::/32");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) if length.bytes().all(|b| b.is_ascii_digit()) => {
            (address, Some(length.parse::<u32>().map_err(|_| wrong())?))
        }
        Some(_) => return Err(wrong()),
        None => (text, None),
    };
    match address.parse::<IpAddr>().map_err(|_| wrong())? {
        IpAddr::V4(address) => v4(address.to_bits(), length.unwrap_or(32)).ok_or_else(wrong),
        IpAddr::V6(address) => {
            let length = length.unwrap_or(128);
            match address.to_ipv4_mapped() {
                Some(address) if length >= 96 => v4(address.to_bits(), length - 96).ok_or_else(wrong),
                _ if length > 128 => Err(wrong()),
                _ => {
                    let rest = u128::MAX.checked_shr(length).unwrap_or(0);
                    let first = address.to_bits() & !rest;
                    Ok(Range::V6(first, first | rest))
                }
            }
        }
    }
}

fn v4(address: u32, length: u32) -> Option<Range> {
    let rest = u32::MAX.checked_shr(length).unwrap_or(0);
    let first = address & !rest;
    (length <= 32).then_some(Range::V4(first, first | rest))
}

/// Sorted, with those that overlap or touch made one.
fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|range, before| {
        let touches = next(before.1).is_none_or(|next| range.0 <= next);
        if touches {
            before.1 = before.1.max(range.1);
        }
        touches
    });
    ranges.into_boxed_slice()
}

fn holds<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let after = ranges.partition_point(|range| range.0 <= address);
    after > 0 && address <= ranges[after - 1].1
}

/// Which addresses may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpRules {
    /// Networks that may ask. When there are any, here or in `allow_file`, nobody else may.
    pub allow: Vec<String>,
    /// Networks that may not ask, even when they are in `allow`.
    pub deny: Vec<String>,
    /// A file of networks that may ask, one a line. It is read again when it changes.
    pub allow_file: Option<std::path::PathBuf>,
    /// A file of networks that may not ask, one a line. It is read again when it changes.
    pub deny_file: Option<std::path::PathBuf>,
}

/// [`IpRules`] with their files read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpLists {
    /// `None` lets everybody in.
    pub allow: Option<Networks>,
    /// These stay out.
    pub deny: Networks,
}

impl IpLists {
    /// Of rules and the texts of their files.
    ///
    /// # Errors
    /// As [`Networks::parse`].
    pub fn new(rules: &IpRules, allow_text: Option<&str>, deny_text: Option<&str>) -> Result<Self, String> {
        let list = |texts: &[String], file: Option<&str>| {
            let inline = Networks::parse(texts.iter().map(String::as_str))?;
            Ok::<_, String>(match file {
                Some(text) => inline.and(&Networks::parse_lines(text)?),
                None => inline,
            })
        };
        let listed = !rules.allow.is_empty() || rules.allow_file.is_some();
        Ok(Self {
            allow: listed.then(|| list(&rules.allow, allow_text)).transpose()?,
            deny: list(&rules.deny, deny_text)?,
        })
    }

    /// Whether a client may ask.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contains(address) && self.allow.as_ref().is_none_or(|allow| allow.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str]) -> Networks {
        Networks::parse(texts.iter().copied()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_set_when_it_is_in_a_network(
            networks in proptest::collection::vec((any::<u32>(), 0u32..=32), 1..40), addresses in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let text = |(bits, length): &(u32, u32)| format!("{}/{length}", std::net::Ipv4Addr::from_bits(*bits));
            let texts: Vec<String> = networks.iter().map(text).collect();
            let set = Networks::parse(texts.iter().map(String::as_str)).unwrap();
            let near = networks.iter().flat_map(|(bits, length)| {
                let rest = u32::MAX.checked_shr(*length).unwrap_or(0);
                [bits & !rest, bits | rest, (bits & !rest).wrapping_sub(1), (bits | rest).wrapping_add(1)]
            });
            for address in near.chain(addresses) {
                let expected = networks.iter().any(|(bits, length)| {
                    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                    address & mask == bits & mask
                });
                prop_assert_eq!(set.contains(std::net::Ipv4Addr::from_bits(address).into()), expected);
            }
        }
    }

    #[test]
    fn both_families_and_their_mixture() {
        let set = of(&["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:203.0.113.0/120", "fe80::1"]);
        for inside in [
            "192.0.2.0",
            "192.0.2.255",
            "::ffff:192.0.2.9",
            "198.51.100.7",
            "2001:db8:ffff::",
            "203.0.113.4",
            "fe80::1",
        ] {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "192.0.3.0",
            "192.0.1.255",
            "198.51.100.8",
            "2001:db9::",
            "203.0.114.0",
            "fe80::2",
            "::",
            "255.255.255.255",
        ] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
        let all = of(&["0.0.0.0/0", "::/0", "255.255.255.255", "ffff::/16"]);
        assert_eq!((all.v4.len(), all.v6.len()), (1, 1));
        assert!(all.contains(ip("255.255.255.255")) && all.contains(ip("::")));
        assert_eq!(
            of(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"]),
            of(&["10.9.9.9/8"]),
            "what touches is one"
        );
        assert!(!Networks::default().contains(ip("::1")));
    }

    #[test]
    fn wrong_networks_are_named() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::ffff:1.2.3.4/140",
            "host",
        ] {
            let error = Networks::parse(["1.1.1.1", text]).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        let lines = "# list\n10.0.0.0/8 ; private\n\n  192.0.2.1  # one\r\n";
        assert_eq!(Networks::parse_lines(lines).unwrap(), of(&["10.0.0.0/8", "192.0.2.1"]));
        assert!(Networks::parse_lines("10.0.0.0/8\nbogus").is_err());
    }

    #[test]
    fn deny_goes_before_allow() {
        let rules = IpRules {
            allow: vec!["10.0.0.0/8".into()],
            deny: vec!["10.1.0.0/16".into()],
            ..IpRules::default()
        };
        let lists = IpLists::new(&rules, None, Some("10.2.0.0/16")).unwrap();
        let admitted = ["10.0.0.1", "10.1.0.1", "10.2.0.1", "192.0.2.1"].map(|text| lists.admits(ip(text)));
        assert_eq!(admitted, [true, false, false, false]);
        assert!(IpLists::new(&IpRules::default(), None, None).unwrap().admits(ip("192.0.2.1")));
        // A file that is empty lets nobody in, rather than everybody.
        let rules = IpRules { allow_file: Some("x".into()), ..IpRules::default() };
        assert!(!IpLists::new(&rules, Some(""), None).unwrap().admits(ip("192.0.2.1")));
    }
}
