//! New settings while requests go on: read when a file of theirs changes, on SIGHUP, or when `selvedge reload` asks.
//!
//! Settings with a mistake change nothing. What cannot change while the server runs keeps its value and is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use selvedge_edge::{EdgeControl, EdgeError, Sites, Upstreams};
use selvedge_telemetry::{AccessLog, Diagnostics};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::settings::Settings;
use crate::config;
use crate::failure::{Failure, Outcome};

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_secs(1);
/// Settings that are looked at anew; anything else needs an upgrade or a restart.
const LIVE: &[&str] = &["sites", "middleware", "upstreams", "edge", "diagnostics.filter"];
/// Those that are named as a whole: their members are the user's names.
const WHOLE: &[&str] = &["middleware", "upstreams"];
/// Those among the live ones that are not: what [`selvedge_edge::fixed`] keeps.
const FIXED: &[&str] = &["edge.threads", "edge.cache", "edge.traces", "edge.health", "edge.base_domains"];

/// How settings are read, and what the files looked like before they were.
pub(crate) struct Reread {
    file: PathBuf,
    /// Reads it, with what the command line says over it.
    read: Box<dyn Fn() -> Outcome<Settings> + Send + Sync>,
    looked: Look,
}

impl Reread {
    /// For a file that is not read yet, so that no change is missed.
    pub(crate) fn new(file: PathBuf, read: impl Fn() -> Outcome<Settings> + Send + Sync + 'static) -> Self {
        let looked = Look::default().again(&file);
        Self { file, read: Box::new(read), looked }
    }
}

/// Settings of a running server, and the way to new ones.
#[derive(Clone)]
pub(crate) struct Reloader(Arc<Inner>);

/// What new settings are put into.
pub(super) struct Live {
    pub(super) sites: watch::Sender<Arc<Sites>>,
    pub(super) upstreams: Upstreams,
    pub(super) diagnostics: Option<Diagnostics>,
    pub(super) edge: EdgeControl,
    pub(super) access_log: Arc<Mutex<AccessLog>>,
}

struct Inner {
    reread: Reread,
    live: Live,
    /// One reload at a time; what is in effect.
    running: Mutex<Running>,
    /// What the files looked like before they were read last.
    loaded: Mutex<Look>,
}

/// What is in effect, also as JSON.
struct Running {
    settings: Settings,
    json: Value,
}

/// What came of new settings.
#[derive(Debug, Serialize)]
pub(super) struct Reloaded {
    /// Settings that took effect.
    changed: Vec<String>,
    /// Settings that changed and keep their old value until an upgrade or a restart.
    restart: Vec<String>,
}

impl Reloader {
    pub(super) fn new(reread: Reread, settings: Settings, live: Live) -> Self {
        let running = Mutex::new(Running { json: as_json(&settings), settings });
        let loaded = Mutex::new(reread.looked.clone());
        Self(Arc::new(Inner { reread, live, running, loaded }))
    }

    /// Reads the settings and puts them in effect: all of them, or none.
    pub(super) fn reload(&self) -> Outcome<Reloaded> {
        let Inner { reread, live, running, loaded } = &*self.0;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded.lock().unwrap_or_else(PoisonError::into_inner) = Look::default().again(&reread.file);
        let settings = (reread.read)()?.complete();
        let former = live.sites.borrow().clone();
        let sites = Sites::renewed(settings.site_settings(&live.upstreams), &former)
            .map_err(|found| super::bad_sites(&found))?;
        let sites = Arc::new(sites);
        let bad = |error: &dyn std::fmt::Display| Failure::new("bad_config", error.to_string());
        settings.diagnostics.check().map_err(|error| bad(&error))?;
        let mut log = live.access_log.lock().unwrap_or_else(PoisonError::into_inner);
        let next_log = match settings.edge.access_log == running.settings.edge.access_log {
            true => None,
            false => Some(log.renewed(&settings.edge.access_log).map_err(|error| bad(&error))?),
        };
        let publish = || drop(live.sites.send_replace(sites.clone()));
        let reloaded = live.edge.reload(&settings.edge, &sites, next_log.as_ref().unwrap_or(&log), publish);
        reloaded.map_err(|error| match error {
            EdgeError::Bind { .. } => Failure::new("listen", error.to_string()),
            _ => bad(&error),
        })?;
        if let Some(next) = next_log {
            log.succeed(next);
        }
        drop(log);
        if let Some(diagnostics) = &live.diagnostics {
            diagnostics.set_filter(&settings.diagnostics).map_err(|error| bad(&error))?;
        }
        let new = as_json(&settings);
        let (changed, restart): (Vec<_>, Vec<_>) =
            differences(&running.json, &new).into_iter().partition(|path| is_live(path));
        for path in &changed {
            copy(path, &new, &mut running.json);
        }
        running.settings = settings;
        Ok(Reloaded { changed, restart })
    }

