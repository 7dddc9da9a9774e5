//! `${NAME}` and `${NAME:-default}` in strings, out of the process's environment; `$${` stands for `${`.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::Value;
use super::mistakes::Mistakes;

/// Fills in the variables of all strings.
pub(super) fn fill_in(
    table: &mut DeTable<'_>,
    variable: impl Fn(&str) -> Option<String> + Copy,
    mistakes: &mut Mistakes,
) {
    for (_, value) in table.iter_mut() {
        fill_in_value(value, variable, mistakes);
    }
}

fn fill_in_value(
    value: &mut Value<'_>,
    variable: impl Fn(&str) -> Option<String> + Copy,
    mistakes: &mut Mistakes,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            let filled = filled(text, variable, |mistake| mistakes.add(Some(span.clone()), mistake));
            *text = Cow::Owned(filled);
        }
        DeValue::Table(table) => fill_in(table, variable, mistakes),
        DeValue::Array(array) => array.iter_mut().for_each(|item| fill_in_value(item, variable, mistakes)),
        _ => {}
    }
}

fn filled(text: &str, variable: impl Fn(&str) -> Option<String>, mut wrong: impl FnMut(String)) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(plain) = before.strip_suffix('$') {
            out.push_str(plain);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, later)) = after.split_once('}') else {
            wrong("a variable is not closed with `}`; `$${` stands for `${` itself".into());
            return out;
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match variable(name).filter(|value| !value.is_empty()).or(default.map(str::to_owned)) {
            Some(value) => out.push_str(&value),
            None => wrong(format!(
                "the environment variable {name} is not set; set it, or give a default: ${{{name}:-…}}"
            )),
        }
        rest = later;
    }
    out.push_str(rest);
    out
}
