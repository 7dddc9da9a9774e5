//! Zstandard (RFC 8878).

use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use crate::{Error, Flush, Options, Status, Step};

/// State of a decoder without its window, bytes.
pub const DECODER_SIZE: usize = 192 << 10;
/// Largest window of a decoder: what RFC 8878 asks everybody to bear is 8 MiB, and RFC 9659 nobody to exceed.
const DECODER_WINDOW_BITS: u32 = 23;
/// The same in bytes.
pub const DECODER_WINDOW: usize = 1 << DECODER_WINDOW_BITS;

fn level(options: &Options) -> i32 {
    options.level.unwrap_or(3).clamp(1, 19)
}

/// The default keeps a client's decoder within 1 MiB, and ours too.
fn window_bits(options: &Options) -> u32 {
    options.window_bits.unwrap_or(20).clamp(10, 23) as u32
}

/// Window, tables and buffers, rounded up.
pub fn encoder_size(options: &Options) -> usize {
    let window = 1usize << window_bits(options);
    match level(options) {
        ..=3 => 2 * window + (2 << 20),
        4..=12 => 4 * window + (8 << 20),
        _ => 12 * window + (16 << 20),
    }
}

pub struct Encoder {
    codec: CCtx<'static>,
    ended: bool,
}

impl Encoder {
    pub fn new(options: &Options) -> Result<Self, Error> {
        let mut codec = CCtx::try_create().ok_or(Error::Memory)?;
        for parameter in [
            CParameter::CompressionLevel(level(options)),
            CParameter::WindowLog(window_bits(options)),
            CParameter::ContentSizeFlag(false),
        ] {
            codec.set_parameter(parameter).map_err(|_| Error::State)?;
        }
        Ok(Self { codec, ended: false })
    }

    pub fn rewind(&mut self) -> bool {
        self.ended = false;
        self.codec.reset(ResetDirective::SessionOnly).is_ok()
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8], flush: Flush) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        let directive = match flush {
            Flush::None => Directive::ZSTD_e_continue,
            Flush::Finish => Directive::ZSTD_e_end,
            _ => Directive::ZSTD_e_flush,
        };
        let (mut from, room) = (InBuffer::around(input), output.len());
        let mut to = OutBuffer::around(output);
        let left = self.codec.compress_stream2(&mut to, &mut from, directive).map_err(|_| Error::State)?;
        let (read, written) = (from.pos(), to.pos());
        let status = match flush {
            Flush::Finish if left == 0 => {
                self.ended = true;
                Status::End
            }
            Flush::None if read == input.len() && written < room => Status::Hungry,
            Flush::None => Status::More,
            _ if left == 0 && read == input.len() => Status::Hungry,
            _ => Status::More,
        };
        Ok(Step { read, written, status })
    }
}

pub struct Decoder {
    codec: DCtx<'static>,
    ended: bool,
}

impl Decoder {
    pub fn new() -> Result<Self, Error> {
        let mut codec = DCtx::try_create().ok_or(Error::Memory)?;
        codec.set_parameter(DParameter::WindowLogMax(DECODER_WINDOW_BITS)).map_err(|_| Error::State)?;
        Ok(Self { codec, ended: false })
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        let (mut from, room) = (InBuffer::around(input), output.len());
        let mut to = OutBuffer::around(output);
        let left = self
            .codec
            .decompress_stream(&mut to, &mut from)
            .map_err(|_| Error::Data("The compressed data is malformed"))?;
        let (read, written) = (from.pos(), to.pos());
        let status = if left == 0 {
            self.ended = true;
            Status::End
        } else if written == room || read < input.len() {
            Status::More
        } else {
            Status::Hungry
        };
        Ok(Step { read, written, status })
    }
}
