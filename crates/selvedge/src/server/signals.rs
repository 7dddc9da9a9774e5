//! What the process is told by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reloader;
use super::upgrade::Upgrader;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Asked,
    /// Another one serves in its place.
    Relieved,
}

/// SIGTERM, SIGINT, SIGHUP and SIGUSR2.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits until the process is to end. Until then settings are read again when they change, or on SIGHUP, and another process
    /// is started on SIGUSR2.
    pub(super) async fn end(&mut self, reloader: Option<&Reloader>, upgrader: Option<&Upgrader>) -> End {
        let watching = async {
            match reloader {
                Some(reloader) => reloader.watch().await,
                None => std::future::pending().await,
            }
        };
        let relieved = async {
            match upgrader {
                // Its sender lives as long.
                Some(upgrader) if upgrader.done().wait_for(|done| *done).await.is_ok() => {}
                _ => std::future::pending().await,
            }
        };
        let (mut watching, mut relieved) = (std::pin::pin!(watching), std::pin::pin!(relieved));
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Asked,
                _ = self.interrupt.recv() => return End::Asked,
                () = &mut relieved => return End::Relieved,
                _ = self.hangup.recv() => match reloader {
                    Some(reloader) => reloader.reload_and_tell("SIGHUP").await,
                    None => tracing::warn!("SIGHUP: there is no file of settings to read again"),
                },
                _ = self.upgrade.recv() => match upgrader {
                    Some(upgrader) => upgrader.upgrade_and_tell("SIGUSR2"),
                    None => tracing::warn!("SIGUSR2: this server cannot be upgraded"),
                },
                () = &mut watching => {}
            }
        }
    }
}
