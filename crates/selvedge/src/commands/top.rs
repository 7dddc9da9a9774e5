//! `selvedge top`: what the server does now.

use std::cmp::Reverse;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Shared;
use crate::failure::Outcome;
use crate::terminal::{Terminal, bytes, plain, say, table, write_line};

/// Routes and workers shown.
const PLACES: usize = 15;
/// Clears the screen and puts the cursor into its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Watch requests, latencies, routes and servers live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  selvedge top\n  selvedge top --once --json")]
pub(crate) struct TopArgs {
    /// Show it once, and end
    #[arg(long)]
    once: bool,
    /// Between two looks, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
}

/// Runs the command.
pub(crate) fn run(args: &TopArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let client = shared.client()?;
    let mut before = client.get("/api/v1/stats")?;
    loop {
        std::thread::sleep(Duration::from_secs(args.interval));
        let now = client.get("/api/v1/stats")?;
        let view = view(&before, &now);
        if terminal.document(&view) {
            // Without an end, one document a line.
        } else {
            if !args.once && std::io::stdout().is_terminal() && !write_line(format_args!("{CLEAR}")) {
                return Ok(());
            }
            show(&view, &shared.api);
        }
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

/// Rates between two looks at the sums.
fn view(before: &Value, now: &Value) -> Value {
    let seconds = (number(&now["time_ms"]).saturating_sub(number(&before["time_ms"])).max(1)) as f64 / 1000.0;
    let more = |path: &str| {
        let of = |stats: &Value| stats.pointer(path).map_or(0, number);
        of(now).saturating_sub(of(before))
    };
    let bounds = numbers(&now["http"]["bounds_us"]);
    let classes = differences(&before["http"]["classes"], &now["http"]["classes"]);
    let buckets = differences(&before["http"]["buckets"], &now["http"]["buckets"]);
    let mut places: Vec<Value> = now["places"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|place| {
            let earlier = before["places"].as_array().into_iter().flatten();
            let earlier = earlier
                .into_iter()
                .find(|earlier| earlier["site"] == place["site"] && earlier["route"] == place["route"])
                .unwrap_or(&Value::Null);
            let classes = differences(&earlier["classes"], &place["classes"]);
            let buckets = differences(&earlier["buckets"], &place["buckets"]);
            let requests: u64 = classes.iter().sum();
            (requests > 0).then(|| {
                json!({ "site": place["site"], "route": place["route"], "requests": requests,
                    "requests_per_s": requests as f64 / seconds, "errors": classes.get(4).unwrap_or(&0),
                    "p50_us": quantile(&bounds, &buckets, 0.5), "p99_us": quantile(&bounds, &buckets, 0.99) })
            })
        })
        .collect();
    places.sort_by_key(|place| Reverse(number(&place["requests"])));
    places.truncate(PLACES);
    let (hits, misses) = (more("/cache/hits"), more("/cache/misses"));
    let asked = hits + misses;
    json!({
        "seconds": seconds,
        "requests_per_s": classes.iter().sum::<u64>() as f64 / seconds,
        "status": { "1xx": classes.first(), "2xx": classes.get(1), "3xx": classes.get(2), "4xx": classes.get(3), "5xx": classes.get(4) },
        "p50_us": quantile(&bounds, &buckets, 0.5),
        "p99_us": quantile(&bounds, &buckets, 0.99),
        "requests_in_flight": now["http"]["requests_in_flight"],
        "connections": now["http"]["connections"],
        "connection_states": now["http"]["connection_states"],
        "received_bytes_per_s": more("/http/received_bytes") as f64 / seconds,
        "sent_bytes_per_s": more("/http/sent_bytes") as f64 / seconds,
        "cache_hit_ratio": (asked > 0).then(|| hits as f64 / asked as f64),
        "cpu": more("/process/cpu_ms") as f64 / 1000.0 / seconds,
        "memory_bytes": now["process"]["memory_bytes"],
        "isolates": now["engine"]["isolates"],
        "isolate_memory_bytes": now["engine"]["memory_bytes"],
        "places": places,
        "upstreams": now["upstreams"],
    })
}

fn show(view: &Value, api: &str) {
    let float = |key: &str| view[key].as_f64().unwrap_or_default();
    let status = |class: &str| number(&view["status"][class]);
    say!("selvedge at {api}");
    say!(
        "requests: {:.1}/s   p50 {}   p99 {}   in flight {}   connections {}",
        float("requests_per_s"),
        duration(&view["p50_us"]),
        duration(&view["p99_us"]),
        number(&view["requests_in_flight"]),
        number(&view["connections"]),
    );
    say!(
        "status: 2xx {}   3xx {}   4xx {}   5xx {}   cache hits {}",
        status("2xx"),
        status("3xx"),
        status("4xx"),
        status("5xx"),
        view["cache_hit_ratio"].as_f64().map_or("-".into(), |ratio| format!("{:.0} %", ratio * 100.0)),
    );
    say!(
        "cpu: {:.0} %   memory: {}   isolates: {} in {}   in {}/s   out {}/s\n",
        float("cpu") * 100.0,
        bytes(number(&view["memory_bytes"])),
        number(&view["isolates"]),
        bytes(number(&view["isolate_memory_bytes"])),
        bytes(float("received_bytes_per_s") as u64),
        bytes(float("sent_bytes_per_s") as u64),
    );
    let states = numbers(&view["connection_states"]);
    if states.iter().any(|count| *count > 0) {
        let names = ["in handshakes", "new", "idle", "sending heads", "busy", "lingering"];
        let shown = names.iter().zip(&states).filter(|(_, count)| **count > 0);
        let shown: Vec<String> = shown.map(|(name, count)| format!("{count} {name}")).collect();
        say!("connections: {}\n", shown.join(", "));
    }
    let mut places = table(&["site", "route", "requests/s", "errors", "p50", "p99"]);
    for place in view["places"].as_array().into_iter().flatten() {
        let text = |key: &str| plain(place[key].as_str().unwrap_or_default());
        places.add_row([
            text("site"),
            text("route"),
            format!("{:.1}", place["requests_per_s"].as_f64().unwrap_or_default()),
            number(&place["errors"]).to_string(),
            duration(&place["p50_us"]),
            duration(&place["p99_us"]),
        ]);
    }
    say!("{places}");
    let mut servers = table(&["upstream", "circuit", "server behind", "state", "requests now"]);
    let mut any = false;
    let upstreams = view["upstreams"].as_array().into_iter().flatten();
    let all =
        upstreams.flat_map(|one| one["servers"].as_array().into_iter().flatten().map(move |s| (one, s)));
    for (upstream, server) in all {
        let text = |key: &str, without: &str| plain(upstream[key].as_str().unwrap_or(without));
        let state = match (&server["available"], &server["ejected"]) {
            (Value::Bool(true), _) => "available",
            (_, Value::Bool(true)) => "ejected",
            _ => "down",
        };
        let name = plain(server["server"].as_str().unwrap_or_default());
        servers.add_row([
            text("name", ""),
            text("circuit", "-"),
            name,
            state.to_owned(),
            number(&server["active"]).to_string(),
        ]);
        any = true;
    }
    if any {
        say!("\n{servers}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().map(number).collect()
}

/// What was added. A server that began anew counts from nothing.
fn differences(before: &Value, now: &Value) -> Vec<u64> {
    let before = numbers(before);
    let earlier = before.into_iter().chain(std::iter::repeat(0));
    numbers(now)
        .into_iter()
        .zip(earlier)
        .map(|(now, before)| now.checked_sub(before).unwrap_or(now))
        .collect()
}

/// The upper bound of the bucket in which the request of this rank is, microseconds; nothing without requests, or beyond all bounds.
fn quantile(bounds: &[u64], buckets: &[u64], rank: f64) -> Option<u64> {
    let all: u64 = buckets.iter().sum();
    let wanted = ((all as f64 * rank).ceil() as u64).max(1);
    let mut so_far = 0;
    let at = buckets.iter().position(|count| {
        so_far += count;
        so_far >= wanted
    })?;
    bounds.get(at).copied()
}

fn duration(us: &Value) -> String {
    match us.as_u64() {
        None => "-".into(),
        Some(us) if us < 1000 => format!("≤ {us} µs"),
        Some(us) if us < 1_000_000 => format!("≤ {} ms", us as f64 / 1000.0),
        Some(us) => format!("≤ {} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_make_rates() {
        let stats = |time: u64, fine: u64, failed: u64| {
            json!({ "time_ms": time, "process": { "cpu_ms": time }, "cache": { "hits": fine, "misses": fine },
                "http": { "bounds_us": [100, 1000], "classes": [0, fine, 0, 0, failed], "buckets": [fine, failed, 0] },
                "places": [{ "site": "a", "route": "/*", "classes": [0, fine, 0, 0, failed], "buckets": [fine, failed, 0] }] })
        };
        let view = view(&stats(1000, 10, 0), &stats(3000, 108, 2));
        assert_eq!((view["requests_per_s"].as_f64(), view["cpu"].as_f64()), (Some(50.0), Some(1.0)));
        assert_eq!((&view["p50_us"], &view["p99_us"]), (&100.into(), &1000.into()));
        assert_eq!((&view["cache_hit_ratio"], &view["status"]["5xx"]), (&0.5.into(), &2.into()));
        assert_eq!((&view["places"][0]["requests"], &view["places"][0]["errors"]), (&100.into(), &2.into()));
    }

    #[test]
    fn nothing_happened() {
        let view = view(&json!({}), &json!({}));
        assert_eq!((&view["p99_us"], &view["cache_hit_ratio"]), (&Value::Null, &Value::Null));
        show(&view, "http://127.0.0.1");
    }
}
