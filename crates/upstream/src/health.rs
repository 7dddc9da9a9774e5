//! Health checks: a server is asked at intervals, whatever clients do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::{TokioIo, TokioTimer};
use selvedge_http1::{HeadFinder, Limits, parse_response, put_field, put_request_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::HealthConfig;
use crate::connect::connect;
use crate::endpoint::Endpoint;
use crate::http2::LocalExecutor;
use crate::stream::Stream;
use crate::target::Scheme;
use crate::upstream::Upstream;

/// Heads of answers.
const LIMITS: Limits = Limits { head_bytes: 16 * 1024, fields: 100 };

/// Asks all servers of an upstream, at intervals, until it is not in use any more.
pub(crate) async fn check(upstream: &Weak<Upstream>, any: bool) {
    if !any {
        return;
    }
    let mut asked: Vec<(Arc<Endpoint>, tokio::task::JoinHandle<()>)> = Vec::new();
    while let Some(upstream) = upstream.upgrade() {
        let Some(config) = &upstream.config.health else { return };
        let members = upstream.members();
        asked.retain(|(endpoint, task)| {
            let stays = members.endpoints.iter().any(|member| Arc::ptr_eq(member, endpoint));
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in &members.endpoints {
            if !asked.iter().any(|(known, _)| Arc::ptr_eq(known, endpoint)) {
                let task = watch(Arc::downgrade(&upstream), endpoint.clone());
                asked.push((endpoint.clone(), tokio::task::spawn_local(task)));
            }
        }
        let pause = Duration::from_millis(config.interval_ms);
        drop((members, upstream));
        tokio::time::sleep(pause).await;
    }
}

/// Asks one server, again and again.
async fn watch(upstream: Weak<Upstream>, endpoint: Arc<Endpoint>) {
    let (mut good, mut bad) = (0, 0);
    while let Some(upstream) = upstream.upgrade() {
        let Some(config) = &upstream.config.health else { return };
        let answer = ask(&upstream, &endpoint, config);
        let timeout = Duration::from_millis(config.timeout_ms);
        if tokio::time::timeout(timeout, answer).await.unwrap_or(false) {
            (good, bad) = (good + 1, 0);
        } else {
            (good, bad) = (0, bad + 1);
        }
        let well = endpoint.well.load(Ordering::Relaxed);
        if well && bad >= config.unhealthy {
            endpoint.well.store(false, Ordering::Relaxed);
            tracing::warn!(server = &*endpoint.label, "is unwell: health checks fail");
        } else if !well && good >= config.healthy {
            endpoint.well.store(true, Ordering::Relaxed);
            tracing::info!(server = &*endpoint.label, "is well again");
        }
        // Spread, so that many servers are not asked at the same moment for ever.
        let pause = Duration::from_millis(config.interval_ms).mul_f64(0.9 + fastrand::f64() / 5.0);
        drop(upstream);
        tokio::time::sleep(pause).await;
    }
}

/// Whether a server answers as it should.
async fn ask(upstream: &Upstream, endpoint: &Endpoint, config: &HealthConfig) -> bool {
    let Ok(stream) = connect(upstream, endpoint, false).await else { return false };
    let Some(path) = &config.path else { return true };
    let host = config.host.as_deref().unwrap_or(&endpoint.target.authority);
    let status = if endpoint.target.scheme == Scheme::H2c || stream.speaks_http2() {
        http2(stream, endpoint, host, path).await
    } else {
        http1(stream, host, path).await
    };
    status.is_some_and(|status| match &config.statuses[..] {
        [] => (200..400).contains(&status),
        statuses => statuses.contains(&status),
    })
}

async fn http1(mut stream: Stream, host: &str, path: &str) -> Option<u16> {
    let mut head = Vec::new();
    put_request_line(b"GET", path.as_bytes(), &mut head);
    put_field(b"host", host.as_bytes(), &mut head);
    put_field(b"user-agent", b"selvedge-health", &mut head);
    put_field(b"connection", b"close", &mut head);
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.ok()?;
    let (mut received, mut finder) = (Vec::new(), HeadFinder::default());
    loop {
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
        if let Some(place) = finder.find(&received, &LIMITS).ok()? {
            return Some(parse_response(&received[place], &LIMITS, &mut Vec::new()).ok()?.status);
        }
    }
}

async fn http2(stream: Stream, endpoint: &Endpoint, host: &str, path: &str) -> Option<u16> {
    let mut builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
    let (mut sender, connection) =
        builder.timer(TokioTimer::new()).handshake(TokioIo::new(stream)).await.ok()?;
    let scheme = if endpoint.is_tls() { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("{scheme}://{host}{path}"))
        .header("user-agent", "selvedge-health")
        .body(Empty::<Bytes>::new())
        .ok()?;
    tokio::select! {
        response = sender.send_request(request) => response.ok().map(|response| response.status().as_u16()),
        _ = connection => None,
    }
}
