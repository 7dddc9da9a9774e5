//! TCP connections of workers: bytes in both directions, TLS from the start or later.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use selvedge_model::Worker;
use selvedge_wire::message::{self, Connect, Head};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};

use super::dial::{dial, secure};
use super::failed::{Failed, refused, timed_out, unreachable};
use super::http::{PLACE_TIMEOUT, too_many};
use crate::connection::Connection;
use crate::shared::Shared;
use crate::stream::Stream;

/// What one read takes at most, bytes.
const READ_MAX: usize = 32 << 10;
/// How long a closed socket may take to send what was written to it.
const LINGER: Duration = Duration::from_secs(5);
/// Mail is sent through services that answer for it.
const SMTP: u16 = 25;

/// A plain connection and its place among those of its account.
type Plain = (TcpStream, OwnedSemaphorePermit);
/// Asks the task of a plain connection to hand it over, to go on with TLS.
pub type Takeover = oneshot::Sender<oneshot::Sender<Plain>>;

/// Takes a connection's beginning off the wire and serves it in the background.
pub fn begin(connection: &Rc<Connection>, shared: &Arc<Shared>, stream: Rc<Stream>, request: &Connect<'_>) {
    let id = stream.id;
    let worker = shared.worker_of(request.instance, &connection.host);
    let host = request.host.trim_matches(['[', ']']).to_ascii_lowercase();
    let (port, tls) = (request.port, request.secure);
    // Now, for the old stream is reset next.
    let earlier = (request.upgrade != 0).then(|| take_over(connection, request));
    let (connection, shared) = (connection.clone(), shared.clone());
    tokio::task::spawn_local(async move {
        let has_been_open = Cell::new(false);
        let served = async {
            let worker = worker.ok_or_else(|| refused("The worker is being unloaded."))?;
            let (socket, place) = match earlier {
                None => open(&connection, &shared, &worker, &host, port).await?,
                Some(plain) => handed_over(plain?).await?,
            };
            let addresses = (socket.peer_addr().ok(), socket.local_addr().ok());
            if tls {
                let socket = secure(&shared.egress.tls, &host, socket).await?;
                answer(&connection, &stream, addresses);
                return carry(&stream, socket, None).await.map(|_| ());
            }
            let (takeover, asked) = oneshot::channel();
            connection.sockets.borrow_mut().insert(id, (stream.instance, takeover));
            has_been_open.set(true);
            answer(&connection, &stream, addresses);
            if let Some((socket, reply)) = carry(&stream, socket, Some(asked)).await? {
                let _ = reply.send((socket, place));
            }
            Ok(())
        };
        let (mut served, mut linger) = (pin!(served), None);
        let served = poll_fn(|cx| {
            let taken_over = has_been_open.get() && !connection.sockets.borrow().contains_key(&id);
            if stream.poll_over(cx).is_ready() && !taken_over {
                // A socket that was closed sends what was written before; one that was aborted does not.
                if linger.is_none() && !stream.has_ended() {
                    return Poll::Ready(Ok(()));
                }
                let linger = linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                if linger.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
            }
            served.as_mut().poll(cx)
        })
        .await;
        connection.sockets.borrow_mut().remove(&id);
        if let Err(Failed(code, text)) = served {
            stream.cancel(code, &text);
        }
        connection.forget(&stream);
    });
}

/// Asks the task of a connection for it.
fn take_over(connection: &Connection, request: &Connect<'_>) -> Result<oneshot::Receiver<Plain>, Failed> {
    let (reply, plain) = oneshot::channel();
    let mut sockets = connection.sockets.borrow_mut();
    // A host is not believed about others' instances.
    let own = sockets.get(&request.upgrade).is_some_and(|(instance, _)| *instance == request.instance);
    let takeover = own.then(|| sockets.remove(&request.upgrade)).flatten();
    match takeover.map(|(_, takeover)| takeover.send(reply)) {
        Some(Ok(())) => Ok(plain),
        _ => Err(gone()),
    }
}

