//! Streams from their first frame to their last, windows, turns, and the end of connections.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use selvedge_http2::{Code, Connection, Event, Http2Config, Limits, PREFACE, Priority, Received};
use support::*;

fn kinds(frames: &[Frame]) -> Vec<(u8, u32)> {
    frames.iter().map(|frame| (frame.kind, frame.stream)).collect()
}

#[test]
fn a_request_is_answered() {
    let mut server = Server::default();
    let mut events = server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    let Some(Event::Request { stream, head, end: true }) = events.pop() else { panic!("{events:?}") };
    assert_eq!((head.method.as_str(), head.uri.to_string()), ("GET", "http://h/".into()));
    let mut fields = HeaderMap::new();
    fields.insert("connection", HeaderValue::from_static("close"));
    fields.insert("x", HeaderValue::from_static("y"));
    server.connection.respond(stream, StatusCode::OK, &fields, Some(5), None, false);
    server.connection.send(stream, Bytes::from_static(b"hello"), true);
    let said = server.said_up_to(1 << 16);
    assert_eq!(kinds(&said), [(HEADERS, 1), (DATA, 1)]);
    assert_eq!((said[1].flags, &said[1].payload[..]), (END_STREAM, &b"hello"[..]));
    let mut read = Vec::new();
    httlib_hpack::Decoder::default().decode(&mut said[0].payload.clone(), &mut read).unwrap();
    let read: Vec<_> = read.iter().map(|(name, value, _)| (&name[..], &value[..])).collect();
    assert_eq!(read, [(&b":status"[..], &b"200"[..]), (b"x", b"y"), (b"content-length", b"5")]);
    assert!(server.connection.is_idle());
}

#[test]
fn frames_may_come_in_any_pieces() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 0, 1, &POST[..2]));
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &POST[2..]));
    bytes.extend(frame(DATA, PADDED | END_STREAM, 1, &[3, b'a', b'b', 0, 0, 0]));
    for size in 1..bytes.len() {
        let mut connection =
            Connection::new(&Http2Config::default(), Limits { head_bytes: 4096, fields: 9 }, Instant::now());
        let (mut kept, mut opened, mut body) = (Vec::new(), None, Vec::new());
        for piece in bytes.chunks(size) {
            kept.extend_from_slice(piece);
            let mut rest = &kept[..];
            while let Some(event) = connection.receive(&mut rest, Instant::now()) {
                match event {
                    Event::Request { stream, .. } => opened = Some(stream),
                    Event::Readable(stream) => {
                        if let Received::Data(data) = connection.read(stream) {
                            body.extend(data);
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            kept = rest.to_vec();
        }
        assert_eq!(body, b"ab", "{size}");
        assert_eq!(connection.read(opened.unwrap()), Received::End);
    }
}

#[test]
fn the_window_follows_the_reader() {
    let mut server = Server::default();
    let stream = server.request(1, 0, POST);
    let piece = vec![b'x'; 16_000];
    for _ in 0..4 {
        assert!(matches!(server.feed(&frame(DATA, 0, 1, &piece))[..], [Event::Readable(_)]));
    }
    assert_eq!(server.said(), [], "nobody has read anything");
    assert_eq!(server.read(stream).len(), 64_000);
    let said = server.said();
    assert_eq!(kinds(&said), [(WINDOW_UPDATE, 1)]);
    // As much as was read, and as much again: the reader is as fast as the client.
    assert_eq!(u32::from_be_bytes(said[0].payload[..].try_into().unwrap()), 64_000 + 65_535);
    // One byte more than both is too much.
    for _ in 0..8 {
        server.feed(&frame(DATA, 0, 1, &piece));
    }
    let over = vec![0; 131_070 - 64_000 - 64_000 + 1 + 64_000];
    let mut left = &over[..];
    while !left.is_empty() {
        let (piece, rest) = left.split_at(left.len().min(16_000));
        server.feed(&frame(DATA, 0, 1, piece));
        left = rest;
    }
    let said = server.said();
    assert_eq!((said[0].kind, said[0].code()), (RST_STREAM, Code::FlowControl as u32));
    assert_eq!(server.connection.read(stream), Received::Cut);
}

#[test]
fn the_connections_window_bounds_all_bodies() {
    let config = Http2Config { connection_window: 65_535, ..Default::default() };
    let mut server = Server::new(config);
    for id in [1, 3] {
        server.request(id, 0, POST);
    }
    let piece = vec![0; 16_000];
    for _ in 0..4 {
        server.feed(&frame(DATA, 0, 1, &piece));
    }
    assert!(
        matches!(server.feed(&frame(DATA, 0, 3, &piece))[..], [Event::Fault(fault)] if fault.code == Code::FlowControl)
    );
}

#[test]
fn responses_wait_for_their_window() {
    let mut server = Server::default();
    // Streams begin with a window of 10 bytes.
    server.feed(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]));
    server.said();
    let stream = server.request(1, END_STREAM, GET);
    server.answer(stream, vec![b'x'; 100]);
    let said = server.said_up_to(1 << 16);
    assert_eq!((said[1].payload.len(), said[1].flags), (10, 0));
    assert!(server.connection.is_blocked());
    assert_eq!(server.said_up_to(1 << 16), []);
    server.feed(&frame(WINDOW_UPDATE, 0, 1, &20u32.to_be_bytes()));
    assert_eq!(server.said_up_to(1 << 16)[0].payload.len(), 20);
    // A smaller initial window can make it negative; then it takes more to open it.
    server.feed(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    server.feed(&frame(WINDOW_UPDATE, 0, 1, &10u32.to_be_bytes()));
    assert_eq!(kinds(&server.said_up_to(1 << 16)), [(SETTINGS, 0)]);
    server.feed(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]));
    let said = server.said_up_to(1 << 16);
    assert_eq!((said[1].payload.len(), said[1].flags), (70, END_STREAM));
    assert!(!server.connection.is_blocked() && server.connection.is_idle());
}

