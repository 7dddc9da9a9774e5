//! Health and metrics as an orchestrator and a scraper see them.

mod support;

use std::sync::Arc;
use std::time::Duration;

use selvedge_edge::{AdminState, Readiness, admin_router};
use selvedge_telemetry::Registry;
use support::{config, runtime, start};

#[test]
fn health_follows_the_life_of_the_process() {
    let mut server = start(config());
    let readiness = Arc::new(Readiness::default());
    let mut registry = Registry::default();
    server.metrics.register(&mut registry);
    let state = AdminState {
        readiness: readiness.clone(),
        registry: Arc::new(registry),
        http: server.metrics.clone(),
    };
    assert_eq!(server.get("/").status, 200);

    let runtime = runtime();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    server.address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, admin_router(state)).await });

    let health = || ["/health/live", "/health/startup", "/health/ready"].map(|path| server.get(path).status);
    assert_eq!(health(), [200, 503, 503]);
    assert!(server.get("/health/ready").text().contains(r#""reasons":["starting"]"#));
    readiness.started();
    assert_eq!(health(), [200, 200, 200]);
    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(
        metrics.text().contains("selvedge_http_requests_total{protocol=\"http/1.1\",status=\"2xx\"} 1\n")
    );
    readiness.drain();
    readiness.started();
    assert_eq!(health(), [200, 200, 503]);
    assert!(server.get("/health/ready").text().contains(r#""reasons":["draining"]"#));
}

/// The admin server of an edge that is watched, in place of the edge itself.
fn probes(server: &mut support::Server) -> (Arc<Readiness>, tokio::runtime::Runtime) {
    let readiness = Arc::new(Readiness::default());
    server.edge.watch(&readiness, &server.upstreams);
    readiness.started();
    let (registry, http) = (Arc::default(), server.metrics.clone());
    let state = AdminState { readiness: readiness.clone(), registry, http };
    let runtime = runtime();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    server.address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, admin_router(state)).await });
    (readiness, runtime)
}

fn json(reply: &support::Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn liveness_notices_a_thread_that_is_stuck_and_names_it() {
    let mut config = config();
    config.threads = 1;
    config.health.stuck_after_ms = 2000;
    let mut server = start(config);
    let mut client = server.connect();
    let (_readiness, _runtime) = probes(&mut server);
    let live = || server.get("/health/live");
    assert_eq!(live().status, 200);
    // The worker's stand-in blocks the thread, until this test has seen enough.
    std::io::Write::write_all(&mut client, support::get("/block").as_bytes()).unwrap();
    let stuck = loop {
        let reply = live();
        if reply.status == 503 {
            break reply;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let reasons = json(&stuck)["reasons"][0].as_str().unwrap().to_owned();
    assert!(reasons.starts_with("threads: edge-0 did not move for "), "{reasons}");
    assert_eq!(server.get("/health/ready").status, 503, "nobody would be answered");
    support::unblock();
    assert_eq!(support::read_reply(&mut client).status, 200);
    while live().status != 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn readiness_says_what_is_missing_and_counts_what_was_asked_for() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("edge.sock");
    let settings = format!(
        "[upstreams.bad]\nto = [\"http://{closed}\"]\ncircuit = {{ min_requests = 1, open_ms = 600000 }}\n\
         [upstreams.shop]\nto = [\"http://{closed}\"]\nhealth = {{ interval_ms = 20, timeout_ms = 500, unhealthy = 1 }}\n\
         [[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ upstream = \"shop\" }}\n\
         [[sites.routes]]\npath = \"/bad\"\nproxy = {{ upstream = \"bad\" }}"
    );
    let listen = format!("unix:{}", socket.display()).parse().unwrap();
    let mut server = support::start_sites_with(&settings, |config| config.listen.push(listen));
    // A failure opens the circuit; the first request has the other upstream looked after.
    assert_eq!(server.send("GET /bad HTTP/1.1\r\nhost: a.test\r\n\r\n").status, 502);
    assert!([502, 503].contains(&server.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").status));
    let (readiness, _runtime) = probes(&mut server);
    readiness.watch("store", selvedge_edge::Matters::Readiness, Box::new(|| Ok("reachable".into())));
    let lost = "upstreams: requests may go to no server of bad, shop";
    while json(&server.get("/health/ready?upstreams"))["reasons"][0] != lost {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.get("/health/ready?a=b&upstreams=1").status, 503);
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, &json(&ready)["checks"]["listeners"]), (200, &"2 bound".into()));
    assert_eq!(json(&ready)["checks"]["threads"], "2 serve");
    std::fs::remove_file(&socket).unwrap();
    let gone = server.get("/health/ready");
    assert_eq!(gone.status, 503);
    assert!(gone.text().contains("listeners: unix:"), "{}", gone.text());
    // A restart helps against neither.
    assert_eq!(server.get("/health/live").status, 200);
}
