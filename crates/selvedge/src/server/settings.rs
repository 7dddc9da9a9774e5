//! Settings of a running Selvedge: defaults, then `selvedge.toml`, then the command line.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use selvedge_edge::tls_config::ListenerConfig;
use selvedge_edge::{EdgeConfig, SiteConfig, SiteSettings, Sites, StepConfig, UpstreamConfig, Upstreams};
use selvedge_engine::EngineConfig;
use selvedge_telemetry::DiagnosticsConfig;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::failure::Outcome;
use crate::places;

/// Usual name of the file.
pub(crate) const CONFIG_NAME: &str = "selvedge.toml";

/// Where in the data directory the own authority is.
pub(crate) const AUTHORITY: &str = "authority";

/// What `selvedge.toml` may hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where records, artifacts and secrets are kept.
    pub(crate) data: PathBuf,
    /// Address of the control API, health and metrics. Keep it away from strangers.
    pub(crate) admin: SocketAddr,
    /// The HTTP front.
    pub(crate) edge: EdgeConfig,
    /// Hosts, and what answers for them. Hosts that no site has belong to deployed workers.
    pub(crate) sites: Vec<SiteConfig>,
    /// Servers behind this one, for routes with `proxy = { upstream = "NAME" }`.
    pub(crate) upstreams: BTreeMap<String, UpstreamConfig>,
    /// Steps that requests pass where a `use` names them.
    pub(crate) middleware: BTreeMap<String, StepConfig>,
    /// Sandboxes.
    pub(crate) engine: EngineConfig,
    /// What Selvedge says about itself on standard error.
    pub(crate) diagnostics: DiagnosticsConfig,
    /// Where relative paths in sites begin.
    #[serde(skip)]
    pub(crate) base: PathBuf,
    /// Tell clients what went wrong in workers; for `selvedge dev` only.
    #[serde(skip)]
    pub(crate) explain: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            edge: EdgeConfig::default(),
            sites: Vec::new(),
            upstreams: BTreeMap::new(),
            middleware: BTreeMap::new(),
            engine: EngineConfig::default(),
            diagnostics: DiagnosticsConfig { filter: "warn".into(), ..DiagnosticsConfig::default() },
            base: PathBuf::new(),
            explain: false,
        }
    }
}

impl Settings {
    /// Reads a file, see [`config`].
    pub(crate) fn read(path: &Path, environment: Option<&str>) -> Outcome<config::Read<Self>> {
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut read = config::read(path, environment, |settings: &Self| settings.problems(&base))?;
        read.settings.base = base;
        Ok(read)
    }

