//! Modules that are uploaded as they are, beside the main module: `find_additional_modules` and `no_bundle`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use selvedge_model::artifact::MODULES_MAX;
use serde_json::Value;

use super::bundle::{Bundle, SOURCE_MAP, UploadModule, with_project_paths};
use super::rules::ModuleRule;
use super::{Project, rules::Rules};
use crate::failure::{Failure, Outcome};

/// Directories that hold no modules of the project, whatever the rules say.
const PASSED_OVER: [&str; 3] = ["node_modules", ".git", ".wrangler"];
/// How a module names its source map, in its last line that is not empty.
const MAP_COMMENT: &str = "//# sourceMappingURL=";

/// Files below the base directory that match a rule, by their path relative to it.
pub(super) type Found = BTreeMap<String, (PathBuf, ModuleRule)>;

/// The directory to which the names of modules are relative.
pub(super) fn base(project: &Project) -> Outcome<PathBuf> {
    let main = project.root.join(&project.main);
    let base = match &project.build.base_dir {
        Some(base) => project.root.join(base),
        None => main.parent().unwrap_or(&project.root).to_path_buf(),
    };
    let base = base.canonicalize().map_err(|error| {
        Failure::io("open", &base, &error).help("correct `base_dir` in the configuration")
    })?;
    let main = main.canonicalize().map_err(|error| Failure::io("open", &main, &error))?;
    if !main.starts_with(&base) {
        let message = format!("the entry module {} is not below {}", main.display(), base.display());
        return Err(Failure::new("bad_config", message).help("correct `base_dir` in the configuration"));
    }
    Ok(base)
}

/// Looks for modules below `base`; the entry module is none of them.
pub(super) fn find(project: &Project, base: &Path) -> Outcome<Found> {
    let mut found = Found::new();
    walk(&project.build.rules, base, base, &mut found)?;
    let main = project.root.join(&project.main).canonicalize().unwrap_or_default();
    found.retain(|_, (path, _)| *path != main && Some(path.as_path()) != project.config.as_deref());
    Ok(found)
}

fn walk(rules: &Rules, base: &Path, directory: &Path, found: &mut Found) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::io("read", directory, &error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Links are not followed: they might lead round in a circle, or out of the project.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if !PASSED_OVER.iter().any(|name| entry.file_name() == *name) {
                walk(rules, base, &path, found)?;
            }
            continue;
        }
        let Some(name) = path.strip_prefix(base).ok().and_then(Path::to_str) else { continue };
        let Some(rule) = rules.of_file(name).filter(|_| kind.is_file()) else { continue };
        if found.len() == MODULES_MAX {
            let message = format!("more than {MODULES_MAX} files below {} match a rule", base.display());
            return Err(Failure::new("too_many_modules", message)
                .help("narrow `rules` or `base_dir` in the configuration"));
        }
        found.insert(name.to_owned(), (path, rule));
    }
    Ok(())
}

/// The project's modules as they are, without bundling.
pub(super) fn unbundled(project: &Project) -> Outcome<Bundle> {
    let base = base(project)?;
    let path = project.root.join(&project.main).canonicalize().unwrap_or_default();
    let main = path.strip_prefix(&base).ok().and_then(Path::to_str).unwrap_or_default().to_owned();
    if !path.extension().is_some_and(|ending| ending == "js" || ending == "mjs") {
        let message = format!("`no_bundle` uploads {main} as it is, but it is no JavaScript");
        return Err(Failure::new("not_a_worker", message)
            .help("name the result of your build in `main`, or remove `no_bundle`"));
    }
    let mut found = match project.build.find_additional_modules {
        Some(false) => Found::new(),
        _ => find(project, &base)?,
    };
    found.insert(main.clone(), (path, ModuleRule::Code));
    let mut bundle = Bundle { main, modules: Vec::new(), sources: Vec::new(), warnings: Vec::new() };
    add(&mut bundle, found, project)?;
    Ok(bundle)
}

