//! The keys of wrangler's configuration file: which count here, which are harmless, which are not supported.

use std::collections::BTreeMap;

use selvedge_model::ScriptName;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::assets::AssetsConfig;

/// The part of the configuration that Selvedge acts on; the same for the top level and for `env` sections.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Section {
    pub(super) name: Option<String>,
    pub(super) main: Option<String>,
    pub(super) vars: Option<BTreeMap<String, Value>>,
    pub(super) services: Option<Vec<Service>>,
    pub(super) keep_vars: Option<bool>,
    pub(super) route: Option<RouteEntry>,
    pub(super) routes: Option<Vec<RouteEntry>>,
    pub(super) compatibility_date: Option<String>,
    pub(super) compatibility_flags: Option<Vec<String>>,
    pub(super) limits: Option<Map<String, Value>>,
    pub(super) rules: Option<Vec<Rule>>,
    pub(super) define: Option<BTreeMap<String, Value>>,
    pub(super) alias: Option<BTreeMap<String, String>>,
    pub(super) minify: Option<bool>,
    pub(super) tsconfig: Option<String>,
    pub(super) jsx_factory: Option<String>,
    pub(super) jsx_fragment: Option<String>,
    pub(super) assets: Option<AssetsConfig>,
    pub(super) selvedge: Option<Own>,
    /// Everything else, looked at for warnings only.
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

/// `"selvedge": {…}`: settings that wrangler does not know.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Own {
    pub(super) limits: Map<String, Value>,
    pub(super) isolation: Option<String>,
    pub(super) egress: Option<selvedge_model::Egress>,
}

/// A route as a string or as an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RouteEntry {
    Pattern(String),
    Object { pattern: String },
}

impl RouteEntry {
    pub(super) fn pattern(self) -> String {
        match self {
            Self::Pattern(pattern) | Self::Object { pattern } => pattern,
        }
    }
}

/// Another worker under a name in `env`.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) binding: String,
    pub(super) service: ScriptName,
    pub(super) entrypoint: Option<String>,
    pub(super) props: Option<Map<String, Value>>,
}

/// Which files are imported as what.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) globs: Vec<String>,
}

/// Keys that change nothing about how a worker runs here.
const HARMLESS: &[&str] = &[
    "$schema",
    "account_id",
    "dev",
    "env",
    "fallthrough",
    "keep_names",
    "legacy_env",
    "logpush",
    "observability",
    "placement",
    "preserve_file_names",
    "preview_urls",
    "send_metrics",
    "upload_source_maps",
    "workers_dev",
    "zone_id",
];

/// Keys whose function Selvedge does not have: a worker that relies on them would not work.
const UNSUPPORTED: &[&str] = &[
    "ai",
    "analytics_engine_datasets",
    "browser",
    "build",
    "cloudchamber",
    "containers",
    "d1_databases",
    "data_blobs",
    "dispatch_namespaces",
    "durable_objects",
    "hyperdrive",
    "images",
    "kv_namespaces",
    "migrations",
    "mtls_certificates",
    "no_bundle",
    "node_compat",
    "pipelines",
    "queues",
    "r2_buckets",
    "secrets_store_secrets",
    "send_email",
    "site",
    "tail_consumers",
    "text_blobs",
    "triggers",
    "unsafe",
    "vectorize",
    "version_metadata",
    "wasm_modules",
    "workflows",
];

impl Section {
    /// One sentence for each key that is set and has no effect.
    pub(super) fn warnings(&self, place: &str) -> Vec<String> {
        let set = self.other.iter().filter(|(_, value)| !is_empty(value));
        set.filter_map(|(key, _)| {
            if HARMLESS.contains(&key.as_str()) {
                None
            } else if UNSUPPORTED.contains(&key.as_str()) {
                Some(format!(
                    "{place}: `{key}` is not supported and has no effect; the worker gets no such binding"
                ))
            } else {
                Some(format!("{place}: unknown key `{key}` has no effect"))
            }
        })
        .collect()
    }

    /// This section with what `over` sets in place of its own; variables, bindings and definitions are not inherited.
    pub(super) fn overridden_by(self, over: Self) -> Self {
        Self {
            name: over.name.or(self.name),
            main: over.main.or(self.main),
            vars: over.vars,
            services: over.services,
            keep_vars: self.keep_vars,
            // One of the two spellings replaces both.
            route: over.route.or(if over.routes.is_some() { None } else { self.route }),
            routes: over.routes.or(self.routes),
            compatibility_date: over.compatibility_date.or(self.compatibility_date),
            compatibility_flags: over.compatibility_flags.or(self.compatibility_flags),
            limits: over.limits.or(self.limits),
            rules: over.rules.or(self.rules),
            define: over.define,
            alias: self.alias,
            minify: over.minify.or(self.minify),
            tsconfig: over.tsconfig.or(self.tsconfig),
            jsx_factory: over.jsx_factory.or(self.jsx_factory),
            jsx_fragment: over.jsx_fragment.or(self.jsx_fragment),
            assets: over.assets.or(self.assets),
            selvedge: over.selvedge.or(self.selvedge),
            other: Map::new(),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}
