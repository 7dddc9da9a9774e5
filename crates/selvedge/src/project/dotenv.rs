//! `.dev.vars`, or `.dev.vars.NAME` for an environment: variables and secrets for `selvedge dev` only, one `NAME=value` a line.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_model::{Binding, BindingValue};

use crate::failure::{Failure, Outcome};

/// The file in `root` that counts: an environment's own one replaces that of all.
pub(crate) fn dev_vars_file(root: &Path, environment: Option<&str>) -> PathBuf {
    let own = environment.map(|environment| root.join(format!(".dev.vars.{environment}")));
    own.filter(|path| path.is_file()).unwrap_or_else(|| root.join(".dev.vars"))
}

/// Reads it; absent means none.
pub(crate) fn dev_vars(root: &Path, environment: Option<&str>) -> Outcome<Vec<Binding>> {
    let path = dev_vars_file(root, environment);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::io("read", &path, &error)),
    }
}

fn parse(text: &str) -> Vec<Binding> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
            let text = unquoted(value.trim()).to_owned();
            Some(Binding { name: name.trim().into(), value: BindingValue::SecretText { text } })
        })
        .collect()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        let names = |text| parse(text).into_iter().map(|b| (b.name, b.value)).collect::<Vec<_>>();
        let secret = |text: &str| BindingValue::SecretText { text: text.into() };
        assert_eq!(
            names("# note\nA=1\n export B = \"two words\" \n\nnothing\nC='x=y'\n"),
            [("A".into(), secret("1")), ("B".into(), secret("two words")), ("C".into(), secret("x=y"))]
        );
    }
}
