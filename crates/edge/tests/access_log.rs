//! Lines about requests, as files have them.

mod support;

use std::time::Duration;

use selvedge_edge::EdgeConfig;
use selvedge_telemetry::AccessLog;
use selvedge_telemetry::access_log::{AccessLogConfig, AccessLogFormat, AccessLogOutput};
use support::{config, start_logged};

/// Lines of these requests to the script `test`.
fn lines(change: impl FnOnce(&mut AccessLogConfig), requests: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut access_log =
        AccessLogConfig { output: AccessLogOutput::File(path.clone()), ..Default::default() };
    change(&mut access_log);
    let log = AccessLog::start(&access_log).unwrap();
    let server = start_logged(EdgeConfig { access_log, threads: 1, ..config() }, log).unwrap();
    for request in requests {
        server.send(request);
    }
    server.shutdown(Duration::from_secs(10)).finish();
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn secrets_stay_out_and_chosen_fields_are_told() {
    let request = "GET /x?access_token=hunter2&a=b HTTP/1.1\r\nhost: test.localhost\r\nauthorization: Bearer hunter2\r\n\
        cookie: s=hunter2\r\nreferer: https://a/?password=hunter2\r\nx-tenant: \"t\\\r\n\r\n";
    let lines = lines(
        |log| {
            log.format = AccessLogFormat::Json;
            log.request_headers = vec!["X-Tenant".into()];
            log.response_headers = vec!["x-test".into()];
        },
        &[
            request,
            "GET /panic HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: nobody\r\n\r\n",
        ],
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("hunter2")), "{lines:?}");
    let values: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["target"], "/x?access_token=***&a=b");
    assert_eq!(values[0]["referer"], "https://a/?password=***");
    assert_eq!(values[0]["request"], serde_json::json!({ "x-tenant": "\"t\\" }));
    assert_eq!(values[0]["response"], serde_json::json!({ "x-test": "1" }));
    assert_eq!((&values[1]["flags"], &values[2]["flags"]), (&"IE".into(), &"NR".into()));
    assert!(values[0].get("flags").is_none());
}

#[test]
fn a_template_says_what_lines_look_like() {
    let lines = lines(
        |log| log.format = AccessLogFormat::Custom("{method} {path} {status} {bytes} {worker}".into()),
        &["GET /a?b HTTP/1.1\r\nhost: test.localhost\r\n\r\n"],
    );
    assert_eq!(lines, ["GET /a 200 15 default/test"]);
}

#[test]
fn of_what_is_not_sampled_errors_are_told() {
    let lines = lines(
        |log| log.sample = selvedge_telemetry::ratio::Ratio::NONE,
        &[
            "GET / HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
            "GET /overloaded HTTP/1.1\r\nhost: test.localhost\r\n\r\n",
        ],
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("/overloaded"));
}
