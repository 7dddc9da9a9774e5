//! `selvedge deploy`: bundle, upload, and say where it answers.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use selvedge_model::ScriptName;
use serde_json::{Map, Value, json};

use crate::cli::Shared;
use crate::client::{Client, Form};
use crate::commands::text;
use crate::failure::{Failure, Outcome};
use crate::places;
use crate::project::{AssetFiles, Bundle, Project, bundle, collect_assets};
use crate::terminal::{DIM, GOOD, HINT, Terminal, bytes, say};

const EXAMPLES: &str = "\
Examples:
  selvedge deploy                    the project in this directory
  selvedge deploy hello.js           a single file, deployed as `hello`
  selvedge deploy shop --env staging
  selvedge deploy shop --name shop-2 --var GREETING=hi --limit memory_mb=64";

/// Bundle a worker and deploy it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeployArgs {
    /// A JavaScript or TypeScript file, or a directory with wrangler.jsonc or wrangler.toml
    #[arg(default_value = ".", value_name = "FILE|DIR")]
    path: PathBuf,
    /// Name of the worker [default: the configuration's, or the file's]
    #[arg(long)]
    name: Option<ScriptName>,
    /// A variable, in place of the configuration's of that name
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,
    /// A limit, such as cpu_ms, wall_ms, memory_mb or concurrency
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = pair)]
    limits: Vec<(String, String)>,
    /// A compatibility flag, such as nodejs_compat, beside the configuration's
    #[arg(long = "compatibility-flag", value_name = "FLAG")]
    compatibility_flags: Vec<String>,
    /// Whom the worker shares a process with: shared, account or worker
    #[arg(long, value_parser = ["shared", "account", "worker"])]
    isolation: Option<String>,
    /// Say what this version is about
    #[arg(long, short, default_value = "")]
    message: String,
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(name, _)| !name.is_empty());
    split.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "must be NAME=VALUE".into())
}

/// Runs the command.
pub(crate) fn run(args: &DeployArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let project = open(args, shared.environment())?;
    let name = project.name.clone().ok_or_else(|| {
        Failure::new("no_name", "the worker has no name")
            .help("add `name` to the configuration, or give --name NAME")
    })?;
    for warning in &project.warnings {
        terminal.warning(warning);
    }
    // Before the work of bundling: a missing token is known at once.
    let client = shared.client()?;
    let started = Instant::now();
    let spinner = terminal.spinner("bundling");
    let made = bundle(&project, &places::libexec());
    spinner.finish_and_clear();
    let made = made?;
    for warning in &made.warnings {
        terminal.warning(&warning.to_string());
    }
    let size = made.code_bytes();
    let bar = terminal.bytes_bar("uploading", made.modules.iter().map(|m| m.content.len() as u64).sum());
    let moving = bar.clone();
    let answer = upload(&client, &name, &project, made, &args.message, move |count| moving.inc(count as u64));
    bar.finish_and_clear();
    let answer = answer?;
    let mut document = json!({"name": name, "bytes": size, "warnings": project.warnings});
    if let (Some(document), Some(answer)) = (document.as_object_mut(), answer.as_object()) {
        document.extend(answer.clone());
    }
    terminal.answer(&document, || {
        let short: String = text(&answer, "version").chars().take(13).collect();
        let startup = answer["startup_ms"].as_f64().unwrap_or_default();
        say!(
            "{GOOD}✓{GOOD:#} {name}  {HINT}{}{HINT:#}  {DIM}(version {short}…, {}, started in {startup:.1} ms, {:.0} ms in all){DIM:#}",
            text(&answer, "url"),
            bytes(size),
            started.elapsed().as_secs_f64() * 1000.0,
        );
    });
    Ok(())
}

fn open(args: &DeployArgs, environment: Option<&str>) -> Outcome<Project> {
    let mut project = Project::open(&args.path, environment)?;
    if let Some(name) = &args.name {
        project.name = Some(name.clone());
    }
    for (name, text) in &args.vars {
        project.set_var(name, text);
    }
    for (name, number) in &args.limits {
        let number: u64 = number
            .parse()
            .map_err(|_| Failure::new("bad_limit", format!("--limit {name}={number}: not a number")))?;
        project.limits.insert(name.clone(), number.into());
    }
    for flag in &args.compatibility_flags {
        if !project.compatibility_flags.contains(flag) {
            project.compatibility_flags.push(flag.clone());
        }
    }
    if args.isolation.is_some() {
        project.isolation.clone_from(&args.isolation);
    }
    Ok(project)
}

