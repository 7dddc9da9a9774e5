//! An edge with a handler of its own, and clients that speak raw HTTP over real sockets.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test crate uses its part of the helpers")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use selvedge_edge::{
    Content, Edge, EdgeConfig, EdgeError, Problem, RequestBody, SiteConfig, SiteSettings, Sites, StepConfig,
    Surroundings, UpstreamConfig, Upstreams,
};
use selvedge_engine::{EngineError, RequestContext};
use selvedge_model::{AccountId, Isolation, Limits, ScriptDeployment, Share, Snapshot, Worker};
use selvedge_telemetry::{AccessLog, Format, HttpMetrics, Registry, exposition};
use tokio::sync::watch;

/// A running edge and everything around it.
pub struct Server {
    pub edge: Edge,
    pub address: SocketAddr,
    pub sites: watch::Sender<Arc<Sites>>,
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub metrics: HttpMetrics,
    pub log: AccessLog,
    pub upstreams: Upstreams,
}

pub fn config() -> EdgeConfig {
    EdgeConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], threads: 2, ..EdgeConfig::default() }
}

/// Serves the script `test` on `test.localhost`.
pub fn start(config: EdgeConfig) -> Server {
    start_logged(config, AccessLog::off()).unwrap()
}

pub fn start_logged(config: EdgeConfig, log: AccessLog) -> Result<Server, EdgeError> {
    launch(config, Sites::default(), log)
}

/// Serves sites, written as in `selvedge.toml`.
pub fn start_sites(settings: &str) -> Server {
    start_sites_with(settings, |_| {})
}

/// The same, with settings of the edge that cannot be written down before the test runs.
pub fn start_sites_with(settings: &str, change: impl FnOnce(&mut EdgeConfig)) -> Server {
    let upstreams = Upstreams::default();
    let (mut config, sites) =
        sites_with(settings, &upstreams).unwrap_or_else(|problems| panic!("{problems:?}"));
    change(&mut config);
    Server { upstreams, ..launch(config, sites, AccessLog::off()).unwrap() }
}

/// Serves sites as they are.
pub fn start_with(config: EdgeConfig, sites: Sites) -> Result<Server, EdgeError> {
    launch(config, sites, AccessLog::off())
}

/// `[edge]`, `[[sites]]` and what belongs to them.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Settings {
    edge: Option<EdgeConfig>,
    sites: Vec<SiteConfig>,
    middleware: BTreeMap<String, StepConfig>,
    upstreams: BTreeMap<String, UpstreamConfig>,
}

/// Compiles sites that are written as in `selvedge.toml`.
pub fn sites(settings: &str) -> Result<(EdgeConfig, Sites), Vec<Problem>> {
    sites_with(settings, &Upstreams::default())
}

fn sites_with(settings: &str, registry: &Upstreams) -> Result<(EdgeConfig, Sites), Vec<Problem>> {
    let settings: Settings = toml::from_str(settings).unwrap();
    let mut config = EdgeConfig { listen: config().listen, ..settings.edge.clone().unwrap_or_default() };
    if config.threads == 0 {
        config.threads = 2;
    }
    let Settings { sites, middleware, upstreams, .. } = &settings;
    let base = Path::new("");
    let common = &config.uses;
    let sites = Sites::new(SiteSettings { sites, middleware, upstreams, registry, common, base })?;
    Ok((config, sites))
}

fn launch(config: EdgeConfig, sites: Sites, log: AccessLog) -> Result<Server, EdgeError> {
    let (snapshot, receiver) = watch::channel(Arc::new(snapshot(&["test"])));
    let metrics = HttpMetrics::default();
    let (sites, newest) = watch::channel(Arc::new(sites));
    let surroundings = Surroundings {
        config,
        sites: newest,
        snapshot: receiver,
        access_log: &log,
        metrics: &metrics,
        explain: None,
        inherited: Default::default(),
    };
    let edge = Edge::start_with(surroundings, || {
        Box::new(|worker, request, context| Box::pin(async move { answer(&worker, request, context).await }))
    })?;
    let address = edge.addresses().first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    Ok(Server { edge, address, sites, snapshot, metrics, log, upstreams: Upstreams::default() })
}

pub fn snapshot(scripts: &[&str]) -> Snapshot {
    let account = AccountId::default_account();
    let mut snapshot = Snapshot::default();
    for name in scripts {
        let script: selvedge_model::ScriptName = name.parse().unwrap();
        let worker = Worker {
            account: account.clone(),
            script: script.clone(),
            version: "00000000-0000-0000-0000-000000000000".parse().unwrap(),
            digest: "0".repeat(64).parse().unwrap(),
            bindings: vec![],
            limits: Limits { body_bytes: 1 << 20, ..Limits::default() },
            isolation: Isolation::Account,
            egress: Default::default(),
            compatibility_date: String::new(),
            compatibility_flags: vec![],
            crons: vec![],
            assets: None,
        };
        let shares = vec![Share { worker: Arc::new(worker), percentage: 100.0 }];
        let deployment = ScriptDeployment { account: account.clone(), script: script.clone(), shares };
        snapshot.scripts.insert((account.clone(), script), Arc::new(deployment));
    }
    snapshot
}

fn full(text: impl Into<Bytes>) -> Content {
    text.into().into()
}

