//! Credit-based flow control of one direction of a stream.

use crate::INITIAL_CREDIT;

/// What a sender may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendWindow {
    credit: i64,
}

impl Default for SendWindow {
    fn default() -> Self {
        Self { credit: i64::from(INITIAL_CREDIT) }
    }
}

impl SendWindow {
    /// Bytes that may be sent now.
    pub fn available(&self) -> usize {
        self.credit.max(0) as usize
    }

    /// Takes note of bytes sent.
    pub fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as i64;
    }

    /// Takes note of a `CREDIT` frame.
    pub fn granted(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(i64::from(bytes));
    }
}

/// The peer sent more than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer sent more data than its credit allows")]
pub struct Overrun;

/// What a receiver has allowed, and when to allow more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvWindow {
    allowed: u32,
    consumed: u32,
}

impl Default for RecvWindow {
    fn default() -> Self {
        Self { allowed: INITIAL_CREDIT, consumed: 0 }
    }
}

impl RecvWindow {
    /// Takes note of `DATA` that arrived.
    pub fn received(&mut self, bytes: usize) -> Result<(), Overrun> {
        let bytes = u32::try_from(bytes).map_err(|_| Overrun)?;
        self.allowed = self.allowed.checked_sub(bytes).ok_or(Overrun)?;
        Ok(())
    }

    /// Takes note of bytes that the consumer took; returns the credit to grant now, if it is worth a frame.
    pub fn consumed(&mut self, bytes: usize) -> Option<u32> {
        self.consumed += bytes as u32;
        if self.consumed < INITIAL_CREDIT / 4 {
            return None;
        }
        self.allowed += self.consumed;
        Some(std::mem::take(&mut self.consumed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A sender that respects its window never overruns the receiver, never stalls while the consumer is
        /// awake, and at most one window is buffered.
        #[test]
        fn sender_and_receiver_agree(chunks in proptest::collection::vec((1usize..100_000, any::<bool>()), 1..200)) {
            let (mut send, mut recv) = (SendWindow::default(), RecvWindow::default());
            let mut buffered = 0;
            for (size, consume) in chunks {
                let size = size.min(send.available());
                send.sent(size);
                prop_assert_eq!(recv.received(size), Ok(()));
                buffered += size;
                prop_assert!(buffered <= INITIAL_CREDIT as usize);
                if consume {
                    if let Some(credit) = recv.consumed(std::mem::take(&mut buffered)) {
                        send.granted(credit);
                    }
                    prop_assert!(send.available() > INITIAL_CREDIT as usize / 2);
                }
            }
        }
    }

    #[test]
    fn overrun_is_noticed() {
        let mut recv = RecvWindow::default();
        assert_eq!(recv.received(INITIAL_CREDIT as usize), Ok(()));
        assert_eq!(recv.received(1), Err(Overrun));
        assert_eq!(recv.received(usize::MAX), Err(Overrun));
    }
}