#[test]
fn a_window_can_be_too_large() {
    let most = 0x7fff_ffffu32.to_be_bytes();
    let mut server = Server::default();
    let stream = server.request(1, END_STREAM, GET);
    server.answer(stream, vec![0; 70_000]);
    assert!(matches!(server.feed(&frame(WINDOW_UPDATE, 0, 1, &most))[..], [Event::Reset(_)]));
    assert_eq!(server.said().pop().unwrap().code(), Code::FlowControl as u32);
    assert!(matches!(server.feed(&frame(WINDOW_UPDATE, 0, 0, &most))[..], [Event::Fault(_)]));
    assert_eq!(server.said().pop().unwrap().code(), Code::FlowControl as u32);
}

/// The streams of the DATA frames that come next.
fn turns(server: &mut Server, count: usize) -> Vec<u32> {
    let said = server.said_up_to(count * (16_384 + 9));
    said.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.stream).collect()
}

fn open_windows(server: &mut Server) {
    server.feed(&frame(SETTINGS, 0, 0, &[0, 4, 0x10, 0, 0, 0]));
    server.feed(&frame(WINDOW_UPDATE, 0, 0, &0x1000_0000u32.to_be_bytes()));
    server.said();
}

#[test]
fn the_urgent_go_first() {
    let mut server = Server::default();
    open_windows(&mut server);
    let with_priority = |field: &str| {
        let mut block = GET.to_vec();
        block.extend([0, 8]);
        block.extend(b"priority");
        block.push(field.len() as u8);
        block.extend(field.bytes());
        block
    };
    let low = server.request(1, END_STREAM, &with_priority("u=6"));
    let high = server.request(3, END_STREAM, &with_priority("u=1"));
    let other = server.request(5, END_STREAM, GET);
    assert_eq!(server.connection.priority(low), Some(Priority { urgency: 6, incremental: false }));
    for stream in [low, high, other] {
        server.answer(stream, vec![0; 3 * 16_384]);
    }
    server.said();
    assert_eq!(turns(&mut server, 2), [3, 3]);
    // The client has changed its mind (RFC 9218, section 7).
    let update = [&[0, 0, 0, 1][..], b"u=0"].concat();
    server.feed(&frame(PRIORITY_UPDATE, 0, 0, &update));
    assert_eq!(turns(&mut server, 3), [1, 1, 1]);
    assert_eq!(turns(&mut server, 4), [3, 5, 5, 5]);
    // And before the stream is open.
    let update = [&[0, 0, 0, 9][..], b"u=0"].concat();
    server.feed(&frame(PRIORITY_UPDATE, 0, 0, &update));
    for id in [7, 9] {
        let stream = server.request(id, END_STREAM, GET);
        server.answer(stream, vec![0; 10]);
    }
    assert_eq!(turns(&mut server, 2), [9, 7]);
}

