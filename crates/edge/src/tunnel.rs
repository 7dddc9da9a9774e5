//! Bytes between a client and a server that speak something else than HTTP by now.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use selvedge_upstream::Tunnel;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// What is read at once, bytes, for each direction.
const BUFFER: usize = 16 * 1024;
/// How long both sides may be silent. Peers that are alive send pings more often.
const SILENCE: Duration = Duration::from_secs(3600);

/// Passes everything on, both ways, until both sides have ended, one fails, or both are silent for too long. `received` came
/// from the client before. Gives the bytes that went to the client, and why it ended if it did so early.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    received: Bytes,
    server: Tunnel,
) -> (u64, Option<&'static str>) {
    let (client_in, client_out) = tokio::io::split(client);
    let (server_in, mut server_out) = tokio::io::split(server);
    if server_out.write_all(&received).await.is_err() {
        return (0, Some("upstream_closed"));
    }
    let heard = std::cell::Cell::new(Instant::now());
    let sent = std::cell::Cell::new(0);
    let up = pass(client_in, server_out, &heard, |_| {});
    let down = pass(server_in, client_out, &heard, |count| sent.set(sent.get() + count));
    let code = match tokio::try_join!(up, down) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Some("tunnel_silent"),
        Err(_) => Some("tunnel_broken"),
    };
    (sent.get(), code)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &std::cell::Cell<Instant>,
    mut count: impl FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = loop {
            let until = heard.get() + SILENCE;
            match timeout_at(until, from.read(&mut buffer)).await {
                Ok(read) => break read?,
                // The other direction may have been busy.
                Err(_) if heard.get() + SILENCE > until => {}
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        heard.set(Instant::now());
        if read == 0 {
            return to.shutdown().await;
        }
        match timeout_at(Instant::now() + SILENCE, to.write_all(&buffer[..read])).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        to.flush().await?;
        count(read as u64);
    }
}
