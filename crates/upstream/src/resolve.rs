//! From names to servers, again and again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::{Address, Endpoint};
use crate::target::{Place, Target};
use crate::upstream::Upstream;

/// For one look at a name.
const LOOKUP: Duration = Duration::from_secs(10);
/// Servers behind one name; further addresses are not used.
const ADDRESSES_MAX: usize = 256;

/// What needs no looking up.
fn known(target: &Target) -> Option<Address> {
    match &target.place {
        Place::Unix(path) => Some(Address::Unix(path.clone())),
        Place::Host { host, port } => {
            Some(Address::Tcp((host.parse::<std::net::IpAddr>().ok()?, *port).into()))
        }
    }
}

/// Whether any name needs looking up.
pub(crate) fn has_names(upstream: &Upstream) -> bool {
    upstream.targets.iter().any(|(target, _)| known(target).is_none())
}

/// The servers whose addresses are in the settings.
pub(crate) fn fixed(upstream: &Upstream) -> Vec<Arc<Endpoint>> {
    let mut endpoints = Vec::new();
    for (target, weight) in &upstream.targets {
        endpoints.extend(
            known(target)
                .map(|address| Arc::new(Endpoint::new(address, target.clone(), *weight, &upstream.config))),
        );
    }
    endpoints
}

/// Looks all names up. Servers that were there before stay what they are; those of a name that cannot be looked up now
/// stay as well.
pub(crate) async fn refresh(upstream: &Upstream) {
    let before = upstream.members();
    let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
    for (target, weight) in &upstream.targets {
        let known_before =
            || before.endpoints.iter().filter(|endpoint| Arc::ptr_eq(&endpoint.target, target));
        let addresses = match known(target) {
            Some(address) => vec![address],
            None => match lookup(target).await {
                Some(addresses) => addresses,
                None => {
                    endpoints.extend(known_before().cloned());
                    continue;
                }
            },
        };
        for address in addresses {
            let same = known_before().find(|endpoint| endpoint.address == address).cloned();
            endpoints.push(same.unwrap_or_else(|| {
                Arc::new(Endpoint::new(address, target.clone(), *weight, &upstream.config))
            }));
        }
    }
    let same = endpoints.len() == before.endpoints.len()
        && endpoints.iter().zip(&before.endpoints).all(|(one, other)| Arc::ptr_eq(one, other));
    if !same {
        upstream.set_members(endpoints);
    }
}

/// The addresses of a name, sorted, each once.
async fn lookup(target: &Target) -> Option<Vec<Address>> {
    let Place::Host { host, port } = &target.place else { return None };
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), *port))).await;
    match found {
        Ok(Ok(addresses)) => {
            let addresses: HashSet<_> = addresses.collect();
            let mut addresses: Vec<_> = addresses.into_iter().collect();
            addresses.sort_unstable();
            addresses.truncate(ADDRESSES_MAX);
            (!addresses.is_empty()).then(|| addresses.into_iter().map(Address::Tcp).collect())
        }
        Ok(Err(error)) => {
            tracing::warn!(host, %error, "the name of a server could not be looked up");
            None
        }
        Err(_) => {
            tracing::warn!(host, "the name of a server was not looked up in time");
            None
        }
    }
}
