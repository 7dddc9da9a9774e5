//! Diagnostics of the system itself, by `tracing`, on standard error.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What is told and how it looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiagnosticsConfig {
    /// Levels, such as `info` or `info,selvedge_engine=debug`.
    pub filter: String,
    /// Looks.
    pub format: DiagnosticsFormat,
}

impl Default for DiagnosticsConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: DiagnosticsFormat::Text }
    }
}

impl DiagnosticsConfig {
    /// Whether the settings can be used.
    ///
    /// # Errors
    /// [`DiagnosticsError::Filter`].
    pub fn check(&self) -> Result<(), DiagnosticsError> {
        self.env_filter().map(drop)
    }

    fn env_filter(&self) -> Result<EnvFilter, DiagnosticsError> {
        EnvFilter::try_new(&self.filter).map_err(|error| DiagnosticsError::Filter {
            filter: self.filter.clone(),
            problem: error.to_string(),
        })
    }
}

/// Looks of diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosticsFormat {
    /// Lines for people, coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why diagnostics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosticsError {
    /// The filter does not parse.
    #[error("log filter {filter:?}: {problem}; write for example \"info\" or \"info,selvedge_engine=debug\"")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something in this process set them up before.
    #[error("diagnostics are set up already")]
    Twice,
}

/// Diagnostics under way.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Diagnostics {
    /// Has what is told from now on be what `config` says; its looks stay.
    ///
    /// # Errors
    /// [`DiagnosticsError::Filter`].
    pub fn set_filter(&self, config: &DiagnosticsConfig) -> Result<(), DiagnosticsError> {
        let filter = config.env_filter()?;
        // Fails only when the subscriber is gone, and with it whoever would be told.
        let _ = self.filter.reload(filter);
        Ok(())
    }
}

/// Sends diagnostics of this process to standard error. Call once, from the executable.
///
/// # Errors
/// [`DiagnosticsError`].
pub fn start(config: &DiagnosticsConfig) -> Result<Diagnostics, DiagnosticsError> {
    let (filter, handle) = reload::Layer::new(config.env_filter()?);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        DiagnosticsFormat::Text => registry.with(layer).try_init(),
        DiagnosticsFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(|_| DiagnosticsError::Twice)?;
    Ok(Diagnostics { filter: handle })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_told() {
        let config = DiagnosticsConfig { filter: "info,selvedge=loudest".into(), ..Default::default() };
        assert!(matches!(start(&config), Err(DiagnosticsError::Filter { .. })));
    }
}