async fn handed_over(plain: oneshot::Receiver<Plain>) -> Result<Plain, Failed> {
    timeout(PLACE_TIMEOUT, plain)
        .await
        .map_err(|_| timed_out("The connection did not take what had been written to it before TLS."))?
        .map_err(|_| gone())
}

fn gone() -> Failed {
    unreachable("The connection that was to go on with TLS is closed.")
}

async fn open(
    connection: &Connection,
    shared: &Shared,
    worker: &Worker,
    host: &str,
    port: u16,
) -> Result<Plain, Failed> {
    if port == SMTP {
        return Err(refused(
            "Port 25 is closed to workers. Send mail through a service with an API, or over port 587.",
        ));
    }
    let places = connection.egress.tenant(&worker.account).exchanges.clone();
    let Ok(Ok(place)) = timeout(PLACE_TIMEOUT, places.acquire_owned()).await else { return Err(too_many()) };
    Ok((dial(&shared.egress, &worker.egress, host, port).await?, place))
}

/// Tells the worker that the connection is open.
fn answer(
    connection: &Connection,
    stream: &Stream,
    (remote, local): (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>),
) {
    let mut headers = Vec::new();
    for (name, address) in [("remote", remote), ("local", local)] {
        if let Some(address) = address {
            message::put_header(&mut headers, name.as_bytes(), address.to_string().as_bytes());
        }
    }
    connection.send(|out| Head { status: 200, headers: &headers }.put(out, 0, stream.id));
}

/// What came of a connection: it goes on with TLS elsewhere, or it is over.
type Rest<S> = Option<(S, oneshot::Sender<Plain>)>;

/// Carries bytes in both directions until both have ended, or until the connection is taken over.
async fn carry<S>(
    stream: &Rc<Stream>,
    socket: S,
    takeover: Option<oneshot::Receiver<oneshot::Sender<Plain>>>,
) -> Result<Rest<S>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(socket);
    let broke = |error: std::io::Error| unreachable(format!("The connection broke: {error}."));
    let asked = Cell::new(None);
    let broken = Cell::new(false);
    let down = async {
        let mut buffer = vec![0; READ_MAX];
        while let Some(room) = poll_fn(|cx| stream.poll_credit(cx)).await {
            let count = reader.read(&mut buffer[..room.min(READ_MAX)]).await.map_err(broke)?;
            stream.send_data(&buffer[..count], count == 0);
            if count == 0 {
                break;
            }
        }
        Ok(())
    };
    let up = async {
        let mut takeover = takeover;
        loop {
            let chunk = poll_fn(|cx| {
                // What was written before goes first.
                let chunk = stream.poll_chunk(cx);
                if let Poll::Ready(None | Some(Ok(_))) = chunk {
                    return chunk.map(Ok);
                }
                match takeover.as_mut().map(|takeover| std::pin::Pin::new(takeover).poll(cx)) {
                    Some(Poll::Ready(Ok(reply))) => Poll::Ready(Err(reply)),
                    _ => chunk.map(Ok),
                }
            });
            match chunk.await {
                Ok(Some(Ok(bytes))) => {
                    writer.write_all(&bytes).await.map_err(broke)?;
                    writer.flush().await.map_err(broke)?;
                }
                Ok(None) => {
                    // The peer may have closed its side already.
                    let _ = writer.shutdown().await;
                    return Ok(());
                }
                Ok(Some(Err(_))) => {
                    broken.set(true);
                    return Ok(());
                }
                Err(reply) => {
                    asked.set(Some(reply));
                    return Ok(());
                }
            }
        }
    };
    {
        let (mut down, mut up) = (pin!(down), pin!(up));
        let (mut down_done, mut up_done) = (false, false);
        poll_fn(|cx| {
            if !up_done && let Poll::Ready(done) = up.as_mut().poll(cx) {
                up_done = true;
                done?;
            }
            let taken = asked.take();
            let is_taken = taken.is_some();
            asked.set(taken);
            if !down_done
                && !is_taken
                && let Poll::Ready(done) = down.as_mut().poll(cx)
            {
                down_done = true;
                done?;
            }
            if is_taken || broken.get() || (down_done && up_done) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await?;
    }
    Ok(asked.take().map(|reply| (reader.unsplit(writer), reply)))
}
