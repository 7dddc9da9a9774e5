//! What each client may take of the server before it has asked for anything: connections at a time, and handshakes, which
//! cost the server more than the client.
//!
//! A client is an IPv4 address, or an IPv6 network of 64 bits, which is what one customer of a provider has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Parts of the table that are locked by themselves.
const SHARDS: usize = 16;
/// Clients of one part that are remembered; those without a connection go first.
const SHARD_MAX: usize = 8192;

/// Who a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client(u64, bool);

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u32::from(address).into(), false),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64, true),
        }
    }
}

/// What each may take; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at a time.
    pub connections: u32,
    /// Handshakes a second, on average.
    pub handshakes_per_s: u32,
    /// Handshakes at once.
    pub handshake_burst: u32,
}

/// What clients have taken; shared by all threads.
#[derive(Debug)]
pub struct Clients {
    limits: ClientLimits,
    shards: [Mutex<HashMap<Client, Taken>>; SHARDS],
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    connections: u32,
    /// Handshakes that it has left, as of then.
    left: f64,
    then: Instant,
}

impl Clients {
    /// Nobody has taken anything yet.
    pub fn new(limits: ClientLimits) -> Arc<Self> {
        Arc::new(Self { limits, shards: Default::default() })
    }

    /// What each may take.
    pub fn limits(&self) -> ClientLimits {
        self.limits
    }

    /// A place for one more connection of a client. `None`: it has all that it may have.
    pub fn connect(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        if self.limits.connections == 0 || is_exempt(address) {
            return Some(Place(None));
        }
        let client = Client::of(address);
        let mut shard = self.shard(client);
        let taken = self.taken(&mut shard, client, now);
        if taken.connections >= self.limits.connections {
            return None;
        }
        taken.connections += 1;
        drop(shard);
        Some(Place(Some(Box::new((self.clone(), client)))))
    }

    /// Whether a client may begin one more handshake now.
    pub fn may_shake_hands(&self, address: IpAddr, now: Instant) -> bool {
        if self.limits.handshakes_per_s == 0 || is_exempt(address) {
            return true;
        }
        let client = Client::of(address);
        let mut shard = self.shard(client);
        let (rate, burst) = (f64::from(self.limits.handshakes_per_s), f64::from(self.limits.handshake_burst));
        let taken = self.taken(&mut shard, client, now);
        let waited = now.saturating_duration_since(taken.then).as_secs_f64();
        taken.left = (taken.left + waited * rate).min(burst);
        taken.then = now;
        let may = taken.left >= 1.0;
        if may {
            taken.left -= 1.0;
        }
        may
    }

    fn shard(&self, client: Client) -> MutexGuard<'_, HashMap<Client, Taken>> {
        // Neighbours are many of one attacker; they are spread out.
        let spread = client.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        self.shards[spread as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken<'s>(
        &self,
        shard: &'s mut HashMap<Client, Taken>,
        client: Client,
        now: Instant,
    ) -> &'s mut Taken {
        let burst = f64::from(self.limits.handshake_burst);
        if shard.len() >= SHARD_MAX && !shard.contains_key(&client) {
            let rate = f64::from(self.limits.handshakes_per_s);
            // Who would have everything back by now is forgotten; if that is nobody, everybody without a connection is.
            let full = |taken: &Taken| {
                taken.left + now.saturating_duration_since(taken.then).as_secs_f64() * rate >= burst
            };
            shard.retain(|_, taken| taken.connections > 0 || !full(taken));
            if shard.len() >= SHARD_MAX {
                shard.retain(|_, taken| taken.connections > 0);
            }
        }
        shard.entry(client).or_insert(Taken { connections: 0, left: burst, then: now })
    }
}

/// This machine's own programs, proxies among them.
fn is_exempt(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// A connection's place among those of its client; dropping it frees the place.
#[derive(Debug)]
pub struct Place(Option<Box<(Arc<Clients>, Client)>>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((clients, client)) = self.0.as_deref() else { return };
        let mut shard = clients.shard(*client);
        if let Some(taken) = shard.get_mut(client) {
            taken.connections = taken.connections.saturating_sub(1);
            if taken.connections == 0 && clients.limits.handshakes_per_s == 0 {
                shard.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn clients(connections: u32, handshakes_per_s: u32, handshake_burst: u32) -> Arc<Clients> {
        Clients::new(ClientLimits { connections, handshakes_per_s, handshake_burst })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_for_each_client() {
        let (clients, now) = (clients(2, 0, 0), Instant::now());
        let first = clients.connect(address("192.0.2.1"), now).unwrap();
        let _second = clients.connect(address("::ffff:192.0.2.1"), now).unwrap();
        assert!(clients.connect(address("192.0.2.1"), now).is_none());
        assert!(clients.connect(address("192.0.2.2"), now).is_some());
        drop(first);
        assert!(clients.connect(address("192.0.2.1"), now).is_some());
        // A network of 64 bits is one client.
        let _six = [1, 2].map(|n| clients.connect(address(&format!("2001:db8::{n}")), now).unwrap());
        assert!(clients.connect(address("2001:db8::3"), now).is_none());
        assert!(clients.connect(address("2001:db8:0:1::3"), now).is_some());
        for _ in 0..9 {
            std::mem::forget(clients.connect(address("127.0.0.1"), now).unwrap());
        }
    }

    #[test]
    fn handshakes_come_back_with_time() {
        let (clients, now) = (clients(0, 10, 3), Instant::now());
        let may = |at| clients.may_shake_hands(address("192.0.2.1"), at);
        assert_eq!([may(now), may(now), may(now), may(now)], [true, true, true, false]);
        let later = now + Duration::from_millis(200);
        assert_eq!([may(later), may(later), may(later)], [true, true, false]);
        assert!(clients.may_shake_hands(address("192.0.2.2"), now));
        assert!((0..99).all(|_| clients.may_shake_hands(address("::1"), now)));
    }

    #[test]
    fn memory_is_bounded() {
        let (clients, now) = (clients(1, 1, 10), Instant::now());
        let place = clients.connect(address("192.0.2.1"), now);
        assert!(place.is_some());
        for n in 0..(SHARDS * SHARD_MAX + 50_000) as u32 {
            clients.may_shake_hands(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        let remembered: usize = clients.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(remembered <= SHARDS * SHARD_MAX);
        assert!(clients.connect(address("192.0.2.1"), now).is_none(), "an open connection is not forgotten");
    }
}
