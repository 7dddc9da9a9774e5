//! A Selvedge whose workers find the host's ops in a global, which those of a real one never see.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{Selvedge, repository};

/// Starts one with these settings; its isolate host is in the directory.
pub fn selvedge(settings: &str) -> (Selvedge, TempDir) {
    let place = tempfile::tempdir().unwrap();
    build(place.path());
    (Selvedge::with_libexec(place.path(), settings), place)
}

/// The directory of the isolate host that the executable under test finds by itself.
fn libexec() -> PathBuf {
    let found = std::env::var_os("SELVEDGE_LIBEXEC").map(PathBuf::from);
    found.unwrap_or_else(|| repository("target/libexec/selvedge")).canonicalize().unwrap()
}

/// Makes a libexec directory whose snapshot leaves the ops where workers find them.
fn build(place: &Path) {
    let libexec = libexec();
    for entry in fs::read_dir(&libexec).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "runtime.snapshot" {
            symlink(libexec.join(&name), place.join(&name)).unwrap();
        }
    }
    // The snapshot's file ends with the pack of scripts it was made of: see `isolate/src/snapshot.rs`.
    let file = fs::read(libexec.join("runtime.snapshot")).unwrap();
    let (rest, heap) = file.split_last_chunk::<8>().unwrap();
    let pack = &rest[u64::from_le_bytes(*heap) as usize..];
    let (name, pack) = field(pack);
    let (core, parts) = field(pack);
    let core = [b"globalThis.rawOps={...__ops};", core].concat();
    let mut changed = Vec::new();
    for bytes in [name, &core] {
        changed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        changed.extend_from_slice(bytes);
    }
    changed.extend_from_slice(parts);
    let pack = place.join("runtime.pack");
    fs::write(&pack, changed).unwrap();
    let made = Command::new(libexec.join("carrier"))
        .env("LD_PRELOAD", libexec.join("libisolate.so"))
        .arg("--selvedge-make-snapshot")
        .args([pack, place.join("runtime.snapshot")])
        .status();
    assert!(made.unwrap().success(), "the snapshot is made");
}

/// The first field of a pack, and what follows it.
fn field(pack: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = pack.split_first_chunk::<4>().unwrap();
    rest.split_at(u32::from_le_bytes(*length) as usize)
}