/// Uploads a bundle as a new version and deploys it.
pub(crate) fn upload(
    client: &Client,
    name: &ScriptName,
    project: &Project,
    bundle: Bundle,
    message: &str,
    sent: impl FnMut(usize) + 'static,
) -> Outcome<Value> {
    let assets = match &project.assets {
        Some(config) => {
            let files = collect_assets(&project.root, config, project.main.as_os_str().is_empty())?;
            upload_assets(client, &files)?;
            Some(files.manifest)
        }
        None => None,
    };
    let mut metadata = metadata(project, &bundle.main, message);
    if let Some(assets) = assets {
        metadata["assets"] = serde_json::to_value(assets)
            .map_err(|error| Failure::new("bad_assets", format!("the files cannot be listed: {error}")))?;
    }
    let mut form = Form::new(boundary());
    form.part("metadata", "application/json", metadata.to_string().as_bytes());
    for module in bundle.modules {
        form.part(&module.name, module.content_type, &module.content);
    }
    client.upload(&client.account_path(&format!("/scripts/{name}")), form, sent).map_err(|failure| {
        if failure.code != "unknown_import" || !project.build.no_bundle {
            return failure;
        }
        failure.help(
            "with `no_bundle`, modules beside the main one are uploaded when a rule matches them: \
             \"rules\": [{\"type\": \"ESModule\", \"globs\": [\"**/*.js\"]}]",
        )
    })
}

/// Uploads the static files that the server does not have yet.
fn upload_assets(client: &Client, files: &AssetFiles) -> Outcome<()> {
    let digests: Vec<_> = files.content.keys().collect();
    for some in digests.chunks(5000) {
        let answer =
            client.send("POST", &client.account_path("/assets/missing"), &json!({ "digests": some }))?;
        for digest in answer["missing"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let Some(path) = digest.parse().ok().and_then(|digest| files.content.get(&digest)) else {
                continue;
            };
            let bytes = std::fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
            client.put(&client.account_path(&format!("/assets/{digest}")), bytes)?;
        }
    }
    Ok(())
}

fn metadata(project: &Project, main: &str, message: &str) -> Value {
    let bindings: Vec<Value> = project.bindings.iter().map(binding).collect();
    let mut metadata = Map::new();
    metadata.insert("main_module".into(), main.into());
    metadata.insert("bindings".into(), bindings.into());
    if project.keep_vars {
        metadata.insert("keep_bindings".into(), json!(["plain_text", "json"]));
    }
    metadata.insert("compatibility_date".into(), project.compatibility_date.clone().into());
    metadata.insert("compatibility_flags".into(), project.compatibility_flags.clone().into());
    if !project.limits.is_empty() {
        metadata.insert("limits".into(), project.limits.clone().into());
    }
    if let Some(isolation) = &project.isolation {
        metadata.insert("isolation".into(), isolation.clone().into());
    }
    if let Some(egress) = &project.egress {
        metadata.insert("egress".into(), json!(egress));
    }
    if !project.crons.is_empty() {
        metadata.insert("crons".into(), json!(project.crons));
    }
    if let Some(routes) = &project.routes {
        metadata.insert("routes".into(), routes.clone().into());
    }
    metadata.insert("message".into(), message.into());
    metadata.into()
}

fn binding(binding: &selvedge_model::Binding) -> Value {
    use selvedge_model::BindingValue;
    let (kind, text) = match &binding.value {
        BindingValue::PlainText { text } => ("plain_text", text),
        BindingValue::Json { text } => ("json", text),
        // Written out here: the model never serialises secrets.
        BindingValue::SecretText { text } => ("secret_text", text),
        BindingValue::Assets => return json!({"name": binding.name, "type": "assets"}),
        BindingValue::Service { service, entrypoint, props } => {
            let mut value = json!({"name": binding.name, "type": "service", "service": service});
            if let Some(entrypoint) = entrypoint {
                value["entrypoint"] = entrypoint.clone().into();
            }
            if let Some(props) = props {
                value["props"] = serde_json::from_str(props).unwrap_or_default();
            }
            return value;
        }
    };
    json!({"name": binding.name, "type": kind, "text": text})
}

fn boundary() -> String {
    format!("selvedge-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}
