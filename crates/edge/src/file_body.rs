//! Bodies that are read from files while they are sent. Over plain TCP the kernel sends them (`http1/response.rs`); elsewhere they
//! are read in parts, on a thread that may wait when the disk has to be waited for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use selvedge_files::{Changed, Part, Pieces};
use tokio::task::JoinHandle;

use crate::body::{Content, Fault};

/// What is read at once, bytes.
const READ: u64 = 64 * 1024;
/// What is brought into memory at once for the kernel to send, bytes.
const WINDOW: u64 = 512 * 1024;

/// Parts of a file.
pub struct FileBody {
    pieces: Pieces,
    reading: Option<JoinHandle<Bytes>>,
    warming: Option<JoinHandle<()>>,
}

/// What the kernel may send next.
pub(crate) enum ToSend {
    /// Text between parts.
    Bytes(Bytes),
    /// So many bytes of the file, from an offset on.
    File(u64, usize),
    Nothing,
}

impl From<Changed> for Fault {
    fn from(_: Changed) -> Self {
        Self { code: "file_changed" }
    }
}

impl FileBody {
    pub(crate) fn content(pieces: Pieces) -> Content {
        if pieces.is_empty() {
            return Content::Empty;
        }
        Content::File(Box::new(Self { pieces, reading: None, warming: None }))
    }

    /// Waits until something can be sent without waiting for a disk. What is sent is to be told to [`advance`](Self::advance).
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<ToSend, Fault>> {
        let range = match self.pieces.next() {
            None => return Poll::Ready(Ok(ToSend::Nothing)),
            Some(Part::Bytes(bytes)) => return Poll::Ready(Ok(ToSend::Bytes(bytes.clone()))),
            Some(Part::File(range)) => range.clone(),
        };
        let window = range.start..range.end.min(range.start + WINDOW);
        match &mut self.warming {
            Some(warming) => {
                // Whether it came to be there does not matter: it is sent then, too, only later.
                let _ = ready!(Pin::new(warming).poll(cx));
                self.warming = None;
            }
            None if !self.pieces.is_warm(WINDOW) => {
                let (file, range) = (self.pieces.shared_file(), window.clone());
                let warm = tokio::task::spawn_blocking(move || selvedge_files::warm(&file, range));
                let warming = self.warming.insert(warm);
                let _ = ready!(Pin::new(warming).poll(cx));
                self.warming = None;
            }
            None => {}
        }
        self.pieces.check()?;
        Poll::Ready(Ok(ToSend::File(window.start, (window.end - window.start) as usize)))
    }

    /// The file, for `sendfile`.
    pub(crate) fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pieces.file()
    }

    /// So many bytes of what is next were sent.
    pub(crate) fn advance(&mut self, count: u64) {
        self.pieces.advance(count);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let data = match (this.pieces.next(), &mut this.reading) {
            (None, _) => return Poll::Ready(None),
            (Some(Part::Bytes(bytes)), _) => bytes.clone(),
            (Some(Part::File(_)), Some(reading)) => {
                let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_default();
                this.reading = None;
                read
            }
            (Some(Part::File(range)), reading) => match this.pieces.read_now(READ as usize)? {
                Some(data) => data,
                None => {
                    let (file, range) =
                        (this.pieces.shared_file(), range.start..range.end.min(range.start + READ));
                    let read = tokio::task::spawn_blocking(move || selvedge_files::read_at(&file, range));
                    let data = ready!(Pin::new(reading.insert(read)).poll(cx)).unwrap_or_default();
                    this.reading = None;
                    data
                }
            },
        };
        // After it was read: what was written meanwhile shows.
        this.pieces.check()?;
        if data.is_empty() {
            return Poll::Ready(Some(Err(Changed.into())));
        }
        this.pieces.advance(data.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.len())
    }
}
