//! Tables: for the terminal, as Markdown and as JSON.

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value, json};

/// What was measured, and where.
#[derive(Debug)]
pub(crate) struct Report {
    machine: String,
    pub(crate) figures: Vec<Figure>,
}

/// One figure's table.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// What it shows and under which conditions, in a sentence.
    pub(crate) title: String,
    /// Headings, units included.
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// What a reader must know to read the table rightly.
    pub(crate) notes: Vec<String>,
}

/// One value of a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A number and how many decimals of it mean something.
    Number(f64, usize),
}

impl Report {
    /// An empty report that names the machine.
    pub(crate) fn about_this_machine() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let load = load.split_whitespace().next().unwrap_or("?").to_owned();
        let machine = format!("{model}, {cores} cores, Linux {}, load {load} at the start", kernel.trim());
        Self { machine, figures: Vec::new() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Machine: {}.\n", self.machine);
        for figure in &self.figures {
            text += &figure.markdown();
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        json!({ "machine": self.machine, "figures": figures })
    }
}

impl Figure {
    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("\n## {}\n\n{}\n\n", self.name, self.title);
        text += &line(self.columns.iter().map(|name| name.replace('|', "\\|")).collect());
        text += &format!("|{}\n", "---|".repeat(self.columns.len()));
        for row in &self.rows {
            text += &line(row.iter().map(|cell| cell.to_string().replace('|', "\\|")).collect());
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| {
            let named = self.columns.iter().zip(cells);
            Value::Object(named.map(|(name, cell)| ((*name).to_owned(), cell.json())).collect::<Map<_, _>>())
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "name": self.name, "title": self.title, "rows": rows, "notes": self.notes })
    }
}

/// Aligned for a terminal: the first column to the left, the others to the right.
impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<Vec<String>> = vec![self.columns.iter().map(|name| (*name).to_owned()).collect()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()));
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        writeln!(f, "{}: {}", self.name, self.title)?;
        for line in &lines {
            for (column, (text, width)) in line.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "  {text:<width$}")?,
                    _ => write!(f, "  {text:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

impl Cell {
    /// JSON has no NaN: a value that could not be measured is null.
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(value, _) => json!(value.is_finite().then_some(value)),
        }
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(value, decimals) if value.is_finite() => write!(f, "{value:.decimals$}"),
            Self::Number(..) => f.write_str("-"),
        }
    }
}

/// A cell with words.
pub(crate) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

/// A cell with a number.
pub(crate) fn number(value: f64, decimals: usize) -> Cell {
    Cell::Number(value, decimals)
}

/// A cell with a count.
pub(crate) fn count(value: u64) -> Cell {
    Cell::Number(value as f64, 0)
}

/// A cell with bytes, shown as MB of 1,000,000 bytes.
pub(crate) fn megabytes(bytes: u64) -> Cell {
    Cell::Number(bytes as f64 / 1e6, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            name: "hello",
            title: "Title.".into(),
            columns: vec!["server", "µs"],
            rows: vec![vec![text("a|b"), number(1.25, 1)], vec![text("longer"), number(f64::NAN, 1)]],
            notes: vec!["Note.".into()],
        }
    }

    #[test]
    fn tables_are_aligned() {
        assert_eq!(
            figure().to_string(),
            "hello: Title.\n  server   µs\n  a|b     1.2\n  longer    -\n  Note.\n"
        );
    }

    #[test]
    fn markdown_escapes_bars() {
        let markdown = figure().markdown();
        assert!(markdown.contains("| server | µs |\n|---|---|\n| a\\|b | 1.2 |\n"), "{markdown}");
    }

    #[test]
    fn json_keeps_numbers_whole() {
        let json = figure().json();
        assert_eq!(json["rows"][0]["µs"], 1.25);
        assert_eq!(json["rows"][1]["µs"], Value::Null);
    }
}
