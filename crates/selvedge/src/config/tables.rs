//! Putting tables together: those of several files, and those of an environment over the rest.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Value;
use super::mistakes::{Mistakes, nearest};
use super::sources::Sources;
use crate::failure::{Failure, Outcome};

/// The settings of all files. Tables and arrays of tables grow; anything else may be set once.
pub(super) fn combined<'i>(sources: &'i Sources, mistakes: &mut Mistakes) -> DeTable<'i> {
    let mut all = DeTable::new();
    for source in &sources.files {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        for error in errors {
            let span = error.span().map(|span| span.start + source.start..span.end + source.start);
            mistakes.add(span.or(Some(source.start..source.start)), error.message());
        }
        let mut table = shifted_table(table.into_inner(), source.start);
        // Each file has its own, and they were followed.
        table.remove("include");
        add(&mut all, table, sources, mistakes);
    }
    all
}

fn shifted<'i, T>(value: Spanned<T>, by: usize, change: impl FnOnce(T) -> T) -> Spanned<T>
where
    T: 'i,
{
    let span = value.span();
    Spanned::new(span.start + by..span.end + by, change(value.into_inner()))
}

fn shifted_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    table.into_iter().map(|(key, value)| (shifted(key, by, |key| key), shifted_value(value, by))).collect()
}

fn shifted_value(value: Value<'_>, by: usize) -> Value<'_> {
    shifted(value, by, |value| match value {
        DeValue::Table(table) => DeValue::Table(shifted_table(table, by)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|item| shifted_value(item, by)).collect())
        }
        other => other,
    })
}

fn add<'i>(all: &mut DeTable<'i>, more: DeTable<'i>, sources: &Sources, mistakes: &mut Mistakes) {
    for (key, value) in more {
        let Some(first) = all.get_mut(key.get_ref().as_ref()) else {
            all.insert(key, value);
            continue;
        };
        let place = first.span();
        match (first.get_mut(), value.into_inner()) {
            (DeValue::Table(first), DeValue::Table(more)) => add(first, more, sources, mistakes),
            (DeValue::Array(first), DeValue::Array(more)) if tables_only(first) && tables_only(&more) => {
                more.into_iter().for_each(|item| first.push(item));
            }
            _ => {
                let first = sources.diagnostic(Some(&place), "");
                let first = format!("{}:{}", first.file.unwrap_or_default(), first.line.unwrap_or(1));
                mistakes.add(Some(key.span()), format!("`{}` was set before, in {first}", key.get_ref()));
            }
        }
    }
}

fn tables_only(array: &DeArray<'_>) -> bool {
    array.iter().all(|item| item.get_ref().is_table())
}

/// Names of the environments.
pub(super) fn environments(table: &DeTable<'_>) -> Vec<String> {
    let environments = table.get("env").and_then(|env| env.get_ref().as_table());
    environments.into_iter().flatten().map(|(name, _)| name.get_ref().to_string()).collect()
}

/// Puts an environment's settings in the place of the others.
pub(super) fn choose(table: &mut DeTable<'_>, name: &str, known: &[String]) -> Outcome {
    let Some(DeValue::Table(mut environments)) = table.remove("env").map(Spanned::into_inner) else {
        return Err(Failure::new("unknown_environment", format!("there is no environment {name:?}"))
            .help(format!("the configuration has none; a section [env.{name}] would make it")));
    };
    let Some(DeValue::Table(chosen)) = environments.remove(name).map(Spanned::into_inner) else {
        let help = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are: {}", known.join(", ")),
        };
        return Err(
            Failure::new("unknown_environment", format!("there is no environment {name:?}")).help(help)
        );
    };
    replace(table, chosen);
    Ok(())
}

fn replace<'i>(table: &mut DeTable<'i>, with: DeTable<'i>) {
    for (key, value) in with {
        let value = match (table.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value) {
            (Some(DeValue::Table(old)), value) if value.get_ref().is_table() => {
                if let DeValue::Table(new) = value.into_inner() {
                    replace(old, new);
                }
                continue;
            }
            (_, value) => value,
        };
        // The key, too: it says where the setting stands.
        table.remove(key.get_ref().as_ref());
        table.insert(key, value);
    }
}

/// Where the setting with this path stands, such as `edge.listen` or `sites.0.hosts`, or else the nearest value around it.
pub(super) fn place(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let mut keys = path.split('.');
    let mut value = table.get(keys.next()?)?;
    for key in keys {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.get(key),
            DeValue::Array(array) => key.parse().ok().and_then(|index: usize| array.get(index)),
            _ => None,
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    Some(value.span())
}

/// Removes the key or value that takes these bytes. False when there is none.
pub(super) fn cut_out(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let here = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = here.map(|(key, _)| key.get_ref().to_string()) {
        return table.remove(key.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| cut_out_of(value.get_mut(), span))
}

fn cut_out_of(value: &mut DeValue<'_>, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => cut_out(table, span),
        DeValue::Array(array) => {
            let before = array.len();
            let items = std::mem::replace(array, DeArray::new());
            *array = items.into_iter().filter(|item| item.span() != *span).collect();
            array.len() < before || array.iter_mut().any(|item| cut_out_of(item.get_mut(), span))
        }
        _ => false,
    }
}
