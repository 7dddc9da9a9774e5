//! The keys of wrangler's configuration file: which count here, which are harmless, which are not supported.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
    pub(super) build: Option<Build>,
    pub(super) no_bundle: Option<bool>,
    pub(super) find_additional_modules: Option<bool>,
    pub(super) base_dir: Option<String>,
    pub(super) keep_names: Option<bool>,
    pub(super) upload_source_maps: Option<bool>,
    pub(super) define: Option<BTreeMap<String, Value>>,
    pub(super) alias: Option<BTreeMap<String, String>>,
    pub(super) minify: Option<bool>,
    pub(super) tsconfig: Option<String>,
    pub(super) jsx_factory: Option<String>,
    pub(super) jsx_fragment: Option<String>,
    pub(super) assets: Option<AssetsConfig>,
    pub(super) triggers: Option<Triggers>,
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

/// What calls a worker besides requests.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Triggers {
    pub(super) crons: Option<Vec<String>>,
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

/// A build step of the project's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Build {
    pub(super) command: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) watch_dir: Option<Paths>,
}

/// One path or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Paths {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// Which files are imported as what.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) globs: Vec<String>,
    #[serde(default)]
    pub(super) fallthrough: bool,
}

/// Keys that change nothing about how a worker runs here.
const HARMLESS: &[&str] = &[
    "$schema",
    "account_id",
    "cloudchamber",
    "compliance_region",
    "dev",
    "env",
    "fallthrough",
    "first_party_worker",
    "legacy_env",
    "logpush",
    "observability",
    "placement",
    "preserve_file_names",
    "preview_urls",
    "previews",
    "send_metrics",
    "workers_dev",
    "zone_id",
];

/// Kinds of bindings that Selvedge does not have: `env` lacks them.
const NO_SUCH_BINDING: &[&str] = &[
    "ai",
    "ai_search",
    "ai_search_namespaces",
    "analytics_engine_datasets",
    "artifacts",
    "browser",
    "d1_databases",
    "dispatch_namespaces",
    "durable_objects",
    "flagship",
    "hyperdrive",
    "images",
    "kv_namespaces",
    "logfwdr",
    "media",
    "mtls_certificates",
    "pipelines",
    "queues",
    "r2_buckets",
    "ratelimits",
    "secrets_store_secrets",
    "send_email",
    "stream",
    "unsafe",
    "unsafe_hello_world",
    "vectorize",
    "version_metadata",
    "vpc_networks",
    "vpc_services",
    "worker_loaders",
    "workflows",
];

/// Other keys without a function here, and what to do instead.
const INSTEAD: &[(&str, &str)] = &[
    ("containers", "has no effect; Selvedge runs no containers"),
    ("data_blobs", "has no effect; import the files in your code"),
    ("migrations", "has no effect; there are no Durable Objects"),
    ("node_compat", "has no effect; set \"compatibility_flags\": [\"nodejs_compat\"]"),
    ("pages_build_output_dir", "has no effect; set \"assets\": {\"directory\": …} and `main`"),
    ("python_modules", "has no effect; workers are written in JavaScript or TypeScript"),
    ("secrets", "has no effect; set each with `selvedge secret put`"),
    ("site", "has no effect; set \"assets\": {\"directory\": …}"),
    ("streaming_tail_consumers", "has no effect; see `selvedge tail` and `selvedge logs`"),
    ("tail_consumers", "has no effect; see `selvedge tail` and `selvedge logs`"),
    ("text_blobs", "has no effect; import the files in your code"),
    ("wasm_modules", "has no effect; import the files in your code"),
];

/// Keys that count, for suggestions.
const KNOWN: &[&str] = &[
    "alias",
    "assets",
    "base_dir",
    "build",
    "compatibility_date",
    "compatibility_flags",
    "define",
    "env",
    "find_additional_modules",
    "jsx_factory",
    "jsx_fragment",
    "keep_names",
    "keep_vars",
    "limits",
    "main",
    "minify",
    "name",
    "no_bundle",
    "route",
    "routes",
    "rules",
    "selvedge",
    "services",
    "triggers",
    "tsconfig",
    "upload_source_maps",
    "vars",
];

/// Keys that wrangler reads at the top level only.
const TOP_LEVEL: &[&str] = &["alias", "env", "keep_vars", "legacy_env", "send_metrics"];

