//! Where workers may connect to. Names are looked at before they are resolved, addresses right before they are connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use selvedge_model::Egress as Rules;
use tokio_rustls::rustls::ClientConfig;

use super::address::is_public;
use super::failed::{Failed, refused};
use super::tls;
use crate::EngineConfig;

/// The operator's part of the policy, and how TLS is spoken.
#[derive(Debug)]
pub struct Policy {
    /// `host:port` pairs that may be reached although their addresses are not public.
    exceptions: Vec<String>,
    /// Offers HTTP/2 and HTTP/1.1.
    pub http_tls: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only, for what takes the connection over.
    pub http1_tls: Arc<ClientConfig>,
    /// Offers no protocol of its own.
    pub tls: Arc<ClientConfig>,
}

impl Policy {
    /// The policy of these settings. An error when the file with further certificates cannot be used.
    pub fn new(config: &EngineConfig) -> std::io::Result<Self> {
        let tls = tls::client(config.egress_ca.as_deref())?;
        let offering = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(tls)
        };
        Ok(Self {
            exceptions: config.egress_allow.iter().map(|host| host.to_ascii_lowercase()).collect(),
            http_tls: offering(&[b"h2", b"http/1.1"]),
            http1_tls: offering(&[b"http/1.1"]),
            tls: offering(&[]),
        })
    }

    /// Whether the operator lets workers reach this address under this name although it is not public.
    pub fn excepts(&self, host: &str, address: SocketAddr) -> bool {
        let port = address.port();
        self.exceptions.iter().any(|allowed| {
            allowed.rsplit_once(':').is_some_and(|(name, given)| name == host && given.parse() == Ok(port))
                || allowed.parse() == Ok(address)
        })
    }

    /// Whether a connection to this address may be made.
    pub fn permits(&self, rules: &Rules, host: &str, address: SocketAddr) -> Result<(), Failed> {
        if let Some(rule) = rules.denies_address(address.ip(), address.port()) {
            return Err(denied(host, address.port(), &rule.to_string()));
        }
        if is_public(address.ip()) || self.excepts(host, address) {
            return Ok(());
        }
        Err(refused(format!(
            "{host} is not a public address; the egress policy of this machine does not allow it. Its operator can, with \
             egress_allow = [\"{host}:{}\"] under [engine].",
            address.port()
        )))
    }
}

/// Whether the worker's own rules let it reach this host, before its name is resolved.
pub fn check_name(rules: &Rules, host: &str, port: u16) -> Result<(), Failed> {
    match rules.verdict(host, port) {
        selvedge_model::Verdict::Allowed => Ok(()),
        selvedge_model::Verdict::Denied(rule) => Err(denied(host, port, &rule.to_string())),
        selvedge_model::Verdict::NotListed => Err(refused(format!(
            "{host}:{port} is not in this worker's list of hosts that it may reach. Add \"{host}\" to egress.allow in its \
             configuration and deploy again."
        ))),
    }
}

fn denied(host: &str, port: u16, rule: &str) -> Failed {
    refused(format!(
        "{host}:{port} is denied by the rule \"{rule}\" in egress.deny of this worker's configuration. Remove it there and \
         deploy again."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_by_host_and_port() {
        let config = EngineConfig {
            egress_allow: vec!["LocalHost:9000".into(), "[::1]:81".into()],
            ..Default::default()
        };
        let policy = Policy::new(&config).unwrap();
        let permits =
            |host, address: &str| policy.permits(&Rules::default(), host, address.parse().unwrap()).is_ok();
        assert!(permits("localhost", "127.0.0.1:9000"));
        assert!(permits("::1", "[::1]:81"));
        assert!(!permits("localhost", "127.0.0.1:9001"));
        assert!(!permits("evil.example", "127.0.0.1:9000"));
        assert!(!permits("localhost:9000", "127.0.0.1:80"));
    }
}
