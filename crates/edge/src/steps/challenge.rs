//! Has browsers solve a riddle before they are answered, always or while many requests arrive.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use selvedge_router::Network;
use selvedge_waf::challenge::{COOKIE, Challenge, ChallengeConfig};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::refusal::{Refusal, prefers_html};

/// What browsers get in place of an answer.
const PAGE: &str = include_str!("challenge.html");

#[derive(Debug)]
pub(crate) struct ChallengeStep {
    challenge: Challenge,
    above: u64,
    except_paths: Vec<String>,
    except_clients: Vec<Network>,
    /// The second that is counted, and the requests in it; with the count of the one before.
    second: AtomicU64,
    count: AtomicU64,
    before: AtomicU64,
}

impl ChallengeStep {
    pub(super) fn new(config: &ChallengeConfig) -> Result<Self, String> {
        let networks = config.except_clients.iter().map(|text| text.parse());
        Ok(Self {
            challenge: Challenge::new(config)?,
            above: config.above_requests_per_s,
            except_paths: config.except_paths.clone(),
            except_clients: networks
                .collect::<Result<_, _>>()
                .map_err(|error| format!("except_clients: {error}"))?,
            second: AtomicU64::new(0),
            count: AtomicU64::new(0),
            before: AtomicU64::new(0),
        })
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let now = exchange.thread.clock.since_epoch(exchange.started);
        if !self.is_busy(now.as_secs()) || self.is_exempt(exchange, request.uri().path()) {
            return Flow::On;
        }
        if answers(request.headers()).any(|answer| self.challenge.is_answer(answer, exchange.client, now)) {
            return Flow::On;
        }
        let accept = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes);
        if !accept.is_some_and(prefers_html) {
            return Flow::Refuse(Refusal::CHALLENGE);
        }
        let riddle = self.challenge.riddle(exchange.client, now);
        Flow::Answer(Box::new(self.page(&riddle, exchange.request_id.to_str().unwrap_or_default())))
    }

    /// Whether riddles are given out now. Counts the request.
    fn is_busy(&self, second: u64) -> bool {
        if self.above == 0 {
            return true;
        }
        // Threads that change the second at once may lose a few counts, which decides nothing.
        let counted = self.second.swap(second, Ordering::Relaxed);
        if counted != second {
            let last = self.count.swap(0, Ordering::Relaxed);
            self.before.store(if counted + 1 == second { last } else { 0 }, Ordering::Relaxed);
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        count > self.above || self.before.load(Ordering::Relaxed) > self.above
    }

    fn is_exempt(&self, exchange: &Exchange, path: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == pattern,
        };
        self.except_paths.iter().any(fits)
            || self.except_clients.iter().any(|network| network.contains(exchange.client))
    }

    fn page(&self, riddle: &str, request_id: &str) -> Response<crate::body::Content> {
        let nonce = format!("{:032x}", fastrand::u128(..));
        // All of it is ours: letters, digits, dots, dashes.
        let page = PAGE
            .replace("{nonce}", &nonce)
            .replace("{request_id}", request_id)
            .replace("{riddle}", riddle)
            .replace("{bits}", &self.challenge.bits().to_string())
            .replace("{valid}", &self.challenge.valid().as_secs().to_string())
            .replace("{cookie}", COOKIE);
        let mut response = Response::new(Bytes::from(page).into());
        *response.status_mut() = StatusCode::FORBIDDEN;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-selvedge-challenge", HeaderValue::from_static("1"));
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Answers among the cookies.
fn answers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}
