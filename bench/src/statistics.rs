//! Medians and percentiles.

use std::time::Duration;

/// The middle value, or the mean of the two in the middle; NaN for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Every latency of a run, so that percentiles are exact.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    nanos: Vec<u64>,
    sorted: bool,
}

impl Latencies {
    /// Kept at most: 80 MB, some minutes at the highest rates seen. Later ones are not counted.
    const MAX: usize = 10_000_000;

    pub(crate) fn add(&mut self, latency: Duration) {
        if self.nanos.len() < Self::MAX {
            self.nanos.push(latency.as_nanos() as u64);
            self.sorted = false;
        }
    }

    /// The smallest latency that `percent` of them do not exceed, milliseconds; NaN for none.
    pub(crate) fn percentile_ms(&mut self, percent: f64) -> f64 {
        if !self.sorted {
            self.nanos.sort_unstable();
            self.sorted = true;
        }
        let rank = (percent / 100.0 * self.nanos.len() as f64).ceil().max(1.0) as usize;
        self.nanos.get(rank - 1).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all = Self::default();
        for duration in durations {
            all.add(duration);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut all: Latencies = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(all.percentile_ms(50.0), 100.0);
        assert_eq!(all.percentile_ms(99.0), 198.0);
        assert_eq!(all.percentile_ms(100.0), 200.0);
        all.add(Duration::from_millis(500));
        assert_eq!(all.percentile_ms(100.0), 500.0);
        assert!(Latencies::default().percentile_ms(50.0).is_nan());
    }
}
