//! A request to an upstream: which server, over which connection, and what when that fails.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;

use crate::body::{Payload, UpstreamBody};
use crate::circuit::Circuit;
use crate::endpoint::Load;
use crate::error::{Report, UpstreamError};
use crate::http1::{self, Failure};
use crate::http2;
use crate::local::{Local, LocalUpstream, Shared};
use crate::outgoing::Outgoing;
use crate::pool::{Line, Pool, Wish};
use crate::upstream::Upstream;

/// Servers that a request remembers not to ask again.
const TRIED_MAX: usize = 64;

/// Sends a request to one of the upstream's servers and gives the response as soon as its head is there. Other servers are
/// asked where one fails and nothing can happen twice. `report` is filled in as far as it gets.
pub async fn send<B: Body<Data = Bytes> + Unpin + 'static>(
    local: &Rc<Local>,
    upstream: &Arc<Upstream>,
    outgoing: &Outgoing<'_>,
    payload: Payload<B>,
    report: &mut Report,
) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
    let shared = &local.shared;
    let begun = shared.tick();
    local.keep(upstream);
    let mine = local.upstream(upstream);
    let pass = Pass::get(upstream, shared).inspect_err(|error| mine.counts.refused(*error))?;
    if !upstream.is_resolved() {
        let patience = upstream.config.connect_timeout();
        if tokio::time::timeout(patience, upstream.resolved()).await.is_err() {
            mine.counts.refused(UpstreamError::Unresolved);
            return Err(UpstreamError::Unresolved);
        }
    }
    mine.earn(upstream.config.retry.budget, begun);
    let result = Attempts { shared, upstream, outgoing, mine: &mine, tried: 0 }.run(payload, report).await;
    let now = shared.tick();
    report.waited = now.saturating_duration_since(begun);
    mine.counts.waited(report.waited);
    match &result {
        Ok(response) => pass.ended(Some(response.status().as_u16())),
        Err(error) if error.is_servers() => pass.ended(None),
        // It tells nothing of the servers.
        Err(_) => {}
    }
    result
}

/// The circuit breaker's leave to go on. Dropped, it is given back unused.
struct Pass<'a> {
    circuit: Option<&'a Circuit>,
    upstream: &'a Upstream,
    shared: &'a Shared,
}

impl<'a> Pass<'a> {
    fn get(upstream: &'a Upstream, shared: &'a Shared) -> Result<Self, UpstreamError> {
        let circuit = upstream.circuit.as_ref();
        if circuit.is_some_and(|circuit| !circuit.admit(upstream.ms(shared.now()))) {
            return Err(UpstreamError::CircuitOpen);
        }
        Ok(Self { circuit, upstream, shared })
    }

    fn ended(mut self, status: Option<u16>) {
        let Some(circuit) = self.circuit.take() else { return };
        if circuit.ended(status, self.upstream.ms(self.shared.now())) {
            self.upstream.opened.fetch_add(1, Ordering::Relaxed);
            let servers = &self.upstream.config.to;
            tracing::warn!(first = servers.first().map(|to| to.url()), "circuit opens: most requests fail");
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(circuit) = self.circuit {
            circuit.withdrawn();
        }
    }
}

/// One request's way from server to server.
struct Attempts<'a, 'o> {
    shared: &'a Rc<Shared>,
    upstream: &'a Arc<Upstream>,
    outgoing: &'a Outgoing<'o>,
    mine: &'a LocalUpstream,
    /// Servers that failed, a bit each by their place.
    tried: u64,
}

impl Attempts<'_, '_> {
    async fn run<B: Body<Data = Bytes> + Unpin + 'static>(
        mut self,
        mut payload: Payload<B>,
        report: &mut Report,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let retry = &self.upstream.config.retry;
        let idempotent = is_idempotent(self.outgoing.method) && !self.outgoing.websocket;
        let mut wish = Wish { fresh: false, careful: !idempotent, tunnel: self.outgoing.websocket };
        let mut again = None;
        loop {
            let (place, pool) = match again.take() {
                Some(again) => again,
                None => self.pick().ok_or_else(|| {
                    self.mine.counts.refused(UpstreamError::NoHealthy);
                    UpstreamError::NoHealthy
                })?,
            };
            report.server = Some(pool.endpoint.label.clone());
            report.attempts += 1;
            let spare = payload.again();
            let asked = self.ask(&pool, payload, wish, report).await;
            let now = self.shared.now();
            let retries = report.attempts <= retry.attempts;
            let failure = match asked {
                Ok(response) => {
                    let status = response.status().as_u16();
                    pool.counts.answered(status);
                    self.upstream.note(&pool.endpoint, !self.upstream.is_bad(status), now);
                    match spare {
                        Some(spare)
                            if retry.statuses.contains(&status)
                                && idempotent
                                && retries
                                && self.has_other(place) =>
                        {
                            if !self.mine.spend() {
                                return Ok(response);
                            }
                            self.mine.counts.retried();
                            self.leave(place);
                            payload = spare;
                            continue;
                        }
                        _ => return Ok(response),
                    }
                }
                Err(failure) => failure,
            };
            let error = failure.error;
            // A connection that was closed while nobody looked says nothing about the server.
            let stale = report.reused && error == UpstreamError::Closed;
            if !stale {
                pool.counts.failed(error);
            }
            if error.is_servers() && !stale {
                self.upstream.note(&pool.endpoint, false, now);
            }
            let safe = match error {
                UpstreamError::Refused | UpstreamError::ConnectTimeout | UpstreamError::Tls => true,
                UpstreamError::Closed => !failure.sent || idempotent,
                UpstreamError::ResponseTimeout => idempotent && retry.timeouts,
                UpstreamError::Overloaded => true,
                _ => false,
            };
            let Some(body) = failure.payload.or(spare).filter(|_| safe) else { return Err(error) };
            payload = body;
            if stale && !wish.fresh {
                // The same server, over a connection that it knows.
                wish.fresh = true;
                report.attempts -= 1;
                again = Some((place, pool));
                continue;
            }
            if !retries || !self.mine.spend() {
                return Err(error);
            }
            self.mine.counts.retried();
            self.leave(place);
        }
    }

