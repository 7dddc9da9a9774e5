//! What to deploy: one source file, or a directory with `wrangler.jsonc`, `wrangler.json` or `wrangler.toml`.

mod additional;
mod assets;
mod bundle;
mod config;
mod custom;
mod dotenv;
mod esbuild;
mod rules;
mod wrangler;

use std::path::{Path, PathBuf};

use selvedge_model::{Binding, BindingValue, ScriptName};
use serde_json::{Map, Value};

pub(crate) use assets::{AssetFiles, AssetsConfig, collect as collect_assets};
#[cfg(test)]
pub(crate) use bundle::UploadModule;
pub(crate) use bundle::{Bundle, bundle};
pub(crate) use custom::CustomBuild;
pub(crate) use dotenv::{dev_vars, dev_vars_file};

use crate::failure::{Failure, Outcome};
use esbuild::BuildOptions;

/// A worker's sources and settings.
#[derive(Debug, Default)]
pub(crate) struct Project {
    /// Paths in messages are relative to this directory.
    pub(crate) root: PathBuf,
    /// The entry module, relative to `root`; empty when there are only static files.
    pub(crate) main: PathBuf,
    /// As configured, or made from the file's or directory's name.
    pub(crate) name: Option<ScriptName>,
    /// The configuration file, if there is one.
    pub(crate) config: Option<PathBuf>,
    /// Variables.
    pub(crate) bindings: Vec<Binding>,
    /// Keep variables of the deployed version that are not in `bindings`.
    pub(crate) keep_vars: bool,
    /// Route patterns; `None` leaves the deployed ones.
    pub(crate) routes: Option<Vec<String>>,
    /// `YYYY-MM-DD` or empty.
    pub(crate) compatibility_date: String,
    /// Such as `nodejs_compat`.
    pub(crate) compatibility_flags: Vec<String>,
    /// Some of the fields of [`selvedge_model::Limits`].
    pub(crate) limits: Map<String, Value>,
    /// `shared`, `account` or `worker`.
    pub(crate) isolation: Option<String>,
    /// What the worker may reach.
    pub(crate) egress: Option<selvedge_model::Egress>,
    /// Cron triggers.
    pub(crate) crons: Vec<String>,
    /// Static files.
    pub(crate) assets: Option<AssetsConfig>,
    /// What runs before.
    pub(crate) custom_build: Option<CustomBuild>,
    /// How to bundle.
    pub(crate) build: BuildOptions,
    /// What the user should know, such as settings that have no effect here.
    pub(crate) warnings: Vec<String>,
}

/// Configuration files in the order in which wrangler looks for them.
const CONFIG_NAMES: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];

/// Endings by which a file that is named is taken for a configuration.
const CONFIG_ENDINGS: [&str; 3] = ["json", "jsonc", "toml"];

/// Entry modules tried where no configuration names one.
const USUAL_ENTRIES: [&str; 8] = [
    "src/index.ts",
    "src/index.js",
    "src/worker.ts",
    "src/worker.js",
    "index.ts",
    "index.js",
    "worker.ts",
    "worker.js",
];

