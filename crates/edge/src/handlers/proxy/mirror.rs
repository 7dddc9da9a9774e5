//! Copies of requests, whose answers are thrown away.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::request;
use http_body_util::BodyExt;
use selvedge_upstream::config::{MirrorConfig, UpstreamConfig};
use selvedge_upstream::{Outgoing, Payload, Registry, Report, Upstream, send};

use super::buffer;
use crate::body::RequestBody;
use crate::refusal::Refusal;
use crate::thread::Thread;

/// Where copies go.
#[derive(Debug)]
pub(super) struct Mirror {
    upstream: Arc<Upstream>,
    ratio: f64,
    max_body_bytes: usize,
    max_concurrent: usize,
    /// Copies under way, on all threads.
    active: Arc<AtomicUsize>,
}

impl Mirror {
    pub(super) fn new(config: &MirrorConfig, registry: &Registry) -> Result<Self, String> {
        let servers = UpstreamConfig { to: config.to.clone(), ..UpstreamConfig::default() };
        Ok(Self {
            upstream: registry.upstream(&servers).map_err(|problem| format!("mirror: {problem}"))?,
            ratio: config.ratio,
            max_body_bytes: config.max_body_bytes,
            max_concurrent: config.max_concurrent,
            active: Arc::default(),
        })
    }

    /// Sends a copy of a request on its way, if its turn has come and it can be copied. Gives the body back, which may have
    /// been read for that.
    pub(super) async fn copy(
        &self,
        thread: &Rc<Thread>,
        outgoing: &Outgoing<'_>,
        announced: Option<u64>,
        payload: Payload<RequestBody>,
    ) -> Result<Payload<RequestBody>, Refusal> {
        if thread.dice.borrow_mut().f64() >= self.ratio {
            return Ok(payload);
        }
        let (payload, copy) = match payload {
            Payload::Empty => (Payload::Empty, Payload::Empty),
            Payload::Stream(body) => match announced {
                Some(length) if length <= self.max_body_bytes as u64 => {
                    let bytes = Box::pin(buffer::request(body, announced, self.max_body_bytes)).await?;
                    (Payload::Bytes(bytes.clone()), Payload::Bytes(bytes))
                }
                _ => return Ok(Payload::Stream(body)),
            },
            Payload::Bytes(bytes) if bytes.len() > self.max_body_bytes => return Ok(Payload::Bytes(bytes)),
            Payload::Bytes(bytes) => (Payload::Bytes(bytes.clone()), Payload::Bytes(bytes)),
        };
        let Some(turn) = Turn::take(&self.active, self.max_concurrent) else { return Ok(payload) };
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = outgoing.method.clone();
        head.headers = outgoing.headers.clone();
        head.version = outgoing.version;
        let owned = Owned {
            head,
            target: outgoing.target.to_owned(),
            host: outgoing.host.map(<[u8]>::to_vec),
            scheme: if outgoing.forwarded.scheme == "https" { "https" } else { "http" },
            asked: outgoing.forwarded.host.to_vec(),
        };
        let (client, peer) = (outgoing.client, outgoing.forwarded.peer);
        let (trusted, via, trailers) = (outgoing.forwarded.trusted, outgoing.via, outgoing.trailers);
        let (thread, upstream) = (thread.clone(), self.upstream.clone());
        tokio::task::spawn_local(async move {
            let outgoing = Outgoing {
                method: &owned.head.method,
                target: &owned.target,
                host: owned.host.as_deref(),
                headers: &owned.head.headers,
                version: owned.head.version,
                forwarded: selvedge_upstream::forward::Forwarded {
                    peer,
                    trusted,
                    scheme: owned.scheme,
                    host: &owned.asked,
                },
                client,
                websocket: false,
                trailers,
                expects_continue: false,
                via,
                hints: None,
                lines: None,
            };
            let mut report = Report::default();
            let answer = send::<RequestBody>(&thread.upstreams, &upstream, &outgoing, copy, &mut report);
            if let Ok(response) = answer.await {
                let mut body = response.into_body();
                while let Some(Ok(_)) = body.frame().await {}
            }
            drop(turn);
        });
        Ok(payload)
    }
}

/// What a copy needs after the request itself has gone on.
struct Owned {
    head: request::Parts,
    target: String,
    host: Option<Vec<u8>>,
    scheme: &'static str,
    asked: Vec<u8>,
}

/// A place among the copies under way.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(active: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let turn = Self(active.clone());
        (active.fetch_add(1, Ordering::Relaxed) < most).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
