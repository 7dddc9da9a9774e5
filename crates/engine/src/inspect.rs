//! V8's inspector in a worker's isolate: a session of the Chrome DevTools protocol, and CPU profiles by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use selvedge_model::Worker;
use selvedge_wire::door::{Door, put_inspector_message, take_inspector_message};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Largest message of an inspector in either direction, bytes.
pub use selvedge_wire::door::INSPECTOR_MESSAGE_MAX;

use crate::pool::Instance;
use crate::shared::Order;
use crate::{EngineError, EngineHandle, LocalEngine};

/// Messages that wait on their way to whoever inspects.
const MESSAGES_MAX: usize = 1024;
/// Between two samples of a CPU profile, microseconds.
const SAMPLING_US: u64 = 500;
/// Longest wait for an answer of V8, beyond what the profile itself takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Somebody else inspects this isolate.
    #[error(
        "another profile or debugger is at work in this worker's isolate, or it has just ended; try again"
    )]
    Busy,
    /// The isolate went away, or did not answer.
    #[error(
        "the worker's isolate ended or did not answer before the profile was complete; `selvedge logs` may say why"
    )]
    Lost,
    /// None could be started.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A session with one isolate of a worker; it ends when either side is dropped.
#[derive(Debug)]
pub struct InspectorSession {
    /// What V8 is to do, in JSON.
    pub requests: mpsc::Sender<String>,
    /// What V8 answers and tells, in JSON. Ends with the isolate.
    pub messages: mpsc::Receiver<String>,
    _taken: Taken,
}

/// An isolate is inspected by one at a time.
#[derive(Debug)]
struct Taken(Arc<Instance>);

