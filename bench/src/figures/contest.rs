//! Servers that take turns under the same load.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{Client, Plan};
use crate::servers::peers::{Packages, Peer, RunningPeer};
use crate::statistics::median;
use crate::{Bench, cpu, process};

/// Before each measured stretch, seconds: connections settle and code is compiled.
const WARM_UP: f64 = 0.5;

/// One server that is running.
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
    pub(super) rounds: Vec<Round>,
}

/// One server's share of a round.
pub(super) struct Round {
    pub(super) per_second: f64,
    /// Of all its processes, for one request, µs.
    pub(super) cpu_us: f64,
    /// The part of the first process, µs.
    pub(super) front_us: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) errors: u64,
}

/// The peers that could be started, with their versions; a note for each that could not.
pub(super) fn start_peers(
    bench: &Bench,
    peers: &[Peer],
    worker: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, RunningPeer)>> {
    let mut running = Vec::new();
    if bench.peers {
        let packages = Packages::install(&bench.root)?;
        for peer in peers {
            match peer.start(&packages, worker, bench.cores.server) {
                Ok(started) => running.push((peer.version(&packages), started)),
                Err(error) => notes.push(format!("{} left out: {error:#}", peer.name())),
            }
        }
    }
    Ok(running)
}

impl Contestant {
    pub(super) fn new(name: impl Into<String>, pid: u32, address: SocketAddr) -> Self {
        Self { name: name.into(), pid, address, rounds: Vec::new() }
    }

    /// Puts it under load for a while.
    pub(super) fn take_turn(
        &mut self,
        bench: &Bench,
        connections: usize,
        requests: &[Vec<u8>],
    ) -> Result<()> {
        let round = cpu::on(bench.cores.load, || {
            let mut client = Client::connect(self.address, connections)?;
            client.run(&Plan::closed(requests, WARM_UP))?;
            let before = (process::cpu_time(self.pid)?, process::own_cpu_time(self.pid));
            let mut outcome = client.run(&Plan::closed(requests, bench.seconds))?;
            let after = (process::cpu_time(self.pid)?, process::own_cpu_time(self.pid));
            let answered = outcome.answered().max(1) as f64;
            let each = |duration: Duration| duration.as_secs_f64() * 1e6 / answered;
            Ok(Round {
                per_second: outcome.answered() as f64 / outcome.elapsed.as_secs_f64(),
                cpu_us: each(after.0.saturating_sub(before.0)),
                front_us: each(after.1.saturating_sub(before.1)),
                p50_ms: outcome.latencies.percentile_ms(50.0),
                p99_ms: outcome.latencies.percentile_ms(99.0),
                errors: outcome.errors(),
            })
        })
        .and_then(|round: Result<Round>| round)
        .with_context(|| self.name.clone())?;
        self.rounds.push(round);
        Ok(())
    }

    /// Its CPU per request over another's, the median of the rounds' ratios.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(&rounds.map(|(one, other)| one.cpu_us / other.cpu_us).collect::<Vec<_>>())
    }

    /// The same over the peer's, not a number when it does not run.
    pub(super) fn ratio_to(&self, peer: Peer, all: &[Self]) -> f64 {
        let other = all.iter().find(|other| other.name.starts_with(peer.name()));
        other.map_or(f64::NAN, |other| self.ratio(other))
    }

    pub(super) fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        median(&self.rounds.iter().map(value).collect::<Vec<_>>())
    }

    pub(super) fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.errors).sum()
    }
}
