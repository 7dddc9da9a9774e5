//! The Cache API of workers: what a worker puts under an address, and finds there again.
//!
//! A worker names a cache by a call of the binding `!` and the cache's name. The method is `GET` to match, `PUT` to store a response (its
//! fields are the call's, its status and the request's fields are in the props), `DELETE` to remove one. Caches belong to an account.

use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use selvedge_cache::{Key, Refusal, Stored, lifetime};
use selvedge_model::{AccountId, Worker};
use selvedge_wire::message::{self, Head, ResetCode};
use serde::Deserialize;

use crate::connection::Connection;
use crate::service::Question;
use crate::shared::Shared;
use crate::stream::Stream;

/// Status by which the host learns that nothing is stored.
const MISS: u16 = 404;
/// Marks that answer, since a stored response may be a 404 itself.
const MISS_FIELD: &[u8] = b"x-selvedge-cache-miss";
/// Largest response that is stored, bytes.
pub const RESPONSE_MAX: usize = 16 << 20;
/// Longest name of a cache, bytes.
const NAME_MAX: usize = 512;

/// Bytes of responses that arrive to be stored: of all accounts, and of one.
const FILLING_MAX: usize = 256 << 20;
const FILLING_ACCOUNT_MAX: usize = 64 << 20;

type Failed = (ResetCode, String);

/// What arrives to be stored, in bytes, by account. A response is collected before it is stored, as slowly as its worker likes.
#[derive(Debug, Default)]
pub struct Filling(Mutex<HashMap<AccountId, usize>>);

/// One response's part of it.
struct Share<'a> {
    filling: &'a Filling,
    account: &'a AccountId,
    bytes: usize,
}

impl Share<'_> {
    /// Adds so many bytes; false when there is no room for them.
    fn more(&mut self, bytes: usize) -> bool {
        let mut filling = self.filling.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = filling.values().sum();
        let own = filling.get(self.account).copied().unwrap_or_default();
        if all + bytes > FILLING_MAX || own + bytes > FILLING_ACCOUNT_MAX {
            return false;
        }
        self.bytes += bytes;
        filling.insert(self.account.clone(), own + bytes);
        true
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut filling = self.filling.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = filling.get_mut(self.account) {
            *own -= self.bytes;
            if *own == 0 {
                filling.remove(self.account);
            }
        }
    }
}

/// What does not fit into a call's own parts.
#[derive(Debug, Default, Deserialize)]
struct Props {
    #[serde(default)]
    status: u16,
    /// The request's fields, for `Vary` and conditions.
    #[serde(default)]
    request: String,
}

/// Serves one call.
pub async fn serve(
    shared: &Arc<Shared>,
    connection: &Rc<Connection>,
    caller: &Rc<Stream>,
    worker: &Worker,
    (name, props): (String, String),
    question: Question,
) -> Result<(), Failed> {
    let refuse = |text: &str| (ResetCode::Refused, text.to_owned());
    if name.len() > NAME_MAX {
        return Err(refuse("The name of the cache is too long."));
    }
    let props: Props = if props.is_empty() {
        Props::default()
    } else {
        serde_json::from_str(&props)
            .map_err(|_| refuse("The cache was called in a way that it does not know."))?
    };
    let url = String::from_utf8_lossy(&question.url).into_owned();
    let key = Key { owner: worker.account.to_string(), cache: name, url };
    let request: HeaderMap = fields(props.request.as_bytes());
    let now = SystemTime::now();
    match question.method.as_slice() {
        b"GET" => match shared.cache.get(&key, &request, now) {
            Some(stored) => hit(connection, caller, &stored, &request, now).await,
            None => answer(connection, caller, MISS, &[(MISS_FIELD, b"1")]),
        },
        b"PUT" => {
            let headers = fields(&question.headers);
            let status = StatusCode::from_u16(props.status).map_err(|_| refuse("The status is none."))?;
            let mut share = Share { filling: &shared.filling, account: &worker.account, bytes: 0 };
            let body = collect(caller, shared.cache.entry_max(), &mut share).await?;
            let kept = match (lifetime(status, &headers, now), body) {
                (Ok(fresh), Some(body)) => {
                    shared.cache.put(key, &request, (status, headers, body), fresh, now)
                }
                (Err(Refusal::Partial), _) => {
                    return Err(refuse("A response with status 206 cannot be cached."));
                }
                (Err(Refusal::VariesByAll), _) => {
                    return Err(refuse("A response with Vary: * cannot be cached."));
                }
                // As with other caches, what may not be stored is quietly not stored.
                (Err(Refusal::Forbidden | Refusal::SetsCookie), _) => false,
                (Ok(_), None) => return Err(refuse("The response is too large for the cache.")),
            };
            answer(connection, caller, if kept { 204 } else { 200 }, &[])
        }
        b"DELETE" => answer(connection, caller, if shared.cache.delete(&key) { 204 } else { MISS }, &[]),
        _ => return Err(refuse("A cache knows GET, PUT and DELETE.")),
    }
    Ok(())
}

