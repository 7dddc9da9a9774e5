//! HTTPS with clients of rustls and with other people's: curl, OpenSSL.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use selvedge_edge::EdgeConfig;
use support::{Server, sites, start_with};

/// An authority of a test, and a directory for what it issues.
struct World {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (issuer, root) = authority("authority of a test");
        std::fs::write(directory.path().join("ca.pem"), root.1).unwrap();
        Self { directory, issuer, root: root.0 }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Issues a certificate and writes it to `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, hosts: &[&str]) {
        let (pem, key) = issue(&self.issuer, name, hosts);
        std::fs::write(self.path(&format!("{name}.key.part")), key).unwrap();
        std::fs::write(self.path(&format!("{name}.pem.part")), pem).unwrap();
        for ending in ["key", "pem"] {
            let path = self.path(&format!("{name}.{ending}"));
            std::fs::rename(format!("{path}.part"), path).unwrap();
        }
    }

    fn files(&self, name: &str) -> String {
        format!(
            "certificate = {:?}, key = {:?}",
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key"))
        )
    }

    /// A server with TLS on its first address and without on its second.
    fn start(&self, settings: &str) -> Server {
        let (mut config, sites) = sites(settings).unwrap_or_else(|problems| panic!("{problems:?}"));
        config.listen = vec![listener("tls = true"), "127.0.0.1:0".parse().unwrap()];
        config.tls.data = self.directory.path().join("own");
        start_with(config, sites).unwrap()
    }

    fn client(
        &self,
        server: &Server,
        name: &str,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        connect(&self.trusting(None), server.address, name)
    }

    fn trusting(
        &self,
        shown: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        if let Ok(pem) = std::fs::read(self.path("own/root.pem")) {
            roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        Arc::new(match shown {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, (CertificateDer<'static>, String)) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    (Issuer::new(params, key), (root.der().clone(), root.pem()))
}

fn issue(issuer: &Issuer<'static, KeyPair>, name: &str, hosts: &[&str]) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn listener(more: &str) -> selvedge_edge::tls_config::ListenerConfig {
    let text = format!("listen = [{{ address = \"127.0.0.1:0\", {more} }}]");
    toml::from_str::<EdgeConfig>(&text).unwrap().listen.remove(0)
}

fn connect(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    name: &str,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let session =
        ClientConnection::new(config.clone(), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Asks on a connection and reads to its end.
fn ask(stream: &mut (impl Read + Write), host: &str, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

fn plain(server: &Server, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server.edge.addresses()[1]).unwrap();
    ask(&mut stream, host, path).unwrap()
}

const SITES: &str = "
    [[sites.routes]]
    respond = { body = \"{host} {scheme}\" }
";

#[test]
fn names_lead_to_certificates() {
    let world = World::new();
    world.issue("exact", &["a.example"]);
    world.issue("wild", &["*.shop.example", "shop.example"]);
    let server = world.start(&format!(
        "[edge.tls]\ncertificates = [{{ {} }}]\n[[sites]]\nhosts = [\"a.example\"]\ntls = {{ {} }}\n{SITES}\n\
         [[sites]]\nhosts = [\"*\"]\n{SITES}",
        world.files("wild"),
        world.files("exact"),
    ));
    let shown = |name: &str| {
        let mut stream = world.client(&server, name)?;
        let answer = ask(&mut stream, name, "/")?;
        assert!(answer.contains(&format!("{name} https")), "{answer}");
        Ok::<_, std::io::Error>(stream.conn.peer_certificates().unwrap()[0].to_vec())
    };
    let exact = CertificateDer::from_pem_file(world.path("exact.pem")).unwrap();
    let wild = CertificateDer::from_pem_file(world.path("wild.pem")).unwrap();
    assert_eq!(shown("a.example").unwrap(), exact.to_vec());
    assert_eq!(shown("b.shop.example").unwrap(), wild.to_vec());
    // Of the own authority, made when it is asked for.
    assert!(shown("anything.localhost").is_ok());
    let unknown = world.client(&server, "c.b.shop.example").unwrap_err().to_string();
    assert!(unknown.contains("UnrecognisedName"), "{unknown}");
    // Plain HTTP where HTTPS is spoken.
    let mut stream = TcpStream::connect(server.address).unwrap();
    assert!(ask(&mut stream, "a.example", "/").unwrap().contains("https_expected"));
    assert!(
        server
            .metrics_text()
            .contains("selvedge_tls_handshakes_total{result=\"full\",version=\"TLSv1.3\"} 3")
    );
}

#[test]
fn bad_files_are_refused_in_words() {
    let world = World::new();
    world.issue("one", &["a.example"]);
    world.issue("two", &["a.example"]);
    let mixed = format!("certificate = {:?}, key = {:?}", world.path("one.pem"), world.path("two.key"));
    for (tls, word) in [
        (mixed, "does not belong"),
        (world.files("one"), "b.example"),
        (format!("certificate = {:?}, key = \"/none\"", world.path("one.pem")), "/none"),
        ("client_ca = \"/none\"".into(), "/none"),
    ] {
        let text = format!("[[sites]]\nhosts = [\"b.example\"]\ntls = {{ {tls} }}\n{SITES}");
        let (mut config, sites) = sites(&text).unwrap();
        config.listen = vec![listener("tls = true")];
        let error = start_with(config, sites).err().unwrap().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn plain_requests_are_sent_to_https() {
    let world = World::new();
    let server = world.start(&format!(
        "[[sites]]\nhosts = [\"a.localhost\"]\n{SITES}\n[[sites]]\nhosts = [\"b.localhost\"]\ntls = {{ redirect = false }}\n{SITES}\n\
         [[sites]]\nhosts = [\"c.localhost\"]\ntls = \"off\"\n{SITES}\n[[sites]]\nhosts = [\"public.example\"]\n{SITES}",
    ));
    let answer = plain(&server, "a.localhost:1234", "/x?y=1");
    let location = format!("location: https://a.localhost:{}/x?y=1\r\n", server.address.port());
    assert!(answer.starts_with("HTTP/1.1 308") && answer.contains(&location), "{answer}");
    // Asked not to, without TLS, without a certificate, and where a challenge may be answered.
    for (host, path) in [
        ("b.localhost", "/"),
        ("c.localhost", "/"),
        ("public.example", "/"),
        ("a.localhost", "/.well-known/acme-challenge/x"),
    ] {
        let answer = plain(&server, host, path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("{host} http")), "{answer}");
    }
    assert!(world.client(&server, "c.localhost").unwrap_err().to_string().contains("UnrecognisedName"));
}

#[test]
fn sites_ask_clients_for_certificates() {
    let world = World::new();
    let (alices, root) = authority("of clients");
    std::fs::write(world.path("clients.pem"), root.1).unwrap();
    let server = world.start(&format!(
        "[[sites]]\nhosts = [\"secret.localhost\"]\ntls = {{ client_ca = {ca:?}, redirect = false }}\n{SITES}\n\
         [[sites]]\nhosts = [\"maybe.localhost\"]\ntls = {{ client_ca = {ca:?}, client_auth = \"optional\" }}\n{SITES}\n\
         [[sites]]\nhosts = [\"open.localhost\"]\n{SITES}",
        ca = world.path("clients.pem"),
    ));
    let (pem, key) = issue(&alices, "alice", &["alice"]);
    let alice = || {
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        world.trusting(Some((chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())))
    };
    let asked = |config: &Arc<ClientConfig>, name: &str, host: &str| {
        ask(&mut connect(config, server.address, name)?, host, "/")
    };
    let (alice, nobody) = (alice(), world.trusting(None));
    assert!(asked(&alice, "secret.localhost", "secret.localhost").unwrap().contains("200 OK"));
    assert!(
        asked(&nobody, "secret.localhost", "secret.localhost").unwrap_err().to_string().contains("alert")
    );
    assert!(asked(&nobody, "maybe.localhost", "maybe.localhost").unwrap().contains("200 OK"));
    assert!(asked(&nobody, "open.localhost", "open.localhost").unwrap().contains("200 OK"));
    // The handshake for one host, the request for another.
    for (name, host) in [
        ("open.localhost", "secret.localhost"),
        ("maybe.localhost", "secret.localhost"),
        ("open.localhost", "maybe.localhost"),
    ] {
        let answer = asked(&nobody, name, host).unwrap();
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("misdirected_request"), "{answer}");
    }
    assert!(asked(&alice, "secret.localhost", "open.localhost").unwrap().starts_with("HTTP/1.1 421"));
    assert!(plain(&server, "secret.localhost", "/").starts_with("HTTP/1.1 421"));
    assert!(
        server.metrics_text().contains("selvedge_tls_handshakes_total{result=\"failed\",version=\"\"} 1")
    );
}

#[test]
fn authorities_of_clients_change_and_certificates_are_told_of() {
    let world = World::new();
    let (first, first_root) = authority("first");
    let (second, second_root) = authority("second");
    std::fs::write(world.path("clients.pem"), &first_root.1).unwrap();
    let settings = format!(
        "[edge.tls]\nreload_s = 1\n[[sites]]\nhosts = [\"a.localhost\"]\ntls = {{ client_ca = {:?}, client_auth = \"optional\" }}\n\
         use = [\"tell\"]\n[middleware.tell.headers.request]\nx-client = \"{{client_cert.subject}}\"\n[[sites.routes]]\n\
         respond = {{ body = \"{{header.x-client}}|{{client_cert.issuer}}|{{client_cert.fingerprint}}|{{client_cert.serial}}|{{tls.version}} {{tls.name}}\" }}\n",
        world.path("clients.pem")
    );
    let server = world.start(&settings);
    let client = |issuer: &Issuer<'static, KeyPair>, name: &str| {
        let (pem, key) = issue(issuer, name, &[name]);
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        (world.trusting(Some((chain.clone(), key))), chain[0].clone())
    };
    let asked = |config: &Arc<ClientConfig>| {
        let mut stream = connect(config, server.address, "a.localhost")?;
        let head = "GET / HTTP/1.1\r\nhost: a.localhost\r\nx-client: CN=root\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        // To the end that the server says: without its word this would be an error.
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let ((alice, certificate), (bob, _)) = (client(&first, "alice"), client(&second, "bob"));
    let answer = asked(&alice).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(answer.contains(&format!("CN=alice|CN=first|{digest}|")), "{answer}");
    assert!(answer.ends_with("|TLSv1.3 a.localhost"), "{answer}");
    // Who shows none is nobody, whatever the request says.
    assert!(asked(&world.trusting(None)).unwrap().contains("\r\n\r\n||||TLSv1.3"));
    assert!(asked(&bob).is_err());
    // What cannot be read changes nothing; then the one is gone and the other one believed, without new settings.
    let mut open = connect(&alice, server.address, "a.localhost").unwrap();
    std::fs::write(world.path("clients.pem"), "nothing").unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(asked(&alice).is_ok() && asked(&bob).is_err());
    std::fs::write(world.path("clients.pem"), &second_root.1).unwrap();
    for _ in 0..500 {
        if asked(&bob).is_ok() {
            assert!(asked(&alice).is_err());
            let answer = ask(&mut open, "a.localhost", "/").unwrap();
            assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the new authority is never believed");
}

#[test]
fn certificates_change_under_load() {
    let world = World::new();
    world.issue("site", &["a.example"]);
    let mut config =
        format!("[[sites]]\nhosts = [\"a.example\"]\ntls = {{ {} }}\n{SITES}", world.files("site"));
    config.insert_str(0, "[edge.tls]\nreload_s = 1\n");
    let server = world.start(&config);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let shown = || world.client(&server, "a.example").unwrap().conn.peer_certificates().unwrap()[0].to_vec();
    let wait_for = |name: &str| {
        let wanted = CertificateDer::from_pem_file(world.path(name)).unwrap().to_vec();
        while shown() != wanted {
            std::thread::sleep(Duration::from_millis(50));
        }
        answered.load(Ordering::Relaxed)
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = world.client(&server, "a.example").unwrap();
                    let answer = ask(&mut stream, "a.example", "/").unwrap();
                    assert!(answer.ends_with("a.example https"), "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let first = shown();
        world.issue("site", &["a.example"]);
        wait_for("site.pem");
        assert_ne!(shown(), first);
        // What is broken is not taken.
        let good = shown();
        let log = std::fs::read(world.path("site.key")).unwrap();
        std::fs::write(world.path("site.key"), "no key").unwrap();
        world.issue("other", &["other.example"]);
        assert_eq!(shown(), good);
        std::fs::write(world.path("site.key"), log).unwrap();
        world.issue("site", &["a.example"]);
        wait_for("site.pem");
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[test]
fn half_open_handshakes_are_cut() {
    let world = World::new();
    let (mut config, sites) = sites("").unwrap();
    config.listen = vec![listener("tls = true")];
    config.tls.data = world.directory.path().join("own");
    config.tls.handshake_timeout_ms = 200;
    config.tls.max_handshakes = 20;
    let server = start_with(config, sites).unwrap();
    let waiting: Vec<TcpStream> = (0..60)
        .map(|n| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            // Nothing, or the beginning of a first message.
            let _ = stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252][..n % 10]);
            stream
        })
        .collect();
    for mut stream in waiting {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(support::is_closed(&mut stream));
    }
    assert!(server.metrics.sum(|counters| &counters.shed) >= 1);
    let text = server.metrics_text();
    assert!(!text.contains("cut_total{reason=\"handshake_timeout\"} 0"), "{text}");
    let mut stream = world.client(&server, "test.localhost").unwrap();
    assert!(ask(&mut stream, "test.localhost", "/").unwrap().contains("hello from test"));
}

#[test]
fn one_client_cannot_have_all_handshakes() {
    let world = World::new();
    let (mut config, sites) = sites("").unwrap();
    config.listen = vec![listener("tls = true, proxy_protocol = \"required\", from = [\"127.0.0.0/8\"]")];
    config.tls.data = world.directory.path().join("own");
    config.tls.client_handshakes_per_s = 1;
    config.tls.client_handshake_burst = 3;
    config.max_client_connections = 2;
    let server = start_with(config, sites).unwrap();
    let trusting = world.trusting(None);
    let shake = |client: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "PROXY TCP4 {client} 192.0.2.200 1 2\r\n").unwrap();
        let name = ServerName::try_from("test.localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(trusting.clone(), name).unwrap(), stream);
        ask(&mut stream, "test.localhost", "/")
    };
    let mut open = Vec::new();
    for allowed in [true, true, false] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.9 192.0.2.200 1 2\r\n").unwrap();
        let name = ServerName::try_from("test.localhost").unwrap();
        let mut session = ClientConnection::new(trusting.clone(), name).unwrap();
        let shaken = session.complete_io(&mut stream);
        assert_eq!(shaken.is_ok() && !session.is_handshaking(), allowed, "{shaken:?}");
        open.push((stream, session));
    }
    drop(open);
    assert!((0..40).any(|_| shake("192.0.2.1").is_err()), "a flood is stopped");
}

#[test]
fn other_peoples_clients_are_content() {
    let world = World::new();
    world.issue("site", &["a.example"]);
    let server = world
        .start(&format!("[[sites]]\nhosts = [\"a.example\"]\ntls = {{ {} }}\n{SITES}", world.files("site")));
    let port = server.address.port();
    let curl = |more: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--cacert", &world.path("ca.pem")])
            .args(["--resolve", &format!("a.example:{port}:127.0.0.1")])
            .args([
                "--write-out",
                " %{http_version} %{ssl_verify_result}",
                &format!("https://a.example:{port}/"),
            ])
            .args(more)
            .output()
            .expect("curl is installed");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(curl(&["--http2"]).0, "a.example https 2 0");
    assert_eq!(curl(&["--http1.1"]).0, "a.example https 1.1 0");
    assert_eq!(curl(&["--http1.1", "--tls-max", "1.2"]).0, "a.example https 1.1 0");
    assert!(curl(&["--tls-max", "1.1"]).1.contains("curl:"));
    let openssl = |more: &[&str]| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile", &world.path("ca.pem")])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        // Kept open until the answer is there.
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let name = ["-servername", "a.example", "-verify_hostname", "a.example"];
    let answer = openssl(&[&name[..], &["-ign_eof"]].concat());
    assert!(answer.contains("Verify return code: 0 (ok)") && answer.contains("a.example https"), "{answer}");
    let session = world.path("session");
    for (more, said) in
        [(["-sess_out", &session], "New, TLSv1.3"), (["-sess_in", &session], "Reused, TLSv1.3")]
    {
        let answer = openssl(&[&name[..], &["-ign_eof"], &more].concat());
        assert!(answer.contains(said), "{answer}");
    }
    let answer = openssl(&["-servername", "nobody.example", "-ign_eof"]);
    assert!(answer.contains("unrecognized name"), "{answer}");
    assert!(Path::new(&session).exists());
}

#[test]
fn settings_of_tls_change_while_it_runs() {
    let world = World::new();
    world.issue("a", &["a.example"]);
    let text = format!(
        "[[sites]]\nhosts = [\"a.example\"]\ntls = {{ {}, redirect = false }}\n{SITES}",
        world.files("a")
    );
    let server = world.start(&text);
    let reload = |change: &dyn Fn(&mut EdgeConfig)| {
        let mut config = (*server.edge.control().config()).clone();
        change(&mut config);
        let sites = server.sites.borrow().clone();
        server.edge.control().reload(&config, &sites, &server.log, || {})
    };
    let old_version = || {
        let mut roots = RootCertStore::empty();
        roots.add(world.root.clone()).unwrap();
        let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12]);
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        connect(&config, server.address, "a.example")
    };
    let mut before = old_version().unwrap();
    reload(&|config| config.tls.profile = selvedge_edge::tls_config::Profile::Modern).unwrap();
    assert!(old_version().is_err());
    // What was agreed upon before goes on.
    assert!(ask(&mut before, "a.example", "/").unwrap().ends_with("a.example https"));
    let mut new = world.client(&server, "a.example").unwrap();
    assert!(ask(&mut new, "a.example", "/").unwrap().ends_with("a.example https"));
    // A listener that speaks something else from now on, on the same sockets.
    assert!(plain(&server, "a.example", "/").ends_with("a.example http"));
    let addresses = server.edge.addresses();
    reload(&|config| config.listen.swap(0, 1)).unwrap();
    assert_eq!(addresses, server.edge.addresses());
    let mut stream = connect(&world.trusting(None), addresses[1], "a.example").unwrap();
    assert!(ask(&mut stream, "a.example", "/").unwrap().ends_with("a.example https"));
    // Certificates that cannot be used change nothing.
    std::fs::remove_file(world.path("a.pem")).unwrap();
    let error = reload(&|config| config.tls.profile = Default::default()).unwrap_err().to_string();
    assert!(error.contains("a.pem"), "{error}");
    assert!(connect(&world.trusting(None), addresses[1], "a.example").is_ok());
}
