//! `selvedge fmt`: settings written as others write them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use taplo::formatter::{self, Options};

use crate::cli::Shared;
use crate::config;
use crate::failure::{Failure, Outcome};
use crate::server::CONFIG_NAME;
use crate::terminal::{DIM, GOOD, Terminal, say};

/// Longest line before arrays are written over several, characters.
const COLUMN_WIDTH: usize = 110;

const EXAMPLES: &str = "\
Examples:
  selvedge fmt
  selvedge fmt conf.d/*.toml
  selvedge fmt --check               for CI: changes nothing, fails when something would change";

/// Write settings in one style: spaces, indents, long arrays. Comments and order stay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FmtArgs {
    /// Files [default: selvedge.toml and what it includes]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing, and fail when something would change
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(args: &FmtArgs, _shared: &Shared, terminal: Terminal) -> Outcome {
    let files = match &args.files[..] {
        [] => config::files(Path::new(CONFIG_NAME)),
        files => files.to_vec(),
    };
    let mut changed = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
        let new = formatted(file, &text)?;
        if new == text {
            continue;
        }
        if !args.check {
            replace(file, &new).map_err(|error| Failure::io("write", file, &error))?;
        }
        changed.push(file);
    }
    if args.check && !changed.is_empty() {
        let names: Vec<String> = changed.iter().map(|file| file.display().to_string()).collect();
        return Err(Failure::new("not_formatted", format!("{} would change", names.join(", ")))
            .help("run `selvedge fmt`"));
    }
    terminal.answer(&json!({ "files": files, "changed": changed }), || {
        for file in &changed {
            say!("{GOOD}✓{GOOD:#} {}", file.display());
        }
        if changed.is_empty() {
            say!("{DIM}nothing to change{DIM:#}");
        }
    });
    Ok(())
}

/// The same settings in the usual style.
fn formatted(file: &Path, text: &str) -> Outcome<String> {
    let before = parsed(file, text)?;
    let options = Options {
        align_entries: false,
        array_auto_expand: true,
        array_auto_collapse: false,
        column_width: COLUMN_WIDTH,
        allowed_blank_lines: 1,
        trailing_newline: true,
        ..Options::default()
    };
    let new = formatter::format(text, options);
    // A formatter that changes what is meant would be worse than none.
    match parsed(file, &new) {
        Ok(after) if after == before => Ok(new),
        _ => Err(Failure::new("not_formatted", format!("{} cannot be formatted safely", file.display()))
            .help("it was left as it is; `selvedge check` shows whether it has mistakes")),
    }
}

fn parsed(file: &Path, text: &str) -> Outcome<toml::Table> {
    text.parse::<toml::Table>().map_err(|error| {
        Failure::new("bad_config", format!("{} is no TOML: {}", file.display(), error.message()))
            .help("`selvedge check` shows the place")
    })
}

/// Puts new content in a file's place at once, with the permissions of the old.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    // Of a link, the file that it leads to is replaced.
    let file = file.canonicalize()?;
    let beside = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(beside)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_changes_and_meaning_does_not() {
        let text = "# top\nadmin='127.0.0.1:1'\n\n\n\n[edge]\n  listen=[ \"a\",\"b\" ] # two\n[[sites]]\nhosts = []\n";
        let new = formatted(Path::new("x"), text).unwrap();
        assert_eq!(
            new,
            "# top\nadmin = '127.0.0.1:1'\n\n[edge]\nlisten = [\"a\", \"b\"] # two\n[[sites]]\nhosts = []\n"
        );
        assert_eq!(formatted(Path::new("x"), &new).unwrap(), new, "formatting is done once");
        assert_eq!(formatted(Path::new("x"), "a = [").unwrap_err().code, "bad_config");
    }

    #[test]
    fn long_arrays_are_broken() {
        let text = format!("a = [{}]\n", ["\"0123456789\""; 12].join(", "));
        let new = formatted(Path::new("x"), &text).unwrap();
        assert!(new.lines().count() > 10, "{new}");
    }
}
