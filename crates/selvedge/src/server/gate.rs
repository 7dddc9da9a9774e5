//! Changes by the control API, which stop while the records are handed to another process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// When to come back, seconds.
const RETRY_AFTER: &str = "1";
/// Ends of the paths of POST calls about a worker that write nothing that lasts, and may take long.
const HARMLESS: &[&str] = &["/profile", "/scheduled"];
/// The call that is the reason why nobody may write.
const UPGRADE: &str = "/api/v1/upgrade";

/// Lets changes through, or none. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<(Mutex<Passing>, Condvar)>);

#[derive(Debug, Default)]
struct Passing {
    closed: bool,
    changes: usize,
}

/// A change under way.
struct Change(Gate);

impl Drop for Change {
    fn drop(&mut self) {
        self.0.passing().changes -= 1;
        self.0.0.1.notify_all();
    }
}

impl Gate {
    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Option<Change> {
        let mut passing = self.passing();
        if passing.closed {
            return None;
        }
        passing.changes += 1;
        Some(Change(self.clone()))
    }

    /// Lets no further change through and waits for those under way. False when they take longer than that.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut passing = self.passing();
        passing.closed = true;
        while passing.changes > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            passing = self.0.1.wait_timeout(passing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn open(&self) {
        self.passing().closed = false;
    }
}

fn writes(method: &Method, path: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST => path != UPGRADE && !HARMLESS.iter().any(|harmless| path.ends_with(harmless)),
        _ => true,
    }
}

/// Holds a change for as long as it takes, or refuses it.
pub(super) async fn hold(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if !writes(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    match gate.enter() {
        Some(_change) => next.run(request).await,
        None => {
            let message = "another process is taking over; it takes changes in a moment";
            let error = json!({ "error": { "code": "upgrading", "message": message } });
            let fields = [(header::RETRY_AFTER, RETRY_AFTER), (header::CONNECTION, "close")];
            (StatusCode::SERVICE_UNAVAILABLE, fields, Json(error)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_are_no_calls() {
        assert!(!writes(&Method::POST, "/api/v1/upgrade"));
        assert!(!writes(&Method::POST, "/api/v1/accounts/default/scripts/a/profile"));
        assert!(!writes(&Method::GET, "/api/v1/accounts/default/scripts/a"));
        for name in ["upgrade", "profile", "scheduled"] {
            assert!(writes(&Method::PUT, &format!("/api/v1/accounts/default/scripts/{name}")));
            assert!(writes(&Method::DELETE, &format!("/api/v1/accounts/default/scripts/{name}")));
        }
        assert!(writes(&Method::POST, "/api/v1/reload") && writes(&Method::POST, "/api/v1/cache/purge"));
    }

    #[test]
    fn it_closes_behind_the_last_change() {
        let gate = Gate::default();
        let change = gate.enter().unwrap();
        assert!(!gate.close(Duration::from_millis(10)));
        assert!(gate.enter().is_none());
        let other = gate.clone();
        let waiting = std::thread::spawn(move || other.close(Duration::from_secs(60)));
        drop(change);
        assert!(waiting.join().unwrap());
        gate.open();
        assert!(gate.enter().is_some());
    }
}
