//! Builds, runs and checks Selvedge: `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A terminal program.

mod bench;
mod build;
mod carrier;
mod check;
mod stage;
mod structure;
mod test;
mod tools;
mod up;
mod workspace;
mod wpt;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, run and check Selvedge.")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything that `selvedge` needs to run, in release mode
    Build,
    /// Build everything, then run `selvedge up` with the given arguments
    #[command(disable_help_flag = true)]
    Up {
        /// Arguments of `selvedge up`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build everything, then run all tests
    Test {
        /// Arguments of `cargo test`, such as `-p selvedge-model`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build everything, then measure it
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench harness
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build everything, then run web-platform-tests against it (`--suite PATH [--area AREA] [--update]`)
    #[command(disable_help_flag = true)]
    Wpt {
        /// Arguments of the runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Formatting, lints, structure and dependencies
    Check,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let workspace = Workspace::locate();
    let done = match cli.task {
        Task::Build => build::run(&workspace),
        Task::Up { args } => up::run(&workspace, &args),
        Task::Test { args } => test::run(&workspace, &args),
        Task::Bench { args } => bench::run(&workspace, &args),
        Task::Wpt { args } => wpt::run(&workspace, &args),
        Task::Check => check::run(&workspace),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
