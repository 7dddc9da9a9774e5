//! zlib's three formats.

use zlib_rs::{
    Deflate, DeflateConfig, DeflateError, DeflateFlush, Inflate, InflateError, InflateFlush, Status as Zlib,
    Strategy,
};

use crate::{Error, Flush, Format, Options, Status, Step};

/// Window, tables and state of an inflater, bytes.
pub const DECODER_SIZE: usize = 48 << 10;

/// zlib adds 16 to the window bits for gzip and 32 for either, and negates them for neither.
fn window_bits(format: Format, bits: i32) -> i32 {
    match format {
        Format::Gzip | Format::Gunzip => bits + 16,
        Format::Unzip => bits + 32,
        Format::DeflateRaw | Format::InflateRaw => -bits,
        _ => bits,
    }
}

fn config(format: Format, options: &Options) -> DeflateConfig {
    let strategy = options.strategy.and_then(|number| Strategy::try_from(number).ok()).unwrap_or_default();
    DeflateConfig {
        level: options.level.map_or(6, |level| if level < 0 { 6 } else { level.min(9) }),
        window_bits: window_bits(format, options.window_bits.unwrap_or(15).clamp(9, 15)),
        mem_level: options.mem_level.unwrap_or(8).clamp(1, 9),
        strategy,
        ..DeflateConfig::default()
    }
}

/// By zlib's own account, and room for what zlib-rs adds.
pub fn encoder_size(options: &Options) -> usize {
    let config = config(Format::Deflate, options);
    (1 << (config.window_bits + 2)) + (1 << (config.mem_level + 9)) + (192 << 10) + options.dictionary.len()
}

pub struct Encoder {
    codec: Deflate,
    ended: bool,
}

impl Encoder {
    pub fn new(format: Format, options: &Options) -> Result<Self, Error> {
        let mut codec = Deflate::new_with_config(config(format, options));
        if !options.dictionary.is_empty() && format != Format::Gzip {
            codec.set_dictionary(&options.dictionary).map_err(|_| Error::WrongDictionary)?;
        }
        Ok(Self { codec, ended: false })
    }

    pub fn rewind(&mut self) -> bool {
        self.codec.reset();
        self.ended = false;
        true
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8], flush: Flush) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        let flush = match flush {
            Flush::None => DeflateFlush::NoFlush,
            Flush::Partial => DeflateFlush::PartialFlush,
            Flush::Sync => DeflateFlush::SyncFlush,
            Flush::Full => DeflateFlush::FullFlush,
            Flush::Finish => DeflateFlush::Finish,
            Flush::Block => DeflateFlush::Block,
        };
        let before = (self.codec.total_in(), self.codec.total_out());
        let status = self.codec.compress(input, output, flush).map_err(|error| match error {
            DeflateError::MemError => Error::Memory,
            _ => Error::State,
        })?;
        let read = (self.codec.total_in() - before.0) as usize;
        let written = (self.codec.total_out() - before.1) as usize;
        let status = match status {
            Zlib::StreamEnd => {
                self.ended = true;
                Status::End
            }
            _ if written == output.len() || read < input.len() => Status::More,
            _ => Status::Hungry,
        };
        Ok(Step { read, written, status })
    }
}

pub struct Decoder {
    codec: Inflate,
    dictionary: Vec<u8>,
    ended: bool,
}

impl Decoder {
    pub fn new(format: Format, options: &Options) -> Result<Self, Error> {
        let bits = options.window_bits.unwrap_or(15).clamp(8, 15);
        let raw = format == Format::InflateRaw;
        let bits = if raw { bits } else { window_bits(format, bits) };
        let mut codec = Inflate::new(!raw, bits as u8);
        if raw && !options.dictionary.is_empty() {
            codec.set_dictionary(&options.dictionary).map_err(|_| Error::WrongDictionary)?;
        }
        Ok(Self { codec, dictionary: options.dictionary.clone(), ended: false })
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Error> {
        if self.ended {
            return Ok(Step { read: 0, written: 0, status: Status::End });
        }
        let before = (self.codec.total_in(), self.codec.total_out());
        let mut status = self.codec.decompress(input, output, InflateFlush::SyncFlush);
        if let Err(InflateError::NeedDict { .. }) = status {
            if self.dictionary.is_empty() {
                return Err(Error::NeedDictionary);
            }
            self.codec.set_dictionary(&self.dictionary).map_err(|_| Error::WrongDictionary)?;
            let read = (self.codec.total_in() - before.0) as usize;
            status = self.codec.decompress(&input[read..], output, InflateFlush::SyncFlush);
        }
        let status = match status {
            Ok(status) => status,
            Err(InflateError::NeedDict { .. }) => return Err(Error::NeedDictionary),
            Err(InflateError::MemError) => return Err(Error::Memory),
            Err(InflateError::DataError) => {
                return Err(Error::Data(
                    self.codec.error_message().unwrap_or("The compressed data is malformed"),
                ));
            }
            Err(InflateError::StreamError) => return Err(Error::State),
        };
        let read = (self.codec.total_in() - before.0) as usize;
        let written = (self.codec.total_out() - before.1) as usize;
        let status = match status {
            Zlib::StreamEnd => {
                self.ended = true;
                Status::End
            }
            _ if written == output.len() || read < input.len() => Status::More,
            _ => Status::Hungry,
        };
        Ok(Step { read, written, status })
    }
}
