//! `neighbour`: a worker at a steady load while hostile ones do their worst.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::Bench;
use crate::load::{Client, Outcome, Plan, get};
use crate::report::{Figure, count, number, text};
use crate::servers::api::Worker;
use crate::servers::peers::WORKER;
use crate::servers::selvedge::{Data, Options, Selvedge, host};

/// The normal worker's load, requests per second: far from what it could take.
const RATE: f64 = 500.0;
const CONNECTIONS: usize = 32;
/// Each stretch, seconds.
const SECONDS: f64 = 10.0;

/// Hostile workers. The last two allocate in a loop that V8 compiles while it runs, in which it may miss every
/// request to stop.
const HOSTILE: [(&str, &str); 4] = [
    ("endless loop", "export default { fetch() { for (;;) {} } };"),
    ("endless promises", "export default { async fetch() { for (;;) await null; } };"),
    (
        "memory bomb",
        "export default { fetch() { const a = []; for (;;) { a.push(new Array(1000).fill({ x: 1 })); } } };",
    ),
    (
        "optimised loop",
        "function spin(a) { let n = 0; for (;;) { a[n & 1023] = n * 1.5; n = (n + 1) | 0; } }
         export default { fetch() { spin(new Float64Array(1024)); } };",
    ),
];

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let mut rows = Vec::new();
    for isolation in ["account", "worker"] {
        let data = Data::new()?;
        let selvedge = Selvedge::start(&bench.selvedge, &data, &Options::default())?;
        let mut workers = vec![Worker::new("normal", WORKER)];
        for (index, (_, source)) in HOSTILE.iter().enumerate() {
            let mut worker = Worker::new(format!("hostile{index}"), *source);
            worker.metadata = json!({ "isolation": isolation });
            workers.push(worker);
        }
        selvedge.deploy(&workers)?;
        let place = if isolation == "account" { "same process" } else { "own process" };
        rows.push(stretch(&selvedge, format!("alone, before ({place})"), None)?);
        for (index, (name, _)) in HOSTILE.iter().enumerate() {
            let title = format!("{name}, {place}");
            rows.push(stretch(&selvedge, title, Some(&format!("hostile{index}")))?);
        }
    }
    Ok(Figure {
        name: "neighbour",
        title: format!(
            "a normal worker at {RATE} requests/s for {SECONDS} s, beside a hostile worker that is asked over two \
             connections without pause. Same process: both in the isolation group of one account; own process: \
             the hostile worker has a group of its own, as another account's would."
        ),
        columns: vec![
            "hostile worker",
            "requests",
            "errors",
            "p50 ms",
            "p99 ms",
            "max ms",
            "hostile answers",
            "hosts ended",
            "retries",
        ],
        rows,
        notes: vec![
            "Latencies count from when a request was due. Server, sandboxes and load share all cores.".into(),
        ],
    })
}

fn stretch(selvedge: &Selvedge, title: String, hostile: Option<&str>) -> Result<Vec<crate::report::Cell>> {
    let api = selvedge.api();
    let counters = ["selvedge_hosts_ended_total", "selvedge_retries_total"];
    let read = || -> Result<Vec<f64>> { counters.iter().map(|name| api.metric(name)).collect() };
    let requests = [get(&host("normal"), "/")];
    let mut client = Client::connect(selvedge.http, CONNECTIONS)?;
    // Loads the worker, and lets a host that the stretch before has cost come back.
    let warm = client.run(&Plan { rate: Some(50.0), ..Plan::closed(&requests, 1.0) })?;
    if warm.ok == 0 {
        bail!("the normal worker does not answer: {}", warm.explain());
    }
    let before = read()?;
    let stop = AtomicBool::new(false);
    let (normal, attack) = std::thread::scope(|scope| {
        let attacker = hostile.map(|name| {
            let stop = &stop;
            scope.spawn(move || attack(selvedge, name, stop))
        });
        let normal = client.run(&Plan { rate: Some(RATE), ..Plan::closed(&requests, SECONDS) });
        stop.store(true, Ordering::Relaxed);
        (normal, attacker.map(|thread| thread.join()))
    });
    let mut normal = normal?;
    let attack = match attack {
        None => text(""),
        Some(Ok(outcome)) => text(outcome?.explain()),
        Some(Err(_)) => bail!("the attacking thread panicked"),
    };
    let after = read()?;
    Ok(vec![
        text(title),
        count(normal.answered() + normal.lost),
        text(normal.explain()),
        number(normal.latencies.percentile_ms(50.0), 2),
        number(normal.latencies.percentile_ms(99.0), 2),
        number(normal.latencies.percentile_ms(100.0), 1),
        attack,
        number(after[0] - before[0], 0),
        number(after[1] - before[1], 0),
    ])
}

fn attack(selvedge: &Selvedge, name: &str, stop: &AtomicBool) -> Result<Outcome> {
    let requests = [get(&host(name), "/")];
    let plan =
        Plan { stop: Some(stop), drain: Duration::from_secs(1), ..Plan::closed(&requests, SECONDS + 10.0) };
    Client::connect(selvedge.http, 2)?.run(&plan)
}
