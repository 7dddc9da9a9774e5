//! `zipf`: many workers, few of them popular, and not enough memory for all.

use std::time::Instant;

use anyhow::Result;

use super::cold::worker;
use crate::Bench;
use crate::load::{Client, Order, Outcome, Plan, get};
use crate::process;
use crate::report::{Figure, megabytes, number, text};
use crate::servers::api::Worker;
use crate::servers::selvedge::{Data, Options, Selvedge, host};

const WORKERS: usize = 2000;
const BUDGET_MB: u64 = 512;
const CONNECTIONS: usize = 16;
/// Measured, after as long again to fill the memory, seconds.
const SECONDS: f64 = 20.0;
/// A rate that two cores can serve with many cold starts among the requests.
const RATE: f64 = 300.0;

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let data = Data::new()?;
    let options = Options { memory_budget_mb: Some(BUDGET_MB), ..Options::default() };
    let workers: Vec<Worker> = (0..WORKERS).map(worker).collect();
    let start = Instant::now();
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    selvedge.deploy(&workers)?;
    let deploying = start.elapsed().as_secs_f64();

    let requests: Vec<Vec<u8>> = workers.iter().map(|worker| get(&host(&worker.name), "/")).collect();
    let sums = zipf(WORKERS);
    let api = selvedge.api();
    let mut client = Client::connect(selvedge.http, CONNECTIONS)?;
    let mut rows = Vec::new();
    for (name, rate) in [("filling", Some(RATE)), ("steady", Some(RATE)), ("as fast as answered", None)] {
        let before = (api.metric("selvedge_cold_starts_total")?, api.metric("selvedge_evictions_total")?);
        let plan = Plan { order: Order::Chance(&sums), rate, ..Plan::closed(&requests, SECONDS) };
        let outcome = client.run(&plan)?;
        let cold = api.metric("selvedge_cold_starts_total")? - before.0;
        let evicted = api.metric("selvedge_evictions_total")? - before.1;
        let isolates = api.metric("selvedge_isolates")?;
        let memory = process::memory(&selvedge.hosts()?).proportional;
        rows.push(row(name, outcome, cold, evicted, isolates, memory));
    }
    Ok(Figure {
        name: "zipf",
        title: format!(
            "{WORKERS} workers deployed, Zipf(1.0) traffic over {CONNECTIONS} connections, {BUDGET_MB} MiB for \
             sandboxes; {SECONDS} s at {RATE} requests/s to fill, the same again, and then without a rate."
        ),
        columns: vec![
            "stretch",
            "requests",
            "errors",
            "hit ratio",
            "evictions",
            "p50 ms",
            "p99 ms",
            "isolates",
            "hosts' PSS MB",
        ],
        rows,
        notes: vec![format!(
            "Deploying took {deploying:.1} s, {:.1} ms each.",
            deploying * 1e3 / WORKERS as f64
        )],
    })
}

fn row(
    name: &str,
    mut outcome: Outcome,
    cold: f64,
    evicted: f64,
    isolates: f64,
    memory: u64,
) -> Vec<crate::report::Cell> {
    let requests = (outcome.answered() + outcome.lost) as f64;
    vec![
        text(name),
        number(requests, 0),
        text(outcome.explain()),
        number(1.0 - cold / requests, 3),
        number(evicted, 0),
        number(outcome.latencies.percentile_ms(50.0), 2),
        number(outcome.latencies.percentile_ms(99.0), 2),
        number(isolates, 0),
        megabytes(memory),
    ]
}

/// Sums of the weights 1, 1/2, 1/3 …, scaled to end in 1.
fn zipf(count: usize) -> Vec<f64> {
    let total: f64 = (1..=count).map(|rank| 1.0 / rank as f64).sum();
    let mut sum = 0.0;
    (1..=count)
        .map(|rank| {
            sum += 1.0 / rank as f64 / total;
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fall_with_the_rank() {
        let sums = zipf(2000);
        assert!((sums[1999] - 1.0).abs() < 1e-9);
        assert!((sums[1] - sums[0] - sums[0] / 2.0).abs() < 1e-9);
        // 1 / H(2000).
        assert!((sums[0] - 0.1223).abs() < 1e-3, "{}", sums[0]);
    }
}
