//! Which server gets a request.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::Balance;
use crate::endpoint::Endpoint;

/// Places on the ring for each unit of weight.
const POINTS: u32 = 100;
/// Most places on the ring for one server.
const POINTS_MAX: u32 = 4000;

/// The servers of an upstream, as they were found last.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Sorted hashes and whose they are; only where balancing needs it.
    ring: Vec<(u64, u32)>,
    weighted: bool,
}

impl Members {
    pub(crate) fn new(endpoints: Vec<Arc<Endpoint>>, balance: Balance) -> Self {
        let mut ring = Vec::new();
        if matches!(balance, Balance::IpHash | Balance::ConsistentHash) {
            for (index, endpoint) in endpoints.iter().enumerate() {
                for point in 0..endpoint.weight.saturating_mul(POINTS).min(POINTS_MAX) {
                    ring.push((hash_parts(&[endpoint.label.as_bytes(), &point.to_le_bytes()]), index as u32));
                }
            }
            ring.sort_unstable();
        }
        let weighted = endpoints.windows(2).any(|two| two[0].weight != two[1].weight);
        Self { endpoints, ring, weighted }
    }
}

/// A thread's own memory of whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    next: Cell<usize>,
    /// What each server is ahead or behind of its share.
    credits: RefCell<Vec<i64>>,
}

impl Turn {
    /// Threads that begin at different servers do not send their first requests to the same.
    pub(crate) fn starting_at(next: usize) -> Self {
        Self { next: Cell::new(next), credits: RefCell::default() }
    }

    /// The server for a request, by its place among the members. `usable` tells which may be taken; `key` is what hashing
    /// goes by.
    pub(crate) fn pick(
        &self,
        members: &Members,
        balance: Balance,
        key: u64,
        usable: impl Fn(usize, &Endpoint) -> bool,
    ) -> Option<usize> {
        let endpoints = &members.endpoints;
        let is_usable = |index: &usize| usable(*index, &endpoints[*index]);
        match balance {
            _ if endpoints.len() <= 1 => (0..endpoints.len()).find(is_usable),
            Balance::RoundRobin if members.weighted => self.smooth(endpoints, is_usable),
            Balance::RoundRobin => self.in_turn(endpoints.len()).find(is_usable),
            Balance::LeastConnections => {
                self.in_turn(endpoints.len()).filter(is_usable).reduce(|best, other| {
                    if is_freer(&endpoints[other], &endpoints[best]) { other } else { best }
                })
            }
            Balance::TwoChoices => {
                let all: usize = (0..endpoints.len()).filter(is_usable).count();
                let nth = |n| (0..endpoints.len()).filter(is_usable).nth(n);
                if all < 2 {
                    return nth(0);
                }
                let first = fastrand::usize(..all);
                let second = (first + 1 + fastrand::usize(..all - 1)) % all;
                let (first, second) = (nth(first)?, nth(second)?);
                Some(if is_freer(&endpoints[second], &endpoints[first]) { second } else { first })
            }
            Balance::IpHash | Balance::ConsistentHash => {
                let start = members.ring.partition_point(|(hash, _)| *hash < key);
                let (before, after) = members.ring.split_at(start);
                after.iter().chain(before).map(|(_, index)| *index as usize).find(is_usable)
            }
        }
    }

    fn in_turn(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let start = self.next.get() % count;
        self.next.set(start + 1);
        (start..count).chain(0..start)
    }

    /// Each gets its weight, the one furthest ahead goes and pays for all: turns are spread evenly.
    fn smooth(&self, endpoints: &[Arc<Endpoint>], is_usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let mut credits = self.credits.borrow_mut();
        if credits.len() != endpoints.len() {
            *credits = vec![0; endpoints.len()];
        }
        let (mut best, mut total) = (None, 0);
        for index in (0..endpoints.len()).filter(is_usable) {
            let weight = i64::from(endpoints[index].weight);
            credits[index] += weight;
            total += weight;
            if best.is_none_or(|best| credits[index] > credits[best]) {
                best = Some(index);
            }
        }
        if let Some(best) = best {
            credits[best] -= total;
        }
        best
    }
}

