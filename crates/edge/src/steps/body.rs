//! Changes bodies: JSON as a whole, within a bound; texts while they stream. Takes compressed requests apart, if asked to.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use schemars::JsonSchema;
use selvedge_codec::{Codec, Flush, Format, Options, Status};
use selvedge_limit::json_edit::JsonEdit;
use selvedge_limit::replace::{Replacements, Replacing};
use selvedge_limit::validate::is_json;
use serde::{Deserialize, Serialize};

use super::Flow;
use super::buffered::{self, Lack};
use crate::body::{Content, Fault, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// Changes of bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BodyConfig {
    /// Changes of JSON in requests.
    pub request_json: JsonEdit,
    /// Changes of JSON in answers.
    pub response_json: JsonEdit,
    /// Texts in answers of type `text/*`, JSON, JavaScript or XML, and what stands in their places.
    pub replace: BTreeMap<String, String>,
    /// Requests compressed with gzip, deflate, Brotli or Zstandard arrive as if they were not.
    pub decompress: bool,
    /// Longest JSON that is changed, and longest request after decompression, bytes.
    pub max_bytes: u64,
    /// A compressed request may grow by this factor at most, from 64 KiB on.
    pub max_ratio: u64,
}

impl Default for BodyConfig {
    fn default() -> Self {
        Self {
            request_json: JsonEdit::default(),
            response_json: JsonEdit::default(),
            replace: BTreeMap::new(),
            decompress: false,
            max_bytes: 1 << 20,
            max_ratio: 100,
        }
    }
}

/// Output of a decompression that is not measured by its ratio, bytes.
const RATIO_FREE: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct BodyStep {
    config: BodyConfig,
    response_json: Option<Arc<JsonEdit>>,
    replace: Option<Arc<Replacements>>,
}

impl BodyStep {
    pub(super) fn new(config: &BodyConfig) -> Result<Self, String> {
        config.request_json.check()?;
        config.response_json.check()?;
        let replace = (!config.replace.is_empty()).then(|| Replacements::new(&config.replace)).transpose()?;
        let response_json =
            (!config.response_json.is_empty()).then(|| Arc::new(config.response_json.clone()));
        Ok(Self { config: config.clone(), response_json, replace: replace.map(Arc::new) })
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        if let Err(refusal) = self.change_request(request).await {
            return Flow::Refuse(refusal);
        }
        if self.response_json.is_some() || self.replace.is_some() {
            let (edit, texts, most) =
                (self.response_json.clone(), self.replace.clone(), self.config.max_bytes);
            // What cannot be read cannot be changed either.
            request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            exchange.later.push(Box::new(move |response| change_response(response, edit, texts, most)));
        }
        Flow::On
    }

    async fn change_request(&self, request: &mut Request<RequestBody>) -> Result<(), Refusal> {
        if request.body().is_end_stream() {
            return Ok(());
        }
        let format = request.headers().get(header::CONTENT_ENCODING).map(|coding| format(coding.as_bytes()));
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let edits = !self.config.request_json.is_empty() && kind.is_some_and(is_json);
        let decodes = match format {
            None => None,
            Some(Some(format)) if self.config.decompress => Some(format),
            Some(_) if edits || self.config.decompress => return Err(Refusal::UNSUPPORTED_CODING),
            Some(_) => None,
        };
        if decodes.is_none() && !edits {
            return Ok(());
        }
        let mut body = read(request.body_mut(), self.config.max_bytes).await?;
        if let Some(format) = decodes {
            body = unpack(format, &body, self.config.max_bytes, self.config.max_ratio)?;
            request.headers_mut().remove(header::CONTENT_ENCODING);
        }
        if edits {
            body = self.config.request_json.apply(&body).map_err(|_| Refusal::NO_JSON)?.into();
        }
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *request.body_mut() = RequestBody::Bytes(body);
        Ok(())
    }
}

async fn read(body: &mut RequestBody, most: u64) -> Result<Bytes, Refusal> {
    buffered::read(body, most).await.map_err(|lack| match lack {
        Lack::TooLong => Refusal::BODY_TOO_LARGE,
        Lack::Cut => Refusal::BODY_CUT,
    })
}

fn format(coding: &[u8]) -> Option<Format> {
    match coding.trim_ascii().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Some(Format::Gunzip),
        b"deflate" => Some(Format::Inflate),
        b"br" => Some(Format::BrotliDecompress),
        b"zstd" => Some(Format::ZstdDecompress),
        _ => None,
    }
}

