//! From sources to the modules of an upload.

use std::fs;
use std::path::{Component, Path, PathBuf};

use selvedge_model::Diagnostic;
use selvedge_model::{builtin, compatibility};
use serde_json::Value;

use super::esbuild::{self, BuildOptions};
use super::rules::ModuleRule;
use super::{Project, additional};
use crate::failure::{Failure, Outcome};

/// Name of the bundled entry module, unless there are modules beside it.
const MAIN_MODULE: &str = "main.js";
/// Schemes of modules that the platform provides.
const PLATFORM_SCHEMES: [&str; 2] = ["node:", "cloudflare:"];
/// First line of a bundle with CommonJS in it that requires Node's modules: `require` gives what is imported otherwise.
const REQUIRE: &str = "import { createRequire as __create_require } from \"node:module\"; const require = __create_require(\"file:///main.js\");\n";

/// One file to upload.
#[derive(Debug)]
pub(crate) struct UploadModule {
    /// Its specifier.
    pub(crate) name: String,
    /// How the server is to read it.
    pub(crate) content_type: &'static str,
    /// Its bytes.
    pub(crate) content: Vec<u8>,
}

/// A bundled worker.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Name of the entry module.
    pub(crate) main: String,
    /// Entry module, source map and copied modules.
    pub(crate) modules: Vec<UploadModule>,
    /// Source files it was made from, absolute.
    pub(crate) sources: Vec<PathBuf>,
    /// What the bundler found odd.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Bundle {
    /// Bytes of what runs; the source map does not count.
    pub(crate) fn code_bytes(&self) -> u64 {
        let code = self.modules.iter().filter(|module| module.content_type != SOURCE_MAP);
        code.map(|module| module.content.len() as u64).sum()
    }
}

/// What `addEventListener("fetch", …)` is uploaded as.
const SCRIPT: &str = "application/javascript";
pub(super) const SOURCE_MAP: &str = "application/source-map";

/// What stands in the place of a worker where there are only static files; it is never asked.
const NO_WORKER: &str = "export default { fetch: () => new Response(null, { status: 404 }) };\n";

/// Bundles the project with the esbuild in `libexec`.
pub(crate) fn bundle(project: &Project, libexec: &Path) -> Outcome<Bundle> {
    if let Some(build) = &project.custom_build {
        build.run(&project.root)?;
    }
    if project.main.as_os_str().is_empty() {
        let content_type = "application/javascript+module";
        let main = UploadModule { name: MAIN_MODULE.into(), content_type, content: NO_WORKER.into() };
        return Ok(Bundle {
            main: MAIN_MODULE.into(),
            modules: vec![main],
            sources: Vec::new(),
            warnings: Vec::new(),
        });
    }
    if project.build.no_bundle {
        return additional::unbundled(project);
    }
    let out = tempfile::tempdir().map_err(|error| Failure::io("create", &std::env::temp_dir(), &error))?;
    let bits = compatibility::bits(&project.compatibility_flags);
    let beside = match project.build.find_additional_modules {
        Some(true) => {
            let base = additional::base(project)?;
            Some((additional::find(project, &base)?, base))
        }
        _ => None,
    };
    let external =
        beside.iter().flat_map(|(found, _)| found.values().map(|(path, _)| path.clone())).collect();
    let options = BuildOptions { compatibility: bits, external, ..project.build.clone() };
    let mut report =
        esbuild::run(&libexec.join("esbuild"), &project.root, &project.main, &options, out.path())?;
    if !report.succeeded {
        return Err(refusal(project, bits, report.errors));
    }
    let meta = read(&out.path().join("meta.json"))?;
    let meta: Value = serde_json::from_slice(&meta).map_err(|error| {
        Failure::new("bundle_failed", format!("esbuild wrote no readable metafile: {error}"))
    })?;
    let (absent, required) = absent_modules(&meta, &project.root, bits);
    report.warnings.extend(required);
    if !absent.is_empty() {
        let mut failure = Failure::new("unknown_import", "the worker imports modules that do not exist here");
        failure.diagnostics = absent;
        return Err(failure.help("use Web APIs instead, or a package that runs in browsers and workers"));
    }
    let mut modules = modules(out.path(), project)?;
    if bits & compatibility::NODE_BIT != 0 && requires_of_node(&meta) {
        give_require(&mut modules)?;
    }
    if beside.is_none() && is_script(&meta) {
        let main = modules.iter_mut().filter(|module| module.name == MAIN_MODULE);
        main.for_each(|module| module.content_type = SCRIPT);
    }
    let sources = sources(&meta, &project.root);
    let mut bundle = Bundle { main: MAIN_MODULE.into(), modules, sources, warnings: report.warnings };
    if let Some((found, base)) = beside {
        additional::place(&mut bundle, &meta, out.path(), &base, project, &found);
        additional::add(&mut bundle, found, project)?;
    }
    Ok(bundle)
}

