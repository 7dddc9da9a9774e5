//! Finds the end of an HTTP/1.1 response.

/// Longest response taken, bytes.
pub(crate) const MAX_BYTES: usize = 128 << 20;

/// A whole response at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Where the body starts; chunks are not joined.
    pub(crate) body: usize,
    /// Length with head and body, bytes.
    pub(crate) length: usize,
    /// The connection can be used again.
    pub(crate) keep: bool,
}

/// The bytes are no response that this parser knows: HTTP/1.1 with a content length or chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The response at the start of `bytes`, or `None` while it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Response>, Malformed> {
    parse_on(bytes, &mut 0)
}

/// The same for bytes that arrive bit by bit. `waiting_for` starts as 0 and is kept between the calls: how many
/// bytes there must be for another look, so that a long response is not read again with every packet.
pub(crate) fn parse_on(bytes: &[u8], waiting_for: &mut usize) -> Result<Option<Response>, Malformed> {
    if bytes.len() < *waiting_for {
        return Ok(None);
    }
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_BYTES { Err(Malformed) } else { Ok(None) };
    };
    let body = head + 4;
    let text = std::str::from_utf8(&bytes[..head]).map_err(|_| Malformed)?;
    let mut lines = text.split("\r\n");
    let line = lines.next().ok_or(Malformed)?;
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Malformed)?;
    let status: u16 = status.parse().map_err(|_| Malformed)?;
    let (mut length, mut chunked, mut keep) = (None, false, true);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| Malformed)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    let end = match length {
        _ if chunked => chunks_end(bytes, body, waiting_for)?,
        Some(length) if length > MAX_BYTES => return Err(Malformed),
        Some(length) => {
            *waiting_for = body + length;
            Some(body + length)
        }
        None if status == 204 || status == 304 => Some(body),
        None => return Err(Malformed),
    };
    Ok(end.filter(|end| *end <= bytes.len()).map(|length| Response { status, body, length, keep }))
}

/// Where chunks that start at `first` end, trailers not allowed; `None` while they are not complete.
fn chunks_end(bytes: &[u8], first: usize, waiting_for: &mut usize) -> Result<Option<usize>, Malformed> {
    let mut at = first.max(*waiting_for);
    loop {
        *waiting_for = at;
        let Some(rest) = bytes.get(at..) else { return Ok(None) };
        let Some(line) = find(rest, b"\r\n") else {
            return if rest.len() > 64 { Err(Malformed) } else { Ok(None) };
        };
        let size = std::str::from_utf8(&rest[..line]).map_err(|_| Malformed)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(""), 16).map_err(|_| Malformed)?;
        if size > MAX_BYTES || at > MAX_BYTES {
            return Err(Malformed);
        }
        at += line + 2 + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> Response {
        // Every cut-off start of it is incomplete, not malformed.
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
        parse(format!("{text}HTTP/1.1 next").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn lengths_and_chunks() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: keep-alive\r\n\r\nhello";
        assert_eq!(complete(sized), Response { status: 200, body: 62, length: 67, keep: true });
        let chunked = "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n";
        let response = complete(chunked);
        assert_eq!((response.status, response.length, response.keep), (503, chunked.len(), false));
        assert_eq!(complete("HTTP/1.1 204 None\r\n\r\n").status, 204);
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for wrong in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(parse(wrong.as_bytes()), Err(Malformed), "{wrong}");
        }
    }
}
