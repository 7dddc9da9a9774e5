//! Connections that are kept for the next request. Those of one account are never used for another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use selvedge_model::AccountId;
use tokio::sync::Semaphore;

use super::body::Outgoing;

/// Exchanges that one account may have under way on one edge thread; further ones wait.
const EXCHANGES_MAX: usize = 128;
/// Idle connections to one origin, of one account, and of all on one edge thread.
const IDLE_ORIGIN_MAX: usize = 16;
const IDLE_ACCOUNT_MAX: usize = 64;
const IDLE_MAX: usize = 1024;
/// How long a connection is kept idle. Servers commonly close theirs after a minute or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const SWEEP: Duration = Duration::from_secs(5);

/// A way to send a request.
#[derive(Debug)]
pub enum Sender {
    /// One request after another.
    Http1(http1::SendRequest<Outgoing>),
    /// Many at a time; this is one of several handles.
    Http2(http2::SendRequest<Outgoing>),
}

/// What of an account's is under way.
#[derive(Debug)]
pub struct Tenant {
    /// Places for exchanges.
    pub exchanges: Arc<Semaphore>,
    idle: Cell<usize>,
}

/// Connections of one account to one origin.
#[derive(Debug)]
struct Shelf {
    tenant: Rc<Tenant>,
    /// The one used last comes last.
    idle: Vec<(http1::SendRequest<Outgoing>, Instant)>,
    shared: Option<(http2::SendRequest<Outgoing>, Instant)>,
}

/// The connections of one edge thread.
#[derive(Debug, Default)]
pub struct Pool {
    /// By account, scheme, host and port.
    shelves: RefCell<HashMap<Box<str>, Shelf>>,
    tenants: RefCell<HashMap<AccountId, Rc<Tenant>>>,
    idle: Cell<usize>,
    sweeping: Cell<bool>,
}

/// Names an origin of an account.
pub fn key(account: &AccountId, secure: bool, host: &str, port: u16) -> String {
    format!("{account} {} {host} {port}", if secure { "https" } else { "http" })
}

impl Pool {
    /// What belongs to an account.
    pub fn tenant(&self, account: &AccountId) -> Rc<Tenant> {
        let mut tenants = self.tenants.borrow_mut();
        let fresh = || Tenant { exchanges: Arc::new(Semaphore::new(EXCHANGES_MAX)), idle: Cell::new(0) };
        match tenants.get(account) {
            Some(tenant) => tenant.clone(),
            None => tenants.entry(account.clone()).or_insert_with(|| Rc::new(fresh())).clone(),
        }
    }

    /// A connection that was used before and seems to be good still.
    pub fn take(&self, key: &str) -> Option<Sender> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(key)?;
        while let Some((sender, _)) = shelf.idle.pop() {
            self.one_less(&shelf.tenant);
            if sender.is_ready() && !sender.is_closed() {
                return Some(Sender::Http1(sender));
            }
        }
        let (sender, used) = shelf.shared.as_mut()?;
        if sender.is_closed() {
            shelf.shared = None;
            return None;
        }
        *used = Instant::now();
        Some(Sender::Http2(sender.clone()))
    }

    /// Keeps a connection that is ready for its next request, unless there are enough.
    pub fn keep(self: &Rc<Self>, key: &str, tenant: &Rc<Tenant>, sender: http1::SendRequest<Outgoing>) {
        if self.idle.get() >= IDLE_MAX || tenant.idle.get() >= IDLE_ACCOUNT_MAX {
            return;
        }
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelf(&mut shelves, key, tenant);
        if shelf.idle.len() < IDLE_ORIGIN_MAX {
            shelf.idle.push((sender, Instant::now()));
            self.idle.set(self.idle.get() + 1);
            tenant.idle.set(tenant.idle.get() + 1);
            self.start_sweeping();
        }
    }

    /// Lets further requests use a connection of HTTP/2.
    pub fn share(self: &Rc<Self>, key: &str, tenant: &Rc<Tenant>, sender: http2::SendRequest<Outgoing>) {
        let mut shelves = self.shelves.borrow_mut();
        let count = shelves.values().filter(|shelf| shelf.shared.is_some()).count();
        if count < IDLE_MAX {
            shelf(&mut shelves, key, tenant).shared = Some((sender, Instant::now()));
            self.start_sweeping();
        }
    }

    fn one_less(&self, tenant: &Tenant) {
        self.idle.set(self.idle.get() - 1);
        tenant.idle.set(tenant.idle.get() - 1);
    }

    fn start_sweeping(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }

    /// Drops what is old or closed. False when nothing is left.
    fn drop_old(&self, now: Instant) -> bool {
        let mut shelves = self.shelves.borrow_mut();
        shelves.retain(|_, shelf| {
            let Shelf { tenant, idle, shared } = shelf;
            idle.retain(|(sender, since)| {
                let keep = !sender.is_closed() && now.duration_since(*since) < IDLE_TIMEOUT;
                if !keep {
                    self.one_less(tenant);
                }
                keep
            });
            shared.take_if(|(sender, used)| sender.is_closed() || now.duration_since(*used) >= IDLE_TIMEOUT);
            !idle.is_empty() || shared.is_some()
        });
        self.tenants.borrow_mut().retain(|_, tenant| Rc::strong_count(tenant) > 1);
        !shelves.is_empty() || !self.tenants.borrow().is_empty()
    }
}

