//! Settings: of listeners, of TLS for the whole server, and of TLS for one site.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use selvedge_acme::AcmeConfig;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where to listen, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerConfig {
    /// `127.0.0.1:8080`, or the path of a Unix socket: `unix:/run/selvedge.sock`. Port 0 takes any free one.
    pub address: Endpoint,
    /// Speak TLS: HTTPS with HTTP/1.1 and HTTP/2, whichever the client chooses.
    pub tls: bool,
    /// Whether connections begin with a header that tells the client's address (PROXY protocol, versions 1 and 2).
    pub proxy_protocol: ProxyProtocol,
    /// Addresses and networks, such as `10.0.0.0/8`, of the proxies whose header is believed.
    pub from: Vec<String>,
    /// Permissions of a Unix socket, such as `0o660`.
    pub mode: Option<u32>,
}

/// The table form of a listener.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListenerTable {
    /// `127.0.0.1:8080`, or the path of a Unix socket: `unix:/run/selvedge.sock`. Port 0 takes any free one.
    #[schemars(with = "String")]
    address: Endpoint,
    /// Speak TLS: HTTPS with HTTP/1.1 and HTTP/2, whichever the client chooses.
    #[serde(default)]
    tls: bool,
    /// Whether connections begin with a header that tells the client's address (PROXY protocol, versions 1 and 2).
    #[serde(default)]
    proxy_protocol: ProxyProtocol,
    /// Addresses and networks, such as `10.0.0.0/8`, of the proxies whose header is believed.
    #[serde(default)]
    from: Vec<String>,
    /// Permissions of a Unix socket, such as `0o660`.
    #[serde(default)]
    mode: Option<u32>,
}

impl From<ListenerTable> for ListenerConfig {
    fn from(table: ListenerTable) -> Self {
        let ListenerTable { address, tls, proxy_protocol, from, mode } = table;
        Self { address, tls, proxy_protocol, from, mode }
    }
}

impl ListenerConfig {
    /// The address, where it is one of TCP.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.address {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        }
    }

    /// What is wrong with it, in words.
    pub fn problem(&self) -> Option<String> {
        let tcp = self.socket_address().is_some();
        match self.proxy_protocol {
            ProxyProtocol::Off if !self.from.is_empty() => {
                Some(format!("{}: `from` has a meaning only with proxy_protocol", self.address))
            }
            ProxyProtocol::Optional | ProxyProtocol::Required if tcp && self.from.is_empty() => {
                Some(format!("{}: name the proxies whose header is believed in `from`", self.address))
            }
            _ if tcp && self.mode.is_some() => {
                Some(format!("{}: only Unix sockets have a mode", self.address))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for ListenerConfig {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address).into()
    }
}

impl From<Endpoint> for ListenerConfig {
    fn from(address: Endpoint) -> Self {
        Self { address, tls: false, proxy_protocol: ProxyProtocol::Off, from: Vec::new(), mode: None }
    }
}

impl FromStr for ListenerConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(text.parse::<Endpoint>()?.into())
    }
}

impl<'de> Deserialize<'de> for ListenerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::<D, Self, ListenerTable>(
            deserializer,
            "an address such as \"127.0.0.1:8080\", or a table",
        )
    }
}

impl JsonSchema for ListenerConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Listener".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<ListenerTable>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

/// An address of TCP, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address of this machine and a port.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: needs the path of a socket, such as unix:/run/selvedge.sock".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "{text:?} is no address; write it as \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\""
                )
            }),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Whether a PROXY header comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// Never.
    #[default]
    Off,
    /// From trusted proxies it may; others must not send it.
    Optional,
    /// Always; connections from elsewhere are closed.
    Required,
}

/// TLS of the whole server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Which versions and ciphers are spoken.
    pub profile: Profile,
    /// Certificates for all the names that they are made out to. The first one also serves clients that name no host.
    pub certificates: Vec<CertificateFiles>,
    /// Issue certificates for `localhost`, names below it and sites that ask for it, by an authority of this server's own.
    pub internal: bool,
    /// Fetch proofs that certificates are not revoked (OCSP) from their authorities, and hand them to clients.
    pub ocsp: bool,
    /// Between two looks at the files of certificates, seconds. What has changed is used for new connections.
    pub reload_s: u64,
    /// From a new connection to the end of its handshake, milliseconds.
    pub handshake_timeout_ms: u64,
    /// Handshakes under way at a time; connections beyond that are closed.
    pub max_handshakes: usize,
    /// Handshakes a second that one client (an IPv4 address, or an IPv6 network of 64 bits) may ask for on average; 0 asks
    /// for no limit. Loopback has none.
    pub client_handshakes_per_s: u32,
    /// As many at once, after a pause.
    pub client_handshake_burst: u32,
    /// Order certificates for the names of sites from authorities that speak ACME. Nobody is asked without this table.
    pub acme: Option<AcmeConfig>,
    /// Where the own authority is kept.
    #[serde(skip)]
    pub data: PathBuf,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Intermediate,
            certificates: Vec::new(),
            internal: true,
            ocsp: true,
            reload_s: 10,
            handshake_timeout_ms: 10_000,
            max_handshakes: 4096,
            client_handshakes_per_s: 100,
            client_handshake_burst: 500,
            acme: None,
            data: PathBuf::new(),
        }
    }
}

