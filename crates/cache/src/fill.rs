//! A body that several read while it arrives.
//!
//! One writes, as the origin sends. Readers begin at the front whenever they come, while everything is kept to be stored. Once it turns
//! out too large for that, nobody new may begin, and the writer waits for the slowest reader.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

/// How far the writer of a body that is not kept may be ahead of its slowest reader, bytes.
const WINDOW: usize = 512 * 1024;

/// A body on its way.
#[derive(Debug, Default)]
pub struct Fill(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<Bytes>,
    /// Of parts that were let go.
    gone: usize,
    bytes: usize,
    /// Not all of it is kept any more.
    passing: bool,
    end: Option<Result<(), &'static str>>,
    /// What each reader reads next, `None` for those that left.
    readers: Vec<Option<usize>>,
    waiting: Vec<Waker>,
    writer: Option<Waker>,
}

impl State {
    fn wake(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    /// Lets go of what all have read.
    fn trim(&mut self) {
        if !self.passing {
            return;
        }
        let slowest = self.readers.iter().flatten().min().copied().unwrap_or(usize::MAX);
        while self.gone < slowest
            && let Some(part) = self.parts.pop_front()
        {
            self.gone += 1;
            self.bytes -= part.len();
        }
    }
}

impl Fill {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A reader, from the front on; nothing where the front was let go.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.0.lock();
        if state.passing {
            return None;
        }
        let id = match state.readers.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                state.readers.push(None);
                state.readers.len() - 1
            }
        };
        state.readers[id] = Some(0);
        Some(Reader { fill: self.clone(), id })
    }

    /// Adds a part.
    pub fn push(&self, part: Bytes) {
        let woken = {
            let mut state = self.0.lock();
            state.bytes += part.len();
            state.parts.push_back(part);
            state.trim();
            state.wake()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// It will not be stored.
    pub fn stop_keeping(&self) {
        let mut state = self.0.lock();
        state.passing = true;
        state.trim();
    }

    /// Ready when there is room for more, false when nobody reads it any more. Only for bodies that are not kept.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock();
        if state.readers.iter().all(Option::is_none) {
            return Poll::Ready(false);
        }
        if state.bytes < WINDOW {
            return Poll::Ready(true);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// It is whole, or broke off.
    pub fn end(&self, end: Result<(), &'static str>) {
        let woken = {
            let mut state = self.0.lock();
            state.end.get_or_insert(end);
            state.wake()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Everything that arrived, while all of it is kept.
    pub fn parts(&self) -> Vec<Bytes> {
        self.0.lock().parts.iter().cloned().collect()
    }
}

/// Reads a body that arrives.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    id: usize,
}

impl Reader {
    /// The next part; the error is a stable code.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, &'static str>>> {
        let (part, writer) = {
            let mut guard = self.fill.0.lock();
            let state = &mut *guard;
            let next = state.readers[self.id].unwrap_or(0);
            let Some(part) = state.parts.get(next - state.gone).cloned() else {
                return match state.end {
                    Some(Ok(())) => Poll::Ready(None),
                    Some(Err(code)) => Poll::Ready(Some(Err(code))),
                    None => {
                        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                            state.waiting.push(cx.waker().clone());
                        }
                        Poll::Pending
                    }
                };
            };
            state.readers[self.id] = Some(next + 1);
            state.trim();
            (part, state.writer.take())
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Some(Ok(part)))
    }

    /// Whether it ended and everything was read.
    pub fn is_over(&self) -> bool {
        let state = self.fill.0.lock();
        let next = state.readers[self.id].unwrap_or(0);
        state.end == Some(Ok(())) && next - state.gone >= state.parts.len()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let writer = {
            let mut state = self.fill.0.lock();
            state.readers[self.id] = None;
            state.trim();
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    struct Quiet;
    impl Wake for Quiet {
        fn wake(self: Arc<Self>) {}
    }

    fn next(reader: &mut Reader) -> Poll<Option<Result<Bytes, &'static str>>> {
        let waker = Arc::new(Quiet).into();
        reader.poll_next(&mut Context::from_waker(&waker))
    }

    fn room(fill: &Fill) -> Poll<bool> {
        let waker = Arc::new(Quiet).into();
        fill.poll_room(&mut Context::from_waker(&waker))
    }

    #[test]
    fn who_comes_late_reads_all() {
        let fill = Fill::new();
        let mut early = fill.reader().unwrap();
        assert!(next(&mut early).is_pending());
        fill.push("ab".into());
        assert_eq!(next(&mut early), Poll::Ready(Some(Ok("ab".into()))));
        let mut late = fill.reader().unwrap();
        drop(early);
        fill.push("c".into());
        fill.end(Ok(()));
        assert_eq!(next(&mut late), Poll::Ready(Some(Ok("ab".into()))));
        assert!(!late.is_over());
        assert_eq!(next(&mut late), Poll::Ready(Some(Ok("c".into()))));
        assert!(late.is_over());
        assert_eq!(next(&mut late), Poll::Ready(None));
        assert_eq!(fill.parts().len(), 2);
    }

    #[test]
    fn what_is_not_kept_waits_for_its_readers() {
        let fill = Fill::new();
        let mut reader = fill.reader().unwrap();
        fill.push(vec![0; WINDOW].into());
        fill.stop_keeping();
        assert!(fill.reader().is_none());
        assert!(room(&fill).is_pending());
        assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(_)))));
        assert_eq!(room(&fill), Poll::Ready(true));
        fill.push("x".into());
        fill.end(Err("broken"));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok("x".into()))));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err("broken"))));
        drop(reader);
        assert_eq!(room(&fill), Poll::Ready(false));
    }
}
