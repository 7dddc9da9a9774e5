use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn sample<'a>() -> AccessRecord<'a> {
    AccessRecord {
        time: Duration::from_millis(1_795_228_992_345),
        client: "192.0.2.1",
        method: b"GET",
        host: b"hello.localhost:8080",
        target: b"/a?b=c",
        protocol: "HTTP/1.1",
        status: 200,
        bytes: 12,
        duration_us: 1_045,
        worker: Some(("default", "hello")),
        route: None,
        request_id: b"abc-1",
        code: None,
        server: None,
        server_us: 0,
        attempts: 0,
        referer: None,
        user_agent: Some(b"curl/8"),
        scheme: "http",
        ..AccessRecord::default()
    }
}

fn looks(format: AccessLogFormat) -> Looks {
    AccessLogConfig { format, ..AccessLogConfig::default() }.looks().unwrap()
}

fn line(format: AccessLogFormat, record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    Formatter::new(looks(format), Some(vec![])).line(record, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn text_is_combined_and_more() {
    assert_eq!(
        line(AccessLogFormat::Text, &sample()),
        "192.0.2.1 - - [21/Nov/2026:02:43:12 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" \"curl/8\" \
         \"hello.localhost:8080\" default/hello 1.045 abc-1 -\n"
    );
}

#[test]
fn servers_behind_this_one_are_named() {
    let record = AccessRecord { server: Some("127.0.0.1:3000"), server_us: 945, attempts: 2, ..sample() };
    assert!(line(AccessLogFormat::Text, &record).ends_with(" abc-1 - 127.0.0.1:3000 0.945\n"));
    let value: serde_json::Value = serde_json::from_str(&line(AccessLogFormat::Json, &record)).unwrap();
    assert_eq!(value["server"], "127.0.0.1:3000");
    assert_eq!((value["server_us"].as_u64(), value["attempts"].as_u64()), (Some(945), Some(2)));
}

#[test]
fn json_has_the_same() {
    let record = AccessRecord { code: Some("worker_timeout"), ..sample() };
    let value: serde_json::Value = serde_json::from_str(&line(AccessLogFormat::Json, &record)).unwrap();
    assert_eq!(value["time"], "2026-11-21T02:43:12.345Z");
    assert_eq!(value["status"], 200);
    assert_eq!(value["duration_us"], 1045);
    assert_eq!(value["script"], "hello");
    assert_eq!(value["code"], "worker_timeout");
    assert_eq!(value["user_agent"], "curl/8");
    assert_eq!(value.get("referer"), None);
}

#[test]
fn text_escapes_quotes_and_line_ends() {
    let record = AccessRecord { user_agent: Some(b"a\"\r\n\\\x1b[31m\xff"), ..sample() };
    let line = line(AccessLogFormat::Text, &record);
    assert!(line.contains(r#""a\x22\x0d\x0a\x5c\x1b[31m\xff""#), "{line}");
}

proptest! {
    #[test]
    fn whatever_a_client_sends_stays_in_its_field(
        method in proptest::collection::vec(any::<u8>(), 0..40),
        target in proptest::collection::vec(any::<u8>(), 0..200),
        host in proptest::collection::vec(any::<u8>(), 0..60),
        agent in ".*",
        referer in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        status in 100u16..600,
        duration_us in any::<u64>(),
        time in any::<u64>(),
    ) {
        let record = AccessRecord {
            time: Duration::from_millis(time),
            method: &method, target: &target, host: &host, status, duration_us,
            user_agent: Some(agent.as_bytes()), referer: referer.as_deref(),
            ..sample()
        };
        let json = line(AccessLogFormat::Json, &record);
        prop_assert!(json.ends_with('\n'));
        let body = &json[..json.len() - 1];
        let breaks_lines = |c: char| c.is_control() || ['\u{2028}', '\u{2029}'].contains(&c);
        prop_assert!(!body.chars().any(breaks_lines));
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        prop_assert_eq!(value["user_agent"].as_str().unwrap(), agent.as_str());
        let redacted = redact::address(&target, &[]);
        prop_assert_eq!(value["target"].as_str().unwrap(), &*String::from_utf8_lossy(&redacted));
        let custom = AccessLogFormat::Custom("{method} {host} {path} {query} {user_agent}".into());
        let custom = line(custom, &record);
        prop_assert!(custom.strip_suffix('\n').unwrap().bytes().all(|b| (0x20..0x7f).contains(&b)));

        let text = line(AccessLogFormat::Text, &record);
        let body = text.strip_suffix('\n').unwrap();
        prop_assert!(body.bytes().all(|b| (0x20..0x7f).contains(&b)));
        // Four quoted fields; what clients send adds no quote.
        prop_assert_eq!(body.matches('"').count(), 8);
    }
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut writer = Writer::file(&path).unwrap();
    writer.write(b"1\n").unwrap();
    let rotated = directory.path().join("access.log.1");
    std::fs::rename(&path, &rotated).unwrap();
    if let Writer::File { checked, .. } = &mut writer {
        *checked -= Duration::from_secs(2);
    }
    writer.write(b"2\n").unwrap();
    assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "1\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
}

#[test]
fn what_was_appended_is_written_when_the_log_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let config = AccessLogConfig {
        output: AccessLogOutput::File(path.clone()),
        format: AccessLogFormat::Json,
        ..Default::default()
    };
    let log = AccessLog::start(&config).unwrap();
    let mut buffer = log.buffer();
    assert!(buffer.push(&sample()), "the first line asks for a flush");
    for n in 1..1000 {
        let started_a_buffer = buffer.push(&AccessRecord { duration_us: n, ..sample() });
        assert!(!started_a_buffer || n > 100);
    }
    drop(buffer);
    assert_eq!(log.dropped_lines(), 0);
    log.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1000);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["duration_us"], 999);
}

#[test]
fn a_writer_that_is_behind_costs_lines_not_time() {
    // A receiver that nobody reads stands for a blocked pipe.
    let (queue, batches) = sync_channel(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let mut buffer = AccessLogBuffer {
        formatter: Formatter::new(Looks::Text, None),
        sampling: Sampling::ALL,
        dice: 1,
        queue: Some(queue),
        batch: Batch::default(),
        dropped: dropped.clone(),
    };
    for _ in 0..3 {
        buffer.push(&sample());
        buffer.flush();
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert_eq!(batches.try_recv().unwrap().lines, 1);
}

#[test]
fn an_unwritable_file_is_an_error_that_says_what_to_do() {
    let config = AccessLogConfig {
        output: AccessLogOutput::File("/nonexistent/access.log".into()),
        ..AccessLogConfig::default()
    };
    assert!(AccessLog::start(&config).unwrap_err().to_string().contains("directory exists"));
}

#[test]
fn combined_is_what_tools_read() {
    let record = AccessRecord { subject: Some("ada l"), target: b"/a?token=x&b=c", ..sample() };
    assert_eq!(
        line(AccessLogFormat::Combined, &record),
        "192.0.2.1 - ada_l [21/Nov/2026:02:43:12 +0000] \"GET /a?token=***&b=c HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n"
    );
}

#[test]
fn lines_of_ones_own_looks() {
    let template = "{{{client}}} {method} {path} {query} {status} {duration_ms} {worker} {code} {request.x-a} {response.Age}";
    let record = AccessRecord {
        request_fields: &[("x-a", Some(b"1\r\n2"))],
        response_fields: &[("age", None)],
        ..sample()
    };
    assert_eq!(
        line(AccessLogFormat::Custom(template.into()), &record),
        "{192.0.2.1} GET /a b=c 200 1.045 default/hello - 1\\x0d\\x0a2 -\n"
    );
    let config = AccessLogConfig { format: AccessLogFormat::Custom(template.into()), ..Default::default() };
    assert_eq!((config.request_fields(), config.response_fields()), (vec!["x-a".into()], vec!["age".into()]));
    assert_eq!(config.problem(), None);
    for wrong in ["{no}", "{", "}", "{status", "a\nb", "{request.a b}"] {
        let config = AccessLogConfig { format: AccessLogFormat::Custom(wrong.into()), ..Default::default() };
        assert!(config.problem().is_some(), "{wrong:?}");
    }
}

#[test]
fn json_tells_fields_and_reasons() {
    let record = AccessRecord {
        request_fields: &[("x-a", Some(b"q\"")), ("x-b", None), ("x-c", Some(b"2"))],
        flags: Some("UF"),
        tls: Some("TLSv1.3"),
        subject: Some("ada"),
        ..sample()
    };
    let value: serde_json::Value = serde_json::from_str(&line(AccessLogFormat::Json, &record)).unwrap();
    assert_eq!(value["request"], serde_json::json!({ "x-a": "q\"", "x-c": "2" }));
    assert_eq!(
        (&value["flags"], &value["tls"], &value["subject"]),
        (&"UF".into(), &"TLSv1.3".into(), &"ada".into())
    );
}

#[test]
fn a_part_of_the_requests_gets_lines_and_errors_all_do() {
    let config = AccessLogConfig { sample: Ratio::try_from(0.25).unwrap(), ..Default::default() };
    let mut buffer = AccessLog::start(&config).unwrap().buffer();
    let kept = (0..10_000).filter(|_| buffer.wants(200, None)).count();
    assert!((2_000..3_000).contains(&kept), "{kept}");
    assert!((0..100).all(|_| buffer.wants(500, None) && buffer.wants(429, Some("rate_limited"))));
}
