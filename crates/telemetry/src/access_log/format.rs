//! How a request becomes a line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::escape;
use super::redact;
use super::template::{self, Part, Template, Variable};

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
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `TLSv1.3` and so on.
    pub tls: Option<&'static str>,
    /// Subject and SHA-256 of the certificate that the client showed.
    pub client_cert: Option<(&'a str, &'a str)>,
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
    /// Id of the trace that the request is part of, where it is sampled.
    pub trace_id: Option<&'a str>,
    /// Code of the error, where there was one.
    pub code: Option<&'static str>,
    /// Two or three letters that say why there was no answer from where one was expected.
    pub flags: Option<&'static str>,
    /// What the cache had.
    pub cache: Option<&'a str>,
    /// Who asked.
    pub subject: Option<&'a str>,
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
    /// Fields of the request that are to be told, in lower case, and what they were.
    pub request_fields: &'a [(&'a str, Option<&'a [u8]>)],
    /// The same of the response.
    pub response_fields: &'a [(&'a str, Option<&'a [u8]>)],
}

/// What a line looks like.
#[derive(Clone, Debug)]
pub(super) enum Looks {
    Text,
    Json,
    Combined,
    Custom(Template),
}

/// Writes lines in one format; remembers the current second's text.
#[derive(Debug)]
pub(super) struct Formatter {
    looks: Looks,
    /// Names of parameters that are hidden beside the usual ones; `None` hides nothing.
    secret: Option<Vec<String>>,
    second: Option<u64>,
    /// `21/Nov/2026:02:26:32 +0000`
    day_first: String,
    /// `2026-11-21T02:26:32`
    iso: String,
}

impl Formatter {
    pub(super) fn new(looks: Looks, secret: Option<Vec<String>>) -> Self {
        Self { looks, secret, second: None, day_first: String::new(), iso: String::new() }
    }

    /// Appends one line, its newline included.
    pub(super) fn line(&mut self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        if self.second != Some(record.time.as_secs()) {
            self.set_second(record.time.as_secs());
        }
        let (target, referer);
        let mut record = *record;
        if let Some(more) = &self.secret {
            target = redact::address(record.target, more);
            record.target = &target;
            referer = record.referer.map(|referer| redact::address(referer, more));
            record.referer = referer.as_deref();
        }
        match &self.looks {
            Looks::Text => self.text(&record, out),
            Looks::Combined => self.combined(&record, out),
            Looks::Json => self.json(&record, out),
            Looks::Custom(template) => self.custom(template, &record, out),
        }
        out.push(b'\n');
    }

    /// NCSA's combined format, as web servers write it.
    fn combined(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(record.client.as_bytes());
        out.extend_from_slice(b" - ");
        match record.subject.filter(|subject| !subject.is_empty()) {
            // A blank would begin the next field.
            Some(subject) => {
                let start = out.len();
                escape::text(subject.as_bytes(), out);
                out[start..].iter_mut().filter(|byte| **byte == b' ').for_each(|byte| *byte = b'_');
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b" [");
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
    }

    fn text(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        self.combined(record, out);
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
        thousandths(record.duration_us, out);
        out.push(b' ');
        escape::text(record.request_id, out);
        out.push(b' ');
        out.extend_from_slice(record.code.unwrap_or("-").as_bytes());
        if let Some(server) = record.server {
            out.push(b' ');
            escape::text(server.as_bytes(), out);
            out.push(b' ');
            thousandths(record.server_us, out);
        }
    }

    fn custom(&self, template: &Template, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        for part in template.parts() {
            let value = match part {
                Part::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Part::Request(name) => template::field(record.request_fields, name),
                Part::Response(name) => template::field(record.response_fields, name),
                Part::Variable(variable) => match variable {
                    Variable::Time => {
                        self.iso_time(record, out);
                        continue;
                    }
                    Variable::DayTime => Some(self.day_first.as_bytes()),
                    Variable::Status => {
                        integer(record.status.into(), out);
                        continue;
                    }
                    Variable::Bytes => {
                        integer(record.bytes, out);
                        continue;
                    }
                    Variable::DurationUs => {
                        integer(record.duration_us, out);
                        continue;
                    }
                    Variable::DurationMs => {
                        thousandths(record.duration_us, out);
                        continue;
                    }
                    Variable::UpstreamMs if record.server.is_some() => {
                        thousandths(record.server_us, out);
                        continue;
                    }
                    Variable::Attempts => {
                        integer(record.attempts.into(), out);
                        continue;
                    }
                    Variable::Worker if record.worker.is_some() => {
                        let (account, script) = record.worker.unwrap_or_default();
                        out.extend_from_slice(account.as_bytes());
                        out.push(b'/');
                        Some(script.as_bytes())
                    }
                    Variable::Target => Some(record.target),
                    Variable::Path => Some(template::split(record.target).0),
                    Variable::Query => template::split(record.target).1,
                    Variable::Referer => record.referer,
                    variable => template::text(*variable, record),
                },
            };
            match value {
                Some(value) => escape::text(value, out),
                None => out.push(b'-'),
            }
        }
    }

    fn iso_time(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.iso.as_bytes());
        out.push(b'.');
        three_digits(record.time.subsec_millis().into(), out);
        out.push(b'Z');
    }

    fn json(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.iso_time(record, out);
        member("client", record.client.as_bytes(), out);
        member("method", record.method, out);
        member("host", record.host, out);
        member("target", record.target, out);
        member("protocol", record.protocol.as_bytes(), out);
        member("scheme", record.scheme.as_bytes(), out);
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
        let further = [
            ("flags", record.flags),
            ("server", record.server),
            ("cache", record.cache),
            ("tls", record.tls),
            ("client_cert", record.client_cert.map(|(subject, _)| subject)),
            ("client_cert_sha256", record.client_cert.map(|(_, sha256)| sha256)),
            ("subject", record.subject),
            ("trace_id", record.trace_id),
        ];
        for (name, value) in further {
            if let Some(value) = value {
                member(name, value.as_bytes(), out);
            }
        }
        if let Some(referer) = record.referer {
            member("referer", referer, out);
        }
        if let Some(user_agent) = record.user_agent {
            member("user_agent", user_agent, out);
        }
        out.push(b'"');
        object("request", record.request_fields, out);
        object("response", record.response_fields, out);
        out.push(b'}');
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

/// A member that has the fields that are there.
fn object(name: &str, fields: &[(&str, Option<&[u8]>)], out: &mut Vec<u8>) {
    if fields.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":{");
    let mut first = true;
    for (name, value) in fields {
        let Some(value) = value else { continue };
        out.extend_from_slice(if first { b"\"" } else { b",\"" });
        first = false;
        escape::json(name.as_bytes(), out);
        out.extend_from_slice(b"\":\"");
        escape::json(value, out);
        out.push(b'"');
    }
    out.push(b'}');
}

fn quoted(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    match bytes {
        Some(bytes) => escape::text(bytes, out),
        None => out.push(b'-'),
    }
    out.push(b'"');
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

/// `1045` as `1.045`
fn thousandths(value: u64, out: &mut Vec<u8>) {
    integer(value / 1000, out);
    out.push(b'.');
    three_digits(value % 1000, out);
}

fn three_digits(value: u64, out: &mut Vec<u8>) {
    out.extend([100, 10, 1].map(|power| b'0' + (value / power % 10) as u8));
}
