//! The static table and a dynamic one (RFC 7541, section 2.3 and appendix A).

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// What an entry takes beyond its name and value, bytes (RFC 7541, section 4.1).
pub(crate) const OVERHEAD: usize = 32;

/// The name of a field as HTTP/2 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441)
    Protocol,
    /// `:status`
    Status,
    /// Any that HTTP allows.
    Field(HeaderName),
    /// None that HTTP/2 allows: another pseudo-header, capitals, no token.
    Bad,
}

impl Name {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match bytes {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":status" => Self::Status,
            _ => HeaderName::from_lowercase(bytes).map_or(Self::Bad, Self::Field),
        }
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a pseudo-header; not checked.
    Raw(Bytes),
    /// Of any other field.
    Header(HeaderValue),
    /// It has bytes that none may have, or a blank at an end (RFC 9113, section 8.2.1).
    Bad,
}

impl Value {
    pub(crate) fn of(name: &Name, bytes: &[u8]) -> Self {
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        match name {
            _ if is_blank(bytes.first()) || is_blank(bytes.last()) => Self::Bad,
            Name::Field(_) => HeaderValue::from_bytes(bytes).map_or(Self::Bad, Self::Header),
            Name::Bad => Self::Bad,
            _ => Self::Raw(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// A field, as it is in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: Value,
    /// Bytes of name and value, and 32.
    pub size: usize,
    /// Bytes of the name.
    pub(crate) name_len: usize,
}

impl Entry {
    pub(crate) fn new(name: Name, name_len: usize, value: &[u8]) -> Self {
        Self { value: Value::of(&name, value), name, size: name_len + value.len() + OVERHEAD, name_len }
    }
}

/// Names and values of the static table, from index 1 on.
pub(crate) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The static table, ready to be handed out.
pub(crate) static STATIC_ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    STATIC
        .iter()
        .map(|(name, value)| Entry::new(Name::of(name.as_bytes()), name.len(), value.as_bytes()))
        .collect()
});

/// A dynamic table: the newest entry has the lowest index.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: VecDeque<(T, usize)>,
    size: usize,
    capacity: usize,
}

impl<T> Table<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// By its place, from the newest on.
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place).map(|(entry, _)| entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(entry, _)| entry)
    }

    /// Puts an entry in front. One that is larger than the table empties it and stays out.
    pub(crate) fn insert(&mut self, entry: T, size: usize) {
        if size > self.capacity {
            self.entries.clear();
            self.size = 0;
            return;
        }
        self.evict(self.capacity - size);
        self.size += size;
        self.entries.push_front((entry, size));
    }

    pub(crate) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.evict(capacity);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Lets the oldest go until the rest takes no more than `most`.
    fn evict(&mut self, most: usize) {
        while self.size > most {
            let Some((_, size)) = self.entries.pop_back() else { break };
            self.size -= size;
        }
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut table = Table::new(100);
        for n in 0..3 {
            table.insert(n, 40);
        }
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), [2, 1]);
        assert_eq!((table.size(), table.get(1), table.get(2)), (80, Some(&1), None));
        table.resize(40);
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), [2]);
        table.insert(9, 41);
        assert_eq!((table.size(), table.get(0)), (0, None), "too large, and all others go");
    }

    #[test]
    fn names_that_http2_forbids_are_bad() {
        for name in ["", "A", ":foo", "a b", "a\0", "ü"] {
            assert_eq!(Name::of(name.as_bytes()), Name::Bad, "{name:?}");
        }
        assert_eq!(STATIC_ENTRIES[4].name, Name::Path);
        assert_eq!(STATIC_ENTRIES[15].value, Value::Header(HeaderValue::from_static("gzip, deflate")));
        for value in ["a\rb", "a\nb", "a\0b", " a", "a\t"] {
            assert_eq!(Value::of(&Name::of(b"a"), value.as_bytes()), Value::Bad, "{value:?}");
        }
    }
}