#[test]
fn clients_that_know_no_priorities_get_all_in_turns() {
    let mut server = Server::default();
    open_windows(&mut server);
    for id in [1, 3] {
        let stream = server.request(id, END_STREAM, GET);
        server.answer(stream, vec![0; 3 * 16_384]);
    }
    server.said();
    assert_eq!(turns(&mut server, 6), [1, 3, 1, 3, 1, 3]);
}

#[test]
fn trailers_go_both_ways() {
    let mut server = Server::default();
    let stream = server.request(1, 0, POST);
    server.feed(&frame(DATA, 0, 1, b"body"));
    server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 1, b'y']));
    assert_eq!(server.read(stream), b"body");
    let mut trailers = HeaderMap::new();
    trailers.insert("x", HeaderValue::from_static("y"));
    server.connection.release(stream);
    server.connection.respond(stream, StatusCode::OK, &HeaderMap::new(), None, None, false);
    server.connection.send(stream, Bytes::from_static(b"b"), false);
    server.connection.finish(stream, Some(trailers));
    let said = server.said_up_to(1 << 16);
    assert_eq!(kinds(&said), [(HEADERS, 1), (DATA, 1), (HEADERS, 1)]);
    assert_eq!((said[1].flags, said[2].flags), (0, END_STREAM | END_HEADERS));
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let mut server = Server::default();
    let stream = server.request(1, END_STREAM, GET);
    assert!(server.connection.inform(stream, StatusCode::EARLY_HINTS, &HeaderMap::new()));
    server.connection.respond(stream, StatusCode::NO_CONTENT, &HeaderMap::new(), None, None, true);
    assert!(!server.connection.inform(stream, StatusCode::EARLY_HINTS, &HeaderMap::new()));
    let said = server.said();
    assert_eq!(
        said.iter().map(|frame| frame.flags).collect::<Vec<_>>(),
        [END_HEADERS, END_HEADERS | END_STREAM]
    );
}

#[test]
fn a_body_that_nobody_wants_is_called_off() {
    let mut server = Server::default();
    let stream = server.request(1, 0, POST);
    server.feed(&frame(DATA, 0, 1, &[0; 1000]));
    server.connection.release(stream);
    server.answer(stream, "no");
    assert_eq!(kinds(&server.said_up_to(1 << 16)), [(HEADERS, 1), (DATA, 1)]);
    // A little is waited for, in case that it is all.
    assert!(server.connection.is_idle());
    server.feed(&frame(DATA, 0, 1, &[0; 16_000]));
    assert_eq!(server.said(), []);
    server.feed(&frame(DATA, 0, 1, &[0; 1000]));
    let said = server.said();
    assert_eq!((kinds(&said), said[0].code()), (vec![(RST_STREAM, 1)], Code::NoError as u32));
    // What was under way then is no error.
    assert!(server.feed(&frame(DATA, END_STREAM, 1, &[0; 1000])).is_empty());
    assert_eq!(server.said(), []);
}

