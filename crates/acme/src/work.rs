//! The work: one thread that orders, renews and asks, in the order of need and never much at once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::Seconds;
use crate::disk::Record;
use crate::fault::{Blame, Fault};
use crate::issuer::Issuer;
use crate::keys::{Certificate, luck};
use crate::manager::{Acme, Inner, Task};
use crate::names::Name;
use crate::order::{Desk, Wish, order};
use crate::schedule::{ARI_RETRY, Window, ask_again, backoff, rest, retry_after};

/// When another process orders for the name, seconds until we look what came of it.
const OTHER_POLL: Seconds = 20;
/// Between looks at what nobody wants any more, seconds.
const SWEEP_PERIOD: Seconds = 6 * 3600;

/// Automatic certificates at work. Ends when dropped; orders under way are given up and done again later.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Acme {
    /// Goes to work on a thread of its own, where waiting for the disk disturbs nobody.
    pub fn start(&self) -> io::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let acme = self.clone();
        let thread = std::thread::Builder::new().name("acme".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = acme.work() => {}
                    // Dropped or sent, it is the end.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Running { stop: Some(stop), thread: Some(thread) })
    }

    /// Orders, renews and asks, for ever.
    async fn work(&self) {
        let inner = &self.inner;
        // An issuer orders no more than this at a time; questions about windows share the places.
        let places = inner.issuers.len().saturating_mul(inner.config.concurrency).max(1);
        let mut tasks = JoinSet::new();
        let mut sweep = inner.clock.now();
        loop {
            if inner.clock.now() >= sweep {
                inner.sweep();
                sweep = inner.clock.now() + SWEEP_PERIOD;
            }
            let next = begin(inner, &mut tasks, places).min(sweep);
            tokio::select! {
                () = inner.wake.notified() => {}
                () = inner.clock.sleep_until(next) => {}
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

/// Begins what is due, as far as there are places, and returns when something is due next.
fn begin(inner: &Arc<Inner>, tasks: &mut JoinSet<()>, places: usize) -> Seconds {
    let now = inner.clock.now();
    keep_new(inner);
    let mut entries = inner.entries();
    let mut due = Vec::new();
    let mut next = Seconds::MAX;
    for (name, entry) in entries.iter() {
        match inner.next(name, entry) {
            Some((at, task)) if at <= now => due.push((task, at, name.clone())),
            Some((at, _)) => next = next.min(at),
            None => {}
        }
    }
    due.sort();
    for (task, _, name) in due {
        if tasks.len() >= places {
            // The end of a task wakes us.
            break;
        }
        let Some(entry) = entries.get_mut(&name) else { continue };
        (entry.busy, entry.asked) = (true, false);
        let guard = Busy { inner: inner.clone(), name };
        tasks.spawn(async move {
            match task {
                Task::AskWindow => ask_window(&guard.inner, &guard.name).await,
                Task::OrderAsked | Task::OrderMissing | Task::Renew => {
                    attempt(&guard.inner, &guard.name).await
                }
            }
        });
    }
    next
}

/// Notes on disk which names there are, for `selvedge certs`.
fn keep_new(inner: &Inner) {
    let mut fresh = Vec::new();
    for (name, entry) in inner.entries().iter_mut() {
        if std::mem::take(&mut entry.unkept) {
            fresh.push((name.clone(), entry.record.clone()));
        }
    }
    for (name, record) in fresh {
        inner.keep(&name, &record);
    }
}

/// A name that is worked at, however that ends.
struct Busy {
    inner: Arc<Inner>,
    name: Name,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(entry) = self.inner.entries().get_mut(&self.name) {
            entry.busy = false;
        }
        self.inner.changed();
    }
}

/// Tries to get a certificate for a name, from the first issuer that gives one.
async fn attempt(inner: &Inner, name: &Name) {
    let now = inner.clock.now();
    let record = |change: &dyn Fn(&mut Record)| {
        let changed = inner.entries().get_mut(name).map(|entry| {
            change(&mut entry.record);
            entry.record.clone()
        });
        if let Some(changed) = changed {
            inner.keep(name, &changed);
        }
    };
    let _lock = match inner.disk.lock(&name.file_stem()) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            // Not kept: it is the other process's time, and this record may be older than its.
            if let Some(entry) = inner.entries().get_mut(name) {
                entry.record.retry_at = Some(now + OTHER_POLL);
            }
            return;
        }
        Err(error) => {
            let fault = Fault::here(format!("no lock can be had in the directory of certificates: {error}"));
            return failed(inner, name, &[fault], None);
        }
    };
    // Another process may have been faster; its notes are newer then, too.
    if inner.load(name) {
        if let Some(kept) = inner.disk.record(name)
            && let Some(entry) = inner.entries().get_mut(name)
        {
            entry.record = kept;
        }
        return;
    }
    let Some(known) = inner.entries().get(name).map(|entry| (entry.record.clone(), entry.listed)) else {
        return;
    };
    let (known, listed) = known;
    if !listed
        && inner.held(name).is_some()
        && let Err(refused) = inner.still_permits(name).await
    {
        return failed(inner, name, &[Fault::name(format!("not renewed: {refused}"))], None);
    }

    let mut faults = Vec::new();
    for issuer in &inner.issuers {
        if inner.closed_until(issuer, &known) > now {
            continue;
        }
        match with_issuer(inner, issuer, name, &known).await {
            Ok((pem, certificate)) => {
                if let Err(error) = inner.disk.keep_pem(name, &pem) {
                    // In use all the same: a restart orders again.
                    tracing::error!(%name, %error, "the new certificate cannot be kept on disk");
                }
                let renewed = inner.held(name).is_some();
                tracing::info!(%name, issuer = issuer.label, until = certificate.validity.until,
                    "{} certificate", if renewed { "renewed the" } else { "got a" });
                inner.metrics.ordered(&issuer.label, if renewed { "renewed" } else { "issued" });
                let again = now + rest(certificate.validity);
                inner.put(name, certificate);
                record(&|record| {
                    *record = Record {
                        on_demand: record.on_demand,
                        issuer: Some(issuer.url.clone()),
                        retry_at: Some(again),
                        ..Record::default()
                    };
                });
                return;
            }
            Err(fault) => {
                inner.metrics.ordered(&issuer.label, "failed");
                let until = now
                    + backoff(known.failures + 1, None, 0.5).max(fault.retry_after.map_or(0, retry_after));
                if fault.blame == Blame::Limit {
                    record(&|record| {
                        record.limits.insert(issuer.url.clone(), until);
                    });
                }
                faults.push(Fault { text: format!("{}: {}", issuer.label, fault.text), ..fault });
            }
        }
    }
    let life = inner.held(name).map(|held| {
        let validity = held.certificate.validity;
        validity.until.saturating_sub(validity.from)
    });
    failed(inner, name, &faults, life);
}

