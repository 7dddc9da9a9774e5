//! Settings of automatic certificates: the table `acme` of the TLS settings.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::Pattern;

/// Certificates from authorities that speak ACME. Nothing is contacted without this table and its `agree = true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// You have read the terms of service of every issuer and agree to them. Required.
    pub agree: bool,
    /// Where issuers may write to about your certificates.
    pub email: Option<String>,
    /// Who is asked for certificates: the first one that gives one wins. `letsencrypt` when empty.
    pub issuers: Vec<IssuerConfig>,
    /// How control over a name is proven, in order of preference: `http-01`, `tls-alpn-01`, `dns-01`. When empty, what
    /// the listeners and `dns_hook` make possible.
    pub challenges: Vec<ChallengeKind>,
    /// Program (and first arguments) that changes DNS for `dns-01`. It is called without a shell with three more
    /// arguments: `set` or `clear`, the name of the TXT record, and its value.
    pub dns_hook: Vec<String>,
    /// For one call of `dns_hook`, milliseconds.
    pub dns_hook_timeout_ms: u64,
    /// From the end of `dns_hook set` until the issuer is told to look, milliseconds: the time your DNS servers need.
    pub dns_wait_ms: u64,
    /// Key of new certificates.
    pub key: KeyKind,
    /// Orders at a time with each issuer, 1 to 8.
    pub concurrency: usize,
    /// For an order, from its first request to the certificate, milliseconds.
    pub order_timeout_ms: u64,
    /// Certificates for names that no site lists, ordered when a client first asks for them.
    pub on_demand: Option<OnDemandConfig>,
    /// Where certificates and accounts are kept.
    #[serde(skip)]
    pub data: PathBuf,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            agree: false,
            email: None,
            issuers: Vec::new(),
            challenges: Vec::new(),
            dns_hook: Vec::new(),
            dns_hook_timeout_ms: 60_000,
            dns_wait_ms: 5_000,
            key: KeyKind::default(),
            concurrency: 2,
            order_timeout_ms: 180_000,
            on_demand: None,
            data: PathBuf::new(),
        }
    }
}

/// An authority that speaks ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Address of its directory, or one of `letsencrypt`, `letsencrypt-staging`, `zerossl`.
    pub directory: String,
    /// PEM file with the authorities that vouch for the issuer's own server, in place of the public ones. For test
    /// and private authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Account elsewhere that the issuer wants to be named (external account binding, RFC 8555 section 7.3.4).
    #[serde(default)]
    pub eab: Option<EabConfig>,
    /// Kind of certificate, where the issuer has several, such as `shortlived`.
    #[serde(default)]
    pub profile: Option<String>,
}

/// External account binding, as the issuer gave it to you.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EabConfig {
    /// Identifier of the key.
    pub kid: String,
    /// The key, in base64url.
    pub hmac: String,
}

impl fmt::Debug for EabConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EabConfig").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl EabConfig {
    /// The key's bytes. Issuers hand it out in either alphabet of base64, with and without padding.
    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        let text = self.hmac.trim().trim_end_matches('=');
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).or_else(|_| BASE64_STANDARD_NO_PAD.decode(text));
        decoded.ok().filter(|key| !key.is_empty())
    }
}

/// How control over a name is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ChallengeKind {
    /// The issuer fetches a token from port 80 (RFC 8555 section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// The issuer looks at a certificate on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// The issuer looks up a TXT record (RFC 8555 section 8.4). The only one for wildcard names.
    #[serde(rename = "dns-01")]
    Dns01,
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        })
    }
}

/// Key of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// ECDSA with P-256, which every client knows.
    #[default]
    P256,
    /// ECDSA with P-384.
    P384,
}

/// Which names get a certificate when a client asks for them, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnDemandConfig {
    /// Names, or patterns such as `*.customers.example`, whose `*` is one label.
    pub allow: Vec<String>,
    /// Address that is asked about names which `allow` does not hold, as `ASK?domain=NAME`: status 200 allows.
    pub ask: Option<String>,
    /// PEM file with the authorities that vouch for `ask`, in place of the public ones.
    pub ask_ca: Option<PathBuf>,
    /// New names in a minute, over all clients.
    pub names_per_minute: u32,
    /// Names that have or wait for a certificate of this kind.
    pub max_names: usize,
    /// How long a client's handshake waits for a new certificate, milliseconds; less where `tls.handshake_timeout_ms` is
    /// over before. The order goes on without it.
    pub wait_ms: u64,
}

impl Default for OnDemandConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            ask: None,
            ask_ca: None,
            names_per_minute: 10,
            max_names: 1000,
            wait_ms: 8_000,
        }
    }
}

/// Directories that have a name of their own.
const SHORTCUTS: &[(&str, &str)] = &[
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
];

impl IssuerConfig {
    /// An issuer with nothing but its directory.
    pub fn new(directory: impl Into<String>) -> Self {
        Self { directory: directory.into(), ca: None, eab: None, profile: None }
    }

    /// Address of the directory.
    pub fn url(&self) -> &str {
        SHORTCUTS.iter().find(|(name, _)| *name == self.directory).map_or(&self.directory, |(_, url)| url)
    }

    /// Its name for people: the shortcut, or the directory's host.
    pub fn label(&self) -> String {
        if let Some((name, _)) = SHORTCUTS.iter().find(|(_, url)| *url == self.url()) {
            return (*name).to_owned();
        }
        let uri = self.url().parse::<http::Uri>().ok();
        let authority = uri.as_ref().and_then(http::Uri::authority);
        authority.map_or_else(|| self.directory.clone(), |authority| authority.as_str().to_owned())
    }

