//! `connect()` of `cloudflare:sockets`: TCP connections of workers to real servers, and what the policy forbids.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use common::Selvedge;
use common::origin::{self, Authority};

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

/// Gives everything back.
fn echo() -> u16 {
    server(|mut stream| {
        let mut writer = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut writer);
        let _ = writer.shutdown(Shutdown::Write);
    })
}

const HEAD: &str = "\
    import { connect } from 'cloudflare:sockets';\n\
    const bytes = (text) => new TextEncoder().encode(text);\n\
    const text = (stream) => new Response(stream).text();\n\
    const outcome = (promise) => promise.then((value) => 'fine: ' + value, (error) => `${error.code}: ${error.message}`);\n";

/// What a worker answers whose handler has this body.
fn run(allowed: &[u16], settings: &str, body: &str) -> String {
    let hosts: Vec<String> = allowed.iter().map(|port| format!("localhost:{port}")).collect();
    let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = {hosts:?}\n{settings}"));
    let code = format!("{HEAD}export default {{ async fetch(request, env, ctx) {{ {body} }} }}");
    selvedge.deploy("worker", &code);
    let answer = selvedge.get("worker", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[test]
fn bytes_go_both_ways() {
    let port = echo();
    let body = format!(
        "const socket = connect({{ hostname: 'localhost', port: {port} }});
         const info = await socket.opened;
         const writer = socket.writable.getWriter();
         await writer.write(bytes('hello '));
         await writer.write(bytes('there'));
         await writer.close();
         const said = await text(socket.readable);
         await socket.closed;
         return new Response([said, info.remoteAddress, typeof info.localAddress, socket.secureTransport].join());"
    );
    assert_eq!(run(&[port], "", &body), format!("hello there,127.0.0.1:{port},string,off"));
}

#[test]
fn much_goes_both_ways_with_backpressure() {
    let port = echo();
    let body = format!(
        "const socket = connect('localhost:{port}');
         const writer = socket.writable.getWriter();
         const chunk = new Uint8Array(100_000).fill(7);
         const writing = (async () => {{ for (let i = 0; i < 100; i++) await writer.write(chunk); await writer.close(); }})();
         let total = 0;
         for await (const part of socket.readable) {{
           total += part.length;
           if (part.some((byte) => byte !== 7)) return new Response('wrong bytes');
         }}
         await writing;
         return new Response(String(total));"
    );
    assert_eq!(run(&[port], "", &body), "10000000");
}

#[test]
fn the_peers_end_closes_the_socket_unless_half_open_is_allowed() {
    // Says goodbye at once, then tells what it still got.
    let (sender, received) = mpsc::channel();
    let sender = Mutex::new(sender);
    let port = server(move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest);
        sender.lock().unwrap().send(rest).unwrap();
    });
    let body = |half: bool| {
        format!(
            "const socket = connect('localhost:{port}', {{ allowHalfOpen: {half} }});
             const said = await text(socket.readable);
             const writer = socket.writable.getWriter();
             const wrote = await outcome(writer.write(bytes('more')));
             if ({half}) await writer.close();
             await socket.closed;
             return new Response(said + ' ' + wrote);"
        )
    };
    assert_eq!(run(&[port], "", &body(true)), "bye fine: undefined");
    assert_eq!(received.recv().unwrap(), "more");
    assert_eq!(run(&[port], "", &body(false)), "bye undefined: The peer closed the connection.");
    assert_eq!(received.recv().unwrap(), "");
}

#[test]
fn closing_sends_what_was_written() {
    let (sender, received) = mpsc::channel();
    let sender = Mutex::new(sender);
    let port = server(move |mut stream| {
        let mut all = String::new();
        let _ = stream.read_to_string(&mut all);
        sender.lock().unwrap().send(all).unwrap();
    });
    let body = format!(
        "const socket = connect('localhost:{port}');
         await socket.writable.getWriter().write(bytes('last words'));
         await socket.close();
         return new Response(await outcome(socket.closed));"
    );
    assert_eq!(run(&[port], "", &body), "fine: undefined");
    assert_eq!(received.recv().unwrap(), "last words");
}

