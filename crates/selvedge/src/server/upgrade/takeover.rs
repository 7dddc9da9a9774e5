//! The new process' side: what it takes over, and the way to the one before.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use selvedge_edge::Handed;
use selvedge_edge::tls_config::Endpoint;

use super::TAKES_OVER;
use super::channel::{Channel, Heritage, Message};
use crate::failure::{Failure, Outcome};

/// A former process, as long as it has not left.
#[derive(Debug)]
pub(crate) struct Takeover {
    channel: Channel,
    former: u32,
    data: PathBuf,
    lock: Option<File>,
    admin: Option<Handed>,
    sockets: Vec<Handed>,
}

impl Takeover {
    /// What a former process leaves to this one, if it was started for that.
    pub(crate) fn begin() -> Outcome<Option<Self>> {
        let former = std::env::var(TAKES_OVER).ok().and_then(|text| text.parse::<u32>().ok());
        // The variable may have come to a program that was started for something else.
        let Some(former) = former.filter(|former| *former == std::os::unix::process::parent_id()) else {
            return Ok(None);
        };
        let failed = |error: io::Error| {
            Failure::new("takeover", format!("process {former} could not hand over its listeners: {error}"))
        };
        Self::receive(former).map(Some).map_err(failed)
    }

    fn receive(former: u32) -> io::Result<Self> {
        let channel = Channel::new(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))?;
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "it said something else");
        let Some(Message::Heritage(heritage)) = channel.receive(None)? else { return Err(missing()) };
        let mut sockets = channel.receive_sockets(heritage.sockets()?)?.into_iter();
        let Heritage { data, admin, listeners } = heritage;
        let lock = sockets.next().map(File::from);
        let mut handed = |address: super::channel::Address| -> io::Result<Handed> {
            let parsed = |text: &str| text.parse().map_err(|_| missing());
            Ok(Handed {
                configured: parsed(&address.configured)?,
                bound: parsed(&address.bound)?,
                sockets: sockets.by_ref().take(address.sockets).collect(),
            })
        };
        let admin = Some(handed(admin)?);
        let sockets = listeners.into_iter().map(&mut handed).collect::<io::Result<_>>()?;
        Ok(Self { channel, former, data, lock, admin, sockets })
    }

    /// The process before this one.
    pub(crate) fn former(&self) -> u32 {
        self.former
    }

    /// The lock of a data directory, if that is what the former process has.
    pub(crate) fn lock(&mut self, data: &Path) -> Option<File> {
        let same = data == self.data || data.canonicalize().is_ok_and(|data| data == self.data);
        self.lock.take_if(|_| same)
    }

    /// The control API's listener, if it is to stay where it is.
    pub(crate) fn admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let wanted = Endpoint::Tcp(address);
        let admin = self.admin.take_if(|admin| admin.configured == wanted || admin.bound == wanted)?;
        admin.sockets.into_iter().next().map(|socket: OwnedFd| socket.into())
    }

    /// The edge's listeners.
    pub(crate) fn sockets(&mut self) -> Vec<Handed> {
        std::mem::take(&mut self.sockets)
    }

    /// Waits until nobody else writes to the records. A former process that is gone does not.
    pub(crate) fn records(&self) -> Outcome {
        self.ask(&Message::Records).map(|_| ())
    }

    /// Says that everything stands ready, and waits until the former process takes no connections any more. Gives the last minute
    /// whose cron triggers it has called.
    pub(crate) fn ready(&self) -> Outcome<Option<u64>> {
        Ok(match self.ask(&Message::Ready)? {
            Some(Message::Go { minute }) => Some(minute),
            _ => None,
        })
    }

    /// Connections are taken here: the former process may go.
    pub(crate) fn serving(self) {
        // If it is gone already, all the better.
        let _ = self.channel.send(&Message::Serving);
    }

    /// Tells the former process why it has to go on.
    pub(crate) fn fail(&self, failure: &Failure) {
        let _ = self.channel.send(&Message::Failed { failure: failure.clone() });
    }

    /// `None`: the former process is gone, and with it all that there was to wait for.
    fn ask(&self, message: &Message) -> Outcome<Option<Message>> {
        match self.channel.send(message).and_then(|()| self.channel.receive(None)) {
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(error) => Err(Failure::new("takeover", format!("process {}: {error}", self.former))),
        }
    }
}
