//! Answers put together from slices, of which each is fetched when it is needed and not stored.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use selvedge_cache::fill::Fill;
use selvedge_cache::flight::Landing;
use selvedge_cache::object::{Object, Stock};
use selvedge_cache::slices::{Slices, content_range, validator};
use selvedge_cache::status::CacheStatus;
use selvedge_cache::store::Found;
use selvedge_cache::variant::Variant;
use tokio::sync::oneshot;

use super::deliver::{self, Asker, Portion};
use super::fetch::{Wait, body_of};
use super::{RouteCache, shared_fields, shield};
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::request::Facts;
use crate::sites::Route;

/// The origin has another state of the response by now, or cannot give parts of it any more.
const CHANGED: &str = "origin_changed";
/// The origin did not answer, or not what was asked for.
const FAILED: &str = "origin_failed";

/// Where slices come from.
struct Source {
    exchange: Box<Exchange>,
    route: Arc<Route>,
    request: Request<()>,
    manifest: Arc<Object>,
    slices: Slices,
}

/// Answers with a manifest's slices. Nothing where the first of them could not be had: nothing was sent then.
pub(super) async fn object(
    exchange: &Exchange,
    route: &Arc<Route>,
    cache: &RouteCache,
    asker: &Asker,
    manifest: &Arc<Object>,
    slices: Slices,
    status: &CacheStatus,
) -> Option<Response<Content>> {
    let portion = asker.portion(manifest.status, &manifest.headers, Some(slices.total));
    let range = match &portion {
        Portion::Whole => 0..slices.total,
        Portion::Part(range, _) => range.clone(),
        Portion::Unmodified | Portion::Unsatisfiable(_) => 0..0,
    };
    let mut response = deliver::head(&portion, manifest.status, &manifest.headers);
    deliver::aged(&mut response, asker, manifest, status);
    if range.is_empty() {
        return Some(response);
    }
    let fill = Fill::new();
    let reader = fill.reader()?;
    fill.stop_keeping();
    let length = range.end - range.start;
    if asker.request.method() == Method::GET {
        let mut request = Request::new(());
        *request.uri_mut() = asker.request.uri().clone();
        *request.version_mut() = asker.request.version();
        *request.headers_mut() = shared_fields(asker.request.headers(), &cache.policy);
        let source = Source {
            exchange: exchange.behind(),
            route: route.clone(),
            request,
            manifest: manifest.clone(),
            slices,
        };
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_local(source.run(range, fill, tell));
        told.await.ok()?;
    }
    *response.body_mut() = deliver::part(reader, length);
    Some(response)
}

impl Source {
    /// Gives the bytes of a range, one slice after the other, no faster than they are read. Says when it has the first.
    async fn run(mut self, range: Range<u64>, fill: Arc<Fill>, tell: oneshot::Sender<()>) {
        let route = self.route.clone();
        let Some(cache) = &route.cache else { return };
        let mut tell = Some(tell);
        let mut at = range.start;
        while at < range.end {
            let number = at / self.slices.size;
            let of = self.slices.range(number);
            let slice = match self.slice(cache, number).await {
                Ok(slice) => slice,
                Err(code) => {
                    if code == CHANGED {
                        self.exchange.thread.cache.remove(&self.manifest);
                    }
                    return fill.end(Err(code));
                }
            };
            // Who asked may have left.
            let _ = tell.take().map(|tell| tell.send(()));
            let end = range.end.min(of.end);
            for part in slice.body.slice(at - of.start..end - of.start) {
                fill.push(part);
                if !poll_fn(|cx| fill.poll_room(cx)).await {
                    return;
                }
            }
            at = end;
        }
        fill.end(Ok(()));
    }

    /// A slice: stored, or fetched for all who want it now.
    async fn slice(&mut self, cache: &RouteCache, number: u64) -> Result<Arc<Object>, &'static str> {
        let store = self.exchange.thread.cache.clone();
        let address = self.slices.address(&self.manifest.address, number);
        let (none, now) = (HeaderMap::new(), super::now(&self.exchange));
        let range = self.slices.range(number);
        let fits = |object: &Arc<Object>| {
            object.body.len() == range.end - range.start && object.body.file().is_none()
        };
        for below in [false, true] {
            let found = match below {
                false => store.find(&address, cache.scope, &none, now),
                true => store.find_below(&address, cache.scope, &none, now).await,
            };
            if let Found::Object(object) = found
                && fits(&object)
            {
                store.touch(&object, now);
                return Ok(object);
            }
        }
        let (flight, own) = store.flights.join(&address, cache.scope);
        if !own {
            let patience = Duration::from_millis(cache.policy.config.coalesce_ms);
            let landed = tokio::time::timeout(patience, poll_fn(|cx| flight.poll(cx))).await;
            if let Ok(Landing::Object(object)) = landed {
                return Ok(object);
            }
        }
        let wait = Wait::new(own.then_some(flight), &store, cache.scope, &address);
        self.fetch(cache, wait, address, range).await
    }

    async fn fetch(
        &mut self,
        cache: &RouteCache,
        mut wait: Wait,
        address: Arc<str>,
        range: Range<u64>,
    ) -> Result<Arc<Object>, &'static str> {
        let mut request = Box::new(Request::new(RequestBody::None));
        *request.uri_mut() = self.request.uri().clone();
        *request.version_mut() = self.request.version();
        *request.headers_mut() = self.request.headers().clone();
        let same = validator(&self.manifest.headers).cloned().ok_or(CHANGED)?;
        let field = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end - 1));
        request.headers_mut().insert(header::RANGE, field.map_err(|_| FAILED)?);
        request.headers_mut().insert(header::IF_RANGE, same.clone());
        let facts = Facts { content_length: None, hop: true, websocket: false, trailers: false };
        let answer = shield::ask(&self.route, cache, &mut self.exchange, request, &facts).await;
        // Steps of the route were begun for the client's own answer.
        self.exchange.later.clear();
        let mut response = answer.map_err(|_| FAILED)?;
        Content::unfold(&mut response);
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::PARTIAL_CONTENT {
            return Err(if parts.status.is_server_error() { FAILED } else { CHANGED });
        }
        if content_range(&parts.headers) != Some((range.clone(), self.slices.total))
            || validator(&parts.headers) != Some(&same)
        {
            return Err(CHANGED);
        }
        let bytes = body_of(body, range.end - range.start).await.ok_or(FAILED)?;
        let object = slice(address, &self.manifest, bytes, cache.scope);
        wait.stored(&object, false);
        wait.land(Landing::Object(object.clone()));
        Ok(object)
    }
}

/// A slice as it is stored. Its manifest says whether it may be used; it has its tags, so that purges mean it as well.
pub(super) fn slice(address: Arc<str>, manifest: &Object, bytes: Vec<Bytes>, scope: u64) -> Arc<Object> {
    let mut headers = HeaderMap::new();
    for name in ["cache-tag", "surrogate-key"] {
        for value in manifest.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    let variant = Variant::all(scope);
    let freshness = manifest.freshness.clone();
    Arc::new(Object::new(address, StatusCode::OK, headers, Stock::new(bytes), freshness, variant))
}
