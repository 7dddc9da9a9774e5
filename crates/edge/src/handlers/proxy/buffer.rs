//! Bodies that wait in memory until they are whole.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_upstream::{UpstreamBody, UpstreamError};

use crate::body::{Content, RequestBody};
use crate::refusal::Refusal;

/// Reads a request's body of at most `most` bytes. Trailer fields are dropped.
pub(super) async fn request(
    mut body: RequestBody,
    announced: Option<u64>,
    most: usize,
) -> Result<Bytes, Refusal> {
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Refusal::PROXY_BODY_TOO_LARGE);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::from(UpstreamError::RequestBody))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > most {
                return Err(Refusal::PROXY_BODY_TOO_LARGE);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// Reads a response's body that announces at most `most` bytes; others stay as they are.
pub(super) async fn response(mut body: UpstreamBody<RequestBody>, most: usize) -> Result<Content, Refusal> {
    if body.size_hint().exact().is_none_or(|length| length > most as u64) {
        return Ok(Content::Proxied(body));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::from(UpstreamError::BadResponse(None)))?;
        if let Ok(data) = frame.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze().into())
}
