//! Changing a running edge: other settings, other listeners, and connections that are left to another process.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_acme::{Acme, Listeners, Running};
use selvedge_telemetry::AccessLog;
use selvedge_tls::Tls;
use selvedge_tls::config::{Endpoint, ListenerConfig, TlsConfig};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::EdgeError;
use crate::acme;
use crate::config::EdgeConfig;
use crate::entrance::Entrance;
use crate::https;
use crate::listen::{self, Bound, Handed};
use crate::serving::{Order, Share, Terms, What};
use crate::sites::Sites;

/// Open files kept free for everything that is no client connection.
const FILES_KEPT_FREE: u64 = 256;

/// The way to a running edge's settings and doors; clones lead to the same. It does not keep the edge running.
#[derive(Clone, Debug)]
pub struct EdgeControl(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) orders: Vec<UnboundedSender<Order>>,
    pub(crate) sites: watch::Receiver<Arc<Sites>>,
    /// Connections that are open.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) state: Mutex<State>,
}

/// What is in effect.
pub(crate) struct State {
    pub(crate) config: Arc<EdgeConfig>,
    pub(crate) listeners: Vec<(u64, Bound)>,
    /// The number of the next listener.
    pub(crate) next: u64,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) secured: Option<Secured>,
    pub(crate) accepting: bool,
}

/// TLS, and what looks after it. Its thread ends when this is dropped.
pub(crate) struct Secured {
    pub(crate) tls: Arc<Tls>,
    pub(crate) listeners: Listeners,
    pub(crate) acme: Option<Acme>,
    /// Orders certificates while it is held.
    pub(crate) running: Option<Running>,
    _stop: watch::Sender<Option<()>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeControl").field("threads", &self.orders.len()).finish_non_exhaustive()
    }
}

impl Secured {
    /// Opens what TLS needs. Certificates are not ordered before [`work`](Self::work).
    pub(crate) fn open(
        config: &TlsConfig,
        sites: &watch::Receiver<Arc<Sites>>,
        newest: &Sites,
        listeners: Listeners,
        before: Option<&Self>,
    ) -> Result<Self, EdgeError> {
        let tls = Arc::new(Tls::new(config, newest.tls())?);
        let metrics = before.and_then(|before| before.acme.as_ref()).map(|acme| acme.metrics().clone());
        let acme = acme::open(config, &tls, listeners, metrics.unwrap_or_default())?;
        let (stop, stopped) = watch::channel(None);
        // Its thread ends by itself.
        https::keep(tls.clone(), config.clone(), sites.clone(), stopped).map_err(EdgeError::Thread)?;
        Ok(Self { tls, listeners, acme, running: None, _stop: stop })
    }

    pub(crate) fn work(&mut self, work: bool) -> Result<(), EdgeError> {
        match &self.acme {
            Some(acme) if work && self.running.is_none() => {
                self.running = Some(acme.start().map_err(EdgeError::Thread)?);
            }
            // Its end is not waited for: connections do.
            _ if !work => drop(self.running.take().map(|running| std::thread::spawn(move || drop(running)))),
            _ => {}
        }
        Ok(())
    }
}

