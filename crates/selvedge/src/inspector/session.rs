//! One debugger, and the isolate that it debugs: that of the version which answers now. After a reload, and when the
//! isolate was lost, it goes on with the next one, where everything is set up as it was.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use selvedge_engine::{EngineHandle, InspectorSession};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::Target;
use super::memory::Memory;
use super::messages;

type Debugger = WebSocketStream<TokioIo<Upgraded>>;
type Targets = watch::Receiver<Option<Arc<Target>>>;

/// Before the isolate is looked for again after it was lost.
const PAUSE: Duration = Duration::from_millis(500);

/// What ended one isolate's part.
enum Next {
    /// The debugger has left.
    Done,
    /// There is another isolate, or will be.
    Isolate,
}

/// Serves a debugger until it leaves.
pub(super) async fn run(mut debugger: Debugger, engine: &EngineHandle, mut targets: Targets) {
    let mut memory = Memory::default();
    let mut first = true;
    loop {
        let Some(target) = targets.borrow_and_update().clone() else {
            if !idle(&mut debugger, &mut targets, None).await {
                return;
            }
            continue;
        };
        let session = match engine.inspect(target.worker.clone(), true).await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "no isolate to debug");
                if !idle(&mut debugger, &mut targets, Some(PAUSE)).await {
                    return;
                }
                continue;
            }
        };
        if !std::mem::take(&mut first) {
            for message in messages::NEXT_ISOLATE {
                if debugger.send(Message::text(message)).await.is_err() {
                    return;
                }
            }
        }
        match converse(&mut debugger, session, &target, &mut targets, &mut memory).await {
            Next::Done => return,
            Next::Isolate => {}
        }
        // An isolate that ends at once would otherwise be started without end.
        if !targets.has_changed().unwrap_or(false) && !idle(&mut debugger, &mut targets, Some(PAUSE)).await {
            return;
        }
    }
}

/// Waits for another target, or for so long. What the debugger asks meanwhile is refused. False once it has left.
async fn idle(debugger: &mut Debugger, targets: &mut Targets, pause: Option<Duration>) -> bool {
    let pause = async {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return true,
            changed = targets.changed() => return changed.is_ok(),
            message = debugger.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let answer = messages::refusal(&text);
                    if debugger.send(Message::text(answer)).await.is_err() {
                        return false;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            },
        }
    }
}

/// Carries messages between a debugger and one isolate.
async fn converse(
    debugger: &mut Debugger,
    mut session: InspectorSession,
    target: &Target,
    targets: &mut Targets,
    memory: &mut Memory,
) -> Next {
    for request in memory.replay() {
        if session.requests.send(request).await.is_err() {
            return Next::Isolate;
        }
    }
    loop {
        tokio::select! {
            changed = targets.changed() => return if changed.is_ok() { Next::Isolate } else { Next::Done },
            message = session.messages.recv() => {
                let Some(message) = message else { return Next::Isolate };
                if memory.is_replayed(&message) {
                    continue;
                }
                memory.answered(&message);
                let message = messages::to_debugger(message, &target.maps);
                if debugger.send(Message::text(message)).await.is_err() {
                    return Next::Done;
                }
            }
            message = debugger.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request = messages::to_isolate(text.to_string());
                    memory.asked(&request);
                    if session.requests.send(request).await.is_err() {
                        return Next::Isolate;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Next::Done,
                // Pings are answered by the library; nothing else is text.
                Some(Ok(_)) => {}
            },
        }
    }
}
