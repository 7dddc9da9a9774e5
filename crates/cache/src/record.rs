//! The head of a stored response as bytes, for what outlives this process. Who reads them does not trust them: a disk may have turned
//! some over, another server may be of another version.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::object::Object;
use crate::policy::Freshness;
use crate::variant::Variant;

/// The first byte; another one means another layout.
const VERSION: u8 = 1;
/// Fields of one head at most.
const FIELDS_MAX: usize = 512;

/// What of a stored response is not its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Scheme, host, path and query.
    pub address: Arc<str>,
    /// Status.
    pub status: StatusCode,
    /// Fields.
    pub headers: HeaderMap,
    /// How fresh it is.
    pub freshness: Freshness,
    /// Which requests it is for.
    pub variant: Variant,
}

impl Head {
    /// The response with its body.
    pub fn object(self, body: crate::object::Stock) -> Object {
        Object::new(self.address, self.status, self.headers, body, self.freshness, self.variant)
    }
}

/// The head of a response.
pub fn write(object: &Object) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, object.address.as_bytes());
    out.extend_from_slice(&object.status.as_u16().to_le_bytes());
    let Freshness { arrived, initial_age, lifetime, while_revalidate, if_error, no_cache, strict, learned } =
        object.freshness;
    for number in [arrived, initial_age, lifetime, while_revalidate, if_error] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend([no_cache, strict, learned].map(u8::from));
    put(&mut out, &write_variant(&object.variant));
    out.extend_from_slice(&(object.headers.len() as u32).to_le_bytes());
    for (name, value) in &object.headers {
        put(&mut out, name.as_str().as_bytes());
        put(&mut out, value.as_bytes());
    }
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// What was written; nothing where a byte of it is another one.
pub fn read(bytes: &[u8]) -> Option<Head> {
    let (rest, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut from = Reader(rest);
    if from.byte()? != VERSION {
        return None;
    }
    let address = std::str::from_utf8(from.bytes()?).ok()?.into();
    let status = StatusCode::from_u16(u16::from_le_bytes(from.array()?)).ok()?;
    let mut number = || from.array().map(u64::from_le_bytes);
    let mut freshness = Freshness {
        arrived: number()?,
        initial_age: number()?,
        lifetime: number()?,
        while_revalidate: number()?,
        if_error: number()?,
        ..Freshness::default()
    };
    freshness.no_cache = from.byte()? == 1;
    freshness.strict = from.byte()? == 1;
    freshness.learned = from.byte()? == 1;
    let variant = read_variant(from.bytes()?)?;
    let count = u32::from_le_bytes(from.array()?) as usize;
    if count > FIELDS_MAX {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(count);
    for _ in 0..count {
        let name = HeaderName::from_bytes(from.bytes()?).ok()?;
        headers.append(name, HeaderValue::from_bytes(from.bytes()?).ok()?);
    }
    from.0.is_empty().then_some(Head { address, status, headers, freshness, variant })
}

/// Which requests a response is for, the same bytes for the same.
pub fn write_variant(variant: &Variant) -> Vec<u8> {
    let mut out = variant.scope.to_le_bytes().to_vec();
    let mut pairs = |pairs: Vec<(&[u8], Option<&[u8]>)>| {
        out.push(pairs.len().min(255) as u8);
        for (name, value) in pairs {
            put(&mut out, name);
            out.push(u8::from(value.is_some()));
            put(&mut out, value.unwrap_or_default());
        }
    };
    pairs(variant.fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_deref())).collect());
    pairs(variant.cookies.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect());
    out
}

/// What [`write_variant`] wrote.
pub fn read_variant(bytes: &[u8]) -> Option<Variant> {
    let mut from = Reader(bytes);
    let mut variant = Variant { scope: u64::from_le_bytes(from.array()?), ..Variant::default() };
    for _ in 0..from.byte()? {
        let name = HeaderName::from_bytes(from.bytes()?).ok()?;
        variant.fields.push((name, from.optional()?));
    }
    for _ in 0..from.byte()? {
        let name = String::from_utf8(from.bytes()?.to_vec()).ok()?;
        variant.cookies.push((name, from.optional()?));
    }
    from.0.is_empty().then_some(variant)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = u32::from_le_bytes(self.array()?);
        self.take(count as usize)
    }

    fn optional(&mut self) -> Option<Option<Vec<u8>>> {
        let there = self.byte()? == 1;
        let bytes = self.bytes()?.to_vec();
        Some(there.then_some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Stock;
    use crate::policy::Policy;
    use crate::settings::CacheConfig;
    use proptest::prelude::*;

    fn object(value: &[u8], learned: bool, age: u64) -> Object {
        let config = CacheConfig { key_cookies: vec!["a".into()], ..CacheConfig::default() };
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_bytes(value).unwrap());
        headers.append("x", HeaderValue::from_static("again"));
        headers.append("vary", HeaderValue::from_static("x-kind, y"));
        let request = HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::from_static("a=1"))]);
        let variant = Variant::of(age, &request, &headers, &Policy::new(&config).unwrap()).unwrap();
        let freshness = Freshness { arrived: 3, initial_age: age, learned, ..Freshness::default() };
        Object::new("http://a/".into(), StatusCode::NOT_FOUND, headers, Stock::default(), freshness, variant)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "[ -~]{0,40}", learned: bool, age: u64) {
            let object = object(value.as_bytes(), learned, age);
            let head = read(&write(&object)).unwrap();
            prop_assert_eq!(&head.headers, &object.headers);
            prop_assert_eq!((&head.variant, &head.freshness), (&object.variant, &object.freshness));
            prop_assert_eq!((head.status, &head.address), (object.status, &object.address));
        }

        #[test]
        fn what_was_damaged_is_not_read(at in any::<prop::sample::Index>(), bit in 0..8u8, cut: bool) {
            let mut bytes = write(&object(b"value", true, 7));
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            prop_assert!(read(&bytes).is_none());
        }

        #[test]
        fn nothing_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read_variant(&bytes);
            let sum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            read(&bytes);
        }
    }
}
