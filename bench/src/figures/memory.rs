//! `memory`: what an idle loaded worker keeps resident.

use anyhow::{Result, bail};

use super::cold::worker;
use crate::Bench;
use crate::load::{Client, Plan, get};
use crate::process::{self, Memory};
use crate::report::{Figure, count, megabytes, number};
use crate::servers::api::Worker;
use crate::servers::selvedge::{Data, Options, Selvedge, host};

/// Loaded one step after another.
const STEPS: [usize; 4] = [1, 100, 300, 500];

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let data = Data::new()?;
    // Enough that nothing is evicted.
    let options = Options { memory_budget_mb: Some(8192), ..Options::default() };
    let workers: Vec<Worker> = (0..STEPS[STEPS.len() - 1]).map(worker).collect();
    Selvedge::start(&bench.selvedge, &data, &options)?.deploy(&workers)?;
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    let mut client = Client::connect(selvedge.http, 1)?;
    let mut rows = Vec::new();
    let (mut loaded, mut one) = (0, Memory::default());
    for step in STEPS {
        for worker in &workers[loaded..step] {
            let request = [get(&host(&worker.name), "/")];
            let outcome = client.run(&Plan { limit: Some(1), ..Plan::closed(&request, 30.0) })?;
            if outcome.ok != 1 {
                bail!("{}: {}", worker.name, outcome.explain());
            }
        }
        loaded = step;
        // What loading left behind is collected once the isolates have been idle for a few seconds.
        std::thread::sleep(std::time::Duration::from_secs(8));
        let isolates = selvedge.api().metric("selvedge_isolates")?;
        let hosts = selvedge.hosts()?;
        let now = process::memory(&hosts);
        if step == STEPS[0] {
            one = now;
        }
        let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / (step - 1) as f64 / 1e6;
        rows.push(vec![
            count(step as u64),
            number(isolates, 0),
            count(hosts.len() as u64),
            megabytes(now.proportional),
            megabytes(now.private),
            number(each(now.proportional, one.proportional), 2),
            number(each(now.private, one.private), 2),
            megabytes(process::memory(&[selvedge.process.pid()]).private),
        ]);
    }
    Ok(Figure {
        name: "memory",
        title: "idle workers that were asked once; memory of the sandbox host processes, and its growth per \
                worker since the first."
            .into(),
        columns: vec![
            "workers",
            "isolates",
            "hosts",
            "PSS MB",
            "private MB",
            "PSS MB/worker",
            "private MB/worker",
            "front private MB",
        ],
        rows,
        notes: Vec::new(),
    })
}
