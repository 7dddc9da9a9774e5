//! `selvedge.toml`: several files, one environment, variables; and mistakes shown where they stand.
//!
//! ```toml
//! include = ["conf.d/*.toml"]         # further files, read as if they stood here
//! admin = "127.0.0.1:${ADMIN_PORT:-8081}"
//!
//! [edge]
//! listen = ["127.0.0.1:8080"]
//!
//! [env.production.edge]               # with --env production, instead of the above
//! listen = ["0.0.0.0:80"]
//! ```
//!
//! - [`sources`]: the files, and which of them a byte stands in.
//! - [`tables`]: putting their tables together.
//! - [`variables`]: `${NAME}` in strings.
//! - [`mistakes`]: what serde says, in words of the file.

mod mistakes;
mod sources;
mod tables;
mod variables;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Outcome;
use mistakes::Mistakes;
use sources::Sources;

/// Mistakes that are looked for in one go.
const MISTAKES_MAX: usize = 20;

/// Settings and where they came from.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) settings: T,
    /// The files, the given one first.
    pub(crate) files: Vec<PathBuf>,
    /// Environments that they know.
    pub(crate) environments: Vec<String>,
}

/// Reads settings out of a file, what it includes, and one of its environments. `check` says what is wrong with them
/// beyond their types: the setting's path, such as `edge.listen`, and a sentence.
///
/// # Errors
/// `io` when the file cannot be read, `bad_config` with a diagnostic for each mistake, `unknown_environment`.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    environment: Option<&str>,
    check: impl FnOnce(&T) -> Vec<(String, String)>,
) -> Outcome<Read<T>> {
    let mut mistakes = Mistakes::default();
    let sources = Sources::read(path, &mut mistakes)?;
    let mut table = tables::combined(&sources, &mut mistakes);
    let environments = tables::environments(&table);
    if let Some(name) = environment {
        tables::choose(&mut table, name, &environments)?;
    }
    table.remove("env");
    table.remove("include");
    variables::fill_in(&mut table, |name| std::env::var(name).ok(), &mut mistakes);
    let settings = deserialize(&table, &mut mistakes);
    match settings {
        Some(settings) if mistakes.is_empty() => {
            for (setting, message) in check(&settings) {
                mistakes.add(tables::place(&table, &setting), message);
            }
            mistakes.into_outcome(&sources)?;
            Ok(Read { settings, files: sources.paths(), environments })
        }
        _ => Err(mistakes.into_failure(&sources)),
    }
}

/// The files that [`read`] would read; the given one at least.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    match Sources::read(path, &mut Mistakes::default()) {
        Ok(sources) => sources.paths(),
        Err(_) => vec![path.to_owned()],
    }
}

/// Deserializes; each mistake found is cut out and the rest looked at again.
fn deserialize<T: DeserializeOwned>(table: &DeTable<'_>, mistakes: &mut Mistakes) -> Option<T> {
    let mut table = table.clone();
    for _ in 0..MISTAKES_MAX {
        let whole = Spanned::new(0..0, table.clone());
        let error = match T::deserialize(toml::Deserializer::from(whole)) {
            Ok(settings) => return Some(settings),
            Err(error) => error,
        };
        let span = error.span();
        mistakes.add(span.clone(), mistakes::in_words(error.message()));
        if !span.is_some_and(|span| tables::cut_out(&mut table, &span)) {
            return None;
        }
    }
    None
}

