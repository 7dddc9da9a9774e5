//! When to order and when to ask, as plain arithmetic over times: nothing here waits or looks at a clock.

use serde::{Deserialize, Serialize};

use crate::clock::Seconds;

/// After the first failure.
const BACKOFF_FIRST: Seconds = 2 * 60;
/// The longest pause between attempts where there is time; a twentieth of a certificate's life where there is less.
const BACKOFF_MAX: Seconds = 12 * 3600;
/// The least that pauses may grow to, whatever a certificate's life.
const BACKOFF_MAX_LEAST: Seconds = 15 * 60;
/// An issuer that cannot be spoken to at all, after the first failure and at most.
const ISSUER_PAUSE: (Seconds, Seconds) = (30, 3600);
/// Between questions about the window, whatever the issuer says (RFC 9773 section 4.3.2), and when it says nothing.
const ARI_PAUSE: (Seconds, Seconds) = (60, 24 * 3600);
/// When a question about the window failed.
pub(crate) const ARI_RETRY: Seconds = 6 * 3600;
/// No issuer is believed who says to come back later than this.
const RETRY_AFTER_MAX: Seconds = 7 * 24 * 3600;

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// From, seconds since 1970.
    pub(crate) from: Seconds,
    /// Until, seconds since 1970.
    pub(crate) until: Seconds,
}

/// In which an issuer suggests to renew (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// Seconds since 1970.
    pub(crate) start: Seconds,
    /// Seconds since 1970.
    pub(crate) end: Seconds,
}

/// When to renew: a moment in the issuer's window, or after two thirds of the certificate's life. `luck` from 0 to 1
/// says which moment; a certificate keeps its luck, so restarts do not move it.
pub(crate) fn renewal(validity: Validity, window: Option<Window>, luck: f64) -> Seconds {
    let luck = luck.clamp(0.0, 1.0);
    match window.filter(|window| window.start <= window.end) {
        // However the window lies, the certificate is not allowed to run out.
        Some(window) => fraction(window.start, window.end, luck).min(last_call(validity)),
        None => {
            let life = validity.until.saturating_sub(validity.from);
            // Up to a thirtieth of its life early, so that what was ordered together is not renewed together.
            let latest = validity.from + life / 3 * 2;
            fraction(latest.saturating_sub(life / 30), latest, luck)
        }
    }
}

/// A tenth of its life before the end.
fn last_call(validity: Validity) -> Seconds {
    validity.until.saturating_sub(validity.until.saturating_sub(validity.from) / 10)
}

fn fraction(from: Seconds, to: Seconds, luck: f64) -> Seconds {
    from + ((to - from) as f64 * luck) as Seconds
}

/// How long to leave a name alone after `failures` in a row, with up to a quarter on top by luck. `life` is that of the
/// certificate to be renewed, if there is one.
pub(crate) fn backoff(failures: u32, life: Option<Seconds>, luck: f64) -> Seconds {
    let most = life.map_or(BACKOFF_MAX, |life| (life / 20).clamp(BACKOFF_MAX_LEAST, BACKOFF_MAX));
    grown(BACKOFF_FIRST, most, failures, luck)
}

/// How long to leave an issuer alone that failed `failures` times in a row.
pub(crate) fn issuer_pause(failures: u32, luck: f64) -> Seconds {
    grown(ISSUER_PAUSE.0, ISSUER_PAUSE.1, failures, luck)
}

fn grown(first: Seconds, most: Seconds, failures: u32, luck: f64) -> Seconds {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most);
    doubled + (doubled as f64 / 4.0 * luck.clamp(0.0, 1.0)) as Seconds
}

/// How long a name is left alone after it got a certificate, whatever the issuer's window or clock says: no mistake of
/// anybody's makes us order without end.
pub(crate) fn rest(validity: Validity) -> Seconds {
    (validity.until.saturating_sub(validity.from) / 10).clamp(60, 3600)
}

/// How long an issuer's Retry-After is honoured.
pub(crate) fn retry_after(seconds: Seconds) -> Seconds {
    seconds.min(RETRY_AFTER_MAX)
}

/// When to ask for the window again, given what the issuer said.
pub(crate) fn ask_again(now: Seconds, said: Seconds) -> Seconds {
    now + said.clamp(ARI_PAUSE.0, ARI_PAUSE.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Seconds = 86_400;

    #[test]
    fn renewal_is_at_two_thirds_of_life_without_a_window() {
        let validity = Validity { from: 0, until: 90 * DAY };
        assert_eq!(renewal(validity, None, 1.0), 60 * DAY);
        assert_eq!(renewal(validity, None, 0.0), 57 * DAY);
        let short = Validity { from: 1000, until: 1000 + 6 * DAY };
        assert_eq!(renewal(short, None, 1.0), 1000 + 4 * DAY);
    }

    #[test]
    fn the_window_decides_where_there_is_one() {
        let validity = Validity { from: 0, until: 90 * DAY };
        let window = Window { start: 50 * DAY, end: 52 * DAY };
        assert_eq!(renewal(validity, Some(window), 0.5), 51 * DAY);
        // Revoked: the window lies in the past.
        assert_eq!(renewal(validity, Some(Window { start: 0, end: DAY }), 0.5), DAY / 2);
        // Nonsense is ignored.
        assert_eq!(renewal(validity, Some(Window { start: 2, end: 1 }), 1.0), 60 * DAY);
        let beyond = Window { start: 100 * DAY, end: 200 * DAY };
        assert_eq!(renewal(validity, Some(beyond), 0.5), 81 * DAY);
    }

    #[test]
    fn pauses_double_up_to_half_a_day() {
        let pauses: Vec<_> = (1..=12).map(|failures| backoff(failures, None, 0.0) / 60).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720, 720]);
        // Let's Encrypt counts five failed validations an hour.
        assert!(pauses[..5].iter().sum::<u64>() >= 60);
        // A certificate of six days is not left alone for half of one.
        assert_eq!(backoff(30, Some(6 * DAY), 0.0), 6 * DAY / 20);
        assert_eq!(backoff(u32::MAX, Some(0), 0.0), BACKOFF_MAX_LEAST);
    }

    #[test]
    fn questions_are_neither_rushed_nor_forgotten() {
        assert_eq!(ask_again(100, 0), 160);
        assert_eq!(ask_again(100, u64::MAX), 100 + DAY);
        assert_eq!(retry_after(u64::MAX), RETRY_AFTER_MAX);
    }

    proptest! {
        #[test]
        fn renewal_is_within_life(from in 0..u64::from(u32::MAX), life in 1..4000 * DAY, luck in 0.0..=1.0f64,
            start in any::<u32>(), length in any::<u32>(), has in any::<bool>()) {
            let validity = Validity { from, until: from + life };
            let window = Window { start: start.into(), end: u64::from(start) + u64::from(length) };
            prop_assert!(renewal(validity, has.then_some(window), luck) <= validity.until);
        }

        #[test]
        fn pauses_are_bounded(failures in any::<u32>(), life in any::<u64>(), luck in any::<f64>()) {
            let pause = backoff(failures, Some(life), luck);
            prop_assert!((BACKOFF_FIRST..=BACKOFF_MAX * 5 / 4).contains(&pause));
            prop_assert!((30..=4500).contains(&issuer_pause(failures, luck)));
        }
    }
}
