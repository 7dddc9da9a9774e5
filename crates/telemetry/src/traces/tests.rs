use super::*;

fn trace() -> Trace {
    let span = Span {
        id: 2,
        parent: Some(1),
        name: "GET \"\r\n".into(),
        kind: SpanKind::Server,
        start_ns: u64::MAX - 1,
        end_ns: u64::MAX,
        attributes: vec![
            ("http.response.status_code", Value::Number(500)),
            ("url.path", Value::Text("/\u{0}".into())),
        ],
        error: Some("worker_timeout"),
    };
    Trace { trace_id: 0xabc, spans: vec![span] }
}

#[test]
fn otlp_is_as_the_protocol_has_it() {
    let request = otlp::request("here", &[trace()]);
    let resource = &request["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "here");
    let span = &resource["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], format!("{:032x}", 0xabc));
    assert_eq!(
        (span["spanId"].as_str(), span["parentSpanId"].as_str()),
        (Some("0000000000000002"), Some("0000000000000001"))
    );
    assert_eq!((&span["kind"], &span["status"]["code"]), (&2.into(), &2.into()));
    assert_eq!(span["endTimeUnixNano"], u64::MAX.to_string());
    assert_eq!(span["attributes"][0]["value"]["intValue"], "500");
}

#[test]
fn a_collector_that_is_absent_costs_traces_not_time() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        TracesConfig { endpoint: Some(format!("http://127.0.0.1:{port}/v1/traces")), ..Default::default() };
    let exporter = Exporter::start(&config).unwrap().unwrap();
    let (tracer, counts) = (exporter.tracer(), exporter.counts().clone());
    for _ in 0..10_000 {
        tracer.finish(trace());
    }
    drop(tracer);
    exporter.finish();
    assert_eq!(counts.dropped.load(Ordering::Relaxed), 10_000);
    assert_eq!(counts.exported.load(Ordering::Relaxed), 0);
}

#[test]
fn settings_are_checked_and_secrets_not_shown() {
    let config = TracesConfig { endpoint: Some("127.0.0.1:4318".into()), ..Default::default() };
    assert!(config.problem().unwrap().starts_with("endpoint: "));
    assert_eq!(TracesConfig::default().problem(), None);
    assert!(Exporter::start(&TracesConfig::default()).unwrap().is_none());
    let headers = SecretFields([("authorization".into(), "hunter2".into())].into());
    let shown = format!("{:?}", TracesConfig { headers, ..Default::default() });
    assert!(shown.contains("authorization") && !shown.contains("hunter2"));
}
