//! Runs other programs, and says what to install when one is missing.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// Runs quietly; its output is shown only when it fails. Returns standard output.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(command, error))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        bail!("{} failed ({})\n{}{}", shown(command), output.status, text[0], text[1]);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", shown(command)))
}

/// Runs with its output on our terminal.
pub(crate) fn loud(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| missing(command, error))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// `npm ci` from the lock file, running no package's scripts.
pub(crate) fn npm_ci(dir: &std::path::Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(dir);
    quiet(&mut npm).map(drop)
}

fn missing(command: &Command, error: std::io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy().into_owned();
    if error.kind() != ErrorKind::NotFound {
        return anyhow!(error).context(format!("start {program}"));
    }
    let remedy = match program.as_str() {
        "npm" | "node" => "install Node.js 20 or newer with npm (Debian, Ubuntu: `apt install nodejs npm`)",
        "g++" => "install a C++20 compiler (Debian, Ubuntu: `apt install g++`)",
        "ar" => "install binutils (Debian, Ubuntu: `apt install binutils`)",
        "git" => "install git (Debian, Ubuntu: `apt install git`)",
        _ => "install it, or put it on PATH",
    };
    anyhow!("`{program}` is not on this machine: {remedy}")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = quiet(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn a_failing_program_shows_what_it_said() {
        let error = quiet(Command::new("sh").args(["-c", "echo because >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("because"), "{error}");
    }
}
