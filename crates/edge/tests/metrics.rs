//! Metrics as a real Prometheus gets them.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use origin::{Origin, ok};
use selvedge_edge::{AdminState, Readiness, admin_router};
use selvedge_telemetry::Registry;
use serde_json::Value;
use support::{Server, runtime, start_sites};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Debian's Prometheus, stopped with this value.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        install();
        let directory = tempfile::tempdir().unwrap();
        let settings = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\nscrape_configs:\n  - job_name: edge\n    static_configs: [{{ targets: ['{target}'] }}]\n"
        );
        std::fs::write(&settings, text).unwrap();
        let address = free_address();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _directory: directory }
    }

    /// An answer of its API; nothing while it does not listen.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: p\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until a query has this value.
    fn wait_for(&self, query: &str, value: &str) {
        let path = format!("/api/v1/query?query={}", encoded(query));
        let mut last = None;
        for _ in 0..300 {
            last = self.ask(&path);
            let result = last.as_ref().and_then(|answer| answer.pointer("/data/result/0/value/1"));
            if result.and_then(Value::as_str) == Some(value) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{query} is not {value}: {last:?}; {:?}", self.ask("/api/v1/targets"));
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn install() {
    if Command::new("promtool").arg("--version").output().is_err() {
        let arguments = ["--no-install-recommends", "prometheus"];
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .args(arguments)
            .output();
        assert!(installed.is_ok_and(|done| done.status.success()), "prometheus can be installed");
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The admin address of a server, for as long as the runtime is there.
fn admin(server: &Server) -> (SocketAddr, tokio::runtime::Runtime) {
    let mut registry = Registry::default();
    server.metrics.register(&mut registry);
    server.upstreams.register(&mut registry);
    server.edge.register(&mut registry);
    let readiness = Arc::new(Readiness::default());
    let state = AdminState { readiness, registry: Arc::new(registry), http: server.metrics.clone() };
    let runtime = runtime();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, admin_router(state)).await });
    (address, runtime)
}

fn get(server: &Server, path: &str, fields: &str) -> u16 {
    server.send(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")).status
}

#[test]
fn prometheus_reads_counts_states_and_exemplars() {
    let collector = Origin::start(|connection| {
        while connection.request().is_some() {
            connection.send(ok("{}"));
        }
    });
    let origin = Origin::start(|connection| {
        while let Some(request) = connection.request() {
            match request.starts_with("GET /bad") {
                true => connection.send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
                false => connection.send(ok("ok")),
            }
        }
    });
    let (up, down) = (origin.url(), free_address());
    let server = start_sites(&format!(
        r#"
        [edge.traces]
        endpoint = "{}/v1/traces"
        accept = "always"
        sample = 0.0
        [upstreams.shop]
        to = ["http://{down}", "{up}"]
        passive = {{ failures = 1, eject_ms = 600000, max_ejected_percent = 50 }}
        [upstreams.bad]
        to = ["{up}"]
        circuit = {{ min_requests = 2, open_ms = 600000 }}
        [middleware.api.rate_limit]
        requests = 1
        per = "1h"
        [middleware.wall.waf]
        [[sites]]
        hosts = ["a.test"]
        [[sites.routes]]
        path = "/limited"
        use = ["api"]
        respond = {{ body = "x" }}
        [[sites.routes]]
        path = "/walled"
        use = ["wall"]
        respond = {{ body = "x" }}
        [[sites.routes]]
        path = "/bad/*"
        proxy = {{ upstream = "bad" }}
        [[sites.routes]]
        path = "/*"
        proxy = {{ upstream = "shop" }}
        "#,
        collector.url(),
    ));
    for _ in 0..4 {
        assert_eq!(get(&server, "/", ""), 200);
    }
    assert_eq!(get(&server, "/", &format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n")), 200);
    assert_eq!([1, 2, 3].map(|_| get(&server, "/limited", "")), [200, 429, 429]);
    assert_eq!(get(&server, "/walled?q=1", ""), 200);
    assert_eq!(get(&server, "/walled?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E", ""), 403);
    assert_eq!([1, 2, 3].map(|_| get(&server, "/bad/", "")), [503; 3]);

    let (address, runtime) = admin(&server);
    let prometheus = Prometheus::scraping(address);
    let up = origin.address;
    for (query, value) in [
        ("sum(selvedge_http_requests_total{status=\"2xx\"})", "7".into()),
        ("selvedge_http_request_duration_seconds_count", "13".to_owned()),
        ("sum(selvedge_http_route_duration_seconds_count{site=\"a.test\",route=\"/limited\"})", "3".into()),
        ("selvedge_rate_limit_decisions_total{limit=\"api\",decision=\"refused\"}", "2".into()),
        ("selvedge_waf_decisions_total{waf=\"wall\",decision=\"refused\"}", "1".into()),
        ("selvedge_waf_decisions_total{waf=\"wall\",decision=\"passed\"}", "1".into()),
        ("selvedge_http_failures_total{code=\"rate_limited\",flags=\"RL\"}", "2".into()),
        ("selvedge_http_failures_total{code=\"circuit_open\"}", "1".into()),
        ("sum(selvedge_upstream_requests_total{upstream=\"shop\"})", "5".into()),
        ("selvedge_upstream_errors_total{upstream=\"shop\",code=\"upstream_refused\"}", "1".into()),
        ("selvedge_upstream_retries_total{upstream=\"shop\"}", "1".into()),
        ("sum(selvedge_upstream_ejections_total)", "1".into()),
        ("selvedge_upstream_circuit{upstream=\"bad\",state=\"open\"}", "1".into()),
        ("selvedge_upstream_circuit_opened_total{upstream=\"bad\"}", "1".into()),
        ("selvedge_upstream_duration_seconds_count{upstream=\"shop\"}", "5".into()),
        (&format!("selvedge_upstream_available{{server=\"{up}\",upstream=\"shop\"}}"), "1".into()),
        (&format!("selvedge_upstream_available{{server=\"{down}\"}}"), "0".into()),
        ("sum(selvedge_http_connections_by_state)", "0".into()),
    ] {
        prometheus.wait_for(query, &value);
    }
    for name in
        ["selvedge_http_request_duration_seconds_bucket", "selvedge_http_route_duration_seconds_bucket"]
    {
        let path = format!("/api/v1/query_exemplars?query={name}&start=0&end=9999999999");
        let found = prometheus.ask(&path).unwrap();
        let ids = found["data"][0]["exemplars"].as_array().unwrap_or_else(|| panic!("{found}"));
        assert!(ids.iter().any(|exemplar| exemplar["labels"]["trace_id"] == TRACE), "{found}");
    }

    // The older format, as its own tool judges it.
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept: text/plain\r\n\r\n")
        .unwrap();
    let text = support::read_reply(&mut stream);
    assert!(!text.text().contains(TRACE) && !text.text().contains("# EOF"));
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(&text.body).unwrap();
    let judged = tool.wait_with_output().unwrap();
    let said = [judged.stdout, judged.stderr].concat();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&said));
    drop((prometheus, runtime));
}
