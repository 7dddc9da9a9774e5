//! Recent and live log events of a script, with stacks in terms of the original source.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;
use selvedge_model::{AccountId, LogEvent, LogKind, ScriptName, Worker};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::control::{Control, TAILS_MAX};
use crate::error::ApiError;
use crate::extract::{Params, Search};
use crate::stack::has_frames;

/// Events returned when the caller names no limit.
const LIMIT_DEFAULT: usize = 100;
/// Most events returned at once.
const LIMIT_MAX: usize = 1000;

/// How often, and with which pauses, the log is looked into for what happened in a request.
const EXPLAIN_ATTEMPTS: usize = 10;
const EXPLAIN_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recent {
    limit: Option<usize>,
}

pub(crate) async fn recent(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    Search(Recent { limit }): Search<Recent>,
) -> Result<Json<Vec<LogEvent>>, ApiError> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit > LIMIT_MAX {
        return Err(ApiError::bad("invalid_request", format!("the limit is at most {LIMIT_MAX}")));
    }
    require(&control, &account, &script).await?;
    let mut events = Vec::new();
    for event in control.logs().recent(&account, &script, limit) {
        events.push(Arc::unwrap_or_clone(mapped(&control, event).await));
    }
    Ok(Json(events))
}

/// A live subscription, as it is polled.
struct Tail {
    control: Control,
    events: Receiver<Arc<LogEvent>>,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

pub(crate) async fn tail(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    require(&control, &account, &script).await?;
    let place = control.tails().clone().try_acquire_owned().map_err(|_| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tails",
            format!("{TAILS_MAX} tails are open; close one first"),
        )
    })?;
    let tail = Tail {
        events: control.logs().subscribe(&account, &script),
        closing: control.closing(),
        control,
        _place: place,
    };
    let stream = unfold(tail, |mut tail| async move {
        let event = tail.next().await?;
        Some((Ok(event), tail))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

impl Tail {
    /// The next event; `None` when the script is gone or the server shuts down.
    async fn next(&mut self) -> Option<Event> {
        let received = tokio::select! {
            received = self.events.recv() => received,
            _ = self.closing.wait_for(|closing| *closing) => return None,
        };
        match received {
            Ok(event) => {
                let event = mapped(&self.control, event).await;
                Event::default().json_data(event.as_ref()).ok()
            }
            Err(RecvError::Lagged(missed)) => {
                Some(Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}")))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

/// What happened in a request, as plain text: exceptions and broken limits. Log events come by another way than answers,
/// so that they may be a little late.
pub(crate) async fn explain(control: &Control, worker: &Worker, request_id: &str) -> Option<String> {
    for _ in 0..EXPLAIN_ATTEMPTS {
        let mut told = Vec::new();
        for event in control.logs().recent(&worker.account, &worker.script, LIMIT_MAX) {
            if event.kind == LogKind::Console || event.request_id.as_deref() != Some(request_id) {
                continue;
            }
            let event = mapped(control, event).await;
            told.push(match &event.stack {
                Some(stack) if stack.starts_with(&event.message) => stack.clone(),
                Some(stack) => format!("{}\n{stack}", event.message),
                None => event.message.clone(),
            });
        }
        if !told.is_empty() {
            return Some(told.join("\n\n"));
        }
        tokio::time::sleep(EXPLAIN_PAUSE).await;
    }
    None
}

async fn require(control: &Control, account: &AccountId, script: &ScriptName) -> Result<(), ApiError> {
    let (account, script) = (account.clone(), script.clone());
    control.read(move |records| records.store.script(&account, &script)).await.map(drop)
}

/// The event with its stack source-mapped, and with those that the worker has logged; as it is where that is not
/// possible.
async fn mapped(control: &Control, event: Arc<LogEvent>) -> Arc<LogEvent> {
    let logged = event.kind == LogKind::Console && has_frames(&event.message);
    if event.stack.is_none() && !logged {
        return event;
    }
    let work = {
        let (control, event) = (control.clone(), event.clone());
        move |records: &crate::control::Records| {
            let Some(digest) = records.store.version_digest(&event.version)? else { return Ok(None) };
            let maps = control.maps().of(&records.artifacts, &digest)?;
            let stack = event.stack.as_deref().map(|stack| maps.map_stack(stack));
            let message = if logged { maps.map_stack(&event.message) } else { event.message.clone() };
            Ok(Some((stack, message)))
        }
    };
    match control.read(work).await {
        Ok(Some((stack, message))) => Arc::new(LogEvent { stack, message, ..LogEvent::clone(&event) }),
        _ => event,
    }
}
