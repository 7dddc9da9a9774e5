//! `node:net` and `node:tls` in workers against real servers.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};

use common::Selvedge;
use common::api::Module;
use common::origin::Authority;
use serde_json::{Value, json};

const HEAD: &str = r#"
import net from "node:net";
import tls from "node:tls";
import { once } from "node:events";
import { text } from "node:stream/consumers";
function watch(socket) {
  const log = [];
  for (const name of ["connect", "ready", "secureConnect", "end", "error", "timeout", "close"]) socket.on(name, (x) => log.push(name === "error" ? `error ${x.code}` : name));
  return log;
}
const tried = (f) => { try { return f(); } catch (e) { return `${e.name} ${e.code}`; } };
"#;

/// A server that does with each connection what `handler` does.
fn server(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (handler, stream) = (handler.clone(), stream.unwrap());
            std::thread::spawn(move || handler(stream));
        }
    });
    port
}

/// Gives everything back, and ends when the other side does.
fn echo() -> u16 {
    server(|mut stream| {
        let mut writer = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut writer);
        let _ = writer.shutdown(Shutdown::Write);
    })
}

/// What a program, which knows `port`, returns.
fn run(port: u16, settings: &str, program: &str) -> Value {
    let selvedge =
        Selvedge::configured(&format!("[engine]\negress_allow = [\"localhost:{port}\"]\n{settings}"));
    let code = format!(
        "{HEAD}const port = {port};\nexport default {{ async fetch() {{ return Response.json(await (async () => {{ {program} }})()); }} }};"
    );
    let answer =
        selvedge.upload("net", json!({"compatibility_flags": ["nodejs_compat"]}), &[Module::main(&code)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = selvedge.get("net", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn sockets_are_streams() {
    let seen = run(
        echo(),
        "",
        r#"
        const socket = net.connect({ port, host: "localhost" });
        const log = watch(socket);
        const before = [socket.connecting, socket.pending, socket.readyState];
        socket.write("written before it is open, ");
        await once(socket, "connect");
        const open = [socket.connecting, socket.readyState, socket.remoteAddress, socket.remotePort, socket.remoteFamily, socket.address().address];
        socket.setNoDelay(true).setKeepAlive(true).setEncoding("utf8");
        socket.end(Buffer.from("and after"));
        const closed = once(socket, "close");
        const said = await text(socket);
        await closed;
        // Listeners before `connect`, and much data.
        const late = new net.Socket();
        let bytes = 0;
        late.on("data", (chunk) => (bytes += chunk.length));
        late.connect(port, "localhost", () => { for (let i = 0; i < 50; i++) late.write(Buffer.alloc(20_000)); late.end(); });
        await once(late, "close");
        return { before, open, said, log, counts: [socket.bytesWritten, socket.bytesRead], bytes, over: [socket.destroyed, socket.readyState] };"#,
    );
    assert_eq!(seen["before"], json!([true, true, "opening"]));
    assert_eq!(
        (&seen["open"][0], &seen["open"][1], &seen["open"][2]),
        (&json!(false), &json!("open"), &json!("127.0.0.1"))
    );
    assert_eq!((&seen["open"][4], &seen["open"][5]), (&json!("IPv4"), &json!("127.0.0.1")));
    assert_eq!(seen["said"], "written before it is open, and after");
    assert_eq!(seen["log"], json!(["connect", "ready", "end", "close"]));
    assert_eq!((&seen["counts"], &seen["bytes"]), (&json!([36, 36]), &json!(1_000_000)));
    assert_eq!(seen["over"], json!([true, "closed"]));
}

#[test]
fn what_goes_wrong_has_the_codes_of_node() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let seen = run(
        closed,
        "",
        r#"
        const fails = async (...args) => {
          const socket = net.connect(...args);
          const log = watch(socket);
          const [error] = await once(socket, "error");
          await new Promise((r) => setTimeout(r, 1));
          return [error.code, error.syscall, log];
        };
        return {
          refused: await fails(port, "localhost"), name: await fails({ port: 1, host: "nowhere.invalid" }), policy: await fails(80, "10.0.0.1"),
          node: [tried(() => net.connect()), tried(() => net.connect(99999)), tried(() => net.connect({ port: "x" })), tried(() => net.connect({ port: 1, host: 3 }))],
          own: [tried(() => net.connect("/socket")), tried(() => net.createServer()), tried(() => tls.connect({ port: 1, key: "k" }))],
          write: await new Promise((r) => new net.Socket().on("error", (e) => r(e.code)).write("x")),
          ip: ["1.2.3.4", "256.1.1.1", "::1", "fe80::1%eth0", "::ffff:1.2.3.4", "1::2::3", "a", ""].map((one) => net.isIP(one)),
        };"#,
    );
    assert_eq!(seen["refused"], json!(["ECONNREFUSED", "connect", ["error ECONNREFUSED", "close"]]));
    assert_eq!((&seen["name"][0], &seen["name"][1]), (&json!("ENOTFOUND"), &json!("getaddrinfo")));
    assert_eq!(seen["policy"][0], "EACCES");
    // As Node 20 says it.
    let node = [
        "TypeError ERR_MISSING_ARGS",
        "RangeError ERR_SOCKET_BAD_PORT",
        "RangeError ERR_SOCKET_BAD_PORT",
        "TypeError ERR_INVALID_ARG_TYPE",
    ];
    assert_eq!(seen["node"], json!(node));
    assert_eq!(seen["own"], json!(vec!["Error ERR_METHOD_NOT_IMPLEMENTED"; 3]));
    assert_eq!(
        (&seen["write"], &seen["ip"]),
        (&json!("ERR_SOCKET_CLOSED"), &json!([4, 0, 6, 6, 6, 0, 0, 0]))
    );
}

#[test]
fn sockets_are_destroyed_and_time_out() {
    let (gone, hears) = mpsc::channel();
    let port = server(move |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    let seen = run(
        port,
        "",
        r#"
        const ends = async (act) => {
          const socket = net.createConnection({ host: "localhost", port });
          const log = watch(socket);
          socket.on("error", () => 0);
          await once(socket, "connect");
          const closed = new Promise((r) => socket.on("close", r));
          act(socket);
          return [await closed, log.filter((l) => l !== "connect" && l !== "ready")];
        };
        return [
          await ends((s) => s.destroy()), await ends((s) => s.destroy(Object.assign(new Error("mine"), { code: "MINE" }))),
          await ends((s) => s.setTimeout(5, () => s.destroy())), await ends((s) => { s.write("x"); s.destroySoon(); }),
        ];"#,
    );
    let ends = json!([
        [false, ["close"]],
        [true, ["error MINE", "close"]],
        [false, ["timeout", "close"]],
        [false, ["close"]]
    ]);
    assert_eq!(without_flags(&seen), without_flags(&ends));
    for _ in 0..4 {
        hears.recv_timeout(std::time::Duration::from_secs(30)).expect("the connection is closed");
    }
}

/// The logs alone.
fn without_flags(seen: &Value) -> Vec<Value> {
    seen.as_array().unwrap().iter().map(|one| one[1].clone()).collect()
}

#[test]
fn tls_from_the_beginning_and_from_some_point_on() {
    let authority = Arc::new(Authority::new(&["localhost"]));
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", authority.write(dir.path()));
    let served = authority.clone();
    // In the clear when the first byte says so, then like SMTP.
    let port = server(move |mut stream| {
        let mut first = [0];
        if stream.peek(&mut first).is_ok_and(|count| count > 0) && first[0] == b'S' {
            let mut line = String::new();
            BufReader::with_capacity(1, stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "STARTTLS\n");
            stream.write_all(b"GO AHEAD\n").unwrap();
        }
        served.echo_line(stream);
    });
    let program = r#"
        const secure = tls.connect(port, "localhost", () => secure.write("from the beginning\n"));
        const log = watch(secure);
        const said = [await text(secure)];
        const plain = net.connect(port, "localhost");
        plain.write("STARTTLS\n");
        said.push(String((await once(plain, "data"))[0]));
        const upgraded = tls.connect({ socket: plain, servername: "localhost" });
        await once(upgraded, "secureConnect");
        upgraded.write("from here on\n");
        said.push(await text(upgraded));
        return { said, log, flags: [secure.encrypted, secure.authorized, upgraded.authorized, upgraded.servername, upgraded instanceof net.Socket] };"#;
    let seen = run(port, &settings, program);
    assert_eq!(seen["said"], json!(["from the beginning\n", "GO AHEAD\n", "from here on\n"]));
    let log = seen["log"].as_array().unwrap();
    assert!(log.contains(&json!("secureConnect")) && log.contains(&json!("end")), "{log:?}");
    assert_eq!(seen["flags"], json!([true, true, true, "localhost", true]));
    // Of an authority that nobody knows.
    let strange = r#"
        const [error] = await once(tls.connect({ port, host: "localhost", rejectUnauthorized: false }), "error");
        return error.code;"#;
    assert_eq!(run(port, "", strange), "EPROTO");
}
