//! The admin address: control API, health and metrics, over HTTP/1.1.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Open connections; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;
/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// For requests in flight when the process ends.
const GRACE: Duration = Duration::from_secs(5);
/// Before accepting is tried again after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    Open,
    /// They wait, for another process to take them or this one to go on.
    Closed,
    /// None are any more.
    Ended,
}

/// Serves until the doors are ended, then lets requests finish for a moment.
pub(super) async fn serve(listener: TcpListener, router: Router, mut doors: watch::Receiver<Doors>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let now = *doors.borrow_and_update();
        if now == Doors::Ended {
            break;
        }
        let (accepted, place) = tokio::select! {
            next = next, if now == Doors::Open => next,
            changed = doors.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        };
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                let connection = open.watch(builder.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the admin address broke off");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin address could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, open.shutdown()).await;
}
