//! One line per request, written without ever making a request wait.
//!
//! Each serving thread appends lines to its own buffer and hands full buffers to one writer thread through a
//! bounded queue. When the writer is behind (a slow disk, a blocked pipe), whole buffers are dropped and the
//! lines in them counted.

mod escape;
mod format;
mod redact;
mod template;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use format::AccessRecord;

use crate::Registry;
use crate::ratio::Ratio;
use format::{Formatter, Looks};
use template::Template;
use writer::Writer;

/// A buffer of this size is handed to the writer, bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Buffers that may wait for the writer: 4 MiB in all.
const BATCHES_WAITING: usize = 64;

/// Where access log lines go and how they look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogConfig {
    /// Destination.
    pub output: AccessLogOutput,
    /// Looks: `"text"`, `"json"`, `"combined"` or `{ custom = "{client} {method} {path} {status}" }`.
    pub format: AccessLogFormat,
    /// Part of the requests that get a line, from 0 to 1.
    pub sample: Ratio,
    /// Requests that failed get a line whatever `sample` says.
    pub keep_errors: bool,
    /// Hides values of query parameters that look like secrets: tokens, passwords, keys, signatures.
    pub redact: bool,
    /// Names of further query parameters whose values are hidden.
    pub redact_also: Vec<String>,
    /// Fields of requests that lines in JSON tell. `authorization` and `cookie` are secrets of your users.
    pub request_headers: Vec<String>,
    /// Fields of responses that lines in JSON tell.
    pub response_headers: Vec<String>,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            output: AccessLogOutput::Stdout,
            format: AccessLogFormat::Text,
            sample: Ratio::ALL,
            keep_errors: true,
            redact: true,
            redact_also: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }
}

impl AccessLogConfig {
    /// What is wrong, in words, beginning with the name of the setting.
    pub fn problem(&self) -> Option<String> {
        let wrong = |name: &&String| {
            name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        let (request, response) = match self.looks() {
            Ok(Looks::Custom(template)) => template.fields(),
            Ok(_) => Default::default(),
            Err(problem) => return Some(format!("format.custom: {problem}")),
        };
        let mut names =
            self.request_headers.iter().chain(&self.response_headers).chain(&request).chain(&response);
        names.find(wrong).map(|name| format!("{name:?} is no name of a header field"))
    }

    /// Fields of requests that lines tell, in lower case.
    pub fn request_fields(&self) -> Vec<String> {
        self.fields(&self.request_headers, |(request, _)| request)
    }

    /// Fields of responses that lines tell, in lower case.
    pub fn response_fields(&self) -> Vec<String> {
        self.fields(&self.response_headers, |(_, response)| response)
    }

    fn fields(
        &self,
        listed: &[String],
        side: impl Fn((Vec<String>, Vec<String>)) -> Vec<String>,
    ) -> Vec<String> {
        let mut names = match self.looks() {
            Ok(Looks::Custom(template)) => side(template.fields()),
            Ok(Looks::Json) => listed.iter().map(|name| name.to_ascii_lowercase()).collect(),
            _ => Vec::new(),
        };
        names.sort();
        names.dedup();
        names
    }

    fn looks(&self) -> Result<Looks, String> {
        Ok(match &self.format {
            AccessLogFormat::Text => Looks::Text,
            AccessLogFormat::Json => Looks::Json,
            AccessLogFormat::Combined => Looks::Combined,
            AccessLogFormat::Custom(text) => Looks::Custom(Template::parse(text)?),
        })
    }
}

/// Destination of access log lines: `"off"`, `"stdout"` or `{ file = "/path" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogOutput {
    /// None are made.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file. A file that was renamed or removed (log rotation) is opened anew within a second.
    File(PathBuf),
}

/// Looks of access log lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// nginx's `combined`, then host, worker, duration in milliseconds, request id and error code; for proxied requests
    /// the server behind this one and its milliseconds.
    Text,
    /// One JSON object per line.
    Json,
    /// NCSA's combined format and nothing else, for tools that read it.
    Combined,
    /// A template: `{client} {method} {path} {status} {duration_ms}`; docs/observability.md has all names.
    Custom(String),
}

/// Why the access log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened for appending.
    #[error("access log {path}: {source}; check that its directory exists and is writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The template of lines cannot be used.
    #[error("access log: {0}")]
    Template(String),
    /// No thread for the writer.
    #[error("the access log's writer thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Owns the writer thread.
#[derive(Debug)]
pub struct AccessLog {
    looks: Looks,
    secret: Option<Vec<String>>,
    sampling: Sampling,
    /// `None` when the log is off.
    queue: Option<SyncSender<Batch>>,
    writer: Option<JoinHandle<()>>,
    /// Writers of logs that this one took the place of, which end with the last buffers of those.
    former: Vec<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
}

/// Which requests get a line.
#[derive(Clone, Copy, Debug)]
struct Sampling {
    part: Ratio,
    keep_errors: bool,
}

impl Sampling {
    const ALL: Self = Self { part: Ratio::ALL, keep_errors: true };
}