/// Whether the bundle is in the old syntax: it exports nothing and imports nothing, which a module has no use for.
fn is_script(meta: &Value) -> bool {
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let outputs = meta["outputs"].as_object();
    let entry = outputs.and_then(|outputs| outputs.values().find(|output| output["entryPoint"].is_string()));
    entry.is_some_and(|entry| empty(&entry["exports"]) && empty(&entry["imports"]))
}

/// Whether CommonJS in the bundle requires modules of Node.
fn requires_of_node(meta: &Value) -> bool {
    imports(meta).any(|(_, import)| {
        import["kind"] == "require-call"
            && import["path"].as_str().is_some_and(|path| path.starts_with("node:"))
    })
}

/// Puts [`REQUIRE`] before the main module, and a line into its map.
fn give_require(modules: &mut [UploadModule]) -> Outcome<()> {
    for module in modules {
        if module.name == MAIN_MODULE {
            module.content.splice(0..0, REQUIRE.bytes());
        } else if module.name == "main.js.map" {
            let mut map: Value = serde_json::from_slice(&module.content).map_err(|error| {
                Failure::new("bundle_failed", format!("esbuild wrote no readable source map: {error}"))
            })?;
            if let Some(mappings) = map["mappings"].as_str() {
                map["mappings"] = format!(";{mappings}").into();
            }
            module.content = map.to_string().into_bytes();
        }
    }
    Ok(())
}

fn refusal(project: &Project, bits: u32, mut errors: Vec<Diagnostic>) -> Failure {
    for error in &mut errors {
        let module =
            error.message.strip_prefix("Could not resolve \"").and_then(|rest| rest.split('"').next());
        let Some(module) = module.map(str::to_owned) else { continue };
        if builtin::canonical(&module).is_some() || builtin::instead(&module).is_some() {
            error.message = format!("the module {module:?} {}", compatibility::why_absent(bits, &module));
        }
    }
    let mut failure = Failure::new(&errors[0].code, "the worker could not be bundled");
    let unresolved = errors.iter().any(|error| error.code == "unknown_import");
    if unresolved && packages_missing(&project.root) {
        failure = failure
            .help(format!("its packages are not installed: run `npm install` in {}", project.root.display()));
    }
    failure.diagnostics = errors;
    failure
}

/// Whether a package.json names dependencies that nobody installed.
fn packages_missing(root: &Path) -> bool {
    let Ok(text) = fs::read(root.join("package.json")) else { return false };
    let manifest: Value = serde_json::from_slice(&text).unwrap_or_default();
    let named = manifest["dependencies"].as_object().is_some_and(|all| !all.is_empty());
    named && !root.ancestors().any(|dir| dir.join("node_modules").is_dir())
}

