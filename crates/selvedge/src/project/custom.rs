//! A project's own build step: `build` in the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Outcome};

/// Files that are watched at most.
const WATCHED_MAX: usize = 10_000;

/// What runs before the bundler.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomBuild {
    /// For the shell.
    pub(super) command: String,
    /// Where it runs, relative to the project.
    pub(super) directory: PathBuf,
    /// Directories with its sources, relative to the project.
    pub(super) watched: Vec<PathBuf>,
}

impl CustomBuild {
    /// Runs the command; what it says goes to standard error.
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let directory = root.join(&self.directory);
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).current_dir(&directory).stdin(Stdio::null());
        command.stdout(std::io::stderr());
        let status = command.status().map_err(|error| Failure::io("run the build in", &directory, &error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new("build_failed", format!("the build {:?} failed ({status})", self.command))
            .help("correct it, or `build.command` in the configuration"))
    }

    /// The files whose change calls for another build.
    pub(crate) fn sources(&self, root: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for directory in &self.watched {
            collect(&root.join(directory), &mut files);
        }
        files
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    // A directory that is not there, or is gone again, has no files.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() != "node_modules" {
                collect(&path, files);
            }
        } else if files.len() < WATCHED_MAX {
            files.push(path);
        }
    }
}
