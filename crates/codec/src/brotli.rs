//! Brotli.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::BrotliEncoderStateStruct;
use brotli::enc::encode::{BrotliEncoderOperation as Operation, BrotliEncoderParameter as Parameter};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use crate::{Error, Flush, Options, Status, Step};

/// State and tables of a decoder without its window, bytes.
pub const DECODER_SIZE: usize = 160 << 10;

fn quality(options: &Options) -> u32 {
    options.level.unwrap_or(11).clamp(0, 11) as u32
}

fn window_bits(options: &Options) -> u32 {
    options.window_bits.unwrap_or(22).clamp(10, 24) as u32
}

/// Ring buffer, hash tables and commands, rounded up; the better qualities keep a tree over the window.
pub fn encoder_size(options: &Options) -> usize {
    let window = 1usize << window_bits(options);
    match quality(options) {
        0 | 1 => 1 << 20,
        2..=4 => 2 * window + (4 << 20),
        5..=9 => 2 * window + (12 << 20),
        _ => 10 * window + (16 << 20),
    }
}

pub struct Encoder {
    codec: BrotliEncoderStateStruct<StandardAlloc>,
}

impl Encoder {
    pub fn new(options: &Options) -> Self {
        let mut codec = BrotliEncoderStateStruct::new(StandardAlloc::default());
        codec.set_parameter(Parameter::BROTLI_PARAM_QUALITY, quality(options));
        codec.set_parameter(Parameter::BROTLI_PARAM_LGWIN, window_bits(options));
        codec.set_parameter(Parameter::BROTLI_PARAM_MODE, options.strategy.unwrap_or(0).clamp(0, 2) as u32);
        Self { codec }
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8], flush: Flush) -> Result<Step, Error> {
        if self.codec.is_finished() {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        let operation = match flush {
            Flush::None => Operation::BROTLI_OPERATION_PROCESS,
            Flush::Finish => Operation::BROTLI_OPERATION_FINISH,
            _ => Operation::BROTLI_OPERATION_FLUSH,
        };
        let (mut left, mut read, mut room, mut written) = (input.len(), 0, output.len(), 0);
        let fine = self.codec.compress_stream(
            operation,
            &mut left,
            input,
            &mut read,
            &mut room,
            output,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !fine {
            return Err(Error::State);
        }
        let status = if self.codec.is_finished() {
            Status::End
        } else if self.codec.has_more_output() || left > 0 {
            Status::More
        } else {
            Status::Hungry
        };
        Ok(Step { read, written, status })
    }
}

pub struct Decoder {
    codec: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    begun: bool,
    ended: bool,
}

impl Decoder {
    pub fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Windows beyond the standard's 16 MiB are not for the web.
        Self { codec: BrotliState::new_strict(alloc(), alloc(), alloc()), begun: false, ended: false }
    }

    /// Size of the window, which stands in the first byte (RFC 7932, section 9.1), when this is the first input.
    pub fn window(&self, input: &[u8]) -> usize {
        let Some(&first) = input.first().filter(|_| !self.begun) else { return 0 };
        let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
            (0, ..) => 16,
            (_, 0, 0) => 17,
            (_, 0, n) => 8 + n,
            (_, n, _) => 17 + n,
        };
        1 << bits
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        self.begun |= !input.is_empty();
        let (mut left, mut read, mut room, mut written) = (input.len(), 0, output.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut 0,
            &mut self.codec,
        );
        let status = match result {
            BrotliResult::ResultSuccess => {
                self.ended = true;
                Status::End
            }
            BrotliResult::NeedsMoreInput => Status::Hungry,
            BrotliResult::NeedsMoreOutput => Status::More,
            BrotliResult::ResultFailure => return Err(Error::Data("The compressed data is malformed")),
        };
        Ok(Step { read, written, status })
    }
}
