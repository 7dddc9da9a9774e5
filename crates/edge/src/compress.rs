//! Compresses responses for clients that take it (RFC 9110, sections 8.4 and 12.5.3): Zstandard, Brotli or gzip, while they
//! stream. Whenever the source pauses, what came so far is flushed, so that no event waits for the next one.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use schemars::JsonSchema;
use selvedge_codec::{Codec, Flush, Format, Options, Status};
use serde::{Deserialize, Serialize};

use crate::body::{Content, Fault};

/// How responses are compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompressionConfig {
    /// Whether they are.
    pub enabled: bool,
    /// Shorter ones are sent as they are, bytes.
    pub min_bytes: u64,
    /// What is offered. Of formats that a client likes as much as others, the first is taken.
    pub formats: Vec<Coding>,
    /// Media types that compress well, beside those that are known, such as `application/x-thing`.
    pub types: Vec<String>,
    /// Responses that a thread compresses at the same time; more are sent as they are.
    pub max_streams: usize,
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            min_bytes: 1024,
            formats: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
            types: Vec::new(),
            max_streams: 512,
        }
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// gzip (RFC 1952).
    Gzip,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Levels that keep up with a network, and windows that keep memory small: about 1 MiB a stream.
    fn codec(self) -> Option<Codec> {
        let (format, level, window_bits) = match self {
            Self::Zstd => (Format::ZstdCompress, 3, 18),
            Self::Br => (Format::BrotliCompress, 4, 18),
            Self::Gzip => (Format::Gzip, 5, 15),
        };
        let options = Options { level: Some(level), window_bits: Some(window_bits), ..Options::default() };
        Codec::new(format, options).ok()
    }
}

/// How much a client likes each coding, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    zstd: u16,
    br: u16,
    gzip: u16,
    identity: u16,
}

impl Accepted {
    /// Of `Accept-Encoding`.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let (mut any, mut named) = (None, [None; 4]);
        for member in value.split(|byte| *byte == b',') {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(quality).unwrap_or(1000);
            let known = [&["zstd"][..], &["br"], &["gzip", "x-gzip"], &["identity"]];
            let is = |names: &&[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
            match known.iter().position(is) {
                Some(index) => named[index] = Some(quality),
                None if name == b"*" => any = Some(quality),
                None => {}
            }
        }
        let [zstd, br, gzip] = [0, 1, 2].map(|index| named[index].or(any).unwrap_or(0));
        Self { zstd, br, gzip, identity: named[3].or(any).unwrap_or(1) }
    }

    fn of(self, coding: Coding) -> u16 {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        }
    }

    /// The one that the client likes best, of several the one offered first. A client may like none better.
    fn best(self, offered: &[Coding]) -> Option<Coding> {
        let best = offered.iter().rev().copied().max_by_key(|coding| self.of(*coding))?;
        (self.of(best) > 0 && self.of(best) >= self.identity).then_some(best)
    }
}

/// `q=0.5`, in thousandths. What is malformed counts as refused.
fn quality(part: &[u8]) -> Option<u16> {
    let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))?;
    let value = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f32>().ok());
    Some(value.filter(|q| (0.0..=1.0).contains(q)).map_or(0, |q| (q * 1000.0) as u16))
}

/// Encoders of one thread that wait to be used again, how many are in use, and what they made of bodies that are kept.
#[derive(Debug)]
pub(crate) struct Compressors {
    idle: RefCell<[Vec<Codec>; 3]>,
    busy: Cell<usize>,
    made: RefCell<Cache<Source, Made, Weight>>,
}

/// Bytes of bodies and their compressed forms that a thread keeps at most.
const MADE_BYTES: u64 = 16 << 20;
/// Kept bodies up to this length are compressed once, bytes.
const KEPT_MAX: usize = 4 << 20;

/// Where a body is in memory, its length, and what it is compressed with.
type Source = (usize, usize, Coding);

