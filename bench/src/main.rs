//! `cargo xtask bench`: measures Selvedge beside its peers and prints a table for each figure. See bench/README.md.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A terminal program.

mod cpu;
mod figures;
mod load;
mod process;
mod report;
mod servers;
mod statistics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cpu::Cores;
use crate::figures::Name;
use crate::report::Report;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measure Selvedge beside its peers.")]
struct Cli {
    /// Figures to measure [default: all]
    #[arg(value_enum)]
    names: Vec<Name>,
    /// Rounds of `hello` and `wire`; `ready` takes four times as many starts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Measured seconds per round and server
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// `hello` without the other servers, as when profiling
    #[arg(long)]
    no_peers: bool,
    /// Another Selvedge that takes its turns in `hello`, such as an earlier build
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Answer with one JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Also write the tables to a file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The Selvedge to measure, with `../libexec/selvedge` beside it [default: the release build]
    #[arg(long, value_name = "FILE")]
    selvedge: Option<PathBuf>,
}

/// What every figure needs to know.
struct Bench {
    /// The repository.
    root: PathBuf,
    /// The executable to measure.
    selvedge: PathBuf,
    /// Another one to compare it with.
    against: Option<PathBuf>,
    rounds: u32,
    seconds: f64,
    peers: bool,
    cores: Cores,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what was asked for. Says whether every figure could be taken; those that could not are left out.
fn run(cli: Cli) -> Result<bool> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().unwrap_or(manifest).to_path_buf();
    let built =
        |path: PathBuf| path.canonicalize().with_context(|| format!("{} is not built", path.display()));
    let bench = Bench {
        selvedge: built(cli.selvedge.unwrap_or_else(|| root.join("target/release/selvedge")))?,
        against: cli.against.map(built).transpose()?,
        root,
        rounds: cli.rounds,
        seconds: cli.seconds,
        peers: !cli.no_peers,
        cores: Cores::of_this_process()?,
    };

    let mut report = Report::about_this_machine();
    let mut complete = true;
    let names = if cli.names.is_empty() { Name::ALL.to_vec() } else { cli.names };
    for name in names {
        match name.measure(&bench) {
            Ok(figure) => {
                if !cli.json {
                    println!("{figure}");
                }
                report.figures.push(figure);
            }
            Err(error) => {
                eprintln!("error: {}: {error:#}", name.title());
                complete = false;
            }
        }
    }
    if cli.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    }
    if let Some(path) = cli.markdown {
        std::fs::write(&path, report.markdown()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(complete)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.1..=600.0).contains(&value) => Ok(value),
        _ => Err("a number of seconds from 0.1 to 600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_bounded() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let cli = parse("bench hello cold --rounds 3 --seconds 0.5").unwrap();
        assert_eq!((cli.names, cli.rounds, cli.seconds), (vec![Name::Hello, Name::Cold], 3, 0.5));
        for wrong in ["bench nothing", "bench --rounds 0", "bench --seconds 0", "bench --seconds NaN"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
