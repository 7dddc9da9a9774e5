//! Where this machine keeps Selvedge's data and helper files.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// `SELVEDGE_DATA` is read by the command line; without it, the user's data directory.
pub(crate) fn default_data_dir() -> PathBuf {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(dir) = absolute("XDG_DATA_HOME") {
        return dir.join("selvedge");
    }
    absolute("HOME").unwrap_or_else(|| PathBuf::from("/var/lib")).join(".local/share/selvedge")
}

/// Certificates ordered by ACME, and accounts with their issuers.
pub(crate) fn certificates(data: &Path) -> PathBuf {
    data.join("acme")
}

/// The isolate host, its snapshot and esbuild: `SELVEDGE_LIBEXEC`, or `../libexec/selvedge` beside the executable.
pub(crate) fn libexec() -> PathBuf {
    if let Some(dir) = env::var_os("SELVEDGE_LIBEXEC") {
        return dir.into();
    }
    let executable = env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let beside = executable.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    beside.join("libexec/selvedge")
}

/// The API token: given, or of the Selvedge that keeps its data in `data`.
pub(crate) fn token(given: Option<&str>, data: &Path) -> Outcome<String> {
    if let Some(token) = given {
        return Ok(token.trim().to_owned());
    }
    let path = data.join("token");
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(token.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("no API token: {} does not exist", path.display());
            Err(Failure::new("no_token", message).help(
                "start Selvedge with `selvedge up`; for another machine, set SELVEDGE_API and SELVEDGE_TOKEN",
            ))
        }
        Err(error) => Err(Failure::io("read", &path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_token_wins_and_a_missing_one_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(token(None, dir.path()).unwrap_err().code, "no_token");
        std::fs::write(dir.path().join("token"), "kept\n").unwrap();
        assert_eq!(token(None, dir.path()).unwrap(), "kept");
        assert_eq!(token(Some("given"), dir.path()).unwrap(), "given");
    }
}
