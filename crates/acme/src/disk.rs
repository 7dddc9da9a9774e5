//! What is kept in the data directory, and how it gets there whole.
//!
//! ```text
//! certificates/shop.example.pem    key and chain, in one file, so that they always fit each other
//! certificates/shop.example.json   issuer, renewal window, failures
//! accounts/letsencrypt-1f2e3d4c.json   account key
//! accounts/letsencrypt-1f2e3d4c.pause.json   until when the issuer is left alone
//! locks/shop.example               held while somebody orders for the name
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Seconds;
use crate::names::Name;
use crate::schedule::Window;

/// Longest file that is read, bytes.
const FILE_MAX: u64 = 1 << 20;

/// What is remembered about a name, beside its certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Ordered because a client asked for it.
    pub(crate) on_demand: bool,
    /// Directory of who issued the certificate.
    pub(crate) issuer: Option<String>,
    /// When the issuer suggests to renew.
    pub(crate) window: Option<Window>,
    /// Why the window is where it is, as an address of the issuer.
    pub(crate) explanation: Option<String>,
    /// When to ask for the window again.
    pub(crate) ask_at: Option<Seconds>,
    /// Attempts in a row that failed.
    pub(crate) failures: u32,
    /// Not before this moment is it tried again.
    pub(crate) retry_at: Option<Seconds>,
    /// Why the last attempt failed, and what to do.
    pub(crate) error: Option<String>,
    /// When it failed.
    pub(crate) failed_at: Option<Seconds>,
    /// Issuers, by directory, that want to hear nothing of this name until then.
    pub(crate) limits: BTreeMap<String, Seconds>,
}

/// Until when an issuer is left alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pause {
    pub(crate) failures: u32,
    pub(crate) until: Seconds,
}

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
}

/// The right to order for a name or to make an account; given up when dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Disk {
    /// Makes the directory when absent.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        for part in ["certificates", "accounts", "locks"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join(part))?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// A directory that is only looked at.
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// All names that something is kept of.
    pub(crate) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.join("certificates"))? {
            let file = entry?.file_name();
            let stem = file.to_str().and_then(|file| file.strip_suffix(".json"));
            let name = stem.map(|stem| match stem.strip_prefix("_.") {
                Some(base) => Name::parse(&format!("*.{base}")),
                None => Name::parse(stem),
            });
            names.extend(name.and_then(Result::ok));
        }
        names.sort();
        Ok(names)
    }

    fn certificate_path(&self, name: &Name, ending: &str) -> PathBuf {
        self.dir.join("certificates").join(format!("{}.{ending}", name.file_stem()))
    }

    /// Key and chain of a name.
    pub(crate) fn pem(&self, name: &Name) -> io::Result<Option<Vec<u8>>> {
        read(&self.certificate_path(name, "pem"))
    }

    /// Keeps key and chain of a name.
    pub(crate) fn keep_pem(&self, name: &Name, pem: &str) -> io::Result<()> {
        write(&self.certificate_path(name, "pem"), pem.as_bytes())
    }

    /// What is remembered about a name. What cannot be read is forgotten: it only says when to do what.
    pub(crate) fn record(&self, name: &Name) -> Option<Record> {
        read_json(&self.certificate_path(name, "json"))
    }

    /// Remembers something about a name.
    pub(crate) fn keep_record(&self, name: &Name, record: &Record) -> io::Result<()> {
        write(&self.certificate_path(name, "json"), &serde_json::to_vec_pretty(record)?)
    }

    /// Forgets a name.
    pub(crate) fn forget(&self, name: &Name) -> io::Result<()> {
        for path in [
            self.certificate_path(name, "json"),
            self.certificate_path(name, "pem"),
            self.dir.join("locks").join(name.file_stem()),
        ] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// An issuer's account, as the ACME library writes it.
    pub(crate) fn account<T: DeserializeOwned>(&self, issuer: &str) -> Option<T> {
        read_json(&self.dir.join("accounts").join(format!("{issuer}.json")))
    }

    /// Keeps an issuer's account.
    pub(crate) fn keep_account(&self, issuer: &str, account: &impl Serialize) -> io::Result<()> {
        let path = self.dir.join("accounts").join(format!("{issuer}.json"));
        write(&path, &serde_json::to_vec_pretty(account)?)
    }

    /// Forgets an issuer's account, which the issuer does not know any more.
    pub(crate) fn forget_account(&self, issuer: &str) {
        // Absent is as good.
        let _ = fs::remove_file(self.dir.join("accounts").join(format!("{issuer}.json")));
    }

    /// Until when an issuer is left alone.
    pub(crate) fn pause(&self, issuer: &str) -> Pause {
        read_json(&self.dir.join("accounts").join(format!("{issuer}.pause.json"))).unwrap_or_default()
    }

    /// Keeps until when an issuer is left alone.
    pub(crate) fn keep_pause(&self, issuer: &str, pause: &Pause) -> io::Result<()> {
        let path = self.dir.join("accounts").join(format!("{issuer}.pause.json"));
        write(&path, &serde_json::to_vec_pretty(pause)?)
    }

    /// The lock of that name; `None` while somebody else holds it, in this process or another.
    pub(crate) fn lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let path = self.dir.join("locks").join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = match read(path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a file of the ACME directory cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "a file of the ACME directory is damaged"),
        )
        .ok()
}

/// Writes a file that is there whole or not at all, also after power is lost, for this user's eyes only.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}.{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fresh = path.with_added_extension(unique);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    })();
    if written.is_err() {
        // What is left is of no use.
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_for_one_user_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(&dir.path().join("acme")).unwrap();
        let name = Name::parse("*.a.example").unwrap();
        disk.keep_pem(&name, "one").unwrap();
        disk.keep_pem(&name, "two").unwrap();
        let record = Record { failures: 3, ..Record::default() };
        disk.keep_record(&name, &record).unwrap();
        assert_eq!(disk.pem(&name).unwrap().unwrap(), b"two");
        assert_eq!(disk.record(&name), Some(record));
        assert_eq!(disk.names().unwrap(), std::slice::from_ref(&name));
        let held = dir.path().join("acme/certificates");
        assert_eq!(fs::read_dir(&held).unwrap().count(), 2);
        for entry in fs::read_dir(&held).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(held).unwrap().permissions().mode() & 0o777, 0o700);
        disk.forget(&name).unwrap();
        assert_eq!(disk.pem(&name).unwrap(), None);
        assert!(disk.names().unwrap().is_empty());
    }

    #[test]
    fn a_lock_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (Disk::open(dir.path()).unwrap(), Disk::open(dir.path()).unwrap());
        let lock = here.lock("a.example").unwrap().unwrap();
        assert!(there.lock("a.example").unwrap().is_none());
        assert!(there.lock("b.example").unwrap().is_some());
        drop(lock);
        assert!(there.lock("a.example").unwrap().is_some());
    }

    #[test]
    fn damaged_records_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let name = Name::parse("a.example").unwrap();
        for damage in ["", "{", "{\"failures\": -1}"] {
            fs::write(dir.path().join("certificates/a.example.json"), damage).unwrap();
            assert_eq!(disk.record(&name), None, "{damage:?}");
        }
    }
}
