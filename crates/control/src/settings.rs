//! Settings of the control plane.

use selvedge_model::{AccountId, Limits, ScriptName};

/// Where scripts answer by name, as seen by people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// `http` or `https`.
    pub scheme: String,
    /// The domain under which a script's name is a label, such as `localhost`.
    pub domain: String,
    /// The edge's port; left out of URLs when `None`.
    pub port: Option<u16>,
}

impl PublicUrl {
    /// The URL of a script.
    pub(crate) fn of(&self, account: &AccountId, script: &ScriptName) -> String {
        let account = match account == &AccountId::default_account() {
            true => String::new(),
            false => format!("{account}."),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{script}.{account}{}{port}", self.scheme, self.domain)
    }
}

/// How the API answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of the URLs in answers.
    pub public_url: PublicUrl,
    /// Values of `Origin` that are the admin address itself, such as `http://127.0.0.1:8081`. Requests that a
    /// browser makes for any other page are refused.
    pub admin_origins: Vec<String>,
    /// The most that a worker's limits may allow.
    pub limits_max: Limits,
}

impl Default for Settings {
    /// `http://<script>.localhost:8080`, no page of its own, generous limits.
    fn default() -> Self {
        Self {
            public_url: PublicUrl { scheme: "http".into(), domain: "localhost".into(), port: Some(8080) },
            admin_origins: Vec::new(),
            limits_max: Limits {
                memory_mb: 4096,
                wall_ms: 3_600_000,
                cpu_ms: 300_000,
                cpu_burst_ms: 300_000,
                body_bytes: 4 << 30,
                subrequests: 10_000,
                concurrency: 10_000,
                queue: 100_000,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_a_url() {
        let mut url = Settings::default().public_url;
        let (own, other) = (AccountId::default_account(), "acme".parse().unwrap());
        assert_eq!(url.of(&own, &"a".parse().unwrap()), "http://a.localhost:8080");
        url = PublicUrl { scheme: "https".into(), domain: "edge.example".into(), port: None };
        assert_eq!(url.of(&other, &"a".parse().unwrap()), "https://a.acme.edge.example");
    }
}
