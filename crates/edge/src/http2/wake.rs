//! Which streams of a connection have something to do. All are polled by the connection's task, each only when woken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Streams that were woken, and the connection's task while it sleeps.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Woken>);

#[derive(Debug, Default)]
struct Woken {
    slots: Vec<usize>,
    task: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the streams that were woken to `slots`, which is empty.
    pub(super) fn take(&self, slots: &mut Vec<usize>) {
        std::mem::swap(&mut self.lock().slots, slots);
    }

    /// The task is about to sleep: true unless there is something to do before that.
    pub(super) fn sleep(&self, cx: &Context<'_>) -> bool {
        let mut woken = self.lock();
        if !woken.slots.is_empty() {
            return false;
        }
        woken.task = Some(cx.waker().clone());
        true
    }

    /// Has the connection's task look at its streams, if it sleeps.
    pub(super) fn wake(&self) {
        let task = self.lock().task.take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Wakes one stream.
#[derive(Debug)]
pub(super) struct SlotWaker {
    queue: Arc<Queue>,
    slot: usize,
    /// It is in the queue.
    woken: AtomicBool,
}

impl SlotWaker {
    pub(super) fn new(queue: Arc<Queue>, slot: usize) -> Arc<Self> {
        Arc::new(Self { queue, slot, woken: AtomicBool::new(false) })
    }

    /// The stream is being looked at: from now on it can be woken again.
    pub(super) fn seen(&self) {
        self.woken.store(false, Ordering::Release);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut woken = self.queue.lock();
            woken.slots.push(self.slot);
            woken.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
