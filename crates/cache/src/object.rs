//! A stored response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;

use crate::disk::DiskBody;
use crate::policy::Freshness;
use crate::slices::Slices;
use crate::status::CacheStatus;
use crate::variant::Variant;

/// What is counted for a response besides its body and fields, bytes.
const OVERHEAD: usize = 640;
/// Bodies up to this size are one piece of memory, bytes.
const ONE_PIECE: usize = 256 * 1024;
/// How often tiers below are told that a response is in use, milliseconds.
const TOUCH_MS: u64 = 600_000;
/// Tags of one response that count.
pub const TAGS_MAX: usize = 128;

/// A body in memory, or in a file; copies share it.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    parts: Arc<[Bytes]>,
    length: u64,
    file: Option<Arc<DiskBody>>,
}

impl Stock {
    /// In a file.
    pub fn on_disk(file: Arc<DiskBody>) -> Self {
        Self { parts: Arc::default(), length: file.len(), file: Some(file) }
    }

    /// The file, where it is not in memory.
    pub fn file(&self) -> Option<&Arc<DiskBody>> {
        self.file.as_ref()
    }

    /// Of its parts. Small ones are put together, which also lets go of larger memory that they are pieces of.
    pub fn new(parts: Vec<Bytes>) -> Self {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let parts = if length <= ONE_PIECE {
            let mut whole = BytesMut::with_capacity(length);
            parts.iter().for_each(|part| whole.extend_from_slice(part));
            if length == 0 { Vec::new() } else { vec![whole.freeze()] }
        } else {
            parts
        };
        Self { parts: parts.into(), length: length as u64, file: None }
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All parts in memory, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The parts of a range of it, in memory.
    pub fn slice(&self, range: std::ops::Range<u64>) -> Vec<Bytes> {
        let mut at = 0;
        let mut found = Vec::new();
        for part in self.parts.iter() {
            let (start, end) = (at, at + part.len() as u64);
            at = end;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                found.push(part.slice((from - start) as usize..(to - start) as usize));
            }
        }
        found
    }
}

/// Lines of a hit's head.
#[derive(Debug)]
struct Told {
    /// Seconds.
    age: u64,
    ttl: i64,
    lines: Bytes,
}

/// A stored response.
#[derive(Debug)]
pub struct Object {
    /// Scheme, host, path and query.
    pub address: Arc<str>,
    /// Status.
    pub status: StatusCode,
    /// Fields, without those of one connection.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Stock,
    /// How fresh it is.
    pub freshness: Freshness,
    /// Which requests it is for.
    pub variant: Variant,
    /// The fields as lines of a head of HTTP/1.1, for those that change nothing of it: without `Date` and `Age`. None where
    /// the body is in several pieces, or caches before this one have said what they did.
    pub lines: Option<Bytes>,
    /// Its body is elsewhere, in slices.
    pub slices: Option<Slices>,
    /// Names it can be purged by.
    pub tags: Box<[Box<str>]>,
    /// The head of a hit, for the second it was last made in.
    told: Mutex<Option<Told>>,
    /// Purged softly: to be asked about before its next use.
    expired: AtomicBool,
    /// Somebody asks about it until then, milliseconds since the Unix epoch.
    asking: AtomicU64,
    /// When tiers below were told that it is in use, milliseconds since the Unix epoch.
    touched: AtomicU64,
}

impl Object {
    /// All of it.
    pub fn new(
        address: Arc<str>,
        status: StatusCode,
        headers: HeaderMap,
        body: Stock,
        freshness: Freshness,
        variant: Variant,
    ) -> Self {
        let tags = tags(&headers);
        let mut headers = headers;
        if !headers.contains_key(header::DATE) {
            // Who receives it without stamps it (RFC 9110, section 6.6.1).
            let arrived = SystemTime::UNIX_EPOCH + Duration::from_millis(freshness.arrived);
            headers.extend(
                HeaderValue::try_from(httpdate::fmt_http_date(arrived)).map(|date| (header::DATE, date)),
            );
        }
        let slices = Slices::of(&headers);
        let plain = slices.is_none()
            && body.parts().len() <= 1
            && body.file().is_none()
            && !headers.contains_key("cache-status");
        let arrived = freshness.arrived;
        Self {
            address,
            status,
            lines: plain.then(|| lines(&headers)),
            headers,
            body,
            freshness,
            variant,
            slices,
            tags,
            told: Mutex::default(),
            expired: AtomicBool::new(false),
            asking: AtomicU64::new(0),
            touched: AtomicU64::new(arrived),
        }
    }

    /// Bytes of its body, wherever it is.
    pub fn length(&self) -> u64 {
        self.slices.map_or(self.body.len(), |slices| slices.total)
    }

    /// Bytes in memory, about.
    pub fn size(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + 2 * value.len() + 96).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        let body = match self.body.file() {
            Some(file) => file.size(),
            None => usize::try_from(self.body.len()).unwrap_or(usize::MAX),
        };
        body.saturating_add(fields + tags + self.variant.size() + 2 * self.address.len() + OVERHEAD)
    }

    /// [`lines`](Self::lines) with `Date`, `Age` and what this cache did, for a hit that needs nothing else.
    pub fn hit_lines(&self, now: u64) -> Option<Bytes> {
        let lines = self.lines.as_ref()?;
        let (age, ttl) = (self.freshness.age(now) / 1000, self.freshness.ttl(now));
        let mut told = self.told.lock();
        if let Some(told) = &*told
            && (told.age, told.ttl) == (age, ttl)
        {
            return Some(told.lines.clone());
        }
        let status = CacheStatus { hit: Some(ttl), ..CacheStatus::default() }.member();
        let date = self.headers.get(header::DATE).map_or(&b""[..], HeaderValue::as_bytes);
        let age_text = age.to_string();
        let fresh: Bytes = [
            &lines[..],
            b"date: ",
            date,
            b"\r\nage: ",
            age_text.as_bytes(),
            b"\r\ncache-status: ",
            status.as_bytes(),
            b"\r\n",
        ]
        .concat()
        .into();
        *told = Some(Told { age, ttl, lines: fresh.clone() });
        Some(fresh)
    }

    /// It was purged softly.
    pub fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// Purges it softly.
    pub fn expire(&self) {
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Whether tiers below are to be told that it is in use: now and then.
    pub fn touch(&self, now: u64) -> bool {
        let due = self.touched.load(Ordering::Relaxed).saturating_add(TOUCH_MS) <= now;
        if due {
            self.touched.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Whether the caller is the one to ask its origin, for up to `patience` milliseconds.
    pub fn begin_asking(&self, now: u64, patience: u64) -> bool {
        let until = self.asking.load(Ordering::Relaxed);
        until <= now
            && self
                .asking
                .compare_exchange(until, now + patience, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn lines(headers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in headers.iter().filter(|(name, _)| ![header::DATE, header::AGE].contains(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines.freeze()
}

/// Tags in `Cache-Tag` (parted by commas) and `Surrogate-Key` (by spaces).
fn tags(headers: &HeaderMap) -> Box<[Box<str>]> {
    let lines = |name: &str| {
        let lines: Vec<&str> =
            headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok()).collect();
        lines
    };
    let by_commas = lines("cache-tag").into_iter().flat_map(|line| line.split(',').map(str::trim));
    let by_spaces = lines("surrogate-key").into_iter().flat_map(str::split_whitespace);
    by_commas.chain(by_spaces).filter(|tag| !tag.is_empty()).take(TAGS_MAX).map(Into::into).collect()
}
