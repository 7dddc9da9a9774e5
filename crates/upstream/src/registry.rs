//! All upstreams, by their settings: one whose settings stay the same keeps its state when others change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::config::UpstreamConfig;
use crate::upstream::Upstream;

/// Hands out upstreams; clones hand out the same. Those that nobody uses any more are forgotten.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    known: Arc<Mutex<HashMap<String, Weak<Upstream>>>>,
}

impl Registry {
    /// The upstream with these settings: one that is in use, or a new one. The error says what is wrong with them. Reads
    /// the files that they name.
    pub fn upstream(&self, config: &UpstreamConfig) -> Result<Arc<Upstream>, String> {
        let key = serde_json::to_string(config).map_err(|error| error.to_string())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, upstream| upstream.strong_count() > 0);
        if let Some(upstream) = known.get(&key).and_then(Weak::upgrade)
            // Certificates may be new in files of the same name.
            && upstream.files_are_unchanged()
        {
            return Ok(upstream);
        }
        let upstream = Upstream::new(config.clone())?;
        known.insert(key, Arc::downgrade(&upstream));
        Ok(upstream)
    }

    /// The same of `[upstreams.NAME]`.
    pub fn named(&self, name: &str, config: &UpstreamConfig) -> Result<Arc<Upstream>, String> {
        let upstream = self.upstream(config)?;
        // Where two have the same servers, the name of the first stays.
        let _ = upstream.name.set(name.to_owned());
        Ok(upstream)
    }

    /// All that are in use.
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::To;

    #[test]
    fn equal_settings_share_one_upstream() {
        let registry = Registry::default();
        let config =
            UpstreamConfig { to: vec![To::Url("http://127.0.0.1:1".into())], ..UpstreamConfig::default() };
        let one = registry.upstream(&config).unwrap();
        assert!(Arc::ptr_eq(&one, &registry.upstream(&config).unwrap()));
        let other = registry.upstream(&UpstreamConfig { max_idle: 1, ..config.clone() }).unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        assert_eq!(registry.all().len(), 2);
        drop((one, other));
        assert!(registry.all().is_empty());
        assert!(registry.upstream(&UpstreamConfig::default()).is_err());
    }
}
