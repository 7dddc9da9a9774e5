//! The thread that hears of the purges of all servers, and tells those that had to wait.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::Connection;

use super::purges::Purges;
use super::wire::Note;
use super::{PURGE_TIMEOUT, Shared};
use crate::store::{Purge, Store};

/// How long the thread waits for a purge before it looks around.
const WAIT: Duration = Duration::from_millis(500);
/// Purges that are heard at once.
const AT_ONCE: usize = 256;
/// Before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// An entry of the stream: its id, and its fields.
type Entry = (String, Vec<String>);

/// Follows for as long as the store lives.
pub(super) fn start(shared: &Arc<Shared>, store: &Arc<Store>) -> std::io::Result<()> {
    let (shared, store) = (shared.clone(), Arc::downgrade(store));
    let thread = std::thread::Builder::new().name("cache-purges".into()).spawn(move || {
        let mut failing = false;
        while store.strong_count() > 0 {
            let begun = Instant::now();
            let Err(error) = follow(&shared, &store) else { return };
            // Once per outage. Redis' words could hold the password: its kind is enough.
            if !failing || begun.elapsed() > RETRY * 10 {
                tracing::warn!(kind = ?error.kind(), "the Redis of the cache does not answer");
            }
            failing = true;
            shared.errors.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(RETRY);
        }
    });
    thread.map(drop)
}

/// Until the store is gone.
fn follow(shared: &Shared, store: &Weak<Store>) -> redis::RedisResult<()> {
    let mut connection = shared.client.get_connection_with_timeout(PURGE_TIMEOUT)?;
    connection.set_read_timeout(Some(PURGE_TIMEOUT))?;
    connection.set_write_timeout(Some(PURGE_TIMEOUT))?;
    let Some(held) = store.upgrade() else { return Ok(()) };
    catch_up(shared, &held, &mut connection)?;
    drop(held);
    let names = shared.names();
    loop {
        tell_pending(shared, &mut connection)?;
        let seen = shared.generation().unwrap_or(0);
        let heard: Option<Vec<(String, Vec<Entry>)>> = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(AT_ONCE)
            .arg("BLOCK")
            .arg(WAIT.as_millis() as u64)
            .arg("STREAMS")
            .arg(names.purges())
            .arg(format!("{seen}-0"))
            .query(&mut connection)?;
        let Some(store) = store.upgrade() else { return Ok(()) };
        match heard {
            Some(streams) => {
                let entries = streams.into_iter().flat_map(|(_, entries)| entries);
                entries.for_each(|entry| hear(shared, &store, entry));
            }
            None => {
                let last: Option<u64> = redis::cmd("GET").arg(names.generation()).query(&mut connection)?;
                if last.unwrap_or(0) < seen {
                    catch_up(shared, &store, &mut connection)?;
                }
            }
        }
    }
}

/// Learns what happened while this server did not listen.
fn catch_up(shared: &Shared, store: &Store, connection: &mut Connection) -> redis::RedisResult<()> {
    let names = shared.names();
    let last = redis::cmd("GET").arg(names.generation()).query::<Option<u64>>(connection)?.unwrap_or(0);
    let entries: Vec<Entry> = redis::cmd("XRANGE").arg(names.purges()).arg("-").arg("+").query(connection)?;
    let first = entries.first().and_then(number).unwrap_or(last + 1);
    let seen = shared.generation().or_else(|| store.noted());
    match seen {
        // Nothing of what this server has can have been meant.
        None => *shared.purges.lock() = Some(Purges::starting_at(first - 1)),
        Some(seen) if seen > last => {
            // Redis has forgotten, and may have come back with what was purged since.
            *shared.purges.lock() = Some(Purges::starting_at(first - 1));
            shared.remember(Note { purge: None, soft: false, from: shared.name });
        }
        Some(seen) => {
            if first > seen + 1 {
                store.purge(&Purge::All, false);
            }
            let mut purges = shared.purges.lock();
            if purges.is_none() || first > seen + 1 {
                *purges = Some(Purges::starting_at(seen.max(first - 1)));
            }
        }
    }
    for entry in entries {
        if number(&entry) > shared.generation() {
            hear(shared, store, entry);
        }
    }
    store.note(shared.generation().unwrap_or(0));
    Ok(())
}

/// A purge: what this server has goes first, then what is found in Redis is judged by it.
fn hear(shared: &Shared, store: &Store, entry: Entry) {
    let Some(number) = number(&entry) else { return };
    let note = entry.1.get(1).and_then(|text| serde_json::from_str::<Note>(text).ok());
    // Of a version that says more than this one understands.
    let note = note.unwrap_or(Note { purge: Some(Purge::All), soft: false, from: 0 });
    if let Some(purge) = note.purge.as_ref().filter(|_| note.from != shared.name) {
        store.purge(purge, note.soft);
    }
    if let Some(purges) = shared.purges.lock().as_mut() {
        purges.add(number, note);
    }
    store.note(number);
}

/// Purges that were made while Redis did not answer.
fn tell_pending(shared: &Shared, connection: &mut Connection) -> redis::RedisResult<()> {
    loop {
        // It stays until Redis has it: told twice does no harm.
        let Some(note) = shared.pending.lock().front().cloned() else { return Ok(()) };
        shared.telling(&note).invoke::<u64>(connection)?;
        let mut pending = shared.pending.lock();
        if pending.front() == Some(&note) {
            pending.pop_front();
        }
    }
}

/// The number of a purge.
fn number((id, _): &Entry) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}
