//! What the payloads hold. Encoders append whole frames; decoders borrow from the payload.
//!
//! Headers travel as one block: `name NUL value NUL …`, names in lower case. Neither may contain NUL (RFC 9110,
//! section 5.5), so the block needs no lengths and passes into JavaScript as one string.

use crate::frame::{self, Kind, WireError, begin, end};

/// First bytes of `HELLO`.
const MAGIC: [u8; 4] = *b"SLVG";
/// Longest message of a reset, and of what is logged, bytes.
const RESET_TEXT_MAX: usize = 4096;
const LOG_TEXT_MAX: usize = 16 << 10;

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ResetCode {
    /// The other side is no longer interested.
    Canceled = 1,
    /// The handler threw; the message says what.
    Exception = 2,
    /// The handler answered with something that is no response, or never can answer.
    NoResponse = 3,
    /// Over the CPU limit.
    CpuExceeded = 4,
    /// Over the memory limit.
    MemoryExceeded = 5,
    /// Over the wall time limit.
    Timeout = 6,
    /// No such instance on this host.
    UnknownInstance = 7,
    /// The body is larger than allowed.
    BodyTooLarge = 8,
    /// The egress policy forbids the destination, or its limit is reached.
    Refused = 9,
    /// The destination could not be reached or broke off.
    Unreachable = 10,
    /// The instance was taken down by another request's offence; this one did nothing wrong.
    Bystander = 11,
    /// The peer broke the protocol on this stream.
    Protocol = 12,
    /// The destination's name could not be resolved.
    DnsFailed = 20,
    /// Nothing listens at the destination.
    ConnectionRefused = 21,
    /// The destination took too long.
    TimedOut = 22,
    /// The destination's certificate is not trusted, or TLS failed otherwise.
    TlsFailed = 23,
    /// The destination answered with what cannot be used.
    BadResponse = 24,
}

impl ResetCode {
    fn from_number(number: u16) -> Self {
        match number {
            2 => Self::Exception,
            3 => Self::NoResponse,
            4 => Self::CpuExceeded,
            5 => Self::MemoryExceeded,
            6 => Self::Timeout,
            7 => Self::UnknownInstance,
            8 => Self::BodyTooLarge,
            9 => Self::Refused,
            10 => Self::Unreachable,
            11 => Self::Bystander,
            12 => Self::Protocol,
            20 => Self::DnsFailed,
            21 => Self::ConnectionRefused,
            22 => Self::TimedOut,
            23 => Self::TlsFailed,
            24 => Self::BadResponse,
            _ => Self::Canceled,
        }
    }
}

