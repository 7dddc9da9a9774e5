//! Compatibility flags: what a worker asks for beyond the plain runtime.

use crate::builtin;

/// Node's modules and globals.
pub const NODEJS_COMPAT: &str = "nodejs_compat";
/// `AsyncLocalStorage` and its kin alone.
pub const NODEJS_ALS: &str = "nodejs_als";

/// Bit of [`NODEJS_COMPAT`].
pub const NODE_BIT: u32 = 1;
/// Bit of [`NODEJS_ALS`].
pub const ALS_BIT: u32 = 2;

/// The flags that mean something here, by their bits.
const FLAGS: &[(&str, u32)] = &[
    (NODEJS_COMPAT, NODE_BIT),
    // What Cloudflare makes of the flag above by date.
    ("nodejs_compat_v2", NODE_BIT),
    (NODEJS_ALS, ALS_BIT),
];

/// The bits of those flags that are known; the others mean nothing.
pub fn bits(flags: &[String]) -> u32 {
    flags.iter().filter_map(|flag| bit(flag)).fold(0, |all, bit| all | bit)
}

/// The flags that mean nothing here.
pub fn unknown(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).filter(|flag| bit(flag).is_none()).collect()
}

fn bit(flag: &str) -> Option<u32> {
    FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, bit)| *bit)
}

/// Whether a worker with these bits may import this module of Node's, by any of its names.
pub fn provides(bits: u32, specifier: &str) -> bool {
    match builtin::canonical(specifier) {
        Some("node:async_hooks") => bits & (NODE_BIT | ALS_BIT) != 0,
        Some(_) => bits & NODE_BIT != 0,
        None => false,
    }
}

/// Why a worker with these bits cannot import a module: the end of a sentence that begins with its name.
pub fn why_absent(bits: u32, specifier: &str) -> String {
    if let Some(name) = builtin::canonical(specifier).filter(|_| !provides(bits, specifier)) {
        return format!(
            "needs the compatibility flag {NODEJS_COMPAT}: add compatibility_flags = [\"{NODEJS_COMPAT}\"] to the configuration; the module is {name} then"
        );
    }
    match builtin::instead(specifier) {
        Some(instead) => format!("is a module of Node that workers do not have: {instead}"),
        None if specifier.starts_with("node:") || specifier.starts_with("cloudflare:") => {
            "is not provided by this runtime".into()
        }
        None => "is not among the deployed modules".into(),
    }
}

/// Whether it is a day of the calendar: `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    let shape = |(i, b): (usize, u8)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() };
    if text.len() != 10 || !text.bytes().enumerate().all(shape) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap_or(0);
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=last).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_bits() {
        let flags = ["nodejs_als", "unheard_of", "nodejs_compat"].map(String::from);
        assert_eq!(bits(&flags), NODE_BIT | ALS_BIT);
        assert_eq!(unknown(&flags), ["unheard_of"]);
    }

    #[test]
    fn modules_depend_on_flags() {
        assert!(!provides(0, "node:buffer") && provides(NODE_BIT, "buffer"));
        assert!(provides(ALS_BIT, "async_hooks") && !provides(ALS_BIT, "node:buffer"));
        assert!(why_absent(0, "buffer").contains("nodejs_compat"));
        assert!(why_absent(NODE_BIT, "fs").contains("files"));
        assert!(why_absent(NODE_BIT, "node:nothing").contains("not provided"));
        assert!(why_absent(0, "./a.js").contains("deployed"));
    }

    #[test]
    fn dates_are_days() {
        for good in ["2026-01-01", "2024-02-29", "2000-02-29", "2025-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in
            ["", "2025-02-29", "1900-02-29", "2025-13-01", "2025-00-10", "2025-04-31", "2025-4-31", "today"]
        {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
