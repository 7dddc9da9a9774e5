//! `work`: what workers do beyond hello, beside workerd and deno, one interleaved run for each kind of work.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::contest::{self, Contestant};
use crate::Bench;
use crate::load::{get, post_json};
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::api::Worker;
use crate::servers::origin;
use crate::servers::peers::{Packages, Peer};
use crate::servers::selvedge::{Data, Options, Selvedge, host};

const CONNECTIONS: usize = 16;
/// Bytes that the origin answers with.
const ORIGIN_BODY: usize = 10 << 10;

/// One kind of work.
struct Work {
    name: &'static str,
    request: Vec<u8>,
    /// Deno has no HTMLRewriter.
    deno: bool,
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let worker = bundle(bench)?;
    let origin = origin::start(bench.cores.load, ORIGIN_BODY)?;
    let data = Data::new()?;
    let options = Options { core: Some(bench.cores.server), origin: Some(origin), ..Options::default() };
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    selvedge.deploy(&[Worker::new("work", &worker)])?;
    let mut notes = vec!["CPU: user and system time of all the server's processes.".to_owned()];
    let peers = contest::start_peers(bench, &[Peer::Workerd, Peer::Deno], &worker, &mut notes)?;

    let name = host("work");
    let page = |path: &str| get(&name, path);
    let all = [
        Work { name: "JSON echo, 1 KiB", request: post_json(&name, "/json", &json(1 << 10)), deno: true },
        Work { name: "JSON echo, 64 KiB", request: post_json(&name, "/json", &json(64 << 10)), deno: true },
        Work { name: "10 MiB through a TransformStream", request: page("/stream"), deno: true },
        Work { name: "100 KiB through HTMLRewriter", request: page("/html"), deno: false },
        Work { name: "SHA-256 of 1 MiB", request: page("/sha"), deno: true },
        Work {
            name: "fetch 10 KiB, pass it on",
            request: page(&format!("/fetch?http://{origin}/")),
            deno: true,
        },
        Work { name: "Hono, 50 routes", request: page("/api/v1/things25/42"), deno: true },
    ];
    let mut rows = Vec::new();
    for work in &all {
        let mut contestants = vec![Contestant::new("selvedge", selvedge.process.pid(), selvedge.http)];
        for (name, peer) in &peers {
            if work.deno || !name.starts_with(Peer::Deno.name()) {
                contestants.push(Contestant::new(name, peer.process.pid(), peer.address));
            }
        }
        for _ in 0..bench.rounds {
            for contestant in &mut contestants {
                contestant.take_turn(bench, CONNECTIONS, std::slice::from_ref(&work.request))?;
            }
        }
        for peer in contestants[1..].iter().filter(|peer| peer.errors() > 0) {
            notes.push(format!(
                "{}: {} had {} errors, which its figures include.",
                work.name,
                peer.name,
                peer.errors()
            ));
        }
        eprintln!("  {}", work.name);
        rows.push(row(work, &contestants));
    }
    Ok(Figure {
        name: "work",
        title: format!(
            "Work beyond hello: {CONNECTIONS} keep-alive connections, servers on one core and load (and the origin of \
             `fetch`) on another; medians of {} rounds of {} s, servers taking turns. Ratios are of CPU per request, the \
             median of the rounds' ratios.",
            bench.rounds, bench.seconds
        ),
        columns: vec![
            "work",
            "req/s",
            "CPU µs/req",
            "front µs",
            "× workerd",
            "× deno",
            "p50 ms",
            "p99 ms",
            "workerd µs",
            "deno µs",
            "errors",
        ],
        rows,
        notes,
    })
}

fn row(work: &Work, all: &[Contestant]) -> Vec<Cell> {
    let ours = &all[0];
    let cpu = |peer: Peer| {
        let other = all.iter().find(|other| other.name.starts_with(peer.name()));
        other.map_or(f64::NAN, |other| other.median(|round| round.cpu_us))
    };
    vec![
        text(work.name),
        number(ours.median(|round| round.per_second), 0),
        number(ours.median(|round| round.cpu_us), 1),
        number(ours.median(|round| round.front_us), 1),
        number(ours.ratio_to(Peer::Workerd, all), 2),
        number(ours.ratio_to(Peer::Deno, all), 2),
        number(ours.median(|round| round.p50_ms), 2),
        number(ours.median(|round| round.p99_ms), 2),
        number(cpu(Peer::Workerd), 1),
        number(cpu(Peer::Deno), 1),
        count(ours.errors()),
    ]
}

/// A document of about so many bytes.
fn json(bytes: usize) -> String {
    let item = r#"{"id":12345,"name":"A thing","price":12.5,"tags":["one","two"],"on":true}"#;
    let items = vec![item; (bytes / (item.len() + 1)).max(1)];
    format!("[{}]", items.join(","))
}

/// The worker that all servers run, with the packages that it imports.
fn bundle(bench: &Bench) -> Result<String> {
    let packages = Packages::install(&bench.root)?;
    let source = bench.root.join("bench/peers/work.js");
    let copied = packages.dir().join("work.js");
    fs::copy(&source, &copied).with_context(|| format!("copy {}", source.display()))?;
    let mut esbuild = Command::new(bench.root.join("target/libexec/selvedge/esbuild"));
    esbuild.args(["--bundle", "--format=esm", "--minify", "--log-level=error"]).arg(&copied);
    let output = esbuild.output().context("run esbuild")?;
    if !output.status.success() {
        bail!("esbuild: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
