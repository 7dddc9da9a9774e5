//! The load generator: one thread, epoll, HTTP/1.1 over connections that are kept.

mod client;
mod connection;
pub(crate) mod response;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) use client::Client;

use crate::statistics::Latencies;

/// What to send, and for how long.
pub(crate) struct Plan<'a> {
    /// Whole requests; which of them is next, `order` says.
    pub(crate) requests: &'a [Vec<u8>],
    pub(crate) order: Order<'a>,
    /// Requests per second, spread evenly; without it each connection sends as soon as it has its answer. With it,
    /// a latency counts from when the request was due, so that a stalled server is not asked less.
    pub(crate) rate: Option<f64>,
    /// No request starts after it.
    pub(crate) duration: Duration,
    /// For answers still missing at the end; then they count as errors.
    pub(crate) drain: Duration,
    /// Ends the run early.
    pub(crate) stop: Option<&'a AtomicBool>,
    /// Requests at most.
    pub(crate) limit: Option<u64>,
    /// Latencies of all answers count, not only of those with a status of 200 to 299.
    pub(crate) any_status: bool,
}

/// Which request comes next.
pub(crate) enum Order<'a> {
    /// One after another, again and again.
    Turns,
    /// By chance: the sums of the weights up to each request, ending in 1. The same choices in every run.
    Chance(&'a [f64]),
}

impl<'a> Plan<'a> {
    /// As fast as the answers come.
    pub(crate) fn closed(requests: &'a [Vec<u8>], seconds: f64) -> Self {
        Self {
            requests,
            order: Order::Turns,
            rate: None,
            duration: Duration::from_secs_f64(seconds),
            drain: Duration::from_secs(5),
            stop: None,
            limit: None,
            any_status: false,
        }
    }
}

/// What a run brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Answers with a status of 200 to 299.
    pub(crate) ok: u64,
    /// Other answers, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Requests whose connection failed, or whose answer was malformed or did not come.
    pub(crate) lost: u64,
    /// Of the answers that the plan counts, from the first byte sent (or due) to the last byte received.
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// Requests that were not answered with 200 to 299.
    pub(crate) fn errors(&self) -> u64 {
        self.refused.values().sum::<u64>() + self.lost
    }

    /// All answers.
    pub(crate) fn answered(&self) -> u64 {
        self.ok + self.refused.values().sum::<u64>()
    }

    /// What went wrong, in words.
    pub(crate) fn explain(&self) -> String {
        let mut parts: Vec<String> =
            self.refused.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        if self.lost > 0 {
            parts.push(format!("{} lost", self.lost));
        }
        if parts.is_empty() { "none".into() } else { parts.join(", ") }
    }
}

/// A GET request.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// A POST request with a JSON body.
pub(crate) fn post_json(host: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let mut outcome = Outcome { ok: 3, ..Outcome::default() };
        assert_eq!(outcome.explain(), "none");
        outcome.refused.insert(503, 2);
        outcome.lost = 1;
        assert_eq!((outcome.errors(), outcome.answered()), (3, 5));
        assert_eq!(outcome.explain(), "2 × 503, 1 lost");
    }
}
