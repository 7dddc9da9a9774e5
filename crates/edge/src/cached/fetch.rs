//! Fetches what is not stored, or asks whether what is stored still holds. A task of its own: it goes on when its client leaves.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_cache::condition;
use selvedge_cache::directives::SURROGATE;
use selvedge_cache::fill::{Fill, Reader};
use selvedge_cache::flight::{Arriving, Failure, Flight, Landing};
use selvedge_cache::object::{Object, Stock};
use selvedge_cache::policy::{Asked, Freshness, Unstored};
use selvedge_cache::settings::SetCookie;
use selvedge_cache::slices::{self, Slices};
use selvedge_cache::store::Store;
use selvedge_cache::variant::Variant;
use selvedge_model::Worker;
use tokio::sync::oneshot;

use super::{RouteCache, shared_fields, shield};
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::headers::strip_response;
use crate::refusal::Refusal;
use crate::request::Facts;
use crate::sites::Route;
use crate::thread::Thread;

/// Requests do not wait for each other for so long after an answer that was not stored, milliseconds.
const PASS_MS: u64 = 10_000;

/// What came of it, for the client that began it.
pub(super) enum Outcome {
    /// What is stored: now, still, or although its origin failed.
    Object {
        object: Arc<Object>,
        forward_status: Option<u16>,
        stored: bool,
    },
    /// A response that will be stored, with the fields that this client gets.
    Arriving {
        arriving: Arc<Arriving>,
        reader: Reader,
        headers: HeaderMap,
    },
    /// A response that is not stored.
    Alone {
        response: Response<Content>,
        detail: Option<&'static str>,
    },
    Failed(Refusal),
    /// It cannot be had in slices; it is to be asked for as the client did.
    Unsliced,
}

pub(super) type Tell = oneshot::Sender<(Outcome, Option<Arc<Worker>>)>;

/// A fetch.
pub(super) struct Fetch {
    exchange: Box<Exchange>,
    route: Arc<Route>,
    request: Box<Request<RequestBody>>,
    /// The fields of the client's request, which `Vary` is about.
    asked: HeaderMap,
    address: Arc<str>,
    /// What is stored, to be asked about.
    old: Option<Arc<Object>>,
    left: u64,
    /// Whether its answer may be stored.
    pub(super) store: bool,
    /// The slice that is asked for, and how large slices are.
    slice: Option<(u64, u64)>,
}

/// Tells those who wait that there is no answer, however the fetch ends.
pub(super) struct Wait {
    flight: Arc<Flight>,
    store: Arc<Store>,
    scope: u64,
    landed: bool,
    /// The last purge of all servers that was known when it began.
    since: Option<u64>,
}

impl Wait {
    pub(super) fn new(
        flight: Option<Arc<Flight>>,
        store: &Arc<Store>,
        scope: u64,
        address: &Arc<str>,
    ) -> Self {
        let flight = flight.unwrap_or_else(|| store.flights.alone(address));
        Self { flight, store: store.clone(), scope, landed: false, since: store.generation() }
    }

    pub(super) fn land(&mut self, landing: Landing) {
        self.landed = true;
        self.flight.land(landing);
    }

    /// Stores a response, unless it was purged meanwhile.
    pub(super) fn stored(&self, object: &Arc<Object>, unchanged: bool) -> bool {
        if self.is_purged() || !self.store.put(object, unchanged, self.since) {
            return false;
        }
        // A purge looks at flights first: what it does not find there it finds in the store, or else this does.
        if self.is_purged() {
            self.store.remove(object);
            return false;
        }
        true
    }

    /// The disk has a response.
    fn spooled(&self, object: &Arc<Object>) {
        if self.is_purged() {
            self.store.remove(object);
        } else {
            self.store.spooled();
        }
    }

    fn is_purged(&self) -> bool {
        self.flight.is_purged()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.landed {
            self.flight.land(Landing::Failed(Refusal::INTERNAL.into()));
        }
        self.store.flights.end(&self.flight, self.scope);
    }
}