/// One issuer's turn.
async fn with_issuer(
    inner: &Inner,
    issuer: &Issuer,
    name: &Name,
    known: &Record,
) -> Result<(String, Certificate), Fault> {
    let Ok(_permit) = issuer.permits.acquire().await else { return Err(Fault::here("the issuer is closed")) };
    let kinds = inner.kinds(name, known.failures);
    let replaces = match inner.held(name) {
        Some(held) if known.issuer.as_ref() == Some(&issuer.url) => held.certificate.identifier.clone(),
        _ => None,
    };
    let desk = Desk { config: &inner.config, disk: &inner.disk, challenges: &inner.challenges };
    let wish = Wish { name, kinds: &kinds, replaces };
    let mut result = order(&desk, issuer, &wish).await;
    if let Err(fault) = &result
        && fault.blame == Blame::Account
    {
        tracing::warn!(issuer = issuer.label, "it does not know our account any more; a new one is made");
        issuer.forget_account(&inner.disk).await;
        result = order(&desk, issuer, &wish).await;
    }
    match &result {
        Err(fault) if fault.blame == Blame::Issuer => {
            issuer.is_unwell(
                &inner.disk,
                inner.clock.now(),
                fault.retry_after,
                luck(name.as_str().as_bytes()),
            );
        }
        _ => issuer.is_well(&inner.disk),
    }
    result
}

/// Notes a failure and when to try again.
fn failed(inner: &Inner, name: &Name, faults: &[Fault], life: Option<Seconds>) {
    let now = inner.clock.now();
    let mut entries = inner.entries();
    let Some(entry) = entries.get_mut(name) else { return };
    let record = &mut entry.record;
    // Issuers that are down say nothing about the name: it waits for the first of them, and no longer.
    if faults.iter().any(|fault| !matches!(fault.blame, Blame::Issuer | Blame::Limit)) {
        record.failures = record.failures.saturating_add(1);
        let seed = format!("{name} {now}");
        record.retry_at = Some(now + backoff(record.failures, life, luck(seed.as_bytes())));
    } else {
        record.retry_at = Some(inner.open_again(record).max(now + 1));
    }
    if !faults.is_empty() {
        let texts: Vec<_> = faults.iter().map(|fault| fault.text.as_str()).collect();
        let text = texts.join("; ");
        let wait = record.retry_at.unwrap_or(now).saturating_sub(now);
        tracing::warn!(%name, failures = record.failures, retry_seconds = wait, "no certificate: {text}");
        record.error = Some(text);
        record.failed_at = Some(now);
    }
    let record = record.clone();
    drop(entries);
    inner.keep(name, &record);
}

/// Asks the issuer when to renew (RFC 9773).
async fn ask_window(inner: &Inner, name: &Name) {
    let now = inner.clock.now();
    let Some(known) = inner.entries().get(name).map(|entry| entry.record.clone()) else { return };
    let answer = async {
        let held = inner.held(name)?;
        let issuer = inner.issuer_of(&known)?;
        let identifier = held.certificate.identifier.clone()?;
        let account = issuer.account(&inner.disk, inner.config.email.as_deref(), name).await;
        let account =
            account.inspect_err(|fault| tracing::debug!(%name, "no renewal window: {fault}")).ok()?;
        let info = account.renewal_info(&identifier).await;
        // Issuers without renewal information are common, and the rule of two thirds serves them.
        let info = info.inspect_err(|error| tracing::debug!(%name, %error, "no renewal window"));
        let before = inner.renewal(&known, &held);
        Some((info.ok()?, held, before))
    };
    let answer = answer.await;
    let mut entries = inner.entries();
    let Some(entry) = entries.get_mut(name) else { return };
    let record = &mut entry.record;
    match answer {
        Some(((info, again), held, before)) => {
            let second = |time: i64| u64::try_from(time).unwrap_or(0);
            let start = second(info.suggested_window.start.unix_timestamp());
            let end = second(info.suggested_window.end.unix_timestamp());
            record.window = Some(Window { start, end }).filter(|window| window.start <= window.end);
            record.explanation = info.explanation_url;
            record.ask_at = Some(ask_again(now, again.as_secs()));
            let at = inner.renewal(record, &held);
            if at <= now && at < before {
                let why = record.explanation.as_deref().unwrap_or("it gives no reason");
                tracing::warn!(%name, "the issuer wants the certificate renewed at once, as after a revocation: {why}");
            }
        }
        None => record.ask_at = Some(now + ARI_RETRY),
    }
    let record = record.clone();
    drop(entries);
    inner.keep(name, &record);
}
