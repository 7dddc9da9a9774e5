//! Maps by stream or instance number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Numbers that this side gave out itself are sequential: one multiplication spreads them well enough.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map by number. Not for keys that a peer chooses freely and in quantity.
pub type IdMap<V> = HashMap<u32, V, BuildHasherDefault<IdHasher>>;
