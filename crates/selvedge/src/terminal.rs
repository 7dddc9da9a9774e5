//! What goes to the terminal: lines for people, or one JSON document for programs.

use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Take note.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default().bold();
/// Hints and addresses.
pub(crate) const HINT: Style = AnsiColor::Cyan.on_default();
/// Less important.
pub(crate) const DIM: Style = Style::new().dimmed();

/// How this invocation speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// One JSON document on standard output instead of text.
    pub(crate) json: bool,
}

impl Terminal {
    /// Prints `document` with `--json`, else what `text` prints.
    pub(crate) fn answer(self, document: &impl Serialize, text: impl FnOnce()) {
        if self.json {
            self.document(document);
        } else {
            text();
        }
    }

    /// Prints a JSON document. False when nobody reads standard output any more.
    pub(crate) fn document(self, document: &impl Serialize) -> bool {
        match serde_json::to_string(document) {
            Ok(text) => write_line(format_args!("{text}")),
            Err(error) => {
                anstream::eprintln!("error: could not write JSON: {error}");
                true
            }
        }
    }

    /// Prints why the command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            self.document(&serde_json::json!({ "error": failure }));
        }
        anstream::eprintln!("{BAD}error{BAD:#}: {}", failure.message);
        for diagnostic in &failure.diagnostics {
            anstream::eprintln!("\n{}", plain(&diagnostic.to_string()));
            if let Some(stack) = &diagnostic.stack {
                anstream::eprintln!("{DIM}{}{DIM:#}", plain(stack));
            }
        }
        if let Some(help) = &failure.help {
            anstream::eprintln!("{HINT}help{HINT:#}: {help}");
        }
    }

    /// Prints something that the user should know although the command goes on.
    pub(crate) fn warning(self, text: &str) {
        anstream::eprintln!("{NOTE}warning{NOTE:#}: {text}");
    }

    /// A line that moves while something takes its time; invisible where standard error is no terminal.
    pub(crate) fn spinner(self, text: &str) -> ProgressBar {
        let bar = ProgressBar::new_spinner().with_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(80));
        bar
    }

    /// A bar for `total` bytes.
    pub(crate) fn bytes_bar(self, text: &str, total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}");
        let bar = ProgressBar::new(total).with_message(text.to_owned());
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// Prints a line to standard output. Unlike `println!`, it bears that the reader of a pipe has gone.
macro_rules! say {
    ($($text:tt)*) => {{ let _ = $crate::terminal::write_line(format_args!($($text)*)); }};
}
pub(crate) use say;

/// What [`say!`] does. False when nobody reads standard output any more.
pub(crate) fn write_line(text: std::fmt::Arguments<'_>) -> bool {
    writeln!(anstream::stdout(), "{text}").is_ok()
}

/// A table with these column names.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    table
}

/// `12.3 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Removes control characters, so that text from elsewhere cannot move the cursor or change colours.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\n\tc\u{7}"), "a[31mb\n\tc");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(12_600), "12.30 KiB");
    }
}
