//! Floods, each known by its number, and others: all end the connection before they cost anything.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use selvedge_http2::{Code, Event, Glitch, Http2Config};
use support::*;

const CALM: u32 = Code::EnhanceYourCalm as u32;

fn ends_calmly(name: &str, most: u32, bytes: impl FnMut(u32) -> Vec<u8>) {
    let mut server = Server::default();
    let (took, last) = server.flood(most, bytes).unwrap_or_else(|| panic!("{name} is endured"));
    assert_eq!((last.kind, last.code()), (GOAWAY, CALM), "{name}");
    assert!(took >= 10, "{name}: {took} is no flood");
}

fn get(n: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, GET)
}

/// CVE-2023-44487: requests that are taken back at once.
#[test]
fn rapid_reset() {
    ends_calmly("rapid reset", 1000, |n| {
        [get(n), frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())].concat()
    });
}

/// CVE-2025-8671: requests that the server itself has to take back.
#[test]
fn made_you_reset() {
    let post = |n: u32| frame(HEADERS, END_HEADERS, 2 * n + 1, POST);
    type Provocation = fn(u32) -> Vec<u8>;
    let provocations: [(&str, Provocation); 6] = [
        ("a window of nothing", |id| frame(WINDOW_UPDATE, 0, id, &[0; 4])),
        ("a window too large", |id| frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff])),
        ("a priority of a wrong length", |id| frame(PRIORITY, 0, id, &[0; 4])),
        ("a dependency on itself", |id| frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat())),
        ("trailers without an end", |id| frame(HEADERS, END_HEADERS, id, &[0, 1, b'x', 1, b'y'])),
        ("DATA after the end", |id| {
            [frame(DATA, END_STREAM, id, b""), frame(DATA, END_STREAM, id, b"x")].concat()
        }),
    ];
    for (name, provoke) in provocations {
        ends_calmly(name, 500, |n| [post(n), provoke(2 * n + 1)].concat());
    }
    ends_calmly("malformed requests", 500, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &[0x82, 0, 1, b'A', 1, b'b'])
    });
}

/// CVE-2024-27316 and its kin: a head that never ends.
#[test]
fn continuation_flood() {
    for size in [0, 1, 1000, 16_384] {
        let mut server = Server::default();
        server.feed(&frame(HEADERS, 0, 1, GET));
        let flood = server.flood(1000, |_| frame(CONTINUATION, 0, 1, &vec![0; size]));
        let (_, last) = flood.unwrap_or_else(|| panic!("{size} is endured"));
        assert_eq!((last.kind, last.code()), (GOAWAY, CALM), "{size}");
    }
}

/// CVE-2019-9512, -9515, -9518 and others.
#[test]
fn floods_of_control_frames() {
    ends_calmly("PING", 3000, |_| frame(PING, 0, 0, &[0; 8]));
    ends_calmly("SETTINGS", 1000, |_| frame(SETTINGS, 0, 0, &[]));
    ends_calmly("SETTINGS with windows", 1000, |n| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, n as u8]));
    ends_calmly("PRIORITY", 3000, |_| frame(PRIORITY, 0, 1, &[0; 5]));
    ends_calmly("PRIORITY_UPDATE", 3000, |n| frame(PRIORITY_UPDATE, 0, 0, &(2 * n + 1).to_be_bytes()));
    ends_calmly("WINDOW_UPDATE", 3000, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    ends_calmly("frames of no known type", 3000, |_| frame(0xfa, 0, 0, b"grease"));
    // RUSTSEC-2026-0258
    ends_calmly("DATA without data", 1000, |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, POST),
        _ => frame(DATA, 0, 1, &[]),
    });
    ends_calmly("DATA of padding", 1000, |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, POST),
        _ => frame(DATA, PADDED, 1, &[4, 0, 0, 0, 0]),
    });
    ends_calmly("streams beyond the limit", 2000, get);
}

/// What costs is bounded as long as nothing is read of what the server says, too.
#[test]
fn heads_that_are_too_large_add_up() {
    let block =
        [GET, &[0, 1, b'x', 0x7f, 0xb9, 0x16], &[b'a'; 3000], &[0, 1, b'y', 0x7f, 0xb9, 0x16], &[b'a'; 3000]];
    let block = block.concat();
    let mut server = Server::default();
    let flood = server.flood(1000, |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block));
    assert_eq!(flood.unwrap().1.code(), CALM);
}

#[test]
fn who_does_useful_work_may_be_odd() {
    let mut server = Server::default();
    let mut counted = 0;
    for n in 0..5000 {
        let events = server.feed(&get(n));
        let [Event::Request { stream, .. }] = events[..] else { panic!("{events:?}") };
        server.answer(stream, "hello");
        server.said_up_to(1 << 16);
        // A window and a ping for each response are what some clients do.
        server.feed(&frame(WINDOW_UPDATE, 0, 0, &5u32.to_be_bytes()));
        server.feed(&frame(PING, 0, 0, &[0; 8]));
        assert!(!server.connection.is_over(), "{n}");
        if let Some(counts) = server.connection.take_glitches() {
            counted += counts[Glitch::Ping as usize];
        }
    }
    assert_eq!(counted, 5000);
    // One ping a second is no flood, however long it goes on.
    for _ in 0..5000 {
        server.now += Duration::from_secs(1);
        server.feed(&frame(PING, 0, 0, &[0; 8]));
    }
    assert!(!server.connection.is_over());
}

#[test]
fn a_budget_of_nothing_ends_nothing() {
    let mut server = Server::new(Http2Config { glitch_budget: 0, ..Default::default() });
    assert!(server.flood(5000, |_| frame(SETTINGS, 0, 0, &[])).is_none());
}

/// A client that cancels all that it asked for, as browsers do when their user goes elsewhere, may stay.
#[test]
fn leaving_a_page_is_no_attack() {
    let mut server = Server::default();
    for n in 0..100 {
        server.feed(&get(n));
    }
    for n in 0..100u32 {
        server.feed(&frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    assert!(!server.connection.is_over());
    let stream = server.request(201, END_STREAM, GET);
    server.connection.respond(stream, StatusCode::OK, &HeaderMap::new(), None, None, false);
    server.connection.send(stream, Bytes::from_static(b"still here"), true);
    assert_eq!(server.said_up_to(1 << 16).len(), 2);
}
