//! Compressed formats, one step at a time: gzip (RFC 1952), zlib's (RFC 1950), bare deflate (RFC 1951),
//! Brotli (RFC 7932) and Zstandard (RFC 8878). A step takes a bounded piece of the input and fills a bounded piece of output, so that who calls
//! decides how fast a bomb goes off, and may stop between any two steps.

mod brotli;
mod zlib;
mod zstd;

/// Most of the input that one step takes, bytes.
pub const STEP_INPUT_MAX: usize = 64 << 10;

/// A format and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Into gzip.
    Gzip,
    /// Out of one member of gzip.
    Gunzip,
    /// Into zlib's format, which HTTP calls `deflate`.
    Deflate,
    /// Out of zlib's format.
    Inflate,
    /// Into bare deflate.
    DeflateRaw,
    /// Out of bare deflate.
    InflateRaw,
    /// Out of gzip or zlib's format, whichever it is.
    Unzip,
    /// Into Brotli.
    BrotliCompress,
    /// Out of Brotli.
    BrotliDecompress,
    /// Into Zstandard.
    ZstdCompress,
    /// Out of one frame of Zstandard.
    ZstdDecompress,
}

impl Format {
    /// By the name that JavaScript uses.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "gzip" => Self::Gzip,
            "gunzip" => Self::Gunzip,
            "deflate" => Self::Deflate,
            "inflate" => Self::Inflate,
            "deflateRaw" => Self::DeflateRaw,
            "inflateRaw" => Self::InflateRaw,
            "unzip" => Self::Unzip,
            "brotliCompress" => Self::BrotliCompress,
            "brotliDecompress" => Self::BrotliDecompress,
            _ => return None,
        })
    }
}

/// What may be set. Values out of range are taken for the nearest one in it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// 0 to 9, for Brotli 0 to 11, for Zstandard 1 to 19; `None` is the format's own default.
    pub level: Option<i32>,
    /// Base-2 logarithm of the window: 9 to 15, for Brotli 10 to 24, for Zstandard 10 to 23.
    pub window_bits: Option<i32>,
    /// 1 to 9: memory for speed, zlib's formats only.
    pub mem_level: Option<i32>,
    /// zlib's strategy, 0 to 4; for Brotli its mode: 0 generic, 1 text, 2 font.
    pub strategy: Option<i32>,
    /// A preset dictionary of zlib's formats.
    pub dictionary: Vec<u8>,
}

/// How far output is to be forced, with zlib's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// 0: as the codec likes.
    None,
    /// 1
    Partial,
    /// 2: everything so far can be read.
    Sync,
    /// 3: and what follows does not need it.
    Full,
    /// 4: nothing follows.
    Finish,
    /// 5: to the end of a block.
    Block,
}

impl Flush {
    /// By zlib's number; anything unknown is `None`.
    pub fn by_number(number: u32) -> Self {
        match number {
            1 => Self::Partial,
            2 => Self::Sync,
            3 => Self::Full,
            4 => Self::Finish,
            5 => Self::Block,
            _ => Self::None,
        }
    }
}

/// Where a codec stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The input is taken and what the flush asked for is out. A decoder that was told to finish and says this has
    /// not seen the end.
    Hungry,
    /// There is more to be had, or input left: call again.
    More,
    /// The end. Input that is left does not belong to it.
    End,
}

/// What one step did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Bytes of the input taken.
    pub read: usize,
    /// Bytes of output written.
    pub written: usize,
    /// What to do next.
    pub status: Status,
}

/// Why a codec gave up; it is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The data is malformed, with zlib's own words where it has some.
    Data(&'static str),
    /// The data was made with a dictionary that was not given.
    NeedDictionary,
    /// The dictionary is not the one that the data was made with.
    WrongDictionary,
    /// There is no memory for it.
    Memory,
    /// It failed before, or in itself.
    State,
}

impl Error {
    /// zlib's name for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Data(_) | Self::WrongDictionary => "Z_DATA_ERROR",
            Self::NeedDictionary => "Z_NEED_DICT",
            Self::Memory => "Z_MEM_ERROR",
            Self::State => "Z_STREAM_ERROR",
        }
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Data(text) => text,
            Self::NeedDictionary => "Missing dictionary",
            Self::WrongDictionary => "Bad dictionary",
            Self::Memory => "Not enough memory for the codec",
            Self::State => "The codec has failed",
        }
    }
}

/// One stream being coded or decoded.
pub struct Codec {
    format: Format,
    options: Options,
    state: State,
}

