//! Files of a directory as HTTP sees them: which one a path names, its validators, types, ranges and compressed forms.
//!
//! [`Files::find`] looks, [`Files::answer`] says what HTTP makes of it: the first may have to wait for a disk, the second never
//! does. Small files stay in memory with the heads of their answers, and a hit there costs no system call.
//!
//! Nothing outside of the root can be reached. Paths are decoded once and refused unless they are plain names; the kernel
//! resolves them with `openat2` beneath an open directory, so that links cannot lead out, whatever changes meanwhile.

mod answer;
mod coding;
mod config;
mod find;
mod glob;
mod hot;
mod listing;
mod media;
mod path;
mod pieces;
mod preconditions;
mod ranges;
mod root;
mod stamp;

pub use answer::{Answer, Asked, Body};
pub use config::{FilesConfig, MemoryConfig, Symlinks};
pub use find::{Files, Found, Miss, Wait};
pub use pieces::{Changed, Part, Pieces, read_at, warm};
