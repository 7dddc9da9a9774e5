//! The thread that writes batches to their destination.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Batch;

/// How often a file is checked for having been rotated away.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// A destination.
#[derive(Debug)]
pub(super) enum Writer {
    Stdout,
    File { path: PathBuf, file: File, checked: Instant },
}

impl Writer {
    pub(super) fn stdout() -> Self {
        Self::Stdout
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.into(), file: open(path)?, checked: Instant::now() })
    }

    /// Writes until all senders are gone.
    pub(super) fn run(mut self, batches: &Receiver<Batch>, lost: &AtomicU64) {
        let mut failing = false;
        while let Ok(batch) = batches.recv() {
            match self.write(&batch.text) {
                Ok(()) => failing = false,
                Err(error) => {
                    lost.fetch_add(batch.lines, Ordering::Relaxed);
                    // Once per outage: a full disk would otherwise fill the diagnostics too.
                    if !failing {
                        tracing::error!(%error, "access log lines are being lost");
                    }
                    failing = true;
                }
            }
        }
    }

    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text)?;
                out.flush()
            }
            Self::File { path, file, checked } => {
                if checked.elapsed() >= ROTATION_CHECK {
                    *checked = Instant::now();
                    if was_rotated(path, file) {
                        *file = open(path)?;
                    }
                }
                file.write_all(text)
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// True when `path` no longer names `file`.
#[cfg(unix)]
fn was_rotated(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) != (open.dev(), open.ino()),
        _ => true,
    }
}

/// An open file cannot be renamed away here.
#[cfg(not(unix))]
fn was_rotated(_path: &Path, _file: &File) -> bool {
    false
}
