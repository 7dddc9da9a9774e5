//! A running edge that changes: settings and listeners, and its place taken by another.
#![allow(missing_docs, reason = "a test crate")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use selvedge_edge::{
    Edge, EdgeConfig, EdgeError, Inherited, SiteConfig, SiteSettings, Sites, StepConfig, Surroundings,
    Upstreams,
};
use selvedge_telemetry::access_log::{AccessLogFormat, AccessLogOutput};
use selvedge_telemetry::{AccessLog, AccessLogConfig, HttpMetrics};
use support::{Server, config, get, is_closed, read_reply, runtime, start, start_logged};

fn reload(server: &Server, change: impl FnOnce(&mut EdgeConfig)) -> Result<(), EdgeError> {
    let mut config = (*server.edge.control().config()).clone();
    change(&mut config);
    let sites = server.sites.borrow().clone();
    server.edge.control().reload(&config, &sites, &server.log, || {})
}

#[test]
fn listeners_come_and_go() {
    let server = start(config());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let first = server.address;
    let mut kept = server.connect();
    kept.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).header("connection"), None);
    reload(&server, |config| {
        config.listen.push("127.0.0.1:0".parse().unwrap());
        config.listen.push(format!("unix:{}", path.display()).parse().unwrap());
    })
    .unwrap();
    let addresses = server.edge.addresses();
    assert_eq!((addresses.len(), addresses[0]), (2, first));
    assert_eq!(server.get("/").status, 200);
    let ask = |address: SocketAddr| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(get("/").as_bytes()).ok()?;
        Some(read_reply(&mut stream).status)
    };
    assert_eq!(ask(addresses[1]), Some(200));
    let mut local = UnixStream::connect(&path).unwrap();
    local.write_all(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    local.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // A connection from before is asked to end after its next response, and is answered.
    kept.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut kept).header("connection"), Some("close"));
    assert!(is_closed(&mut kept));

    reload(&server, |config| config.listen.truncate(1)).unwrap();
    assert_eq!(server.edge.addresses(), [first]);
    assert!(UnixStream::connect(&path).is_err() && !path.exists());
    assert_eq!(ask(first), Some(200));
    assert_eq!(ask(addresses[1]), None);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let server = start(config());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let error = reload(&server, |config| {
        config.max_headers = 1;
        config.listen.push(format!("unix:{}", path.display()).parse().unwrap());
        config.listen.push(taken.local_addr().unwrap().into());
    });
    assert!(matches!(error, Err(EdgeError::Bind { .. })), "{error:?}");
    assert!(!path.exists(), "the file of a socket that nobody listens on");
    assert!(matches!(reload(&server, |config| config.max_headers = 0), Err(EdgeError::Config(_))));
    let bad_tls = reload(&server, |config| {
        config.tls.data = "/dev/null/nowhere".into();
        config.tls.internal = true;
        config.listen.push(
            toml::from_str::<EdgeConfig>("listen = [{ address = \"127.0.0.1:0\", tls = true }]")
                .unwrap()
                .listen
                .remove(0),
        );
    });
    assert!(matches!(bad_tls, Err(EdgeError::Tls(_))), "{bad_tls:?}");
    assert_eq!(server.edge.addresses().len(), 1);
    assert_eq!(server.send("GET / HTTP/1.1\r\nhost: test.localhost\r\na: b\r\nc: d\r\n\r\n").status, 200);
}

#[test]
fn limits_and_fields_are_those_of_the_newest_settings() {
    let server = start(config());
    let many = "GET / HTTP/1.1\r\nhost: test.localhost\r\na: b\r\nc: d\r\n\r\n";
    let mut before = server.connect();
    before.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut before).status, 200);
    reload(&server, |config| {
        config.max_headers = 2;
        config.server_header = Some("new".into());
        config.idle_timeout_ms = 50;
        // Stays.
        config.threads = 7;
    })
    .unwrap();
    assert_eq!(server.edge.control().config().threads, 2);
    assert_eq!(server.send(many).status, 431);
    let mut idle = server.connect();
    idle.write_all(get("/").as_bytes()).unwrap();
    assert_eq!(read_reply(&mut idle).header("server"), Some("new"));
    assert!(is_closed(&mut idle));
    // What connected before keeps what was true then.
    before.write_all(many.as_bytes()).unwrap();
    let reply = read_reply(&mut before);
    assert_eq!(
        (reply.status, reply.header("server"), reply.header("connection")),
        (200, None, Some("close"))
    );
}

