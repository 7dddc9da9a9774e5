//! What has to be there before anything is served.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selvedge_edge::Problem;
use selvedge_engine::{Engine, EngineConfig, StartError};
use selvedge_store::{Artifacts, SecretKey, Store};
use selvedge_telemetry::{LogHub, Registry};

use super::settings::Settings;
use super::upgrade::Takeover;
use crate::failure::{Failure, Outcome};

/// The control API's listener, that of a former process where it stays where it was, and its address.
pub(super) fn bind_admin(
    address: SocketAddr,
    takeover: Option<&mut Takeover>,
) -> Outcome<(TcpListener, SocketAddr)> {
    let inherited = takeover.and_then(|takeover| takeover.admin(address));
    let bind = || {
        let listener = match inherited {
            Some(listener) => listener,
            None => TcpListener::bind(address)?,
        };
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|error: std::io::Error| {
        Failure::new("listen", format!("cannot listen on {address} for the control API: {error}"))
            .help("choose another address with --admin; `selvedge doctor` shows what is taken")
    })
}

/// The records, and the engine with its first host. A former process writes to the records until everything else stands.
pub(super) fn open_data(
    settings: &Settings,
    artifacts: &Artifacts,
    logs: &Arc<LogHub>,
    registry: &mut Registry,
    takeover: Option<&Takeover>,
) -> Outcome<(Arc<Store>, Engine)> {
    let key = secret_key()?;
    let (store, engine) = match takeover {
        Some(former) => {
            let engine = start_engine(settings.engine.clone(), artifacts, logs, registry)?;
            // Its turn comes later.
            engine.handle().turn().end();
            former.records()?;
            (Store::open(&settings.data, key), Ok(engine))
        }
        // Opening the records waits for the disk, starting sandbox hosts for the processor.
        None => std::thread::scope(|scope| {
            let store = scope.spawn(|| Store::open(&settings.data, key));
            let engine = start_engine(settings.engine.clone(), artifacts, logs, registry);
            let panicked = || Failure::new("start", "opening the records panicked");
            Ok((store.join().map_err(|_| panicked())?, engine))
        })?,
    };
    Ok((Arc::new(store.map_err(data_failure)?), engine?))
}

fn start_engine(
    config: EngineConfig,
    artifacts: &Artifacts,
    logs: &Arc<LogHub>,
    registry: &mut Registry,
) -> Outcome<Engine> {
    Engine::start(config, artifacts.clone(), logs.clone(), registry).map_err(|error| {
        let code = match &error {
            StartError::NoHost(_) => "no_isolate_host",
            StartError::Host(_) => "host_failed",
            StartError::System(..) => "start",
        };
        Failure::new(code, error.to_string())
    })
}

/// Artifacts that a crash left without a version only waste space, so nobody waits for their removal.
pub(super) fn sweep_in_background(store: &Arc<Store>, artifacts: &Artifacts) {
    let (store, artifacts) = (store.clone(), artifacts.clone());
    std::thread::spawn(move || {
        match store.sweep_artifacts(&artifacts) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed artifacts that no version names"),
            Err(error) => tracing::warn!(%error, "unused artifacts could not be removed"),
        }
        match store.sweep_assets(&artifacts) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed static files that no version names"),
            Err(error) => tracing::warn!(%error, "unused static files could not be removed"),
        }
    });
}

/// The key of the secrets, where it is not to lie beside them.
fn secret_key() -> Outcome<Option<SecretKey>> {
    match std::env::var("SELVEDGE_SECRET_KEY") {
        Ok(key) => SecretKey::from_hex(&key).map(Some).map_err(data_failure),
        Err(_) => Ok(None),
    }
}

/// For settings that did not come from a file, which would have been checked when it was read.
pub(super) fn bad_sites(problems: &[Problem]) -> Failure {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.setting, problem.message)).collect();
    Failure::new("bad_config", lines.join("; "))
}

pub(super) fn data_failure(error: impl std::fmt::Display) -> Failure {
    Failure::new("data", error.to_string())
}

/// Each client connection takes a file; the usual soft limit of 1024 is far below what the machine can do.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