/// What became of a body.
#[derive(Clone, Debug)]
struct Made {
    /// As long as it is here, no other can be in its place.
    body: Bytes,
    /// None where it gets no smaller.
    smaller: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Source, Made> for Weight {
    fn weight(&self, _: &Source, made: &Made) -> u64 {
        (made.body.len() + made.smaller.as_ref().map_or(0, Bytes::len)) as u64 + 128
    }
}

impl Default for Compressors {
    fn default() -> Self {
        let made = Cache::with_weighter(256, MADE_BYTES, Weight);
        Self { idle: RefCell::default(), busy: Cell::default(), made: RefCell::new(made) }
    }
}

impl Compressors {
    fn keep(&self, body: Bytes, coding: Coding, smaller: Option<Bytes>) {
        let source = (body.as_ptr() as usize, body.len(), coding);
        self.made.borrow_mut().insert(source, Made { body, smaller });
    }

    fn kept(&self, body: &Bytes, coding: Coding) -> Option<Option<Bytes>> {
        let source = (body.as_ptr() as usize, body.len(), coding);
        self.made.borrow().get(&source).map(|made| made.smaller.clone())
    }
}

/// Idle encoders kept for each format.
const IDLE_MAX: usize = 4;

/// An encoder in use.
struct Lease {
    coding: Coding,
    codec: Option<Codec>,
    pool: Rc<Compressors>,
}

impl Lease {
    fn take(pool: &Rc<Compressors>, coding: Coding, most: usize) -> Option<Self> {
        if pool.busy.get() >= most {
            return None;
        }
        let idle = pool.idle.borrow_mut()[coding as usize].pop();
        let codec = Some(idle.or_else(|| coding.codec())?);
        pool.busy.set(pool.busy.get() + 1);
        Some(Self { coding, codec, pool: pool.clone() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.busy.set(self.pool.busy.get() - 1);
        let Some(mut codec) = self.codec.take() else { return };
        let idle = &mut self.pool.idle.borrow_mut()[self.coding as usize];
        if idle.len() < IDLE_MAX && codec.rewind() {
            idle.push(codec);
        }
    }
}

/// Bodies up to this length that are there as a whole are compressed at once, bytes.
const WHOLE_MAX: usize = 64 << 10;
/// Output that is handed on at once, bytes.
const CHUNK: usize = 16 << 10;
/// Input that is taken before others have their turn, bytes.
const TURN: usize = 256 << 10;

/// Whether [`apply`] would look at a response whose head is written already.
pub(crate) fn concerns(
    response: &Response<Content>,
    accepted: Option<Accepted>,
    config: &CompressionConfig,
) -> bool {
    let Content::Prepared(prepared) = response.body() else { return false };
    config.enabled
        && accepted.is_some_and(|accepted| accepted.best(&config.formats).is_some())
        && prepared.body.len() as u64 >= config.min_bytes
        && prepared.get("content-type").is_some_and(|kind| shrinks(kind, config))
        && prepared.get("content-encoding").is_none()
}

/// Compresses a response if it may be and its client takes it. `head` is true for answers to HEAD, which get the fields only.
/// What is made of a body that is `kept` is kept, too.
pub(crate) fn apply(
    response: &mut Response<Content>,
    accepted: Option<Accepted>,
    head: bool,
    kept: bool,
    config: &CompressionConfig,
    pool: &Rc<Compressors>,
) {
    if !config.enabled || !may_be(response, config) {
        return;
    }
    let told =
        response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = response.body().size_hint().exact().filter(|length| !head || *length > 0).or(told);
    if length.map_or(head, |length| length < config.min_bytes) {
        return;
    }
    // Whoever stores the response has to know that others may get another.
    vary(response.headers_mut());
    let Some(coding) = accepted.and_then(|accepted| accepted.best(&config.formats)) else { return };
    if head {
        *response.body_mut() = Content::Empty;
    } else {
        let known = match response.body() {
            Content::Bytes(bytes) if kept => pool.kept(bytes, coding),
            _ => None,
        };
        let (body, smaller) = match known {
            Some(None) => return,
            Some(Some(smaller)) => (Content::Bytes(smaller), true),
            None => {
                let Some(lease) = Lease::take(pool, coding, config.max_streams) else { return };
                compressed(std::mem::take(response.body_mut()), lease, kept)
            }
        };
        *response.body_mut() = body;
        if !smaller {
            return;
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    weaken(headers);
}

/// Whether a response is one that may be compressed, by its status, type and fields.
fn may_be(response: &Response<Content>, config: &CompressionConfig) -> bool {
    let status = response.status();
    let headers = response.headers();
    let bodiless = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    // A digest is of the content as it is sent.
    let fixed = [
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
    ];
    !bodiless
        && compressible(headers, config)
        && !fixed.iter().any(|name| headers.contains_key(name))
        && !lists(headers, header::CACHE_CONTROL, "no-transform")
}

/// Whether content of this type shrinks.
fn compressible(headers: &HeaderMap, config: &CompressionConfig) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| shrinks(kind.as_bytes(), config))
}

fn shrinks(kind: &[u8], config: &CompressionConfig) -> bool {
    let Ok(value) = std::str::from_utf8(kind) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((top, sub)) = kind.split_once('/') else { return false };
    top == "text"
        || sub.ends_with("+json")
        || sub.ends_with("+xml")
        || sub.ends_with("+text")
        || matches!(
            (top, sub),
            (
                "application",
                "json" | "javascript" | "xml" | "wasm" | "ecmascript" | "x-javascript" | "graphql"
            ) | ("application", "x-ndjson" | "jsonl" | "ld+json" | "manifest+json" | "toml" | "yaml" | "sql")
                | ("application", "vnd.ms-fontobject" | "x-sh" | "x-yaml" | "rtf")
                | ("font", "ttf" | "otf" | "collection" | "sfnt")
                | ("image", "bmp" | "x-icon" | "vnd.microsoft.icon")
        )
        || config.types.iter().any(|more| more.eq_ignore_ascii_case(&kind))
}

/// Whether a list in a field has a member.
fn lists(headers: &HeaderMap, name: HeaderName, member: &str) -> bool {
    let fields = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(member))
}

fn vary(headers: &mut HeaderMap) {
    if !lists(headers, header::VARY, "accept-encoding") && !lists(headers, header::VARY, "*") {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The bytes are others than those that a strong tag promises (RFC 9110, section 8.8.3.3).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().first() == Some(&b'"')) else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}

/// The body compressed, or as it was where that would not make it smaller.
fn compressed(body: Content, mut lease: Lease, kept: bool) -> (Content, bool) {
    let whole = match &body {
        Content::Bytes(bytes) if bytes.len() <= WHOLE_MAX => bytes,
        _ => {
            let source = match &body {
                Content::Bytes(bytes) if kept && bytes.len() <= KEPT_MAX => Some((bytes.clone(), Vec::new())),
                _ => None,
            };
            return (Content::Boxed(Box::pin(Compressed::new(body, lease, source))), true);
        }
    };
    let mut out = vec![0; whole.len()];
    let step = lease.codec.as_mut().and_then(|codec| codec.step(whole, &mut out, Flush::Finish).ok());
    match step {
        // Done with room to spare, or else it is no smaller.
        Some(step) if step.status == Status::End => {
            out.truncate(step.written);
            out.shrink_to_fit();
            let smaller = Bytes::from(out);
            if kept {
                lease.pool.keep(whole.clone(), lease.coding, Some(smaller.clone()));
            }
            (Content::Bytes(smaller), true)
        }
        _ => {
            if kept {
                lease.pool.keep(whole.clone(), lease.coding, None);
            }
            (body, false)
        }
    }
}

/// A body that is compressed while it streams.
struct Compressed {
    inner: Content,
    lease: Lease,
    /// What the encoder has not taken yet.
    input: Bytes,
    /// What the encoder is asked for, until it has done it.
    flush: Flush,
    /// The encoder holds something back.
    holds: bool,
    done: bool,
    /// Input since others had their turn, bytes.
    taken: usize,
    trailers: Option<HeaderMap>,
    /// A body that is kept, and what came of it so far.
    source: Option<(Bytes, Vec<u8>)>,
}

impl Compressed {
    fn new(inner: Content, lease: Lease, source: Option<(Bytes, Vec<u8>)>) -> Self {
        Self {
            inner,
            lease,
            input: Bytes::new(),
            flush: Flush::None,
            holds: false,
            done: false,
            taken: 0,
            trailers: None,
            source,
        }
    }

