//! The own authority: `selvedge ca` and HTTPS by what it issues, as people use them; and what connections cost that only wait.
#![allow(clippy::print_stderr, reason = "a figure that people want to see")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::{Selvedge, selvedge};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const SETTINGS: &str = "[edge]\nlisten = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", tls = true }]\n\
    [[sites]]\nhosts = [\"a.localhost\"]\n[[sites.routes]]\nrespond = { body = \"hello over {scheme}\" }\n";

#[test]
fn the_authority_is_made_once_and_signs_what_the_server_shows() {
    let selvedge = Selvedge::listening(SETTINGS);
    let first = selvedge.json(&["ca"]);
    let path = first["path"].as_str().unwrap();
    assert_eq!(first["sha256"], selvedge.json(&["ca"])["sha256"]);
    assert!(first["days"].as_u64().unwrap() > 3600 && first["installed"].is_null());
    let printed = selvedge.run(&["ca", "--print"]);
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap().trim(),
        std::fs::read_to_string(path).unwrap().trim()
    );
    let key = std::path::Path::new(path).with_file_name("root.key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    // It issues for nobody else's names, and not for authorities.
    let port = selvedge.https.unwrap().port();
    let curl = |host: &str| {
        let (resolve, url) = (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}/"));
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "30",
                "--cacert",
                path,
                "--resolve",
                &resolve,
                &url,
            ])
            .output()
            .expect("curl is installed");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(curl("a.localhost"), "hello over https");
    assert!(curl("example.com").contains("curl: (35)"), "{}", curl("example.com"));
    let shown = Command::new("sh")
        .args(["-c", &format!("openssl s_client -connect 127.0.0.1:{port} -servername a.localhost </dev/null 2>/dev/null | openssl x509 -noout -text")])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("DNS:a.localhost") && !shown.contains("CA:TRUE"), "{shown}");
}

/// In a trust store of its own, where the machine lets us have one: nothing stays behind.
#[test]
fn a_machine_that_trusts_it_needs_no_more() {
    let selvedge = Selvedge::listening(SETTINGS);
    let dir = tempfile::tempdir().unwrap();
    let script = "set -e\nmount -t tmpfs none /usr/local/share/ca-certificates\ncp -a /etc/ssl/certs \"$1/certs\"\n\
        mount --bind \"$1/certs\" /etc/ssl/certs\n\
        curl --silent --resolve \"a.localhost:$4:127.0.0.1\" \"https://a.localhost:$4/\" && exit 9\n\
        \"$2\" ca --install --data \"$3\" >&2\n\
        curl --silent --show-error --resolve \"a.localhost:$4:127.0.0.1\" \"https://a.localhost:$4/\"";
    let may = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return assert!(!rustix::process::geteuid().is_root(), "root has no mount namespaces here");
    }
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(env!("CARGO_BIN_EXE_selvedge"))
        .arg(selvedge.data())
        .arg(selvedge.https.unwrap().port().to_string())
        .output()
        .unwrap();
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said == "hello over https", "{said} {error}");
    assert!(error.contains("update-ca-certificates was run"), "{error}");
}

/// A connection that shook hands, asked once and waits: what it holds in the server.
#[test]
fn idle_connections_in_tls_take_little_memory() {
    let server = Selvedge::listening(SETTINGS);
    let pem = selvedge().args(["ca", "--print", "--data"]).arg(server.data()).output().unwrap().stdout;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let begin = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| {
                let session =
                    ClientConnection::new(config.clone(), ServerName::try_from("a.localhost").unwrap());
                let stream = TcpStream::connect(server.https.unwrap()).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut stream = StreamOwned::new(session.unwrap(), stream);
                stream.write_all(b"GET / HTTP/1.1\r\nhost: a.localhost\r\n\r\n").unwrap();
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                stream
            })
            .collect()
    };
    let memory = || -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", server.pid())).unwrap();
        let line = maps.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    let first = begin(100);
    let before = memory();
    let count = 2000;
    let idle = begin(count);
    let each = memory().saturating_sub(before) / count;
    eprintln!("{each} bytes for each of {count} idle connections in TLS");
    assert!(each < 24 << 10, "{each} bytes for each of {count} connections");
    drop((first, idle));
}
