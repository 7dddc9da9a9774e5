//! `multipart/form-data` (RFC 7578) as the upload of a worker needs it.

/// A form that is being filled in. It is kept in memory: an artifact is small.
#[derive(Debug)]
pub(crate) struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// An empty form. `boundary` must not occur in any part; a version 4 UUID is unique enough.
    pub(crate) fn new(boundary: String) -> Self {
        Self { boundary, body: Vec::new() }
    }

    /// Adds a part. A file name is given too, since servers take parts without one for plain fields.
    pub(crate) fn part(&mut self, name: &str, content_type: &str, content: &[u8]) {
        // Percent-encoded as browsers do (HTML, "multipart/form-data encoding algorithm").
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             content-type: {content_type}\r\n\r\n",
            self.boundary
        );
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(b"\r\n");
    }

    /// The `Content-Type` and the bytes.
    pub(crate) fn finish(mut self) -> (String, Vec<u8>) {
        self.body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed() {
        let mut form = Form::new("b".into());
        form.part("a\".js", "text/plain", b"x\r\ny");
        let (kind, body) = form.finish();
        assert_eq!(kind, "multipart/form-data; boundary=b");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "--b\r\ncontent-disposition: form-data; name=\"a%22.js\"; filename=\"a%22.js\"\r\n\
             content-type: text/plain\r\n\r\nx\r\ny\r\n--b--\r\n"
        );
    }
}