/// Puts the found files into the upload, with the maps that they name.
pub(super) fn add(bundle: &mut Bundle, found: Found, project: &Project) -> Outcome<()> {
    for (name, (path, rule)) in found {
        let content = fs::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
        if rule == ModuleRule::Code && !project.build.no_source_maps {
            bundle.modules.extend(source_map(&name, &path, &content, &project.root));
        }
        bundle.modules.push(UploadModule { name, content_type: rule.content_type(), content });
        bundle.sources.push(path);
    }
    bundle.modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// The map that a module names, if it is a file beside it; stacks are shown without where it cannot be read.
fn source_map(name: &str, path: &Path, code: &[u8], root: &Path) -> Option<UploadModule> {
    let text = std::str::from_utf8(code).ok()?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let map = path.with_file_name(last.trim().strip_prefix(MAP_COMMENT)?);
    let directory = path.parent()?;
    let content = with_project_paths(&fs::read(map).ok()?, directory, root).ok()?;
    Some(UploadModule { name: format!("{name}.map"), content_type: SOURCE_MAP, content })
}

/// Gives the bundle, whose modules lie side by side, its place below the base directory, and leads its imports of found
/// files there: esbuild has written their paths as seen from its output.
pub(super) fn place(
    bundle: &mut Bundle,
    meta: &Value,
    out: &Path,
    base: &Path,
    project: &Project,
    found: &Found,
) {
    // Without symbolic links, as esbuild saw it.
    let out = out.canonicalize().unwrap_or_else(|_| out.into());
    let directory =
        Path::new(&project.main).parent().map(|parent| project.root.join(parent)).unwrap_or_default();
    let directory = directory.canonicalize().unwrap_or(directory);
    let depth = directory.strip_prefix(base).ok().and_then(Path::to_str).unwrap_or_default().to_owned();
    let up = if depth.is_empty() { "./".to_owned() } else { "../".repeat(depth.split('/').count()) };
    let main = bundle.main.clone();
    let mut imports: Vec<String> = outside(meta).map(str::to_owned).collect();
    imports.sort();
    imports.dedup();
    if let Some(code) = bundle.modules.iter_mut().find(|module| module.name == main)
        && let Ok(mut text) = String::from_utf8(std::mem::take(&mut code.content))
    {
        for import in imports {
            let target = super::bundle::normal(&out.join(&import));
            let name = target.strip_prefix(base).ok().and_then(Path::to_str);
            if let Some(name) = name.filter(|name| found.contains_key(*name)) {
                text = redirected(text, &import, &format!("{up}{name}"));
            }
        }
        code.content = text.into_bytes();
    }
    let mut free = main.clone();
    while found.contains_key(&joined(&depth, &free)) {
        free.insert(0, '_');
    }
    for module in &mut bundle.modules {
        if let Some(rest) = module.name.strip_prefix(&main).filter(|rest| rest.is_empty() || *rest == ".map")
        {
            module.name = format!("{free}{rest}");
        }
        module.name = joined(&depth, &module.name);
    }
    bundle.main = joined(&depth, &free);
}

fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Imports that the bundle leaves to be resolved later.
fn outside(meta: &Value) -> impl Iterator<Item = &str> {
    let outputs = meta["outputs"].as_object().into_iter().flat_map(|all| all.values());
    let imports = outputs.flat_map(|output| output["imports"].as_array().into_iter().flatten());
    imports.filter(|import| import["external"] == true).filter_map(|import| import["path"].as_str())
}

/// `text` with another string in place of the string `from`, and spaces behind it so that all columns stay as the source
/// map has them.
pub(super) fn redirected(mut text: String, from: &str, to: &str) -> String {
    for quote in ['"', '\'', '`'] {
        let escaped = |path: &str| path.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"));
        let (from, to) =
            (format!("{quote}{}{quote}", escaped(from)), format!("{quote}{}{quote}", escaped(to)));
        if text.contains(&from) {
            let space = from.chars().count().saturating_sub(to.chars().count());
            text = text.replace(&from, &format!("{to}{}", " ".repeat(space)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_redirected_without_moving_what_follows() {
        let text =
            r#"import a from"../../../there/p/src/a.js";import('../../../there/p/src/b.js');f("a.js")"#;
        let text = redirected(text.into(), "../../../there/p/src/a.js", "./a.js");
        let text = redirected(text, "../../../there/p/src/b.js", "./b.js");
        assert_eq!(
            text,
            format!(
                r#"import a from"./a.js"{0};import('./b.js'{0});f("a.js")"#,
                " ".repeat("../../../there/p/src/a.js".len() - "./a.js".len())
            )
        );
    }
}
