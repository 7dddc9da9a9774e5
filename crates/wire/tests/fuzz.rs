//! Byte streams as a hostile peer would send them: valid frames, mutated, cut and glued together, fed in pieces
//! of any size through the loop that both sides run.

use proptest::prelude::*;
use selvedge_wire::message::{
    Call, Fetch, Head, Load, Log, ResetCode, Scheduled, Subrequest, decode_hello, decode_number,
    decode_reset, header_pairs, put_credit, put_hello, put_reset,
};
use selvedge_wire::{HEADER_LEN, Kind, PAYLOAD_MAX, WireError, decode, frame};

/// What each side does with a read buffer: whole frames out, the rest kept. Returns how many frames it saw.
fn feed(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<usize, WireError> {
    buffer.extend_from_slice(bytes);
    let (mut at, mut seen) = (0, 0);
    while let Some((frame, taken)) = decode(&buffer[at..])? {
        assert!(taken >= HEADER_LEN && taken == HEADER_LEN + frame.payload.len());
        match frame.kind {
            Kind::Hello => drop(decode_hello(frame.payload)?),
            Kind::Open => drop(Call::decode(frame.payload)?),
            Kind::Head => drop(header_pairs(Head::decode(frame.payload)?.headers).count()),
            Kind::Reset => drop(decode_reset(frame.payload)?),
            Kind::Log => drop(Log::decode(frame.payload)?),
            Kind::Credit | Kind::Unload | Kind::Gone => drop(decode_number(frame.payload)?),
            Kind::Data | Kind::Done | Kind::Ping | Kind::Pong => {}
        }
        at += taken;
        seen += 1;
    }
    buffer.drain(..at);
    assert!(buffer.len() < HEADER_LEN + PAYLOAD_MAX, "what waits for its rest is bounded");
    Ok(seen)
}

/// One frame of each kind.
fn conversation(text: &str, bytes: &[u8], number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put_hello(&mut out, text);
    let load = Load {
        instance: number,
        memory_mb: 1,
        cpu_ms: 2,
        cpu_burst_ms: 3,
        subrequests: 4,
        env_len: 6,
        artifact_len: 5,
        compatibility: 3,
        want_code_cache: true,
        inspectable: true,
        name: text,
    };
    Call::Load(load).put(&mut out, 0, 1);
    let fetch = Fetch {
        instance: number,
        wall_ms: 9,
        socket: true,
        http2: true,
        method: bytes,
        url: bytes,
        headers: bytes,
    };
    Call::Fetch(fetch).put(&mut out, frame::FIN, 3);
    Call::Scheduled(Scheduled { instance: number, wall_ms: 9, time_ms: 1, cron: text }).put(&mut out, 0, 5);
    Call::Subrequest(Subrequest {
        instance: number,
        parent: number,
        method: bytes,
        url: bytes,
        headers: bytes,
    })
    .put(&mut out, 0, 2);
    Call::WebSocket(Subrequest {
        instance: number,
        parent: number,
        method: bytes,
        url: bytes,
        headers: bytes,
    })
    .put(&mut out, 0, 4);
    Head { status: 200, headers: bytes }.put(&mut out, 0, 3);
    frame::put(&mut out, Kind::Data, frame::FIN | frame::DONE, 3, bytes);
    put_credit(&mut out, 3, number);
    put_reset(&mut out, 5, ResetCode::Timeout, text);
    Log { instance: number, level: 1, exception: true, message: text, stack: text }.put(&mut out, 3);
    for kind in [Kind::Ping, Kind::Pong, Kind::Done] {
        frame::put(&mut out, kind, 0, 0, bytes);
    }
    for kind in [Kind::Unload, Kind::Gone] {
        frame::put(&mut out, kind, 0, 0, &number.to_le_bytes());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn valid_conversations_arrive_whole_in_any_pieces(
        text in ".{0,40}",
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        number: u32,
        piece in 1usize..200,
    ) {
        let sent = conversation(&text, &bytes, number);
        let mut buffer = Vec::new();
        let mut seen = 0;
        for chunk in sent.chunks(piece) {
            seen += feed(&mut buffer, chunk).unwrap();
        }
        prop_assert_eq!(seen, 16);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn mutated_conversations_are_answered_or_refused(
        text in ".{0,40}",
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        number: u32,
        piece in 1usize..200,
        mutations in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
    ) {
        let mut sent = conversation(&text, &bytes, number);
        for (at, byte, kind) in mutations {
            let at = at.index(sent.len());
            match kind {
                0 => sent[at] = byte,
                1 => sent[at] ^= 1 << (byte % 8),
                2 => sent.insert(at, byte),
                _ if sent.len() > 1 => drop(sent.remove(at)),
                _ => {}
            }
        }
        let mut buffer = Vec::new();
        for chunk in sent.chunks(piece) {
            if feed(&mut buffer, chunk).is_err() {
                break;
            }
        }
    }
}
