//! Reads a configuration file into a [`Project`].

use std::fs;
use std::path::Path;

use jsonc_parser::ParseOptions;
use selvedge_model::{Binding, BindingValue, Diagnostic, compatibility};
use serde_json::Value;

use super::esbuild::BuildOptions;
use super::rules::Rules;
use super::wrangler::{Paths, Section};
use super::{CustomBuild, Project};
use crate::failure::{Failure, Outcome};

/// Largest configuration file read, bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Reads `path`, applying its `env` section called `environment`.
pub(super) fn read(path: &Path, environment: Option<&str>) -> Outcome<Project> {
    let place = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let size = fs::metadata(path).map_err(|error| Failure::io("read", path, &error))?.len();
    if size > CONFIG_BYTES_MAX {
        return Err(Failure::new("bad_config", format!("{place} is larger than {CONFIG_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let value = parse(&place, &text)?;
    let top = section(&place, value.clone())?;
    let mut warnings = top.warnings(&place);
    let merged = match environment {
        None => top,
        Some(environment) => {
            let over = environment_section(&place, &value, environment)?;
            warnings.extend(over.warnings(&format!("{place}, env.{environment}")));
            for key in over.misplaced() {
                warnings.push(format!(
                    "{place}: `{key}` in env.{environment} has no effect; it belongs to the top level"
                ));
            }
            for key in top.not_inherited(&over) {
                warnings
                    .push(format!("{place}: `{key}` is not inherited by env.{environment}; repeat it there"));
            }
            let named = over.name.is_some();
            let mut merged = top.overridden_by(over);
            if !named {
                // As wrangler does, so that environments do not overwrite each other.
                merged.name = merged.name.map(|name| format!("{name}-{environment}"));
            }
            merged
        }
    };
    project(&place, merged, warnings)
}

fn parse(place: &str, text: &str) -> Outcome<Value> {
    let refuse = |message: String, offset: Option<usize>| {
        let mut failure = Failure::new("bad_config", format!("{place} could not be read"));
        failure.diagnostics.push(at(place, text, message, offset));
        failure
    };
    if place.ends_with(".toml") {
        return toml::from_str(text)
            .map_err(|error| refuse(error.message().to_owned(), error.span().map(|span| span.start)));
    }
    jsonc_parser::parse_to_serde_value(text, &ParseOptions::default())
        .map_err(|error| refuse(error.kind().to_string(), Some(error.range().start)))
}

/// A diagnostic with the line that byte `offset` is in.
fn at(place: &str, text: &str, message: String, offset: Option<usize>) -> Diagnostic {
    let mut diagnostic =
        Diagnostic { code: "bad_config".into(), message, file: Some(place.into()), ..Diagnostic::default() };
    if let Some(before) = offset.and_then(|offset| text.get(..offset)) {
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        diagnostic.line = u32::try_from(before.matches('\n').count() + 1).ok();
        diagnostic.column = u32::try_from(before[start..].chars().count() + 1).ok();
        diagnostic.excerpt = text[start..].lines().next().map(str::to_owned);
    }
    diagnostic
}

fn section(place: &str, value: Value) -> Outcome<Section> {
    serde_json::from_value(value).map_err(|error| Failure::new("bad_config", format!("{place}: {error}")))
}

fn environment_section(place: &str, value: &Value, environment: &str) -> Outcome<Section> {
    let Some(found) = value.get("env").and_then(|all| all.get(environment)) else {
        let names = value.get("env").and_then(Value::as_object);
        let names: Vec<_> = names.into_iter().flat_map(|all| all.keys().cloned()).collect();
        let failure = Failure::new("no_environment", format!("{place} has no section env.{environment}"));
        return Err(if names.is_empty() {
            failure
        } else {
            failure.help(format!("there are: {}", names.join(", ")))
        });
    };
    section(&format!("{place}, env.{environment}"), found.clone())
}

fn project(place: &str, merged: Section, mut warnings: Vec<String>) -> Outcome<Project> {
    let name = match merged.name {
        None => None,
        Some(name) => {
            Some(name.parse().map_err(|error| Failure::new("bad_config", format!("{place}: {error}")))?)
        }
    };
    let bindings = merged.vars.unwrap_or_default().into_iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) => BindingValue::PlainText { text },
            other => BindingValue::Json { text: other.to_string() },
        };
        Binding { name, value }
    });
    let services = merged.services.unwrap_or_default().into_iter().map(|bound| Binding {
        name: bound.binding,
        value: BindingValue::Service {
            service: bound.service,
            entrypoint: bound.entrypoint,
            props: bound.props.map(|props| Value::Object(props).to_string()),
        },
    });
    let assets = merged.assets.filter(|assets| !assets.directory.is_empty());
    let files = assets.as_ref().and_then(|assets| assets.binding.clone());
    let files = files.map(|name| Binding { name, value: BindingValue::Assets });
    let bindings = bindings.chain(services).chain(files);
    let routes = match (merged.route, merged.routes) {
        (None, None) => None,
        (one, many) => {
            Some(one.into_iter().chain(many.into_iter().flatten()).map(|route| route.pattern()).collect())
        }
    };
    let own = merged.selvedge.unwrap_or_default();
    let mut limits = merged.limits.unwrap_or_default();
    limits.extend(own.limits);
    let custom_build = merged.build.and_then(|build| {
        Some(CustomBuild {
            command: build.command.filter(|command| !command.trim().is_empty())?,
            directory: build.cwd.unwrap_or_default().into(),
            watched: match build.watch_dir {
                None => vec!["src".into()],
                Some(Paths::One(path)) => vec![path],
                Some(Paths::Many(paths)) => paths,
            },
        })
    });
    let build = BuildOptions {
        define: merged
            .define
            .unwrap_or_default()
            .into_iter()
            // wrangler takes the text of a string as code, esbuild's way.
            .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect(),
        alias: merged.alias.unwrap_or_default().into_iter().collect(),
        minify: merged.minify.unwrap_or(false),
        tsconfig: merged.tsconfig,
        jsx_factory: merged.jsx_factory,
        jsx_fragment: merged.jsx_fragment,
        rules: Rules::read(place, merged.rules.unwrap_or_default(), &mut warnings),
        no_bundle: merged.no_bundle.unwrap_or(false),
        find_additional_modules: merged.find_additional_modules,
        base_dir: merged.base_dir,
        external: Vec::new(),
        keep_names: merged.keep_names,
        no_source_maps: merged.upload_source_maps == Some(false),
        compatibility: 0,
        development: false,
    };
    let flags = merged.compatibility_flags.unwrap_or_default();
    for flag in compatibility::unknown(&flags) {
        warnings
            .push(format!("{place}: the compatibility flag {flag:?} is not known here and has no effect"));
    }
    Ok(Project {
        name,
        main: merged.main.unwrap_or_default().into(),
        bindings: bindings.collect(),
        keep_vars: merged.keep_vars.unwrap_or(false),
        routes,
        compatibility_date: merged.compatibility_date.unwrap_or_default(),
        compatibility_flags: flags,
        limits,
        isolation: own.isolation,
        egress: own.egress,
        crons: merged.triggers.and_then(|triggers| triggers.crons).unwrap_or_default(),
        assets,
        custom_build,
        build,
        warnings,
        ..Project::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::rules::ModuleRule;

    fn read_text(name: &str, text: &str, environment: Option<&str>) -> Outcome<Project> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        read(&path, environment)
    }

    const TOML: &str = r#"
        name = "shop"
        main = "src/index.ts"
        compatibility_date = "2026-01-01"
        compatibility_flags = ["nodejs_compat"]
        routes = ["shop.example/*", { pattern = "www.shop.example", custom_domain = true }]
        kv_namespaces = [{ binding = "KV", id = "1" }]
        workers_dev = true
        colour = "red"
        rules = [{ type = "Text", globs = ["**/*.md"] }, { type = "Data", globs = ["data/*"] }]
        [vars]
        GREETING = "hi"
        FLAGS = { a = 1 }
        [limits]
        cpu_ms = 100
        [env.staging]
        vars = { GREETING = "ho" }
        route = "staging.example/*"
        [env.bare]
    "#;

    #[test]
    fn toml_is_read() {
        let project = read_text("wrangler.toml", TOML, None).unwrap();
        assert_eq!(project.name.unwrap().as_str(), "shop");
        assert_eq!(project.routes.unwrap(), ["shop.example/*", "www.shop.example"]);
        assert_eq!(project.limits["cpu_ms"], 100);
        let vars: Vec<_> = project.bindings.iter().map(|b| format!("{}={:?}", b.name, b.value)).collect();
        assert_eq!(vars, [r#"FLAGS=Json({"a":1})"#, r#"GREETING=PlainText("hi")"#]);
        assert!(project.build.rules.endings().contains(&(".md".into(), ModuleRule::Text)));
        let warnings = project.warnings.join("\n");
        for named in ["kv_namespaces", "colour"] {
            assert!(warnings.contains(named), "{named} in {warnings}");
        }
        assert!(!warnings.contains("workers_dev"));
    }

    #[test]
    fn environments_override_and_are_named() {
        let project = read_text("wrangler.toml", TOML, Some("staging")).unwrap();
        assert_eq!(project.name.unwrap().as_str(), "shop-staging");
        assert_eq!(project.bindings.len(), 1);
        assert_eq!(project.compatibility_date, "2026-01-01");
        assert!(project.routes.unwrap().contains(&"staging.example/*".to_owned()));
        let bare = read_text("wrangler.toml", TOML, Some("bare")).unwrap();
        assert!(bare.bindings.is_empty());
        assert!(bare.warnings.iter().any(|text| text.contains("not inherited")));
        let unknown = read_text("wrangler.toml", TOML, Some("none")).unwrap_err();
        assert_eq!(unknown.help.as_deref(), Some("there are: bare, staging"));
    }

    #[test]
    fn jsonc_is_read() {
        let text = "{\n // a comment\n \"name\": \"a\",\n \"selvedge\": {\"isolation\": \"worker\", \"limits\": {\"memory_mb\": 64}},\n}";
        let project = read_text("wrangler.jsonc", text, None).unwrap();
        assert_eq!(project.isolation.as_deref(), Some("worker"));
        assert_eq!(project.limits["memory_mb"], 64);
    }

    #[test]
    fn mistakes_are_shown_with_their_place() {
        let toml = read_text("wrangler.toml", "name = \"a\"\nmain = \n", None).unwrap_err();
        assert_eq!(toml.diagnostics[0].line, Some(2));
        let json = read_text("wrangler.jsonc", "{\n \"name\": nope }", None).unwrap_err();
        assert_eq!(json.diagnostics[0].line, Some(2));
        let name = read_text("wrangler.jsonc", "{\"name\": \"No Spaces\"}", None).unwrap_err();
        assert_eq!(name.code, "bad_config");
        assert_eq!(read_text("wrangler.json", "[]", None).unwrap_err().code, "bad_config");
        assert_eq!(read_text("wrangler.json", "{\"vars\": 3}", None).unwrap_err().code, "bad_config");
    }
}
