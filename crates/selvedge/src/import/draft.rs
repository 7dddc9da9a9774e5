//! What becomes of another server's settings.

use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

/// Settings, and what could not be carried over.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) listen: Vec<Value>,
    pub(crate) sites: Vec<Table>,
    pub(crate) middleware: Table,
    pub(crate) upstreams: Table,
    pub(crate) notes: Vec<Note>,
}

/// A directive that has no counterpart here, or one that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) directive: String,
    pub(crate) why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.directive, self.why)
    }
}

impl Draft {
    /// Middleware under a name, which is made different where it is taken by something else.
    pub(crate) fn step(&mut self, name: &str, kind: &str, settings: Table) -> String {
        let value = Value::Table(Table::from_iter([(kind.to_owned(), Value::Table(settings))]));
        let names = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
        for name in names {
            match self.middleware.get(&name) {
                Some(same) if *same == value => return name,
                Some(_) => {}
                None => {
                    self.middleware.insert(name.clone(), value);
                    return name;
                }
            }
        }
        name.to_owned()
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        if !self.notes.is_empty() {
            out += "# Not carried over:\n";
            for note in &self.notes {
                out += &format!("#   {note}\n");
            }
            out += "\n";
        }
        let mut table = Table::new();
        if !self.listen.is_empty() {
            table.insert(
                "edge".into(),
                Table::from_iter([("listen".into(), self.listen.clone().into())]).into(),
            );
        }
        let sites: Vec<Value> = self.sites.iter().cloned().map(Value::Table).collect();
        for (name, value) in [
            ("upstreams", Value::from(self.upstreams.clone())),
            ("middleware", self.middleware.clone().into()),
            ("sites", sites.into()),
        ] {
            let empty =
                value.as_table().is_some_and(Table::is_empty) || value.as_array().is_some_and(Vec::is_empty);
            if !empty {
                table.insert(name.into(), value);
            }
        }
        out + &inline(&table)
    }
}

/// Sections for what is large, one line for what is small.
fn inline(table: &Table) -> String {
    let mut out = String::new();
    if let Some(Value::Table(edge)) = table.get("edge") {
        out += "[edge]\n";
        out += &pairs(edge);
    }
    for section in ["upstreams", "middleware"] {
        for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
            let Value::Table(value) = value else { continue };
            match (section, value.iter().next()) {
                // The one table in it says which middleware it is.
                ("middleware", Some((kind, Value::Table(settings)))) => {
                    out += &format!("\n[middleware.{}.{kind}]\n{}", key(name), pairs(settings));
                }
                _ => out += &format!("\n[{section}.{}]\n{}", key(name), pairs(value)),
            }
        }
    }
    for site in table.get("sites").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
    {
        let (routes, own): (Table, Table) = site.clone().into_iter().partition(|(name, _)| name == "routes");
        out += &format!("\n[[sites]]\n{}", pairs(&own));
        let routes = routes.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
        for route in routes.iter().filter_map(Value::as_table) {
            out += &format!("\n[[sites.routes]]\n{}", pairs(route));
        }
    }
    out.trim_start().to_owned()
}

fn pairs(table: &Table) -> String {
    // `path` and `hosts` say what the rest is about.
    let first = |name: &str| !matches!(name, "path" | "hosts");
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| first(name));
    entries.into_iter().map(|(name, value)| format!("{} = {}\n", key(name), one_line(value))).collect()
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let inside: Vec<String> =
                table.iter().map(|(name, value)| format!("{} = {}", key(name), one_line(value))).collect();
            format!("{{ {} }}", inside.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { name.to_owned() } else { Value::from(name).to_string() }
}
