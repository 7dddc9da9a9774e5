//! `selvedge`: an edge cloud that you own. The command line, and the wiring of all roles into one process.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A terminal program.

mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod failure;
mod import;
mod inspector;
mod log_view;
mod places;
mod project;
mod server;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let terminal = terminal::Terminal { json: cli.shared.json };
    match commands::run(cli, terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.failure(&failure);
            ExitCode::FAILURE
        }
    }
}
