//! The cache between a route's steps and what answers. [`pass`] is the way through it.
//!
//! A request for which nothing usable is stored has it fetched by a task of its own, which goes on when the client leaves, since others
//! may wait for the same (`fetch`). What answers requests in the end is put together in `deliver`.

mod deliver;
mod fetch;
mod shield;
mod slices;

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use selvedge_cache::directives::Wishes;
use selvedge_cache::flight::Landing;
use selvedge_cache::key;
use selvedge_cache::object::Object;
use selvedge_cache::policy::{Policy, Use};
use selvedge_cache::settings::{CacheConfig, CacheSwitch};
use selvedge_cache::status::{CacheStatus, Forward};
use selvedge_cache::store::{Event, Found};
use selvedge_cache::{condition, variant};
use selvedge_upstream::Registry;

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::handlers::Handler;
use crate::refusal::Refusal;
use crate::request::Facts;
use crate::sites::{Route, RouteConfig};
use deliver::{Asker, add_status};
use fetch::{Fetch, Outcome};

/// For a fetch in the background; then another request may begin one, milliseconds.
const PATIENCE_MS: u64 = 30_000;

/// How a route's answers are cached.
#[derive(Debug)]
pub(crate) struct RouteCache {
    pub(crate) policy: Policy,
    /// A digest of the route's settings: routes that answer the same address differently have responses of their own, and changed
    /// settings begin anew.
    pub(crate) scope: u64,
    /// Who is asked first.
    shield: Option<Handler>,
}

impl RouteCache {
    /// Of a route's settings. The error is a sentence.
    pub(crate) fn new(route: &RouteConfig, registry: &Registry, base: &Path) -> Result<Option<Self>, String> {
        let config = match &route.cache {
            None | Some(CacheSwitch::On(false)) => return Ok(None),
            Some(CacheSwitch::On(true)) => CacheConfig::default(),
            Some(CacheSwitch::With(config)) => (**config).clone(),
        };
        let text = serde_json::to_string(route).map_err(|error| error.to_string())?;
        // The same on each start.
        let mut digest = DefaultHasher::new();
        text.hash(&mut digest);
        let shield = shield::new(&config.shield, registry, base)?;
        Ok(Some(Self { policy: Policy::new(&config)?, scope: digest.finish(), shield }))
    }
}

/// Whether the cache has to do with a request: its route's answers are cached, or it may change what is.
pub(crate) fn concerns(exchange: &Exchange, route: &Route, request: &Request<RequestBody>) -> bool {
    let cache = &exchange.thread.cache;
    route.cache.is_some() || !is_safe(request.method()) && (!cache.is_empty() || cache.has_below())
}

/// Has a route answer, from the cache where that is on.
pub(crate) async fn pass(
    exchange: &mut Exchange,
    route: &Arc<Route>,
    request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let unsafe_method = !is_safe(request.method());
    let Some(cache) = &route.cache else {
        let address = address(exchange, &request, &CacheConfig::default());
        let mut answer = route.handler.answer(exchange, request, facts).await;
        invalidate(exchange, &address, &mut answer).await;
        return answer;
    };
    let config = &cache.policy.config;
    let bypassed = facts.websocket
        || !request.body().is_end_stream()
        || config.bypass_cookies.iter().any(|name| variant::cookie(request.headers(), name).is_some());
    if !matches!(*request.method(), Method::GET | Method::HEAD) || bypassed {
        let address = unsafe_method.then(|| address(exchange, &request, config));
        let mut answer = route.handler.answer(exchange, request, facts).await;
        if let Some(address) = address {
            invalidate(exchange, &address, &mut answer).await;
        }
        if let Ok(answer) = &mut answer {
            Content::unfold(answer);
            let forward = Some(if bypassed { Forward::Bypass } else { Forward::Method });
            let forward_status = Some(answer.status().as_u16());
            let status = CacheStatus { forward, forward_status, ..CacheStatus::default() };
            exchange.cache = Some(status.word());
            add_status(answer.headers_mut(), &status);
        }
        return answer;
    }
    look(exchange, route, cache, request, facts).await
}

