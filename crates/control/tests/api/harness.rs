//! A served control plane in a temporary directory, a minimal HTTP client and a double of the engine.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_control::sandbox::{Profiling, Scheduling, Validation};
use selvedge_control::{Control, Sandbox, Settings, router};
use selvedge_engine::{EngineError, EngineStatus, InspectError, ValidateError, Validated};
use selvedge_model::{AccountId, Artifact, Diagnostic, ScriptName, Snapshot, Worker};
use selvedge_store::{Artifacts, Store};
use selvedge_telemetry::LogHub;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Accepts every worker but those whose main module says otherwise: `refuse`, `unavailable`.
#[derive(Default)]
pub(crate) struct Double {
    /// Validations under way, by script, and the most there ever were of one script.
    pub(crate) validating: Mutex<HashMap<ScriptName, usize>>,
    pub(crate) most: AtomicUsize,
    /// Bindings of the worker that was tried last.
    pub(crate) last: Mutex<Option<Arc<Worker>>>,
    /// Generations of the snapshots applied, in order.
    pub(crate) applied: Mutex<Vec<u64>>,
}

#[derive(Clone)]
struct Handle(Arc<Double>);

impl Sandbox for Handle {
    fn validate(&self, worker: Arc<Worker>, artifact: Arc<Artifact>) -> Validation<'_> {
        Box::pin(async move {
            let script = worker.script.clone();
            let now = {
                let mut validating = self.0.validating.lock().unwrap();
                let count = validating.entry(script.clone()).or_default();
                *count += 1;
                *count
            };
            self.0.most.fetch_max(now, Ordering::Relaxed);
            *self.0.last.lock().unwrap() = Some(worker);
            // Gives concurrent validations the chance to overlap.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            *self.0.validating.lock().unwrap().get_mut(&script).unwrap() -= 1;
            let source =
                String::from_utf8_lossy(&artifact.module(&artifact.main).unwrap().content).into_owned();
            if source.contains("unavailable") {
                return Err(ValidateError::Unavailable("no host".into()));
            }
            if source.contains("refuse") {
                return Err(ValidateError::Refused(Box::new(Diagnostic {
                    code: "top_level_exception".into(),
                    message: "Error: refuse".into(),
                    file: Some(artifact.main.clone()),
                    line: Some(2),
                    column: Some(1),
                    excerpt: Some("generated line".into()),
                    stack: Some("Error: refuse\n    at main.js:2:1".into()),
                })));
            }
            Ok(Validated { handlers: vec!["fetch".into()], startup_ms: 1.5 })
        })
    }

    fn apply(&self, snapshot: &Arc<Snapshot>) {
        self.0.applied.lock().unwrap().push(snapshot.generation);
    }

    /// One function, at the second line of the main module.
    fn profile(&self, worker: Arc<Worker>, duration: Duration) -> Profiling<'_> {
        Box::pin(async move {
            if worker.script.as_str() == "busy" {
                return Err(InspectError::Busy);
            }
            let frame =
                json!({ "functionName": "f", "url": "file:///main.js", "lineNumber": 1, "columnNumber": 0 });
            Ok(json!({ "nodes": [{ "id": 1, "callFrame": frame }], "seconds": duration.as_secs() }))
        })
    }

    fn scheduled(&self, _worker: Arc<Worker>, cron: String, _time_ms: u64) -> Scheduling<'_> {
        let failed = EngineError::Exception("Error: late".into());
        Box::pin(async move { if cron == "0 0 1 1 *" { Err(failed) } else { Ok(()) } })
    }

    fn status(&self) -> EngineStatus {
        EngineStatus { confinement: vec!["test double".into()], ..EngineStatus::default() }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) control: Control,
    pub(crate) store: Arc<Store>,
    pub(crate) logs: Arc<LogHub>,
    pub(crate) engine: Arc<Double>,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) dir: TempDir,
    _runtime: Runtime,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), None).unwrap());
        let artifacts = Artifacts::open(dir.path().join("artifacts")).unwrap();
        let token = std::fs::read_to_string(dir.path().join("token")).unwrap().trim().to_owned();
        let engine = Arc::new(Double::default());
        let logs = Arc::new(LogHub::default());
        let (sender, snapshot) = watch::channel(Arc::new(store.snapshot().unwrap()));
        let settings = Settings { admin_origins: vec!["http://admin.test".into()], ..Settings::default() };
        let control =
            Control::new(store.clone(), artifacts, Handle(engine.clone()), logs.clone(), sender, settings);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(control.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, token, control, store, logs, engine, snapshot, dir, _runtime: runtime }
    }

    /// Sends a request with the token.
    pub(crate) fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, &[("authorization", &format!("Bearer {}", self.token))], &body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null)
    }

    /// Sends a request with exactly these headers, besides those HTTP needs.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(&self.head(method, path, headers, body.len())).unwrap();
        // A server that refuses early may stop reading.
        let _ = stream.write_all(body);
        Answer::read(stream)
    }

    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: admin.test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        head.into_bytes()
    }

    /// Uploads parts to `PUT A/scripts/{script}`.
    pub(crate) fn put(&self, script: &str, parts: &[Part<'_>]) -> Answer {
        self.upload("PUT", &format!("{A}/scripts/{script}"), parts)
    }

    pub(crate) fn upload(&self, method: &str, path: &str, parts: &[Part<'_>]) -> Answer {
        let token = format!("Bearer {}", self.token);
        let headers = [("authorization", token.as_str()), ("content-type", MULTIPART)];
        self.send(method, path, &headers, &form(parts))
    }

    /// Deploys a worker of one module; returns its version.
    pub(crate) fn deploy(&self, script: &str, source: &str) -> String {
        let answer = self.put(script, &[metadata(r#"{"main_module":"main.js"}"#), module(source)]);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["version"].as_str().unwrap().to_owned()
    }

    /// Versions and shares that the edge sees of a script.
    pub(crate) fn serving(&self, script: &str) -> Vec<(String, f64)> {
        let snapshot = self.snapshot.borrow();
        let key = (AccountId::default_account(), script.parse().unwrap());
        let Some(deployment) = snapshot.scripts.get(&key) else { return Vec::new() };
        deployment.shares.iter().map(|s| (s.worker.version.to_string(), s.percentage)).collect()
    }
}

pub(crate) const A: &str = "/api/v1/accounts/default";
pub(crate) const MULTIPART: &str = "multipart/form-data; boundary=frontier";

/// Field name, content type, content.
pub(crate) type Part<'a> = (&'a str, &'a str, &'a [u8]);

pub(crate) fn metadata(json: &str) -> Part<'_> {
    ("metadata", "application/json", json.as_bytes())
}

pub(crate) fn module(source: &str) -> Part<'_> {
    ("main.js", "application/javascript+module", source.as_bytes())
}

pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content_type, content) in parts {
        body.extend_from_slice(b"--frontier\r\ncontent-disposition: form-data; name=\"");
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(format!("\"\r\ncontent-type: {content_type}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    body
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), text: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Checks the documented shape of an error and its code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{self:?}");
        let message = error["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty());
        message
    }
}
