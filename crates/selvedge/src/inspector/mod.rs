//! The debugger of `selvedge dev --inspect`: Chrome DevTools, editors and `node inspect` connect to it.
//!
//! - [`server`]: what debuggers look for over HTTP, and their WebSockets.
//! - [`session`]: one debugger and the isolate of the version that answers now, whichever that is.
//! - [`memory`]: what a debugger has set up, for the isolate after the next reload.
//! - [`messages`]: what is changed in messages on their way, so that tools see sources instead of the bundle.

mod memory;
mod messages;
mod server;
mod session;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use selvedge_engine::EngineHandle;
use selvedge_model::Worker;
use tokio::sync::watch;

use crate::failure::{Failure, Outcome};
pub(crate) use messages::SourceMaps;

/// What is debugged: the version that answers now.
pub(crate) struct Target {
    pub(crate) worker: Arc<Worker>,
    pub(crate) maps: SourceMaps,
}

/// A debugger's address, and the way to tell it what is debugged.
pub(crate) struct Inspector {
    /// For `ws://`.
    pub(crate) address: SocketAddr,
    path: String,
    targets: watch::Sender<Option<Arc<Target>>>,
}

impl Inspector {
    /// Listens, on a thread of its own, until the process ends.
    pub(crate) fn start(listener: TcpListener, engine: EngineHandle) -> Outcome<Self> {
        let failed =
            |error: std::io::Error| Failure::new("listen", format!("the debugger cannot start: {error}"));
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (targets, followed) = watch::channel(None);
        // Whoever cannot read it from this machine cannot connect: pages of other origins, for instance.
        let path = format!("{:032x}", u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..)));
        let state = server::State::new(address, path.clone(), engine, followed);
        let serve = move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => server::serve(listener, state).await,
                    Err(error) => tracing::error!(%error, "the debugger cannot listen"),
                }
            });
        };
        std::thread::Builder::new().name("inspector".into()).spawn(serve).map_err(failed)?;
        Ok(Self { address, path, targets })
    }

    /// Where debuggers connect.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/{}", self.address, self.path)
    }

    /// Another version answers from now on.
    pub(crate) fn follow(&self, target: Target) {
        self.targets.send_replace(Some(Arc::new(target)));
    }
}