/// A request whose answer may be stored already.
async fn look(
    exchange: &mut Exchange,
    route: &Arc<Route>,
    cache: &RouteCache,
    request: Box<Request<RequestBody>>,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let config = &cache.policy.config;
    let store = exchange.thread.cache.clone();
    let now = now(exchange);
    let address: Arc<str> = address(exchange, &request, config).into();
    let wishes = if config.client_directives { Wishes::of(request.headers()) } else { Wishes::default() };
    let mut found = store.find(&address, cache.scope, request.headers(), now);
    if matches!(found, Found::Nothing | Found::Others) && store.has_below() {
        let below = store.find_below(&address, cache.scope, request.headers(), now).await;
        if !matches!(below, Found::Nothing) {
            found = below;
        }
    }
    let asker = Asker::new(request, now);
    let (object, forward) = match found {
        Found::Object(object) => {
            let usage = object.freshness.usage(&wishes, object.is_expired(), now);
            let hit = CacheStatus { hit: Some(object.freshness.ttl(now)), ..CacheStatus::default() };
            match usage {
                Use::Fresh => {
                    store.count(Event::Hit);
                    store.touch(&object, now);
                    exchange.cache = Some(hit.word());
                    return give(exchange, route, cache, asker, &object, &hit, facts).await;
                }
                Use::StaleWhileRevalidate => {
                    store.count(Event::Stale);
                    exchange.cache = Some("stale");
                    // Those from below are made for each request: they do not know of each other.
                    let flight = match object.begin_asking(now, PATIENCE_MS) {
                        true if object.body.file().is_none() => Some(store.flights.alone(&address)),
                        true => Some(store.flights.join(&address, cache.scope))
                            .filter(|(_, own)| *own)
                            .map(|(flight, _)| flight),
                        false => None,
                    };
                    if flight.is_some() {
                        let fetch =
                            Fetch::new(exchange, route, &asker.request, address, Some(object.clone()), now);
                        fetch.begin(flight, None);
                    }
                    return give(exchange, route, cache, asker, &object, &hit, facts).await;
                }
                Use::Ask => {
                    let fresh =
                        object.freshness.is_fresh(now) && !object.freshness.no_cache && !object.is_expired();
                    (Some(object), if fresh { Forward::Request } else { Forward::Stale })
                }
            }
        }
        Found::Others => (None, Forward::VaryMiss),
        Found::Pass | Found::Nothing => (None, Forward::UriMiss),
    };
    if wishes.only_if_cached {
        return Err(Refusal::NOT_CACHED);
    }
    store.count(Event::Miss);
    if asker.request.method() == Method::HEAD {
        return head(exchange, route, asker, object, forward, facts).await;
    }
    let passed = matches!(store.find(&address, cache.scope, asker.request.headers(), now), Found::Pass);
    if passed && config.slice_bytes.is_some() {
        return unsliced(exchange, route, asker, facts).await;
    }
    // It may be this server's own, which asks its shield and waits for the answer.
    let round = cache.shield.is_some() && shield::has_passed(asker.request.headers());
    let alone = wishes.no_store || passed || round;
    let mut status = CacheStatus { forward: Some(forward), ..CacheStatus::default() };
    let mut flight = None;
    if !alone {
        let (joined, own) = store.flights.join(&address, cache.scope);
        if own {
            flight = Some(joined);
        } else {
            let patience = Duration::from_millis(config.coalesce_ms);
            let landed = tokio::time::timeout(patience, poll_fn(|cx| joined.poll(cx))).await;
            status.collapsed = true;
            let answer = match landed {
                Ok(Landing::Object(object))
                    if object.variant.matches(cache.scope, asker.request.headers()) =>
                {
                    exchange.cache = Some(status.word());
                    store.count(Event::Collapsed);
                    return give(exchange, route, cache, asker, &object, &status, facts).await;
                }
                Ok(Landing::Filling(arriving))
                    if arriving.variant.matches(cache.scope, asker.request.headers()) =>
                {
                    let reader = arriving.fill.reader();
                    reader.map(|reader| {
                        deliver::arriving(&asker, &arriving, reader, &arriving.headers, &status)
                    })
                }
                Ok(Landing::Failed(failure)) => return Err(Refusal::from(failure)),
                _ => None,
            };
            if let Some(answer) = answer {
                exchange.cache = Some(status.word());
                store.count(Event::Collapsed);
                return Ok(answer);
            }
            status.collapsed = false;
        }
    }
    let mut fetch = Fetch::new(exchange, route, &asker.request, address, object, now);
    fetch.store = !wishes.no_store;
    let (tell, told) = tokio::sync::oneshot::channel();
    fetch.begin(flight, Some(tell));
    let Ok((outcome, worker)) = told.await else { return Err(Refusal::INTERNAL) };
    exchange.worker = worker;
    match outcome {
        Outcome::Object { object, forward_status, stored } => {
            let status = CacheStatus { forward_status, stored, ..status };
            exchange.cache = Some(status.word());
            let failed = forward_status.is_none_or(|status| status >= 500);
            if failed && !stored {
                store.count(Event::Stale);
                exchange.cache = Some("stale");
            }
            give(exchange, route, cache, asker, &object, &status, facts).await
        }
        Outcome::Arriving { arriving, reader, headers } => {
            status.forward_status = Some(arriving.status.as_u16());
            status.stored = true;
            exchange.cache = Some(status.word());
            Ok(deliver::arriving(&asker, &arriving, reader, &headers, &status))
        }
        Outcome::Alone { mut response, detail } => {
            status.forward_status = Some(response.status().as_u16());
            status.detail = detail;
            exchange.cache = Some(status.word());
            add_status(response.headers_mut(), &status);
            Ok(deliver::alone(&asker, response))
        }
        Outcome::Failed(refusal) => Err(refusal),
        Outcome::Unsliced => unsliced(exchange, route, asker, facts).await,
    }
}

