//! `wire`: what the way to the isolate and back adds to one request at a time.

use anyhow::Result;

use crate::load::{Client, Plan, get};
use crate::report::{Figure, count, number, text};
use crate::servers::api::Worker;
use crate::servers::peers::WORKER;
use crate::servers::selvedge::{Data, Options, Selvedge, host};
use crate::statistics::median;
use crate::{Bench, cpu};

/// Before the first measured stretch of each request, seconds.
const WARM_UP: f64 = 0.5;

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for (placed, core) in [("server on one core", Some(bench.cores.server)), ("server on any core", None)] {
        let data = Data::new()?;
        let selvedge = Selvedge::start(&bench.selvedge, &data, &Options { core, ..Options::default() })?;
        selvedge.deploy(&[Worker::new("hello", WORKER)])?;
        // The edge answers the second itself: 404.
        let requests = [[get(&host("hello"), "/")], [get(&host("nobody"), "/")]];
        let (mut p50, mut p99, mut wrong) = ([vec![], vec![]], [vec![], vec![]], [0, 0]);
        cpu::on(bench.cores.load, || -> Result<()> {
            for round in 0..=bench.rounds {
                for (index, request) in requests.iter().enumerate() {
                    let mut client = Client::connect(selvedge.http, 1)?;
                    let seconds = if round == 0 { WARM_UP } else { bench.seconds };
                    let mut outcome =
                        client.run(&Plan { any_status: true, ..Plan::closed(request, seconds) })?;
                    if round > 0 {
                        p50[index].push(outcome.latencies.percentile_ms(50.0) * 1e3);
                        p99[index].push(outcome.latencies.percentile_ms(99.0) * 1e3);
                        let expected = if index == 0 {
                            outcome.ok
                        } else {
                            outcome.refused.get(&404).copied().unwrap_or(0)
                        };
                        wrong[index] += outcome.answered() + outcome.lost - expected;
                    }
                }
            }
            Ok(())
        })??;
        for (index, name) in ["isolate", "edge only (404)"].into_iter().enumerate() {
            rows.push(vec![
                text(format!("{name}, {placed}")),
                number(median(&p50[index]), 1),
                number(median(&p99[index]), 1),
                count(wrong[index]),
            ]);
        }
        let added: Vec<f64> = p50[0].iter().zip(&p50[1]).map(|(with, without)| with - without).collect();
        notes.push(format!("Added by the isolate, {placed}: {:.1} µs at p50.", median(&added)));
    }
    Ok(Figure {
        name: "wire",
        title: format!(
            "one connection, one request at a time; medians of {} rounds of {} s, the two kinds taking turns.",
            bench.rounds, bench.seconds
        ),
        columns: vec!["answered by", "p50 µs", "p99 µs", "errors"],
        rows,
        notes,
    })
}
