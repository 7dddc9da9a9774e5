//! What two processes say to each other while the second takes over from the first: lines of JSON over a Unix socket, behind
//! the first of which come the listening sockets themselves (`SCM_RIGHTS`).
//!
//! ```text
//! former                                   new
//!   │ heritage + sockets ──────────────────▶ │  reads its settings, starts its sandbox hosts
//!   │ ◀──────────────────────────── records  │
//!   │ (lets nobody write) yours ───────────▶ │  opens the records, then everything else
//!   │ ◀────────────────────────────── ready  │
//!   │ (takes no connection any more) go ───▶ │  takes connections
//!   │ ◀──────────────────────────── serving  │
//!   │ (drains and ends)                      │
//! ```
//!
//! Until it has heard *serving*, the former process can take everything back.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Longest line, bytes.
const LINE_MAX: usize = 256 * 1024;
/// Sockets that go with one byte; the kernel takes 253.
const BATCH: usize = 64;
/// Sockets in all.
const SOCKETS_MAX: usize = 8192;
/// For the other side to take what it is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// Everything that is left to the new process.
    Heritage(Heritage),
    /// The new one is about to open the records.
    Records,
    /// Nobody else writes there from now on.
    Yours,
    /// It could serve.
    Ready,
    /// It is to take connections, and to call the cron triggers of the minutes after this one.
    Go { minute: u64 },
    /// It does.
    Serving,
    /// It gives up.
    Failed { failure: Failure },
}

/// What comes with the sockets, in their order: the lock, the control API's listener, then those of the edge.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Heritage {
    /// The data directory whose lock it is.
    pub(super) data: PathBuf,
    pub(super) admin: Address,
    pub(super) listeners: Vec<Address>,
}

/// A listener: its address as the settings have it and as it is, and how many sockets it has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) configured: String,
    pub(super) bound: String,
    pub(super) sockets: usize,
}

impl Heritage {
    /// Sockets in all, if that can be true.
    pub(super) fn sockets(&self) -> io::Result<usize> {
        let edge = self.listeners.iter().try_fold(0_usize, |sum, address| sum.checked_add(address.sockets));
        let all = edge.and_then(|edge| edge.checked_add(2)).filter(|all| *all <= SOCKETS_MAX);
        all.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "too many sockets"))
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self(stream))
    }

    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }

    /// The next message. `None` at the other side's end.
    ///
    /// # Errors
    /// `TimedOut` when it does not come until then; `InvalidData` when it is none.
    pub(super) fn receive(&self, until: Option<Instant>) -> io::Result<Option<Message>> {
        let mut line = Vec::new();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.set_read_timeout(left)?;
            // One at a time: what follows the line may have sockets with it.
            let mut byte = [0];
            match (&self.0).read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) if byte == *b"\n" => {
                    let message = serde_json::from_slice(&line);
                    return message
                        .map(Some)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Ok(_) if line.len() < LINE_MAX => line.push(byte[0]),
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // It ended without having read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn send_sockets(&self, sockets: &[OwnedFd]) -> io::Result<()> {
        for batch in sockets.chunks(BATCH) {
            let fds: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            sendmsg(&self.0, &[IoSlice::new(b"+")], &mut ancillary, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// So many sockets. No program that is started later gets them.
    pub(super) fn receive_sockets(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let received =
                recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let before = sockets.len();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    sockets.extend(fds);
                }
            }
            if received.bytes == 0 || sockets.len() == before {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "listening sockets are missing"));
            }
        }
        Ok(sockets)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one).unwrap(), Channel::new(other).unwrap())
    }

    #[test]
    fn sockets_arrive_in_order_behind_their_line() {
        let (former, new) = pair();
        let listeners: Vec<TcpListener> =
            (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|one| one.local_addr().unwrap().port()).collect();
        let sockets: Vec<OwnedFd> = listeners.into_iter().map(OwnedFd::from).collect();
        former.send(&Message::Go { minute: 7 }).unwrap();
        former.send_sockets(&sockets).unwrap();
        former.send(&Message::Yours).unwrap();
        assert!(matches!(new.receive(None).unwrap(), Some(Message::Go { minute: 7 })));
        let arrived = new.receive_sockets(150).unwrap();
        let flags = rustix::io::fcntl_getfd(&arrived[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let arrived = arrived.into_iter().map(|fd| TcpListener::from(fd).local_addr().unwrap().port());
        assert_eq!(arrived.collect::<Vec<_>>(), ports);
        assert!(matches!(new.receive(None).unwrap(), Some(Message::Yours)));
        drop(former);
        assert!(new.receive(None).unwrap().is_none());
        assert!(new.receive_sockets(1).is_err());
    }

    #[test]
    fn nonsense_and_silence_are_errors() {
        let (former, new) = pair();
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(new.receive(soon()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        (&former.0).write_all(b"hello\n").unwrap();
        assert_eq!(new.receive(soon()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let long = std::thread::spawn(move || (&former.0).write_all(&vec![b'x'; LINE_MAX + 2]));
        assert_eq!(new.receive(None).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(new);
        let _ = long.join();
        let many = Address { configured: String::new(), bound: String::new(), sockets: usize::MAX };
        let admin = Address { configured: String::new(), bound: String::new(), sockets: 1 };
        assert!(Heritage { data: PathBuf::new(), admin, listeners: vec![many] }.sockets().is_err());
    }
}
