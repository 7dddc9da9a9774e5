//! The figures that can be measured, a module for each.

mod cold;
mod contest;
mod hello;
mod memory;
mod neighbour;
mod ready;
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
}

impl Name {
    pub(crate) const ALL: [Self; 8] = [
        Self::Hello,
        Self::Work,
        Self::Wire,
        Self::Cold,
        Self::Ready,
        Self::Memory,
        Self::Zipf,
        Self::Neighbour,
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
        }
    }
}
