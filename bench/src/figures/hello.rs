//! `hello`: the same small worker in Selvedge, workerd, deno and node, one interleaved run.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::load::{Client, Plan, get};
use crate::report::{Figure, count, megabytes, number, text};
use crate::servers::api::Worker;
use crate::servers::peers::{Packages, Peer, RunningPeer, WORKER};
use crate::servers::selvedge::{Data, Options, Selvedge, host};
use crate::statistics::median;
use crate::{Bench, cpu, process};

const CONNECTIONS: usize = 64;
/// Before each measured stretch, seconds: connections settle and code is compiled.
const WARM_UP: f64 = 0.5;

/// One server that is running.
struct Contestant {
    name: String,
    pid: u32,
    address: SocketAddr,
    rounds: Vec<Round>,
}

/// One server's share of a round.
struct Round {
    per_second: f64,
    /// Of all its processes, for one request, µs.
    cpu_us: f64,
    /// The part of the first process, µs.
    front_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: u64,
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let core = bench.cores.server;
    let mut ours = vec![("selvedge", hello(&bench.selvedge, core)?)];
    if let Some(other) = &bench.against {
        ours.push(("selvedge, the other", hello(other, core)?));
    }

    let mut notes = vec!["CPU: user and system time of all the server's processes.".to_owned()];
    let mut peers: Vec<(String, RunningPeer)> = Vec::new();
    let packages = if bench.peers { Some(Packages::install(&bench.root)?) } else { None };
    for (peer, packages) in Peer::ALL.into_iter().filter_map(|peer| Some((peer, packages.as_ref()?))) {
        match peer.start(packages, core) {
            Ok(running) => peers.push((peer.version(packages), running)),
            Err(error) => notes.push(format!("{} left out: {error:#}", peer.name())),
        }
    }
    let mut all: Vec<Contestant> = ours
        .iter()
        .map(|(name, (selvedge, _))| Contestant {
            name: (*name).into(),
            pid: selvedge.process.pid(),
            address: selvedge.http,
            rounds: Vec::new(),
        })
        .collect();
    all.extend(peers.iter().map(|(name, running)| Contestant {
        name: name.clone(),
        pid: running.process.pid(),
        address: running.address,
        rounds: Vec::new(),
    }));
    for round in 0..bench.rounds {
        for contestant in &mut all {
            let taken = contestant.round(bench).with_context(|| contestant.name.clone())?;
            contestant.rounds.push(taken);
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

impl Contestant {
    fn round(&self, bench: &Bench) -> Result<Round> {
        let requests = [get(&host("hello"), "/")];
        cpu::on(bench.cores.load, || {
            let mut client = Client::connect(self.address, CONNECTIONS)?;
            client.run(&Plan::closed(&requests, WARM_UP))?;
            let before = (process::cpu_time(self.pid)?, process::own_cpu_time(self.pid));
            let mut outcome = client.run(&Plan::closed(&requests, bench.seconds))?;
            let after = (process::cpu_time(self.pid)?, process::own_cpu_time(self.pid));
            let answered = outcome.answered().max(1) as f64;
            let each = |duration: std::time::Duration| duration.as_secs_f64() * 1e6 / answered;
            Ok(Round {
                per_second: outcome.answered() as f64 / outcome.elapsed.as_secs_f64(),
                cpu_us: each(after.0.saturating_sub(before.0)),
                front_us: each(after.1.saturating_sub(before.1)),
                p50_ms: outcome.latencies.percentile_ms(50.0),
                p99_ms: outcome.latencies.percentile_ms(99.0),
                errors: outcome.errors(),
            })
        })?
    }

    /// Its CPU per request over another's, the median of the rounds' ratios.
    fn ratio(&self, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(&rounds.map(|(one, other)| one.cpu_us / other.cpu_us).collect::<Vec<_>>())
    }

    fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        median(&self.rounds.iter().map(value).collect::<Vec<_>>())
    }
}

fn row(one: &Contestant, all: &[Contestant]) -> Result<Vec<crate::report::Cell>> {
    let costs = one.rounds.iter().map(|round| round.cpu_us);
    let (least, most) = (costs.clone().fold(f64::INFINITY, f64::min), costs.fold(0.0, f64::max));
    let ratio = |peer: Peer| {
        let other = all.iter().find(|other| other.name.starts_with(peer.name()));
        other.map_or(f64::NAN, |other| one.ratio(other))
    };
    Ok(vec![
        text(&one.name),
        number(one.median(|round| round.per_second), 0),
        number(one.median(|round| round.cpu_us), 1),
        text(format!("{least:.1}–{most:.1}")),
        number(ratio(Peer::Workerd), 2),
        number(ratio(Peer::Deno), 2),
        number(one.median(|round| round.p50_ms), 2),
        number(one.median(|round| round.p99_ms), 2),
        megabytes(process::memory(&process::tree(one.pid)?).proportional),
        count(one.rounds.iter().map(|round| round.errors).sum()),
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
