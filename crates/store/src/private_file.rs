//! Small files that only their owner may read: the secret key and the default token.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::StoreError;

/// More than any such file holds, bytes.
const SIZE_MAX: u64 = 4096;

/// The file's text; `None` when it is absent.
pub(crate) fn read(path: &Path) -> Result<Option<String>, StoreError> {
    let open = || {
        let mut text = String::new();
        File::open(path)?.take(SIZE_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    match open() {
        Ok(text) => Ok(Some(text)),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { action: "read", path: path.into(), source }),
    }
}

/// Replaces the file durably and at once: a reader sees the old text or the new one, and mode 0600.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let attempt = || {
        // A left-over of a crash may have another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    attempt().map_err(|source| StoreError::Io { action: "write", path: path.into(), source })
}
