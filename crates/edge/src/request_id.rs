//! Ids of requests: cheap to make, unlikely ever to meet again.

use std::cell::Cell;

use http::HeaderValue;

/// Characters of a generated id.
const LENGTH: usize = 18;
/// Characters of the part that a thread drew at random.
const RANDOM: usize = 10;
/// Five bits a character.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Makes ids for one thread: 50 random bits drawn once, then a 40-bit counter.
#[derive(Debug)]
pub(crate) struct RequestIds {
    random: [u8; RANDOM],
    next: Cell<u64>,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            random: std::array::from_fn(|_| ALPHABET[fastrand::usize(..ALPHABET.len())]),
            next: Cell::new(0),
        }
    }

    /// The next id.
    pub(crate) fn next(&self) -> HeaderValue {
        let n = self.next.get();
        self.next.set(n.wrapping_add(1));
        let mut id = [0; LENGTH];
        id[..RANDOM].copy_from_slice(&self.random);
        for (i, digit) in id[RANDOM..].iter_mut().rev().enumerate() {
            *digit = ALPHABET[(n >> (5 * i)) as usize & 31];
        }
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

/// True for an id that may be taken from a proxy in front: short, and safe in logs and headers.
pub(crate) fn is_sane(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=64).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_sane() {
        let (one, two) = (RequestIds::new(), RequestIds::new());
        let mut ids: Vec<_> = (0..1000).flat_map(|_| [one.next(), two.next()]).collect();
        assert!(ids.iter().all(is_sane));
        assert!(ids.iter().all(|id| id.len() == LENGTH));
        ids.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        ids.dedup();
        assert_eq!(ids.len(), 2000);
    }

    #[test]
    fn odd_ids_are_not_taken() {
        for bad in ["", "a b", "a\"b", "a/b", &"x".repeat(65)] {
            assert!(!is_sane(&HeaderValue::from_str(bad).unwrap()), "{bad}");
        }
    }
}
