//! Heads, line by line. The empty line that ends one is the caller's.

/// Appends the first line of a response.
pub fn put_status(status: u16, reason: &str, out: &mut Vec<u8>) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the first line of a request. Method and target have been found to be what they may be.
pub fn put_request_line(method: &[u8], target: &[u8], out: &mut Vec<u8>) {
    out.reserve(method.len() + target.len() + 12);
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a field. Name and value have been found to be what they may be: the types of `http` see to that.
pub fn put_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `content-length`.
pub fn put_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    put_number(length, out);
    out.extend_from_slice(b"\r\n");
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    let mut text = [0; 20];
    let mut at = text.len();
    let mut left = number;
    loop {
        at -= 1;
        text[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head() {
        let mut out = Vec::new();
        put_request_line(b"GET", b"/a?b", &mut out);
        put_status(200, "OK", &mut out);
        put_status(404, "Not Found", &mut out);
        put_status(299, "", &mut out);
        put_field(b"a", b"b", &mut out);
        for length in [0, 10, u64::MAX] {
            put_length(length, &mut out);
        }
        let text = "GET /a?b HTTP/1.1\r\nHTTP/1.1 200 OK\r\nHTTP/1.1 404 Not Found\r\nHTTP/1.1 299 \r\na: b\r\ncontent-length: 0\r\n\
                    content-length: 10\r\ncontent-length: 18446744073709551615\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