/// A table's value, wherever it stands.
type Value<'i> = Spanned<DeValue<'i>>;

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        name: String,
        ports: Vec<u16>,
        inner: Inner,
        sites: Vec<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        size: u64,
        format: Option<Format>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Format {
        Text,
        Json,
    }

    fn load(files: &[(&str, &str)], environment: Option<&str>) -> Outcome<Read<Sample>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&dir.path().join(files[0].0), environment, |sample: &Sample| match sample.inner.size {
            13 => vec![("inner.size".into(), "13 brings bad luck".into())],
            _ => Vec::new(),
        })
    }

    /// Line, column and beginning of each mistake.
    #[track_caller]
    fn mistakes(files: &[(&str, &str)]) -> Vec<(String, u32, u32, String)> {
        let failure = load(files, None).unwrap_err();
        assert_eq!(failure.code, "bad_config", "{failure:?}");
        let place = |diagnostic: selvedge_model::Diagnostic| {
            let file = diagnostic.file.unwrap();
            let file = file.rsplit('/').next().unwrap().to_owned();
            (file, diagnostic.line.unwrap(), diagnostic.column.unwrap(), diagnostic.message)
        };
        failure.diagnostics.into_iter().map(place).collect()
    }

    #[test]
    fn files_are_put_together() {
        let files = [
            ("a.toml", "include = [\"conf.d/*.toml\"]\nname = \"a\"\n[[sites]]\nsize = 1\n"),
            ("conf.d/2.toml", "[inner]\nformat = \"json\"\n[[sites]]\nsize = 3\n"),
            ("conf.d/1.toml", "[inner]\nsize = 5\n[[sites]]\nsize = 2\n"),
            ("conf.d/other", "no toml"),
        ];
        let read = load(&files, None).unwrap();
        assert_eq!(read.files.len(), 3);
        let settings = read.settings;
        assert_eq!(settings.inner, Inner { size: 5, format: Some(Format::Json) });
        assert_eq!(settings.sites.iter().map(|site| site.size).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn an_environment_goes_before_the_rest() {
        let text = "ports = [1]\n[inner]\nsize = 1\nformat = \"text\"\n[env.big]\nports = [2, 3]\n[env.big.inner]\nsize = 2\n[env.small]\n";
        let plain = load(&[("a.toml", text)], None).unwrap();
        assert_eq!((plain.settings.ports.as_slice(), plain.settings.inner.size), (&[1][..], 1));
        assert_eq!(plain.environments, ["big", "small"]);
        let big = load(&[("a.toml", text)], Some("big")).unwrap().settings;
        assert_eq!(big.ports, [2, 3]);
        assert_eq!(big.inner, Inner { size: 2, format: Some(Format::Text) });
        let failure = load(&[("a.toml", text)], Some("bigg")).unwrap_err();
        assert_eq!(failure.code, "unknown_environment");
        assert!(failure.help.unwrap().contains("big"), "names what there is");
    }

    #[test]
    fn all_mistakes_are_shown_where_they_stand() {
        let text =
            "nmae = \"x\"\nports = [1, \"two\", 70000]\n\n[inner]\n  size = -1\nformat = \"jsn\"\n[iner]\n";
        let found = mistakes(&[("a.toml", text)]);
        let at = |line: u32| {
            let here = found.iter().filter(|mistake| mistake.1 == line).collect::<Vec<_>>();
            assert!(!here.is_empty(), "line {line}: {found:?}");
            here.into_iter().map(|mistake| (mistake.2, mistake.3.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(at(1), [(1, "there is no setting `nmae` here; did you mean `name`?")]);
        assert_eq!(at(2)[0].0, 13);
        assert_eq!(at(5)[0].0, 10);
        assert_eq!(at(6), [(10, "`jsn` is not possible here; did you mean `json`?")]);
        assert_eq!(at(7), [(2, "there is no setting `iner` here; did you mean `inner`?")]);
    }

    #[test]
    fn mistakes_of_included_files_are_theirs() {
        let files =
            [("a.toml", "include = [\"b.toml\"]\nname = \"a\""), ("b.toml", "\n\nname = \"b\"\nsiz = 1")];
        let found = mistakes(&files);
        assert_eq!((found[0].0.as_str(), found[0].1, found[0].2), ("b.toml", 3, 1));
        assert!(found[0].3.contains("a.toml:2"), "says where it was set first: {found:?}");
        assert_eq!((found[1].0.as_str(), found[1].1), ("b.toml", 4));
        let files = [("a.toml", "include = [\"b.toml\", 7, \"none.toml\"]"), ("b.toml", "x = [\n")];
        let found = mistakes(&files);
        assert!(found.iter().any(|mistake| mistake.0 == "b.toml"), "{found:?}");
        assert!(found.iter().any(|mistake| (mistake.1, mistake.2) == (1, 22)), "{found:?}");
        assert!(found.iter().any(|mistake| mistake.3.contains("none.toml")), "{found:?}");
    }

    #[test]
    fn includes_end() {
        let found = mistakes(&[("a.toml", "include = [\"a.toml\"]")]);
        assert!(found[0].3.contains("includes itself"), "{found:?}");
        let read = load(&[("a.toml", "include = [\"none/*.toml\"]")], None).unwrap();
        assert_eq!(read.files.len(), 1, "a directory that may be empty is no mistake");
    }

    #[test]
    fn variables_are_filled_in() {
        let text = "name = \"${CARGO_PKG_NAME}-${NOT_SET_HERE:-d:e}$${x}$\"";
        let read = load(&[("a.toml", text)], None).unwrap();
        assert_eq!(read.settings.name, "selvedge-d:e${x}$");
        let found = mistakes(&[("a.toml", "name = \"a ${NOT_SET_HERE} ${broken\"")]);
        assert_eq!((found[0].1, found[0].2), (1, 8));
        assert!(found[0].3.contains("NOT_SET_HERE") && found[1].3.contains("closed"), "{found:?}");
    }

    #[test]
    fn what_types_do_not_say_is_checked() {
        let found = mistakes(&[("a.toml", "[inner]\nsize = 13")]);
        assert_eq!(found, [("a.toml".to_owned(), 2, 8, "13 brings bad luck".to_owned())]);
    }

    #[test]
    fn broken_files_are_no_panic() {
        for text in [
            "=",
            "[",
            "[[",
            "a.b.c = 1\na.b = 2",
            "a = \"\\ud800\"",
            "\u{0}",
            "x = 1e999",
            "a = [1,,2]",
            "é = ü",
        ] {
            assert!(!mistakes(&[("a.toml", text)]).is_empty(), "{text}");
        }
        let deep = format!("x = {}", "[".repeat(5000));
        assert!(!mistakes(&[("a.toml", &deep)]).is_empty());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        assert_eq!(read(&file, None, |_: &Sample| Vec::new()).unwrap_err().code, "io");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(read(&file, None, |_: &Sample| Vec::new()).unwrap_err().code, "io");
    }
}
