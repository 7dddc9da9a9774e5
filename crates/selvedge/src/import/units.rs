//! Pieces that the settings of servers are written with.

use toml::{Table, Value};

pub(super) fn route(path: &str, (kind, answer): (&str, Value), steps: &[String]) -> Value {
    let mut route = Table::from_iter([("path".into(), Value::from(path))]);
    if !steps.is_empty() {
        route.insert("use".into(), steps.to_vec().into());
    }
    route.insert(kind.into(), answer);
    route.into()
}

pub(super) fn set(table: &mut Table, name: &str, value: impl Into<String>) {
    table.insert(name.into(), Value::String(value.into()));
}

pub(super) fn upstream_url(scheme: &str, server: &str) -> String {
    match server.strip_prefix("unix:") {
        Some(path) => format!("unix:{}", path.trim_start_matches("//")),
        None => format!("{scheme}://{server}"),
    }
}

pub(super) fn regex_escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `30s`, `500ms`, `1h`, `60`: milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

pub(super) fn expires(text: &str) -> Option<String> {
    Some(match text {
        "off" => return None,
        "epoch" => "no-cache".into(),
        "max" => "max-age=315360000".into(),
        "-1" => "no-cache".into(),
        _ => format!("max-age={}", duration_ms(text)? / 1000),
    })
}

/// `10m`, `1g`, `512k`: bytes.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(at);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}