/// Answers with what is stored.
async fn give(
    exchange: &mut Exchange,
    route: &Arc<Route>,
    cache: &RouteCache,
    asker: Asker,
    object: &Arc<Object>,
    status: &CacheStatus,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let Some(sliced) = object.slices else { return Ok(deliver::object(&asker, object, status)) };
    // Boxed, so that other requests reserve no room for it.
    let answer = Box::pin(slices::object(exchange, route, cache, &asker, object, sliced, status)).await;
    match answer {
        Some(answer) => Ok(answer),
        None => unsliced(exchange, route, asker, facts).await,
    }
}

/// What cannot be had in slices goes on as it was asked for.
async fn unsliced(
    exchange: &mut Exchange,
    route: &Arc<Route>,
    asker: Asker,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let mut answer = route.handler.answer(exchange, asker.request, facts).await?;
    Content::unfold(&mut answer);
    let status = CacheStatus {
        forward: Some(Forward::UriMiss),
        forward_status: Some(answer.status().as_u16()),
        detail: Some("unsliced"),
        ..CacheStatus::default()
    };
    exchange.cache = Some(status.word());
    add_status(answer.headers_mut(), &status);
    Ok(answer)
}

/// HEAD goes on as it is where nothing fresh is stored; its answer may show that what is stored is outdated (RFC 9111, section 4.3.5).
async fn head(
    exchange: &mut Exchange,
    route: &Arc<Route>,
    asker: Asker,
    object: Option<Arc<Object>>,
    forward: Forward,
    facts: &Facts,
) -> Result<Response<Content>, Refusal> {
    let mut answer = route.handler.answer(exchange, asker.request, facts).await?;
    Content::unfold(&mut answer);
    if let Some(object) = object.filter(|_| answer.status() == StatusCode::OK) {
        let told =
            |name| answer.headers().get(&name).is_some_and(|value| object.headers.get(&name) != Some(value));
        let length = answer
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if told(header::ETAG)
            || told(header::LAST_MODIFIED)
            || length.is_some_and(|length: u64| length != object.length())
        {
            exchange.thread.cache.remove(&object);
        }
    }
    let forward_status = Some(answer.status().as_u16());
    let status = CacheStatus { forward: Some(forward), forward_status, ..CacheStatus::default() };
    exchange.cache = Some(status.word());
    add_status(answer.headers_mut(), &status);
    Ok(answer)
}

/// After a request that may have changed something: what is stored of its address, and of those its answer names, goes (RFC 9111,
/// section 4.4).
async fn invalidate(exchange: &Exchange, address: &str, answer: &mut Result<Response<Content>, Refusal>) {
    let Ok(answer) = answer else { return };
    Content::unfold(answer);
    if !answer.status().is_success() && !answer.status().is_redirection() {
        return;
    }
    let store = &exchange.thread.cache;
    store.invalidate(address.to_owned()).await;
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let location = answer.headers().get(name).and_then(|location| location.to_str().ok());
        if let Some(related) = location.and_then(|location| key::related(address, location)) {
            store.invalidate(related).await;
        }
    }
}

/// Methods that change nothing (RFC 9110, section 9.2.1; RFC 10008).
fn is_safe(method: &Method) -> bool {
    method.is_safe() || method.as_str() == "QUERY"
}

/// What responses to this request are found by.
fn address(exchange: &Exchange, request: &Request<RequestBody>, config: &CacheConfig) -> String {
    let host = || request.headers().get(header::HOST)?.to_str().ok();
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => host().unwrap_or_default(),
    };
    key::address(exchange.scheme(), host, request.uri().path(), request.uri().query(), &config.query)
}

/// Milliseconds since the Unix epoch.
fn now(exchange: &Exchange) -> u64 {
    let now = exchange.thread.clock.since_epoch(exchange.started);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The fields of a request for all who ask, not for one.
fn shared_fields(headers: &HeaderMap, policy: &Policy) -> HeaderMap {
    let mut headers = headers.clone();
    for name in condition::PARTIAL.iter().chain(&policy.unkeyed) {
        if !policy.key_headers.contains(name) {
            headers.remove(name);
        }
    }
    headers
}
