//! Networks in front of this server that have copies, too: purges are passed on to their APIs.

use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::TlsConfig;

use crate::settings::Secret;
use crate::store::Purge;

/// For one try.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of one purge.
const TRIES: u32 = 3;
/// Before the second try; twice as long before each further one.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest that is waited where the API asks for it.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Of an answer, bytes.
const ANSWER_MAX: u64 = 64 * 1024;
/// Of what an API says, characters that are passed on.
const WORDS_MAX: usize = 300;

/// An API that is told of purges: `[[edge.cache.purge_targets]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PurgeTarget {
    /// Whose API it is.
    pub kind: TargetKind,
    /// Cloudflare: the id of the zone.
    pub zone: Option<String>,
    /// Fastly: the id of the service.
    pub service: Option<String>,
    /// What the API knows us by; it needs no more rights than to purge.
    pub token: Secret,
    /// Where the API is, if not where it usually is.
    pub url: Option<String>,
}

/// Whose API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Cloudflare.
    #[default]
    Cloudflare,
    /// Fastly.
    Fastly,
}

/// What came of telling one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Kind and zone or service.
    pub target: String,
    /// It purged.
    pub ok: bool,
    /// Why it did not, or what it did else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A call of an API.
struct Call {
    path: String,
    body: Value,
    soft: bool,
}

impl PurgeTarget {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<String> {
        let place = match self.kind {
            TargetKind::Cloudflare => ("zone", &self.zone),
            TargetKind::Fastly => ("service", &self.service),
        };
        let sane = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !place.1.as_ref().is_some_and(sane) {
            return Some(format!("name the id of a {} as `{}`", place.0, place.0));
        }
        let token = &self.token.0;
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some("`token` must be a token of the API".into());
        }
        let url = self.url.as_deref().unwrap_or("https://");
        (!url.starts_with("https://") && !url.starts_with("http://"))
            .then(|| "`url` must begin with https://".into())
    }

    fn name(&self) -> String {
        match self.kind {
            TargetKind::Cloudflare => format!("cloudflare {}", self.zone.as_deref().unwrap_or_default()),
            TargetKind::Fastly => format!("fastly {}", self.service.as_deref().unwrap_or_default()),
        }
    }

    /// The call, or why there is none.
    fn call(&self, purge: &Purge, soft: bool) -> Result<Call, String> {
        let bare = |address: &str| address.split_once("://").map_or(address, |(_, rest)| rest).to_owned();
        match self.kind {
            TargetKind::Cloudflare => {
                let body = match purge {
                    Purge::Address(address) => json!({ "files": [address] }),
                    Purge::Prefix(prefix) => json!({ "prefixes": [bare(prefix)] }),
                    Purge::Tag(tag) => json!({ "tags": [tag] }),
                    Purge::All => json!({ "purge_everything": true }),
                };
                let zone = self.zone.as_deref().unwrap_or_default();
                Ok(Call { path: format!("/client/v4/zones/{zone}/purge_cache"), body, soft: false })
            }
            TargetKind::Fastly => {
                let service = self.service.as_deref().unwrap_or_default();
                let path = match purge {
                    Purge::Address(address) => format!("/purge/{}", bare(address)),
                    Purge::Tag(tag) => format!("/service/{service}/purge/{}", escaped(tag)),
                    Purge::All => format!("/service/{service}/purge_all"),
                    Purge::Prefix(_) => return Err("Fastly cannot purge by prefix; purge by a tag".into()),
                };
                Ok(Call { path, body: Value::Null, soft })
            }
        }
    }

    /// Tells it. Waits for the network.
    fn tell(&self, agent: &Agent, purge: &Purge, soft: bool) -> Told {
        let told = self.call(purge, soft).and_then(|call| self.send(agent, &call));
        let note = (soft && matches!((self.kind, purge), (TargetKind::Cloudflare, _) | (_, Purge::All)))
            .then(|| "it knows no soft purge of this kind; purged hard".to_owned());
        match told {
            Ok(()) => Told { target: self.name(), ok: true, message: note },
            Err(message) => Told { target: self.name(), ok: false, message: Some(message) },
        }
    }

    fn send(&self, agent: &Agent, call: &Call) -> Result<(), String> {
        let usual = match self.kind {
            TargetKind::Cloudflare => "https://api.cloudflare.com",
            TargetKind::Fastly => "https://api.fastly.com",
        };
        let url = format!("{}{}", self.url.as_deref().unwrap_or(usual).trim_end_matches('/'), call.path);
        let mut wait = BACKOFF;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut request = agent.post(&url).header("accept", "application/json");
            request = match self.kind {
                TargetKind::Cloudflare => request.header("authorization", format!("Bearer {}", self.token.0)),
                TargetKind::Fastly => request.header("fastly-key", &self.token.0),
            };
            if call.soft {
                request = request.header("fastly-soft-purge", "1");
            }
            let sent = match &call.body {
                Value::Null => request.send_empty(),
                body => request.header("content-type", "application/json").send(body.to_string()),
            };
            let (problem, again) = match sent {
                Ok(mut response) => {
                    let status = response.status().as_u16();
                    if let Some(seconds) = retry_after(&response) {
                        wait = seconds.min(BACKOFF_MAX);
                    }
                    let answer = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string();
                    match understood(status, &answer.unwrap_or_default()) {
                        None => return Ok(()),
                        Some(problem) => (problem, status == 429 || status >= 500),
                    }
                }
                // The error names no field that was sent.
                Err(error) => (format!("it cannot be reached: {error}"), true),
            };
            if !again || tries == TRIES {
                let problem = problem.replace(&self.token.0, "…");
                tracing::warn!(target = %self.name(), %problem, tries, "a purge was not passed on");
                return Err(problem);
            }
            thread::sleep(wait);
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }
}

/// Tells all of them at once. Waits for the network.
pub fn tell_all(targets: &[PurgeTarget], purge: &Purge, soft: bool) -> Vec<Told> {
    let agent = agent();
    thread::scope(|scope| {
        let telling: Vec<_> =
            targets.iter().map(|target| (target, scope.spawn(|| target.tell(&agent, purge, soft)))).collect();
        let told = telling.into_iter().map(|(target, telling)| {
            telling.join().unwrap_or_else(|_| Told {
                target: target.name(),
                ok: false,
                message: Some("telling it failed".into()),
            })
        });
        told.collect()
    })
}

fn agent() -> Agent {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build();
    Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls)
        .build()
        .into()
}

/// Seconds of `Retry-After`.
fn retry_after<T>(response: &Response<T>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What an API says against it. Cloudflare answers `success` and `errors`, Fastly `status` and `msg`.
fn understood(status: u16, answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    if (200..300).contains(&status) && (answer["success"] == true || answer["status"] == "ok") {
        return None;
    }
    let said =
        answer["errors"][0]["message"].as_str().or(answer["msg"].as_str()).unwrap_or("no reason given");
    let said: String = said.chars().filter(|letter| !letter.is_control()).take(WORDS_MAX).collect();
    Some(format!("status {status}: {said}"))
}

/// For a segment of a path.
fn escaped(tag: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in tag.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