    /// What is wrong beyond types: a setting, and a sentence.
    fn problems(&self, base: &Path) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if let Some(problem) = self.edge.problem() {
            let setting = problem.split([':', ' ']).next().unwrap_or_default();
            problems.push((format!("edge.{setting}"), problem));
        }
        let registry = Upstreams::default();
        if let Err(found) = Sites::new(SiteSettings { base, ..self.site_settings(&registry) }) {
            problems.extend(found.into_iter().map(|problem| (problem.setting, problem.message)));
        }
        if let Err(error) = self.diagnostics.check() {
            problems.push(("diagnostics.filter".into(), error.to_string()));
        }
        let same = |address: SocketAddr| address == self.admin && address.port() != 0;
        if self.edge.listen.iter().filter_map(ListenerConfig::socket_address).any(same) {
            let problem =
                format!("{} is an address of the edge, too; the control API needs its own", self.admin);
            problems.push(("admin".into(), problem));
        }
        problems
    }

    /// What sites are made of.
    pub(crate) fn site_settings<'a>(&'a self, registry: &'a Upstreams) -> SiteSettings<'a> {
        SiteSettings {
            sites: &self.sites,
            middleware: &self.middleware,
            upstreams: &self.upstreams,
            registry,
            common: &self.edge.uses,
            base: &self.base,
        }
    }

    /// JSON Schema of the file, for editors.
    pub(crate) fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        let own = schema["properties"].clone();
        schema["title"] = "selvedge.toml".into();
        schema["properties"]["include"] = serde_json::json!({
            "description": "Further files, read as if they stood here; `*` may stand in the last part of a path.",
            "type": "array", "items": { "type": "string" },
        });
        schema["properties"]["env"] = serde_json::json!({
            "description": "Settings of environments, which go before the others with `--env NAME`.",
            "type": "object",
            "additionalProperties": { "type": "object", "properties": own, "additionalProperties": false },
        });
        schema
    }

    /// Fills in the paths that were left open.
    pub(crate) fn complete(mut self) -> Self {
        if self.data.as_os_str().is_empty() {
            self.data = places::default_data_dir();
        }
        if self.engine.libexec.as_os_str().is_empty() {
            self.engine.libexec = places::libexec();
        }
        if self.edge.tls.data.as_os_str().is_empty() {
            self.edge.tls.data = self.data.join(AUTHORITY);
        }
        if let Some(acme) = &mut self.edge.tls.acme
            && acme.data.as_os_str().is_empty()
        {
            acme.data = places::certificates(&self.data);
        }
        if let Some(disk) = &mut self.edge.cache.disk
            && disk.path.as_os_str().is_empty()
        {
            disk.path = self.data.join("cache");
        }
        if self.engine.code_cache.as_os_str().is_empty() {
            self.engine.code_cache = self.data.join("code-cache");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("selvedge.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path, None).map(|read| read.settings)
    }

    #[test]
    fn a_file_sets_some_and_leaves_the_rest() {
        let settings =
            read("data = \"/d\"\n[engine]\nidle_s = 5\n[edge]\nlisten = [\"0.0.0.0:80\"]").unwrap();
        let settings = settings.complete();
        assert_eq!(settings.engine.idle_s, 5);
        assert_eq!(settings.engine.code_cache, Path::new("/d/code-cache"));
        assert_eq!(settings.edge.listen.len(), 1);
        assert_eq!(settings.admin.port(), 8081);
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        let failure = read("[engine]\nidle_seconds = 5").unwrap_err();
        assert_eq!(failure.diagnostics[0].line, Some(2));
        assert!(failure.diagnostics[0].message.contains("did you mean `idle_s`"), "{failure:?}");
        for (text, line, part) in [
            ("[edge]\n\nmax_headers = 0", 3, "max_headers must be"),
            ("[edge]\nlisten = []", 2, "at least one address"),
            ("[edge]\nidle_timeout_ms = 0", 1, "timeouts"),
            ("[diagnostics]\nfilter = \"no=such=thing\"", 2, "filter"),
            (
                "[[sites]]\nhosts = [\"a\"]\n[[sites.routes]]\npath = \"a\"\nrespond = {}",
                4,
                "must begin with /",
            ),
            ("[[sites]]\nhosts = [\"a\"]\nuse = [\"x\"]", 3, "there is no [middleware.x]"),
            ("[middleware.x.headers]\nrequest = { a = \"{no}\" }", 1, "there is no variable {no}"),
            ("[[sites]]\nhosts = [\"a\"]\n[[sites.routes]]\npath = \"/\"", 3, "nothing answers"),
            ("admin = \"127.0.0.1:7\"\n[edge]\nlisten = [\"127.0.0.1:7\"]", 1, "control API"),
        ] {
            let failure = read(text).unwrap_err();
            let found = &failure.diagnostics[0];
            assert_eq!(found.line, Some(line), "{found}");
            assert!(found.message.contains(part), "{found}");
        }
    }

    #[test]
    fn the_schema_knows_every_setting() {
        let schema = Settings::schema();
        let known = |section: &str| {
            let at = schema["properties"][section]["$ref"].as_str().unwrap().trim_start_matches('#');
            schema.pointer(at).unwrap()["properties"].as_object().unwrap().len()
        };
        let settings = serde_json::to_value(Settings::default()).unwrap();
        for section in ["edge", "engine", "diagnostics"] {
            assert_eq!(known(section), settings[section].as_object().unwrap().len(), "{section}");
        }
        assert_eq!(schema["properties"]["env"]["additionalProperties"]["additionalProperties"], false);
    }
}