/// Unpacks a body, unless it is a bomb: longer than `most`, or more than `ratio` times what was sent.
fn unpack(format: Format, packed: &[u8], most: u64, ratio: u64) -> Result<Bytes, Refusal> {
    let most = most.min((packed.len() as u64).saturating_mul(ratio).max(RATIO_FREE));
    let mut codec = Codec::new(format, Options::default()).map_err(|_| Refusal::INTERNAL)?;
    let (mut out, mut at, mut piece) = (Vec::new(), 0, vec![0; 16 << 10]);
    loop {
        let step = codec.step(&packed[at..], &mut piece, Flush::Finish).map_err(|_| Refusal::BAD_CODING)?;
        at += step.read;
        out.extend_from_slice(&piece[..step.written]);
        if out.len() as u64 > most {
            return Err(Refusal::BODY_TOO_LARGE);
        }
        match step.status {
            Status::End if at == packed.len() => return Ok(out.into()),
            Status::More => {}
            Status::End | Status::Hungry => return Err(Refusal::BAD_CODING),
        }
    }
}

fn change_response(
    response: &mut Response<Content>,
    edit: Option<Arc<JsonEdit>>,
    texts: Option<Arc<Replacements>>,
    most: u64,
) {
    let headers = response.headers();
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let readable = !headers.contains_key(header::CONTENT_ENCODING)
        && response.status() != StatusCode::PARTIAL_CONTENT
        && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    let edit = edit.filter(|_| is_json(&kind));
    let texts = texts.filter(|_| {
        kind.starts_with("text/") || is_json(&kind) || kind.contains("javascript") || kind.contains("xml")
    });
    if !readable || (edit.is_none() && texts.is_none()) {
        return;
    }
    let inner = std::mem::take(response.body_mut());
    let work = Work { edit, texts, replacing: Replacing::default(), whole: Vec::new(), most };
    *response.body_mut() = match inner {
        Content::Empty => return,
        Content::Bytes(bytes) => {
            let mut work = work;
            let first = work.step(&bytes, true);
            match first {
                Ok(changed) => Content::from(Bytes::from(changed)),
                Err(fault) => Content::Boxed(Box::pin(Changed {
                    inner: Content::Empty,
                    work,
                    over: false,
                    failed: Some(fault),
                })),
            }
        }
        inner => Content::Boxed(Box::pin(Changed { inner, work, over: false, failed: None })),
    };
    forget(response.headers_mut());
}

/// What was said of the bytes before does not hold for those after.
fn forget(headers: &mut HeaderMap) {
    for name in [header::CONTENT_LENGTH, header::ETAG, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(name);
    }
}

/// The changes of one answer.
struct Work {
    edit: Option<Arc<JsonEdit>>,
    texts: Option<Arc<Replacements>>,
    replacing: Replacing,
    /// JSON, until it is there as a whole.
    whole: Vec<u8>,
    most: u64,
}

impl Work {
    fn step(&mut self, piece: &[u8], end: bool) -> Result<Vec<u8>, Fault> {
        let edited;
        let piece = match &self.edit {
            None => piece,
            Some(edit) => {
                if (self.whole.len() + piece.len()) as u64 > self.most {
                    // What should have been taken out must not get through.
                    return Err(Fault { code: "body_too_large" });
                }
                self.whole.extend_from_slice(piece);
                if !end {
                    return Ok(Vec::new());
                }
                edited = edit.apply(&self.whole).map_err(|_| Fault { code: "no_json" })?;
                self.whole = Vec::new();
                &edited
            }
        };
        Ok(match &self.texts {
            Some(texts) => self.replacing.step(texts, piece, end),
            None => piece.to_vec(),
        })
    }
}

struct Changed {
    inner: Content,
    work: Work,
    over: bool,
    failed: Option<Fault>,
}

impl Body for Changed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if let Some(fault) = this.failed {
            return Poll::Ready(Some(Err(fault)));
        }
        while !this.over {
            let step = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Some(Err(fault))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.work.step(&data, false),
                    Err(_) => continue,
                },
                Poll::Ready(None) => {
                    this.over = true;
                    this.work.step(&[], true)
                }
            };
            match step {
                Ok(out) if out.is_empty() => {}
                step => return Poll::Ready(Some(step.map(|out| Frame::data(out.into())))),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
