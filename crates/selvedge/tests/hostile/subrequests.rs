//! What workers may not fetch.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::common::api::Module;
use crate::scene::{Scene, handler};

/// Fetches the URL in the query and says how that went.
const FETCHER: &str = "\
    const target = decodeURIComponent(request.url.split('?')[1]);\n\
    try {\n\
      const response = await fetch(target);\n\
      return new Response(`fetched ${response.status} ${await response.text()}`);\n\
    } catch (error) {\n\
      return new Response(`${error.name}: ${error.message}`);\n\
    }";

/// A server on this machine that answers every request with `answer`, for as long as the test runs.
fn server(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    port
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".into()
}

fn fetching(attack: &str, limits: serde_json::Value, allowed: &[u16]) -> Scene {
    let allowed: Vec<String> = allowed.iter().map(|port| format!("\"localhost:{port}\"")).collect();
    let settings = format!("egress_allow = [{}]\n", allowed.join(", "));
    Scene::with_modules(&[Module::main(&handler("", attack))], limits, &settings)
}

/// Every spelling of an address of this machine or its network is refused, with a reason.
#[test]
fn addresses_that_are_not_public() {
    let scene = fetching(FETCHER, json!({ "subrequests": 100 }), &[]);
    let port = scene.selvedge.admin.port();
    let mut hosts =
        vec!["169.254.169.254".into(), "10.0.0.1".into(), "192.168.0.1".into(), "[fe80::1]".into()];
    for here in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ] {
        hosts.push(format!("{here}:{port}"));
    }
    for host in hosts {
        let answer = scene.selvedge.get("offender", &format!("/?http://{host}/health/live"));
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        assert!(answer.body.contains("not a public address"), "{host}: {}", answer.body);
    }
    scene.recovered();
}

#[test]
fn a_redirect_does_not_lead_inside() {
    let inside = server(ok());
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:INSIDE/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let outside = server(answer.replace("INSIDE", &inside.to_string()));
    let scene = fetching(FETCHER, json!({}), &[outside]);
    let answer = scene.selvedge.get("offender", &format!("/?http://localhost:{outside}/"));
    assert!(answer.body.contains("not a public address"), "{answer:?}");
    scene.recovered();
}

#[test]
fn only_so_many() {
    let outside = server(ok());
    let attack = format!(
        "let count = 0;\n\
         try {{ for (;;) {{ await (await fetch('http://localhost:{outside}/')).text(); count++; }} }}\n\
         catch (error) {{ return new Response(`${{count}}: ${{error.message}}`); }}"
    );
    let scene =
        fetching(&attack, json!({ "subrequests": 3, "cpu_ms": 1000, "cpu_burst_ms": 1000 }), &[outside]);
    let answer = scene.attack();
    assert!(answer.body.starts_with("3: ") && answer.body.contains("limit of subrequests"), "{answer:?}");
    scene.recovered();
}

#[test]
fn all_at_once() {
    let outside = server(ok());
    let attack = format!(
        "const all = Array.from({{ length: 1000 }}, () => fetch('http://localhost:{outside}/'));\n\
         const settled = await Promise.allSettled(all);\n\
         return new Response(String(settled.filter((one) => one.status === 'fulfilled').length));"
    );
    let scene =
        fetching(&attack, json!({ "subrequests": 10, "cpu_ms": 1000, "cpu_burst_ms": 1000 }), &[outside]);
    scene.answers("10");
}

#[test]
fn heads_that_are_too_large() {
    let limits = json!({ "cpu_ms": 1000, "cpu_burst_ms": 1000 });
    for attack in [
        "await fetch('http://192.0.2.1/' + 'x'.repeat(1_500_000));",
        "await fetch('http://192.0.2.1/', { headers: { x: 'y'.repeat(2 << 20) } });",
        "await fetch('http://192.0.2.1/', { method: 'X'.repeat(2 << 20) });",
        "await fetch('http://' + 'x'.repeat(2 << 20) + '/');",
    ] {
        fetching(attack, limits.clone(), &[]).contained(500, "worker_exception");
    }
}

#[test]
fn schemes_and_methods_that_are_not_fetched() {
    let limits = json!({ "cpu_ms": 1000, "cpu_burst_ms": 1000 });
    for attack in [
        "await fetch('file:///etc/passwd');",
        "await fetch('unix:///run/docker.sock');",
        "await fetch('ftp://example.com/');",
        "await fetch('http://192.0.2.1/', { method: 'CONNECT' });",
        "await fetch('http://192.0.2.1/', { headers: { 'x\\r\\ny': 'z' } });",
    ] {
        fetching(attack, limits.clone(), &[]).contained(500, "worker_exception");
    }
}

/// The server's answers are as untrusted as the worker.
#[test]
fn answers_that_break_off() {
    let cut = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nshort".into());
    let nonsense = server("this is no HTTP\r\n\r\n".into());
    let scene = fetching(FETCHER, json!({}), &[cut, nonsense]);
    for port in [cut, nonsense] {
        let answer = scene.selvedge.get("offender", &format!("/?http://localhost:{port}/"));
        assert!(answer.body.starts_with("TypeError: "), "{answer:?}");
    }
    scene.recovered();
}
