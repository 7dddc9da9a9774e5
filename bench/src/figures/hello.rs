//! `hello`: the same small worker in Selvedge, workerd, deno and node, one interleaved run.

use std::path::Path;

use anyhow::Result;

use super::contest::{self, Contestant};
use crate::load::get;
use crate::report::{Figure, count, megabytes, number, text};
use crate::servers::api::Worker;
use crate::servers::peers::{Peer, WORKER};
use crate::servers::selvedge::{Data, Options, Selvedge, host};
use crate::{Bench, process};

const CONNECTIONS: usize = 64;

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let core = bench.cores.server;
    let mut ours = vec![("selvedge", hello(&bench.selvedge, core)?)];
    if let Some(other) = &bench.against {
        ours.push(("selvedge, the other", hello(other, core)?));
    }

    let mut notes = vec!["CPU: user and system time of all the server's processes.".to_owned()];
    let peers = contest::start_peers(bench, &Peer::ALL, WORKER, &mut notes)?;
    let mut all: Vec<Contestant> = ours
        .iter()
        .map(|(name, (selvedge, _))| Contestant::new(*name, selvedge.process.pid(), selvedge.http))
        .collect();
    all.extend(peers.iter().map(|(name, peer)| Contestant::new(name, peer.process.pid(), peer.address)));
    let requests = [get(&host("hello"), "/")];
    for round in 0..bench.rounds {
        for contestant in &mut all {
            contestant.take_turn(bench, CONNECTIONS, &requests)?;
        }
        eprintln!("  round {} of {}", round + 1, bench.rounds);
    }
    notes.extend(all[..ours.len()].iter().map(split));
    if let [one, other] = &all[..ours.len()] {
        notes.push(format!("{} takes {:.3} × the CPU of {}.", other.name, other.ratio(one), one.name));
    }
    let rows = all.iter().map(|one| row(one, &all)).collect::<Result<_>>()?;
    Ok(Figure {
        name: "hello",
        title: format!(
            "hello world over HTTP/1.1, {CONNECTIONS} keep-alive connections, servers on one core and load on \
             another; medians of {} rounds of {} s, servers taking turns. Ratios are of CPU per request, the \
             median of the rounds' ratios.",
            bench.rounds, bench.seconds
        ),
        columns: vec![
            "server",
            "req/s",
            "CPU µs/req",
            "min–max",
            "× workerd",
            "× deno",
            "p50 ms",
            "p99 ms",
            "PSS MB",
            "errors",
        ],
        rows,
        notes,
    })
}

fn row(one: &Contestant, all: &[Contestant]) -> Result<Vec<crate::report::Cell>> {
    let costs = one.rounds.iter().map(|round| round.cpu_us);
    let (least, most) = (costs.clone().fold(f64::INFINITY, f64::min), costs.fold(0.0, f64::max));
    Ok(vec![
        text(&one.name),
        number(one.median(|round| round.per_second), 0),
        number(one.median(|round| round.cpu_us), 1),
        text(format!("{least:.1}–{most:.1}")),
        number(one.ratio_to(Peer::Workerd, all), 2),
        number(one.ratio_to(Peer::Deno, all), 2),
        number(one.median(|round| round.p50_ms), 2),
        number(one.median(|round| round.p99_ms), 2),
        megabytes(process::memory(&process::tree(one.pid)?).proportional),
        count(one.errors()),
    ])
}

/// A Selvedge with the hello worker. The data directory goes after it.
fn hello(executable: &Path, core: usize) -> Result<(Selvedge, Data)> {
    let data = Data::new()?;
    let selvedge = Selvedge::start(executable, &data, &Options { core: Some(core), ..Options::default() })?;
    selvedge.deploy(&[Worker::new("hello", WORKER)])?;
    Ok((selvedge, data))
}

fn split(selvedge: &Contestant) -> String {
    let front = selvedge.median(|round| round.front_us);
    let hosts = selvedge.median(|round| round.cpu_us - round.front_us);
    format!("{}: {front:.1} µs in the front process, {hosts:.1} µs in the isolate hosts.", selvedge.name)
}
