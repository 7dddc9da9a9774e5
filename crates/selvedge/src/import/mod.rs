//! Settings of other servers in Selvedge's words. What has no counterpart is named, with its line and the reason.

mod caddy;
mod draft;
mod nginx;
mod units;
mod words;

use std::path::Path;

pub(crate) use draft::{Draft, Note};

use crate::failure::{Failure, Outcome};

/// Whose settings a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
}

/// By its name: `Caddyfile`, or nginx's.
pub(crate) fn kind_of(file: &Path) -> Kind {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.contains("caddy") { Kind::Caddy } else { Kind::Nginx }
}

/// Reads a file, and what it includes.
pub(crate) fn import(file: &Path, kind: Kind) -> Outcome<Draft> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
    match kind {
        Kind::Nginx => nginx::import(file, &text),
        Kind::Caddy => caddy::import(file, &text),
    }
    .map_err(|note| {
        Failure::new("bad_import", format!("{note}"))
            .help("the file has to be one that its own server accepts")
    })
}

#[cfg(test)]
mod tests;
