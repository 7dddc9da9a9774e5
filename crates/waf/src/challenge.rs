//! A riddle that costs a browser a moment and a flood its speed: find a number whose hash, after the riddle's, begins with zero bits.
//!
//! Nothing is kept of riddles that were given out. A riddle holds when it ends and whom it is for, and a mark by a key of this server; the
//! answer is the riddle and the number, in a cookie.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of the cookie.
pub const COOKIE: &str = "selvedge_pass";
/// Longest answer, bytes.
const ANSWER_MAX: usize = 256;

/// When clients get riddles, and how hard they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChallengeConfig {
    /// Zero bits that the hash must begin with, 8 to 24. Each one doubles the work; 16 are a fraction of a second.
    pub bits: u8,
    /// How long an answer is good, seconds.
    pub valid_s: u64,
    /// Riddles are given out only while more than so many requests a second arrive here; 0 means always.
    pub above_requests_per_s: u64,
    /// Paths that need no answer: exact, or a beginning that ends in `*`.
    pub except_paths: Vec<String>,
    /// Networks of clients that need no answer.
    pub except_clients: Vec<String>,
    /// Text of 32 characters or more, the same on all servers that are to accept each other's answers. Without it each start makes one.
    pub secret: Option<String>,
}

impl Default for ChallengeConfig {
    fn default() -> Self {
        Self {
            bits: 16,
            valid_s: 3600,
            above_requests_per_s: 0,
            except_paths: Vec::new(),
            except_clients: Vec::new(),
            secret: None,
        }
    }
}

impl std::fmt::Debug for ChallengeConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ChallengeConfig");
        shown.field("bits", &self.bits).field("valid_s", &self.valid_s);
        shown.field("above_requests_per_s", &self.above_requests_per_s).finish_non_exhaustive()
    }
}

/// Gives out riddles and knows right answers.
pub struct Challenge {
    key: hmac::Key,
    bits: u8,
    valid: Duration,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge").field("bits", &self.bits).finish_non_exhaustive()
    }
}

impl Challenge {
    /// # Errors
    /// A sentence about the setting that cannot be used.
    pub fn new(config: &ChallengeConfig) -> Result<Self, String> {
        if !(8..=24).contains(&config.bits) {
            return Err("bits must be 8 to 24".into());
        }
        if config.valid_s == 0 {
            return Err("valid_s must be at least 1".into());
        }
        let key = match &config.secret {
            Some(secret) if secret.len() < 32 => return Err("secret must have 32 characters or more".into()),
            Some(secret) => hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            None => {
                let mut random = [0; 32];
                rand::fill(&mut random).map_err(|_| "the system has no random numbers")?;
                hmac::Key::new(hmac::HMAC_SHA256, &random)
            }
        };
        Ok(Self { key, bits: config.bits, valid: Duration::from_secs(config.valid_s) })
    }

    /// A riddle for a client. `now` is the time since the Unix epoch.
    pub fn riddle(&self, client: IpAddr, now: Duration) -> String {
        let mut random = [0; 8];
        // Without it riddles of a second and client are the same, which breaks nothing.
        let _ = rand::fill(&mut random);
        let body =
            format!("{}.{}.{}", (now + self.valid).as_secs(), self.bits, URL_SAFE_NO_PAD.encode(random));
        let mark = self.mark(&body, client);
        format!("{body}.{mark}")
    }

    /// Zero bits that answers need.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// How long answers are good.
    pub fn valid(&self) -> Duration {
        self.valid
    }

    /// Whether a cookie's value answers a riddle for this client.
    pub fn is_answer(&self, answer: &str, client: IpAddr, now: Duration) -> bool {
        if answer.len() > ANSWER_MAX {
            return false;
        }
        let Some((riddle, number)) = answer.rsplit_once('.') else { return false };
        let Some((body, mark)) = riddle.rsplit_once('.') else { return false };
        let Ok(mark) = URL_SAFE_NO_PAD.decode(mark) else { return false };
        if hmac::verify(&self.key, self.marked(body, client).as_bytes(), &mark).is_err() {
            return false;
        }
        // What it says is ours from here on.
        let mut parts = body.split('.');
        let until = parts.next().and_then(|until| until.parse::<u64>().ok()).unwrap_or(0);
        let bits = parts.next().and_then(|bits| bits.parse::<u32>().ok()).unwrap_or(u32::MAX);
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return false;
        }
        let hash = digest::digest(&digest::SHA256, answer.as_bytes());
        until >= now.as_secs() && bits >= u32::from(self.bits) && leading_zeros(hash.as_ref()) >= bits
    }

    fn mark(&self, body: &str, client: IpAddr) -> String {
        let tag = hmac::sign(&self.key, self.marked(body, client).as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// An answer is good for its client's network: addresses of one client change within it.
    fn marked(&self, body: &str, client: IpAddr) -> String {
        let network = match client.to_canonical() {
            IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64 | 1 << 63,
        };
        format!("challenge {body} {network:x}")
    }
}

fn leading_zeros(bytes: &[u8]) -> u32 {
    let mut zeros = 0;
    for byte in bytes {
        zeros += byte.leading_zeros();
        if *byte != 0 {
            break;
        }
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn solved(riddle: &str, bits: u32) -> String {
        let answers = (0u64..).map(|number| format!("{riddle}.{number}"));
        let mut right = answers.filter(|answer| {
            leading_zeros(digest::digest(&digest::SHA256, answer.as_bytes()).as_ref()) >= bits
        });
        right.next().unwrap()
    }

    #[test]
    fn answers_are_good_for_their_client_and_time() {
        let challenge = Challenge::new(&ChallengeConfig { bits: 8, ..Default::default() }).unwrap();
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        let riddle = challenge.riddle(client, NOW);
        let answer = solved(&riddle, 8);
        assert!(challenge.is_answer(&answer, client, NOW));
        assert!(challenge.is_answer(&answer, "192.0.2.99".parse().unwrap(), NOW), "the same network");
        assert!(!challenge.is_answer(&answer, "192.0.3.7".parse().unwrap(), NOW));
        assert!(!challenge.is_answer(&answer, client, NOW + Duration::from_secs(3601)));
        // A riddle for longer, or an easier one, is not ours.
        let (until, rest) = answer.split_once('.').unwrap();
        let longer = format!("{}.{rest}", until.parse::<u64>().unwrap() + 1);
        assert!(!challenge.is_answer(&longer, client, NOW));
        let other = Challenge::new(&ChallengeConfig { bits: 8, ..Default::default() }).unwrap();
        assert!(!other.is_answer(&answer, client, NOW), "another key");
        assert!(!challenge.is_answer(&riddle, client, NOW), "no number");
    }

    #[test]
    fn servers_with_one_secret_accept_each_other() {
        let config = ChallengeConfig { bits: 8, secret: Some("s".repeat(32)), ..Default::default() };
        let (one, other) = (Challenge::new(&config).unwrap(), Challenge::new(&config).unwrap());
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(other.is_answer(&solved(&one.riddle(client, NOW), 8), client, NOW));
        assert!(Challenge::new(&ChallengeConfig { secret: Some("short".into()), ..config.clone() }).is_err());
        assert!(!format!("{config:?}").contains("sss"));
    }

    proptest! {
        #[test]
        fn nothing_else_is_an_answer(answer in ".{0,300}") {
            let config = ChallengeConfig { bits: 8, secret: Some("s".repeat(32)), ..Default::default() };
            let challenge = Challenge::new(&config).unwrap();
            prop_assert!(!challenge.is_answer(&answer, "192.0.2.7".parse().unwrap(), NOW));
        }
    }
}