#[test]
fn a_log_follows_its_settings() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let to = |path: &Path, format| AccessLogConfig {
        output: AccessLogOutput::File(path.into()),
        format,
        ..AccessLogConfig::default()
    };
    let mut settings = config();
    settings.access_log = to(&one, AccessLogFormat::Text);
    let log = AccessLog::start(&settings.access_log).unwrap();
    let mut server = start_logged(settings, log).unwrap();
    assert_eq!(server.get("/").status, 200);
    let mut changed = (*server.edge.control().config()).clone();
    changed.access_log = to(&two, AccessLogFormat::Json);
    let next = server.log.renewed(&changed.access_log).unwrap();
    let sites = server.sites.borrow().clone();
    server.edge.control().reload(&changed, &sites, &next, || {}).unwrap();
    server.log.succeed(next);
    assert_eq!(server.get("/").status, 200);
    server.shutdown(Duration::from_secs(5)).finish();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(lines(&one).contains("\"GET / HTTP/1.1\"") && lines(&one).lines().count() == 1);
    assert!(lines(&two).starts_with('{') && lines(&two).lines().count() == 1);
}

/// The same edge twice, the second with the listeners of the first.
#[test]
fn another_edge_takes_the_listeners_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut settings = config();
    settings.threads = 3;
    settings.listen.push(format!("unix:{}", path.display()).parse().unwrap());
    let former = start(settings.clone());
    let address = former.address;
    let (mut idle, mut busy) = (former.connect(), former.connect());
    busy.write_all(get("/slow").as_bytes()).unwrap();
    former.wait_for_metric("selvedge_http_requests_in_flight 1");

    let sockets = former.edge.control().sockets().unwrap();
    assert_eq!(sockets.iter().map(|handed| handed.sockets.len()).collect::<Vec<_>>(), [3, 3]);
    former.edge.control().accept(false).unwrap();
    // Nobody takes these; they wait.
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| former.connect()).collect();
    for stream in &mut waiting {
        stream.write_all(get("/").as_bytes()).unwrap();
    }
    // Fewer threads than sockets: all of them are listened on nevertheless.
    settings.threads = 2;
    let (log, metrics) = (AccessLog::off(), HttpMetrics::default());
    let (_sites, sites) = tokio::sync::watch::channel(Arc::new(Sites::default()));
    let (_snapshot, snapshot) = tokio::sync::watch::channel(Arc::new(support::snapshot(&["test"])));
    let surroundings = Surroundings {
        config: settings,
        sites,
        snapshot,
        access_log: &log,
        metrics: &metrics,
        explain: None,
        inherited: Inherited { sockets, waiting: true },
    };
    let next = Edge::start_with(surroundings, || {
        Box::new(|_, _, _| Box::pin(async { Ok(http::Response::new(Bytes::from_static(b"next").into())) }))
    })
    .unwrap();
    assert_eq!(next.addresses(), [address]);
    next.control().accept(true).unwrap();
    for stream in &mut waiting {
        assert_eq!(read_reply(stream).text(), "next");
    }
    let leaving = std::thread::spawn(move || {
        runtime().block_on(former.edge.leave(Duration::from_secs(60), Duration::from_secs(5)));
    });
    // One that has not asked for anything is still answered by the former.
    let reply = read_reply(&mut busy);
    assert_eq!((reply.text(), reply.header("connection")), ("slow", Some("close")));
    idle.write_all(get("/").as_bytes()).unwrap();
    let reply = read_reply(&mut idle);
    assert_eq!((reply.text(), reply.header("connection")), ("hello from test", Some("close")));
    leaving.join().unwrap();
    let mut local = UnixStream::connect(&path).expect("the file of the socket belongs to the next one");
    local.write_all(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    local.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("next"), "{answer}");
    drop(next);
    assert!(!path.exists());
}

