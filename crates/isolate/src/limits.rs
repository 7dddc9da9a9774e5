//! Limits that are enforced inside V8; the supervisor stands behind each of them.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::state::State;

/// Exit status that tells the engine: the running instance wanted more memory than it may have, and did not stop.
pub const EXIT_OUT_OF_MEMORY: i32 = 86;

/// CPU time that a worker has saved up, in nanoseconds. Each request adds its share, each turn takes what it used.
#[derive(Debug)]
pub struct CpuAccount {
    credit_ns: Cell<i64>,
    per_request_ns: i64,
    burst_ns: i64,
}

impl CpuAccount {
    pub fn new(per_request_ms: u32, burst_ms: u32) -> Self {
        let per_request_ns = i64::from(per_request_ms.max(1)) * 1_000_000;
        let burst_ns = (i64::from(burst_ms) * 1_000_000).max(per_request_ns);
        Self { credit_ns: Cell::new(burst_ns), per_request_ns, burst_ns }
    }

    /// A request came: it may use its own share whatever was used before, and what was saved.
    pub fn request(&self) {
        let saved = self.credit_ns.get().max(0);
        self.credit_ns.set((saved + self.per_request_ns).min(self.burst_ns));
    }

    /// A turn used this much.
    pub fn charge(&self, ns: u64) {
        self.credit_ns.set(self.credit_ns.get().saturating_sub(ns as i64));
    }

    /// The most that one request may use, nanoseconds.
    pub fn burst_ns(&self) -> u64 {
        self.burst_ns as u64
    }

    /// What each request adds, nanoseconds.
    pub fn share_ns(&self) -> u64 {
        self.per_request_ns as u64
    }

    /// Whether work between requests has used more than may be lent to it.
    pub fn is_overdrawn(&self) -> bool {
        self.credit_ns.get() < -self.burst_ns
    }

    /// What a turn that begins now may use.
    pub fn budget_ns(&self) -> u64 {
        // Work between requests, such as a timer, may use one share on credit.
        (self.credit_ns.get() + self.per_request_ns).clamp(self.per_request_ns, self.burst_ns) as u64
    }
}

/// Bytes in array buffers of one isolate.
#[derive(Debug)]
pub struct Buffers {
    used: AtomicUsize,
    limit: usize,
    refused: AtomicUsize,
}

impl Buffers {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, refused: AtomicUsize::new(0) })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether it is worth asking V8 how large the heap is.
    pub fn half_used(&self) -> bool {
        self.used() > self.limit / 2
    }

    /// Whether so many bytes more would be refused; if so, takes note of it.
    pub fn would_refuse(&self, len: usize) -> bool {
        let refuse = self.used().saturating_add(len) > self.limit;
        if refuse {
            self.refused.store(1, Ordering::Relaxed);
        }
        refuse
    }

    /// Whether an allocation was refused since the last call.
    pub fn take_refused(&self) -> bool {
        self.refused.swap(0, Ordering::Relaxed) != 0
    }

    /// An allocator for V8 that counts here.
    pub fn allocator(self: &Arc<Self>) -> v8::UniqueRef<v8::Allocator> {
        static VTABLE: v8::RustAllocatorVtable<Buffers> =
            v8::RustAllocatorVtable { allocate, allocate_uninitialized, free, drop };
        // SAFETY: the handle is an `Arc` turned raw, which the vtable's `drop` turns back.
        unsafe { v8::new_rust_allocator(Arc::into_raw(self.clone()), &VTABLE) }
    }

    /// Counts memory that the host holds on the worker's behalf, until the charge is dropped; `None` when the limit
    /// forbids it.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.reserve(bytes).then(|| Charge { buffers: self.clone(), bytes })
    }

    fn reserve(&self, len: usize) -> bool {
        let reserved = self.try_reserve(len);
        if !reserved {
            self.refused.store(1, Ordering::Relaxed);
        }
        reserved
    }

    fn try_reserve(&self, len: usize) -> bool {
        let before = self.used.fetch_add(len, Ordering::Relaxed);
        if before.saturating_add(len) <= self.limit {
            return true;
        }
        self.used.fetch_sub(len, Ordering::Relaxed);
        false
    }
}

/// See [`Buffers::charge`].
#[derive(Debug)]
pub struct Charge {
    buffers: Arc<Buffers>,
    bytes: usize,
}

impl Charge {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes another charge of the same worker in.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Counts `much` more bytes if the limit allows it, else `enough`; false when it forbids even that.
    pub fn grow(&mut self, much: usize, enough: usize) -> bool {
        let bytes = if self.buffers.try_reserve(much) { much } else { enough };
        let grown = bytes == much || self.buffers.reserve(enough);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Ends the charge before its time; returns how many bytes it was.
    pub fn release(&mut self) -> usize {
        let bytes = std::mem::take(&mut self.bytes);
        self.buffers.used.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release();
    }
}

unsafe extern "C" fn allocate(buffers: &Buffers, len: usize) -> *mut c_void {
    if !buffers.reserve(len) {
        return std::ptr::null_mut();
    }
    // SAFETY: `calloc` takes any size; V8 gives the pointer back to `free` below.
    unsafe { libc::calloc(len.max(1), 1) }
}

unsafe extern "C" fn allocate_uninitialized(buffers: &Buffers, len: usize) -> *mut c_void {
    // Cleared all the same: memory of another tenant must never show through.
    // SAFETY: same contract.
    unsafe { allocate(buffers, len) }
}

unsafe extern "C" fn free(buffers: &Buffers, data: *mut c_void, len: usize) {
    buffers.used.fetch_sub(len, Ordering::Relaxed);
    // SAFETY: `data` came from `allocate`.
    unsafe { libc::free(data) }
}

unsafe extern "C" fn drop(buffers: *const Buffers) {
    // SAFETY: the pointer came from `Arc::into_raw` in `allocator`.
    std::mem::drop(unsafe { Arc::from_raw(buffers) });
}

/// V8 calls this when the heap nears its limit. It stops the worker and lends some room for the unwinding; a
/// worker that goes on growing takes its process down, which the engine knows how to read.
pub unsafe extern "C" fn near_heap_limit(data: *mut c_void, current: usize, initial: usize) -> usize {
    // SAFETY: `data` is the instance's state, which outlives the isolate.
    let state = unsafe { &*data.cast::<State>() };
    state.out_of_memory.set(true);
    state.handle.terminate_execution();
    if current > initial.saturating_mul(2).saturating_add(64 << 20) {
        out_of_memory();
    }
    current + current / 4 + (16 << 20)
}

/// V8 has no memory left and cannot go on.
pub unsafe extern "C" fn fatal_out_of_memory(_location: *const std::ffi::c_char, _details: &v8::OomDetails) {
    out_of_memory();
}

fn out_of_memory() -> ! {
    // SAFETY: ends the process without running destructors, which is what is wanted here.
    unsafe { libc::_exit(EXIT_OUT_OF_MEMORY) }
}