    /// Sees to it that there is something to do for the encoder.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while self.input.is_empty() && self.flush == Flush::None {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(None) => self.flush = Flush::Finish,
                Poll::Pending if self.holds => self.flush = Flush::Sync,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One step of the encoder.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<usize, Fault> {
        const FAILED: Fault = Fault { code: "compression_failed" };
        let codec = self.lease.codec.as_mut().ok_or(FAILED)?;
        let start = out.len();
        out.resize(CHUNK, 0);
        let step = codec.step(&self.input, &mut out[start..], self.flush).map_err(|_| FAILED)?;
        out.truncate(start + step.written);
        self.input.advance(step.read);
        self.holds |= step.read > 0;
        match step.status {
            Status::End => self.done = true,
            Status::Hungry if self.flush == Flush::Sync && self.input.is_empty() => {
                self.flush = Flush::None;
                self.holds = false;
            }
            Status::Hungry | Status::More => {}
        }
        Ok(step.read)
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if this.taken >= TURN {
            // Much may shrink to little, for which a client never makes us wait. Others have their turn now.
            this.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut out = Vec::new();
        while !this.done && out.len() < CHUNK {
            match this.poll_work(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            match this.step(&mut out) {
                Ok(read) => this.taken += read,
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            if this.taken >= TURN && !this.done {
                if out.is_empty() {
                    this.taken = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                break;
            }
        }
        if let Some((_, made)) = &mut this.source {
            made.extend_from_slice(&out);
        }
        if this.done
            && let Some((body, mut made)) = this.source.take()
        {
            made.shrink_to_fit();
            this.lease.pool.keep(body, this.lease.coding, Some(made.into()));
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_choose_and_the_server_breaks_ties() {
        let formats = CompressionConfig::default().formats;
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("br;q=0.5, gzip;q=0.8", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.1, zstd;q=0", Some("br")),
            ("gzip;q=0", None),
            ("gzip;q=2", None),
            ("gzip;q=x", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
            ("deflate", None),
            ("", None),
            (",,;;q=1,;", None),
        ] {
            let best = Accepted::parse(accept.as_bytes()).best(&formats);
            assert_eq!(best.map(Coding::name), expected, "{accept}");
        }
        assert_eq!(Accepted::parse(b"gzip, zstd").best(&[Coding::Gzip, Coding::Zstd]), Some(Coding::Gzip));
        assert_eq!(Accepted::parse(b"gzip").best(&[]), None);
    }

    #[test]
    fn what_does_not_shrink_or_must_not_change_is_left_alone() {
        let config = CompressionConfig::default();
        let text = "abcdefgh".repeat(1000);
        let run = |fields: &[(&'static str, &'static str)], status: u16, body: &str| {
            let mut response = Response::new(Content::from(Bytes::copy_from_slice(body.as_bytes())));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in fields {
                response.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            apply(&mut response, Some(Accepted::parse(b"gzip")), false, false, &config, &Rc::default());
            response
        };
        let html = ("content-type", "Text/HTML; charset=utf-8");
        let response = run(
            &[html, ("etag", "\"x\""), ("accept-ranges", "bytes"), ("content-length", "8000")],
            200,
            &text,
        );
        let headers = response.headers();
        assert_eq!(
            (&headers["content-encoding"], &headers["vary"], &headers["etag"]),
            (
                &HeaderValue::from_static("gzip"),
                &HeaderValue::from_static("accept-encoding"),
                &HeaderValue::from_static("W/\"x\""),
            )
        );
        assert!(!headers.contains_key("accept-ranges") && !headers.contains_key("content-length"));
        assert!(response.body().size_hint().exact().unwrap() < 200);
        for (fields, status, body) in [
            (&[html][..], 200, &text[..1000]),
            (&[html], 206, &text),
            (&[html], 204, &text),
            (&[html, ("content-encoding", "br")], 200, &text),
            (&[html, ("content-range", "bytes 0-1/2")], 200, &text),
            (&[html, ("cache-control", "max-age=1, No-Transform")], 200, &text),
            (&[html, ("content-digest", "sha-256=:x:")], 200, &text),
            (&[("content-type", "image/png")], 200, &text),
            (&[], 200, &text),
        ] {
            let response = run(fields, status, body);
            assert!(
                response.headers().get("content-encoding").is_none_or(|coding| coding != "gzip"),
                "{fields:?}"
            );
            assert_eq!(response.body().size_hint().exact(), Some(body.len() as u64), "{fields:?}");
        }
        assert_eq!(
            run(&[html, ("vary", "Accept-Encoding, x")], 200, &text).headers().get_all("vary").iter().count(),
            1
        );
    }

    #[test]
    fn noise_stays_as_it_is() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5000).collect();
        let mut response = Response::new(Content::from(Bytes::from(noise.clone())));
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
        apply(
            &mut response,
            Some(Accepted::parse(b"*")),
            false,
            false,
            &CompressionConfig::default(),
            &Rc::default(),
        );
        assert!(!response.headers().contains_key("content-encoding"));
        assert!(matches!(response.body(), Content::Bytes(bytes) if *bytes == noise));
    }

    #[test]
    fn what_is_kept_is_compressed_once() {
        let (config, pool) = (CompressionConfig::default(), Rc::<Compressors>::default());
        for length in [8_000, 200_000] {
            let body = Bytes::from("abcdefgh".repeat(length / 8));
            let run = |body: &Bytes, kept: bool| {
                let mut response = Response::new(Content::from(body.clone()));
                response.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
                apply(&mut response, Some(Accepted::parse(b"gzip")), false, kept, &config, &pool);
                assert_eq!(response.headers()["content-encoding"], "gzip");
                let collected = http_body_util::BodyExt::collect(response.into_body());
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(collected).unwrap().to_bytes()
            };
            let (first, again, other) = (run(&body, true), run(&body, true), run(&body, false));
            assert_eq!((&first, &again), (&other, &other));
            let made = pool.kept(&body, Coding::Gzip).unwrap().unwrap();
            assert_eq!(again.as_ptr(), made.as_ptr(), "{length}");
            assert!(pool.kept(&Bytes::from(body.to_vec()), Coding::Gzip).is_none());
        }
    }

    #[test]
    fn encoders_are_bounded_and_used_again() {
        let pool = Rc::<Compressors>::default();
        let first = Lease::take(&pool, Coding::Zstd, 1).unwrap();
        assert!(Lease::take(&pool, Coding::Gzip, 1).is_none());
        drop(first);
        assert_eq!((pool.busy.get(), pool.idle.borrow()[0].len()), (0, 1));
        let all: Vec<_> = (0..20).map(|_| Lease::take(&pool, Coding::Zstd, 100).unwrap()).collect();
        drop(all);
        assert_eq!((pool.busy.get(), pool.idle.borrow()[0].len()), (0, IDLE_MAX));
    }
}
