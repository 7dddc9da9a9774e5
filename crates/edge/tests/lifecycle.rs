//! Start, shutdown and the access log.

mod support;

use std::io::Write;
use std::time::Duration;

use selvedge_telemetry::access_log::{AccessLogFormat, AccessLogOutput};
use selvedge_telemetry::{AccessLog, AccessLogConfig};
use support::{config, get, is_closed, read_reply, start, start_logged};

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let first = start(config());
    let mut taken = config();
    taken.listen = vec![first.address.into()];
    let error = start_logged(taken, AccessLog::off()).err().unwrap().to_string();
    assert!(error.contains(&first.address.to_string()) && error.contains("choose another port"), "{error}");
}

#[test]
fn bad_settings_are_refused_in_words() {
    let mut none = config();
    none.listen.clear();
    assert!(start_logged(none, AccessLog::off()).err().unwrap().to_string().contains("at least one address"));
    let mut header = config();
    header.server_header = Some("a\nb".into());
    assert!(start_logged(header, AccessLog::off()).is_err());
}

#[test]
fn several_addresses_are_served() {
    let mut config = config();
    config.listen.push("127.0.0.1:0".parse().unwrap());
    let mut server = start(config);
    let addresses = server.edge.addresses().to_vec();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        server.address = address;
        assert_eq!(server.get("/").status, 200);
    }
}

#[test]
fn shutdown_lets_requests_finish_and_closes_the_rest() {
    let server = start(config());
    let address = server.address;
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut idle).status, 200);
    let mut busy = server.connect();
    busy.write_all(get("/slow").as_bytes()).unwrap();
    server.wait_for_metric("selvedge_http_requests_in_flight 1");
    let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(30)));
    let reply = read_reply(&mut busy);
    assert_eq!((reply.status, reply.text(), reply.header("connection")), (200, "slow", Some("close")));
    for mut stream in [busy, idle] {
        assert!(is_closed(&mut stream));
    }
    assert!(is_closed(&mut silent));
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "it does not listen any more");
}

#[test]
fn shutdown_cuts_what_does_not_finish() {
    let server = start(config());
    let mut stuck = server.connect();
    stuck.write_all(get("/never").as_bytes()).unwrap();
    server.wait_for_metric("selvedge_http_requests_in_flight 1");
    server.shutdown(Duration::from_millis(50));
    assert!(is_closed(&mut stuck));
}

#[test]
fn every_request_has_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::start(&AccessLogConfig {
        output: AccessLogOutput::File(path.clone()),
        format: AccessLogFormat::Json,
        ..AccessLogConfig::default()
    })
    .unwrap();
    let server = start_logged(config(), log).unwrap();
    let reply = server.send(
        "GET /x?token=1 HTTP/1.1\r\nhost: TEST.localhost\r\nuser-agent: a\"\\\u{e4}\r\n\
         authorization: Bearer hunter2\r\ncookie: hunter2\r\nreferer: http://r/\r\n\r\n",
    );
    assert_eq!(reply.status, 200);
    server.get("/overloaded");
    server.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    let mut leaving = server.connect();
    leaving.write_all(get("/never").as_bytes()).unwrap();
    server.wait_for_metric("selvedge_http_requests_in_flight 1");
    drop(leaving);
    server.wait_for_metric("selvedge_http_requests_in_flight 0");
    server.shutdown(Duration::from_secs(5)).finish();

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2"));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |status: u16| lines.iter().find(|line| line["status"] == status).unwrap();
    assert_eq!(lines.len(), 4);
    let fine = find(200);
    assert_eq!(fine["target"], "/x?token=***");
    assert_eq!(fine["host"], "TEST.localhost");
    assert_eq!(fine["script"], "test");
    assert_eq!(fine["bytes"], 15);
    assert_eq!(fine["client"], "127.0.0.1");
    assert_eq!(fine["user_agent"], "a\"\\\u{e4}");
    assert_eq!(fine["request_id"], reply.header("x-request-id").unwrap());
    assert_eq!(find(503)["code"], "worker_overloaded");
    assert_eq!(find(400)["code"], "bad_request");
    assert_eq!(find(499)["code"], "client_closed");
}