impl Section {
    /// One sentence for each key that is set and has no effect.
    pub(super) fn warnings(&self, place: &str) -> Vec<String> {
        let set = self.other.iter().filter(|(_, value)| !is_empty(value));
        set.filter_map(|(key, _)| Some(format!("{place}: {}", sentence(key)?))).collect()
    }

    /// Keys of this section, the top level, that an environment has to repeat and `over` does not.
    pub(super) fn not_inherited(&self, over: &Self) -> Vec<&'static str> {
        let missing = [
            ("vars", self.vars.as_ref().is_some_and(|vars| !vars.is_empty()) && over.vars.is_none()),
            (
                "services",
                self.services.as_ref().is_some_and(|all| !all.is_empty()) && over.services.is_none(),
            ),
            ("define", self.define.as_ref().is_some_and(|all| !all.is_empty()) && over.define.is_none()),
        ];
        missing.into_iter().filter(|(_, missing)| *missing).map(|(key, _)| key).collect()
    }

    /// Keys of this section, an environment, that only the top level may have.
    pub(super) fn misplaced(&self) -> Vec<&'static str> {
        let set = |key: &&str| match *key {
            "alias" => self.alias.is_some(),
            "keep_vars" => self.keep_vars.is_some(),
            other => self.other.contains_key(other),
        };
        TOP_LEVEL.iter().copied().filter(set).collect()
    }

    /// This section with what `over` sets in place of its own; variables, bindings and definitions are not inherited.
    pub(super) fn overridden_by(self, over: Self) -> Self {
        Self {
            name: over.name.or(self.name),
            main: over.main.or(self.main),
            vars: over.vars,
            services: over.services,
            triggers: over.triggers.or(self.triggers),
            keep_vars: self.keep_vars,
            // One of the two spellings replaces both.
            route: over.route.or(if over.routes.is_some() { None } else { self.route }),
            routes: over.routes.or(self.routes),
            compatibility_date: over.compatibility_date.or(self.compatibility_date),
            compatibility_flags: over.compatibility_flags.or(self.compatibility_flags),
            limits: over.limits.or(self.limits),
            rules: over.rules.or(self.rules),
            build: over.build.or(self.build),
            no_bundle: over.no_bundle.or(self.no_bundle),
            find_additional_modules: over.find_additional_modules.or(self.find_additional_modules),
            base_dir: over.base_dir.or(self.base_dir),
            keep_names: over.keep_names.or(self.keep_names),
            upload_source_maps: over.upload_source_maps.or(self.upload_source_maps),
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

/// What to say of a key that is not acted on; nothing of a harmless one.
fn sentence(key: &str) -> Option<String> {
    if HARMLESS.contains(&key) {
        return None;
    }
    if NO_SUCH_BINDING.contains(&key) {
        return Some(format!("`{key}` is not supported and has no effect; the worker gets no such binding"));
    }
    if let Some((_, instead)) = INSTEAD.iter().find(|(known, _)| *known == key) {
        return Some(format!("`{key}` {instead}"));
    }
    let nearest = KNOWN.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    Some(match nearest {
        Some((distance, known)) if distance <= 2 && distance < key.len().div_ceil(2) => {
            format!("unknown key `{key}` has no effect; is it meant to be `{known}`?")
        }
        _ => format!("unknown key `{key}` has no effect"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_effect_are_told_apart() {
        let json = r#"{"name": "w", "kv_namespaces": [{}], "compatability_date": "x", "workers_dev": true, "site": {"bucket": "b"},
            "queues": {"producers": []}, "colour": 1}"#;
        let section: Section = serde_json::from_str(json).unwrap();
        assert_eq!(
            section.warnings("here"),
            [
                "here: unknown key `colour` has no effect",
                "here: unknown key `compatability_date` has no effect; is it meant to be `compatibility_date`?",
                "here: `kv_namespaces` is not supported and has no effect; the worker gets no such binding",
                "here: `site` has no effect; set \"assets\": {\"directory\": …}",
            ]
        );
    }

    #[test]
    fn all_keys_are_in_one_list_only() {
        let mut keys: Vec<&str> = [HARMLESS, NO_SUCH_BINDING, KNOWN].concat();
        keys.extend(INSTEAD.iter().map(|(key, _)| *key));
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        // `env` is read elsewhere, and harmless among what is left.
        assert_eq!(keys.len() + 1, count);
    }
}
