//! Runs esbuild and reads what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selvedge_model::{Diagnostic, builtin, compatibility};

use super::rules::{ModuleRule, Rules};
use crate::failure::{Failure, Outcome};

/// Oldest ECMAScript that the sandbox's V8 runs without translation.
const TARGET: &str = "es2024";
/// Errors shown of one build.
const ERRORS_MAX: u32 = 20;

/// What a project may say about bundling.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildOptions {
    /// Identifiers replaced by code.
    pub(crate) define: Vec<(String, String)>,
    /// Packages replaced by others.
    pub(crate) alias: Vec<(String, String)>,
    /// Smaller code.
    pub(crate) minify: bool,
    /// Path of `tsconfig.json`, relative to the project.
    pub(crate) tsconfig: Option<String>,
    /// Function that JSX elements call.
    pub(crate) jsx_factory: Option<String>,
    /// What JSX fragments become.
    pub(crate) jsx_fragment: Option<String>,
    /// Which files are imported as what.
    pub(crate) rules: Rules,
    /// Upload the main module as it is.
    pub(crate) no_bundle: bool,
    /// Upload files that match a rule, too, instead of bundling them; as `no_bundle` says if not set.
    pub(crate) find_additional_modules: Option<bool>,
    /// Where these are looked for, relative to the project; the main module's directory if not set.
    pub(crate) base_dir: Option<String>,
    /// Files that are not bundled, absolute.
    pub(crate) external: Vec<PathBuf>,
    /// `name` of functions and classes stays; if not set, where code is minified.
    pub(crate) keep_names: Option<bool>,
    /// Leave source maps out of the upload; stacks then name the bundle.
    pub(crate) no_source_maps: bool,
    /// What the worker's compatibility flags switch on, see [`compatibility::bits`].
    pub(crate) compatibility: u32,
    /// `process.env.NODE_ENV` is `development`.
    pub(crate) development: bool,
}

/// What one run said.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) succeeded: bool,
}

/// Bundles `main`, relative to `root`, into `out`: `main.js`, its map, copied modules and `meta.json`.
pub(super) fn run(
    program: &Path,
    root: &Path,
    main: &Path,
    options: &BuildOptions,
    out: &Path,
) -> Outcome<Report> {
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null()).args(arguments(options));
    command
        .arg(format!("--outdir={}", out.display()))
        .arg(format!("--metafile={}", out.join("meta.json").display()));
    command.arg(Path::new(".").join(main));
    let output = command.output().map_err(|error| {
        Failure::new("no_bundler", format!("esbuild could not be started ({}): {error}", program.display()))
            .help("run `cargo xtask build`, or set SELVEDGE_LIBEXEC to the directory that holds esbuild")
    })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut report = parse(&text, root);
    report.succeeded = output.status.success();
    if !report.succeeded && report.errors.is_empty() {
        let message = format!("esbuild failed ({}): {}", output.status, text.trim());
        return Err(Failure::new("bundle_failed", message));
    }
    Ok(report)
}

fn arguments(options: &BuildOptions) -> Vec<String> {
    let environment = if options.development { "development" } else { "production" };
    let mut arguments: Vec<String> = [
        "--bundle",
        "--format=esm",
        // Reads what packages replace or leave out outside of Node (the map `browser` in package.json), as on Cloudflare.
        "--platform=browser",
        "--entry-names=main",
        "--sourcemap=external",
        "--conditions=workerd,worker,browser",
        "--main-fields=browser,module,main",
        "--external:node:*",
        "--external:cloudflare:*",
        "--color=false",
        "--log-level=warning",
        "--charset=utf8",
    ]
    .map(String::from)
    .into();
    arguments.push(format!("--target={TARGET}"));
    arguments.push(format!("--log-limit={ERRORS_MAX}"));
    if !options.define.iter().any(|(name, _)| name == "process.env.NODE_ENV") {
        arguments.push(format!("--define:process.env.NODE_ENV=\"{environment}\""));
    }
    for (ending, rule) in options.rules.endings() {
        // Copied files stay modules of their own, which the sandbox imports as what they are.
        let loader = if rule == ModuleRule::Text { "text" } else { "copy" };
        arguments.push(format!("--loader:{ending}={loader}"));
    }
    arguments.extend(options.define.iter().map(|(name, value)| format!("--define:{name}={value}")));
    // Node's modules without `node:`, before any package of that name, as on Cloudflare.
    let bare = builtin::MODULES.iter().filter_map(|name| name.strip_prefix("node:"));
    let bare = bare.filter(|name| compatibility::provides(options.compatibility, name));
    let free = bare.filter(|name| options.alias.iter().all(|(own, _)| own != name));
    arguments.extend(free.map(|name| format!("--alias:{name}=node:{name}")));
    arguments.extend(options.alias.iter().map(|(name, value)| format!("--alias:{name}={value}")));
    arguments.extend(options.external.iter().map(|path| format!("--external:{}", path.display())));
    arguments.extend(options.minify.then(|| "--minify".to_owned()));
    let keep_names = options.keep_names.unwrap_or(options.minify);
    arguments.extend(keep_names.then(|| "--keep-names".to_owned()));
    arguments.extend(options.tsconfig.iter().map(|path| format!("--tsconfig={path}")));
    arguments.extend(options.jsx_factory.iter().map(|name| format!("--jsx-factory={name}")));
    arguments.extend(options.jsx_fragment.iter().map(|name| format!("--jsx-fragment={name}")));
    arguments
}

