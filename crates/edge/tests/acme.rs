//! Sites whose certificates come from an authority, `pebble`, which looks for its challenges on the edge's own listeners.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../acme/tests/pebble/authority.rs"]
mod authority;
mod support;

use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, Options, free_address};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use selvedge_acme::{AcmeConfig, ChallengeKind};
use selvedge_telemetry::{Registry, openmetrics};
use support::{Server, runtime, start_sites_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Before a test gives up on what should come.
const PATIENCE: Duration = Duration::from_secs(90);

const SITES: &str = r#"
    [[sites]]
    hosts = ["a.selvedge.example"]
    [[sites.routes]]
    path = "/*"
    respond = { body = "the site" }
"#;

struct World {
    server: Server,
    authority: Authority,
    _dir: tempfile::TempDir,
}

fn start(kind: ChallengeKind) -> World {
    let dir = tempfile::tempdir().unwrap();
    let (http, https) = (free_address(), free_address());
    let authority = Authority::start((http.port(), https.port()), Options::default());
    let server = start_sites_with(SITES, |config| {
        let https = format!("{{ address = \"{https}\", tls = true }}");
        let listen = format!("listen = [\"{http}\", {https}]");
        config.listen = toml::from_str::<selvedge_edge::EdgeConfig>(&listen).unwrap().listen;
        config.tls.data = dir.path().join("authority");
        config.tls.acme = Some(AcmeConfig {
            agree: true,
            issuers: vec![authority.issuer()],
            challenges: vec![kind],
            data: dir.path().join("acme"),
            ..AcmeConfig::default()
        });
    });
    World { server, authority, _dir: dir }
}

impl World {
    fn wait_for_certificate(&self) {
        let acme = self.server.edge.tls().unwrap().acme().unwrap();
        let mut changes = acme.changes();
        let waited = runtime().block_on(async {
            let issued = async {
                while acme.certificate("a.selvedge.example").is_none() {
                    changes.changed().await.unwrap();
                }
            };
            tokio::time::timeout(PATIENCE, issued).await
        });
        assert!(waited.is_ok(), "no certificate: {:#?}", acme.status());
    }

    /// What a client that trusts the authority only gets over HTTPS.
    fn get(&self) -> String {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&self.authority.root()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        runtime().block_on(async {
            let stream = TcpStream::connect(self.server.edge.addresses()[1]).await.unwrap();
            let name = ServerName::try_from("a.selvedge.example").unwrap();
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            let request = "GET / HTTP/1.1\r\nhost: a.selvedge.example\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // Its end is not what is tested here.
            while !answer.ends_with(b"the site") && stream.read_buf(&mut answer).await.unwrap() > 0 {}
            String::from_utf8(answer).unwrap()
        })
    }
}

#[test]
fn by_http_on_the_plain_listener() {
    let world = start(ChallengeKind::Http01);
    world.wait_for_certificate();
    assert!(world.get().ends_with("the site"));

    // Tokens that nobody waits for are the site's business; everything else goes to HTTPS now.
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a.selvedge.example\r\n\r\n");
        world.server.send(request)
    };
    assert_eq!(get("/.well-known/acme-challenge/unknown").text(), "the site");
    assert_eq!(get("/").status, 308);

    let mut registry = Registry::default();
    world.server.edge.register(&mut registry);
    let text = openmetrics(&registry).unwrap();
    assert!(
        text.contains("selvedge_certificate_expiry_timestamp_seconds{name=\"a.selvedge.example\"} "),
        "{text}"
    );
    assert!(text.contains("outcome=\"issued\"} 1"), "{text}");
}

#[test]
fn by_tls_on_the_other() {
    let world = start(ChallengeKind::TlsAlpn01);
    world.wait_for_certificate();
    assert!(world.get().ends_with("the site"));
}
