//! `reload`: what clients notice of new settings and of new processes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::Bench;
use crate::load::{Client, Outcome, Plan, get};
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::selvedge::{Data, Options, Selvedge};
use crate::statistics::Latencies;

/// Requests per second: far from what the server could take.
const RATE: f64 = 1000.0;
const CONNECTIONS: usize = 32;
const RELOADS: usize = 50;
const UPGRADES: usize = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(200);
/// The stretch without either.
const ALONE: Duration = Duration::from_secs(5);
/// No stretch is longer, seconds.
const LONGEST_S: f64 = 300.0;
const SITE: &str = "[[sites]]\nhosts = [\"*\"]\n[[sites.routes]]\nrespond = { body = \"hello\" }\n";

/// The process that serves last, which nobody else ends.
struct Heir(Option<u32>);

impl Drop for Heir {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let data = Data::new()?;
    let options = Options { core: Some(bench.cores.server), settings: SITE.into(), ..Options::default() };
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    let mut heir = Heir(None);
    let before = fs::read_to_string(data.settings())?;
    let alone = stretch(&selvedge, || {
        std::thread::sleep(ALONE);
        Ok(Latencies::default())
    })?;
    let reloads = stretch(&selvedge, || {
        let mut took = Latencies::default();
        for n in 0..RELOADS {
            fs::write(data.settings(), format!("edge.idle_timeout_ms = {}\n{before}", 60_000 + n))?;
            let start = Instant::now();
            selvedge.api().post("/api/v1/reload")?;
            took.add(start.elapsed());
            std::thread::sleep(PAUSE);
        }
        Ok(took)
    })?;
    let upgrades = stretch(&selvedge, || {
        let mut took = Latencies::default();
        for _ in 0..UPGRADES {
            let start = Instant::now();
            let answer = selvedge.api().post("/api/v1/upgrade")?;
            took.add(start.elapsed());
            heir.0 = answer["pid"].as_u64().map(|pid| pid as u32);
            std::thread::sleep(PAUSE);
        }
        Ok(took)
    })?;
    Ok(Figure {
        name: "reload",
        title: format!(
            "a fixed answer at {RATE} requests/s over {CONNECTIONS} keep-alive connections: alone, during {RELOADS} changes of \
             `edge.idle_timeout_ms`, and during {UPGRADES} new processes, {} ms apart.",
            PAUSE.as_millis()
        ),
        columns: vec!["meanwhile", "requests", "failures", "p50 ms", "p99 ms", "max ms", "median took ms"],
        rows: vec![
            row("nothing", alone),
            row(&format!("{RELOADS} reloads"), reloads),
            row(&format!("{UPGRADES} upgrades"), upgrades),
        ],
        notes: vec![
            "Latencies count from when a request was due. The server and the process that takes its place share one core."
                .into(),
        ],
    })
}

/// Asks at the fixed rate until `work` says that it is over.
fn stretch(
    selvedge: &Selvedge,
    work: impl FnOnce() -> Result<Latencies> + Send,
) -> Result<(Outcome, Latencies)> {
    let requests = [get("localhost", "/")];
    let mut client = Client::connect(selvedge.http, CONNECTIONS)?;
    let stop = AtomicBool::new(false);
    let (outcome, took) = std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let took = work();
            stop.store(true, Ordering::Relaxed);
            took
        });
        let plan = Plan { rate: Some(RATE), stop: Some(&stop), ..Plan::closed(&requests, LONGEST_S) };
        (client.run(&plan), working.join())
    });
    match took {
        Ok(took) => Ok((outcome?, took?)),
        Err(_) => bail!("the thread that reloads panicked"),
    }
}

fn row(name: &str, (mut outcome, mut took): (Outcome, Latencies)) -> Vec<Cell> {
    let median = took.percentile_ms(50.0);
    vec![
        text(name),
        count(outcome.answered() + outcome.lost),
        count(outcome.errors()),
        number(outcome.latencies.percentile_ms(50.0), 2),
        number(outcome.latencies.percentile_ms(99.0), 2),
        number(outcome.latencies.percentile_ms(100.0), 1),
        if median > 0.0 { number(median, 0) } else { text("") },
    ]
}