#[test]
fn what_comes_after_an_early_answer_has_to_be_right() {
    let length = |length: &str| {
        let mut block = POST.to_vec();
        block.extend([0x0f, 28 - 15, length.len() as u8]);
        block.extend(length.bytes());
        block
    };
    let early = |block: &[u8]| {
        let mut server = Server::default();
        let stream = server.request(1, 0, block);
        server.connection.release(stream);
        server.answer(stream, "early");
        server.said_up_to(1 << 16);
        server
    };
    let mut server = early(&length("4"));
    assert!(server.feed(&frame(DATA, END_STREAM, 1, b"abcd")).is_empty());
    assert_eq!(server.said(), []);
    assert!(server.connection.is_idle());
    for (declared, rest, code) in [
        ("4", frame(DATA, END_STREAM, 1, b"abc"), Code::Protocol),
        ("4", frame(DATA, 0, 1, b"abcde"), Code::Protocol),
        ("4", frame(HEADERS, END_HEADERS, 1, GET), Code::Protocol),
    ] {
        let mut server = early(&length(declared));
        server.feed(&rest);
        assert_eq!(server.said()[0].code(), code as u32, "{rest:?}");
    }
    // More than is waited for is called off at once.
    let mut server = Server::default();
    let stream = server.request(1, 0, &length("16385"));
    server.connection.release(stream);
    server.answer(stream, "early");
    assert_eq!(kinds(&server.said_up_to(1 << 16)), [(HEADERS, 1), (DATA, 1), (RST_STREAM, 1)]);
    // And what does not come is not waited for.
    let mut server = early(POST);
    let now = Instant::now();
    assert!(server.connection.tidy(now));
    assert!(server.connection.tidy(now + Duration::from_millis(999)));
    assert!(!server.connection.tidy(now + Duration::from_secs(1)));
    let said = server.said();
    assert_eq!((kinds(&said), said[0].code()), (vec![(RST_STREAM, 1)], Code::NoError as u32));
}

#[test]
fn a_body_may_be_read_after_the_response() {
    let mut server = Server::default();
    let stream = server.request(1, 0, POST);
    server.answer(stream, "early");
    assert_eq!(kinds(&server.said_up_to(1 << 16)), [(HEADERS, 1), (DATA, 1)]);
    server.feed(&frame(DATA, END_STREAM, 1, b"late"));
    assert!(server.connection.is_idle(), "both sides have said everything");
    assert_eq!(server.read(stream), b"late");
    assert_eq!(server.connection.read(stream), Received::End);
    server.connection.release(stream);
    assert_eq!(server.connection.read(stream), Received::Cut);
}

#[test]
fn lengths_must_be_true() {
    let block = |length: &str| {
        let mut block = POST.to_vec();
        block.extend([0x0f, 28 - 15, length.len() as u8]);
        block.extend(length.bytes());
        block
    };
    for (length, body) in [("3", &b"ab"[..]), ("3", b"abcd"), ("0", b"a")] {
        let mut server = Server::default();
        let stream = server.request(1, 0, &block(length));
        server.feed(&frame(DATA, END_STREAM, 1, body));
        assert_eq!(server.said()[0].code(), Code::Protocol as u32, "{length} {body:?}");
        assert_eq!(server.connection.read(stream), Received::Cut);
    }
    let mut server = Server::default();
    server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("3")));
    assert_eq!(server.said()[0].code(), Code::Protocol as u32);
    let stream = server.request(3, 0, &block("3"));
    assert_eq!(server.connection.length_left(stream), Some(3));
    server.feed(&frame(DATA, END_STREAM, 3, b"abc"));
    assert_eq!(server.connection.length_left(stream), Some(3));
    assert_eq!(server.read(stream), b"abc");
}

#[test]
fn too_many_streams_are_refused() {
    let mut server = Server::new(Http2Config { max_streams: 2, ..Default::default() });
    let first = server.request(1, END_STREAM, GET);
    server.request(3, END_STREAM, GET);
    assert!(server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 5, GET)).is_empty());
    let said = server.said();
    assert_eq!((said[0].stream, said[0].code()), (5, Code::RefusedStream as u32));
    server.answer(first, "done");
    server.said_up_to(1 << 16);
    server.request(7, END_STREAM, GET);
}

#[test]
fn draining_serves_what_was_under_way() {
    let mut server = Server::default();
    let stream = server.request(1, END_STREAM, GET);
    server.connection.drain();
    let said = server.said();
    assert_eq!(kinds(&said), [(GOAWAY, 0), (PING, 0)]);
    let late = server.request(3, END_STREAM, GET);
    server.feed(&frame(PING, ACK, 0, &said[1].payload));
    let said = server.said();
    assert_eq!((said[0].kind, said[0].payload[..8].to_vec()), (GOAWAY, vec![0, 0, 0, 3, 0, 0, 0, 0]));
    assert!(server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 5, GET)).is_empty());
    assert_eq!(server.said()[0].code(), Code::RefusedStream as u32);
    for stream in [stream, late] {
        assert!(!server.connection.is_finished());
        server.answer(stream, "bye");
        server.said_up_to(1 << 16);
    }
    assert!(server.connection.is_finished());
}

