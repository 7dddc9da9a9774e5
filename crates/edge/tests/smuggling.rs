//! Requests that two readers could take in two ways, through pairs of this edge and real servers: each is refused, or is one
//! request of unmistakable length for both; what hides in it is never answered, and nobody gets somebody else's response.

#[path = "support/pairs.rs"]
mod pairs;
mod support;

#[path = "support/ambiguous.rs"]
mod ambiguous;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use ambiguous::{Expect, cases};
use pairs::Backends;
use support::{Server, read_reply, start_sites};

/// One site for each server, all on one thread, so that all requests share its connections.
fn edge(backends: &Backends) -> Server {
    let sites: String = backends
        .all
        .iter()
        .map(|backend| {
            format!(
                "[[sites]]\nhosts = [\"{}.test\"]\n[[sites.routes]]\npath = \"/*\"\n\
                 proxy = {{ to = [\"http://127.0.0.1:{}\"] }}\n",
                backend.name, backend.port
            )
        })
        .collect();
    start_sites(&format!("[edge]\nthreads = 1\n{sites}"))
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// All that comes until the connection ends.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all);
    let open = end.is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionReset);
    assert!(!open, "still open after {:?}", String::from_utf8_lossy(&all));
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn nothing_is_smuggled_through_pairs() {
    let backends = Backends::start();
    let server = edge(&backends);
    let cases = cases();
    assert!(cases.len() >= 150, "{}", cases.len());
    let (mut failures, mut whole) = (Vec::new(), HashSet::new());
    for backend in &backends.all {
        let host = format!("{}.test", backend.name);
        let mut other = server.connect();
        for (number, case) in cases.iter().enumerate() {
            let number = format!("{number}-{}", backend.name);
            let fill = |text: &[u8]| -> Vec<u8> {
                let hidden = get(&format!("/hidden-{number}"), &host);
                let mut text = text.to_vec();
                for (key, value) in [
                    ("{P}", format!("/case-{number}")),
                    ("{L}", hidden.len().to_string()),
                    ("{X}", format!("{:x}", hidden.len())),
                    ("{H}", hidden),
                    ("{A}", host.clone()),
                ] {
                    while let Some(at) = text.windows(3).position(|three| three == key.as_bytes()) {
                        text.splice(at..at + 3, value.bytes());
                    }
                }
                text
            };
            let mut stream = server.connect();
            let request = fill(&case.request);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                match &case.expect {
                    Expect::Refused => {
                        let hidden = fill(b"{H}");
                        stream.write_all(&[&request[..], &hidden].concat()).unwrap();
                        let all = rest(&mut stream);
                        let refused = all.starts_with("HTTP/1.1 4") || all.starts_with("HTTP/1.1 501");
                        assert!(refused && all.matches("\r\n\r\n").count() == 1, "{all}");
                    }
                    Expect::Is(texts) | Expect::Last(texts) => {
                        let marker = format!("/marker-{number}");
                        let behind = get(&marker, &host);
                        stream.write_all(&[&request[..], behind.as_bytes()].concat()).unwrap();
                        for text in texts {
                            let reply = read_reply(&mut stream);
                            let expected = String::from_utf8(fill(text.as_bytes())).unwrap();
                            assert_eq!((reply.status, reply.text()), (200, &*expected));
                        }
                        if matches!(case.expect, Expect::Is(_)) {
                            assert_eq!(read_reply(&mut stream).text(), format!("GET {marker} {host} "));
                        } else {
                            assert_eq!(rest(&mut stream), "");
                        }
                    }
                }
                let path = format!("/other-{number}");
                other.write_all(get(&path, &host).as_bytes()).unwrap();
                assert_eq!(read_reply(&mut other).text(), format!("GET {path} {host} "));
            }));
            if let Err(panic) = outcome {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                failures.push(format!("{} ({}): {said}", case.name, backend.name));
                other = server.connect();
            }
            if let Expect::Is(texts) | Expect::Last(texts) = &case.expect {
                for text in texts {
                    let text = String::from_utf8(fill(text.as_bytes())).unwrap();
                    let mut words = text.split(' ');
                    let (method, path) = (words.next().unwrap(), words.next().unwrap());
                    whole.insert(format!("{} whole {method} {path}", backend.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n---\n"));
    // What the last server saw: each request that was meant, once; of those refused, at most that they began.
    let mut seen = HashSet::new();
    for line in backends.seen() {
        assert!(!line.contains("hidden"), "{line}");
        if line.contains(" whole ") {
            assert!(seen.insert(line.clone()), "twice: {line}");
            let case = line.contains(" /case-");
            assert!(!case || whole.contains(&line), "was refused, and seen: {line}");
        }
    }
    assert!(whole.iter().all(|line| seen.contains(line)));
}