impl Fetch {
    pub(super) fn new(
        exchange: &Exchange,
        route: &Arc<Route>,
        asked: &Request<RequestBody>,
        address: Arc<str>,
        old: Option<Arc<Object>>,
        now: u64,
    ) -> Self {
        let mut slice = None;
        let mut request = Box::new(Request::new(RequestBody::None));
        *request.method_mut() = Method::GET;
        *request.uri_mut() = asked.uri().clone();
        *request.version_mut() = asked.version();
        if let Some(cache) = &route.cache {
            let mut headers = shared_fields(asked.headers(), &cache.policy);
            if let Some(old) = &old {
                condition::validate(&old.headers, &mut headers);
            }
            if cache.policy.is_surrogate()
                && let Ok(value) = HeaderValue::try_from(format!("{SURROGATE}=\"Surrogate/1.0\""))
            {
                headers.append("surrogate-capability", value);
            }
            if let Some(size) = cache.policy.config.slice_bytes {
                let size = size.min(exchange.thread.cache.object_bytes());
                let number = slices::first(asked.headers().get(header::RANGE), size);
                let range = slices::range(number, size, u64::MAX);
                let field = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end - 1));
                headers.extend(field.map(|field| (header::RANGE, field)));
                slice = Some((number, size));
            }
            *request.headers_mut() = headers;
        }
        Self {
            exchange: exchange.behind(),
            route: route.clone(),
            request,
            asked: asked.headers().clone(),
            address,
            old,
            left: now,
            store: true,
            slice,
        }
    }

    /// Begins it.
    pub(super) fn begin(self, flight: Option<Arc<Flight>>, tell: Option<Tell>) {
        tokio::task::spawn_local(async move {
            let route = self.route.clone();
            if let Some(cache) = &route.cache {
                self.run(cache, flight, tell).await;
            }
        });
    }

    async fn run(mut self, cache: &RouteCache, flight: Option<Arc<Flight>>, tell: Option<Tell>) {
        let thread = self.exchange.thread.clone();
        let store = thread.cache.clone();
        let flight = flight.unwrap_or_else(|| store.flights.alone(&self.address));
        let mut wait = Wait {
            flight,
            store: store.clone(),
            scope: cache.scope,
            landed: false,
            since: store.generation(),
        };
        let facts = Facts { content_length: None, hop: true, websocket: false, trailers: false };
        let request = std::mem::replace(&mut self.request, Box::new(Request::new(RequestBody::None)));
        let answer = shield::ask(&self.route, cache, &mut self.exchange, request, &facts).await;
        let worker = self.exchange.worker.clone();
        let tell = |outcome: Outcome| {
            if let Some(tell) = tell {
                // The client may be gone.
                let _ = tell.send((outcome, worker));
            }
        };
        let arrived = arrived(&thread);
        let failed = match &answer {
            Ok(response) => matches!(response.status().as_u16(), 500 | 502..=504),
            Err(refusal) => refusal.status.is_server_error(),
        };
        if failed && let Some(old) = self.old.as_ref().filter(|old| old.freshness.survives_error(arrived)) {
            let forward_status = answer.as_ref().ok().map(|response| response.status().as_u16());
            wait.land(Landing::Object(old.clone()));
            return tell(Outcome::Object { object: old.clone(), forward_status, stored: false });
        }
        let mut response = match answer {
            Ok(response) => response,
            Err(refusal) => {
                wait.land(Landing::Failed(refusal.into()));
                return tell(Outcome::Failed(refusal));
            }
        };
        Content::unfold(&mut response);
        while let Some(later) = self.exchange.later.pop() {
            later(&mut response);
        }
        strip_response(response.headers_mut());
        response.headers_mut().remove(slices::FIELD);
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(old) = &self.old
        {
            let object = Arc::new(self.refresh(cache, old, response.headers(), arrived));
            let stored = self.store && wait.stored(&object, true);
            wait.land(Landing::Object(object.clone()));
            return tell(Outcome::Object { object, forward_status: Some(304), stored });
        }
        if let Some((number, size)) = self.slice
            && matches!(response.status().as_u16(), 206 | 416)
        {
            let Some((object, stored)) = self.sliced(cache, response, arrived, number, size, &wait).await
            else {
                store.pass(&self.address, cache.scope, arrived + PASS_MS, arrived);
                wait.land(Landing::Alone);
                return tell(Outcome::Unsliced);
            };
            wait.land(Landing::Object(object.clone()));
            return tell(Outcome::Object { object, forward_status: Some(206), stored });
        }
        match self.storable(cache, &response, arrived, store.largest()) {
            Err(why) => {
                if wait.flight.is_awaited() {
                    store.pass(&self.address, cache.scope, arrived + PASS_MS, arrived);
                }
                if !self.store || failed {
                    // What is stored may still be of use.
                } else if let Some(old) = &self.old {
                    store.remove(old);
                }
                wait.land(Landing::Alone);
                tell(Outcome::Alone { response, detail: Some(why.detail()) });
            }
            Ok(terms) => self.fill(cache, terms, response, wait, tell).await,
        }
    }

    /// What is stored, with what a 304 said.
    fn refresh(&self, cache: &RouteCache, old: &Object, newer: &HeaderMap, arrived: u64) -> Object {
        let headers = condition::refreshed(&old.headers, newer);
        let learned = cache.policy.learn(old.freshness.lifetime, false).filter(|_| old.freshness.learned);
        let asked = self.asked(arrived, learned);
        let freshness = match cache.policy.judge(&asked, old.status, &headers) {
            Ok((freshness, _)) => freshness,
            // It is good for this once.
            Err(_) => Freshness { arrived, ..Freshness::default() },
        };
        let variant = Variant::of(cache.scope, &self.asked, &headers, &cache.policy)
            .unwrap_or_else(|| old.variant.clone());
        Object::new(self.address.clone(), old.status, headers, old.body.clone(), freshness, variant)
    }

    /// Of a first slice: stores it and its manifest, which is given, and whether they are stored. Nothing where it is of no use.
    async fn sliced(
        &self,
        cache: &RouteCache,
        response: Response<Content>,
        arrived: u64,
        number: u64,
        size: u64,
        wait: &Wait,
    ) -> Option<(Arc<Object>, bool)> {
        let (parts, body) = response.into_parts();
        let (range, total) = slices::content_range(&parts.headers)?;
        if !self.store
            || parts.status != StatusCode::PARTIAL_CONTENT
            || range != slices::range(number, size, total)
        {
            return None;
        }
        let same = slices::validator(&parts.headers)?;
        let known = self.old.as_ref().and_then(|old| {
            let slices = old.slices.filter(|slices| (slices.total, slices.size) == (total, size))?;
            (slices::validator(&old.headers) == Some(same)).then_some(slices)
        });
        let mut headers = parts.headers.clone();
        headers.remove(header::CONTENT_RANGE);
        headers.remove(header::CONTENT_LENGTH);
        let asked = self.asked(arrived, None);
        let (freshness, withheld) = cache.policy.judge(&asked, StatusCode::OK, &headers).ok()?;
        withheld.iter().for_each(|name| drop(headers.remove(name)));
        let sliced = known.unwrap_or_else(|| Slices { series: fastrand::u64(..), total, size });
        headers.insert(slices::FIELD, sliced.field()?);
        let variant = Variant::of(cache.scope, &self.asked, &headers, &cache.policy)?;
        let address = self.address.clone();
        let manifest = Object::new(address, StatusCode::OK, headers, Stock::default(), freshness, variant);
        let manifest = Arc::new(manifest);
        let bytes = body_of(body, range.end - range.start).await?;
        let slice =
            super::slices::slice(sliced.address(&self.address, number), &manifest, bytes, cache.scope);
        let stored = wait.stored(&slice, false) && wait.stored(&manifest, false);
        Some((manifest, stored))
    }

    fn asked(&self, arrived: u64, learned: Option<u64>) -> Asked<'_> {
        let start = self.address.find("://").map_or(0, |at| at + 3);
        let path = self.address[start..].find('/').map_or("/", |at| &self.address[start + at..]);
        Asked {
            path: path.split('?').next().unwrap_or(path),
            authorized: self.asked.contains_key(header::AUTHORIZATION),
            left: self.left,
            arrived,
            learned,
        }
    }

    fn storable(
        &self,
        cache: &RouteCache,
        response: &Response<Content>,
        arrived: u64,
        most: u64,
    ) -> Result<Terms, Unstored> {
        if !self.store {
            return Err(Unstored::Forbidden);
        }
        let learned = self.old.as_ref().filter(|old| old.freshness.learned).and_then(|old| {
            let changed = !condition::same(&old.headers, response.headers());
            cache.policy.learn(old.freshness.lifetime, changed)
        });
        let (freshness, withheld) =
            cache.policy.judge(&self.asked(arrived, learned), response.status(), response.headers())?;
        let told = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let length = response.body().size_hint().exact().or(told);
        if length.is_some_and(|length| length > most) {
            return Err(Unstored::Body);
        }
        let mut headers = response.headers().clone();
        let mut own = headers.clone();
        for name in &withheld {
            headers.remove(name);
            if *name == header::SET_COOKIE && cache.policy.config.set_cookie == SetCookie::Strip {
                own.remove(name);
            }
        }
        headers.remove(header::CONTENT_LENGTH);
        own.remove(header::CONTENT_LENGTH);
        let variant =
            Variant::of(cache.scope, &self.asked, &headers, &cache.policy).ok_or(Unstored::VariesByAll)?;
        Ok(Terms { freshness, headers, own, variant, length })
    }

    /// Takes the body in, for all who read it, and stores it.
    async fn fill(
        self,
        cache: &RouteCache,
        terms: Terms,
        response: Response<Content>,
        mut wait: Wait,
        tell: impl FnOnce(Outcome),
    ) {
        let Terms { freshness, headers, own, variant, length } = terms;
        let store = wait.store.clone();
        let status = response.status();
        let object = |headers, body, variant| {
            Object::new(self.address.clone(), status, headers, body, freshness, variant)
        };
        let content = match response.into_body() {
            Content::Empty => Ok(Bytes::new()),
            Content::Bytes(bytes) => Ok(bytes),
            streaming => Err(streaming),
        };
        let mut body = match content {
            Ok(whole) if own.len() == headers.len() && whole.len() as u64 <= store.object_bytes() => {
                let object = Arc::new(object(headers, Stock::new(vec![whole]), variant));
                let stored = wait.stored(&object, false);
                wait.land(Landing::Object(object.clone()));
                return tell(Outcome::Object { object, forward_status: Some(status.as_u16()), stored });
            }
            Ok(whole) => Content::from(whole),
            Err(streaming) => streaming,
        };
        let fill = Fill::new();
        let arriving = Arc::new(Arriving { status, headers, length, variant, fill: fill.clone() });
        if let Some(reader) = fill.reader() {
            tell(Outcome::Arriving { arriving: arriving.clone(), reader, headers: own });
        }
        wait.land(Landing::Filling(arriving.clone()));
        let ending = Ending(fill.clone());
        let (mut total, mut keeping) = (0_u64, true);
        // What is too large for memory is written to the disk while it arrives.
        let mut spool = None;
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    total += data.len() as u64;
                    if keeping && total.max(length.unwrap_or(0)) > store.object_bytes() {
                        keeping = false;
                        spool = store.spool(&self.address, cache.scope);
                        if let Some(spool) = &spool {
                            fill.parts().into_iter().all(|part| spool.push(part));
                        }
                        fill.stop_keeping();
                        // Its place is free for those who come now.
                        store.flights.close(&wait.flight, cache.scope);
                    }
                    if spool.as_ref().is_some_and(|spool| !spool.push(data.clone())) {
                        spool = None;
                    }
                    fill.push(data);
                    if !keeping && !poll_fn(|cx| fill.poll_room(cx)).await && spool.is_none() {
                        return;
                    }
                }
                Some(Err(fault)) => return fill.end(Err(fault.code)),
                None => break,
            }
        }
        if length.is_some_and(|length| length != total) {
            return fill.end(Err("origin_cut"));
        }
        let (headers, variant) = (arriving.headers.clone(), arriving.variant.clone());
        if keeping {
            wait.stored(&Arc::new(object(headers, Stock::new(fill.parts()), variant)), false);
        } else if let Some(spool) = spool.filter(|_| !wait.is_purged()) {
            fill.end(Ok(()));
            if let Some(object) = spool.finish(|body| object(headers, body, variant)).await {
                wait.spooled(&object);
            }
        }
        fill.end(Ok(()));
        drop(ending);
    }
}

/// A body that must be so long.
pub(super) async fn body_of(mut body: Content, length: u64) -> Option<Vec<Bytes>> {
    let (mut parts, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        total += data.len() as u64;
        if total > length {
            return None;
        }
        parts.push(data);
    }
    (total == length).then_some(parts)
}

/// What is stored of a response, and under what terms.
struct Terms {
    freshness: Freshness,
    headers: HeaderMap,
    /// For the client that began it.
    own: HeaderMap,
    variant: Variant,
    length: Option<u64>,
}

/// Readers are not left waiting, however the fetch ends.
struct Ending(Arc<Fill>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err("origin_cut"));
    }
}

fn arrived(thread: &Rc<Thread>) -> u64 {
    let now = thread.clock.since_epoch(thread.clock.tick());
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, code, message, retry_after, .. } = refusal;
        Self { status, code, message, retry_after }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Failure { status, code, message, retry_after } = failure;
        Self { status, code, message, retry_after, close: false }
    }
}
