//! Whether this process works, and whether it should get requests, as load balancers and orchestrators ask.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use serde::Serialize;

/// For all checks of one question. One that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Finds out how something is: what to tell of it, or what is wrong with it. It may block.
pub type Probe = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Shared between the process' wiring, which moves it on, and the admin server, which shows it.
#[derive(Debug, Default)]
pub struct Readiness {
    phase: AtomicU8,
    checks: Mutex<Vec<Arc<Check>>>,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// What a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// Where it fails the process is to be restarted.
    Life,
    /// Where it fails no requests should come.
    Readiness,
    /// The same, but only for those who ask for it by its name.
    OnDemand,
}

/// One thing that has to be well.
struct Check {
    name: &'static str,
    matters: Matters,
    probe: Probe,
    /// Held while it runs: one that hangs does not pile up.
    turn: Mutex<()>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("matters", &self.matters).finish()
    }
}

impl Check {
    fn run(&self) -> Result<String, String> {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Err("an earlier check has not come to an end".into()),
        };
        (self.probe)()
    }
}

/// What came of a question.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// What speaks against it, in words that begin with the check's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What each check found.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<&'static str, String>,
}

impl Health {
    fn new(reasons: Vec<String>, checks: BTreeMap<&'static str, String>) -> Self {
        let status = if reasons.is_empty() { "ok" } else { "unavailable" };
        Self { status, reasons, checks }
    }
}

impl Readiness {
    /// Everything listens and the first sandbox host is up.
    pub fn started(&self) {
        // A process that already drains stays so.
        let _ = self.phase.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Shutdown began: no new requests should come.
    pub fn drain(&self) {
        self.phase.store(DRAINING, Ordering::Relaxed);
    }

    /// True once [`started`](Self::started) was called, and from then on.
    pub fn has_started(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != STARTING
    }

    /// Looks at one more thing whenever somebody asks.
    pub fn watch(&self, name: &'static str, matters: Matters, probe: Probe) {
        let check = Check { name, matters, probe, turn: Mutex::default() };
        self.checks().push(Arc::new(check));
    }

    /// Whether the process works: nothing that only a restart helps against.
    pub async fn live(&self) -> Health {
        let found = self.run(|check| check.matters == Matters::Life).await;
        self.judge(Vec::new(), found, |_| true)
    }

    /// Whether the process has started.
    pub fn startup(&self) -> Health {
        let reasons = if self.has_started() { Vec::new() } else { vec!["starting".to_owned()] };
        Health::new(reasons, BTreeMap::new())
    }

    /// Whether requests should come. `asked` are names of further checks that matter to who asks.
    pub async fn ready(&self, asked: impl Fn(&str) -> bool) -> Health {
        let phase = match self.phase.load(Ordering::Relaxed) {
            READY => Vec::new(),
            DRAINING => vec!["draining".to_owned()],
            _ => vec!["starting".to_owned()],
        };
        let found = self.run(|_| true).await;
        self.judge(phase, found, |check| check.matters != Matters::OnDemand || asked(check.name))
    }

    async fn run(&self, wanted: impl Fn(&Check) -> bool) -> Vec<(Arc<Check>, Result<String, String>)> {
        let checks: Vec<_> = self.checks().iter().filter(|check| wanted(check)).cloned().collect();
        let running: Vec<_> = checks
            .into_iter()
            .map(|check| {
                let blocking = check.clone();
                (check, tokio::task::spawn_blocking(move || blocking.run()))
            })
            .collect();
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut found = Vec::new();
        for (check, task) in running {
            let result = match tokio::time::timeout_at(until, task).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err("the check panicked".into()),
                Err(_) => Err(format!("no result within {} s", PATIENCE.as_secs())),
            };
            found.push((check, result));
        }
        found
    }

    fn judge(
        &self,
        mut reasons: Vec<String>,
        found: Vec<(Arc<Check>, Result<String, String>)>,
        counts: impl Fn(&Check) -> bool,
    ) -> Health {
        let mut checks = BTreeMap::new();
        for (check, result) in found {
            if let Err(problem) = &result
                && counts(&check)
            {
                reasons.push(format!("{}: {problem}", check.name));
            }
            checks.insert(check.name, result.unwrap_or_else(|problem| problem));
        }
        Health::new(reasons, checks)
    }

    fn checks(&self) -> MutexGuard<'_, Vec<Arc<Check>>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn only_what_matters_speaks_against_it() {
        let readiness = Readiness::default();
        readiness.started();
        readiness.watch("good", Matters::Readiness, Box::new(|| Ok("fine".into())));
        readiness.watch("extra", Matters::OnDemand, Box::new(|| Err("broken".into())));
        let runtime = runtime();
        let health = runtime.block_on(readiness.ready(|_| false));
        assert_eq!((health.status, &*health.checks["extra"]), ("ok", "broken"));
        let health = runtime.block_on(readiness.ready(|name| name == "extra"));
        assert_eq!((health.status, &health.reasons[..]), ("unavailable", &["extra: broken".to_owned()][..]));
        assert!(runtime.block_on(readiness.live()).checks.is_empty());
        readiness.watch("threads", Matters::Life, Box::new(|| panic!("on purpose")));
        assert_eq!(runtime.block_on(readiness.live()).reasons, ["threads: the check panicked"]);
    }

    #[test]
    fn a_check_that_hangs_does_not_pile_up() {
        let readiness = Arc::new(Readiness::default());
        readiness.started();
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        readiness.watch(
            "disk",
            Matters::Readiness,
            Box::new(move || {
                let _ = begun.send(());
                let _ = released.lock().unwrap().recv();
                Ok("back".into())
            }),
        );
        let runtime = runtime();
        let first = {
            let readiness = readiness.clone();
            runtime.spawn(async move { readiness.ready(|_| false).await })
        };
        begins.recv().unwrap();
        let second = runtime.block_on(readiness.ready(|_| false));
        assert_eq!(second.reasons, ["disk: an earlier check has not come to an end"]);
        drop(release);
        assert_eq!(runtime.block_on(first).unwrap().status, "ok");
    }
}
