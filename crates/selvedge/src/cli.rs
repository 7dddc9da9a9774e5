//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
use crate::commands::{
    ca, cache, certs, check, delete, deploy, dev, doctor, fmt, import, init, key, list, logs, profile,
    reload, rollback, routes, secret, status, tail, top, trigger, up, upgrade, versions,
};
use crate::failure::Outcome;
use crate::places;

const EXAMPLES: &str = "\
Examples:
  selvedge up                        run everything on this machine
  selvedge init hello                make a new project
  selvedge dev hello                 serve it, and reload when a file changes
  selvedge deploy hello              deploy it to the Selvedge that runs
  selvedge tail hello                watch its logs";

/// An edge cloud that you own: deploy JavaScript and TypeScript, served from confined V8 isolates.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Answer with one JSON document on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Address of the control API
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "SELVEDGE_API",
        default_value = "http://127.0.0.1:8081"
    )]
    pub(crate) api: String,
    /// Directory in which Selvedge keeps its data [default: ~/.local/share/selvedge]
    #[arg(long, global = true, value_name = "DIR", env = "SELVEDGE_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Token of the control API [default: the one in the data directory]
    #[arg(long, global = true, value_name = "TOKEN", env = "SELVEDGE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Account whose workers are meant
    #[arg(long, global = true, value_name = "ID", env = "SELVEDGE_ACCOUNT", default_value = "default")]
    pub(crate) account: String,
    /// Section `env.NAME` of the configuration: of a project, or of the server for `up` and `check`
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) env: Option<String>,
}

impl Shared {
    /// A caller of the control API.
    pub(crate) fn client(&self) -> Outcome<Client> {
        let token = places::token(self.token.as_deref(), &self.data_dir())?;
        Client::new(&self.api, token, &self.account)
    }

    /// The chosen environment of the project; an empty name means the top level.
    pub(crate) fn environment(&self) -> Option<&str> {
        self.env.as_deref().filter(|name| !name.is_empty())
    }

    /// The data directory, given or usual.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(places::default_data_dir)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: edge, sandboxes and control API
    Up(up::UpArgs),
    /// Make a new project
    Init(init::InitArgs),
    /// Serve a worker from its sources and reload when they change
    Dev(dev::DevArgs),
    /// Bundle a worker and deploy it
    Deploy(deploy::DeployArgs),
    /// List what is deployed
    List(list::ListArgs),
    /// List the versions of a worker
    Versions(versions::VersionsArgs),
    /// Go back to an earlier version
    Rollback(rollback::RollbackArgs),
    /// Watch a worker's logs and exceptions live
    Tail(tail::TailArgs),
    /// Show a worker's recent logs
    Logs(logs::LogsArgs),
    /// Sample where a live worker spends its CPU time
    Profile(profile::ProfileArgs),
    /// Remove a worker with its versions, routes and secrets
    Delete(delete::DeleteArgs),
    /// Set, list and remove a worker's secrets
    Secret(secret::SecretArgs),
    /// Make API keys, and hashes of keys and passwords for selvedge.toml
    Key(key::KeyArgs),
    /// Call a worker's `scheduled` handler now
    Trigger(trigger::TriggerArgs),
    /// Show or replace the routes that lead to workers
    Routes(routes::RoutesArgs),
    /// Show sandbox hosts, isolates and memory
    Status(status::StatusArgs),
    /// Watch requests, latencies, routes and servers live
    Top(top::TopArgs),
    /// Show certificates ordered by ACME
    Certs(certs::CertsArgs),
    /// Look for mistakes in selvedge.toml
    Check(check::CheckArgs),
    /// Write settings in one style
    Fmt(fmt::FmtArgs),
    /// See what the edge has cached, or throw some of it away
    Cache(cache::CacheArgs),
    /// Write the settings of nginx or Caddy as selvedge.toml
    Import(import::ImportArgs),
    /// Have the running server read its settings again
    Reload(reload::ReloadArgs),
    /// Replace the running server by a new process, such as a newer Selvedge, without losing a connection
    Upgrade(upgrade::UpgradeArgs),
    /// Show the own authority and have machines trust it
    Ca(ca::CaArgs),
    /// Say what this machine offers: confinement, kernel features, files, ports
    Doctor(doctor::DoctorArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_forms_that_scripts_rely_on() {
        for line in [
            "selvedge up --data d --http 127.0.0.1:0 --http 127.0.0.1:1 --admin 127.0.0.1:2 --access-log off",
            "selvedge deploy f.js --name n --json",
            "selvedge --json status",
            "selvedge secret put KEY --name w",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