/// Fewer requests under way, for its weight.
fn is_freer(one: &Endpoint, other: &Endpoint) -> bool {
    let load = |endpoint: &Endpoint| u64::from(endpoint.active.load(Ordering::Relaxed)) + 1;
    load(one) * u64::from(other.weight) < load(other) * u64::from(one.weight)
}

/// The same on every machine and in every version, so that several edges agree on who serves what.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    hash_parts(&[bytes])
}

/// FNV-1a with MurmurHash3's last step, which spreads what differs in few bits.
fn hash_parts(parts: &[&[u8]]) -> u64 {
    let mut hash = parts.iter().flat_map(|part| part.iter()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamConfig;
    use crate::endpoint::Address;
    use crate::target::Target;

    fn members(weights: &[u32], balance: Balance) -> Members {
        let target = Arc::new(Target::parse("http://a").unwrap());
        let endpoint = |(index, weight): (usize, &u32)| {
            let address = Address::Tcp(([127, 0, 0, 1], 1000 + index as u16).into());
            Arc::new(Endpoint::new(address, target.clone(), *weight, &UpstreamConfig::default()))
        };
        Members::new(weights.iter().enumerate().map(endpoint).collect(), balance)
    }

    fn counts(
        members: &Members,
        balance: Balance,
        requests: u64,
        usable: impl Fn(usize) -> bool,
    ) -> Vec<u64> {
        let turn = Turn::default();
        let mut counts = vec![0; members.endpoints.len()];
        for request in 0..requests {
            if let Some(index) =
                turn.pick(members, balance, hash(&request.to_le_bytes()), |index, _| usable(index))
            {
                counts[index] += 1;
            }
        }
        counts
    }

    #[test]
    fn round_robin_heeds_weights_and_health() {
        let equal = members(&[1, 1, 1], Balance::RoundRobin);
        assert_eq!(counts(&equal, Balance::RoundRobin, 300, |_| true), [100, 100, 100]);
        assert_eq!(counts(&equal, Balance::RoundRobin, 300, |index| index == 1), [0, 300, 0]);
        assert_eq!(counts(&equal, Balance::RoundRobin, 3, |_| false), [0, 0, 0]);
        let weighted = members(&[5, 1, 4], Balance::RoundRobin);
        assert_eq!(counts(&weighted, Balance::RoundRobin, 100, |_| true), [50, 10, 40]);
        let turn = Turn::default();
        let first: Vec<_> =
            (0..10).filter_map(|_| turn.pick(&weighted, Balance::RoundRobin, 0, |_, _| true)).collect();
        assert!(first.windows(3).all(|three| three != [0, 0, 0]), "spread: {first:?}");
    }

    #[test]
    fn the_least_loaded_is_taken() {
        for balance in [Balance::LeastConnections, Balance::TwoChoices] {
            let members = members(&[1, 1], balance);
            members.endpoints[0].active.store(5, Ordering::Relaxed);
            assert_eq!(counts(&members, balance, 50, |_| true), [0, 50]);
            assert_eq!(counts(&members, balance, 50, |index| index == 0), [50, 0]);
        }
        let heavy = members(&[1, 10], Balance::LeastConnections);
        heavy.endpoints[0].active.store(1, Ordering::Relaxed);
        heavy.endpoints[1].active.store(5, Ordering::Relaxed);
        assert_eq!(counts(&heavy, Balance::LeastConnections, 1, |_| true), [0, 1]);
    }

    #[test]
    fn few_keys_move_when_a_server_goes() {
        let balance = Balance::ConsistentHash;
        let members = members(&[1, 1, 2, 1], balance);
        let all = counts(&members, balance, 10_000, |_| true);
        for (index, weight) in [1, 1, 2, 1].into_iter().enumerate() {
            let share = all[index] * 5 / weight;
            assert!((7_000..13_000).contains(&share), "{all:?}");
        }
        let turn = Turn::default();
        for request in 0..1000_u64 {
            let key = hash(&request.to_le_bytes());
            let before = turn.pick(&members, balance, key, |_, _| true).unwrap();
            let after = turn.pick(&members, balance, key, |index, _| index != 0).unwrap();
            assert!(before == 0 || before == after);
            assert_ne!(after, 0);
        }
    }
}
