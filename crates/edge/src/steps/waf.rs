//! Refuses, or only reports, requests that look like attacks.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

use http::{Request, header};
use http_body::Body;
use selvedge_telemetry::Decision;
use selvedge_waf::{Mode, Verdict, Waf, WafConfig};

use super::Flow;
use crate::begun;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::template::host_of;

/// Bodies longer than this are looked at apart from the serving thread, bytes.
const LONG: usize = 8 << 10;
/// Lines of the audit log that may wait for the disk; further ones are lost, and counted in the log.
const LINES_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct WafStep {
    name: String,
    waf: Arc<Waf>,
    audit: Option<Audit>,
}

impl WafStep {
    /// Relative paths in the settings begin at `base`.
    pub(super) fn new(name: &str, config: &WafConfig, base: &Path) -> Result<Self, String> {
        let read = |path: &PathBuf| {
            let path = base.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
            text.map(|text| (path.display().to_string(), text))
        };
        let more = config.rules.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let waf = Waf::new(config.clone(), &more).map_err(|error| error.to_string())?;
        let audit = config.audit_log.as_ref().map(|path| Audit::new(base.join(path)));
        Ok(Self { name: name.to_owned(), waf: Arc::new(waf), audit })
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let mut inspection = self.waf.inspect(request.uri().path());
        if let Some(query) = request.uri().query() {
            inspection.query(query);
        }
        if let Some(authority) = request.uri().authority() {
            inspection.header("host", authority.as_str());
        }
        for (name, value) in request.headers() {
            inspection.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
        let most = self.waf.config().body_bytes;
        if most > 0 && !inspection.is_decided() && !request.body().is_end_stream() {
            let Ok((begun, whole)) = begun::peek(request.body_mut(), most).await else {
                return Flow::Refuse(Refusal::BODY_CUT);
            };
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            if begun.len() <= LONG {
                inspection.body(&kind, &begun, whole);
            } else {
                let look = tokio::task::spawn_blocking(move || {
                    inspection.body(&kind, &begun, whole);
                    inspection
                });
                match look.await {
                    Ok(looked) => inspection = looked,
                    Err(_) => return Flow::Refuse(Refusal::INTERNAL),
                }
            }
        }
        let verdict = inspection.finish();
        let decision = match (verdict.block, verdict.attack) {
            (true, _) => Decision::Refused,
            (false, true) => Decision::Detected,
            (false, false) => Decision::Passed,
        };
        let rules = verdict.matches.iter().map(|found| found.rule.as_str());
        exchange.thread.counters.screened(&self.name, decision, rules);
        if !verdict.matches.is_empty() {
            self.tell(exchange, request, &verdict);
        }
        if verdict.block { Flow::Refuse(Refusal::ATTACK) } else { Flow::On }
    }

    fn tell(&self, exchange: &Exchange, request: &Request<RequestBody>, verdict: &Verdict) {
        let Some(audit) = &self.audit else {
            if verdict.attack {
                let rules: Vec<&str> = verdict.matches.iter().map(|found| found.rule.as_str()).collect();
                let rules = rules.join(" ");
                tracing::info!(client = %exchange.client, score = verdict.score, block = verdict.block, rules, "attack");
            }
            return;
        };
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        audit.write(&serde_json::json!({
            "time": time.as_millis() as u64,
            "request_id": exchange.request_id.to_str().unwrap_or_default(),
            "client": exchange.client,
            "method": request.method().as_str(),
            "host": host_of(request),
            "path": request.uri().path(),
            "mode": self.waf.config().mode,
            "score": verdict.score,
            "threshold": self.waf.config().threshold,
            "action": match (verdict.attack, self.waf.config().mode) {
                (true, Mode::Block) => "blocked",
                (true, Mode::Detect) => "detected",
                (false, _) => "passed",
            },
            "matches": verdict.matches,
        }));
    }
}

/// Lines of JSON in a file, written by a thread that ends with this value.
#[derive(Debug)]
struct Audit {
    lines: SyncSender<String>,
}

impl Audit {
    fn new(path: PathBuf) -> Self {
        let (lines, waiting) = sync_channel::<String>(LINES_MAX);
        // Nothing is opened before there is something to write: settings are compiled to be checked, too.
        let write = move || {
            for line in waiting {
                let file = OpenOptions::new().create(true).append(true).open(&path);
                if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
                    tracing::error!(%error, path = %path.display(), "the audit log cannot be written");
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("waf-audit".into()).spawn(write) {
            tracing::error!(%error, "the audit log has no thread");
        }
        Self { lines }
    }

    fn write(&self, event: &serde_json::Value) {
        match self.lines.try_send(format!("{event}\n")) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the disk is slower than attacks; a line of the audit log is lost")
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}