/// Whether `/block` blocks its thread.
static BLOCKED: Mutex<bool> = Mutex::new(true);
static UNBLOCKED: Condvar = Condvar::new();

/// Has `/block` answer.
pub fn unblock() {
    *BLOCKED.lock().unwrap() = false;
    UNBLOCKED.notify_all();
}

/// Stands for the engine.
async fn answer(
    worker: &Arc<Worker>,
    request: Request<RequestBody>,
    context: RequestContext,
) -> Result<Response<Content>, EngineError> {
    let path = request.uri().path().to_owned();
    let mut response = match path.as_str() {
        "/echo" => {
            let body = request.into_body().collect().await.map_err(|_| EngineError::Canceled)?;
            Response::new(full(body.to_bytes()))
        }
        "/head" => {
            let lines: String = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
                .collect();
            Response::new(full(format!("{}\n{lines}", context.request_id)))
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Response::new(full("slow"))
        }
        "/block" => {
            let mut blocked = BLOCKED.lock().unwrap();
            while *blocked {
                blocked = UNBLOCKED.wait(blocked).unwrap();
            }
            Response::new(full("moving again"))
        }
        "/never" => std::future::pending().await,
        "/big" => Response::new(full(vec![b'x'; 8 << 20])),
        "/stream" => {
            let mut response = Response::new(Content::boxed(Parts(["two", "one"].into())));
            if let Some(length) = request.uri().query().and_then(|query| query.strip_prefix("length=")) {
                response.headers_mut().insert("content-length", length.parse().unwrap());
            }
            response
        }
        "/status/204" | "/status/304" => {
            let mut response = Response::new(full("no body"));
            *response.status_mut() = path[8..].parse().unwrap();
            response
        }
        "/endless" => Response::new(Content::boxed(Endless)),
        "/pause" => Response::new(Content::boxed(Paused(Some("data: first\n\n")))),
        "/panic" => panic!("a handler panics on purpose"),
        "/overloaded" => return Err(EngineError::Overloaded),
        "/exception" => return Err(EngineError::Exception("secret detail".into())),
        "/step" => {
            let mut response = Response::new(full("the worker's own"));
            if request.headers().contains_key("x-pass") {
                for (name, value) in
                    [("selvedge-next", "1"), ("selvedge-request-x-user", "ada"), ("x-seen", "1")]
                {
                    response.headers_mut().insert(name, HeaderValue::from_static(value));
                }
            }
            response
        }
        "/early" => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::from_u16(103).unwrap();
            response
        }
        "/hop" => {
            let mut response = Response::new(full("hop"));
            for (name, value) in [
                ("connection", "x-private, close"),
                ("x-private", "1"),
                ("keep-alive", "timeout=1"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("content-length", "99"),
                ("x-request-id", "forged"),
            ] {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            response
        }
        _ => Response::new(full(format!("hello from {}", worker.script))),
    };
    response.headers_mut().insert("x-test", HeaderValue::from_static("1"));
    Ok(response)
}

/// A body of unknown length, from its last part to its first.
struct Parts(Vec<&'static str>);

impl Body for Parts {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        Poll::Ready(self.0.pop().map(|part| Ok(Frame::data(part.into()))))
    }
}

/// A body that has a part, and then nothing for ever.
struct Paused(Option<&'static str>);

impl Body for Paused {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        self.0.take().map_or(Poll::Pending, |part| Poll::Ready(Some(Ok(Frame::data(part.into())))))
    }
}

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'y'; 16 * 1024])))))
    }
}

/// A response as it came over the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// `error.code` of a JSON error.
    pub fn code(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(value["error"]["request_id"].as_str(), self.header("x-request-id"));
        value["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Server {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // Against tests that hang; no test waits for it.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends `request` on a connection of its own and reads one reply.
    pub fn send(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        read_reply(&mut stream)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(get(path))
    }

    pub fn metrics_text(&self) -> String {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        self.log.register(&mut registry);
        self.upstreams.register(&mut registry);
        exposition(&registry, &self.metrics, Format::OpenMetrics).unwrap()
    }

    /// Waits until a line of the metrics is there.
    pub fn wait_for_metric(&self, line: &str) {
        for _ in 0..1500 {
            if self.metrics_text().lines().any(|l| l == line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{line} is not in\n{}", self.metrics_text());
    }

    pub fn shutdown(self, grace: Duration) -> AccessLog {
        runtime().block_on(self.edge.shutdown(grace));
        self.log
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test.localhost\r\n\r\n")
}

/// Reads one response: to its length, or to the end of the connection where none is given.
pub fn read_reply(stream: &mut TcpStream) -> Reply {
    read_reply_to(stream, false)
}

/// The same for a response to HEAD.
pub fn read_head_reply(stream: &mut TcpStream) -> Reply {
    read_reply_to(stream, true)
}

fn read_reply_to(stream: &mut TcpStream, head_only: bool) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let count = stream.read(&mut byte).unwrap();
        assert_eq!(count, 1, "closed after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body: Vec::new() };
    match reply.header("content-length").map(|n| n.parse::<usize>().unwrap()) {
        _ if head_only => {}
        Some(length) => {
            reply.body.resize(length, 0);
            stream.read_exact(&mut reply.body).unwrap();
        }
        None => {
            stream.read_to_end(&mut reply.body).unwrap();
        }
    }
    reply
}

/// True when the server has closed its side and sent nothing more.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
