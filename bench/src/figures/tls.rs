//! `tls`: handshakes, and HTTP/2 over TLS, beside nginx and h2o.

use std::net::SocketAddr;

use anyhow::Result;

use super::front::settings;
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::fronts::{Duty, Front, Scene};
use crate::servers::origin;
use crate::servers::selvedge::{Data, Options, Selvedge};
use crate::servers::tools::{self, Answered};
use crate::statistics::median;
use crate::{Bench, process};

type Load = fn(SocketAddr, &str, f64, usize) -> Result<Answered>;

/// Kinds of work.
const WORKS: [(&str, Load); 2] = [
    ("TLS 1.3 handshake and a file of 1 KiB", tools::handshakes),
    ("HTTP/2, 8 connections × 32 streams, a file of 1 KiB", tools::http2),
];

/// A server and its CPU per request in each round, µs.
struct Server {
    name: String,
    pid: u32,
    address: SocketAddr,
    costs: Vec<f64>,
    rates: Vec<f64>,
    errors: u64,
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let scene = Scene::new(origin::start(bench.cores.load, 0)?)?;
    let data = Data::new()?;
    let options = Options {
        core: Some(bench.cores.server),
        settings: settings(Duty::Tls, &scene),
        tls: true,
        ..Options::default()
    };
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    let mut notes = vec!["CPU: user and system time of all the server's processes.".to_owned()];
    let mut peers = Vec::new();
    for front in [Front::Nginx, Front::H2o].into_iter().filter(|_| bench.peers) {
        match front.start(Duty::Tls, &scene, bench.cores.server) {
            Ok(started) => peers.push((front.version(), started)),
            Err(error) => notes.push(format!("{} left out: {error:#}", front.name())),
        }
    }
    let mut rows = Vec::new();
    for (work, load) in WORKS {
        let server = |name: &str, pid: u32, address: SocketAddr| Server {
            name: name.into(),
            pid,
            address,
            costs: Vec::new(),
            rates: Vec::new(),
            errors: 0,
        };
        let mut all = vec![server("selvedge", selvedge.process.pid(), selvedge.http)];
        all.extend(peers.iter().map(|(name, peer)| server(name, peer.process.pid(), peer.address)));
        for _ in 0..bench.rounds {
            for one in &mut all {
                one.take_turn(bench, load)?;
            }
        }
        eprintln!("  {work}");
        let nginx = all.iter().position(|one| one.name.starts_with("nginx"));
        rows.extend(all.iter().map(|one| row(work, one, nginx.map(|nginx| &all[nginx]))));
    }
    Ok(Figure {
        name: "tls",
        title: format!(
            "TLS 1.3 with a P-256 certificate, one thread each; servers on one core, load (wrk, h2load) on another; medians of \
             {} rounds of {} s, servers taking turns. Ratios are of CPU per request, the median of the rounds' ratios.",
            bench.rounds,
            bench.seconds.ceil()
        ),
        columns: vec!["work", "server", "req/s", "CPU µs/req", "× nginx", "errors"],
        rows,
        notes,
    })
}

impl Server {
    fn take_turn(&mut self, bench: &Bench, load: Load) -> Result<()> {
        let before = process::cpu_time(self.pid)?;
        let answered = load(self.address, "/1k.txt", bench.seconds, bench.cores.load)?;
        let used = process::cpu_time(self.pid)?.saturating_sub(before);
        self.costs.push(used.as_secs_f64() * 1e6 / answered.count.max(1) as f64);
        self.rates.push(answered.count as f64 / bench.seconds.ceil());
        self.errors += answered.errors;
        Ok(())
    }
}

fn row(work: &str, one: &Server, nginx: Option<&Server>) -> Vec<Cell> {
    let ratio = |nginx: &Server| {
        median(&one.costs.iter().zip(&nginx.costs).map(|(one, other)| one / other).collect::<Vec<_>>())
    };
    vec![
        text(work),
        text(&one.name),
        number(median(&one.rates), 0),
        number(median(&one.costs), 1),
        number(nginx.map_or(f64::NAN, ratio), 2),
        count(one.errors),
    ]
}