#[test]
fn clients_of_http_2_are_asked_to_come_again() {
    let server = start(config());
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let request = |path: &str| {
            let uri = format!("http://test.localhost{path}");
            Request::builder().version(Version::HTTP_2).uri(uri).body(Empty::<Bytes>::new()).unwrap()
        };
        assert_eq!(sender.send_request(request("/")).await.unwrap().status(), 200);
        let slow = tokio::spawn(sender.send_request(request("/slow")));
        server.wait_for_metric("selvedge_http_requests_in_flight 1");
        reload(&server, |config| config.max_headers = 50).unwrap();
        let reply = slow.await.unwrap().unwrap();
        assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "slow");
        // It ends without an error once its last stream has.
        connection.await.unwrap().unwrap();
    });
    assert_eq!(server.get("/").status, 200);
}

/// A site that says `text` behind a step, in the place of others.
fn renewed(step: &str, text: &str, former: &Sites) -> Sites {
    let site = format!("hosts = [\"*\"]\nuse = [\"step\"]\n[[routes]]\nrespond = {{ body = \"{text}\" }}\n");
    let sites: [SiteConfig; 1] = [toml::from_str(&site).unwrap()];
    let step: StepConfig = toml::from_str(step).unwrap();
    let (registry, upstreams, middleware) =
        (Upstreams::default(), Default::default(), [("step".to_owned(), step)].into());
    let settings = SiteSettings {
        sites: &sites,
        middleware: &middleware,
        upstreams: &upstreams,
        registry: &registry,
        common: &[],
        base: Path::new(""),
    };
    Sites::renewed(settings, former).unwrap()
}

#[test]
fn counts_of_middleware_outlive_changes_elsewhere() {
    let limit = |requests: u32| format!("[rate_limit]\nrequests = {requests}\nper = \"1h\"\n");
    let server = support::start_with(config(), renewed(&limit(2), "one", &Sites::default())).unwrap();
    let ask = || {
        let reply = server.get("/");
        (reply.status, reply.text().to_owned())
    };
    let renew = |requests, text| {
        let next = renewed(&limit(requests), text, &server.sites.borrow());
        server.sites.send_replace(Arc::new(next));
    };
    assert_eq!(ask(), (200, "one".into()));
    renew(2, "two");
    assert_eq!(ask(), (200, "two".into()));
    renew(2, "three");
    assert_eq!(ask().0, 429);
    // Another limit is counted anew.
    renew(1, "four");
    assert_eq!(ask(), (200, "four".into()));
    assert_eq!(ask().0, 429);
}

#[test]
fn keys_that_were_fetched_outlive_changes_elsewhere() {
    let issuer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = issuer.local_addr().unwrap();
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = fetched.clone();
    std::thread::spawn(move || {
        for mut stream in issuer.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            count.fetch_add(1, Ordering::SeqCst);
            let keys = r#"{"keys":[]}"#;
            let length = keys.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{keys}"
            );
        }
    });
    let jwt = |leeway: u32| {
        format!("[jwt]\njwks = \"http://{address}/keys\"\nleeway_s = {leeway}\njwks_min_interval_s = 3600\n")
    };
    let server = support::start_with(config(), renewed(&jwt(1), "one", &Sites::default())).unwrap();
    // {"alg":"RS256","kid":"a"}, which is nobody's.
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA";
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    let renew = |leeway, text| {
        let next = renewed(&jwt(leeway), text, &server.sites.borrow());
        server.sites.send_replace(Arc::new(next));
    };
    server.send(&request);
    let once = fetched.load(Ordering::SeqCst);
    assert!(once > 0);
    renew(1, "two");
    server.send(&request);
    assert_eq!(fetched.load(Ordering::SeqCst), once);
    renew(2, "three");
    server.send(&request);
    assert!(fetched.load(Ordering::SeqCst) > once);
}