fn shelf<'a>(shelves: &'a mut HashMap<Box<str>, Shelf>, key: &str, tenant: &Rc<Tenant>) -> &'a mut Shelf {
    if !shelves.contains_key(key) {
        shelves.insert(key.into(), Shelf { tenant: tenant.clone(), idle: Vec::new(), shared: None });
    }
    shelves.get_mut(key).expect("it is there now")
}

/// Runs while there is something to look after.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.drop_old(Instant::now()) {
            pool.sweeping.set(false);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;

    async fn sender() -> (http1::SendRequest<Outgoing>, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let (mut sender, driver) = http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::task::spawn_local(driver);
        sender.ready().await.unwrap();
        (sender, far)
    }

    fn account(name: &str) -> AccountId {
        name.parse().unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn connections_stay_with_their_account_and_origin() {
        let kept = async {
            let pool = Rc::new(Pool::default());
            let (sender, _far) = sender().await;
            let owner = account("owner");
            pool.keep(&key(&owner, true, "a.example", 443), &pool.tenant(&owner), sender);
            for other in [
                key(&account("other"), true, "a.example", 443),
                key(&owner, false, "a.example", 443),
                key(&owner, true, "b.example", 443),
                key(&owner, true, "a.example", 444),
            ] {
                assert!(pool.take(&other).is_none(), "{other}");
            }
            assert!(pool.take(&key(&owner, true, "a.example", 443)).is_some());
            assert!(pool.take(&key(&owner, true, "a.example", 443)).is_none());
        };
        tokio::task::LocalSet::new().run_until(kept).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_kept_is_bounded_and_ends() {
        let bounded = async {
            let pool = Rc::new(Pool::default());
            let mut ends = Vec::new();
            for number in 0..IDLE_ACCOUNT_MAX * 3 {
                let (sender, far) = sender().await;
                ends.push(far);
                let owner = account(if number % 3 == 0 { "one" } else { "two" });
                let host = format!("h{}", number % 7);
                pool.keep(&key(&owner, false, &host, 80), &pool.tenant(&owner), sender);
                for tenant in pool.tenants.borrow().values() {
                    assert!(tenant.idle.get() <= IDLE_ACCOUNT_MAX);
                }
            }
            assert_eq!(pool.idle.get(), IDLE_ACCOUNT_MAX * 2);
            assert!(!pool.drop_old(Instant::now() + IDLE_TIMEOUT));
            assert_eq!(pool.idle.get(), 0);
            assert!(pool.shelves.borrow().is_empty() && pool.tenants.borrow().is_empty());
        };
        tokio::task::LocalSet::new().run_until(bounded).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn closed_connections_are_not_given_out() {
        let closed = async {
            let pool = Rc::new(Pool::default());
            let (sender, far) = sender().await;
            let owner = account("owner");
            pool.keep("k", &pool.tenant(&owner), sender);
            drop(far);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(pool.take("k").is_none());
        };
        tokio::task::LocalSet::new().run_until(closed).await;
    }
}
