//! Module rules: which files that are no bundled code are imported as what.

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::wrangler;

/// How a file is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModuleRule {
    /// As an ECMAScript module.
    Code,
    /// As a string.
    Text,
    /// As an `ArrayBuffer`.
    Data,
    /// As a `WebAssembly.Module`.
    Wasm,
}

impl ModuleRule {
    /// The content type that tells the server.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Code => "application/javascript+module",
            Self::Text => "text/plain",
            Self::Data => "application/octet-stream",
            Self::Wasm => "application/wasm",
        }
    }
}

/// File endings that need no configuration.
const USUAL: [(&str, ModuleRule); 5] = [
    (".txt", ModuleRule::Text),
    (".html", ModuleRule::Text),
    (".sql", ModuleRule::Text),
    (".bin", ModuleRule::Data),
    (".wasm", ModuleRule::Wasm),
];

/// Endings that the bundler reads by itself; only a rule for all files of the ending changes that.
const BUNDLED: [&str; 10] = [".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".json", ".css"];

/// The rules of a project, before the usual ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    own: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    kind: ModuleRule,
    globs: Vec<GlobMatcher>,
    /// Further rules of this kind count, too.
    fallthrough: bool,
}

impl Rules {
    /// Reads `rules` of the configuration.
    pub(super) fn read(place: &str, rules: Vec<wrangler::Rule>, warnings: &mut Vec<String>) -> Self {
        let mut own = Vec::new();
        for rule in rules {
            let kind = match rule.kind.as_str() {
                "ESModule" => ModuleRule::Code,
                "Text" => ModuleRule::Text,
                "Data" => ModuleRule::Data,
                "CompiledWasm" => ModuleRule::Wasm,
                other => {
                    warnings.push(format!(
                        "{place}: a rule of type {other:?} has no effect; there are ESModule, Text, Data and CompiledWasm"
                    ));
                    continue;
                }
            };
            let mut globs = Vec::new();
            for glob in rule.globs {
                match GlobBuilder::new(&glob).literal_separator(true).build() {
                    Ok(glob) => globs.push(glob.compile_matcher()),
                    Err(error) => {
                        warnings.push(format!("{place}: the rule for {glob:?} has no effect: {error}"))
                    }
                }
            }
            own.push(Rule { kind, globs, fallthrough: rule.fallthrough });
        }
        Self { own }
    }

    /// What the bundler does with files by their ending; a later entry counts more.
    pub(super) fn endings(&self) -> Vec<(String, ModuleRule)> {
        let usual = USUAL.iter().map(|(ending, kind)| ((*ending).to_owned(), *kind));
        let own = self.own.iter().rev().filter(|rule| rule.kind != ModuleRule::Code);
        let own =
            own.flat_map(|rule| rule.globs.iter().filter_map(|glob| Some((ending(glob.glob())?, rule.kind))));
        usual.chain(own).collect()
    }

    /// How a file that the bundler has copied is imported.
    pub(super) fn of_ending(&self, name: &str) -> Option<ModuleRule> {
        let endings = self.endings();
        endings.into_iter().rfind(|(ending, _)| name.ends_with(ending.as_str())).map(|(_, kind)| kind)
    }

    /// How a file below the base directory is imported that is uploaded beside the main module; `None` for one that is
    /// not. As in wrangler, a rule ends its kind unless it falls through.
    pub(super) fn of_file(&self, path: &str) -> Option<ModuleRule> {
        let mut ended = Vec::new();
        for rule in &self.own {
            if ended.contains(&rule.kind) {
                continue;
            }
            if rule.globs.iter().any(|glob| glob.is_match(path)) {
                return Some(rule.kind);
            }
            if !rule.fallthrough {
                ended.push(rule.kind);
            }
        }
        USUAL
            .iter()
            .find(|(ending, kind)| path.ends_with(ending) && !ended.contains(kind))
            .map(|(_, kind)| *kind)
    }
}

/// `.md` of `**/*.md`, `docs/*.md` …; nothing where the glob says no ending, or one that is code elsewhere.
fn ending(glob: &Glob) -> Option<String> {
    let glob = glob.glob();
    let everywhere = glob.strip_prefix("**/").unwrap_or(glob);
    let ending = glob.rsplit('/').next()?.strip_prefix('*')?;
    let plain = ending.starts_with('.') && !ending.contains(['*', '?', '[', '{', ':', '=']);
    let whole = everywhere.strip_prefix('*') == Some(ending);
    (plain && (whole || !BUNDLED.contains(&ending))).then(|| ending.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> (Rules, Vec<String>) {
        let mut warnings = Vec::new();
        let rules = Rules::read("here", serde_json::from_str(json).unwrap(), &mut warnings);
        (rules, warnings)
    }

    #[test]
    fn rules_of_the_project_come_first() {
        let (rules, warnings) = rules(
            r#"[{"type": "Data", "globs": ["**/*.txt", "docs/*.md", "x/*.js"]}, {"type": "CommonJS", "globs": []}]"#,
        );
        assert!(warnings[0].contains("CommonJS"), "{warnings:?}");
        assert_eq!(rules.of_ending("a-1.txt"), Some(ModuleRule::Data));
        assert_eq!(rules.of_ending("a-1.md"), Some(ModuleRule::Data));
        assert_eq!(rules.of_ending("a-1.wasm"), Some(ModuleRule::Wasm));
        assert_eq!(rules.of_ending("main.js"), None);
    }

    #[test]
    fn files_beside_the_main_module_are_chosen_by_globs() {
        let (ending, _) =
            rules(r#"[{"type": "Text", "globs": ["docs/**/*.md"]}, {"type": "Text", "globs": ["*.x"]}]"#);
        assert_eq!(ending.of_file("docs/a/b.md"), Some(ModuleRule::Text));
        assert_eq!(ending.of_file("b.md"), None);
        // Text has ended, Data has not.
        assert_eq!((ending.of_file("a.x"), ending.of_file("a.html")), (None, None));
        assert_eq!(ending.of_file("d/a.bin"), Some(ModuleRule::Data));
        let (through, _) = rules(
            r#"[{"type": "Text", "globs": ["*.md"], "fallthrough": true}, {"type": "ESModule", "globs": ["**/*.js"]}]"#,
        );
        assert_eq!(through.of_file("a.html"), Some(ModuleRule::Text));
        assert_eq!(through.of_file("d/a.md"), None);
        assert_eq!(through.of_file("a/b.js"), Some(ModuleRule::Code));
    }
}
