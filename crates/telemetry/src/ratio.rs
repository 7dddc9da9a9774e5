//! A part of a whole, as settings have it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From 0 (none) to 1 (all).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct Ratio(f64);

/// NaN is refused, so that equality is total.
impl Eq for Ratio {}

impl Ratio {
    /// All.
    pub const ALL: Self = Self(1.0);
    /// None.
    pub const NONE: Self = Self(0.0);

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether a number, one of all that fit, is among the part.
    #[inline]
    pub fn takes(self, number: u64) -> bool {
        self.0 >= 1.0 || (number as f64) < self.0 * (u64::MAX as f64)
    }
}

impl TryFrom<f64> for Ratio {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match (0.0..=1.0).contains(&number) {
            true => Ok(Self(number)),
            false => Err(format!("{number} is no part of a whole; write a number from 0 to 1")),
        }
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_whole() {
        assert!(Ratio::ALL.takes(u64::MAX) && Ratio::ALL.takes(0));
        assert!(!Ratio::NONE.takes(0));
        let half = Ratio::try_from(0.5).unwrap();
        assert!(half.takes(u64::MAX / 4) && !half.takes(u64::MAX / 4 * 3));
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Ratio::try_from(wrong).is_err());
        }
    }
}
