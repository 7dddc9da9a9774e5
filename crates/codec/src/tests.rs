use proptest::prelude::*;

use super::*;

const PAIRS: [(Format, Format); 6] = [
    (Format::Gzip, Format::Gunzip),
    (Format::Deflate, Format::Inflate),
    (Format::DeflateRaw, Format::InflateRaw),
    (Format::Gzip, Format::Unzip),
    (Format::BrotliCompress, Format::BrotliDecompress),
    (Format::ZstdCompress, Format::ZstdDecompress),
];

/// Everything that comes out, and whether the end was seen; `room` bytes of output and `piece` bytes of input a step.
fn run(codec: &mut Codec, input: &[u8], piece: usize, room: usize) -> Result<(Vec<u8>, bool, usize), Error> {
    let (mut out, mut at, mut buffer) = (Vec::new(), 0, vec![0; room]);
    loop {
        let end = (at + piece).min(input.len());
        let flush = if end == input.len() { Flush::Finish } else { Flush::None };
        let step = codec.step(&input[at..end], &mut buffer, flush)?;
        out.extend_from_slice(&buffer[..step.written]);
        at += step.read;
        match step.status {
            Status::End => return Ok((out, true, at)),
            Status::Hungry if flush == Flush::Finish => return Ok((out, false, at)),
            _ => assert!(step.read + step.written > 0 || piece == 0 || at < input.len(), "it moves on"),
        }
    }
}

fn new(format: Format) -> Codec {
    Codec::new(format, Options { level: Some(5), ..Options::default() }).unwrap()
}

fn encoded(format: Format, data: &[u8]) -> Vec<u8> {
    run(&mut new(format), data, usize::MAX >> 1, 4096).unwrap().0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(
        data in proptest::collection::vec(0u8..4, 0..20_000), piece in 1usize..5000, room in 1usize..5000, pair in 0usize..6,
    ) {
        let (there, back) = PAIRS[pair];
        let packed = run(&mut new(there), &data, piece, room).unwrap();
        prop_assert!(packed.1);
        let (plain, ended, read) = run(&mut new(back), &packed.0, piece, room).unwrap();
        prop_assert!(ended);
        prop_assert_eq!(read, packed.0.len());
        prop_assert_eq!(plain, data);
    }

    #[test]
    fn rubbish_is_survived(data in proptest::collection::vec(any::<u8>(), 0..2000), pair in 0usize..6, flip in 0usize..2000) {
        let (there, back) = PAIRS[pair];
        let _ = run(&mut new(back), &data, 100, 1000);
        let mut packed = encoded(there, &data);
        let at = flip % packed.len();
        packed[at] ^= 0x55;
        let _ = run(&mut new(back), &packed, 100, 1000);
    }
}

#[test]
fn the_end_is_told_from_truncation_and_from_what_follows() {
    for (there, back) in PAIRS {
        let mut packed = encoded(there, &[b'x'; 1000]);
        let (_, ended, _) = run(&mut new(back), &packed[..packed.len() - 1], 64, 64).unwrap();
        assert!(!ended, "{back:?}");
        let length = packed.len();
        packed.extend_from_slice(b"more");
        let (plain, ended, read) = run(&mut new(back), &packed, 1 << 20, 1 << 20).unwrap();
        assert_eq!((plain.len(), ended, read), (1000, true, length), "{back:?}");
    }
}

#[test]
fn a_bomb_goes_off_as_slowly_as_it_is_asked() {
    for (there, back) in PAIRS {
        let packed = encoded(there, &vec![0; 50 << 20]);
        let mut codec = new(back);
        let mut buffer = [0; 1000];
        let step = codec.step(&packed, &mut buffer, Flush::None).unwrap();
        assert_eq!((step.written, step.status), (1000, Status::More), "{back:?}");
    }
}

#[test]
fn a_flush_lets_everything_be_read() {
    for (there, back) in PAIRS {
        let (mut out, mut plain) = ([0; 4096], [0; 4096]);
        let step = new(there).step(b"hello", &mut out, Flush::Sync).unwrap();
        assert_eq!((step.read, step.status), (5, Status::Hungry), "{there:?}");
        let step = new(back).step(&out[..step.written], &mut plain, Flush::None).unwrap();
        assert_eq!(&plain[..step.written], b"hello");
    }
}

