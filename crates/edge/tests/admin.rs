//! Health and metrics as an orchestrator and a scraper see them.

mod support;

use std::sync::Arc;

use selvedge_edge::{AdminState, Readiness, admin_router};
use selvedge_telemetry::Registry;
use support::{config, runtime, start};

#[test]
fn health_follows_the_life_of_the_process() {
    let mut server = start(config());
    let readiness = Arc::new(Readiness::default());
    let mut registry = Registry::default();
    server.metrics.register(&mut registry);
    let state = AdminState { readiness: readiness.clone(), registry: Arc::new(registry) };
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
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(
        metrics.text().contains("selvedge_http_requests_total{protocol=\"http/1.1\",status=\"2xx\"} 1\n")
    );
    readiness.drain();
    readiness.started();
    assert_eq!(health(), [200, 200, 503]);
    assert!(server.get("/health/ready").text().contains(r#""reasons":["draining"]"#));
}
