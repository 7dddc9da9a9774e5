//! `cold`: the first answer of workers that are deployed but not loaded.

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::Bench;
use crate::load::get;
use crate::report::{Figure, count, number, text};
use crate::servers::api::{Worker, connect, receive};
use crate::servers::selvedge::{Data, Options, Selvedge, host};
use crate::statistics::Latencies;

const WORKERS: usize = 200;

/// A worker unlike any other, so that nothing compiled for one serves another.
pub(super) fn worker(index: usize) -> Worker {
    Worker::new(
        format!("w{index}"),
        format!("export default {{ fetch() {{ return new Response(\"Hello from {index}\"); }} }};\n"),
    )
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let data = Data::new()?;
    let workers: Vec<Worker> = (0..WORKERS).map(worker).collect();
    Selvedge::start(&bench.selvedge, &data, &Options::default())?.deploy(&workers)?;
    // Started again, so that nothing is loaded.
    let selvedge = Selvedge::start(&bench.selvedge, &data, &Options::default())?;
    let api = selvedge.api();
    let loaded = api.metric("selvedge_isolates")?;
    if loaded != 0.0 {
        bail!("{loaded} isolates are loaded before the first request");
    }
    let (mut stream, mut errors) = (connect(selvedge.http)?, 0);
    let (mut first, mut again) = (Latencies::default(), Latencies::default());
    let mut very_first = f64::NAN;
    for latencies in [&mut first, &mut again] {
        for worker in &workers {
            let request = get(&host(&worker.name), "/");
            let start = Instant::now();
            stream.write_all(&request)?;
            // The head tells the status; the first byte has come with it.
            let (response, _) = receive(&mut stream)?;
            let taken = start.elapsed();
            if very_first.is_nan() {
                very_first = taken.as_secs_f64() * 1e3;
            }
            latencies.add(taken);
            errors += u64::from(response.status != 200);
            if !response.keep {
                stream = connect(selvedge.http)?;
            }
        }
    }
    let started = api.metric("selvedge_cold_starts_total")?;
    let row = |name: &str, latencies: &mut Latencies| {
        let mut row = vec![text(name)];
        row.extend([50.0, 99.0, 100.0].map(|percent| number(latencies.percentile_ms(percent), 2)));
        row
    };
    let mut rows = vec![row("not loaded", &mut first), row("loaded", &mut again)];
    rows[0].push(count(errors));
    rows[1].push(text(""));
    Ok(Figure {
        name: "cold",
        title: format!(
            "{WORKERS} workers deployed, Selvedge started again, one request to each over one open connection."
        ),
        columns: vec!["worker", "p50 ms", "p99 ms", "max ms", "errors"],
        rows,
        notes: vec![format!(
            "{started} cold starts. The very first request after the start took {very_first:.2} ms."
        )],
    })
}
