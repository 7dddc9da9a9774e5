//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Seconds;
use crate::names::Name;

/// Names whose expiry is shown; further ones are counted nowhere but in `selvedge certs`.
const NAMES_MAX: usize = 2000;

/// Counters of automatic certificates. Clones count together, so that a reload goes on counting.
#[derive(Clone, Debug, Default)]
pub struct AcmeMetrics {
    expiry: Family<NameLabel, Gauge>,
    orders: Family<OrderLabel, Counter>,
    refused: Counter,
    shown: std::sync::Arc<std::sync::Mutex<std::collections::HashSet<Name>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrderLabel {
    issuer: String,
    outcome: &'static str,
}

impl AcmeMetrics {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "selvedge_certificate_expiry_timestamp_seconds",
            "When a certificate that was ordered by ACME runs out",
            self.expiry.clone(),
        );
        registry.register(
            "selvedge_acme_orders",
            "Orders of certificates, by issuer and outcome: issued, renewed or failed",
            self.orders.clone(),
        );
        registry.register(
            "selvedge_acme_on_demand_refused",
            "Handshakes for names that got no certificate on demand",
            self.refused.clone(),
        );
    }

    pub(crate) fn expires(&self, name: &Name, at: Seconds) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if shown.contains(name) || shown.len() < NAMES_MAX {
            shown.insert(name.clone());
            self.expiry.get_or_create(&NameLabel { name: name.to_string() }).set(at.cast_signed());
        }
    }

    pub(crate) fn forgotten(&self, name: &Name) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if shown.remove(name) {
            self.expiry.remove(&NameLabel { name: name.to_string() });
        }
    }

    pub(crate) fn ordered(&self, issuer: &str, outcome: &'static str) {
        self.orders.get_or_create(&OrderLabel { issuer: issuer.to_owned(), outcome }).inc();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}