impl EdgeControl {
    /// Puts other settings in effect, for new connections; those that are open are asked to end after their next response. What
    /// [`fixed`] names stays as it is. `publish` makes `sites` the newest; it is called when nothing can fail any more. On an error
    /// everything is as it was. Blocks for as long as files are read.
    ///
    /// # Errors
    /// Settings that cannot be used, addresses that cannot be listened on; says which and what to do.
    pub fn reload(
        &self,
        config: &EdgeConfig,
        sites: &Sites,
        access_log: &AccessLog,
        publish: impl FnOnce(),
    ) -> Result<(), EdgeError> {
        let inner = &*self.0;
        let mut state = inner.state();
        let config = fixed(config, &state.config);
        if let Some(problem) = config.problem() {
            return Err(EdgeError::Config(problem));
        }
        if config == *state.config {
            if let Some(secured) = &state.secured {
                secured.tls.update(&config.tls, sites.tls())?;
            }
            publish();
            return Ok(());
        }
        let count = inner.orders.len();
        let mut new = Fresh(Vec::new());
        let listeners = state.bind(&config.listen, count, &mut new)?;
        let kinds = kinds(&listeners);
        let same = state.secured.as_ref().filter(|secured| {
            let fits = secured.acme.is_none() || secured.listeners == kinds;
            kinds.tls && fits && state.config.tls == config.tls
        });
        // `None` where TLS stays as it is.
        let secured = match same {
            Some(secured) => {
                secured.tls.update(&config.tls, sites.tls())?;
                None
            }
            None if kinds.tls => {
                let before = state.secured.as_ref();
                Some(Some(Secured::open(&config.tls, &inner.sites, sites, kinds, before)?))
            }
            None => Some(None),
        };
        let tls = secured.as_ref().unwrap_or(&state.secured).as_ref().map(|secured| secured.tls.clone());
        let entrance = Arc::new(Entrance::new(&config, tls, https_port(&listeners), Some(&state.entrance)));
        let config = Arc::new(config);
        let known: Vec<u64> = state.listeners.iter().map(|(number, _)| *number).collect();
        let mut terms = Vec::new();
        for n in 0..count {
            let shares = listeners.iter().map(|listener| match known.contains(&listener.0) {
                true => {
                    Ok(Share { number: listener.0, manner: listener.1.manner.clone(), sockets: Vec::new() })
                }
                false => share(listener, n, count),
            });
            terms.push(Some(Terms {
                config: config.clone(),
                entrance: entrance.clone(),
                log: access_log.buffer(),
                max_open: max_open(&config),
                listeners: shares.collect::<io::Result<_>>().map_err(EdgeError::Thread)?,
            }));
        }
        // From here on nothing is taken back.
        new.0.clear();
        publish();
        let gone = std::mem::replace(&mut state.listeners, listeners);
        let gone: Vec<Endpoint> = gone
            .into_iter()
            .filter(|(number, _)| !state.listeners.iter().any(|(kept, _)| kept == number))
            .map(|(_, bound)| bound.endpoint)
            .collect();
        state.config = config;
        state.entrance = entrance;
        if let Some(secured) = secured {
            // The former one stops ordering before the next one begins.
            drop(state.secured.take());
            state.secured = secured;
        }
        let told = inner.tell(|n| match terms.get_mut(n).and_then(Option::take) {
            Some(terms) => What::Terms(Box::new(terms)),
            None => What::Accept(true),
        });
        listen::remove(&gone);
        let accepting = state.accepting;
        if let Some(secured) = &mut state.secured {
            secured.work(accepting)?;
        }
        told
    }

    /// Takes connections, or leaves them in the queues of the listening sockets, where another process finds them. Returns once
    /// every thread does so.
    ///
    /// # Errors
    /// A thread that is gone.
    pub fn accept(&self, accepting: bool) -> Result<(), EdgeError> {
        let mut state = self.0.state();
        self.0.tell(|_| What::Accept(accepting))?;
        state.accepting = accepting;
        // Certificates are ordered by the process that answers for them.
        state.secured.as_mut().map_or(Ok(()), |secured| secured.work(accepting))
    }

    /// Where it listens, and whether TLS is spoken there.
    pub(crate) fn endpoints(&self) -> Vec<(Endpoint, bool)> {
        let state = self.0.state();
        state.listeners.iter().map(|(_, bound)| (bound.endpoint.clone(), bound.manner.tls)).collect()
    }

    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.0.state().secured.as_ref().map(|secured| secured.tls.clone())
    }

    /// The settings that are in effect.
    pub fn config(&self) -> Arc<EdgeConfig> {
        self.0.state().config.clone()
    }

    /// The listening sockets once more, for another process.
    ///
    /// # Errors
    /// Too many open files.
    pub fn sockets(&self) -> io::Result<Vec<Handed>> {
        self.0.state().listeners.iter().map(|(_, bound)| bound.handed()).collect()
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every thread something and waits until all have done it.
    pub(crate) fn tell(&self, mut what: impl FnMut(usize) -> What) -> Result<(), EdgeError> {
        let gone = || EdgeError::Thread(io::Error::other("a serving thread is gone"));
        let (done, outcomes) = std::sync::mpsc::sync_channel(self.orders.len());
        for (n, orders) in self.orders.iter().enumerate() {
            orders.send(Order(what(n), done.clone())).map_err(|_| gone())?;
        }
        drop(done);
        for _ in &self.orders {
            outcomes.recv().map_err(|_| gone())?.map_err(EdgeError::Thread)?;
        }
        Ok(())
    }
}

