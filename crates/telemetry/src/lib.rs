//! What the system says about itself: workers' logs, metrics and diagnostics.

pub mod hub;

pub use hub::LogHub;
pub use prometheus_client::registry::Registry;