impl TlsConfig {
    /// What is wrong with these settings, beginning with the name of the setting.
    pub fn problem(&self) -> Option<String> {
        if self.handshake_timeout_ms == 0 {
            return Some("handshake_timeout_ms must be at least 1; without it one client can hold a connection forever".into());
        }
        if self.reload_s == 0 || self.max_handshakes == 0 {
            return Some("reload_s and max_handshakes must be at least 1".into());
        }
        if self.client_handshakes_per_s > 0 && self.client_handshake_burst == 0 {
            return Some("client_handshake_burst must be at least 1, or client_handshakes_per_s 0".into());
        }
        if let Some(problem) = self.acme.as_ref().and_then(AcmeConfig::problem) {
            return Some(format!("acme.{problem}"));
        }
        None
    }

    /// For a handshake, from the connection's first moment.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }
}

/// Versions and ciphers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 and 1.3, with forward secrecy and authenticated encryption only.
    #[default]
    Intermediate,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, and after it those that lead to the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// An OCSP response in DER for it, such as another program refreshes.
    #[serde(default)]
    pub ocsp: Option<PathBuf>,
}

/// TLS of one site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SiteTlsConfig(#[schemars(with = "SiteTlsSchema")] TextOr<SiteTlsTable>);

/// What a site's `tls` may be.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum SiteTlsSchema {
    Mode(TlsMode),
    Table(SiteTlsTable),
}

/// Where a site's certificate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Where a listener speaks TLS: a given certificate, one by ACME, or for local names one of the own authority.
    #[default]
    Auto,
    /// The own authority.
    Internal,
    /// The site is not served over TLS.
    Off,
}

/// TLS of one site, in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SiteTlsTable {
    /// Where the certificate comes from when none is given here.
    pub mode: TlsMode,
    /// The site's certificate: PEM, with those that lead to the authority.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// An OCSP response in DER for it.
    pub ocsp: Option<PathBuf>,
    /// Clients have to show a certificate of one of the authorities in this file, PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether they have to, or may.
    pub client_auth: ClientAuth,
    /// Send clients of plain listeners to HTTPS. Unless told otherwise, a site with TLS does.
    pub redirect: Option<bool>,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Others are turned away in the handshake.
    #[default]
    Required,
    /// Others are served, too; steps can tell them apart.
    Optional,
}

impl SiteTlsConfig {
    /// With these settings.
    pub fn new(table: SiteTlsTable) -> Self {
        Self(TextOr(table))
    }

    /// What is wrong with it, in words.
    pub fn problem(&self) -> Option<&'static str> {
        let table = &self.0.0;
        match (&table.certificate, &table.key) {
            (Some(_), None) => Some("a certificate needs its key: add `key`"),
            (None, Some(_)) => Some("a key needs its certificate: add `certificate`"),
            (None, None) if table.ocsp.is_some() => Some("`ocsp` belongs to a given certificate"),
            _ if table.mode == TlsMode::Off && (table.certificate.is_some() || table.client_ca.is_some()) => {
                Some("the site is not served over TLS with mode \"off\"; remove the mode or the files")
            }
            _ => None,
        }
    }

    /// The site's own certificate.
    pub fn files(&self) -> Option<CertificateFiles> {
        let table = &self.0.0;
        let (certificate, key) = table.certificate.clone().zip(table.key.clone())?;
        Some(CertificateFiles { certificate, key, ocsp: table.ocsp.clone() })
    }

    /// Where its certificate comes from otherwise.
    pub fn mode(&self) -> TlsMode {
        self.0.0.mode
    }

    /// The authorities of its clients.
    pub fn client_ca(&self) -> Option<(&Path, ClientAuth)> {
        Some((self.0.0.client_ca.as_deref()?, self.0.0.client_auth))
    }

    /// Whether plain requests are sent to HTTPS; `None` leaves it to what is usual.
    pub fn redirect(&self) -> Option<bool> {
        self.0.0.redirect
    }
}

