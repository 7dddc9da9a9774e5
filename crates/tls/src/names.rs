//! Host names as TLS sees them, and what belongs to them: exact names before wildcards.

use std::collections::HashMap;

/// A host name in the form in which names are compared: lower case, without a dot at its end. `None` for what is no name,
/// addresses included.
pub fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let is_name =
        name.len() <= 253 && bare.split('.').all(label) && name.parse::<std::net::Ipv4Addr>().is_err();
    is_name.then(|| name.to_ascii_lowercase())
}

/// Whether a name never leaves this machine (RFC 6761, section 6.3), or has no meaning outside of a network of its own.
pub fn is_local(name: &str) -> bool {
    let under =
        |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    ["localhost", "local", "internal", "home.arpa", "test"].into_iter().any(under)
}

/// Values by exact name and by wildcard.
#[derive(Clone, Debug)]
pub struct NameMap<V> {
    exact: HashMap<String, V>,
    /// Without its `*.`.
    wildcard: HashMap<String, V>,
    any: Option<V>,
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<V> NameMap<V> {
    /// The place of a name that is [`normal`], of a wildcard such as `*.example.com`, or of `*`.
    pub fn entry(&mut self, name: &str) -> &mut V
    where
        V: Default,
    {
        match name.strip_prefix("*.") {
            _ if name == "*" => self.any.get_or_insert_with(V::default),
            Some(domain) => self.wildcard.entry(domain.to_owned()).or_default(),
            None => self.exact.entry(name.to_owned()).or_default(),
        }
    }

    /// Sets the value of a name.
    pub fn insert(&mut self, name: &str, value: V) {
        match name.strip_prefix("*.") {
            _ if name == "*" => self.any = Some(value),
            Some(domain) => drop(self.wildcard.insert(domain.to_owned(), value)),
            None => drop(self.exact.insert(name.to_owned(), value)),
        }
    }

    /// Removes the value of a name.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        match name.strip_prefix("*.") {
            _ if name == "*" => self.any.take(),
            Some(domain) => self.wildcard.remove(domain),
            None => self.exact.remove(name),
        }
    }

    /// As certificates cover names (RFC 9525, section 6.3): a wildcard stands for one label.
    pub fn covering(&self, name: &str) -> Option<&V> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }

    /// What `*` has.
    pub fn any(&self) -> Option<&V> {
        self.any.as_ref()
    }

    /// As sites have hosts: a wildcard stands for any number of labels, the longer one wins.
    pub fn under(&self, name: &str) -> Option<&V> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let mut rest = name;
        while let Some((_, domain)) = rest.split_once('.') {
            if let Some(value) = self.wildcard.get(domain) {
                return Some(value);
            }
            rest = domain;
        }
        self.any.as_ref()
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len() + usize::from(self.any.is_some())
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        assert_eq!(normal("Shop.EXAMPLE."), Some("shop.example".into()));
        assert_eq!(normal("*.a"), Some("*.a".into()));
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "127.0.0.1", "a b", "*", "a.*.b", "ü.de", "[::1]", &long, "a/b", "a\0"]
        {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }

    #[test]
    fn exact_goes_before_wildcard() {
        let mut map = NameMap::default();
        map.insert("a.example", 1);
        map.insert("*.example", 2);
        assert_eq!(map.covering("a.example"), Some(&1));
        assert_eq!(map.covering("b.example"), Some(&2));
        assert_eq!(map.covering("example"), None);
        assert_eq!(map.covering("c.b.example"), None, "one label only");
        assert_eq!(map.under("c.b.example"), Some(&2));
        assert_eq!(map.under("example"), None);
        map.insert("*", 3);
        assert_eq!((map.covering("c.b.example"), map.any(), map.under("x")), (None, Some(&3), Some(&3)));
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn local_names() {
        for name in ["localhost", "a.localhost", "printer.local", "x.test"] {
            assert!(is_local(name), "{name}");
        }
        for name in ["example.com", "notlocalhost", "localhost.example"] {
            assert!(!is_local(name), "{name}");
        }
    }
}
