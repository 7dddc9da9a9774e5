//! Unix sockets, and proxies that say whose connections they pass on.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use selvedge_edge::EdgeConfig;
use selvedge_edge::tls_config::ListenerConfig;
use support::{Server, is_closed, read_reply, sites, start_with};

const SITE: &str =
    "[[sites]]\nhosts = [\"*\"]\n[[sites.routes]]\nrespond = { body = \"{client} {scheme}\" }\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn listeners(text: &str) -> Vec<ListenerConfig> {
    toml::from_str::<EdgeConfig>(&format!("listen = [{text}]")).unwrap().listen
}

fn start(listen: &str) -> Server {
    let (mut config, sites) = sites(SITE).unwrap();
    config.listen = listeners(&format!("\"127.0.0.1:0\", {listen}"));
    let mut server = start_with(config, sites).unwrap();
    server.address = *server.edge.addresses().last().unwrap();
    server
}

fn v2(command: u8, address: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 17]);
    bytes.extend(address);
    bytes.extend([192, 0, 2, 200, 0, 7, 0, 80, 4, 0, 2, 0, 0]);
    bytes
}

#[test]
fn proxies_say_whose_connections_they_pass_on() {
    let required =
        start("{ address = \"127.0.0.1:0\", proxy_protocol = \"required\", from = [\"127.0.0.1\"] }");
    let optional =
        start("{ address = \"127.0.0.1:0\", proxy_protocol = \"optional\", from = [\"127.0.0.0/8\"] }");
    let text = |address: &str| format!("PROXY {address} 1 2\r\n").into_bytes();
    for server in [&required, &optional] {
        for (header, client) in [
            (text("TCP4 192.0.2.7 192.0.2.200"), "192.0.2.7"),
            (text("TCP6 2001:db8::7 2001:db8::1"), "2001:db8::7"),
            (text("TCP6 ::ffff:192.0.2.7 ::1"), "192.0.2.7"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
            (v2(1, [192, 0, 2, 8]), "192.0.2.8"),
            (v2(0, [192, 0, 2, 8]), "127.0.0.1"),
        ] {
            // At once, and byte by byte.
            let whole = [&header[..], GET].concat();
            assert_eq!(server.send(&whole).text(), format!("{client} http"));
            let mut stream = server.connect();
            stream.set_nodelay(true).unwrap();
            for byte in &whole {
                stream.write_all(&[*byte]).unwrap();
            }
            assert_eq!(read_reply(&mut stream).text(), format!("{client} http"));
            // It goes for the whole connection.
            stream.write_all(GET).unwrap();
            assert_eq!(read_reply(&mut stream).text(), format!("{client} http"));
        }
        for bad in
            ["PROXY TCP4 192.0.2.7 1 2\r\n", "PROXY TCP4 192.0.2.7 192.0.2.200 1 2 \r\n", "PROXY \u{1}\r\n"]
        {
            let mut stream = server.connect();
            let _ = stream.write_all(&[bad.as_bytes(), GET].concat());
            assert!(is_closed(&mut stream), "{bad:?}");
        }
    }
    assert_eq!(optional.send(GET).text(), "127.0.0.1 http");
    let mut stream = required.connect();
    stream.write_all(GET).unwrap();
    assert!(is_closed(&mut stream), "a header has to be there");
}

#[test]
fn strangers_are_not_believed() {
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.200 1 2\r\n";
    let server =
        start("{ address = \"127.0.0.1:0\", proxy_protocol = \"optional\", from = [\"10.0.0.0/8\"] }");
    let reply = server.send([&header[..], GET].concat());
    assert_eq!(reply.status, 400, "it is no request");
    assert_eq!(server.send(GET).text(), "127.0.0.1 http");
    let server =
        start("{ address = \"127.0.0.1:0\", proxy_protocol = \"required\", from = [\"10.0.0.0/8\"] }");
    let mut stream = server.connect();
    let _ = stream.write_all(&[&header[..], GET].concat());
    assert!(is_closed(&mut stream));
}

#[test]
fn unix_sockets_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    // What a crashed process left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(&format!(
        "{{ address = \"unix:{0}\", mode = 0o600 }}, {{ address = \"unix:{0}.proxied\", proxy_protocol = \"optional\" }}",
        path.display()
    ));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |path: &std::path::Path, header: &str| {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "{header}GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..20 {
        assert!(ask(&path, "").ends_with("127.0.0.1 http"));
    }
    let proxied = directory.path().join("s.sock.proxied");
    assert!(ask(&proxied, "PROXY TCP4 192.0.2.7 192.0.2.200 1 2\r\n").ends_with("192.0.2.7 http"));
    // A socket that somebody listens on is not taken away from them.
    let (mut config, none) = sites("").unwrap();
    config.listen = listeners(&format!("\"unix:{}\"", path.display()));
    let error = start_with(config, none).err().unwrap().to_string();
    assert!(error.contains("s.sock") && error.contains("another program"), "{error}");
    server.shutdown(Duration::from_secs(5));
    assert!(!path.exists(), "it takes its file along");
}
