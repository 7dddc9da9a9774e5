//! Clients that take their time, by the hundreds: slowhttptest in all its ways, and more connections than there is room
//! for. Others are served all the while.

#[path = "support/pairs.rs"]
mod pairs;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use support::{Server, config, get, read_reply, start};

/// Asks until somebody else is done.
fn served_while(server: &Server, mut done: impl FnMut() -> bool) -> usize {
    let mut count = 0;
    while !done() {
        assert_eq!(server.get("/").text(), "hello from test");
        count += 1;
    }
    count
}

#[test]
fn slow_clients_do_not_keep_others_out() {
    pairs::install("slowhttptest", "slowhttptest");
    let mut config = config();
    (config.header_timeout_ms, config.stall_timeout_ms) = (1000, 1000);
    let server = start(config);
    for (mode, path) in [
        // Heads that never end, bodies that never end, ranges without end, and responses that are not taken.
        (&["-H", "-i", "1"][..], "/"),
        (&["-B", "-i", "1", "-s", "8192", "-t", "POST"], "/echo"),
        (&["-R", "-a", "1", "-b", "3000", "-t", "HEAD"], "/"),
        (&["-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1"], "/big"),
    ] {
        let url = format!("http://{}{path}", server.address);
        let mut attack = Command::new("slowhttptest")
            .args(mode)
            .args(["-c", "300", "-r", "300", "-l", "4", "-p", "3", "-u", &url])
            // Names that the server has are asked for by address.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let count = served_while(&server, || attack.try_wait().unwrap().is_some());
        assert!(count > 0, "{mode:?}");
    }
    server.wait_for_metric("selvedge_http_connections 0");
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    let opened = server
        .metrics_text()
        .lines()
        .find_map(|line| line.strip_prefix("selvedge_http_connections_opened_total "))
        .unwrap()
        .parse::<usize>()
        .unwrap();
    assert!(opened >= 1000, "the attack did not take place: {opened}");
}

/// Memory of this process that is its own, bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let [_, resident, shared, ..] =
        pages.split_whitespace().map(|n| n.parse::<usize>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("{pages}")
    };
    (resident - shared) * 4096
}

#[test]
fn thousands_of_idle_and_half_open_connections_are_bounded() {
    const ROOM: usize = 3000;
    const BEYOND: usize = 300;
    let mut config = config();
    config.max_connections = ROOM;
    (config.header_timeout_ms, config.idle_timeout_ms) = (600_000, 600_000);
    let server = start(config);
    let mut served = server.connect();
    served.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut served).status, 200);
    let before = resident();
    // Silent ones, heads that are half there, bodies that are, a preface that is, and idle ones.
    let parts = [
        "",
        "GET / HTTP/1.1\r\nhost: te",
        "POST /echo HTTP/1.1\r\nhost: test.localhost\r\ncontent-length: 9\r\n\r\nab",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
    ];
    let held: Vec<TcpStream> = (1..ROOM)
        .map(|number| {
            let mut stream = server.connect();
            let part = parts[number % parts.len()];
            stream.write_all(part.as_bytes()).unwrap();
            if part.ends_with("\r\n\r\n") {
                assert_eq!(read_reply(&mut stream).status, 200);
            }
            stream
        })
        .collect();
    server.wait_for_metric(&format!("selvedge_http_connections {ROOM}"));
    let each = resident().saturating_sub(before) / ROOM;
    // What a connection without a request may cost; the clients' side is in it, too.
    assert!(each < 24 * 1024, "{each} bytes a connection");
    let mut turned_away = 0;
    for _ in 0..BEYOND {
        let mut stream = server.connect();
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Ok(_) => assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        turned_away += 1;
    }
    server.wait_for_metric(&format!("selvedge_http_connections_shed_total {turned_away}"));
    // Who is in is served.
    for _ in 0..100 {
        served.write_all(get("/").as_bytes()).unwrap();
        assert_eq!(read_reply(&mut served).text(), "hello from test");
    }
    drop(held);
    server.wait_for_metric("selvedge_http_connections 1");
    assert_eq!(server.get("/").status, 200);
}
