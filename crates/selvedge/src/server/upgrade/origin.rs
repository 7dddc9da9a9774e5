//! How a new process is started: as this one was, by an executable that may be another by now.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// How this process was started.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(super) executable: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) directory: PathBuf,
}

impl Origin {
    /// Of this process, to be asked before anybody replaces its executable.
    pub(crate) fn now() -> Self {
        let mut arguments = env::args_os();
        let named = PathBuf::from(arguments.next().unwrap_or_default());
        let directory = env::current_dir().unwrap_or_default();
        let running = env::current_exe().unwrap_or_default();
        // The name by which it was called, which a link may lead elsewhere from.
        let called = match named.components().count() {
            0 => None,
            1 => {
                let path = env::var_os("PATH").unwrap_or_default();
                env::split_paths(&path).map(|dir| dir.join(&named)).find(|file| file.is_file())
            }
            _ => Some(directory.join(&named)),
        };
        let is_it = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == running);
        let executable = called.filter(is_it).unwrap_or(running);
        Self { executable, arguments: arguments.collect(), directory }
    }
}

/// An executable that may be run in place of this one: whoever can reach the control API is not to run just anything.
pub(super) fn trusted(path: &Path) -> Outcome<PathBuf> {
    let refuse = |why: &str| {
        let message = format!("{} is not run: {why}", path.display());
        Failure::new("upgrade_untrusted", message)
            .help("name the absolute path of a Selvedge that belongs to root or to the server's user")
    };
    if !path.is_absolute() {
        return Err(refuse("its path is not absolute"));
    }
    let about = std::fs::metadata(path).map_err(|error| refuse(&error.to_string()))?;
    let mode = about.permissions().mode();
    if !about.is_file() || mode & 0o111 == 0 {
        return Err(refuse("it is no executable file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if (about.uid() != 0 && about.uid() != own) || mode & 0o022 != 0 {
        return Err(refuse("others can change it"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_executables_that_nobody_else_can_change_are_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("selvedge");
        let why =
            |path: &Path| trusted(path).map(|_| String::new()).unwrap_or_else(|failure| failure.message);
        assert!(why(Path::new("selvedge")).contains("absolute"));
        assert!(why(&file).contains("No such file"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(why(&file).contains("no executable"));
        assert!(why(dir.path()).contains("no executable"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o722)).unwrap();
        assert!(why(&file).contains("others can change it"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(trusted(&file).unwrap(), file);
    }
}
