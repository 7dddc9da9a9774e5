//! The thread that sends traces to the collector.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::TlsConfig;

use super::{Counts, SecretFields, Trace, Tracer, TracesConfig, otlp};

/// Traces that may wait.
const WAITING_MAX: usize = 2048;
/// Traces sent at once.
const BATCH: usize = 256;
/// How long the first of a batch waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// For a request to the collector. Traces queue up meanwhile, and are dropped when too many do.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No thread for the exporter.
    #[error("the thread that sends traces could not be started: {0}")]
    Thread(std::io::Error),
}

/// Sends traces until it and all its tracers are dropped.
#[derive(Debug)]
pub struct Exporter {
    tracer: Tracer,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// Starts the thread; `None` where nothing is to be traced.
    pub fn start(config: &TracesConfig) -> Result<Option<Self>, TraceError> {
        let Some(endpoint) = config.endpoint.clone() else { return Ok(None) };
        let (queue, traces) = sync_channel(WAITING_MAX);
        let counts = Arc::<Counts>::default();
        let sender = Sender {
            agent: agent(),
            endpoint,
            headers: config.headers.clone(),
            service: config.service.clone(),
            counts: counts.clone(),
            failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("traces".into())
            .spawn(move || sender.run(&traces))
            .map_err(TraceError::Thread)?;
        let tracer = Tracer { queue, counts, accept: config.accept, sample: config.sample };
        Ok(Some(Self { tracer, thread }))
    }

    /// For one more thread.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.tracer.counts
    }

    /// Sends what waits. Returns once all tracers are dropped.
    pub fn finish(self) {
        drop(self.tracer);
        // Its panic was reported when it happened.
        let _ = self.thread.join();
    }
}

fn agent() -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build();
    Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .build()
        .into()
}

struct Sender {
    agent: Agent,
    endpoint: String,
    headers: SecretFields,
    service: String,
    counts: Arc<Counts>,
    failing: bool,
}

impl Sender {
    fn run(mut self, traces: &Receiver<Trace>) {
        while let Ok(first) = traces.recv() {
            let mut batch = vec![first];
            let until = Instant::now() + DELAY;
            while batch.len() < BATCH {
                match traces.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(trace) => batch.push(trace),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.send(&batch);
        }
    }

    fn send(&mut self, batch: &[Trace]) {
        let body = otlp::request(&self.service, batch).to_string();
        let mut request = self.agent.post(&self.endpoint).header("content-type", "application/json");
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        let count = batch.len() as u64;
        match request.send(body.as_bytes()) {
            Ok(_) => {
                self.counts.exported.fetch_add(count, Ordering::Relaxed);
                self.failing = false;
            }
            Err(error) => {
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                // Once per outage.
                if !self.failing {
                    tracing::warn!(%error, endpoint = %self.endpoint, "traces are being lost");
                }
                self.failing = true;
            }
        }
    }
}