/// Listeners that are open and not yet in use. Their files go with them.
struct Fresh(Vec<Endpoint>);

impl Drop for Fresh {
    fn drop(&mut self) {
        listen::remove(&self.0);
    }
}

impl State {
    /// The listeners that are wanted: those that are open already, and new ones.
    fn bind(
        &mut self,
        wanted: &[ListenerConfig],
        count: usize,
        new: &mut Fresh,
    ) -> Result<Vec<(u64, Bound)>, EdgeError> {
        let mut open: Vec<&(u64, Bound)> = self.listeners.iter().collect();
        let ours: Vec<SocketAddr> = open.iter().filter_map(|(_, bound)| tcp(bound)).collect();
        let mut listeners = Vec::new();
        for listener in wanted {
            let known = open.iter().position(|(_, bound)| bound.configured == listener.address);
            let (number, bound) = match known {
                Some(known) => {
                    let (number, bound) = open.remove(known);
                    (*number, Bound { manner: listen::manner(listener)?, ..bound.clone() })
                }
                None => {
                    let bound = listen::bind(listener, count, &mut Vec::new(), &ours)?;
                    new.0.push(bound.endpoint.clone());
                    self.next += 1;
                    (self.next, bound)
                }
            };
            listeners.push((number, bound));
        }
        Ok(listeners)
    }
}

/// New settings, as far as they can be put in effect while the edge runs: `threads`, `cache`, `traces`,
/// `health` and `base_domains` stay.
pub fn fixed(new: &EdgeConfig, running: &EdgeConfig) -> EdgeConfig {
    EdgeConfig {
        threads: running.threads,
        cache: running.cache.clone(),
        traces: running.traces.clone(),
        health: running.health.clone(),
        base_domains: running.base_domains.clone(),
        ..new.clone()
    }
}

pub(crate) fn tcp(bound: &Bound) -> Option<SocketAddr> {
    match bound.endpoint {
        Endpoint::Tcp(address) => Some(address),
        Endpoint::Unix(_) => None,
    }
}

/// Of the first listener that speaks TLS.
pub(crate) fn https_port(listeners: &[(u64, Bound)]) -> Option<u16> {
    let secured = listeners.iter().filter(|(_, bound)| bound.manner.tls);
    secured.filter_map(|(_, bound)| tcp(bound)).map(|address| address.port()).next()
}

pub(crate) fn kinds(listeners: &[(u64, Bound)]) -> Listeners {
    Listeners {
        http: listeners.iter().any(|(_, bound)| !bound.manner.tls && tcp(bound).is_some()),
        tls: listeners.iter().any(|(_, bound)| bound.manner.tls),
    }
}

/// A thread's share of a listener.
pub(crate) fn share((number, bound): &(u64, Bound), n: usize, count: usize) -> io::Result<Share> {
    Ok(Share { number: *number, manner: bound.manner.clone(), sockets: bound.of_thread(n, count)? })
}

pub(crate) fn max_open(config: &EdgeConfig) -> usize {
    config.max_connections.min(file_limit())
}

/// Connections that the limit of open files allows.
fn file_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files: u64 = limit.unwrap_or(u64::MAX);
    files.saturating_sub(FILES_KEPT_FREE).max(16).try_into().unwrap_or(usize::MAX)
}
