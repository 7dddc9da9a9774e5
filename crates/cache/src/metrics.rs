//! What the edge's cache counts, for `/metrics`.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::store::Store;

/// Adds the numbers of a cache, under `selvedge_cache_…`.
pub fn register(store: &Arc<Store>, registry: &mut Registry) {
    registry.register_collector(Box::new(Numbers(store.clone())));
}

#[derive(Debug)]
struct Numbers(Arc<Store>);

/// A number for each of several labels.
type Labelled<'a> = &'a [(&'a str, u64)];

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts();
        let disk = counts.disk.unwrap_or_default();
        let has_disk = counts.disk.is_some();
        let redis = counts.redis.unwrap_or_default();
        let tiers = |memory: u64, disk: u64| {
            let both = vec![("memory", memory), ("disk", disk)];
            both.into_iter().filter(move |(tier, _)| has_disk || *tier == "memory").collect::<Vec<_>>()
        };
        let mut found = tiers(counts.hits.saturating_sub(counts.disk_hits + redis.hits), counts.disk_hits);
        found.extend(counts.redis.map(|redis| ("redis", redis.hits)));
        let mut family = |name: &str, help: &str, label: &str, kind: MetricType, numbers: Labelled<'_>| {
            let mut described = encoder.encode_descriptor(name, help, None, kind)?;
            for (value, number) in numbers {
                let labels = [(label, *value)];
                let metric = described.encode_family(&labels)?;
                match kind {
                    MetricType::Gauge => {
                        ConstGauge::new(i64::try_from(*number).unwrap_or(i64::MAX)).encode(metric)?;
                    }
                    _ => ConstCounter::new(*number).encode(metric)?,
                }
            }
            Ok(())
        };
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        family(
            "selvedge_cache_requests",
            "Requests of routes with a cache, by what came of them",
            "result",
            counter,
            &[
                ("hit", counts.hits),
                ("miss", counts.misses),
                ("stale", counts.stale),
                ("collapsed", counts.collapsed),
            ],
        )?;
        family("selvedge_cache_found", "Lookups that found something, by tier", "tier", counter, &found)?;
        family(
            "selvedge_cache_evicted",
            "Responses that had to make room, by tier; in memory, addresses with all their responses",
            "tier",
            counter,
            &tiers(counts.evicted, disk.evicted),
        )?;
        family(
            "selvedge_cache_bytes",
            "Bytes in use, by tier",
            "tier",
            gauge,
            &tiers(counts.bytes, disk.bytes),
        )?;
        family(
            "selvedge_cache_objects",
            "Responses on the disk, and addresses with responses in memory",
            "tier",
            gauge,
            &tiers(counts.addresses, disk.objects),
        )?;
        if has_disk {
            family(
                "selvedge_cache_disk_errors",
                "What the cache's disk could not do, by kind",
                "kind",
                counter,
                &[
                    ("failed", disk.errors),
                    ("damaged", disk.damaged),
                    ("skipped", disk.skipped),
                    ("slow", counts.disk_slow),
                ],
            )?;
        }
        let shield = encoder.encode_descriptor(
            "selvedge_cache_shield_down",
            "Fetches for which the shield did not answer",
            None,
            counter,
        )?;
        ConstCounter::new(counts.shield_down).encode(shield)?;
        if counts.redis.is_some() {
            let errors = encoder.encode_descriptor(
                "selvedge_cache_redis_errors",
                "Times that the cache's Redis failed or was too slow",
                None,
                counter,
            )?;
            ConstCounter::new(redis.errors).encode(errors)?;
        }
        let stored = encoder.encode_descriptor("selvedge_cache_stored", "Responses stored", None, counter)?;
        ConstCounter::new(counts.stored).encode(stored)
    }
}
