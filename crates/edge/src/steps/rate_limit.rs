//! How often somebody may ask. Who asks more often is answered 429, told when to come back.

use std::time::Instant;

use http::{HeaderName, HeaderValue, Request, header};
use selvedge_limit::rate::{
    Fallback, Key, KeyPart, LocalLimiter, RateLimit, SharedLimiter, Verdict, policy, retry_after, state,
};
use selvedge_telemetry::Decision;

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::template::host_of;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit and its counts, shared by all threads.
#[derive(Debug)]
pub(crate) struct RateLimitStep {
    limit: RateLimit,
    name: String,
    policy: HeaderValue,
    local: LocalLimiter,
    shared: Option<(SharedLimiter, Fallback)>,
    /// Local counts are kept in time since then, which does not run backwards.
    begun: Instant,
}

impl RateLimitStep {
    pub(super) fn new(name: &str, config: &RateLimit) -> Result<Self, String> {
        let mut limit = config.clone();
        let name = limit.name.get_or_insert_with(|| name.to_owned()).clone();
        let shared = match &limit.redis {
            Some(store) => Some((SharedLimiter::new(&limit, store)?, store.fallback)),
            None => None,
        };
        let policy = policy(&name, &limit.terms()?);
        Ok(Self { local: LocalLimiter::new(&limit)?, limit, name, policy, shared, begun: Instant::now() })
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &Request<RequestBody>) -> Flow {
        let key = self.key(exchange, request);
        let decided = |decision| exchange.thread.counters.limited(&self.name, decision);
        let verdict = match &self.shared {
            None => self.count(exchange, &key),
            // Boxed, so that requests that pass none reserve no room for it.
            Some((shared, fallback)) => match (Box::pin(shared.take(&key, None)).await, fallback) {
                (Ok(verdict), _) => verdict,
                (Err(_), Fallback::Local) => self.count(exchange, &key),
                (Err(_), fallback) => {
                    decided(Decision::Undecided);
                    return match fallback {
                        Fallback::Closed => Flow::Refuse(Refusal::LIMIT_UNAVAILABLE),
                        _ => Flow::On,
                    };
                }
            },
        };
        decided(if verdict.allowed { Decision::Passed } else { Decision::Refused });
        if self.limit.fields {
            let (policy, state) = (self.policy.clone(), state(&self.name, &verdict));
            exchange.later.push(Box::new(move |response| {
                // Several limits may apply; each has its member of the list.
                response.headers_mut().append(RATELIMIT_POLICY, policy);
                response.headers_mut().append(RATELIMIT, state);
            }));
        }
        match verdict.allowed {
            true => Flow::On,
            false => {
                Flow::Refuse(Refusal { retry_after: Some(retry_after(&verdict)), ..Refusal::RATE_LIMITED })
            }
        }
    }

    fn count(&self, exchange: &Exchange, key: &Key) -> Verdict {
        let now = exchange.started.saturating_duration_since(self.begun);
        self.local.take(key, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    fn key(&self, exchange: &Exchange, request: &Request<RequestBody>) -> Key {
        let mut key = Key::default();
        let address = |key: &mut Key| {
            key.push_address(exchange.client, self.limit.ipv4_prefix, self.limit.ipv6_prefix);
        };
        for part in &self.limit.key {
            let value: Option<&[u8]> = match part {
                KeyPart::Address => None,
                KeyPart::Identity => exchange.identity.as_ref().map(|identity| identity.subject.as_bytes()),
                KeyPart::Route => Some(exchange.route.as_ref().map_or("", |route| &route.name).as_bytes()),
                KeyPart::Host => {
                    key.push(host_of(request).to_ascii_lowercase().as_bytes());
                    continue;
                }
                KeyPart::Header(name) => request.headers().get(name).map(HeaderValue::as_bytes),
                KeyPart::Cookie(name) => cookie(request, name.as_bytes()),
            };
            match value {
                Some(value) => {
                    // Apart from addresses, which a client could name as well.
                    key.push(b"=");
                    key.push(value);
                }
                None => address(&mut key),
            }
        }
        key
    }
}

/// The value of the first cookie of this name.
fn cookie<'r>(request: &'r Request<RequestBody>, name: &[u8]) -> Option<&'r [u8]> {
    let fields = request.headers().get_all(header::COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}
