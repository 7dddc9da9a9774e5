//! Fetches under way, so that requests for the same wait for one answer.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::fill::Fill;
use crate::object::Object;
use crate::variant::Variant;

/// What came of a fetch, for those who waited.
#[derive(Clone, Debug)]
pub enum Landing {
    /// A whole response, stored or brought up to date.
    Object(Arc<Object>),
    /// A response whose body is on its way.
    Filling(Arc<Arriving>),
    /// An answer for the one who asked; others ask themselves.
    Alone,
    /// There is no answer, for nobody.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Status to answer with.
    pub status: StatusCode,
    /// Stable.
    pub code: &'static str,
    /// A sentence.
    pub message: &'static str,
    /// Seconds.
    pub retry_after: Option<u32>,
}

/// A response whose body is on its way.
#[derive(Debug)]
pub struct Arriving {
    /// Status.
    pub status: StatusCode,
    /// Fields, as they are stored.
    pub headers: HeaderMap,
    /// Bytes of the body, where they were announced.
    pub length: Option<u64>,
    /// Which requests it is for.
    pub variant: Variant,
    /// The body.
    pub fill: Arc<Fill>,
}

/// A fetch that others may wait for.
#[derive(Debug)]
pub struct Flight {
    address: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    landing: Option<Landing>,
    /// Purged meanwhile: its answer is not to be stored.
    purged: bool,
    waiting: Vec<Waker>,
}

/// Address and route.
type Key = (Arc<str>, u64);

/// All fetches under way.
#[derive(Debug, Default)]
pub struct Flights(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    open: HashMap<Key, Arc<Flight>>,
    /// Those that nobody joins any more, or could from the start.
    apart: Vec<Weak<Flight>>,
}

impl All {
    fn remove(&mut self, flight: &Arc<Flight>, scope: u64) -> bool {
        let key = (flight.address.clone(), scope);
        let known = self.open.get(&key).is_some_and(|known| Arc::ptr_eq(known, flight));
        if known {
            self.open.remove(&key);
        }
        known
    }

    fn set_apart(&mut self, flight: &Arc<Flight>) {
        self.apart.retain(|flight| flight.strong_count() > 0);
        self.apart.push(Arc::downgrade(flight));
    }
}

impl Flights {
    /// The fetch for an address that is under way; else a new one, which is the caller's.
    pub fn join(&self, address: &Arc<str>, scope: u64) -> (Arc<Flight>, bool) {
        let flights = &mut self.0.lock().open;
        if let Some(flight) = flights.get(&(address.clone(), scope)) {
            return (flight.clone(), false);
        }
        let flight = Arc::new(Flight { address: address.clone(), state: Mutex::default() });
        flights.insert((address.clone(), scope), flight.clone());
        (flight, true)
    }

    /// A fetch that nobody joins.
    pub fn alone(&self, address: &Arc<str>) -> Arc<Flight> {
        let flight = Arc::new(Flight { address: address.clone(), state: Mutex::default() });
        self.0.lock().set_apart(&flight);
        flight
    }

    /// Nobody new joins it. It still hears of purges.
    pub fn close(&self, flight: &Arc<Flight>, scope: u64) {
        let mut flights = self.0.lock();
        if flights.remove(flight, scope) {
            flights.set_apart(flight);
        }
    }

    /// It is over.
    pub fn end(&self, flight: &Arc<Flight>, scope: u64) {
        self.0.lock().remove(flight, scope);
    }

    /// Those of some addresses are not to be stored, and nobody new joins them.
    pub fn purge(&self, meant: impl Fn(&str) -> bool) {
        let mut flights = self.0.lock();
        let All { open, apart } = &mut *flights;
        open.retain(|(address, _), flight| {
            let meant = meant(address);
            if meant {
                flight.state.lock().purged = true;
            }
            !meant
        });
        for flight in apart.iter().filter_map(Weak::upgrade).filter(|flight| meant(&flight.address)) {
            flight.state.lock().purged = true;
        }
    }
}

impl Flight {
    /// Tells those who wait.
    pub fn land(&self, landing: Landing) {
        let woken = {
            let mut state = self.state.lock();
            state.landing = Some(landing);
            std::mem::take(&mut state.waiting)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// What came of it.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Landing> {
        let mut state = self.state.lock();
        if let Some(landing) = &state.landing {
            return Poll::Ready(landing.clone());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether others wait.
    pub fn is_awaited(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Its answer is not to be stored.
    pub fn is_purged(&self) -> bool {
        self.state.lock().purged
    }
}
