//! Which addresses may ask. Lists in files are read again when the files change.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use selvedge_limit::networks::{IpLists, IpRules};

use super::Flow;
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// How often files are looked at, as long as requests come.
const LOOK: Duration = Duration::from_secs(1);
/// Longest file, bytes.
const FILE_MAX: u64 = 256 << 20;

/// Lists of networks, shared by all threads.
#[derive(Debug)]
pub(crate) struct Ip(Arc<Lists>);

#[derive(Debug)]
struct Lists {
    rules: IpRules,
    now: RwLock<IpLists>,
    begun: Instant,
    /// When the files are looked at again, milliseconds after `begun`.
    look_at: AtomicU64,
    /// What the files were when they were read.
    seen: RwLock<Stamps>,
}

/// Time of the last change and length of each file.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Ip {
    pub(super) fn new(rules: &IpRules) -> Result<Self, String> {
        let seen = stamps(rules);
        Ok(Self(Arc::new(Lists {
            rules: rules.clone(),
            now: RwLock::new(read(rules)?),
            begun: Instant::now(),
            look_at: AtomicU64::new(LOOK.as_millis() as u64),
            seen: RwLock::new(seen),
        })))
    }

    pub(super) fn before(&self, exchange: &Exchange) -> Flow {
        let lists = &self.0;
        if lists.rules.allow_file.is_some() || lists.rules.deny_file.is_some() {
            lists.look(exchange.started);
        }
        let now = lists.now.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        match now.admits(exchange.client) {
            true => Flow::On,
            false => Flow::Refuse(Refusal::ADDRESS_DENIED),
        }
    }
}

impl Lists {
    /// Has the files looked at, aside, when it is time. One thread does it for all.
    fn look(self: &Arc<Self>, now: Instant) {
        let now = now.saturating_duration_since(self.begun).as_millis() as u64;
        let due = self.look_at.load(Ordering::Relaxed);
        let next = now + LOOK.as_millis() as u64;
        if now < due
            || self.look_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let lists = self.clone();
        tokio::task::spawn_blocking(move || lists.refresh());
    }

    /// Reads files that changed. What cannot be read leaves the lists as they are.
    fn refresh(&self) {
        let stamps = stamps(&self.rules);
        if *self.seen.read().unwrap_or_else(|poisoned| poisoned.into_inner()) == stamps {
            return;
        }
        match read(&self.rules) {
            Ok(lists) => *self.now.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = lists,
            Err(error) => tracing::warn!(%error, "lists of networks stay what they were"),
        }
        *self.seen.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = stamps;
    }
}

fn stamps(rules: &IpRules) -> Stamps {
    [&rules.allow_file, &rules.deny_file].map(|file| {
        let known = std::fs::metadata(file.as_ref()?).ok()?;
        Some((known.modified().ok()?, known.len()))
    })
}

fn read(rules: &IpRules) -> Result<IpLists, String> {
    let text = |file: &Path| {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let length = std::fs::metadata(file).map_err(|error| wrong(&error))?.len();
        if length > FILE_MAX {
            return Err(wrong(&format_args!("longer than {FILE_MAX} bytes")));
        }
        std::fs::read_to_string(file).map_err(|error| wrong(&error))
    };
    let allow = rules.allow_file.as_deref().map(text).transpose()?;
    let deny = rules.deny_file.as_deref().map(text).transpose()?;
    IpLists::new(rules, allow.as_deref(), deny.as_deref())
}