fn modules(out: &Path, project: &Project) -> Outcome<Vec<UploadModule>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(out).map_err(|error| Failure::io("read", out, &error))? {
        let path = entry.map_err(|error| Failure::io("read", out, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let content_type = match name.as_str() {
            "meta.json" => continue,
            MAIN_MODULE => "application/javascript+module",
            "main.js.map" => SOURCE_MAP,
            // Styles that code imports; a worker has no use for them.
            "main.css" | "main.css.map" => continue,
            other => project.build.rules.of_ending(other).unwrap_or(ModuleRule::Data).content_type(),
        };
        if content_type == SOURCE_MAP && project.build.no_source_maps {
            continue;
        }
        let mut content = read(&path)?;
        if content_type == SOURCE_MAP {
            content = with_project_paths(&content, out, &project.root)?;
        }
        modules.push(UploadModule { name, content_type, content });
    }
    without_queries(&mut modules);
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

/// `./a.wasm?module`, as some platforms write it, means the file: esbuild copies that, and leaves the import as it is.
fn without_queries(modules: &mut [UploadModule]) {
    let wasm = ModuleRule::Wasm.content_type();
    let copied: Vec<String> = modules
        .iter()
        .filter(|module| module.content_type == wasm)
        .map(|module| module.name.clone())
        .collect();
    let Some(main) = modules.iter_mut().find(|module| module.name == MAIN_MODULE) else { return };
    for name in copied {
        let written = format!("./{name}?module");
        if let Ok(text) = std::str::from_utf8(&main.content)
            && text.contains(&written)
        {
            main.content =
                additional::redirected(text.to_owned(), &written, &format!("./{name}")).into_bytes();
        }
    }
}

/// The map with its sources named relative to the project, as people know them, and not to esbuild's output.
pub(super) fn with_project_paths(map: &[u8], out: &Path, root: &Path) -> Outcome<Vec<u8>> {
    let unreadable =
        |error| Failure::new("bundle_failed", format!("esbuild wrote no readable source map: {error}"));
    let mut map: Value = serde_json::from_slice(map).map_err(unreadable)?;
    // Both without symbolic links, as esbuild saw them.
    let out = out.canonicalize().map_err(|error| Failure::io("find", out, &error))?;
    let prefix = map["sourceRoot"].as_str().unwrap_or_default().to_owned();
    if let Some(root) = map.get_mut("sourceRoot") {
        *root = "".into();
    }
    for source in map["sources"].as_array_mut().into_iter().flatten() {
        let Some(name) = source.as_str() else { continue };
        let path = normal(&out.join(&prefix).join(name));
        if let Some(inside) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            *source = inside.into();
        }
    }
    serde_json::to_vec(&map).map_err(unreadable)
}

/// The path without `.` and `..`; both mean the same where no symbolic link is involved.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::io("read", path, &error))
}

fn sources(meta: &Value, root: &Path) -> Vec<PathBuf> {
    let inputs = meta["inputs"].as_object();
    inputs
        .into_iter()
        .flat_map(|all| all.keys())
        .map(|name| root.join(name))
        .filter(|path| path.is_file())
        .collect()
}

/// All imports by the file that has them.
fn imports(meta: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let inputs = meta["inputs"].as_object().into_iter().flatten();
    inputs.flat_map(|(file, input)| {
        input["imports"].as_array().into_iter().flatten().map(move |import| (file.as_str(), import))
    })
}

/// Imports that were left to the platform, which does not provide them: those that stop the worker, and those that
/// CommonJS may never come to, or is ready to do without.
fn absent_modules(meta: &Value, root: &Path, bits: u32) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let (mut fatal, mut later) = (Vec::new(), Vec::new());
    for (file, import) in imports(meta) {
        let Some(path) = import["path"].as_str().filter(|_| import["external"] == true) else { continue };
        if !PLATFORM_SCHEMES.iter().any(|scheme| path.starts_with(scheme)) {
            continue;
        }
        let provided = match builtin::canonical(path) {
            Some(_) => compatibility::provides(bits, path),
            None => builtin::is_provided(path),
        };
        if provided {
            continue;
        }
        let required = import["kind"] == "require-call" && bits & compatibility::NODE_BIT != 0;
        if required { &mut later } else { &mut fatal }.push(absent(root, file, path, bits));
    }
    (fatal, later)
}

