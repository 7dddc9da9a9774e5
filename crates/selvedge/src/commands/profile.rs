//! `selvedge profile`: where a live worker spends its CPU time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use selvedge_model::ScriptName;
use serde_json::Value;

use super::script;
use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::terminal::{DIM, GOOD, HINT, Terminal, plain, say, table};

const EXAMPLES: &str = "\
Examples:
  selvedge profile hello                     five seconds of what it does now
  selvedge profile hello --seconds 30 --top 40
  selvedge profile hello -o /tmp/hello.cpuprofile";

/// Sample what a live worker does, and show the functions that take most CPU time.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProfileArgs {
    /// The worker [default: that of the project in this directory]
    name: Option<ScriptName>,
    /// How long, 1 to 60 seconds
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Version to look at, where several are deployed [default: the one with most traffic]
    #[arg(long, value_name = "ID")]
    version: Option<String>,
    /// File for the profile, which Chrome DevTools and editors open [default: NAME.cpuprofile]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Functions to list
    #[arg(long, default_value_t = 15, value_name = "COUNT")]
    top: usize,
}

/// Runs the command.
pub(crate) fn run(args: &ProfileArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let name = script(args.name.as_ref(), shared)?;
    let client = shared.client()?;
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.cpuprofile")));
    let mut wanted = serde_json::json!({ "seconds": args.seconds });
    if let Some(version) = &args.version {
        wanted["version"] = version.as_str().into();
    }
    let progress = progress(args.seconds);
    let answer = client.send("POST", &client.account_path(&format!("/scripts/{name}/profile")), &wanted);
    progress.finish_and_clear();
    let answer = answer?;
    let profile = &answer["profile"];
    let text = profile.to_string();
    std::fs::write(&path, text).map_err(|error| Failure::io("write", Path::new(&path), &error))?;

    let functions = functions(profile);
    let document = serde_json::json!({
        "version": answer["version"],
        "file": path,
        "functions": functions.iter().map(|function| serde_json::json!({
            "function": function.name, "place": function.place,
            "self_ms": function.own_us as f64 / 1000.0, "total_ms": function.total_us as f64 / 1000.0,
        })).collect::<Vec<_>>(),
    });
    terminal.answer(&document, || show(args, &functions, &path));
    Ok(())
}

