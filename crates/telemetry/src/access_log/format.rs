//! How a request becomes a line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::AccessLogFormat;
use super::escape;

/// What is said of one request. Bytes are as the client sent them; the formatter escapes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessRecord<'a> {
    /// Since the Unix epoch, when the request began.
    pub time: Duration,
    /// Address of the client, without port.
    pub client: &'a str,
    /// Method.
    pub method: &'a [u8],
    /// `Host` or `:authority`.
    pub host: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// `HTTP/1.1` and so on.
    pub protocol: &'static str,
    /// Status answered; 499 when the client left before.
    pub status: u16,
    /// Bytes of the response body.
    pub bytes: u64,
    /// From the request's head to the end of the response body, microseconds.
    pub duration_us: u64,
    /// Account and script, where a worker was found.
    pub worker: Option<(&'a str, &'a str)>,
    /// The site's route that answered, as its path was written.
    pub route: Option<&'a str>,
    /// Id, also in `x-request-id`.
    pub request_id: &'a [u8],
    /// Code of the error, where there was one.
    pub code: Option<&'static str>,
    /// The server behind this one that was asked last.
    pub server: Option<&'a str>,
    /// From asking the first to the head of the answer, microseconds.
    pub server_us: u64,
    /// How many were asked.
    pub attempts: u32,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
}

/// Writes lines in one format; remembers the current second's text.
#[derive(Debug)]
pub(super) struct Formatter {
    format: AccessLogFormat,
    second: Option<u64>,
    /// `21/Nov/2026:02:26:32 +0000`
    day_first: String,
    /// `2026-11-21T02:26:32`
    iso: String,
}

impl Formatter {
    pub(super) fn new(format: AccessLogFormat) -> Self {
        Self { format, second: None, day_first: String::new(), iso: String::new() }
    }

    /// Appends one line, its newline included.
    pub(super) fn line(&mut self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        if self.second != Some(record.time.as_secs()) {
            self.set_second(record.time.as_secs());
        }
        match self.format {
            AccessLogFormat::Text => self.text(record, out),
            AccessLogFormat::Json => self.json(record, out),
        }
    }

    fn text(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        let quoted = |bytes: Option<&[u8]>, out: &mut Vec<u8>| {
            out.push(b'"');
            match bytes {
                Some(bytes) => escape::text(bytes, out),
                None => out.push(b'-'),
            }
            out.push(b'"');
        };
        out.extend_from_slice(record.client.as_bytes());
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(self.day_first.as_bytes());
        out.extend_from_slice(b"] \"");
        escape::text(record.method, out);
        out.push(b' ');
        escape::text(record.target, out);
        out.push(b' ');
        out.extend_from_slice(record.protocol.as_bytes());
        out.extend_from_slice(b"\" ");
        integer(record.status.into(), out);
        out.push(b' ');
        integer(record.bytes, out);
        out.push(b' ');
        quoted(record.referer, out);
        out.push(b' ');
        quoted(record.user_agent, out);
        out.push(b' ');
        quoted(Some(record.host), out);
        out.push(b' ');
        match record.worker {
            Some((account, script)) => {
                out.extend_from_slice(account.as_bytes());
                out.push(b'/');
                out.extend_from_slice(script.as_bytes());
            }
            None => escape::text(record.route.unwrap_or("-").as_bytes(), out),
        }
        out.push(b' ');
        integer(record.duration_us / 1000, out);
        out.push(b'.');
        three_digits(record.duration_us % 1000, out);
        out.push(b' ');
        escape::text(record.request_id, out);
        out.push(b' ');
        out.extend_from_slice(record.code.unwrap_or("-").as_bytes());
        if let Some(server) = record.server {
            out.push(b' ');
            escape::text(server.as_bytes(), out);
            out.push(b' ');
            integer(record.server_us / 1000, out);
            out.push(b'.');
            three_digits(record.server_us % 1000, out);
        }
        out.push(b'\n');
    }

    fn json(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.iso.as_bytes());
        out.push(b'.');
        three_digits(record.time.subsec_millis().into(), out);
        out.push(b'Z');
        member("client", record.client.as_bytes(), out);
        member("method", record.method, out);
        member("host", record.host, out);
        member("target", record.target, out);
        member("protocol", record.protocol.as_bytes(), out);
        out.extend_from_slice(b"\",\"status\":");
        integer(record.status.into(), out);
        out.extend_from_slice(b",\"bytes\":");
        integer(record.bytes, out);
        out.extend_from_slice(b",\"duration_us\":");
        integer(record.duration_us, out);
        if record.server.is_some() {
            out.extend_from_slice(b",\"server_us\":");
            integer(record.server_us, out);
            out.extend_from_slice(b",\"attempts\":");
            integer(record.attempts.into(), out);
        }
        out.extend_from_slice(b",\"request_id\":\"");
        escape::json(record.request_id, out);
        if let Some((account, script)) = record.worker {
            member("account", account.as_bytes(), out);
            member("script", script.as_bytes(), out);
        }
        if let Some(route) = record.route {
            member("route", route.as_bytes(), out);
        }
        if let Some(code) = record.code {
            member("code", code.as_bytes(), out);
        }
        if let Some(server) = record.server {
            member("server", server.as_bytes(), out);
        }
        if let Some(referer) = record.referer {
            member("referer", referer, out);
        }
        if let Some(user_agent) = record.user_agent {
            member("user_agent", user_agent, out);
        }
        out.extend_from_slice(b"\"}\n");
    }

    fn set_second(&mut self, second: u64) {
        // Years beyond 9999, which httpdate refuses, only arise from a broken clock.
        let known: SystemTime = UNIX_EPOCH + Duration::from_secs(second.min(253_402_300_799));
        // Fri, 21 Nov 2026 02:26:32 GMT
        let date = httpdate::fmt_http_date(known);
        let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let number = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).map_or(0, |at| at / 3 + 1);
        self.day_first = format!("{day}/{month}/{year}:{time} +0000");
        self.iso = format!("{year}-{number:02}-{day}T{time}");
        self.second = Some(second);
    }
}

/// Ends the string before, and opens the one of `name`.
fn member(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape::json(value, out);
}

fn integer(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn three_digits(value: u64, out: &mut Vec<u8>) {
    out.extend([100, 10, 1].map(|power| b'0' + (value / power % 10) as u8));
}