/// What `OPEN` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Load a worker; the body is its artifact, then its code cache.
    Load(Load<'a>),
    /// Answer a request.
    Fetch(Fetch<'a>),
    /// Run the `scheduled` handler.
    Scheduled(Scheduled<'a>),
    /// Answer another worker, which calls by a service binding.
    Invoke(Invoke<'a>),
    /// Host to engine: fetch something outside.
    Subrequest(Subrequest<'a>),
    /// Host to engine: ask a server outside for a WebSocket. Status 101 makes the stream a
    /// [`socket`](crate::socket); any other answer is that to a subrequest.
    WebSocket(Subrequest<'a>),
    /// Host to engine: ask what a binding of the worker stands for.
    Bound(Bound<'a>),
    /// Host to engine: connect to something outside. Answered with `HEAD` 200 once it is open; the bodies are its bytes.
    Connect(Connect<'a>),
}

/// Load a worker as `instance`. Answered with `HEAD` 200 and a body of JSON and code cache, or `HEAD` 422 and a
/// diagnostic in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load<'a> {
    /// The engine's number for it, unique in the host's life, never 0.
    pub instance: u32,
    /// MiB.
    pub memory_mb: u32,
    /// CPU milliseconds each request adds to the account.
    pub cpu_ms: u32,
    /// Most CPU milliseconds the account can hold.
    pub cpu_burst_ms: u32,
    /// Subrequests per request.
    pub subrequests: u32,
    /// Length of `env` in the body, where it comes first: a JSON array of bindings.
    pub env_len: u32,
    /// Length of the artifact in the body, which follows; the rest is code cache.
    pub artifact_len: u32,
    /// What is switched on for the worker, in bits: see `selvedge_model::compatibility`.
    pub compatibility: u32,
    /// Whether to answer with a code cache.
    pub want_code_cache: bool,
    /// Whether inspectors are to see its modules.
    pub inspectable: bool,
    /// Name for stack traces and messages.
    pub name: &'a str,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch<'a> {
    /// Whose.
    pub instance: u32,
    /// Milliseconds it may take.
    pub wall_ms: u32,
    /// The client asks for a WebSocket, so that status 101 is a possible answer; see [`socket`](crate::socket).
    pub socket: bool,
    /// The client speaks HTTP/2, not HTTP/1.1.
    pub http2: bool,
    /// Such as `GET`.
    pub method: &'a [u8],
    /// Absolute, serialised.
    pub url: &'a [u8],
    /// Header block.
    pub headers: &'a [u8],
}

/// One call of another worker: a request, or with an empty method a session of remote calls, whose messages are the
/// bodies in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoke<'a> {
    /// Name of the export that answers; empty for the default export.
    pub entrypoint: &'a str,
    /// JSON for `ctx.props`; empty for none.
    pub props: &'a str,
    /// Subrequests that are left for the request that set it off; the worker's own limit may be less.
    pub subrequests: u32,
    /// The request.
    pub fetch: Fetch<'a>,
}

/// One run of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduled<'a> {
    /// Whose.
    pub instance: u32,
    /// Milliseconds it may take.
    pub wall_ms: u32,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// The cron expression.
    pub cron: &'a str,
}

/// One request of a worker to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subrequest<'a> {
    /// Who asks.
    pub instance: u32,
    /// The engine's stream on whose behalf.
    pub parent: u32,
    /// Such as `GET`.
    pub method: &'a [u8],
    /// Absolute.
    pub url: &'a [u8],
    /// Header block.
    pub headers: &'a [u8],
}

/// One request of a worker to what a name in its `env` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The name; `#` and the name of an export for the worker itself.
    pub binding: &'a str,
    /// JSON for `ctx.props` of the worker itself; empty where a binding is named.
    pub props: &'a str,
    /// The request; with an empty method, a session of remote calls.
    pub request: Subrequest<'a>,
}

impl<'a> Fetch<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&self.wall_ms.to_le_bytes());
        out.push(u8::from(self.socket) | u8::from(self.http2) << 1);
        put_text(out, self.method);
        put_text(out, self.url);
        out.extend_from_slice(self.headers);
    }

    fn take(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let (instance, wall_ms, flags) = (reader.u32()?, reader.u32()?, reader.u8()?);
        Ok(Self {
            instance,
            wall_ms,
            socket: flags & 1 != 0,
            http2: flags & 2 != 0,
            method: reader.text()?,
            url: reader.text()?,
            headers: reader.rest,
        })
    }
}

impl<'a> Subrequest<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&self.parent.to_le_bytes());
        put_text(out, self.method);
        put_text(out, self.url);
        out.extend_from_slice(self.headers);
    }

    fn take(mut reader: Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            instance: reader.u32()?,
            parent: reader.u32()?,
            method: reader.text()?,
            url: reader.text()?,
            headers: reader.rest,
        })
    }
}

/// A TCP connection of a worker to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Who asks.
    pub instance: u32,
    /// The engine's stream on whose behalf.
    pub parent: u32,
    /// TLS from the start.
    pub secure: bool,
    /// Port.
    pub port: u16,
    /// The stream of a plain connection that goes on here with TLS; 0 for a new connection.
    pub upgrade: u32,
    /// A name or an address; of an upgraded connection, the name that the certificate must have.
    pub host: &'a str,
}

