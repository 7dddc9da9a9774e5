//! Memory that all connections of a thread share, one after the other.

use std::cell::RefCell;
use std::time::Duration;

use http::HeaderValue;
use selvedge_http1::{DateCache, Field};

/// What is read at once, bytes.
pub(crate) const READ: usize = 64 * 1024;
/// Written buffers that are kept.
const SPARE_MAX: usize = 16;
/// Largest buffer that is kept, bytes.
const SPARE_BYTES: usize = 64 * 1024;

/// Buffers of one thread.
pub(crate) struct Scratch {
    /// What the read under way reads into.
    pub(crate) room: RefCell<Box<[u8]>>,
    /// The fields of the head being parsed.
    pub(crate) fields: RefCell<Vec<Field>>,
    date: RefCell<DateCache>,
    /// The date as HTTP/2 takes it, and the second that it tells.
    date_value: RefCell<(u64, HeaderValue)>,
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            room: RefCell::new(vec![0; READ].into()),
            fields: RefCell::default(),
            date: RefCell::default(),
            date_value: RefCell::new((u64::MAX, HeaderValue::from_static(""))),
            spare: RefCell::default(),
        }
    }

    /// Appends the `date` field.
    pub(crate) fn put_date(&self, since_epoch: Duration, out: &mut Vec<u8>) {
        selvedge_http1::put_field(b"date", self.date.borrow_mut().text(since_epoch).as_bytes(), out);
    }

    /// The value of the `date` field.
    pub(crate) fn date(&self, since_epoch: Duration) -> HeaderValue {
        let mut cached = self.date_value.borrow_mut();
        if cached.0 != since_epoch.as_secs()
            && let Ok(value) = HeaderValue::from_str(self.date.borrow_mut().text(since_epoch))
        {
            *cached = (since_epoch.as_secs(), value);
        }
        cached.1.clone()
    }

    /// An empty buffer for a response.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a buffer back.
    pub(crate) fn keep(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            spare.push(buffer);
        }
    }
}
