//! What a thread does with each frame that arrives.

use std::sync::atomic::Ordering;

use selvedge_wire::message::{self, Call, Head, ResetCode};
use selvedge_wire::{Frame, Kind, WireError, frame};

use super::{INSTANCES_MAX, Thread, monotonic_ns};
use crate::connection::Place;
use crate::instance::{Event, Instance, Phase};
use crate::jobs::Jobs;
use crate::relay::Relay;
use crate::shell::heap_limit;
use crate::socket::{Message, Unfit};
use crate::stream::Role;

impl Thread {
    /// Applies one frame of a connection. An error when the engine broke the protocol.
    pub(super) fn dispatch(&mut self, index: usize, frame: &Frame<'_>) -> Result<(), WireError> {
        match frame.kind {
            Kind::Open => self.open(index, frame),
            Kind::Data => self.data(index, frame),
            Kind::Credit => {
                let bytes = message::decode_number(frame.payload)?;
                if let Some(place) = self.place(index, frame.stream) {
                    self.credit(place, bytes);
                }
                Ok(())
            }
            Kind::Head => {
                let head = Head::decode(frame.payload)?;
                if let Some(place) = self.place(index, frame.stream) {
                    self.head(place, head, frame.fin());
                }
                Ok(())
            }
            Kind::Reset => {
                let (code, text) = message::decode_reset(frame.payload)?;
                if let Some(place) = self.place(index, frame.stream) {
                    self.reset(place, code, text);
                }
                Ok(())
            }
            Kind::Unload => {
                let id = message::decode_number(frame.payload)?;
                if let Some(instance) = self.instances.get_mut(&id) {
                    instance.unloading = true;
                    self.unload_if_idle(id);
                }
                Ok(())
            }
            Kind::Hello => message::decode_hello(frame.payload).map(|_| ()),
            Kind::Ping => {
                if let Some(connection) = &self.connections[index] {
                    frame::put(&mut connection.outbox.frames(), Kind::Pong, 0, 0, frame.payload);
                }
                Ok(())
            }
            Kind::Pong => Ok(()),
            Kind::Done | Kind::Log | Kind::Gone => Err(WireError::Payload("engine")),
        }
    }

    fn place(&self, index: usize, stream: u32) -> Option<Place> {
        self.connections[index].as_ref()?.streams.get(&stream).copied()
    }

    fn open(&mut self, index: usize, frame: &Frame<'_>) -> Result<(), WireError> {
        let Some(connection) = self.connections[index].as_mut() else { return Ok(()) };
        let outbox = connection.outbox.clone();
        let refuse = |code, text| message::put_reset(&mut outbox.frames(), frame.stream, code, text);
        match Call::decode(frame.payload)? {
            Call::Load(load) => {
                if self.instances.contains_key(&load.instance) || self.instances.len() >= INSTANCES_MAX {
                    refuse(ResetCode::Protocol, "no room for this instance");
                    return Ok(());
                }
                connection.streams.insert(frame.stream, Place { instance: load.instance, key: 0 });
                let now_ns = monotonic_ns();
                let shell = self.take_shell(heap_limit(load.memory_mb));
                let jobs = Jobs::new(self.setup.pool.clone(), self.setup.back.clone(), load.instance);
                let instance =
                    Instance::new(shell, &self.setup.snapshot, &load, frame.stream, outbox, jobs, now_ns);
                self.handles().insert(load.instance, instance.handle());
                self.instances.insert(load.instance, instance);
                self.active.push(load.instance);
                self.setup.slot.isolates.store(self.instances.len() as u32, Ordering::Relaxed);
            }
            Call::Fetch(fetch) => {
                let Some(instance) =
                    self.instances.get(&fetch.instance).filter(|i| matches!(i.phase, Phase::Ready))
                else {
                    refuse(ResetCode::UnknownInstance, "");
                    return Ok(());
                };
                instance.state().now_ns.set(self.round_ns);
                let Some(key) = instance.open(outbox, frame.stream, fetch.wall_ms, frame.fin()) else {
                    message::put_reset(
                        &mut connection.outbox.frames(),
                        frame.stream,
                        ResetCode::Bystander,
                        "too many streams",
                    );
                    return Ok(());
                };
                if fetch.socket
                    && let Some(stream) = instance.state().streams.borrow_mut().get(key)
                {
                    stream.may_switch = true;
                }
                // What follows a handshake are messages.
                let has_body = !frame.fin() && !fetch.socket;
                self.turn(fetch.instance, &Event::Fetch { key, fetch: &fetch, has_body });
                self.keep(index, frame.stream, Place { instance: fetch.instance, key });
            }
            Call::Invoke(invoke) => {
                let id = invoke.fetch.instance;
                let Some(instance) = self.instances.get(&id).filter(|i| matches!(i.phase, Phase::Ready))
                else {
                    refuse(ResetCode::UnknownInstance, "");
                    return Ok(());
                };
                instance.state().now_ns.set(self.round_ns);
                let Some(key) =
                    instance.open(outbox.clone(), frame.stream, invoke.fetch.wall_ms, frame.fin())
                else {
                    refuse(ResetCode::Bystander, "too many streams");
                    return Ok(());
                };
                if let Some(stream) = instance.state().streams.borrow_mut().get(key) {
                    stream.subrequests = stream.subrequests.min(invoke.subrequests);
                    stream.may_switch = invoke.fetch.socket;
                }
                let has_body = !frame.fin() && !invoke.fetch.socket;
                self.turn(id, &Event::Invoke { key, invoke: &invoke, has_body });
                self.keep(index, frame.stream, Place { instance: id, key });
            }
            Call::Scheduled(scheduled) => {
                let Some(instance) = self.instances.get(&scheduled.instance) else {
                    refuse(ResetCode::UnknownInstance, "");
                    return Ok(());
                };
                instance.state().now_ns.set(self.round_ns);
                let Some(key) = instance.open(outbox, frame.stream, scheduled.wall_ms, true) else {
                    return Ok(());
                };
                self.turn(scheduled.instance, &Event::Scheduled { key, scheduled: &scheduled });
                self.keep(index, frame.stream, Place { instance: scheduled.instance, key });
            }
            Call::Subrequest(_) | Call::WebSocket(_) | Call::Bound(_) | Call::Connect(_) => {
                return Err(WireError::Payload("engine"));
            }
        }
        Ok(())
    }

