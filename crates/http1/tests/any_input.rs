//! Whatever arrives, in whatever pieces: nothing panics, pieces do not matter, and what was written is read back.
#![allow(missing_docs)]

use proptest::prelude::*;
use selvedge_http1::{
    ChunkedDecoder, Field, Framing, HeadFinder, Limits, RequestHead, Violation, parse_request, put_chunk_size,
};

const LIMITS: Limits = Limits { head_bytes: 512, fields: 10 };

type Parsed = Result<Option<(RequestHead, Vec<Field>, usize)>, Violation>;

fn parse_at_once(bytes: &[u8]) -> Parsed {
    finish(bytes, HeadFinder::default().find(bytes, &LIMITS))
}

fn finish(bytes: &[u8], found: Result<Option<std::ops::Range<usize>>, Violation>) -> Parsed {
    let Some(place) = found? else { return Ok(None) };
    let mut fields = Vec::new();
    let end = place.end;
    Ok(Some((parse_request(&bytes[place], &LIMITS, &mut fields)?, fields, end)))
}

fn parse_in_pieces(bytes: &[u8], cuts: &[usize]) -> Parsed {
    let mut finder = HeadFinder::default();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    for end in ends {
        match finder.find(&bytes[..end], &LIMITS) {
            Ok(None) => {}
            found => return finish(bytes, found),
        }
    }
    Ok(None)
}

fn decode(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Option<usize>), Violation> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut decoder, mut body, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    for end in ends {
        while at < end && !decoder.is_over() {
            let step = decoder.next(&bytes[at..end])?;
            assert!(step.taken > 0 && step.data.end <= step.taken);
            body.extend_from_slice(&bytes[at..end][step.data]);
            at += step.taken;
        }
    }
    Ok((body, decoder.is_over().then_some(at)))
}

/// Text that is nearly HTTP, so that more than the first line is reached.
fn nearly_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST /a?b HTTP/1.0\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"content-length: 5\r\n".to_vec()),
        Just(b"transfer-encoding: chunked\r\n".to_vec()),
        Just(b"x:\ty \r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b" ".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"1;x=y\r\nz\r\n".to_vec()),
        Just(b"a: b\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_of_heads_do_not_matter(
        bytes in nearly_head(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        prop_assert_eq!(parse_in_pieces(&bytes, &cuts), parse_at_once(&bytes));
    }

    #[test]
    fn one_byte_at_a_time_is_the_same(bytes in nearly_head()) {
        let cuts: Vec<usize> = (0..=bytes.len()).collect();
        prop_assert_eq!(parse_in_pieces(&bytes, &cuts), parse_at_once(&bytes));
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse_at_once(&bytes);
        let _ = parse_request(&bytes, &LIMITS, &mut Vec::new());
        let _ = decode(&bytes, &[]);
    }

    #[test]
    fn what_is_written_is_read(
        method in "[A-Z]{1,8}",
        target in "/[a-z0-9/?=&%.]{0,40}",
        fields in prop::collection::vec(("[a-z][a-z-]{0,10}x", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..9),
    ) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: a\r\n");
        for (name, value) in &fields {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let (head, found, end) = parse_at_once(text.as_bytes()).unwrap().unwrap();
        let of = |span: selvedge_http1::Span| std::str::from_utf8(span.of(text.as_bytes())).unwrap();
        prop_assert_eq!(end, text.len());
        prop_assert_eq!((of(head.method), of(head.target)), (method.as_str(), target.as_str()));
        let found: Vec<_> = found[1..].iter().map(|field| (of(field.name), of(field.value))).collect();
        let sent: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(found, sent);
    }

    /// A head that is accepted has no second reading: no line ends within a line, one framing.
    #[test]
    fn what_is_accepted_has_one_meaning(bytes in nearly_head()) {
        if let Ok(Some((head, fields, end))) = parse_at_once(&bytes) {
            let place = HeadFinder::default().find(&bytes, &LIMITS).unwrap().unwrap();
            let text = &bytes[place];
            prop_assert!(text.len() <= LIMITS.head_bytes && end <= bytes.len());
            let named = |name: &str| {
                fields.iter().filter(|field| field.name.of(text).eq_ignore_ascii_case(name.as_bytes())).count()
            };
            let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
            prop_assert!(lengths + codings <= 1 && named("host") <= 1);
            prop_assert_eq!(head.framing == Framing::Chunked, codings == 1);
            for field in &fields {
                let value = field.value.of(text);
                prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }

    #[test]
    fn pieces_of_chunks_do_not_matter(
        bytes in nearly_chunks(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        prop_assert_eq!(decode(&bytes, &cuts), decode(&bytes, &[]));
    }

    #[test]
    fn chunks_that_were_written_are_read(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..9),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for part in &parts {
            put_chunk_size(part.len(), &mut bytes);
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let end = bytes.len();
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(decode(&bytes, &cuts), Ok((parts.concat(), Some(end))));
    }
}
