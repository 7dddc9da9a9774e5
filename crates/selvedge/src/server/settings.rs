//! Settings of a running Selvedge: defaults, then `selvedge.toml`, then the command line.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use selvedge_edge::EdgeConfig;
use selvedge_engine::EngineConfig;
use selvedge_telemetry::DiagnosticsConfig;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::places;

/// What `selvedge.toml` may hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where records, artifacts and secrets are kept.
    pub(crate) data: PathBuf,
    /// Address of the control API, health and metrics. Keep it away from strangers.
    pub(crate) admin: SocketAddr,
    /// The HTTP front.
    pub(crate) edge: EdgeConfig,
    /// Sandboxes.
    pub(crate) engine: EngineConfig,
    /// What Selvedge says about itself on standard error.
    pub(crate) diagnostics: DiagnosticsConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            edge: EdgeConfig::default(),
            engine: EngineConfig::default(),
            diagnostics: DiagnosticsConfig { filter: "warn".into(), ..DiagnosticsConfig::default() },
        }
    }
}

impl Settings {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        toml::from_str(&text).map_err(|error| {
            Failure::new("bad_config", format!("{}: {}", path.display(), error.to_string().trim_end()))
        })
    }

    /// Fills in the paths that were left open.
    pub(crate) fn complete(mut self) -> Self {
        if self.data.as_os_str().is_empty() {
            self.data = places::default_data_dir();
        }
        if self.engine.libexec.as_os_str().is_empty() {
            self.engine.libexec = places::libexec();
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
        fs::write(&path, text).unwrap();
        Settings::read(&path)
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
    fn unknown_settings_are_refused_with_their_place() {
        let failure = read("[engine]\nidle_seconds = 5").unwrap_err();
        assert!(failure.message.contains("idle_seconds") && failure.message.contains("line 2"), "{failure}");
    }
}
