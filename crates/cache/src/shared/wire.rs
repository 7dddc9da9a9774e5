//! Stored responses and purges as they are in Redis.

use std::fmt::Write;

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::object::{Object, Stock};
use crate::record;
use crate::store::Purge;
use crate::variant::Variant;

/// A response as it is written; `generation` is the last purge that was known when it was asked for.
pub(super) fn write(object: &Object, generation: u64) -> Vec<u8> {
    let head = record::write(object);
    let mut out = Vec::with_capacity(head.len() + object.body.len() as usize + 16);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    out.extend_from_slice(&head);
    let mut sum = crc32fast::Hasher::new();
    object.body.parts().iter().for_each(|part| sum.update(part));
    out.extend_from_slice(&sum.finalize().to_le_bytes());
    object.body.parts().iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// What was written, and its generation; nothing where it is not that.
pub(super) fn read(bytes: Vec<u8>) -> Option<(u64, Object)> {
    let bytes = Bytes::from(bytes);
    let (generation, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (sum, body) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let head = record::read(head)?;
    let body = Stock::new(vec![bytes.slice_ref(body)]);
    Some((u64::from_le_bytes(*generation), head.object(body)))
}

/// Names of keys: digests, since addresses may hold secrets and be long.
pub(super) struct Names<'a>(pub(super) &'a str);

impl Names<'_> {
    fn name(&self, kind: &str, parts: &[&[u8]]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut name = format!("{}{kind}:", self.0);
        for byte in &context.finish().as_ref()[..16] {
            // Writing to a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// Which responses there are of an address.
    pub(super) fn address(&self, address: &str) -> String {
        self.name("address", &[address.as_bytes()])
    }

    /// A response.
    pub(super) fn object(&self, address: &str, variant: &[u8]) -> String {
        self.name("object", &[address.as_bytes(), variant])
    }

    /// The response for all requests, where there is one.
    pub(super) fn plain(&self, address: &str, scope: u64) -> String {
        self.object(address, &record::write_variant(&Variant::all(scope)))
    }

    /// How many purges there were.
    pub(super) fn generation(&self) -> String {
        format!("{}generation", self.0)
    }

    /// The last of them.
    pub(super) fn purges(&self) -> String {
        format!("{}purges", self.0)
    }
}

/// A purge as servers tell each other.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Note {
    /// Which responses; nothing where all in Redis are meant, and no others.
    pub(super) purge: Option<Purge>,
    /// They stay, to be asked about.
    pub(super) soft: bool,
    /// The server that purged.
    pub(super) from: u64,
}

impl Note {
    /// Whether a response is meant.
    pub(super) fn means(&self, object: &Object) -> bool {
        match &self.purge {
            None | Some(Purge::All) => true,
            Some(Purge::Address(address)) => *object.address == **address,
            Some(Purge::Prefix(prefix)) => object.address.starts_with(&**prefix),
            Some(Purge::Tag(tag)) => object.tags.iter().any(|own| **own == **tag),
        }
    }
}