impl Taken {
    fn take(instance: &Arc<Instance>) -> Option<Self> {
        (!instance.inspected.swap(true, Ordering::AcqRel)).then(|| Self(instance.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.inspected.store(false, Ordering::Release);
    }
}

impl EngineHandle {
    /// Inspects an isolate of this worker, starting one when there is none. While it `pauses`, all isolates on its
    /// thread stand still.
    ///
    /// # Errors
    /// [`InspectError`].
    pub async fn inspect(&self, worker: Arc<Worker>, pauses: bool) -> Result<InspectorSession, InspectError> {
        let (sender, answer) = oneshot::channel();
        let stopped = || EngineError::Unavailable("the engine is stopping".into());
        self.shared().orders.send(Order::Inspect(worker, pauses, sender)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Samples what the busiest isolate of this worker does for so long, in the format of V8's `Profiler.Profile`.
    ///
    /// # Errors
    /// [`InspectError`].
    pub async fn profile(&self, worker: Arc<Worker>, duration: Duration) -> Result<Value, InspectError> {
        let mut session = self.inspect(worker, false).await?;
        let mut call = 0;
        let mut ask = async |method: &str, params: Value| {
            call += 1;
            let request = serde_json::json!({ "id": call, "method": method, "params": params });
            let answer = async {
                session.requests.send(request.to_string()).await.ok()?;
                loop {
                    let message: Value = serde_json::from_str(&session.messages.recv().await?).ok()?;
                    if message["id"] == call {
                        return Some(message);
                    }
                }
            };
            tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
        };
        ask("Profiler.enable", Value::Null).await.ok_or(InspectError::Lost)?;
        let interval = serde_json::json!({ "interval": SAMPLING_US });
        ask("Profiler.setSamplingInterval", interval).await.ok_or(InspectError::Lost)?;
        ask("Profiler.start", Value::Null).await.ok_or(InspectError::Lost)?;
        tokio::time::sleep(duration).await;
        let mut answer = ask("Profiler.stop", Value::Null).await.ok_or(InspectError::Lost)?;
        match answer["result"]["profile"].take() {
            Value::Null => Err(InspectError::Lost),
            mut profile => {
                fill_gaps(&mut profile);
                Ok(profile)
            }
        }
    }
}

/// V8 takes no samples while the thread is at other isolates or waits. Puts `(idle)` there: readers of profiles take
/// each sample to last until the next.
fn fill_gaps(profile: &mut Value) {
    let numbers =
        |value: &Value| -> Option<Vec<i64>> { value.as_array()?.iter().map(Value::as_i64).collect() };
    let (Some(samples), Some(deltas)) = (numbers(&profile["samples"]), numbers(&profile["timeDeltas"]))
    else {
        return;
    };
    let Some(nodes) = profile.get_mut("nodes").and_then(Value::as_array_mut) else { return };
    let idle = 1 + nodes.iter().filter_map(|node| node["id"].as_i64()).max().unwrap_or(0);
    let frame = serde_json::json!({
        "functionName": "(idle)", "scriptId": "0", "url": "", "lineNumber": -1, "columnNumber": -1
    });
    if let Some(root) = nodes.first_mut().and_then(Value::as_object_mut) {
        let children = root.entry("children").or_insert_with(|| Value::Array(Vec::new()));
        children.as_array_mut().into_iter().for_each(|children| children.push(idle.into()));
    }
    nodes.push(serde_json::json!({ "id": idle, "callFrame": frame, "hitCount": 0 }));
    let interval = SAMPLING_US as i64;
    let (mut filled, mut times) = (Vec::new(), Vec::new());
    for (at, (sample, delta)) in samples.iter().zip(deltas).enumerate() {
        let gap = at > 0 && delta > 2 * interval;
        if gap {
            filled.push(idle);
            times.push(interval);
        }
        filled.push(*sample);
        times.push(if gap { delta - interval } else { delta });
    }
    profile["samples"] = filled.into();
    profile["timeDeltas"] = times.into();
}

/// Carries out [`Order::Inspect`], on the supervisor's thread.
pub async fn begin(
    engine: &LocalEngine,
    worker: &Arc<Worker>,
    pauses: bool,
) -> Result<InspectorSession, InspectError> {
    let busiest =
        |instance: &Arc<Instance>| (instance.requests(), instance.last_used_ms.load(Ordering::Relaxed));
    let loaded = engine.shared().pool.instances_of(&worker.version).into_iter().max_by_key(busiest);
    let instance = match loaded {
        Some(instance) => instance,
        None => engine.route(worker).await?.0.instance.clone(),
    };
    let taken = Taken::take(&instance).ok_or(InspectError::Busy)?;
    let door = Door::Inspector { thread: instance.thread as u32, instance: instance.id, pauses };
    let socket = instance.host.connect(door).and_then(UnixStream::from_std);
    let socket = socket.map_err(|_| EngineError::SandboxLost)?;
    let (requests, to_send) = mpsc::channel(MESSAGES_MAX);
    let (received, messages) = mpsc::channel(MESSAGES_MAX);
    let (reader, writer) = socket.into_split();
    tokio::task::spawn_local(send(writer, to_send));
    tokio::task::spawn_local(receive(reader, received));
    Ok(InspectorSession { requests, messages, _taken: taken })
}

async fn send(mut socket: tokio::net::unix::OwnedWriteHalf, mut requests: mpsc::Receiver<String>) {
    let mut bytes = Vec::new();
    while let Some(request) = requests.recv().await {
        bytes.clear();
        if request.len() <= INSPECTOR_MESSAGE_MAX {
            put_inspector_message(&mut bytes, request.as_bytes());
        }
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn receive(mut socket: tokio::net::unix::OwnedReadHalf, messages: mpsc::Sender<String>) {
    let mut arrived = Vec::new();
    loop {
        match take_inspector_message(&mut arrived) {
            Ok(Some(message)) => {
                let Ok(message) = String::from_utf8(message) else { return };
                if messages.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                let read = tokio::select! {
                    read = socket.read_buf(&mut arrived) => read,
                    // Nobody listens any more.
                    () = messages.closed() => return,
                };
                if !matches!(read, Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_without_samples_is_idle() {
        let mut profile = json!({
            "nodes": [{ "id": 1, "children": [2] }, { "id": 2 }],
            "samples": [2, 2, 2], "timeDeltas": [90_000, 600, 70_000],
        });
        fill_gaps(&mut profile);
        assert_eq!(profile["nodes"][0]["children"], json!([2, 3]));
        assert_eq!(profile["nodes"][2]["callFrame"]["functionName"], "(idle)");
        assert_eq!(profile["samples"], json!([2, 2, 3, 2]));
        assert_eq!(profile["timeDeltas"], json!([90_000, 600, 500, 69_500]));
    }

    #[test]
    fn what_is_no_profile_stays() {
        for strange in [
            json!(null),
            json!({ "samples": ["x"], "timeDeltas": [1] }),
            json!({ "samples": [], "timeDeltas": [] }),
        ] {
            let mut profile = strange.clone();
            fill_gaps(&mut profile);
            assert_eq!(profile, strange);
        }
    }
}
