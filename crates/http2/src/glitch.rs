//! How much needless work a client makes: one score for everything that costs a server more than its client.
//!
//! Each oddity adds points; time and useful work take them away. No rule has to know which attack is under way: rapid
//! reset (CVE-2023-44487), streams reset by the server on the client's provocation (CVE-2025-8671), floods of CONTINUATION,
//! SETTINGS, PING, WINDOW_UPDATE, PRIORITY or empty DATA all come to nothing but points.

use std::time::Instant;

/// What adds points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glitch {
    /// The client reset a stream that was not answered yet.
    Reset = 0,
    /// A stream had to be reset because of what the client sent.
    StreamError = 1,
    /// A stream too many.
    Refused = 2,
    /// A header block in small pieces, or longer than is allowed.
    Headers = 3,
    /// SETTINGS
    Settings = 4,
    /// PING
    Ping = 5,
    /// DATA without data.
    EmptyData = 6,
    /// WINDOW_UPDATE
    WindowUpdate = 7,
    /// PRIORITY and PRIORITY_UPDATE
    Priority = 8,
    /// Frames that mean nothing here.
    Unknown = 9,
}

impl Glitch {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// Their names in metrics, in order.
    pub const NAMES: [&str; Self::COUNT] = [
        "reset",
        "stream_error",
        "refused",
        "headers",
        "settings",
        "ping",
        "empty_data",
        "window_update",
        "priority",
        "unknown",
    ];

    fn points(self) -> u32 {
        match self {
            Self::StreamError => 10,
            Self::Reset | Self::Settings | Self::Headers => 5,
            Self::Refused | Self::EmptyData => 2,
            Self::Ping | Self::WindowUpdate | Self::Priority | Self::Unknown => 1,
        }
    }
}

/// Points that an answered request takes away.
const ANSWER: u32 = 10;
/// Points that a frame of a response's body takes away: clients open two windows for each.
const DATA: u32 = 2;
/// Milliseconds that take away one point.
const DECAY_MS: u32 = 50;

/// The score of one connection.
#[derive(Debug)]
pub(crate) struct Score {
    points: u32,
    budget: u32,
    since: Instant,
    /// Not told of yet.
    counts: [u32; Glitch::COUNT],
    news: bool,
}

impl Score {
    /// A `budget` of 0 is never used up.
    pub(crate) fn new(budget: u32, now: Instant) -> Self {
        Self { points: 0, budget, since: now, counts: [0; Glitch::COUNT], news: false }
    }

    /// Adds points; false when there are too many now.
    #[must_use]
    pub(crate) fn add(&mut self, glitch: Glitch, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let worn = u32::try_from(passed).unwrap_or(u32::MAX) / DECAY_MS;
        if worn > 0 {
            self.points = self.points.saturating_sub(worn);
            self.since = now;
        }
        self.points = self.points.saturating_add(glitch.points());
        self.counts[glitch as usize] += 1;
        self.news = true;
        self.budget == 0 || self.points <= self.budget
    }

    /// A request was answered to its end.
    pub(crate) fn answered(&mut self) {
        self.points = self.points.saturating_sub(ANSWER);
    }

    /// A frame of a response was sent.
    pub(crate) fn sent_data(&mut self) {
        self.points = self.points.saturating_sub(DATA);
    }

    /// What was counted since the last call, if anything, in the order of [`Glitch`].
    pub(crate) fn take(&mut self) -> Option<[u32; Glitch::COUNT]> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        Some(std::mem::take(&mut self.counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn points_wear_off_with_time_and_work() {
        let now = Instant::now();
        let mut score = Score::new(20, now);
        for _ in 0..4 {
            assert!(score.add(Glitch::Reset, now));
        }
        assert!(!score.add(Glitch::Ping, now));
        score.answered();
        assert!(score.add(Glitch::StreamError, now) || score.points == 21);
        let later = now + Duration::from_millis(1050);
        assert!(score.add(Glitch::Reset, later));
        assert_eq!(score.points, 5);
        assert_eq!(score.take().unwrap()[Glitch::Reset as usize], 5);
        assert_eq!(score.take(), None);
    }

    #[test]
    fn no_budget_is_never_used_up() {
        let now = Instant::now();
        let mut score = Score::new(0, now);
        assert!((0..10_000).all(|_| score.add(Glitch::StreamError, now)));
    }
}
