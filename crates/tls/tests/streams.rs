//! Sessions with clients of rustls over real sockets.
#![allow(missing_docs)]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore};
use selvedge_tls::config::{Profile, SiteTlsConfig, SiteTlsTable, TlsConfig};
use selvedge_tls::{
    Authority, Buffers, Certificate, HandshakeError, Session, Tls, TlsSite, TlsStream, handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

struct World {
    directory: tempfile::TempDir,
    tls: Arc<Tls>,
    listener: TcpListener,
    address: SocketAddr,
    buffers: Rc<Buffers>,
}

impl World {
    async fn new(sites: &[TlsSite]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = TlsConfig { data: directory.path().into(), ..TlsConfig::default() };
        let tls = Arc::new(Tls::new(&config, sites).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { directory, tls, listener, address, buffers: Rc::default() }
    }

    async fn accept(&self) -> Result<(TlsStream<TcpStream>, Session), HandshakeError> {
        let (stream, _) = self.listener.accept().await.unwrap();
        handshake(stream, Vec::new(), &self.tls, self.buffers.clone()).await
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let (_, pem) = Authority::root_in(self.directory.path()).unwrap().unwrap();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Profile::Modern.provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    async fn connect(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<ClientStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(config.clone())
            .connect(name, TcpStream::connect(self.address).await.unwrap())
            .await
    }
}

fn local<F: Future<Output = ()> + 'static>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn bytes_go_both_ways_whole() {
    local(async {
        let world = World::new(&[]).await;
        let config = Arc::new(world.client());
        let client = async {
            let mut stream = world.connect(&config, "a.localhost").await.unwrap();
            let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
            let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
            let (mut read, mut write) = tokio::io::split(&mut stream);
            let writing = async {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let reading = async {
                let mut got = Vec::new();
                read.read_to_end(&mut got).await.unwrap();
                got
            };
            let ((), got) = tokio::join!(writing, reading);
            assert!(got == sent, "{} of {}", got.len(), sent.len());
        };
        let server = async {
            let (stream, session) = world.accept().await.unwrap();
            assert_eq!((session.version, session.http2), ("TLSv1.3", true));
            assert_eq!(session.name.as_deref(), Some("a.localhost"));
            assert!(!session.policy.asks() && session.client.is_none());
            // In pieces of odd sizes, while more arrives than is read.
            let (mut read, mut write) = tokio::io::split(stream);
            let (send, mut receive) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
            let reading = async move {
                let mut room = vec![0; 7001];
                loop {
                    let count = read.read(&mut room).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    send.send(room[..count].to_vec()).await.unwrap();
                }
            };
            let writing = async move {
                while let Some(bytes) = receive.recv().await {
                    write.write_all(&bytes).await.unwrap();
                }
                write.shutdown().await.unwrap();
            };
            tokio::join!(reading, writing);
        };
        tokio::join!(client, server);
    });
}

#[test]
fn ciphers_suit_both_and_the_end_is_said_with_the_last_bytes() {
    local(async {
        let world = World::new(&[]).await;
        for (order, expected) in [
            ([suite::TLS13_AES_256_GCM_SHA384, suite::TLS13_AES_128_GCM_SHA256], "TLS13_AES_128_GCM_SHA256"),
            (
                [suite::TLS13_CHACHA20_POLY1305_SHA256, suite::TLS13_AES_128_GCM_SHA256],
                "TLS13_CHACHA20_POLY1305_SHA256",
            ),
        ] {
            let provider =
                CryptoProvider { cipher_suites: order.into(), ..Profile::Modern.provider().as_ref().clone() };
            let config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(world.roots())
                .with_no_client_auth();
            let client = async {
                let mut stream = world.connect(&Arc::new(config), "a.localhost").await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                let mut got = Vec::new();
                // Fails where the socket ends before TLS does.
                stream.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, b"good bye");
            };
            let server = async {
                let (mut stream, session) = world.accept().await.unwrap();
                assert_eq!(session.cipher, expected);
                let mut room = [0; 5];
                stream.read_exact(&mut room).await.unwrap();
                stream.ends_after(8);
                stream.write_all(b"good bye").await.unwrap();
            };
            tokio::join!(client, server);
        }
    });
}

#[test]
fn sessions_are_resumed_without_memory_of_them() {
    local(async {
        let world = World::new(&[]).await;
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let builder = ClientConfig::builder_with_protocol_versions(versions);
            let config = builder.with_root_certificates(world.roots()).with_no_client_auth();
            let config = Arc::new(config);
            for (name, resumed) in [("a.localhost", false), ("a.localhost", true), ("b.localhost", false)] {
                let client = async {
                    let mut stream = world.connect(&config, name).await.unwrap();
                    let mut byte = [0; 1];
                    stream.read_exact(&mut byte).await.unwrap();
                    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
                };
                let server = async {
                    let (mut stream, session) = world.accept().await.unwrap();
                    stream.write_all(b"x").await.unwrap();
                    stream.flush().await.unwrap();
                    (session.resumed, session.version, stream)
                };
                let (of_client, (of_server, version, _)) = tokio::join!(client, server);
                assert_eq!((of_client, of_server), (resumed, resumed), "{name} {version}");
            }
        }
    });
}

#[test]
fn who_is_refused_is_told_why() {
    local(async {
        let world = World::new(&[]).await;
        let config = Arc::new(world.client());
        let (client, server) = tokio::join!(world.connect(&config, "example.com"), world.accept());
        assert!(client.unwrap_err().to_string().contains("UnrecognisedName"));
        assert!(matches!(server.unwrap_err(), HandshakeError::UnknownName(name) if name == "example.com"));

        let plain = async {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, server) = tokio::join!(plain, world.accept());
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https_expected"), "{answer}");
        assert!(matches!(server.unwrap_err(), HandshakeError::NotTls));

        // No cipher in common: the alert is rustls' own.
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::MLKEM768];
        let picky = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let picky = Arc::new(picky.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        let (client, server) = tokio::join!(world.connect(&picky, "a.localhost"), world.accept());
        assert!(client.unwrap_err().to_string().contains("HandshakeFailure"));
        assert!(server.is_err());
    });
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    local(async {
        let world = World::new(&[]).await;
        fastrand::seed(7);
        for n in 0..200_usize {
            let bytes: Vec<u8> = match n % 4 {
                0 => (0..n).map(|_| fastrand::u8(..)).collect(),
                1 => [&[22, 3, 1, 0, 200, 1][..], &vec![0; n]].concat(),
                2 => [22, 3, 1, 0, 1, 1].repeat(n * 60),
                _ => [&[22, 3, 3, 0x40, 0][..], &vec![1; 20_000]].concat(),
            };
            let client = async {
                let mut stream = TcpStream::connect(world.address).await.unwrap();
                // Refused while it sends, for all that matters.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            };
            let ((), server) = tokio::join!(client, world.accept());
            assert!(server.is_err());
        }
    });
}

/// A certificate for clients, and the file of its authority.
fn client_authority(
    directory: &std::path::Path,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    std::fs::write(directory.join(name), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    (vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

#[test]
fn clients_show_certificates_where_they_must() {
    local(async {
        let files = tempfile::tempdir().unwrap();
        let alice = client_authority(files.path(), "ca.pem");
        let mallory = client_authority(files.path(), "other.pem");
        let site = |host: &str, ca: Option<&str>| TlsSite {
            hosts: vec![host.into()],
            tls: SiteTlsConfig::new(SiteTlsTable {
                client_ca: ca.map(|ca| files.path().join(ca)),
                ..SiteTlsTable::default()
            }),
        };
        let sites = [site("secret.localhost", Some("ca.pem")), site("open.localhost", None)];
        let world = World::new(&sites).await;
        let config = |shown: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>| {
            let mut config = world.client();
            if let Some((chain, key)) = shown {
                let builder = ClientConfig::builder().with_root_certificates(world.roots());
                config = builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap();
            }
            Arc::new(config)
        };
        let exchange = async |config: &Arc<ClientConfig>, name: &str| {
            let client = async {
                let mut stream = world.connect(config, name).await?;
                // In TLS 1.3 clients learn of a refusal with the first byte only.
                stream.read_u8().await
            };
            let server = async {
                let (mut stream, session) = world.accept().await?;
                stream.write_all(b"x").await?;
                stream.shutdown().await?;
                Ok::<_, HandshakeError>(session)
            };
            tokio::join!(client, server)
        };
        let with_alice = config(Some(&alice));
        let (client, server) = exchange(&with_alice, "secret.localhost").await;
        client.unwrap();
        let session = server.unwrap();
        let shown = session.client.unwrap();
        assert_eq!((shown.subject.as_str(), shown.fingerprint.len()), ("CN=alice", 64));
        assert!(session.policy.asks());
        assert!(!session.policy.is_same(&world.tls.policy(Some("open.localhost"))));
        assert!(session.policy.is_same(&world.tls.policy(Some("SECRET.localhost."))));
        // Resumed, the client is still known.
        let (_, server) = exchange(&with_alice, "secret.localhost").await;
        let session = server.unwrap();
        assert!(session.resumed && session.client.unwrap().subject == "CN=alice");
        for refused in [config(None), config(Some(&mallory))] {
            let (client, server) = exchange(&refused, "secret.localhost").await;
            let told = client.unwrap_err().to_string();
            assert!(told.contains("alert"), "{told}");
            assert!(server.is_err());
            exchange(&refused, "open.localhost").await.1.unwrap();
        }
        // Another authority for the same host: sessions of the former one are of no use.
        let config = TlsConfig { data: world.directory.path().into(), ..TlsConfig::default() };
        world.tls.update(&config, &[site("secret.localhost", Some("other.pem"))]).unwrap();
        let (client, server) = exchange(&with_alice, "secret.localhost").await;
        assert!(client.is_err() && server.is_err());
    });
}

#[test]
fn challenges_are_answered_and_nothing_more() {
    local(async {
        let world = World::new(&[]).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["acme.example".to_owned()]).unwrap();
        params.custom_extensions.push(rcgen::CustomExtension::new_acme_identifier(&[7; 32]));
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certificate = Certificate::unchecked(vec![certificate], &der).unwrap();
        let certificates = world.tls.certificates();
        certificates.put_challenge("acme.example", Arc::new(certificate));
        let mut config = world.client();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let config = Arc::new(config);
        // The client of this test does not trust it; that it got it is in its error.
        let (client, server) = tokio::join!(world.connect(&config, "acme.example"), world.accept());
        let error = client.unwrap_err().to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
        assert!(server.is_err());
        certificates.remove_challenge("acme.example");
        let (client, _) = tokio::join!(world.connect(&config, "acme.example"), world.accept());
        assert!(client.unwrap_err().to_string().contains("UnrecognisedName"));
    });
}
