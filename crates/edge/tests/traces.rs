//! Traces as a collector gets them, and `Server-Timing`.

#[path = "support/origin.rs"]
mod origin;
mod support;

use std::time::Duration;

use origin::{Origin, ok};
use serde_json::Value;
use support::{Server, get, start_sites};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Takes traces, and checks that they are what the protocol allows.
fn collector() -> Origin {
    Origin::start(|connection| {
        while connection.request().is_some() {
            connection.send(ok("{}"));
        }
    })
}

/// A site whose only route asks `origin`, traced by `collector`.
fn traced(collector: &Origin, origin: &Origin, settings: &str) -> Server {
    let (collector, origin) = (collector.url(), origin.url());
    start_sites(&format!(
        "[edge]\nthreads = 1\n[edge.traces]\nendpoint = \"{collector}/v1/traces\"\n{settings}\n\
         [middleware.fields.headers]\nresponse = {{ x-a = \"1\" }}\n\
         [[sites]]\nhosts = [\"a.test\"]\nuse = [\"fields\"]\n[[sites.routes]]\npath = \"/*\"\nproxy = {{ to = [\"{origin}\"] }}"
    ))
}

fn request(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n")
}

/// What the collector was sent, decoded strictly.
fn spans(collector: &Origin) -> Vec<Value> {
    let request = collector.last();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    let hex = |value: &Value, length| {
        let text = value.as_str().unwrap();
        assert!(text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    };
    for span in &spans {
        hex(&span["traceId"], 32);
        hex(&span["spanId"], 16);
        let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
        assert!((1..=5).contains(&span["kind"].as_u64().unwrap()));
    }
    spans
}

#[test]
fn a_callers_trace_goes_on_through_every_part() {
    let (collector, origin) = (collector(), Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    let server = traced(&collector, &origin, "accept = \"always\"");
    assert_eq!(server.send(request(&format!("traceparent: {CALLER}\r\ntracestate: a=b\r\n"))).status, 200);
    let asked = origin.last();
    assert!(asked.contains("tracestate: a=b"), "{asked}");
    let parent = asked.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap().to_owned();
    server.shutdown(Duration::from_secs(5));

    let spans = spans(&collector);
    assert!(spans.iter().all(|span| span["traceId"] == CALLER[3..35]));
    let find = |name: &str| {
        spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let whole = find("GET /*");
    assert_eq!((&whole["parentSpanId"], &whole["kind"]), (&CALLER[36..52].into(), &2.into()));
    for (part, kind) in [("headers", 1), ("upstream", 3)] {
        assert_eq!((&find(part)["parentSpanId"], &find(part)["kind"]), (&whole["spanId"], &kind.into()));
    }
    assert_eq!(parent, format!("00-{}-{}-01", &CALLER[3..35], find("upstream")["spanId"].as_str().unwrap()));
}

#[test]
fn who_is_not_trusted_starts_no_trace_of_theirs() {
    let (collector, origin) = (collector(), Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    let server = traced(&collector, &origin, "sample = 0.0");
    let huge = format!("traceparent: {}\r\ntracestate: {}\r\n", CALLER.repeat(100), "a=b,".repeat(200));
    for fields in
        [format!("traceparent: {CALLER}\r\ntracestate: a=b\r\n"), huge, "traceparent: \t\r\n".into()]
    {
        assert_eq!(server.send(request(&fields)).status, 200);
        let asked = origin.last();
        let parents: Vec<&str> =
            asked.lines().filter_map(|line| line.strip_prefix("traceparent: ")).collect();
        assert_eq!(parents.len(), 1, "{asked}");
        assert!(parents[0].len() == 55 && parents[0].ends_with("-00"), "{asked}");
        assert!(!parents[0].contains(&CALLER[3..35]) && !asked.contains("tracestate"), "{asked}");
    }
    server.shutdown(Duration::from_secs(5));
    assert_eq!(collector.count(), 0, "nothing was sampled");
}

#[test]
fn a_collector_that_does_not_answer_holds_nobody_up() {
    let (silent, origin) = (
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    );
    let server = start_sites(&format!(
        "[edge.traces]\nendpoint = \"http://{}/v1/traces\"\n[[sites]]\nhosts = [\"a.test\"]\n[[sites.routes]]\nproxy = {{ to = [\"{}\"] }}",
        silent.local_addr().unwrap(),
        origin.url()
    ));
    for _ in 0..20 {
        assert_eq!(server.send(request("")).status, 200);
    }
    server.shutdown(Duration::from_secs(5));
}

#[test]
fn clients_are_told_what_took_how_long_where_the_site_says_so() {
    let settings = |site: &str| {
        format!(
            "[middleware.fields.headers]\nresponse = {{ x-a = \"1\" }}\n[[sites]]\nhosts = [\"test.localhost\"]\n{site}\nuse = [\"fields\"]\n\
         [[sites.routes]]\npath = \"/*\"\nrespond = {{ body = \"hello\" }}"
        )
    };
    let server = start_sites(&settings("server_timing = true"));
    let reply = server.get("/");
    let timing = reply.header("server-timing").unwrap();
    let names: Vec<&str> = timing.split(", ").map(|part| part.split_once(";dur=").unwrap().0).collect();
    assert_eq!(names, ["total", "edge", "security_headers", "headers", "respond"], "{timing}");
    assert!(
        timing.split(", ").all(|part| part.split_once(";dur=").unwrap().1.parse::<f64>().is_ok()),
        "{timing}"
    );
    assert_eq!(start_sites(&settings("")).get("/").header("server-timing"), None);
    let trusted = start_sites(&format!("[edge]\nserver_timing = [\"127.0.0.0/8\"]\n{}", settings("")));
    assert!(trusted.send(get("/")).header("server-timing").is_some());
}