impl FromStr for SiteTlsTable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = match text {
            "auto" => TlsMode::Auto,
            "internal" => TlsMode::Internal,
            "off" => TlsMode::Off,
            _ => {
                return Err(format!(
                    "{text:?} is not possible here; there are auto, internal and off, or a table"
                ));
            }
        };
        Ok(Self { mode, ..Self::default() })
    }
}

/// A table that may be written as a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct TextOr<T>(T);

impl<'de, T: FromStr<Err = String> + Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::<D, T, T>(deserializer, "\"auto\", \"internal\", \"off\", or a table").map(Self)
    }
}

/// Either text or a table, with errors that name what is wrong within it.
fn text_or_table<'de, D, V, T>(deserializer: D, expected: &'static str) -> Result<V, D::Error>
where
    D: Deserializer<'de>,
    V: FromStr<Err = String> + From<T>,
    T: Deserialize<'de>,
{
    struct Either<V, T>(&'static str, PhantomData<(V, T)>);

    impl<'de, V: FromStr<Err = String> + From<T>, T: Deserialize<'de>> Visitor<'de> for Either<V, T> {
        type Value = V;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(V::from)
        }
    }

    deserializer.deserialize_any(Either(expected, PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        listen: Vec<ListenerConfig>,
        #[serde(default)]
        tls: SiteTlsConfig,
    }

    fn sample(text: &str) -> Result<Sample, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn listeners_are_text_or_tables() {
        let listen = sample(
            "listen = [\"127.0.0.1:80\", \"unix:/run/s.sock\", { address = \"[::]:443\", tls = true, \
             proxy_protocol = \"optional\", from = [\"10.0.0.0/8\"] }]",
        );
        let listen = listen.unwrap().listen;
        assert_eq!(listen[0], ListenerConfig::from(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert_eq!(listen[1].address, Endpoint::Unix("/run/s.sock".into()));
        assert!(listen[2].tls && listen[2].proxy_protocol == ProxyProtocol::Optional);
        assert_eq!(listen.iter().find_map(ListenerConfig::problem), None);
        for (bad, word) in [
            ("listen = [\"localhost:80\"]", "no address"),
            ("listen = [\"unix:\"]", "path"),
            ("listen = [8080]", "an address such as"),
            ("listen = [{ address = \"1.2.3.4:5\", tsl = true }]", "unknown field `tsl`"),
            ("listen = [{ tls = true }]", "missing field `address`"),
        ] {
            let error = sample(bad).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn headers_are_believed_of_somebody() {
        let problem = |text: &str| sample(text).unwrap().listen[0].problem();
        assert!(
            problem("listen = [{ address = \"1.2.3.4:5\", proxy_protocol = \"required\" }]")
                .unwrap()
                .contains("`from`")
        );
        assert!(problem("listen = [{ address = \"1.2.3.4:5\", from = [\"::1\"] }]").is_some());
        assert!(problem("listen = [{ address = \"1.2.3.4:5\", mode = 0o660 }]").is_some());
        // Who may open the file is its permissions' to say.
        assert_eq!(
            problem("listen = [{ address = \"unix:/s\", proxy_protocol = \"required\", mode = 0o660 }]"),
            None
        );
    }

    #[test]
    fn sites_say_a_word_or_more() {
        let tls = |text: &str| sample(text).unwrap().tls;
        assert_eq!(tls("").mode(), TlsMode::Auto);
        assert_eq!(tls("tls = \"internal\"").mode(), TlsMode::Internal);
        let full = tls(
            "tls = { certificate = \"c\", key = \"k\", client_ca = \"a\", client_auth = \"optional\", redirect = false }",
        );
        assert_eq!(full.files().unwrap().key, Path::new("k"));
        assert_eq!(full.client_ca(), Some((Path::new("a"), ClientAuth::Optional)));
        assert_eq!((full.redirect(), full.problem()), (Some(false), None));
        assert!(tls("tls = { certificate = \"c\" }").problem().unwrap().contains("`key`"));
        assert!(tls("tls = { mode = \"off\", client_ca = \"c\" }").problem().is_some());
        assert!(sample("tls = \"on\"").unwrap_err().contains("internal"));
        assert!(sample("tls = { certficate = \"c\" }").unwrap_err().contains("certficate"));
    }
}