    /// The same, told in the log.
    pub(super) async fn reload_and_tell(&self, why: &str) {
        let this = self.clone();
        // Files may be on slow disks, and compiling ten thousand routes takes its time.
        let outcome = tokio::task::spawn_blocking(move || this.reload()).await;
        match outcome {
            Ok(Ok(Reloaded { changed, restart })) => {
                if !restart.is_empty() {
                    let restart = restart.join(", ");
                    tracing::warn!(
                        why,
                        restart,
                        "these settings need an upgrade or a restart; they keep their old value"
                    );
                }
                let changed = changed.join(", ");
                tracing::warn!(why, changed, "settings were read again");
            }
            Ok(Err(failure)) => {
                let mistakes: Vec<String> = failure.diagnostics.iter().map(ToString::to_string).collect();
                let mistakes = mistakes.join("\n");
                tracing::error!(why, %failure, "the new settings are not used, the old ones stay\n{mistakes}");
            }
            Err(error) => tracing::error!(why, %error, "reading the settings again failed"),
        }
    }

    /// Reloads whenever a file changes, for ever. Files are left alone until they have been the same for a period, so that they
    /// are not read while they are written.
    pub(super) async fn watch(&self) {
        let mut seen = self.0.reread.looked.clone();
        loop {
            tokio::time::sleep(PERIOD).await;
            let this = self.clone();
            let before = seen.clone();
            let look = tokio::task::spawn_blocking(move || before.again(&this.0.reread.file));
            let Ok(now) = look.await else { continue };
            let differs = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner).files != now.files;
            if differs && now.files == seen.files {
                self.reload_and_tell("a file changed").await;
            }
            seen = now;
        }
    }
}

/// When each file was last written, and how long it is.
type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// What the files of the settings look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    files: Stamps,
    directories: Stamps,
}

impl Look {
    /// What they look like now. Which files they are is found out again when one of them, or a directory of theirs, changed.
    fn again(self, file: &Path) -> Self {
        let same = |known: &Stamps| known.iter().all(|(path, known)| stamp(path) == *known);
        if !self.files.is_empty() && same(&self.files) && same(&self.directories) {
            return self;
        }
        let files = config::files(file);
        let directories: BTreeSet<PathBuf> =
            files.iter().filter_map(|path| Some(path.parent()?.to_owned())).collect();
        let stamps = |paths: Vec<PathBuf>| -> Stamps {
            paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
        };
        Self { files: stamps(files), directories: stamps(directories.into_iter().collect()) }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    // The empty path is that of a file in this directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::metadata(path).and_then(|about| Ok((about.modified()?, about.len()))).ok()
}

/// Answers `POST /api/v1/reload`.
pub(super) async fn call(reloader: Option<Reloader>) -> Response {
    let Some(reloader) = reloader else {
        let failure = Failure::new("no_config", "this server was started without a file of settings")
            .help("start it with --config, or in a directory with a selvedge.toml");
        return (StatusCode::CONFLICT, Json(json!({ "error": failure }))).into_response();
    };
    match tokio::task::spawn_blocking(move || reloader.reload()).await {
        Ok(Ok(reloaded)) => Json(reloaded).into_response(),
        Ok(Err(failure)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": failure }))).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn is_live(path: &str) -> bool {
    let is = |name: &&str| path == *name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    LIVE.iter().any(is) && !FIXED.iter().any(is)
}

fn as_json(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Names of the settings that differ, such as `edge.listen`.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    for (section, value) in new {
        let before = old.get(section).unwrap_or(&Value::Null);
        match (before, value) {
            _ if before == value => {}
            (Value::Object(before), Value::Object(value)) if !WHOLE.contains(&section.as_str()) => {
                let keys: BTreeSet<&String> = before.keys().chain(value.keys()).collect();
                let differ = keys.into_iter().filter(|key| before.get(*key) != value.get(*key));
                found.extend(differ.map(|key| format!("{section}.{key}")));
            }
            _ => found.push(section.clone()),
        }
    }
    found
}

/// Takes one setting over.
fn copy(path: &str, from: &Value, to: &mut Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    if let (Some(from), Some(to)) = (from.pointer(&pointer), to.pointer_mut(&pointer)) {
        *to = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let old = json!({ "sites": [1], "edge": { "threads": 1, "use": [], "same": 1 }, "admin": "x" });
        let new = json!({ "sites": [2], "edge": { "threads": 2, "use": ["c"], "same": 1 }, "admin": "y" });
        let (live, restart): (Vec<_>, Vec<_>) =
            differences(&old, &new).into_iter().partition(|path| is_live(path));
        assert_eq!(live, ["edge.use", "sites"]);
        assert_eq!(restart, ["admin", "edge.threads"]);
        let mut running = old;
        copy("edge.use", &new, &mut running);
        assert_eq!(running["edge"], json!({ "threads": 1, "use": ["c"], "same": 1 }));
    }
}
