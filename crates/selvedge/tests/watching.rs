//! Watching workers: tail, logs, and `dev` with its reloads.

mod common;

use std::fs;

use common::{Ongoing, Selvedge, eventually, line, selvedge};

const TALKER: &str = "\
interface Env {}
export default {
  fetch(request: Request, env: Env): Response {
    const { pathname } = new URL(request.url);
    if (pathname === '/throw') {
      throw new Error('thrown here');
    }
    console.log('seen', { pathname });
    return new Response('ok');
  },
};";

#[test]
fn tail_shows_what_the_worker_says() {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", TALKER);
    let mut tail = Ongoing::start(&mut selvedge.command(&["tail", "w", "--json"]));
    assert!(line(&mut tail.errors).contains("watching w"));
    selvedge.get("w", "/a");
    let event = tail.document();
    assert_eq!((event["kind"].as_str(), event["level"].as_str()), (Some("console"), Some("log")));
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("seen") && message.contains("/a"), "{message}");
    assert_eq!(selvedge.get("w", "/throw").status, 500);
    let event = tail.document();
    assert_eq!(event["kind"], "exception");
    assert!(event["message"].as_str().unwrap().contains("thrown here"), "{event}");
    // As in the source, not as in the bundle.
    assert!(event["stack"].as_str().unwrap().contains("index.ts:6"), "{event}");
    let logs = selvedge.json(&["logs", "w"]);
    assert_eq!(logs.as_array().unwrap().len(), 2);
}

#[test]
fn dev_reloads_and_survives_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.ts");
    let code = |text: &str| format!("export default {{ fetch() {{ return new Response('{text}') }} }}");
    fs::write(&file, code("one")).unwrap();
    let mut dev = Ongoing::start(selvedge().args(["dev", "--json", "--port=0"]).arg(&file));
    let url = dev.document()["url"].as_str().unwrap().to_owned();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let get = || {
        let call = agent.get(format!("http://127.0.0.1:{port}/")).header("host", "w.localhost").call();
        call.unwrap().into_body().read_to_string().unwrap()
    };
    assert_eq!(get(), "one");
    fs::write(&file, code("two")).unwrap();
    assert!(dev.document()["version"].is_string());
    assert_eq!(get(), "two");
    fs::write(&file, "export default {").unwrap();
    assert_eq!(dev.document()["error"]["code"], "syntax_error");
    assert_eq!(get(), "two");
    // As editors do it: a new file in place of the old one.
    fs::write(dir.path().join("new"), code("three")).unwrap();
    fs::rename(dir.path().join("new"), &file).unwrap();
    eventually("the new file is served", || (get() == "three").then_some(()));
}

#[test]
fn dev_tells_clients_what_went_wrong_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.ts");
    let code = "interface Env {}\n\nexport default {\n  fetch(request: Request, env: Env): Response {\n    throw new Error('a < b & c');\n  },\n};";
    fs::write(&file, code).unwrap();
    let mut dev = Ongoing::start(selvedge().args(["dev", "--json", "--port=0"]).arg(&file));
    let url = dev.document()["url"].as_str().unwrap().to_owned();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
    let get = |accept: &str| {
        let call = agent.get(format!("http://127.0.0.1:{port}/")).header("host", "w.localhost");
        call.header("accept", accept).call().unwrap().into_body().read_to_string().unwrap()
    };
    let page = get("text/html");
    assert!(page.contains("<pre>Error: a &lt; b &amp; c\n") && page.contains("w.ts:5:11"), "{page}");
    let error: serde_json::Value = serde_json::from_str(&get("*/*")).unwrap();
    let detail = error["error"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("Error: a < b & c\n    at "), "{detail}");

    let selvedge = Selvedge::start();
    selvedge.deploy("w", code);
    let answer = selvedge.get("w", "/");
    assert_eq!(answer.code(), "worker_exception");
    assert!(answer.json()["error"]["detail"].is_null() && !answer.body.contains("a <"), "{answer:?}");
}