impl Call<'_> {
    /// Appends the `OPEN` frame.
    pub fn put(&self, out: &mut Vec<u8>, flags: u8, stream: u32) {
        let start = begin(out, Kind::Open, flags, stream);
        match self {
            Call::Load(load) => {
                out.push(1);
                for number in [
                    load.instance,
                    load.memory_mb,
                    load.cpu_ms,
                    load.cpu_burst_ms,
                    load.subrequests,
                    load.env_len,
                    load.artifact_len,
                    load.compatibility,
                ] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                out.push(u8::from(load.want_code_cache) | u8::from(load.inspectable) << 1);
                out.extend_from_slice(load.name.as_bytes());
            }
            Call::Fetch(fetch) => {
                out.push(2);
                fetch.put(out);
            }
            Call::Scheduled(scheduled) => {
                out.push(3);
                out.extend_from_slice(&scheduled.instance.to_le_bytes());
                out.extend_from_slice(&scheduled.wall_ms.to_le_bytes());
                out.extend_from_slice(&scheduled.time_ms.to_le_bytes());
                out.extend_from_slice(scheduled.cron.as_bytes());
            }
            Call::Invoke(invoke) => {
                out.push(4);
                out.extend_from_slice(&invoke.subrequests.to_le_bytes());
                put_text(out, invoke.entrypoint.as_bytes());
                put_text(out, invoke.props.as_bytes());
                invoke.fetch.put(out);
            }
            Call::Subrequest(request) | Call::WebSocket(request) => {
                out.push(if matches!(self, Call::WebSocket(_)) { 0x82 } else { 0x81 });
                request.put(out);
            }
            Call::Bound(bound) => {
                out.push(0x83);
                put_text(out, bound.binding.as_bytes());
                put_text(out, bound.props.as_bytes());
                bound.request.put(out);
            }
            Call::Connect(connect) => {
                out.push(0x84);
                out.extend_from_slice(&connect.instance.to_le_bytes());
                out.extend_from_slice(&connect.parent.to_le_bytes());
                out.push(u8::from(connect.secure));
                out.extend_from_slice(&connect.port.to_le_bytes());
                out.extend_from_slice(&connect.upgrade.to_le_bytes());
                out.extend_from_slice(connect.host.as_bytes());
            }
        }
        end(out, start);
    }

    /// Reads an `OPEN` payload.
    pub fn decode(payload: &[u8]) -> Result<Call<'_>, WireError> {
        let mut reader = Reader { rest: payload, what: "OPEN" };
        match reader.u8()? {
            1 => {
                let mut load = Load {
                    instance: reader.u32()?,
                    memory_mb: reader.u32()?,
                    cpu_ms: reader.u32()?,
                    cpu_burst_ms: reader.u32()?,
                    subrequests: reader.u32()?,
                    env_len: reader.u32()?,
                    artifact_len: reader.u32()?,
                    compatibility: reader.u32()?,
                    want_code_cache: false,
                    inspectable: false,
                    name: "",
                };
                let flags = reader.u8()?;
                load.want_code_cache = flags & 1 != 0;
                load.inspectable = flags & 2 != 0;
                load.name = reader.utf8_rest()?;
                Ok(Call::Load(load))
            }
            2 => Fetch::take(reader).map(Call::Fetch),
            3 => Ok(Call::Scheduled(Scheduled {
                instance: reader.u32()?,
                wall_ms: reader.u32()?,
                time_ms: u64::from(reader.u32()?) | u64::from(reader.u32()?) << 32,
                cron: reader.utf8_rest()?,
            })),
            4 => {
                let subrequests = reader.u32()?;
                let (entrypoint, props) = (reader.utf8_text()?, reader.utf8_text()?);
                Ok(Call::Invoke(Invoke { entrypoint, props, subrequests, fetch: Fetch::take(reader)? }))
            }
            0x81 => Subrequest::take(reader).map(Call::Subrequest),
            0x82 => Subrequest::take(reader).map(Call::WebSocket),
            0x83 => {
                let (binding, props) = (reader.utf8_text()?, reader.utf8_text()?);
                Ok(Call::Bound(Bound { binding, props, request: Subrequest::take(reader)? }))
            }
            0x84 => Ok(Call::Connect(Connect {
                instance: reader.u32()?,
                parent: reader.u32()?,
                secure: reader.u8()? != 0,
                port: reader.u16()?,
                upgrade: reader.u32()?,
                host: reader.utf8_rest()?,
            })),
            _ => Err(WireError::Payload("OPEN")),
        }
    }
}

/// Status and headers of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// HTTP status.
    pub status: u16,
    /// Header block.
    pub headers: &'a [u8],
}

impl Head<'_> {
    /// Appends the `HEAD` frame.
    pub fn put(&self, out: &mut Vec<u8>, flags: u8, stream: u32) {
        let start = begin(out, Kind::Head, flags, stream);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(self.headers);
        end(out, start);
    }

    /// Reads a `HEAD` payload.
    pub fn decode(payload: &[u8]) -> Result<Head<'_>, WireError> {
        let mut reader = Reader { rest: payload, what: "HEAD" };
        Ok(Head { status: reader.u16()?, headers: reader.rest })
    }
}

