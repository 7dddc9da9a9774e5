//! Recent log events of every worker, and live subscriptions to them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_model::{AccountId, LogEvent, ScriptName};
use tokio::sync::broadcast;

/// Events kept per script; older ones are dropped.
const EVENTS_KEPT: usize = 200;
/// Events a slow subscriber may fall behind before it loses the oldest.
const SUBSCRIBER_LAG: usize = 1024;

type Key = (AccountId, ScriptName);

/// Keeps the last events of each script and hands new ones to subscribers. Bounded in every direction.
#[derive(Debug, Default)]
pub struct LogHub {
    scripts: Mutex<HashMap<Key, Channel>>,
}

#[derive(Debug)]
struct Channel {
    recent: VecDeque<Arc<LogEvent>>,
    live: broadcast::Sender<Arc<LogEvent>>,
}

impl Default for Channel {
    fn default() -> Self {
        Self { recent: VecDeque::new(), live: broadcast::channel(SUBSCRIBER_LAG).0 }
    }
}

impl LogHub {
    /// Records an event and wakes its subscribers.
    pub fn publish(&self, event: LogEvent) {
        let event = Arc::new(event);
        let mut scripts = self.lock();
        let channel = scripts.entry((event.account.clone(), event.script.clone())).or_default();
        if channel.recent.len() == EVENTS_KEPT {
            channel.recent.pop_front();
        }
        channel.recent.push_back(event.clone());
        // An error means that nobody is listening.
        let _ = channel.live.send(event);
    }

    /// The last events of a script, oldest first, `limit` at most.
    pub fn recent(&self, account: &AccountId, script: &ScriptName, limit: usize) -> Vec<Arc<LogEvent>> {
        let scripts = self.lock();
        let Some(channel) = scripts.get(&(account.clone(), script.clone())) else { return Vec::new() };
        let skip = channel.recent.len().saturating_sub(limit);
        channel.recent.iter().skip(skip).cloned().collect()
    }

    /// Events of a script from now on.
    pub fn subscribe(&self, account: &AccountId, script: &ScriptName) -> broadcast::Receiver<Arc<LogEvent>> {
        self.lock().entry((account.clone(), script.clone())).or_default().live.subscribe()
    }

    /// Forgets a deleted script.
    pub fn forget(&self, account: &AccountId, script: &ScriptName) {
        self.lock().remove(&(account.clone(), script.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Channel>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::{LogKind, LogLevel};

    fn event(message: String) -> LogEvent {
        LogEvent {
            timestamp_ms: 0,
            account: AccountId::default_account(),
            script: "s".parse().unwrap(),
            version: "00000000-0000-0000-0000-000000000000".parse().unwrap(),
            kind: LogKind::Console,
            level: LogLevel::Log,
            message,
            code: None,
            stack: None,
            request_id: None,
        }
    }

    #[test]
    fn keeps_the_last_events_only_and_feeds_subscribers() {
        let hub = LogHub::default();
        let (account, script) = (AccountId::default_account(), "s".parse().unwrap());
        let mut live = hub.subscribe(&account, &script);
        for n in 0..500 {
            hub.publish(event(n.to_string()));
        }
        let recent = hub.recent(&account, &script, 1000);
        assert_eq!(recent.len(), EVENTS_KEPT);
        assert_eq!(recent.last().unwrap().message, "499");
        assert_eq!(hub.recent(&account, &script, 1)[0].message, "499");
        assert_eq!(live.try_recv().unwrap().message, "0");
    }
}
