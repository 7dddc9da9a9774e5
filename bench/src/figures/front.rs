//! `front`: files, proxying and caching beside nginx, haproxy, varnish, caddy and h2o.

use anyhow::Result;

use super::contest::Contestant;
use crate::Bench;
use crate::load::get;
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::fronts::{Duty, Front, RunningFront, Scene};
use crate::servers::origin;
use crate::servers::selvedge::{Data, Options, Selvedge};

/// One kind of work, and who else does it; the first of them is what we compare with.
struct Work {
    name: &'static str,
    duty: Duty,
    path: &'static str,
    connections: usize,
    /// Bytes that the origin answers with.
    origin: usize,
    peers: &'static [Front],
}

const WORKS: [Work; 5] = [
    Work {
        name: "file, 1 KiB",
        duty: Duty::Files,
        path: "/1k.txt",
        connections: 64,
        origin: 0,
        peers: &[Front::Nginx, Front::H2o, Front::Caddy],
    },
    Work {
        name: "file, 1 MiB",
        duty: Duty::Files,
        path: "/1m.bin",
        connections: 16,
        origin: 0,
        peers: &[Front::Nginx, Front::H2o],
    },
    Work {
        name: "file, 100 MiB",
        duty: Duty::Files,
        path: "/100m.bin",
        connections: 2,
        origin: 0,
        peers: &[Front::Nginx, Front::H2o],
    },
    Work {
        name: "proxy, 1 KiB",
        duty: Duty::Proxy,
        path: "/",
        connections: 64,
        origin: 1 << 10,
        peers: &[Front::Nginx, Front::Haproxy, Front::Caddy],
    },
    Work {
        name: "cache hit, 10 KiB",
        duty: Duty::Cache,
        path: "/",
        connections: 64,
        origin: 10 << 10,
        peers: &[Front::Nginx, Front::Varnish],
    },
];

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let mut rows = Vec::new();
    let mut notes = vec!["CPU: user and system time of all the server's processes.".to_owned()];
    for work in &WORKS {
        rows.extend(one(bench, work, &mut notes)?);
        eprintln!("  {}", work.name);
    }
    Ok(Figure {
        name: "front",
        title: format!(
            "Files, proxying and caching over HTTP/1.1 keep-alive connections, one thread each; servers on one core and load \
             (and the origin) on another; medians of {} rounds of {} s, servers taking turns. Ratios are of CPU per request, \
             the median of the rounds' ratios.",
            bench.rounds, bench.seconds
        ),
        columns: vec!["work", "server", "req/s", "CPU µs/req", "× nginx", "p50 ms", "p99 ms", "errors"],
        rows,
        notes,
    })
}

fn one(bench: &Bench, work: &Work, notes: &mut Vec<String>) -> Result<Vec<Vec<Cell>>> {
    let scene = Scene::new(origin::start(bench.cores.load, work.origin)?)?;
    let data = Data::new()?;
    let options = Options {
        core: Some(bench.cores.server),
        settings: settings(work.duty, &scene),
        ..Options::default()
    };
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    let mut all = vec![Contestant::new("selvedge", selvedge.process.pid(), selvedge.http)];
    let peers = start(bench, work, &scene, notes);
    all.extend(peers.iter().map(|(name, peer)| Contestant::new(name, peer.process.pid(), peer.address)));
    let requests = [get("localhost", work.path)];
    for _ in 0..bench.rounds {
        for contestant in &mut all {
            contestant.take_turn(bench, work.connections, &requests)?;
        }
    }
    let nginx = all.iter().position(|one| one.name.starts_with("nginx"));
    Ok(all.iter().map(|one| row(work, one, nginx.map(|nginx| &all[nginx]))).collect())
}

fn start(bench: &Bench, work: &Work, scene: &Scene, notes: &mut Vec<String>) -> Vec<(String, RunningFront)> {
    let mut running = Vec::new();
    for front in work.peers.iter().filter(|_| bench.peers) {
        match front.start(work.duty, scene, bench.cores.server) {
            Ok(started) => running.push((front.version(), started)),
            Err(error) => notes.push(format!("{}: {} left out: {error:#}", work.name, front.name())),
        }
    }
    running
}

/// The same for Selvedge.
pub(super) fn settings(duty: Duty, scene: &Scene) -> String {
    let files = scene.files();
    let handler = match duty {
        Duty::Files | Duty::Tls => format!("files = {{ root = {files:?} }}"),
        Duty::Proxy => format!("proxy = {{ to = [\"http://{}\"] }}", scene.origin),
        Duty::Cache => {
            format!("proxy = {{ to = [\"http://{}\"] }}\ncache = {{ ttl_ms = 3600000 }}", scene.origin)
        }
    };
    let tls = match duty {
        Duty::Tls => {
            format!("tls = {{ certificate = {:?}, key = {:?} }}\n", scene.certificate(), scene.key())
        }
        _ => String::new(),
    };
    format!("[[sites]]\nhosts = [\"localhost\"]\n{tls}[[sites.routes]]\n{handler}\n")
}

fn row(work: &Work, one: &Contestant, nginx: Option<&Contestant>) -> Vec<Cell> {
    vec![
        text(work.name),
        text(&one.name),
        number(one.median(|round| round.per_second), 0),
        number(one.median(|round| round.cpu_us), 1),
        number(nginx.map_or(f64::NAN, |nginx| one.ratio(nginx)), 2),
        number(one.median(|round| round.p50_ms), 2),
        number(one.median(|round| round.p99_ms), 2),
        count(one.errors()),
    ]
}