    /// One attempt with one server.
    async fn ask<B: Body<Data = Bytes> + Unpin + 'static>(
        &self,
        pool: &Rc<Pool>,
        payload: Payload<B>,
        wish: Wish,
        report: &mut Report,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let load = Load::on(&pool.endpoint);
        report.reused = false;
        match pool.take(self.upstream, wish).await {
            Ok(Line::Http1(connection)) => {
                report.reused = connection.reused;
                http1::exchange(pool, self.upstream, connection, load, self.outgoing, payload).await
            }
            Ok(Line::Http2(sender)) if self.outgoing.websocket => {
                let answer = http2::tunnel(pool, self.upstream, sender, load, self.outgoing).await;
                answer.map_err(|error| Failure { error, sent: true, payload: None })
            }
            // Boxed: it is far larger, and rarer.
            Ok(Line::Http2(sender)) => {
                let reused = sender.reused;
                let exchange = http2::exchange(pool, self.upstream, sender, load, self.outgoing, payload);
                let answer = Box::pin(exchange).await;
                // A stream that was opened fails for the request's sake.
                report.reused = reused && answer.as_ref().map_or_else(|failure| !failure.sent, |_| true);
                answer
            }
            Err(error) => Err(Failure { error, sent: false, payload: Some(payload) }),
        }
    }

    /// The server whose turn it is, of those that were not tried; where all were, of all.
    fn pick(&self) -> Option<(usize, Rc<Pool>)> {
        let members = self.mine.members(self.upstream, self.shared);
        let now = self.upstream.ms(self.shared.now());
        let config = &self.upstream.config;
        let key = match config.balance {
            crate::config::Balance::IpHash => self.outgoing.key(&crate::config::HashBy::Address),
            crate::config::Balance::ConsistentHash => self.outgoing.key(&config.hash_by),
            _ => 0,
        };
        let pick = |tried: u64| {
            self.mine.turn.pick(&members.members, config.balance, key, |place, endpoint| {
                endpoint.is_available(now) && !is_in(tried, place)
            })
        };
        let place = pick(self.tried).or_else(|| if self.tried == 0 { None } else { pick(0) })?;
        Some((place, members.pools.get(place)?.clone()))
    }

    /// Whether another server than this one, and than those tried, could answer.
    fn has_other(&self, place: usize) -> bool {
        let members = self.mine.members(self.upstream, self.shared);
        let now = self.upstream.ms(self.shared.now());
        let mut others = members.members.endpoints.iter().enumerate();
        others.any(|(other, endpoint)| {
            other != place && !is_in(self.tried, other) && endpoint.is_available(now)
        })
    }

    fn leave(&mut self, place: usize) {
        if place < TRIED_MAX {
            self.tried |= 1 << place;
        }
    }
}

fn is_in(tried: u64, place: usize) -> bool {
    place < TRIED_MAX && tried >> place & 1 == 1
}

/// Doing it twice is as good as doing it once (RFC 9110, section 9.2.2; QUERY: RFC 10008).
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || method.as_str() == "QUERY"
}
