//! One file for each command.

pub(crate) mod ca;
pub(crate) mod cache;
pub(crate) mod certs;
pub(crate) mod check;
pub(crate) mod delete;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod fmt;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod profile;
pub(crate) mod reload;
pub(crate) mod rollback;
pub(crate) mod routes;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod trigger;
pub(crate) mod up;
pub(crate) mod upgrade;
pub(crate) mod versions;

use std::path::Path;

use selvedge_model::ScriptName;
use serde_json::Value;

use crate::cli::{Cli, Command, Shared};
use crate::failure::{Failure, Outcome};
use crate::project::Project;
use crate::terminal::Terminal;

/// Runs the chosen command.
pub(crate) fn run(cli: Cli, terminal: Terminal) -> Outcome {
    let shared = &cli.shared;
    match cli.command {
        Command::Up(args) => up::run(args, shared, terminal),
        Command::Init(args) => init::run(&args, terminal),
        Command::Dev(args) => dev::run(&args, shared, terminal),
        Command::Deploy(args) => deploy::run(&args, shared, terminal),
        Command::List(args) => list::run(&args, shared, terminal),
        Command::Versions(args) => versions::run(&args, shared, terminal),
        Command::Rollback(args) => rollback::run(&args, shared, terminal),
        Command::Tail(args) => tail::run(&args, shared, terminal),
        Command::Logs(args) => logs::run(&args, shared, terminal),
        Command::Profile(args) => profile::run(&args, shared, terminal),
        Command::Delete(args) => delete::run(&args, shared, terminal),
        Command::Trigger(args) => trigger::run(&args, shared, terminal),
        Command::Key(args) => key::run(&args, terminal),
        Command::Secret(args) => secret::run(&args, shared, terminal),
        Command::Routes(args) => routes::run(&args, shared, terminal),
        Command::Status(args) => status::run(&args, shared, terminal),
        Command::Top(args) => top::run(&args, shared, terminal),
        Command::Certs(args) => certs::run(&args, shared, terminal),
        Command::Check(args) => check::run(&args, shared, terminal),
        Command::Fmt(args) => fmt::run(&args, shared, terminal),
        Command::Ca(args) => ca::run(&args, shared, terminal),
        Command::Cache(args) => cache::run(&args, shared, terminal),
        Command::Import(args) => import::run(&args, shared, terminal),
        Command::Reload(args) => reload::run(&args, shared, terminal),
        Command::Upgrade(args) => upgrade::run(&args, shared, terminal),
        Command::Doctor(args) => doctor::run(&args, shared, terminal),
    }
}

/// The worker that is meant: named, or that of the project in the current directory.
fn script(named: Option<&ScriptName>, shared: &Shared) -> Outcome<ScriptName> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    // A directory without a project is no answer, and its own error would mislead here.
    let project = match (Project::open(Path::new("."), shared.environment()), shared.environment()) {
        (Err(failure), Some(_)) => return Err(failure),
        (project, _) => project.ok().filter(|project| project.config.is_some()),
    };
    project.and_then(|project| project.name).ok_or_else(|| {
        Failure::new("no_name", "which worker?")
            .help("give its name; `selvedge list` shows those that are deployed")
    })
}

/// Text at `key`, or nothing; control characters removed.
fn text(value: &Value, key: &str) -> String {
    value[key].as_str().map(crate::terminal::plain).unwrap_or_default()
}

/// How long ago the Unix time in milliseconds at `key` was.
fn age(value: &Value, key: &str) -> String {
    value[key].as_u64().map(|then| crate::clock::ago(then, crate::clock::now_ms())).unwrap_or_default()
}