    /// Remembers a stream that outlives the turn that opened it.
    fn keep(&mut self, index: usize, wire_id: u32, place: Place) {
        let alive = self
            .instances
            .get(&place.instance)
            .is_some_and(|instance| instance.state().streams.borrow_mut().get(place.key).is_some());
        if alive && let Some(connection) = self.connections[index].as_mut() {
            connection.streams.insert(wire_id, place);
        }
    }

    fn data(&mut self, index: usize, frame: &Frame<'_>) -> Result<(), WireError> {
        let Some(place) = self.place(index, frame.stream) else { return Ok(()) };
        let Some(instance) = self.instances.get_mut(&place.instance) else { return Ok(()) };
        if place.key == 0 {
            let Phase::Receiving { received, .. } = &mut instance.phase else { return Ok(()) };
            received.extend_from_slice(frame.payload);
            if !frame.payload.is_empty()
                && let Some(connection) = &self.connections[index]
            {
                message::put_credit(
                    &mut connection.outbox.frames(),
                    frame.stream,
                    frame.payload.len() as u32,
                );
            }
            if frame.fin() {
                if let Some(connection) = self.connections[index].as_mut() {
                    connection.streams.remove(&frame.stream);
                }
                let slot = self.setup.slot;
                self.guarded(place.instance, None, |instance| instance.load(monotonic_ns(), slot));
            }
            return Ok(());
        }
        let relayed = {
            let mut streams = instance.state().streams.borrow_mut();
            let relays = streams.get(place.key).is_some_and(|stream| stream.relay_to != 0);
            relays.then(|| streams.relay_arrived(place.key, frame.payload, frame.fin()))
        };
        match relayed {
            Some(Ok(relay)) => {
                self.relayed(place, relay);
                return Ok(());
            }
            Some(Err(_)) => return Err(WireError::Payload("DATA")),
            None => {}
        }
        let Some(instance) = self.instances.get_mut(&place.instance) else { return Ok(()) };
        let readable = {
            let mut streams = instance.state().streams.borrow_mut();
            let Some(stream) = streams.get(place.key) else { return Ok(()) };
            if stream.received(frame.payload, frame.fin()).is_err() {
                return Err(WireError::Payload("DATA"));
            }
            if stream.socket.is_some() {
                stream.limit_rest(self.round_ns);
                drop(streams);
                self.deliver_messages(place);
                return Ok(());
            }
            stream.take_readable()
        };
        if readable {
            self.turn(place.instance, &Event::Readable(place.key));
        }
        Ok(())
    }