/// Reads the log of the pinned esbuild:
///
/// ```text
/// ✘ [ERROR] Expected ";" but found "}"
///
///     src/index.ts:3:4:
///       3 │ }
///         ╵ ^
///
///   A note, possibly with a place of its own.
/// ```
fn parse(text: &str, root: &Path) -> Report {
    let mut report = Report::default();
    let mut current: Option<(bool, Diagnostic)> = None;
    for line in text.lines() {
        let head = line.split_once("[ERROR] ").map(|(mark, message)| (mark, true, message));
        let head =
            head.or_else(|| line.split_once("[WARNING] ").map(|(mark, message)| (mark, false, message)));
        if let Some((mark, is_error, message)) = head
            && mark.chars().count() <= 2
        {
            report.take(current.replace((is_error, diagnostic(message))));
            continue;
        }
        let Some((_, diagnostic)) = &mut current else { continue };
        if diagnostic.file.is_none()
            && let Some(place) = line.strip_prefix("    ").and_then(place)
        {
            locate(diagnostic, root, place);
        } else if let Some(note) = line.strip_prefix("  ").filter(|note| !note.starts_with(' '))
            // A heading of a further place says little without it.
            && !note.ends_with(':')
        {
            diagnostic.message.push(' ');
            diagnostic.message.push_str(note);
        }
    }
    report.take(current);
    report
}

impl Report {
    fn take(&mut self, found: Option<(bool, Diagnostic)>) {
        match found {
            Some((true, error)) => self.errors.push(error),
            Some((false, warning)) => self.warnings.push(warning),
            None => {}
        }
    }
}

fn diagnostic(message: &str) -> Diagnostic {
    let code = if message.starts_with("Could not resolve") { "unknown_import" } else { "syntax_error" };
    Diagnostic { code: code.into(), message: message.into(), ..Diagnostic::default() }
}

/// `file:line:column:`; esbuild counts lines from 1 and bytes of a line from 0.
fn place(line: &str) -> Option<(&str, u32, usize)> {
    let mut parts = line.strip_suffix(':')?.rsplitn(3, ':');
    let (column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

fn locate(diagnostic: &mut Diagnostic, root: &Path, (file, line, byte): (&str, u32, usize)) {
    diagnostic.file = Some(file.into());
    diagnostic.line = Some(line);
    let source = fs::read_to_string(root.join(file)).unwrap_or_default();
    let Some(text) = source.lines().nth(line.saturating_sub(1) as usize) else { return };
    let before = text.get(..byte).unwrap_or(text);
    diagnostic.column = u32::try_from(before.chars().count() + 1).ok();
    diagnostic.excerpt = Some(text.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_errors_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.ts"), "one\n\tconst é = }\n").unwrap();
        let log = "✘ [ERROR] Unexpected \"}\"\n\n    a.ts:2:12:\n      2 │   const é = }\n        ╵           ^\n\n\
                   ✘ [ERROR] Could not resolve \"fs\"\n\n    b.ts:1:7:\n      1 │ import \"fs\"\n        ╵        ~~~~\n\n\
                   \x20 The package \"fs\" is built into node.\n\n▲ [WARNING] odd\n\n2 errors\n";
        let report = parse(log, dir.path());
        assert_eq!(report.errors.len(), 2);
        let first = &report.errors[0];
        assert_eq!((first.file.as_deref(), first.line, first.column), (Some("a.ts"), Some(2), Some(12)));
        assert_eq!(first.excerpt.as_deref(), Some("\tconst é = }"));
        assert_eq!(report.errors[1].code, "unknown_import");
        assert!(report.errors[1].message.ends_with("is built into node."));
        assert_eq!(report.warnings[0].message, "odd");
    }

    #[test]
    fn any_text_is_survived() {
        for text in [
            "",
            "✘ [ERROR] ",
            "    a:1:1:\n",
            "✘ [ERROR] x\n    :::\n    a:9:9:\n",
            "panic: go\n\ngoroutine 1",
        ] {
            let _ = parse(text, Path::new("/nonexistent"));
        }
    }
}