// Boxed: the variants differ in size by kilobytes.
enum State {
    Deflate(Box<zlib::Encoder>),
    Inflate(Box<zlib::Decoder>),
    Compress(Box<brotli::Encoder>),
    Decompress(Box<brotli::Decoder>),
    ZstdCompress(Box<zstd::Encoder>),
    ZstdDecompress(Box<zstd::Decoder>),
    Failed(Error),
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Codec {
    /// A codec at the beginning of a stream.
    pub fn new(format: Format, options: Options) -> Result<Self, Error> {
        let state = match format {
            Format::Gzip | Format::Deflate | Format::DeflateRaw => {
                State::Deflate(Box::new(zlib::Encoder::new(format, &options)?))
            }
            Format::Gunzip | Format::Inflate | Format::InflateRaw | Format::Unzip => {
                State::Inflate(Box::new(zlib::Decoder::new(format, &options)?))
            }
            Format::BrotliCompress => State::Compress(Box::new(brotli::Encoder::new(&options))),
            Format::BrotliDecompress => State::Decompress(Box::new(brotli::Decoder::new())),
            Format::ZstdCompress => State::ZstdCompress(Box::new(zstd::Encoder::new(&options)?)),
            Format::ZstdDecompress => State::ZstdDecompress(Box::new(zstd::Decoder::new()?)),
        };
        Ok(Self { format, options, state })
    }

    /// Starts over with the same settings.
    pub fn reset(&mut self) -> Result<(), Error> {
        *self = Self::new(self.format, std::mem::take(&mut self.options))?;
        Ok(())
    }

    /// Starts over like [`Codec::reset`], in the memory it has, where the format can: not for Brotli, nor with a dictionary, nor
    /// for decoders. False leaves it as it was.
    pub fn rewind(&mut self) -> bool {
        match &mut self.state {
            State::Deflate(codec) if self.options.dictionary.is_empty() => codec.rewind(),
            State::ZstdCompress(codec) => codec.rewind(),
            _ => false,
        }
    }

    /// The most memory that a codec takes with these settings, bytes. A Brotli decoder finds out how much when it sees
    /// its first byte, see [`Codec::will_take`].
    pub fn size(format: Format, options: &Options) -> usize {
        match format {
            Format::Gzip | Format::Deflate | Format::DeflateRaw => zlib::encoder_size(options),
            Format::Gunzip | Format::Inflate | Format::InflateRaw | Format::Unzip => {
                zlib::DECODER_SIZE + options.dictionary.len()
            }
            Format::BrotliCompress => brotli::encoder_size(options),
            Format::BrotliDecompress => brotli::DECODER_SIZE,
            Format::ZstdCompress => zstd::encoder_size(options),
            Format::ZstdDecompress => zstd::DECODER_SIZE + zstd::DECODER_WINDOW,
        }
    }

    /// Bytes beyond [`Codec::size`] that the codec will take once it has seen this input.
    pub fn will_take(&self, input: &[u8]) -> usize {
        match &self.state {
            State::Decompress(decoder) => decoder.window(input),
            _ => 0,
        }
    }

    /// One step: takes some of the input, writes some output. `flush` holds once all of the input is taken.
    pub fn step(&mut self, input: &[u8], output: &mut [u8], flush: Flush) -> Result<Step, Error> {
        let (input, cut) = match input.split_at_checked(STEP_INPUT_MAX) {
            Some((first, rest)) => (first, !rest.is_empty()),
            None => (input, false),
        };
        let flush = if cut { Flush::None } else { flush };
        // A fault in a codec must not take the process down with it.
        let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &mut self.state {
            State::Deflate(codec) => codec.step(input, output, flush),
            State::Inflate(codec) => codec.step(input, output),
            State::Compress(codec) => codec.step(input, output, flush),
            State::Decompress(codec) => codec.step(input, output),
            State::ZstdCompress(codec) => codec.step(input, output, flush),
            State::ZstdDecompress(codec) => codec.step(input, output),
            State::Failed(error) => Err(*error),
        }));
        let stepped = stepped.unwrap_or(Err(Error::State));
        match stepped {
            Ok(mut step) => {
                if step.status == Status::Hungry && cut {
                    step.status = Status::More;
                }
                Ok(step)
            }
            Err(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }
}

/// CRC-32 as gzip has it, going on from `start`.
pub fn crc32(start: u32, bytes: &[u8]) -> u32 {
    zlib_rs::crc32::crc32(start, bytes)
}

#[cfg(test)]
mod tests;
