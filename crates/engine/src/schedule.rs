//! Cron triggers: every minute, the `scheduled` handlers that are due.
//!
//! Expressions are those of Workers: five fields in UTC, days of the week from 1 (Sunday) to 7, `L`, `W` and `#`. A
//! handler is called at most once for a minute: one that a stopped process missed stays missed, and one that was
//! taken down midway is not called again.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use selvedge_model::{Snapshot, Worker};
use tokio::sync::{Notify, Semaphore};

use crate::LocalEngine;

/// Handlers that run at a time; further ones wait.
const RUNNING_MAX: usize = 64;
/// Minutes that are made up for when the thread was late.
const LATE_MAX: u64 = 5;
const MINUTE_MS: u64 = 60_000;

/// Reads a cron expression.
///
/// # Errors
/// What is wrong with it.
pub fn parse(expression: &str) -> Result<Cron, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .alternative_weekdays(true)
        .build();
    parser.parse(expression).map_err(|error| format!("{expression:?} is no cron expression: {error}"))
}

/// Whose turn it is to call handlers, and how far that has come: of two processes, one that takes over from the other, never
/// both call for the same minute.
#[derive(Debug)]
pub struct Turn {
    /// The last minute that was dealt with, and whether the next ones are dealt with here.
    state: Mutex<(u64, bool)>,
    changed: Notify,
}

impl Default for Turn {
    fn default() -> Self {
        Self { state: Mutex::new((now_ms() / MINUTE_MS, true)), changed: Notify::new() }
    }
}

impl Turn {
    fn state(&self) -> MutexGuard<'_, (u64, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends: no handlers are called any more. Gives the last minute that was dealt with.
    pub fn end(&self) -> u64 {
        let mut state = self.state();
        state.1 = false;
        state.0
    }

    /// Begins after this minute; without one, after the last that was dealt with here.
    pub fn begin(&self, after: Option<u64>) {
        let mut state = self.state();
        *state = (after.unwrap_or(state.0), true);
        drop(state);
        self.changed.notify_one();
    }

    /// The minutes that are due now, which count as dealt with. After the clock was set back, minutes come that have been
    /// before.
    fn due(&self, minute: u64) -> std::ops::RangeInclusive<u64> {
        let mut state = self.state();
        let (done, here) = *state;
        if here {
            state.0 = done.max(minute);
        }
        let first = if here { (done + 1).max(minute.saturating_sub(LATE_MAX)) } else { minute + 1 };
        first..=minute
    }
}

/// Calls what is due, for ever. Runs on the supervisor's thread.
pub async fn run(engine: LocalEngine) {
    let places = Rc::new(Semaphore::new(RUNNING_MAX));
    loop {
        let now = now_ms();
        let turn = &engine.shared().turn;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(MINUTE_MS - now % MINUTE_MS)) => {}
            () = turn.changed.notified() => {}
        }
        for minute in turn.due(now_ms() / MINUTE_MS) {
            let deployed = engine.shared().deployed_now();
            for (worker, cron) in due(&deployed, minute, fastrand::f64) {
                let (engine, places) = (engine.clone(), places.clone());
                tokio::task::spawn_local(async move {
                    let _place = places.acquire().await;
                    // What goes wrong is in the worker's log.
                    if let Err(error) = engine.scheduled(&worker, &cron, minute * MINUTE_MS).await {
                        tracing::debug!(script = %worker.script, cron, %error, "a scheduled handler failed");
                    }
                });
            }
        }
    }
}

/// The workers and expressions of this minute. `dice` picks the version where several are deployed.
fn due(deployed: &Snapshot, minute: u64, dice: impl Fn() -> f64) -> Vec<(Arc<Worker>, String)> {
    let Some(time) = DateTime::<Utc>::from_timestamp((minute * 60) as i64, 0) else { return Vec::new() };
    let mut due = Vec::new();
    for deployment in deployed.scripts.values() {
        let worker = deployment.pick(dice());
        for expression in &worker.crons {
            let matching = parse(expression).is_ok_and(|cron| cron.is_time_matching(&time).unwrap_or(false));
            if matching {
                due.push((worker.clone(), expression.clone()));
            }
        }
    }
    due
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use selvedge_model::{AccountId, ScriptDeployment, Share};

    use super::*;
    use crate::testing::worker;

    fn at(expression: &str, time: &str) -> bool {
        let worker = Arc::new(Worker { crons: vec![expression.into()], ..worker("w") });
        let deployment = ScriptDeployment {
            account: AccountId::default_account(),
            script: worker.script.clone(),
            shares: vec![Share { worker, percentage: 100.0 }],
        };
        let mut snapshot = Snapshot::default();
        let key = (deployment.account.clone(), deployment.script.clone());
        snapshot.scripts.insert(key, Arc::new(deployment));
        let time: DateTime<Utc> = time.parse().unwrap();
        !due(&snapshot, time.timestamp() as u64 / 60, || 0.5).is_empty()
    }

    #[test]
    fn minutes_match_as_workers_say() {
        // A Saturday.
        let time = "2026-11-21T10:30:00Z";
        for (expression, expected) in [
            ("* * * * *", true),
            ("*/15 * * * *", true),
            ("*/20 * * * *", false),
            ("30 10 21 11 *", true),
            ("30 10 * NOV SAT", true),
            ("30 10 * * 7", true),
            ("30 10 * * 6", false),
            ("30 10 * * 7#3", true),
            ("30 10 * * 7L", false),
            ("30 10 LW * *", false),
            ("nonsense", false),
        ] {
            assert_eq!(at(expression, time), expected, "{expression}");
        }
        assert!(at("0 0 L * *", "2026-11-30T00:00:00Z"));
        assert!(at("0 0 * * 7L", "2026-11-28T00:00:00Z"));
    }

    #[test]
    fn no_minute_is_dealt_with_in_two_processes() {
        let (former, next) = (Turn::default(), Turn::default());
        next.end();
        let start = former.state().0;
        assert_eq!(former.due(start + 1).collect::<Vec<_>>(), [start + 1]);
        assert_eq!(next.due(start + 1).count(), 0);
        let last = former.end();
        assert_eq!(former.due(start + 3).count(), 0);
        next.begin(Some(last));
        assert_eq!(next.due(start + 3).collect::<Vec<_>>(), [start + 2, start + 3]);
        // One that gets its turn back goes on where it was.
        former.begin(None);
        assert_eq!(former.due(start + 2).collect::<Vec<_>>(), [start + 2]);
        assert_eq!(former.due(start + 1).count(), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        for expression in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "a b c d e",
            "@daily;",
        ] {
            assert!(parse(expression).is_err(), "{expression}");
        }
        assert!(parse(&"*/1,".repeat(100_000)).is_err());
    }
}