/// Walks a header block; stops at the first malformed pair.
pub fn header_pairs(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut parts = block.split(|byte| *byte == 0);
    std::iter::from_fn(move || {
        let name = parts.next().filter(|name| !name.is_empty())?;
        Some((name, parts.next()?))
    })
}

/// Appends one pair to a header block.
pub fn put_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(value);
    out.push(0);
}

/// First frame of each side: the version, and in words what confines the host (empty from the engine).
pub fn put_hello(out: &mut Vec<u8>, confinement: &str) {
    let start = begin(out, Kind::Hello, 0, 0);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&crate::VERSION.to_le_bytes());
    out.extend_from_slice(confinement.as_bytes());
    end(out, start);
}

/// Reads `HELLO`; an error when the peer cannot be talked to.
pub fn decode_hello(payload: &[u8]) -> Result<&str, WireError> {
    let mut reader = Reader { rest: payload, what: "HELLO" };
    let magic = reader.u32()?;
    let version = reader.u16()?;
    if magic != u32::from_le_bytes(MAGIC) || version != crate::VERSION {
        return Err(WireError::Version(version));
    }
    reader.utf8_rest()
}

/// Ends a stream with a reason; the message is cut to 4 KiB.
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: ResetCode, message: &str) {
    let start = begin(out, Kind::Reset, frame::FIN, stream);
    out.extend_from_slice(&(code as u16).to_le_bytes());
    out.extend_from_slice(cut(message, RESET_TEXT_MAX).as_bytes());
    end(out, start);
}

/// Reads a `RESET` payload; the message is cut as it is by [`put_reset`].
pub fn decode_reset(payload: &[u8]) -> Result<(ResetCode, &str), WireError> {
    let mut reader = Reader { rest: payload, what: "RESET" };
    Ok((ResetCode::from_number(reader.u16()?), cut(reader.utf8_rest()?, RESET_TEXT_MAX)))
}

/// Lets the peer send `bytes` more on a stream.
pub fn put_credit(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    frame::put(out, Kind::Credit, 0, stream, &bytes.to_le_bytes());
}

/// Reads the one number of `CREDIT`, `UNLOAD` and `GONE`.
pub fn decode_number(payload: &[u8]) -> Result<u32, WireError> {
    Reader { rest: payload, what: "number" }.u32()
}

/// What a `LOG` frame reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    /// Whose.
    pub instance: u32,
    /// 0 debug … 4 error.
    pub level: u8,
    /// Whether it is an uncaught exception rather than console output.
    pub exception: bool,
    /// Text.
    pub message: &'a str,
    /// JavaScript stack, or empty.
    pub stack: &'a str,
}

impl Log<'_> {
    /// Appends the `LOG` frame; message and stack are cut to 16 KiB each.
    pub fn put(&self, out: &mut Vec<u8>, stream: u32) {
        let start = begin(out, Kind::Log, 0, stream);
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.push(self.level);
        out.push(u8::from(self.exception));
        put_text(out, cut(self.message, LOG_TEXT_MAX).as_bytes());
        out.extend_from_slice(cut(self.stack, LOG_TEXT_MAX).as_bytes());
        end(out, start);
    }

    /// Reads a `LOG` payload; message and stack are cut as they are by [`Log::put`].
    pub fn decode(payload: &[u8]) -> Result<Log<'_>, WireError> {
        let mut reader = Reader { rest: payload, what: "LOG" };
        Ok(Log {
            instance: reader.u32()?,
            level: reader.u8()?.min(4),
            exception: reader.u8()? != 0,
            message: cut(reader.utf8_text()?, LOG_TEXT_MAX),
            stack: cut(reader.utf8_rest()?, LOG_TEXT_MAX),
        })
    }
}

fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// At most `max` bytes of `text`, ending between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max.min(text.len()))]
}

struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::Payload(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()? as usize;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Payload(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    fn utf8_text(&mut self) -> Result<&'a str, WireError> {
        let what = self.what;
        std::str::from_utf8(self.text()?).map_err(|_| WireError::Payload(what))
    }

    fn utf8_rest(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.rest).map_err(|_| WireError::Payload(self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use proptest::prelude::*;

    fn payload(bytes: &[u8]) -> Vec<u8> {
        decode(bytes).unwrap().unwrap().0.payload.to_vec()
    }

    proptest! {
        #[test]
        fn calls_survive(instance: u32, wall_ms: u32, time_ms: u64, a in any::<Vec<u8>>(), b in any::<Vec<u8>>(), s in ".*", want: bool) {
            let calls = [
                Call::Load(Load { instance, memory_mb: wall_ms, cpu_ms: 1, cpu_burst_ms: 2, subrequests: 3, env_len: 5, artifact_len: 4, compatibility: 3, want_code_cache: want, inspectable: !want, name: &s }),
                Call::Fetch(Fetch { instance, wall_ms, socket: want, http2: !want, method: &a, url: &b, headers: &a }),
                Call::Scheduled(Scheduled { instance, wall_ms, time_ms, cron: &s }),
                Call::Invoke(Invoke { entrypoint: &s, props: &s, subrequests: wall_ms, fetch: Fetch { instance, wall_ms, socket: want, http2: !want, method: &a, url: &b, headers: &a } }),
                Call::Subrequest(Subrequest { instance, parent: wall_ms, method: &b, url: &a, headers: &b }),
                Call::WebSocket(Subrequest { instance, parent: wall_ms, method: &b, url: &a, headers: &b }),
                Call::Bound(Bound { binding: &s, props: &s, request: Subrequest { instance, parent: wall_ms, method: &b, url: &a, headers: &b } }),
                Call::Connect(Connect { instance, parent: wall_ms, secure: want, port: wall_ms as u16, upgrade: wall_ms, host: &s }),
            ];
            for call in calls {
                let mut out = Vec::new();
                call.put(&mut out, 0, 1);
                let payload = payload(&out);
                prop_assert_eq!(Call::decode(&payload), Ok(call));
            }
        }

        #[test]
        fn logs_and_resets_survive(instance: u32, level in 0u8..5, exception: bool, message in ".*", stack in ".*") {
            let log = Log { instance, level, exception, message: &message, stack: &stack };
            let mut out = Vec::new();
            log.put(&mut out, 9);
            let logged = payload(&out);
            prop_assert_eq!(Log::decode(&logged), Ok(log));
            out.clear();
            put_reset(&mut out, 3, ResetCode::Timeout, &message);
            let reset = payload(&out);
            prop_assert_eq!(decode_reset(&reset), Ok((ResetCode::Timeout, message.as_str())));
        }

        #[test]
        fn any_payload_is_answered(bytes in any::<Vec<u8>>()) {
            let _ = Call::decode(&bytes);
            let _ = Head::decode(&bytes);
            let _ = Log::decode(&bytes);
            let _ = decode_reset(&bytes);
            let _ = decode_hello(&bytes);
            let _ = decode_number(&bytes);
            let _ = header_pairs(&bytes).count();
        }
    }

    #[test]
    fn header_blocks() {
        let mut block = Vec::new();
        put_header(&mut block, b"a", b"1");
        put_header(&mut block, b"b", b"");
        let pairs: Vec<_> = header_pairs(&block).collect();
        assert_eq!(pairs, [(b"a".as_slice(), b"1".as_slice()), (b"b", b"")]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut out = Vec::new();
        put_reset(&mut out, 1, ResetCode::Exception, &"ü".repeat(4000));
        assert_eq!(decode_reset(&payload(&out)).unwrap().1.len(), 4096);
        // Neither side relies on the other's having done so.
        assert_eq!(decode_reset(&[vec![2, 0], vec![b'x'; 100_000]].concat()).unwrap().1.len(), 4096);
        let mut log = vec![1, 0, 0, 0, 4, 0];
        put_text(&mut log, &vec![b'x'; 100_000]);
        log.extend_from_slice(&vec![b'y'; 100_000]);
        let log = Log::decode(&log).unwrap();
        assert_eq!((log.message.len(), log.stack.len()), (16 << 10, 16 << 10));
    }

    #[test]
    fn hello_checks_the_version() {
        let mut out = Vec::new();
        put_hello(&mut out, "seccomp");
        let mut hello = payload(&out);
        assert_eq!(decode_hello(&hello), Ok("seccomp"));
        hello[4] = 77;
        assert_eq!(decode_hello(&hello), Err(WireError::Version(77)));
        assert!(decode_hello(b"GET / HTTP/1.1").is_err());
    }
}