/// A bar that fills while the samples are taken.
fn progress(seconds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("sampling {bar:30} {pos}/{len} s");
    let bar = ProgressBar::new(seconds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (moved, started) = (bar.clone(), Instant::now());
    std::thread::spawn(move || {
        while !moved.is_finished() && started.elapsed().as_secs() <= seconds {
            moved.set_position(started.elapsed().as_secs());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    bar
}

fn show(args: &ProfileArgs, functions: &[Function], path: &Path) {
    let busy: u64 = functions.iter().map(|function| function.own_us).sum();
    let seconds = args.seconds;
    if busy == 0 {
        say!("The worker did nothing in these {seconds} s: no sample met it at work.");
        say!("{DIM}Send it requests while `selvedge profile` runs.{DIM:#}");
        return;
    }
    let busy_ms = busy as f64 / 1000.0;
    say!(
        "{GOOD}{busy_ms:.0} ms{GOOD:#} of CPU time in {seconds} s {DIM}({:.1} % of a core){DIM:#}\n",
        busy_ms / 10.0 / seconds as f64
    );
    let mut list = table(&["self", "%", "total", "function", "place"]);
    for function in functions.iter().take(args.top) {
        list.add_row([
            format!("{:.1} ms", function.own_us as f64 / 1000.0),
            format!("{:.1}", 100.0 * function.own_us as f64 / busy as f64),
            format!("{:.1} ms", function.total_us as f64 / 1000.0),
            plain(&function.name),
            plain(&function.place),
        ]);
    }
    say!("{list}");
    if functions.len() > args.top {
        say!("{DIM}… and {} more{DIM:#}", functions.len() - args.top);
    }
    say!(
        "\nThe whole profile: {HINT}{}{HINT:#} {DIM}(Chrome DevTools, Performance tab; or VS Code){DIM:#}",
        path.display()
    );
}

/// What the samples say of one function.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// `src/index.ts:3:1`; empty for V8's own work.
    place: String,
    own_us: u64,
    /// With what it called.
    total_us: u64,
}

/// The functions of a profile (`Profiler.Profile` of the DevTools protocol), most of its own time first.
fn functions(profile: &Value) -> Vec<Function> {
    let nodes: HashMap<u64, &Value> = profile["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| Some((node["id"].as_u64()?, node)))
        .collect();
    let mut parents = HashMap::new();
    for (id, node) in &nodes {
        for child in node["children"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            parents.insert(child, *id);
        }
    }
    let samples = profile["samples"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    let deltas = profile["timeDeltas"].as_array().into_iter().flatten();
    let mut spent: HashMap<u64, u64> = HashMap::new();
    // A delta is the time since the sample before; what was met then ran until now.
    for (sample, delta) in samples.zip(deltas.skip(1)) {
        *spent.entry(sample).or_default() += u64::try_from(delta.as_i64().unwrap_or(0)).unwrap_or(0);
    }
    let mut functions: HashMap<(String, String), (u64, u64)> = HashMap::new();
    for (id, us) in spent {
        let Some(node) = nodes.get(&id) else { continue };
        let own = key(node);
        if own.0 == "(idle)" || own.0 == "(program)" || own.0 == "(root)" {
            continue;
        }
        functions.entry(own).or_default().0 += us;
        // Each function above it once, however often it recurs.
        let mut counted = Vec::new();
        let mut at = Some(id);
        // A chain of callers is no longer than there are nodes, unless it is a circle.
        for _ in 0..nodes.len() {
            let Some(node) = at.and_then(|id| nodes.get(&id)) else { break };
            let key = key(node);
            if !counted.contains(&key) {
                functions.entry(key.clone()).or_default().1 += us;
                counted.push(key);
            }
            at = at.and_then(|id| parents.get(&id).copied());
        }
    }
    let mut functions: Vec<_> = functions
        .into_iter()
        .filter(|((name, _), _)| name != "(root)")
        .map(|((name, place), (own_us, total_us))| Function { name, place, own_us, total_us })
        .collect();
    functions.sort_by(|a, b| (b.own_us, b.total_us, &a.name).cmp(&(a.own_us, a.total_us, &b.name)));
    functions
}

/// Name and place of a node's function.
fn key(node: &Value) -> (String, String) {
    let frame = &node["callFrame"];
    let url = frame["url"].as_str().unwrap_or_default();
    // Which of its functions says nothing to the worker's developer.
    if url.starts_with("selvedge:") {
        return ("(runtime)".into(), String::new());
    }
    let name = frame["functionName"].as_str().filter(|name| !name.is_empty()).unwrap_or("(anonymous)");
    let place = match (frame["lineNumber"].as_i64(), frame["columnNumber"].as_i64()) {
        _ if url.is_empty() => String::new(),
        (Some(line), Some(column)) => {
            format!("{}:{}:{}", url.trim_start_matches("file:///"), line + 1, column + 1)
        }
        _ => url.into(),
    };
    (name.into(), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, name: &str, url: &str, children: &[u64]) -> Value {
        serde_json::json!({
            "id": id, "children": children,
            "callFrame": { "functionName": name, "url": url, "lineNumber": 2, "columnNumber": 0 },
        })
    }

    #[test]
    fn time_belongs_to_what_was_met_until_the_next_sample() {
        let profile = serde_json::json!({
            "nodes": [
                node(1, "(root)", "", &[2, 5]), node(2, "fetch", "src/a.ts", &[3]),
                node(3, "fib", "src/a.ts", &[4]), node(4, "fib", "src/a.ts", &[]), node(5, "(idle)", "", &[]),
            ],
            "samples": [5, 2, 3, 4, 5, 9],
            "timeDeltas": [7, 1000, 10, 20, 30, 5000],
        });
        let function = |name: &str, own_us, total_us| Function {
            name: name.into(),
            place: "src/a.ts:3:1".into(),
            own_us,
            total_us,
        };
        assert_eq!(functions(&profile), [function("fib", 50, 50), function("fetch", 10, 60)]);
    }

    #[test]
    fn a_strange_profile_has_no_functions() {
        let circle = serde_json::json!({
            "nodes": [node(1, "a", "x", &[2]), node(2, "b", "x", &[1])], "samples": [1, 1], "timeDeltas": [1, 1],
        });
        assert_eq!(functions(&circle).len(), 2);
        for strange in
            [Value::Null, serde_json::json!({ "nodes": 3, "samples": [1], "timeDeltas": [null, -4] })]
        {
            assert_eq!(functions(&strange), []);
        }
    }
}
