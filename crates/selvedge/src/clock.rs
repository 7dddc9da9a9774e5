//! Instants as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// `12:03:04.056`, UTC.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let ms = unix_ms % DAY;
    format!("{:02}:{:02}:{:02}.{:03}", ms / HOUR, ms % HOUR / MINUTE, ms % MINUTE / SECOND, ms % SECOND)
}

/// `just now`, `5 min ago`, `3 days ago`.
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(then_ms) {
        age if age < MINUTE => "just now".into(),
        age if age < HOUR => format!("{} min ago", age / MINUTE),
        age if age < 2 * DAY => format!("{} h ago", age / HOUR),
        age => format!("{} days ago", age / DAY),
    }
}

/// `in a moment`, `in 5 min`, `in 3 days`.
pub(crate) fn ahead(then_ms: u64, now_ms: u64) -> String {
    match then_ms.saturating_sub(now_ms) {
        left if left < MINUTE => "in a moment".into(),
        left if left < HOUR => format!("in {} min", left / MINUTE),
        left if left < 2 * DAY => format!("in {} h", left / HOUR),
        left => format!("in {} days", left / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_clock() {
        assert_eq!(time_of_day(DAY * 3 + 12 * HOUR + 3 * MINUTE + 4 * SECOND + 56), "12:03:04.056");
        assert_eq!(ago(0, 59_999), "just now");
        assert_eq!(ago(0, 5 * MINUTE), "5 min ago");
        assert_eq!(ago(0, 47 * HOUR), "47 h ago");
        assert_eq!(ago(0, 50 * HOUR), "2 days ago");
        assert_eq!(ago(10, 0), "just now");
        assert_eq!(ahead(MINUTE - 1, 0), "in a moment");
        assert_eq!(ahead(90 * MINUTE, 0), "in 1 h");
        assert_eq!(ahead(60 * DAY + HOUR, 0), "in 60 days");
    }
}
