//! The figures that can be measured, a module for each.

mod cold;
mod contest;
mod front;
mod hello;
mod idle;
mod memory;
mod neighbour;
mod ready;
mod reload;
mod routes;
mod tls;
mod wire;
mod work;
mod zipf;

use anyhow::Result;
use clap::ValueEnum;

use crate::Bench;
use crate::report::Figure;

/// A figure's name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Hello world beside workerd, deno and node: CPU per request, latency, memory
    Hello,
    /// JSON, streams, HTML, SHA-256, fetch and a router beside workerd and deno
    Work,
    /// One request at a time, with and without an isolate
    Wire,
    /// First answer of workers that are deployed but not loaded
    Cold,
    /// From exec to ready
    Ready,
    /// Memory of an idle loaded worker
    Memory,
    /// 2,000 workers, Zipf traffic, 512 MiB for sandboxes
    Zipf,
    /// A worker beside hostile ones
    Neighbour,
    /// Files, proxying and caching beside nginx, haproxy, varnish, caddy and h2o
    Front,
    /// Handshakes and HTTP/2 over TLS beside nginx and h2o
    Tls,
    /// Memory of quiet keep-alive connections beside nginx, h2o and caddy
    Idle,
    /// What many routes and middleware cost
    Routes,
    /// Failures and latencies during reloads and upgrades
    Reload,
}

impl Name {
    pub(crate) const ALL: [Self; 13] = [
        Self::Hello,
        Self::Work,
        Self::Wire,
        Self::Cold,
        Self::Ready,
        Self::Memory,
        Self::Zipf,
        Self::Neighbour,
        Self::Front,
        Self::Tls,
        Self::Idle,
        Self::Routes,
        Self::Reload,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Work => "work",
            Self::Wire => "wire",
            Self::Cold => "cold",
            Self::Ready => "ready",
            Self::Memory => "memory",
            Self::Zipf => "zipf",
            Self::Neighbour => "neighbour",
            Self::Front => "front",
            Self::Tls => "tls",
            Self::Idle => "idle",
            Self::Routes => "routes",
            Self::Reload => "reload",
        }
    }

    /// Measures it.
    pub(crate) fn measure(self, bench: &Bench) -> Result<Figure> {
        eprintln!("measuring {} …", self.title());
        match self {
            Self::Hello => hello::measure(bench),
            Self::Work => work::measure(bench),
            Self::Wire => wire::measure(bench),
            Self::Cold => cold::measure(bench),
            Self::Ready => ready::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Zipf => zipf::measure(bench),
            Self::Neighbour => neighbour::measure(bench),
            Self::Front => front::measure(bench),
            Self::Tls => tls::measure(bench),
            Self::Idle => idle::measure(bench),
            Self::Routes => routes::measure(bench),
            Self::Reload => reload::measure(bench),
        }
    }
}
