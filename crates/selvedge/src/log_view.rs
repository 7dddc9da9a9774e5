//! Log events as people read them.

use anstyle::{AnsiColor, Style};
use selvedge_model::{LogEvent, LogKind, LogLevel};

use crate::clock::time_of_day;
use crate::terminal::{BAD, DIM, plain, say, write_line};

/// Prints an event: time, level, text, and the stack below it. False when nobody reads standard output any more.
pub(crate) fn print(event: &LogEvent) -> bool {
    let (style, word) = look(event);
    let time = time_of_day(event.timestamp_ms);
    let message = indented(&event.message);
    let first =
        write_line(format_args!("{DIM}{time}{DIM:#} {style}{word:<9}{style:#} {message}{}", code(event)));
    if let Some(stack) = &event.stack {
        for line in plain(stack).lines().filter(|line| !event.message.contains(line.trim())) {
            say!("             {DIM}{}{DIM:#}", line.trim_start());
        }
    }
    first
}

fn look(event: &LogEvent) -> (Style, &'static str) {
    let plain_style = Style::new();
    match (event.kind, event.level) {
        (LogKind::Exception, _) => (BAD, "exception"),
        (LogKind::Limit, _) => (BAD, "limit"),
        (_, LogLevel::Error) => (AnsiColor::Red.on_default(), "error"),
        (_, LogLevel::Warn) => (AnsiColor::Yellow.on_default(), "warn"),
        (_, LogLevel::Info) => (AnsiColor::Blue.on_default(), "info"),
        (_, LogLevel::Log) => (plain_style, "log"),
        (_, LogLevel::Debug) => (DIM, "debug"),
    }
}

fn code(event: &LogEvent) -> String {
    event.code.as_ref().map(|code| format!(" [{}]", plain(code))).unwrap_or_default()
}

/// Further lines stand under the first.
fn indented(text: &str) -> String {
    plain(text).replace('\n', "\n                       ")
}