#[test]
fn tls_from_the_start() {
    let authority = Authority::new(&["localhost"]);
    let origin = origin::serve(Some((&authority, &[])), |_, _| origin::reply("secret"));
    let strange = Authority::new(&["elsewhere.example"]);
    let other = origin::serve(Some((&strange, &[])), |_, _| origin::reply("secret"));
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", authority.write(dir.path()));
    let (port, wrong) = (origin.port, other.port);
    let body = format!(
        "const socket = connect('localhost:{port}', {{ secureTransport: 'on' }});
         await socket.writable.getWriter().write(bytes('GET / HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n'));
         const said = await text(socket.readable);
         const untrusted = connect('localhost:{wrong}', {{ secureTransport: 'on' }});
         return new Response([said.endsWith('secret'), await outcome(untrusted.opened)].join());"
    );
    let said = run(&[port, wrong], &settings, &body);
    assert!(said.starts_with("true,tls_failed: TLS with localhost failed"), "{said}");
}

#[test]
fn tls_later() {
    let authority = Arc::new(Authority::new(&["localhost"]));
    let theirs = authority.clone();
    // A line in the clear each way, then TLS on the same connection, where it repeats a line.
    let port = server(move |mut stream| {
        let mut line = [0; 9];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"STARTTLS\n");
        stream.write_all(b"GO AHEAD\n").unwrap();
        theirs.echo_line(stream);
    });
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("egress_ca = {:?}\n", authority.write(dir.path()));
    let body = format!(
        "const plain = connect('localhost:{port}', {{ secureTransport: 'starttls' }});
         const writer = plain.writable.getWriter();
         writer.write(bytes('START'));
         writer.write(bytes('TLS\\n'));
         const reader = plain.readable.getReader();
         let said = '';
         while (!said.endsWith('\\n')) said += new TextDecoder().decode((await reader.read()).value);
         reader.releaseLock();
         writer.releaseLock();
         const socket = plain.startTls();
         await socket.opened;
         await socket.writable.getWriter().write(bytes('whisper\\n'));
         said += await text(socket.readable);
         return new Response(said + [plain.upgraded, socket.secureTransport, await outcome(plain.closed)].join());"
    );
    assert_eq!(run(&[port], &settings, &body), "GO AHEAD\nwhisper\ntrue,on,fine: undefined");
}

#[test]
fn what_cannot_be_reached_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let inside = echo();
    let body = format!(
        "const tries = ['localhost:{closed}', 'localhost:{inside}', '[::1]:{inside}', '169.254.169.254:80', 'no-such-host.invalid:1', '192.0.2.1:25'];
         const said = [];
         for (const address of tries) {{
           const socket = connect(address);
           const opened = await outcome(socket.opened);
           const closed = await outcome(socket.closed);
           const read = await outcome(socket.readable.getReader().read());
           said.push(opened.split(':')[0] + (opened === closed && closed === read));
         }}
         return new Response(said.join());"
    );
    let expected = "connection_refusedtrue,egress_refusedtrue,egress_refusedtrue,egress_refusedtrue,dns_failedtrue,egress_refusedtrue";
    assert_eq!(run(&[closed], "", &body), expected);
}

#[test]
fn nonsense_is_refused_at_once() {
    let body = "
        const said = [];
        for (const nonsense of [[], ['localhost'], ['localhost:0'], ['localhost:99999'], ['::1:80'], [{ hostname: '', port: 1 }],
            [{ hostname: 'a', port: 'x' }], ['a:1', { secureTransport: 'maybe' }], ['a:1', 'options']]) {
          try { connect(...nonsense); said.push('made'); } catch (error) { said.push(error.name); }
        }
        const socket = connect('localhost:1');
        try { socket.startTls(); said.push('started'); } catch (error) { said.push(error.name); }
        try { new socket.constructor(); said.push('made'); } catch (error) { said.push(error.name); }
        return new Response(said.join());";
    assert_eq!(run(&[], "", body), ["TypeError"; 11].join(","));
}

#[test]
fn sockets_end_with_their_request() {
    let (sender, ended) = mpsc::channel();
    let sender = Mutex::new(sender);
    let port = server(move |mut stream| {
        let _ = stream.write_all(b"x");
        let _ = stream.read(&mut [0; 1]);
        sender.lock().unwrap().send(()).unwrap();
    });
    let body = format!(
        "const socket = connect('localhost:{port}');
         await socket.opened;
         globalThis.kept = socket;
         return new Response('left open');"
    );
    assert_eq!(run(&[port], "", &body), "left open");
    ended.recv().unwrap();
}