#[test]
fn dictionaries() {
    let with = |format, dictionary: &[u8]| {
        Codec::new(format, Options { dictionary: dictionary.into(), ..Options::default() }).unwrap()
    };
    for (there, back) in [(Format::Deflate, Format::Inflate), (Format::DeflateRaw, Format::InflateRaw)] {
        let packed = run(&mut with(there, b"hello world"), b"hello world", 100, 100).unwrap().0;
        assert_eq!(run(&mut with(back, b"hello world"), &packed, 100, 100).unwrap().0, b"hello world");
    }
    let packed = run(&mut with(Format::Deflate, b"hello world"), b"hello world", 100, 100).unwrap().0;
    assert_eq!(run(&mut new(Format::Inflate), &packed, 100, 100).unwrap_err(), Error::NeedDictionary);
    assert_eq!(
        run(&mut with(Format::Inflate, b"other"), &packed, 100, 100).unwrap_err(),
        Error::WrongDictionary
    );
}

#[test]
fn every_setting_works() {
    for (there, back) in PAIRS {
        for level in [-5, 0, 1, 6, 9, 11, 100] {
            for bits in [0, 8, 9, 15, 24, 99] {
                let set = |level, bits| Options {
                    level: Some(level),
                    window_bits: Some(bits),
                    mem_level: Some(level),
                    strategy: Some(level),
                    dictionary: Vec::new(),
                };
                let mut codec = Codec::new(there, set(level, bits)).unwrap();
                let packed = run(&mut codec, b"abcabcabcabc", 100, 100).unwrap().0;
                let (plain, ended, _) = run(&mut new(back), &packed, 100, 100).unwrap();
                assert!(ended && plain == b"abcabcabcabc", "{there:?} {level} {bits}");
                codec.reset().unwrap();
                assert_eq!(run(&mut codec, b"abcabcabcabc", 100, 100).unwrap().0, packed);
            }
        }
    }
}

#[test]
fn failed_once_is_failed_for_ever() {
    let mut codec = new(Format::Gunzip);
    let first = codec.step(b"nonsense", &mut [0; 10], Flush::None).unwrap_err();
    assert!(matches!(first, Error::Data(_)));
    assert_eq!(codec.step(b"", &mut [0; 10], Flush::None).unwrap_err(), first);
}

#[test]
fn the_window_of_brotli_is_known_at_once() {
    for bits in [10, 16, 17, 18, 22, 24] {
        let options = Options { window_bits: Some(bits), level: Some(5), ..Options::default() };
        let data = vec![b'a'; 100];
        let packed = run(&mut Codec::new(Format::BrotliCompress, options).unwrap(), &data, 1 << 20, 1 << 20)
            .unwrap()
            .0;
        let mut codec = new(Format::BrotliDecompress);
        // The encoder may take a smaller window for little data.
        assert!(codec.will_take(&packed) <= 1 << bits, "{bits}");
        codec.step(&packed, &mut [0; 10], Flush::None).unwrap();
        assert_eq!(codec.will_take(&packed), 0);
    }
}

#[test]
fn crc() {
    assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xcbf4_3926);
}

#[test]
fn a_frame_of_zstandard_cannot_ask_for_more_window_than_the_web_allows() {
    // A head that claims a window of 2 GiB (RFC 8878, section 3.1.1.1.2), then nothing.
    let mut codec = new(Format::ZstdDecompress);
    let claim = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert!(matches!(codec.step(&claim, &mut [0; 10], Flush::None), Err(Error::Data(_))));
}

#[test]
fn encoders_start_over_in_the_memory_they_have() {
    for (there, back) in PAIRS {
        let mut codec = new(there);
        codec.step(b"abandoned half way", &mut [0; 100], Flush::Sync).unwrap();
        assert_eq!(codec.rewind(), there != Format::BrotliCompress, "{there:?}");
        if there != Format::BrotliCompress {
            for text in [b"first".as_slice(), b"second"] {
                let packed = run(&mut codec, text, 100, 100).unwrap().0;
                assert_eq!(packed, encoded(there, text), "{there:?}");
                assert_eq!(run(&mut new(back), &packed, 100, 100).unwrap().0, text);
                assert!(codec.rewind());
            }
        }
    }
}
