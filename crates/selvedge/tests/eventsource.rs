//! `EventSource` in workers.

mod common;

use std::io::Write;

use common::{Selvedge, origin};
use serde_json::{Value, json};

const WORKER: &str = r#"
const until = (target, type) => new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/refused") {
      const source = new EventSource(searchParams.get("url"));
      const { message } = await until(source, "error");
      return Response.json([source.readyState, message]);
    }
    const seen = [];
    const note = (event) => seen.push([event.type, event.data, event.lastEventId]);
    if (pathname === "/from") {
      const text = "\ufeff: nothing\ndata: first\r\ndata:second\rdata\n\nid: 7\nevent: named\ndata: \u00fc\n\nid: a\0b\ndata: kept\n\nevent: lost\n\nid\ndata:none\n\ndata: unfinished";
      const bytes = new TextEncoder().encode(text);
      const size = Number(searchParams.get("size"));
      const source = EventSource.from(new ReadableStream({
        pull(controller) {
          if (this.at >= bytes.length) return controller.close();
          controller.enqueue(bytes.slice(this.at ?? 0, (this.at = (this.at ?? 0) + size)));
        },
      }));
      source.onmessage = note;
      source.addEventListener("named", note);
      source.addEventListener("lost", note);
      await until(source, "error");
      return Response.json({ seen, state: source.readyState, url: source.url });
    }
    const source = new EventSource(searchParams.get("url"));
    const states = [source.readyState];
    source.onopen = () => states.push(source.readyState);
    source.onerror = () => states.push(source.readyState);
    await new Promise((resolve) => {
      source.onmessage = (event) => {
        note(event);
        if (event.data === "end") resolve(source.close());
      };
    });
    return Response.json({ seen, states: [...states, source.readyState] });
  },
};
"#;

#[test]
fn streams_are_parsed_in_any_pieces() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", WORKER, json!({}));
    for size in [1, 2, 7, 1000] {
        let answer: Value = selvedge.get("w", &format!("/from?size={size}")).json();
        let wanted = json!([
            ["message", "first\nsecond\n", ""],
            ["named", "\u{fc}", "7"],
            ["message", "kept", "7"],
            ["message", "none", ""]
        ]);
        assert_eq!(answer["seen"], wanted, "pieces of {size}");
        assert_eq!((&answer["state"], &answer["url"]), (&json!(2), &json!("")));
    }
}

#[test]
fn a_lost_connection_is_taken_up_again() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n";
    let server = origin::raw(move |number, stream, request| {
        let id = request.lines().find_map(|line| line.strip_prefix("last-event-id: ").map(str::to_owned));
        let body = match number {
            0 => "retry: 10\nid: \u{e9}1\ndata: one\n\n".to_owned(),
            1 => format!("data: {}\n\n", id.unwrap_or_default()),
            _ => "data: end\n\n".to_owned(),
        };
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    });
    let refusing = origin::answering("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    let allowed = format!("[\"localhost:{}\", \"localhost:{}\"]", server.port, refusing.port);
    let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = {allowed}\n"));
    selvedge.deploy_limited("w", WORKER, json!({}));
    let answer: Value = selvedge.get("w", &format!("/?url={}", server.url("http"))).json();
    let wanted = json!([
        ["message", "one", "\u{e9}1"],
        ["message", "\u{e9}1", "\u{e9}1"],
        ["message", "end", "\u{e9}1"]
    ]);
    assert_eq!(answer["seen"], wanted);
    assert_eq!(answer["states"], json!([0, 1, 0, 1, 0, 1, 2]));
    let answer: Value = selvedge.get("w", &format!("/refused?url={}", refusing.url("http"))).json();
    assert_eq!(answer[0], 2, "{answer}");
}