/// Whole lines, and how many.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    pub fn start(config: &AccessLogConfig) -> Result<Self, AccessLogError> {
        Self::counting(config, Arc::default())
    }

    /// A log by other settings, which counts lost lines together with this one.
    pub fn renewed(&self, config: &AccessLogConfig) -> Result<Self, AccessLogError> {
        Self::counting(config, self.dropped.clone())
    }

    /// Becomes `next`. Buffers of the log before are still written where they belong.
    pub fn succeed(&mut self, next: Self) {
        let before = std::mem::replace(self, next);
        self.former.extend(before.former.into_iter().chain(before.writer));
        self.former.retain(|writer| !writer.is_finished());
    }

    fn counting(config: &AccessLogConfig, dropped: Arc<AtomicU64>) -> Result<Self, AccessLogError> {
        let looks = config.looks().map_err(AccessLogError::Template)?;
        let also = config.redact_also.iter().map(|name| name.to_ascii_lowercase()).collect();
        let secret = config.redact.then_some(also);
        let sampling = Sampling { part: config.sample, keep_errors: config.keep_errors };
        let writer = match &config.output {
            AccessLogOutput::Off => None,
            AccessLogOutput::Stdout => Some(Writer::stdout()),
            AccessLogOutput::File(path) => Some(
                Writer::file(path).map_err(|source| AccessLogError::Open { path: path.clone(), source })?,
            ),
        };
        let Some(writer) = writer else {
            return Ok(Self {
                looks,
                secret,
                sampling,
                queue: None,
                writer: None,
                former: Vec::new(),
                dropped,
            });
        };
        let (queue, batches) = sync_channel(BATCHES_WAITING);
        let lost = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&batches, &lost))
            .map_err(AccessLogError::Thread)?;
        let (queue, writer) = (Some(queue), Some(writer));
        Ok(Self { looks, secret, sampling, queue, writer, former: Vec::new(), dropped })
    }

    /// A log that keeps nothing.
    pub fn off() -> Self {
        Self {
            looks: Looks::Text,
            secret: None,
            sampling: Sampling::ALL,
            queue: None,
            writer: None,
            former: Vec::new(),
            dropped: Arc::default(),
        }
    }

    /// A buffer for one serving thread.
    pub fn buffer(&self) -> AccessLogBuffer {
        AccessLogBuffer {
            formatter: Formatter::new(self.looks.clone(), self.secret.clone()),
            sampling: self.sampling,
            // Any odd number will do: it decides which requests get lines, which is no secret.
            dice: 0x9e37_79b9_7f4a_7c15 ^ (std::ptr::from_ref(self) as u64 | 1),
            queue: self.queue.clone(),
            batch: Batch::default(),
            dropped: self.dropped.clone(),
        }
    }

    /// Adds `selvedge_access_log_dropped_lines_total`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(DroppedLines(self.dropped.clone())));
    }

    /// Lines lost so far because the writer was behind or could not write.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything handed over is written. Returns once all buffers of this log are dropped.
    pub fn finish(mut self) {
        self.queue = None;
        for writer in self.former.drain(..).chain(self.writer.take()) {
            // A panic of the writer was reported when it happened; there is nothing left to write.
            let _ = writer.join();
        }
    }
}

/// One thread's share of the log.
#[derive(Debug)]
pub struct AccessLogBuffer {
    formatter: Formatter,
    sampling: Sampling,
    dice: u64,
    queue: Option<SyncSender<Batch>>,
    batch: Batch,
    dropped: Arc<AtomicU64>,
}

impl AccessLogBuffer {
    /// False when the log is off and records need not be made.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether a request gets a line; asked once for each.
    #[inline]
    pub fn wants(&mut self, status: u16, code: Option<&'static str>) -> bool {
        if self.sampling.part == Ratio::ALL {
            return true;
        }
        if self.sampling.keep_errors && (status >= 500 || code.is_some()) {
            return true;
        }
        // Xorshift.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.sampling.part.takes(self.dice)
    }

    /// Appends a line. True when it is the first one in the buffer: the owner then arranges for [`flush`]
    /// within a moment (50 ms is a good one).
    ///
    /// [`flush`]: Self::flush
    pub fn push(&mut self, record: &AccessRecord<'_>) -> bool {
        if self.queue.is_none() {
            return false;
        }
        let first = self.batch.lines == 0;
        self.formatter.line(record, &mut self.batch.text);
        self.batch.lines += 1;
        if self.batch.text.len() >= BATCH_BYTES {
            self.flush();
            return false;
        }
        first
    }

    /// Hands what was appended to the writer, or drops it when the writer is behind.
    pub fn flush(&mut self) {
        let Some(queue) = &self.queue else { return };
        if self.batch.lines == 0 {
            return;
        }
        // The next buffer starts as large as this one was, so that it grows once only.
        let next = Batch { text: Vec::with_capacity(self.batch.text.len()), lines: 0 };
        let batch = std::mem::replace(&mut self.batch, next);
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = queue.try_send(batch) {
            self.dropped.fetch_add(batch.lines, Ordering::Relaxed);
        }
    }
}

impl Drop for AccessLogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

#[derive(Debug)]
struct DroppedLines(Arc<AtomicU64>);

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let value = ConstCounter::new(self.0.load(Ordering::Relaxed));
        value.encode(encoder.encode_descriptor(
            "selvedge_access_log_dropped_lines",
            "Access log lines dropped because the writer was behind",
            None,
            MetricType::Counter,
        )?)
    }
}

#[cfg(test)]
mod tests;