    fn problem(&self) -> Option<String> {
        let url = self.url();
        let https = url.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !https {
            return Some(format!("issuers: {url:?} is no https address; shortcuts are {}", shortcuts()));
        }
        if self.url() == "https://acme.zerossl.com/v2/DV90" && self.eab.is_none() {
            return Some("issuers: zerossl needs eab = { kid, hmac }, which its console gives out".into());
        }
        let unusable = self.eab.as_ref().is_some_and(|eab| eab.kid.is_empty() || eab.key().is_none());
        unusable.then(|| format!("issuers: eab of {url} needs kid, and hmac in base64url"))
    }
}

fn shortcuts() -> String {
    SHORTCUTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl AcmeConfig {
    /// The issuers in use.
    pub fn issuers(&self) -> Vec<IssuerConfig> {
        if self.issuers.is_empty() { vec![IssuerConfig::new("letsencrypt")] } else { self.issuers.clone() }
    }

    /// What is wrong with these settings, in words, beginning with the name of the setting.
    pub fn problem(&self) -> Option<String> {
        if !self.agree {
            return Some(
                "agree: read your issuers' terms of service, then write agree = true; no issuer is contacted without"
                    .into(),
            );
        }
        if let Some(email) = &self.email {
            let plain = email.is_ascii() && !email.contains(|c: char| c.is_whitespace() || ",?:".contains(c));
            if !plain || email.split_once('@').is_none_or(|(user, host)| user.is_empty() || host.is_empty()) {
                return Some(format!("email: {email:?} is no address such as you@example.com"));
            }
        }
        if let Some(problem) = self.issuers.iter().find_map(IssuerConfig::problem) {
            return Some(problem);
        }
        let mut urls: Vec<_> = self.issuers.iter().map(IssuerConfig::url).collect();
        urls.sort_unstable();
        if let Some(pair) = urls.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("issuers: {} is there twice", pair[0]));
        }
        if self.challenges.contains(&ChallengeKind::Dns01) && self.dns_hook.is_empty() {
            return Some("dns_hook: dns-01 needs a program that sets TXT records".into());
        }
        if self.dns_hook.first().is_some_and(String::is_empty) {
            return Some("dns_hook: the first entry must be a program".into());
        }
        if !(1..=8).contains(&self.concurrency) {
            return Some("concurrency must be between 1 and 8".into());
        }
        if self.dns_hook_timeout_ms == 0 || self.order_timeout_ms == 0 {
            return Some("dns_hook_timeout_ms and order_timeout_ms must be at least 1".into());
        }
        self.on_demand.as_ref().and_then(OnDemandConfig::problem)
    }
}

impl OnDemandConfig {
    fn problem(&self) -> Option<String> {
        if self.allow.is_empty() && self.ask.is_none() {
            return Some(
                "on_demand: needs allow or ask; without them anybody could have you order anything".into(),
            );
        }
        if let Some(problem) = self.allow.iter().find_map(|text| Pattern::parse(text).err()) {
            return Some(format!("on_demand.allow: {problem}"));
        }
        if let Some(ask) = &self.ask {
            let usable = ask.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
            });
            if !usable {
                return Some(format!("on_demand.ask: {ask:?} is no http or https address"));
            }
        }
        if self.names_per_minute == 0 || self.max_names == 0 || self.wait_ms == 0 {
            return Some("on_demand: names_per_minute, max_names and wait_ms must be at least 1".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> AcmeConfig {
        AcmeConfig { agree: true, ..AcmeConfig::default() }
    }

    #[test]
    fn terms_must_be_agreed_to() {
        assert!(AcmeConfig::default().problem().unwrap().starts_with("agree"));
        assert_eq!(agreed().problem(), None);
        assert_eq!(agreed().issuers()[0].url(), "https://acme-v02.api.letsencrypt.org/directory");
    }

    #[test]
    fn mistakes_are_named() {
        let with = |issuer: IssuerConfig| AcmeConfig { issuers: vec![issuer], ..agreed() };
        assert!(with(IssuerConfig::new("letsencrpyt")).problem().unwrap().contains("letsencrpyt"));
        assert!(with(IssuerConfig::new("http://ca.example/dir")).problem().unwrap().contains("https"));
        assert!(with(IssuerConfig::new("zerossl")).problem().unwrap().contains("eab"));
        let twice = vec![
            IssuerConfig::new("letsencrypt"),
            IssuerConfig::new("https://acme-v02.api.letsencrypt.org/directory"),
        ];
        assert!(AcmeConfig { issuers: twice, ..agreed() }.problem().unwrap().contains("twice"));
        let dns = AcmeConfig { challenges: vec![ChallengeKind::Dns01], ..agreed() };
        assert!(dns.problem().unwrap().starts_with("dns_hook"));
        let anybody = AcmeConfig { on_demand: Some(OnDemandConfig::default()), ..agreed() };
        assert!(anybody.problem().unwrap().contains("allow or ask"));
        for email in ["me", "@x", "a b@c", "a@b,c@d"] {
            let config = AcmeConfig { email: Some(email.into()), ..agreed() };
            assert!(config.problem().unwrap().starts_with("email"), "{email}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let eab = EabConfig { kid: "k".into(), hmac: "c2VjcmV0".into() };
        assert_eq!(eab.key().unwrap(), b"secret");
        assert!(!format!("{eab:?}").contains("c2Vj"));
        let padded = EabConfig { kid: "k".into(), hmac: "+/8=".into() };
        assert_eq!(padded.key().unwrap(), [0xfb, 0xff]);
    }
}
