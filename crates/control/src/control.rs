//! The control plane's state, and the one way in which it changes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use selvedge_model::{AccountId, ScriptDeployment, ScriptName, Snapshot, VersionId, Worker};
use selvedge_store::{Artifacts, Store, StoreError};
use selvedge_telemetry::LogHub;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::error::ApiError;
use crate::logs;
use crate::sandbox::Sandbox;
use crate::settings::Settings;
use crate::stack::MapCache;

/// Memory for uploads from their arrival until they are recorded, MiB; further ones wait.
const UPLOADS_MIB: usize = 256;
/// Live tails at a time.
pub(crate) const TAILS_MAX: usize = 64;
/// CPU profiles at a time: each is a thread of its host that samples.
pub(crate) const PROFILES_MAX: usize = 4;

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    records: Records,
    sandbox: Box<dyn Sandbox>,
    logs: Arc<LogHub>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// Held while a snapshot is read and published, so that a later one is never overtaken.
    publishing: tokio::sync::Mutex<()>,
    settings: Settings,
    turns: Turns,
    uploads: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    profiles: Arc<Semaphore>,
    maps: MapCache,
    closing: watch::Sender<bool>,
}

/// What blocking work needs.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) store: Arc<Store>,
    pub(crate) artifacts: Artifacts,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Control {
    /// Puts the parts together. `snapshot` is what the edge follows; the caller has put the first one there
    /// and shown it to the engine.
    pub fn new(
        store: Arc<Store>,
        artifacts: Artifacts,
        sandbox: impl Sandbox,
        logs: Arc<LogHub>,
        snapshot: watch::Sender<Arc<Snapshot>>,
        settings: Settings,
    ) -> Self {
        Self(Arc::new(Inner {
            records: Records { store, artifacts },
            sandbox: Box::new(sandbox),
            logs,
            snapshot,
            publishing: tokio::sync::Mutex::default(),
            settings,
            turns: Turns::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS_MIB)),
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
            profiles: Arc::new(Semaphore::new(PROFILES_MAX)),
            maps: MapCache::default(),
            closing: watch::channel(false).0,
        }))
    }

    /// What went wrong in a request to a worker, as plain text with the places in its sources; for developers only.
    pub async fn explain(&self, worker: &Worker, request_id: &str) -> Option<String> {
        logs::explain(self, worker, request_id).await
    }

    /// Ends live tails, which otherwise never end, so that a graceful shutdown of the server can.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Runs blocking work on the records.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Records) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let records = self.0.records.clone();
        Ok(spawn_blocking(move || work(&records)).await.map_err(ApiError::internal)??)
    }

    /// Changes the records of the script whose turn this is, then has edge and engine serve the new state.
    /// Carried through to the end even when the client goes away in between.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(&Records) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let control = self.clone();
        let whole = async move {
            let result = control.read(work).await?;
            control.publish().await?;
            drop(turn);
            Ok(result)
        };
        tokio::spawn(whole).await.map_err(ApiError::internal)?
    }

    async fn publish(&self) -> Result<(), ApiError> {
        let _one_at_a_time = self.0.publishing.lock().await;
        let snapshot = Arc::new(self.read(|records| records.store.snapshot()).await?);
        // The edge first: an old version is unloaded only when no new request can reach it.
        self.0.snapshot.send_replace(snapshot.clone());
        self.0.sandbox.apply(&snapshot);
        Ok(())
    }

    /// Waits until no other change of this script is under way.
    pub(crate) async fn turn(&self, account: &AccountId, script: &ScriptName) -> Turn {
        self.0.turns.take((account.clone(), script.clone())).await
    }

    pub(crate) fn sandbox(&self) -> &dyn Sandbox {
        self.0.sandbox.as_ref()
    }

    pub(crate) fn logs(&self) -> &LogHub {
        &self.0.logs
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// One permit is one MiB of an upload.
    pub(crate) fn uploads(&self) -> &Arc<Semaphore> {
        &self.0.uploads
    }

    pub(crate) fn tails(&self) -> &Arc<Semaphore> {
        &self.0.tails
    }

    pub(crate) fn profiles(&self) -> &Arc<Semaphore> {
        &self.0.profiles
    }

    /// What of a script answers now.
    pub(crate) fn deployed(&self, account: &AccountId, script: &ScriptName) -> Option<Arc<ScriptDeployment>> {
        self.0.snapshot.borrow().scripts.get(&(account.clone(), script.clone())).cloned()
    }

    /// The version that is asked for, or else the one that answers most requests.
    pub(crate) async fn deployed_worker(
        &self,
        account: &AccountId,
        script: &ScriptName,
        version: Option<&VersionId>,
    ) -> Result<Arc<Worker>, ApiError> {
        let deployment = self.deployed(account, script);
        let mut shares = deployment.iter().flat_map(|deployment| &deployment.shares);
        let share = match version {
            Some(version) => shares.find(|share| share.worker.version == *version),
            None => shares.max_by(|a, b| a.percentage.total_cmp(&b.percentage)),
        };
        if let Some(share) = share {
            return Ok(share.worker.clone());
        }
        let (known, named) = (account.clone(), script.clone());
        self.read(move |records| records.store.script(&known, &named)).await?;
        let what = match version {
            Some(version) => format!("version {version} of {script}"),
            None => script.to_string(),
        };
        let message = format!("{what} is not deployed; deploy it first");
        Err(ApiError::new(StatusCode::CONFLICT, "not_deployed", message))
    }

    pub(crate) fn maps(&self) -> &MapCache {
        &self.0.maps
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }
}

/// The right to change a script, until dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

type Key = (AccountId, ScriptName);

/// One lock per script that is being changed.
#[derive(Default)]
struct Turns(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, key: Key) -> Turn {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A lock that only this map holds belongs to a change that is over.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(key).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finished_turns_are_forgotten() {
        let turns = Turns::default();
        let key = |n: usize| (AccountId::default_account(), format!("s{n}").parse().unwrap());
        let held = turns.take(key(0)).await;
        for n in 1..100 {
            turns.take(key(n)).await;
        }
        assert!(turns.0.lock().unwrap().len() <= 2);
        let again = turns.take(key(0));
        tokio::pin!(again);
        tokio::select! {
            biased;
            _ = &mut again => panic!("two changes of one script at a time"),
            () = std::future::ready(()) => {}
        }
        drop(held);
        again.await;
    }
}