/// The fields of a header block; what HTTP does not allow is left out.
fn fields(block: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in message::header_pairs(block) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// An answer without a body.
fn answer(connection: &Connection, caller: &Stream, status: u16, fields: &[(&[u8], &[u8])]) {
    let mut headers = Vec::new();
    for (name, value) in fields {
        message::put_header(&mut headers, name, value);
    }
    connection.answer(caller, Head { status, headers: &headers }, true);
}

/// The whole body; `None`, with the rest thrown away, when it is larger than `max`.
async fn collect(caller: &Stream, max: usize, share: &mut Share<'_>) -> Result<Option<Bytes>, Failed> {
    let mut body = BytesMut::new();
    let mut fits = true;
    while let Some(chunk) = poll_fn(|cx| caller.poll_chunk(cx)).await {
        let Ok(chunk) = chunk else { return Err((ResetCode::Canceled, String::new())) };
        fits &= body.len() + chunk.len() <= max;
        if fits {
            if !share.more(chunk.len()) {
                let text = "Too much of this account is being stored at the moment; put less at a time.";
                return Err((ResetCode::Refused, text.into()));
            }
            body.extend_from_slice(&chunk);
        } else {
            body = BytesMut::new();
        }
    }
    Ok(fits.then(|| body.freeze()))
}

/// Sends a stored response: whole, the part that `Range` asks for, or that nothing has changed.
async fn hit(
    connection: &Connection,
    caller: &Rc<Stream>,
    stored: &Stored,
    request: &HeaderMap,
    now: SystemTime,
) {
    let mut headers = Vec::new();
    let skipped = [header::AGE, header::CONTENT_LENGTH, HeaderName::from_static("cf-cache-status")];
    for (name, value) in stored.headers.iter().filter(|(name, _)| !skipped.contains(name)) {
        message::put_header(&mut headers, name.as_str().as_bytes(), value.as_bytes());
    }
    message::put_header(&mut headers, b"age", stored.age(now).as_secs().to_string().as_bytes());
    message::put_header(&mut headers, b"cf-cache-status", b"HIT");
    if unchanged(stored, request) {
        return connection.answer(caller, Head { status: 304, headers: &headers }, true);
    }
    let length = stored.body.len();
    let range = (stored.status == StatusCode::OK).then(|| range(request, length)).flatten();
    let (status, body) = match range {
        Some(range) => {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            message::put_header(&mut headers, b"content-range", text.as_bytes());
            (206, stored.body.slice(range))
        }
        None => (stored.status.as_u16(), stored.body.clone()),
    };
    message::put_header(&mut headers, b"content-length", body.len().to_string().as_bytes());
    connection.answer(caller, Head { status, headers: &headers }, body.is_empty());
    if !body.is_empty() {
        caller.send_all(&body, true).await;
    }
}

/// RFC 9110, section 13: `If-None-Match`, and `If-Modified-Since` where that is missing.
fn unchanged(stored: &Stored, request: &HeaderMap) -> bool {
    let text = |headers: &HeaderMap, name: HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    if let Some(list) = text(request, header::IF_NONE_MATCH) {
        let tag = text(&stored.headers, header::ETAG).unwrap_or_default();
        let bare = tag.trim_start_matches("W/");
        return list
            .split(',')
            .map(str::trim)
            .any(|known| known == "*" || (!bare.is_empty() && known.trim_start_matches("W/") == bare));
    }
    let since = text(request, header::IF_MODIFIED_SINCE);
    since.is_some() && since == text(&stored.headers, header::LAST_MODIFIED)
}

/// One range of bytes (RFC 9110, section 14.1.2); others are answered whole.
fn range(request: &HeaderMap, length: usize) -> Option<std::ops::Range<usize>> {
    let spec = request.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = spec.split_once('-').filter(|_| !spec.contains(','))?;
    let range = match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) => first..last.checked_add(1)?.min(length),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..length,
        (Err(_), Ok(last)) if first.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_to_be_stored_is_bounded() {
        let filling = Filling::default();
        let accounts: Vec<AccountId> = (0..6).map(|n| format!("a{n}").parse().unwrap()).collect();
        let share = |account| Share { filling: &filling, account, bytes: 0 };
        let mut shares: Vec<_> = accounts.iter().map(share).collect();
        let fits: Vec<bool> = shares.iter_mut().map(|share| share.more(FILLING_ACCOUNT_MAX)).collect();
        assert_eq!(fits, [true, true, true, true, false, false]);
        assert!(!share(&accounts[0]).more(1));
        shares.clear();
        assert!(share(&accounts[5]).more(1));
        assert!(filling.0.lock().unwrap().is_empty());
    }

    #[test]
    fn ranges_are_single_and_inside() {
        let of = |text: &'static str| {
            let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(text))]);
            range(&request, 10).map(|range| (range.start, range.end))
        };
        assert_eq!(of("bytes=0-3"), Some((0, 4)));
        assert_eq!(of("bytes=5-"), Some((5, 10)));
        assert_eq!(of("bytes=-3"), Some((7, 10)));
        assert_eq!(of("bytes=8-99"), Some((8, 10)));
        for whole in [
            "bytes=10-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=x-y",
            "bytes=0-18446744073709551615",
            "bytes=-",
        ] {
            assert_eq!(of(whole), None, "{whole}");
        }
    }
}
