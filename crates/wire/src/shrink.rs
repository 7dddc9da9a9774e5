//! When a connection's output buffer gives memory back.

/// A buffer that holds more than this is worth shrinking, bytes.
const LARGE: usize = 1 << 20;
/// What it keeps, bytes.
const KEPT: usize = 64 << 10;
/// Batches in a row that needed little of a large buffer, before it shrinks: to grow it again costs more than all the
/// copying.
const CALM: u32 = 256;

/// Watches how much of a buffer is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shrink {
    calm: u32,
}

impl Shrink {
    /// Empties a buffer whose `used` bytes were written out.
    pub fn emptied(&mut self, buffer: &mut Vec<u8>, used: usize) {
        buffer.clear();
        let large = buffer.capacity() > LARGE;
        self.calm = if large && used < buffer.capacity() / 8 { self.calm + 1 } else { 0 };
        if self.calm > CALM {
            buffer.shrink_to(KEPT);
            self.calm = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_shrinks_once_it_is_hardly_used() {
        let mut shrink = Shrink::default();
        let mut buffer = Vec::with_capacity(2 << 20);
        for _ in 0..CALM {
            shrink.emptied(&mut buffer, 10);
        }
        shrink.emptied(&mut buffer, 1 << 20);
        for _ in 0..CALM {
            shrink.emptied(&mut buffer, 10);
        }
        assert!(buffer.capacity() >= 2 << 20);
        shrink.emptied(&mut buffer, 10);
        assert!(buffer.capacity() < LARGE);
    }
}
