//! The streams of a connection on the server's side: a request being answered, or a response's body being sent.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Method, Request, Response, StatusCode};
use selvedge_http2::StreamRef;

use super::response::Outgoing;
use super::shared::Shared;
use super::wake::SlotWaker;
use crate::body::{EdgeBody, RequestBody};
use crate::connection::Connection;
use crate::thread::Thread;

/// Room for the futures of requests that stays while no stream is open.
const KEPT: usize = 1;

/// All streams, by their slots.
pub(super) struct Slots<F, A> {
    slots: Vec<Slot<F>>,
    answer: A,
    /// Of `slots` that have a stream.
    busy: usize,
    /// Slots whose turn it is.
    woken: Vec<usize>,
    /// Slots that were begun since the last turn.
    begun: Vec<usize>,
    /// Streams that took all of a body that they were given.
    pub(super) hungry: Vec<StreamRef>,
}

/// Room for one stream after the other.
pub(super) struct Slot<F> {
    stream: Option<StreamRef>,
    /// The request is HEAD.
    head: bool,
    /// The request being answered. Its room is used again by the next.
    answering: Option<Pin<Box<Option<F>>>>,
    is_answering: bool,
    /// The response being sent.
    outgoing: Option<Outgoing>,
    wakes: Arc<SlotWaker>,
    waker: Waker,
}

impl<F, A> Slots<F, A>
where
    F: Future<Output = Response<EdgeBody>>,
    A: Fn(Rc<Thread>, Rc<Connection>, Box<Request<RequestBody>>) -> F,
{
    pub(super) fn new(answer: A) -> Self {
        Self { slots: Vec::new(), answer, busy: 0, woken: Vec::new(), begun: Vec::new(), hungry: Vec::new() }
    }

    /// The slot of a new stream.
    fn open(&mut self, shared: &Shared, stream: StreamRef) -> &mut Slot<F> {
        while self.slots.len() <= stream.slot() {
            let wakes = SlotWaker::new(shared.queue.clone(), self.slots.len());
            self.slots.push(Slot {
                stream: None,
                head: false,
                answering: None,
                is_answering: false,
                outgoing: None,
                waker: Waker::from(wakes.clone()),
                wakes,
            });
        }
        let slot = &mut self.slots[stream.slot()];
        slot.clear();
        slot.stream = Some(stream);
        self.busy += 1;
        self.begun.push(stream.slot());
        slot
    }

    /// Has a request answered, from the next turn on.
    pub(super) fn begin(&mut self, shared: &Shared, stream: StreamRef, request: Box<Request<RequestBody>>) {
        let head = *request.method() == Method::HEAD;
        let future = (self.answer)(shared.thread.clone(), shared.state.clone(), request);
        let slot = self.open(shared, stream);
        slot.head = head;
        slot.is_answering = true;
        match &mut slot.answering {
            Some(room) => room.set(Some(future)),
            None => slot.answering = Some(Box::pin(Some(future))),
        }
    }

    /// Sends a response.
    pub(super) fn answer(&mut self, shared: &Shared, stream: StreamRef, response: Response<EdgeBody>) {
        let slot = self.open(shared, stream);
        slot.head = false;
        slot.outgoing = Outgoing::begin(shared, stream, response, false);
    }

    /// Polls all streams that were woken or want more of their bodies. True when there were any.
    pub(super) fn run(&mut self, shared: &Shared) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        woken.clear();
        shared.queue.take(&mut woken);
        woken.append(&mut self.begun);
        woken.extend(self.hungry.drain(..).map(StreamRef::slot));
        for key in &woken {
            let Some(slot) = self.slots.get_mut(*key) else { continue };
            slot.wakes.seen();
            if slot.stream.is_some() && slot.poll(shared) == Poll::Ready(()) {
                slot.clear();
                self.busy -= 1;
            }
        }
        let any = !woken.is_empty();
        self.woken = woken;
        any
    }

    /// A stream is over.
    pub(super) fn drop_stream(&mut self, stream: StreamRef) {
        if let Some(slot) = self.slots.get_mut(stream.slot()).filter(|slot| slot.stream == Some(stream)) {
            slot.clear();
            self.busy -= 1;
        }
    }

    /// All streams are over.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.busy = 0;
        self.begun.clear();
        self.hungry.clear();
    }

    pub(super) fn are_idle(&self) -> bool {
        self.busy == 0
    }

    /// Some are to be polled without being woken.
    pub(super) fn are_hungry(&self) -> bool {
        !self.hungry.is_empty() || !self.begun.is_empty()
    }

    /// No stream is open: memory goes back.
    pub(super) fn rest(&mut self) {
        self.slots.truncate(KEPT);
        for list in [&mut self.woken, &mut self.begun] {
            list.clear();
            list.shrink_to(KEPT);
        }
        self.slots.shrink_to(KEPT);
        self.hungry.shrink_to(KEPT);
    }
}

impl<F: Future<Output = Response<EdgeBody>>> Slot<F> {
    fn clear(&mut self) {
        self.stream = None;
        if std::mem::take(&mut self.is_answering)
            && let Some(room) = &mut self.answering
        {
            room.set(None);
        }
        self.outgoing = None;
    }

    /// Ready when there is nothing more to do for the stream.
    fn poll(&mut self, shared: &Shared) -> Poll<()> {
        let Some(stream) = self.stream else { return Poll::Ready(()) };
        let mut cx = Context::from_waker(&self.waker);
        if self.is_answering {
            let Some(mut room) = self.answering.as_mut().map(Pin::as_mut) else { return Poll::Ready(()) };
            let Some(future) = room.as_mut().as_pin_mut() else { return Poll::Ready(()) };
            shared.state.polls_stalled(shared.is_stalled(stream));
            let polled = future.poll(&mut cx);
            shared.state.polls_stalled(false);
            if !shared.state.hints.is_empty() {
                for fields in shared.state.hints.take() {
                    shared.http.borrow_mut().inform(stream, StatusCode::EARLY_HINTS, &fields);
                }
            }
            let Poll::Ready(response) = polled else { return Poll::Pending };
            room.set(None);
            self.is_answering = false;
            self.outgoing = Outgoing::begin(shared, stream, response, self.head);
        }
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll(shared, stream, &mut cx),
            None => Poll::Ready(()),
        }
    }
}