    fn credit(&mut self, place: Place, bytes: u32) {
        let Some(instance) = self.instances.get(&place.instance) else { return };
        let (writable, relay) = {
            let mut streams = instance.state().streams.borrow_mut();
            let Some(stream) = streams.get(place.key) else { return };
            let (writable, from) = (stream.granted(bytes), stream.relay_from);
            (writable, if from == 0 { Relay::Waiting } else { streams.relay(from) })
        };
        instance.state().sweep(place.key);
        if relay != Relay::Waiting {
            self.relayed(place, relay);
        } else if writable {
            self.turn(place.instance, &Event::Writable(place.key));
        } else {
            self.settle_turn(place.instance);
        }
    }

    /// Tells JavaScript that a relay has come to its end, if it has.
    fn relayed(&mut self, place: Place, relay: Relay) {
        let (to, error) = match relay {
            Relay::Waiting => return,
            Relay::Finished { to } => (to, String::new()),
            Relay::Broken { to, reason } => (to, reason),
        };
        if let Some(instance) = self.instances.get(&place.instance) {
            instance.state().sweep(place.key);
            instance.state().sweep(to);
        }
        self.turn(place.instance, &Event::Piped { key: to, error: &error });
    }

    fn head(&mut self, place: Place, head: Head<'_>, fin: bool) {
        let Some(instance) = self.instances.get(&place.instance) else { return };
        match instance.state().streams.borrow_mut().get(place.key) {
            Some(stream) if !stream.head_received => {
                stream.head_received = true;
                stream.incoming_ended |= fin;
                if stream.may_switch && head.status == 101 {
                    stream.become_socket();
                } else if stream.may_switch {
                    stream.send_body(&[], true);
                }
            }
            _ => return,
        }
        self.turn(place.instance, &Event::Response { key: place.key, head });
    }

    /// Hands over the messages that are whole, one a turn, as long as JavaScript wants them.
    pub(super) fn deliver_messages(&mut self, place: Place) {
        loop {
            let Some(instance) = self.instances.get(&place.instance) else { return };
            let state = instance.state();
            let message = {
                let mut streams = state.streams.borrow_mut();
                let Some(stream) = streams.get(place.key) else { return };
                let request = match stream.role {
                    Role::Incoming => place.key,
                    Role::Outgoing(request) => request,
                };
                match stream.next_message(|len| !state.body_too_large(len)) {
                    Ok(None) => break,
                    Ok(Some(message)) => {
                        state.cpu.request();
                        // Each message is work of its own, with what a request may use.
                        if let Some(stream) = streams.get(request) {
                            stream.cpu_ns = 0;
                            stream.subrequests = state.subrequests;
                        }
                        message
                    }
                    Err(unfit) => {
                        let code = match unfit {
                            Unfit::TooLarge => ResetCode::MemoryExceeded,
                            Unfit::Malformed => ResetCode::Protocol,
                        };
                        stream.give_up(code);
                        stream.limit_rest(self.round_ns);
                        Message::broken("The message does not fit into the worker's memory.")
                    }
                }
            };
            self.turn(place.instance, &Event::Message { key: place.key, message: &message });
        }
        let Some(instance) = self.instances.get(&place.instance) else { return };
        instance.state().sweep(place.key);
        self.settle_turn(place.instance);
    }

    /// The peer broke a stream off.
    pub(super) fn reset(&mut self, place: Place, code: ResetCode, text: &str) {
        let Some(instance) = self.instances.get(&place.instance) else { return };
        let (role, answered, wants_read, relays, socket) = {
            let mut streams = instance.state().streams.borrow_mut();
            let Some(stream) = streams.get(place.key) else { return };
            stream.cancel(text);
            stream.limit_rest(self.round_ns);
            let socket = stream.socket.is_some();
            let relays = [if stream.relay_to == 0 { 0 } else { place.key }, stream.relay_from];
            let wants_read = std::mem::take(&mut stream.wants_read);
            let (role, answered) = (stream.role, stream.head_received);
            (role, answered, wants_read, relays.map(|from| streams.relay(from)), socket)
        };
        if socket {
            let message = &Message::broken(text);
            self.turn(place.instance, &Event::Message { key: place.key, message });
        }
        match role {
            Role::Incoming => {
                let reason = if text.is_empty() { "The client closed the connection." } else { text };
                self.turn(place.instance, &Event::Aborted { key: place.key, reason });
            }
            Role::Outgoing(_) if !answered => {
                self.turn(place.instance, &Event::Failed { key: place.key, code, message: text });
            }
            Role::Outgoing(_) if wants_read => self.turn(place.instance, &Event::Readable(place.key)),
            Role::Outgoing(_) => {}
        }
        for relay in relays {
            self.relayed(place, relay);
        }
    }
}
