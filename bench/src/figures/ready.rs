//! `ready`: from exec to `/health/ready`.

use std::time::Instant;

use anyhow::Result;

use crate::Bench;
use crate::report::{Figure, number, text};
use crate::servers::selvedge::{Data, Options, Selvedge};
use crate::statistics::Latencies;

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let starts = bench.rounds * 4;
    let (mut fresh, mut again) = (Latencies::default(), Latencies::default());
    for _ in 0..starts {
        let data = Data::new()?;
        for latencies in [&mut fresh, &mut again] {
            let start = Instant::now();
            let mut selvedge = Selvedge::exec(&bench.selvedge, &data, &Options::default())?;
            selvedge.wait_until_ready()?;
            latencies.add(start.elapsed());
        }
    }
    let row = |name: &str, latencies: &mut Latencies| {
        let mut row = vec![text(name)];
        row.extend([0.0, 50.0, 100.0].map(|percent| number(latencies.percentile_ms(percent), 1)));
        row
    };
    Ok(Figure {
        name: "ready",
        title: format!("from exec of `selvedge up` to 200 from /health/ready, {starts} starts each."),
        columns: vec!["data directory", "min ms", "median ms", "max ms"],
        rows: vec![row("new", &mut fresh), row("used before", &mut again)],
        notes: Vec::new(),
    })
}
