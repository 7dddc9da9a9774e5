//! From a connection's first bytes to a session: who is asked for decides which certificate is shown, and what the client
//! has to show.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{Accepted, Acceptor};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::client::ClientCertificate;
use crate::server::{Policy, Tls};
use crate::stream::{Buffers, TlsStream};

/// Bytes of a client's first message, with which it says whom it wants and what it can do.
const HELLO_MAX: usize = 64 * 1024;
/// What is read at once before there is a session, bytes.
const READ: usize = 4096;
/// How a record of a handshake begins.
const HANDSHAKE: u8 = 22;
/// `unrecognized_name` (RFC 6066, section 3), fatal.
const UNKNOWN_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
/// For clients that speak HTTP where TLS is spoken.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\n\
    content-length: 93\r\n\r\n\
    {\"error\":{\"code\":\"https_expected\",\"message\":\"This port speaks HTTPS. Begin with https://.\"}}\n";
/// How long a client that was refused is given to read why, and what it may send meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_MAX: usize = 64 * 1024;

/// What was agreed upon in a handshake.
#[derive(Clone, Debug)]
pub struct Session {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// The host that the client asked for (SNI), in lower case.
    pub name: Option<Box<str>>,
    /// The client chose HTTP/2.
    pub http2: bool,
    /// The session goes on where an earlier one ended.
    pub resumed: bool,
    /// What was asked of the client.
    pub policy: Arc<Policy>,
    /// What the client showed.
    pub client: Option<Box<ClientCertificate>>,
}

/// Why there is no session. The client was told as far as that is possible.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke, or the client left.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What arrived is not TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// There is no certificate for the name that it asked for.
    #[error("there is no certificate for {0:?}")]
    UnknownName(String),
    /// It was refused, or has refused what it was offered.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// It was an authority that verified a challenge, and got its answer.
    #[error("a challenge was answered")]
    Challenge,
}

/// Shakes hands with a client of which `received` was read already. The caller limits the time.
///
/// # Errors
/// There is no session; the connection is to be closed.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    mut received: Vec<u8>,
    tls: &Tls,
    buffers: Rc<Buffers>,
) -> Result<(TlsStream<S>, Session), HandshakeError> {
    let accepted = match hello(&mut io, &mut received).await {
        Ok(accepted) => accepted,
        Err((error, answer)) => {
            refuse(io, &answer).await;
            return Err(error);
        }
    };
    let (chosen, name) = {
        let hello = accepted.client_hello();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let chosen = match tls.choose(&hello) {
            None if tls.demand(&hello).await => tls.choose(&hello),
            chosen => chosen,
        };
        (chosen, name)
    };
    drop(accepted);
    let Some(chosen) = chosen else {
        refuse(io, UNKNOWN_NAME).await;
        return Err(HandshakeError::UnknownName(name.unwrap_or_default()));
    };
    let mut stream = TlsStream::new(io, chosen.config, received, buffers)?;
    if let Err(error) = std::future::poll_fn(|cx| stream.poll_handshake(cx)).await {
        // Its alert is on its way.
        if error.kind() == io::ErrorKind::InvalidData {
            linger(&mut stream.into_inner()).await;
        }
        return Err(error.into());
    }
    if chosen.challenge {
        let _ = stream.shutdown().await;
        return Err(HandshakeError::Challenge);
    }
    let session = session(&stream, chosen.policy, name);
    Ok((stream, session))
}

/// Reads until the client's first message is whole, and keeps the bytes: the session reads them again. An error comes with
/// what to tell the client.
async fn hello<S: AsyncRead + Unpin>(
    io: &mut S,
    received: &mut Vec<u8>,
) -> Result<Accepted, (HandshakeError, Vec<u8>)> {
    let silent = |error: HandshakeError| (error, Vec::new());
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        match received.first() {
            Some(&HANDSHAKE) | None => {}
            Some(letter) if letter.is_ascii_uppercase() => {
                return Err((HandshakeError::NotTls, SPEAK_TLS.to_vec()));
            }
            Some(_) => return Err(silent(HandshakeError::NotTls)),
        }
        while seen < received.len() {
            let mut rest = &received[seen..];
            let before = rest.len();
            acceptor.read_tls(&mut rest).map_err(|error| silent(error.into()))?;
            seen += before - rest.len();
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) if before == rest.len() => {
                    return Err(silent(HandshakeError::NotTls));
                }
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    let _ = alert.write_all(&mut bytes);
                    return Err((error.into(), bytes));
                }
            }
        }
        if received.len() >= HELLO_MAX {
            return Err(silent(HandshakeError::NotTls));
        }
        received.reserve(READ);
        match io.read_buf(received).await {
            Ok(0) => return Err(silent(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            Ok(_) => {}
            Err(error) => return Err(silent(error.into())),
        }
    }
}

/// Tells the client why, and lets it read that: bytes left unread would have the kernel void it.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, answer: &[u8]) {
    if answer.is_empty() || io.write_all(answer).await.is_err() {
        return;
    }
    linger(&mut io).await;
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) {
    let _ = io.shutdown().await;
    let rest = async {
        let (mut thrown, mut room) = (0, [0; 1024]);
        while let Ok(count @ 1..) = io.read(&mut room).await
            && thrown < LINGER_MAX
        {
            thrown += count;
        }
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &TlsStream<S>,
    policy: Arc<Policy>,
    name: Option<String>,
) -> Session {
    let session = stream.session();
    let client = session.peer_certificates().and_then(ClientCertificate::of);
    Session {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown"),
        name: name.map(String::into_boxed_str),
        http2: session.alpn_protocol() == Some(b"h2"),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        policy,
        client: client.map(Box::new),
    }
}