#[test]
fn large_heads_are_told_and_cost_no_connection() {
    let mut server = Server::default();
    // 3,000 bytes under one name, put into the table, and then named over and over: a small block, a large head.
    let mut block = GET.to_vec();
    block.extend([0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    block.extend(vec![b'a'; 3000]);
    block.extend(vec![0xbe; 10_000]);
    let events = server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    assert!(matches!(events[..], [Event::TooLarge(_)]), "{events:?}");
    server.request(3, END_STREAM, GET);
}

#[test]
fn cookies_are_one_field() {
    let mut server = Server::default();
    let mut block = GET.to_vec();
    for cookie in [b"a=1", b"b=2"] {
        block.extend([0x0f, 32 - 15, 3]);
        block.extend(cookie);
    }
    let mut events = server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let Some(Event::Request { head, .. }) = events.pop() else { panic!("{events:?}") };
    assert_eq!(head.fields["cookie"], "a=1; b=2");
}

/// A frame that makes some sense, so that chance comes further than the first check.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![Just(GET.to_vec()), Just(POST.to_vec()), any::<Vec<u8>>()];
    let flags = prop_oneof![Just(END_HEADERS), Just(END_HEADERS | END_STREAM), any::<u8>()];
    let payload = prop_oneof![
        Just(vec![0, 0, 0, 1]),
        Just(vec![0; 8]),
        Just(vec![0, 4, 0, 0, 0, 50]),
        proptest::collection::vec(any::<u8>(), 0..40)
    ];
    prop_oneof![
        (0u8..20, any::<u8>(), 0u32..12, payload)
            .prop_map(|(kind, flags, id, payload)| frame(kind, flags, id, &payload)),
        (flags, 1u32..12, block).prop_map(|(flags, id, block)| frame(HEADERS, flags, id | 1, &block)),
        (0u8..2, 1u32..12, 0usize..20_000).prop_map(|(flags, id, size)| frame(
            DATA,
            flags,
            id | 1,
            &vec![0; size]
        )),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Frame(Vec<u8>),
    Bytes(Vec<u8>),
    Answer(usize, usize),
    Read(usize),
    Release(usize),
    Reset(usize),
    Fill(usize),
    Drain,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => any_frame().prop_map(Act::Frame),
        1 => any::<Vec<u8>>().prop_map(Act::Bytes),
        3 => (any::<usize>(), 0usize..50_000).prop_map(|(n, size)| Act::Answer(n, size)),
        2 => any::<usize>().prop_map(Act::Read),
        1 => any::<usize>().prop_map(Act::Release),
        1 => any::<usize>().prop_map(Act::Reset),
        3 => (0usize..100_000).prop_map(Act::Fill),
        1 => Just(Act::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes, nothing panics, and what is said is whole frames for streams that there are.
    #[test]
    fn any_client_is_survived(acts in proptest::collection::vec(any_act(), 0..60)) {
        let mut server = Server::default();
        let mut opened = Vec::new();
        for act in acts {
            match act {
                Act::Frame(bytes) | Act::Bytes(bytes) => {
                    for event in server.feed(&bytes) {
                        if let Event::Request { stream, .. } | Event::TooLarge(stream) = event {
                            opened.push(stream);
                        }
                    }
                }
                Act::Drain => server.connection.drain(),
                Act::Fill(most) => {
                    for frame in server.said_up_to(most) {
                        prop_assert!(frame.payload.len() <= 16_384);
                    }
                }
                Act::Answer(n, _) | Act::Read(n) | Act::Release(n) | Act::Reset(n) if !opened.is_empty() => {
                    let stream = opened[n % opened.len()];
                    match act {
                        Act::Answer(_, size) => server.answer(stream, vec![0; size]),
                        Act::Read(_) => drop(server.read(stream)),
                        Act::Release(_) => server.connection.release(stream),
                        _ => server.connection.reset(stream, Code::Cancel),
                    }
                }
                _ => {}
            }
        }
        for stream in opened {
            server.connection.release(stream);
            server.connection.reset(stream, Code::Cancel);
        }
        prop_assert!(server.connection.is_idle());
    }
}
