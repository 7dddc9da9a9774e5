//! A stream of log events: `text/event-stream` as the HTML standard defines it, one JSON event each.

use std::io::{BufRead, BufReader, Read};

use selvedge_model::LogEvent;

/// Longest line accepted; a log event is bounded far below.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Yields events until the connection ends.
pub(crate) struct Tail {
    lines: BufReader<Box<dyn Read + Send>>,
}

impl Tail {
    /// Reads events from a response body.
    pub(crate) fn new(body: impl Read + Send + 'static) -> Self {
        Self { lines: BufReader::new(Box::new(body)) }
    }
}

impl Iterator for Tail {
    type Item = LogEvent;

    /// The next event; `None` when the connection has ended. What is no log event is passed over.
    fn next(&mut self) -> Option<LogEvent> {
        let mut data = String::new();
        loop {
            let mut line = String::new();
            let read = (&mut self.lines).take(LINE_BYTES_MAX).read_line(&mut line).ok()?;
            if read == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if let Ok(event) = serde_json::from_str(&data) {
                    return Some(event);
                }
                data.clear();
            } else if let Some(value) = line.strip_prefix("data:") {
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
                data.push('\n');
                if data.len() as u64 > LINE_BYTES_MAX {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_and_passes_over_the_rest() {
        let event = r#"{"timestamp_ms":1,"account":"default","script":"s","version":"00000000-0000-0000-0000-000000000000","kind":"console","level":"log","message":"hi"}"#;
        let half = &event[..20];
        let text = format!(
            ": ping\n\nevent: log\r\ndata: {event}\r\n\r\ndata: junk\n\ndata:{event}\n\ndata: {half}"
        );
        let events: Vec<_> = Tail::new(std::io::Cursor::new(text)).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].message, "hi");
    }
}