fn absent(root: &Path, file: &str, module: &str, bits: u32) -> Diagnostic {
    let mut diagnostic = Diagnostic {
        code: "unknown_import".into(),
        message: format!("the module {module:?} {}", compatibility::why_absent(bits, module)),
        file: Some(file.into()),
        ..Diagnostic::default()
    };
    let source = fs::read_to_string(root.join(file)).unwrap_or_default();
    let quoted = ['"', '\''].map(|quote| format!("{quote}{module}{quote}"));
    let place = source.lines().enumerate().find_map(|(index, line)| {
        quoted.iter().find_map(|name| line.find(name.as_str())).map(|byte| (index, line, byte))
    });
    if let Some((index, line, byte)) = place {
        diagnostic.line = u32::try_from(index + 1).ok();
        diagnostic.column = u32::try_from(line[..byte].chars().count() + 1).ok();
        diagnostic.excerpt = Some(line.into());
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let project = Project::open(dir.path(), None).unwrap();
        (dir, project)
    }

    fn build(files: &[(&str, &str)]) -> Outcome<Bundle> {
        let (_dir, project) = project(files);
        bundle(&project, &crate::places::libexec())
    }

    #[test]
    fn typescript_text_and_wasm_are_bundled() {
        let bundle = build(&[
            ("src/index.ts", "import page from './page.html'; import w from './add.wasm'; import {n} from './n';\nexport default { fetch(): string { return page + n + w } }"),
            ("src/n.ts", "export const n: number = 7"),
            ("src/page.html", "<h1>hi</h1>"),
            ("src/add.wasm", "\0asm"),
        ])
        .unwrap();
        let kinds: Vec<_> = bundle.modules.iter().map(|module| module.content_type).collect();
        assert_eq!(kinds, ["application/wasm", "application/javascript+module", SOURCE_MAP]);
        let main = String::from_utf8_lossy(&bundle.modules[1].content);
        assert!(main.contains("<h1>hi</h1>") && main.contains(&bundle.modules[0].name), "{main}");
        assert_eq!(bundle.sources.len(), 4);
        let map: Value = serde_json::from_slice(&bundle.modules[2].content).unwrap();
        assert!(map["sources"].as_array().unwrap().contains(&"src/n.ts".into()), "{}", map["sources"]);
    }

    #[test]
    fn mistakes_name_file_line_and_excerpt() {
        let failure = build(&[("index.js", "export default {\n  fetch( { }\n}")]).unwrap_err();
        assert_eq!(failure.code, "syntax_error");
        let first = &failure.diagnostics[0];
        assert_eq!(first.file.as_deref(), Some("index.js"));
        assert!(first.line.is_some() && first.excerpt.is_some());
    }

    #[test]
    fn modules_of_other_platforms_are_named() {
        let failure =
            build(&[("index.js", "// x\nimport { readFile } from 'node:fs';\nexport default { readFile }")])
                .unwrap_err();
        let first = &failure.diagnostics[0];
        assert_eq!((first.line, first.column), (Some(2), Some(26)));
        assert!(first.message.contains("node:fs"));
    }

    #[test]
    fn packages_that_nobody_installed_are_pointed_out() {
        let failure = build(&[
            ("index.js", "import { Hono } from 'hono'; export default new Hono()"),
            ("package.json", r#"{"dependencies": {"hono": "4"}}"#),
        ])
        .unwrap_err();
        assert_eq!(failure.code, "unknown_import");
        assert!(failure.help.unwrap().contains("npm install"));
    }

    #[test]
    fn a_missing_bundler_is_explained() {
        let (dir, project) = project(&[("index.js", "")]);
        assert_eq!(bundle(&project, dir.path()).unwrap_err().code, "no_bundler");
    }
}
