//! Sockets through service bindings.

use super::*;

/// Passes everything on to another worker, but for `/own`.
const ROUTER: &str = r#"
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname !== "/own") return env.BACK.fetch(request);
    const { status, webSocket } = await env.BACK.fetch("http://back/greet", { headers: { Upgrade: "websocket" } });
    webSocket.accept();
    const got = [];
    const closed = new Promise((resolve) => webSocket.addEventListener("close", resolve));
    webSocket.addEventListener("message", ({ data }) => {
      got.push(data);
      webSocket.send(got.length === 1 ? "hello" : "close");
    });
    const { code, reason } = await closed;
    return Response.json([status, got, code, reason]);
  },
};
"#;

fn routed(settings: &str, router: &str) -> Selvedge {
    let selvedge = Selvedge::configured(settings);
    let limits = json!({ "wall_ms": 1000 });
    selvedge.deploy_limited("back", WORKER, limits.clone());
    let bindings = json!([{ "type": "service", "name": "BACK", "service": "back" }]);
    let metadata = json!({ "limits": limits, "bindings": bindings });
    let answer = selvedge.upload("w", metadata, &[Module::main(router)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    selvedge
}

#[test]
fn a_service_binding_passes_sockets_on() {
    let selvedge = routed("", ROUTER);
    assert_eq!(selvedge.get("w", "/").status, 426);
    assert_eq!(try_connect(&selvedge, "/refuse", "").unwrap_err(), 403);
    let mut client = try_connect(&selvedge, "/greet", "one, two").unwrap();
    assert_eq!(next(&mut client), text("before"));
    client.send(text("hello")).unwrap();
    assert_eq!(next(&mut client), text("hello"));
    let large = Message::binary(vec![7; 3 << 20]);
    client.send(large.clone()).unwrap();
    assert_eq!(next(&mut client), large);
    // Beyond the wall time of both workers' requests.
    std::thread::sleep(Duration::from_millis(2500));
    client.send(text("still")).unwrap();
    assert_eq!(next(&mut client), text("still"));
    client.send(text("close")).unwrap();
    assert_eq!(closed(&mut client), (4001, "as you wish".into()));
    let mut client = connect(&selvedge, "/");
    client.close(Some(CloseFrame { code: CloseCode::Library(4005), reason: "bye".into() })).unwrap();
    assert_eq!(closed(&mut client).0, 4005);
    let seen = |wanted: &str| {
        eventually("the other worker sees the close", || {
            (selvedge.get("back", "/last").body == wanted).then_some(())
        })
    };
    seen("4005 bye true 3");
    // A client that is gone without a word.
    drop(connect(&selvedge, "/"));
    seen("1011 The other side broke off. true 3");
    assert_eq!(selvedge.get("w", "/own").body, r#"[101,["before","hello"],4001,"as you wish"]"#);
}

#[test]
fn what_breaks_behind_a_service_binding_closes_the_socket() {
    let selvedge = routed("[engine]\nsocket_drain_s = 1\n", ROUTER);
    let mut spinning = connect(&selvedge, "/");
    spinning.send(text("spin")).unwrap();
    assert_eq!(closed(&mut spinning).0, 1011);
    let mut old = connect(&selvedge, "/");
    old.send(text("here")).unwrap();
    assert_eq!(next(&mut old), text("here"));
    selvedge.deploy_limited("back", &WORKER.replace("as you wish", "anew"), json!({}));
    assert_eq!(closed(&mut old).0, 1011);
    let mut new = connect(&selvedge, "/");
    new.send(text("close")).unwrap();
    assert_eq!(closed(&mut new), (4001, "anew".into()));
    // An answer with a socket that nobody asked for.
    let router = ROUTER.replace(", { headers: { Upgrade: \"websocket\" } }", "");
    let selvedge = routed("", &router);
    let answer = selvedge.get("w", "/own");
    assert_eq!(answer.status, 500, "{answer:?}");
}