impl Project {
    /// Reads the project at `path`; `environment` is the name of an `env` section.
    pub(crate) fn open(path: &Path, environment: Option<&str>) -> Outcome<Self> {
        let path = path.canonicalize().map_err(|error| {
            Failure::io("open", path, &error)
                .help("name a JavaScript or TypeScript file, or a directory with one")
        })?;
        let is_config =
            path.extension().is_some_and(|ending| CONFIG_ENDINGS.iter().any(|known| ending == *known));
        if path.is_file() && !is_config {
            if let Some(environment) = environment {
                let message =
                    format!("--env {environment} needs a configuration, and a single file has none");
                return Err(Failure::new("no_config", message).help("name the project's directory instead"));
            }
            return Self::from_file(&path);
        }
        let root = if is_config { path.parent().unwrap_or(&path).to_path_buf() } else { path.clone() };
        let named = is_config.then(|| path.clone());
        let config =
            named.or_else(|| CONFIG_NAMES.iter().map(|name| root.join(name)).find(|file| file.is_file()));
        let mut project = match &config {
            Some(file) => config::read(file, environment)?,
            None if environment.is_some() => {
                let message = format!("no wrangler.jsonc or wrangler.toml in {}", root.display());
                return Err(Failure::new("no_config", message).help("--env names a section of that file"));
            }
            None => Self::default(),
        };
        let only_assets = project.main.as_os_str().is_empty() && project.assets.is_some();
        if project.main.as_os_str().is_empty() && !only_assets {
            project.main = usual_entry(&root, config.as_deref())?;
        }
        if project.name.is_none() && config.is_none() {
            project.name = root.file_name().and_then(|name| script_name(&name.to_string_lossy()));
        }
        // A build may be yet to make it.
        let made = project.custom_build.is_some();
        if !only_assets && !made && !root.join(&project.main).is_file() {
            let message = format!("the entry module {} does not exist", root.join(&project.main).display());
            return Err(Failure::new("no_entry", message).help("correct `main` in the configuration"));
        }
        Ok(Self { root, config, ..project })
    }

    /// Sets a variable, in place of the one of that name.
    pub(crate) fn set_var(&mut self, name: &str, text: &str) {
        self.bindings.retain(|binding| binding.name != name);
        self.bindings
            .push(Binding { name: name.into(), value: BindingValue::PlainText { text: text.into() } });
    }

    fn from_file(path: &Path) -> Outcome<Self> {
        let known = ["js", "mjs", "jsx", "ts", "mts", "tsx"];
        if !path.extension().is_some_and(|ending| known.iter().any(|k| ending == *k)) {
            let message = format!("{} is no JavaScript or TypeScript file", path.display());
            return Err(
                Failure::new("not_a_worker", message).help("file names end in .js, .mjs, .ts, .tsx …")
            );
        }
        let root = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let main = path.file_name().map(PathBuf::from).unwrap_or_default();
        let name = path.file_stem().and_then(|stem| script_name(&stem.to_string_lossy()));
        Ok(Self { root, main, name, ..Self::default() })
    }
}

fn usual_entry(root: &Path, config: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(found) = USUAL_ENTRIES.iter().find(|entry| root.join(entry).is_file()) {
        return Ok(found.into());
    }
    Err(match config {
        Some(config) => Failure::new("no_entry", format!("{} names no `main` module", config.display()))
            .help("add `main`, such as \"src/index.ts\""),
        None => Failure::new("no_entry", format!("no worker found in {}", root.display()))
            .help("name a file, add a wrangler.jsonc, or make a new project with `selvedge init`"),
    })
}

/// Turns a file or directory name into a script name where that is possible.
pub(crate) fn script_name(text: &str) -> Option<ScriptName> {
    let lowered = text.to_lowercase();
    let mut name: String =
        lowered.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    name.truncate(63);
    name.trim_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_single_file_is_a_project() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("My Worker.ts");
        fs::write(&file, "").unwrap();
        let project = Project::open(&file, None).unwrap();
        assert_eq!(project.name.unwrap().as_str(), "my-worker");
        assert_eq!(project.main, Path::new("My Worker.ts"));
        assert_eq!(Project::open(&file, Some("x")).unwrap_err().code, "no_config");
    }

    #[test]
    fn a_directory_without_configuration_needs_a_usual_entry() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Project::open(dir.path(), None).unwrap_err().code, "no_entry");
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/index.js"), "").unwrap();
        assert_eq!(Project::open(dir.path(), None).unwrap().main, Path::new("src/index.js"));
        assert_eq!(Project::open(&dir.path().join("none"), None).unwrap_err().code, "io");
        let text = dir.path().join("a.txt");
        fs::write(&text, "").unwrap();
        assert_eq!(Project::open(&text, None).unwrap_err().code, "not_a_worker");
    }

    #[test]
    fn names_follow_dns() {
        assert_eq!(script_name("_Hello_World_").unwrap().as_str(), "hello-world");
        assert!(script_name("…").is_none());
        assert_eq!(script_name(&"a".repeat(99)).unwrap().as_str().len(), 63);
    }
}
