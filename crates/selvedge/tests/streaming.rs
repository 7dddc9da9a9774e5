//! Bodies as streams, end to end: through the worker, past it, against the stream, and cut off.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{Answer, Selvedge, eventually};

/// Large against every window and buffer on the way.
const LARGE: usize = 10 << 20;

const WORKER: &str = r#"
const js = () => new TransformStream({ transform(chunk, controller) { controller.enqueue(chunk); } });
let note = "";
export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const to = searchParams.get("to");
    switch (pathname) {
      case "/through": return new Response(request.body.pipeThrough(js()).pipeThrough(js()));
      case "/past": return new Response(request.body);
      case "/identity":
        return new Response(request.body.pipeThrough(new IdentityTransformStream()).pipeThrough(new TransformStream()));
      case "/prefix": {
        const reader = request.body.getReader();
        const { value } = await reader.read();
        reader.releaseLock();
        const { readable, writable } = new TransformStream();
        const writer = writable.getWriter();
        ctx.waitUntil((async () => {
          await writer.write(value);
          writer.releaseLock();
          await request.body.pipeTo(writable);
        })());
        return new Response(readable);
      }
      case "/count": {
        let bytes = 0;
        for await (const chunk of request.body) bytes += chunk.length;
        return new Response(String(bytes));
      }
      case "/small": {
        let left = 100_000;
        return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(10).fill(97)); if (--left === 0) c.close(); } }));
      }
      case "/endless": {
        note = "running";
        let sent = 0;
        return new Response(new ReadableStream({
          type: "bytes",
          pull(c) { sent += 65536; c.enqueue(new Uint8Array(65536)); },
          cancel() { note = "canceled after " + sent; },
        }));
      }
      case "/forward": return fetch(to, { method: "POST", body: request.body, duplex: "half" });
      case "/download": return fetch(to);
      case "/watched": {
        const response = await fetch(to);
        const { readable, writable } = new TransformStream();
        note = "piping";
        ctx.waitUntil(response.body.pipeTo(writable).then(() => { note = "piped"; }, (error) => { note = "failed: " + error.message; }));
        return new Response(readable);
      }
      case "/breaks": return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(10)); c.error(new Error("broken source")); } }));
      case "/note": return new Response(note);
      default: return new Response("?", { status: 404 });
    }
  },
};
"#;

fn text(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at / 7 % 26) as u8)).collect()
}

fn started() -> Selvedge {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    selvedge
}

/// Sends a body while the answer is read: neither side could hold all of it.
fn exchange(selvedge: &Selvedge, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(selvedge.http).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: w.localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    let body = body.to_owned();
    let sending = std::thread::spawn(move || sender.write_all(body.as_bytes()));
    let answer = Answer::read(stream);
    sending.join().unwrap().unwrap();
    answer
}

#[test]
fn large_bodies_arrive_whole_whatever_way_they_take() {
    let selvedge = started();
    let body = text(LARGE);
    for path in ["/through", "/past", "/identity", "/prefix"] {
        let answer = exchange(&selvedge, path, &body);
        assert_eq!((answer.status, answer.body.len()), (200, LARGE), "{path}");
        assert!(answer.body == body, "{path} changed the body");
    }
    assert_eq!(exchange(&selvedge, "/count", &body).body, LARGE.to_string());
    for path in ["/through", "/past", "/identity"] {
        assert_eq!(selvedge.post("w", path, "x").body, "x", "{path}");
    }
    let small = selvedge.get("w", "/small").body;
    assert_eq!((small.len(), small.trim_matches('a')), (1_000_000, ""));
}

/// Sends the head of a request whose body never ends, and as much of that as is taken.
fn pour(selvedge: &Selvedge, path: &str) -> (TcpStream, usize) {
    let mut stream = TcpStream::connect(selvedge.http).unwrap();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: w.localhost\r\ncontent-length: {}\r\n\r\n", 100 << 20)
        .unwrap();
    stream.set_nonblocking(true).unwrap();
    let chunk = [b'x'; 65536];
    let (mut sent, mut idle) = (0, 0);
    // Full once nothing has been taken for a while.
    while idle < 100 && sent < 100 << 20 {
        match stream.write(&chunk) {
            Ok(count) => (sent, idle) = (sent + count, 0),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                idle += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    (stream, sent)
}

#[test]
fn a_client_that_does_not_read_stops_its_own_upload() {
    let selvedge = started();
    for path in ["/through", "/past", "/identity"] {
        let (stream, sent) = pour(&selvedge, path);
        // Windows and socket buffers on the way, some megabytes at most, and not the body.
        assert!(sent > 65536 && sent < 40 << 20, "{path} took {sent} bytes");
        drop(stream);
    }
    assert_eq!(selvedge.post("w", "/past", "still there").body, "still there");
}

#[test]
fn a_client_that_goes_away_cancels_the_source() {
    let selvedge = started();
    let stream = selvedge.begin("w", "/endless");
    let mut reader = BufReader::new(stream);
    reader.read_exact(&mut [0; 100_000]).unwrap();
    assert_eq!(selvedge.get("w", "/note").body, "running");
    drop(reader);
    let note = eventually("the source is cancelled", || {
        Some(selvedge.get("w", "/note").body).filter(|note| note.starts_with("canceled"))
    });
    let sent: usize = note.trim_start_matches("canceled after ").parse().unwrap();
    assert!(sent < 64 << 20, "an endless source made {sent} bytes for nobody");
}

#[test]
fn a_source_that_breaks_cuts_the_answer_off() {
    let selvedge = started();
    assert!(Answer::try_read(selvedge.begin("w", "/breaks")).is_err());
    assert_eq!(selvedge.post("w", "/past", "on").body, "on");
}

/// A worker that may reach an origin, at a URL.
fn with_origin() -> (Selvedge, TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let selvedge = Selvedge::configured(&format!("[engine]\negress_allow = [\"{address}\"]\n"));
    selvedge.deploy("w", WORKER);
    (selvedge, listener, format!("http://{address}/"))
}

/// Takes one connection, which `serve` handles after the request's head was read.
fn serve_one(listener: &TcpListener, serve: impl FnOnce(BufReader<TcpStream>) + Send + 'static) {
    let listener = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        serve(reader);
    });
}

#[test]
fn bodies_pass_between_client_and_origin_in_both_directions() {
    let (selvedge, listener, to) = with_origin();
    let body = text(LARGE);
    serve_one(&listener, |mut reader| {
        // The request's body, in chunks, counted.
        let mut total = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            reader.read_exact(&mut vec![0; size + 2]).unwrap();
            total += size;
            if size == 0 {
                break;
            }
        }
        let answer = total.to_string();
        write!(
            reader.get_mut(),
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
            answer.len()
        )
        .unwrap();
    });
    let answer = exchange(&selvedge, &format!("/forward?to={to}"), &body);
    assert_eq!((answer.status, answer.body), (200, LARGE.to_string()));

    for path in ["/download", "/watched"] {
        let sent = body.clone();
        serve_one(&listener, move |mut reader| {
            write!(
                reader.get_mut(),
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sent}",
                sent.len()
            )
            .unwrap();
        });
        let answer = selvedge.get("w", &format!("{path}?to={to}"));
        assert!(answer.status == 200 && answer.body == body, "{path}: {} bytes", answer.body.len());
    }
    eventually("the pipe is told", || (selvedge.get("w", "/note").body == "piped").then_some(()));
}

#[test]
fn an_origin_that_breaks_off_fails_what_the_host_moves() {
    let (selvedge, listener, to) = with_origin();
    serve_one(&listener, |mut reader| {
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", text(100_000))
            .unwrap();
    });
    assert!(Answer::try_read(selvedge.begin("w", &format!("/watched?to={to}"))).is_err());
    eventually("the pipe fails", || selvedge.get("w", "/note").body.starts_with("failed").then_some(()));
}

#[test]
fn a_client_that_goes_away_ends_what_the_host_moves() {
    let (selvedge, listener, to) = with_origin();
    let (tell, told) = std::sync::mpsc::channel();
    serve_one(&listener, move |mut reader| {
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").unwrap();
        while reader.get_mut().write_all(&[0; 65536]).is_ok() {}
        tell.send(()).unwrap();
    });
    let mut stream = selvedge.begin("w", &format!("/watched?to={to}"));
    stream.read_exact(&mut [0; 100_000]).unwrap();
    drop(stream);
    // The origin's connection is closed, too, long before it has sent everything.
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    eventually("the pipe fails", || selvedge.get("w", "/note").body.starts_with("failed").then_some(()));
}

#[test]
fn hostile_streams_harm_their_worker_only() {
    let selvedge = started();
    let hostile = r#"
      for (const prototype of [Promise.prototype, ReadableStream.prototype, Array.prototype, Uint8Array.prototype.__proto__]) {
        for (const key of Reflect.ownKeys(prototype)) {
          if (key === "constructor" || key === "pipeThrough" || typeof key === "symbol") continue;
          try { Object.defineProperty(prototype, key, { get() { throw new Error("spoilt"); } }); } catch {}
        }
      }
      Object.prototype.then = undefined;
      export default {
        fetch(request) {
          const { pathname } = new URL(request.url);
          if (pathname === "/queue") return new Response(new ReadableStream({ start(c) { for (;;) c.enqueue(new Uint8Array(1 << 20)); } }));
          if (pathname === "/spin") return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(0)); } }));
          return new Response(request.body.pipeThrough(new TransformStream({ transform(chunk, c) { c.enqueue(chunk); } })));
        },
      };"#;
    selvedge.deploy("hostile", hostile);
    assert_eq!(selvedge.post("hostile", "/", "round").body, "round");
    assert_eq!(selvedge.get("hostile", "/queue").status, 503);
    // Chunks without bytes for ever: the head is out, and the CPU limit cuts the rest off.
    assert!(Answer::try_read(selvedge.begin("hostile", "/spin")).is_err());
    assert_eq!(selvedge.post("w", "/through", "neighbour").body, "neighbour");
}

const READER: &str = r#"
let note = "";
export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    try {
      switch (pathname) {
        case "/note": return new Response(note);
        case "/json": return Response.json(Object.entries(await request.json()));
        default: return Response.json([(await request.text()).length, request.bodyUsed]);
      }
    } catch (error) {
      note = error.name;
      return new Response(error.name, { status: 500 });
    }
  },
};
"#;

/// The host puts together what a worker wants as text: characters that pieces cut in two, and what is too much.
#[test]
fn texts_come_whole() {
    let selvedge = Selvedge::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.js");
    std::fs::write(&file, READER).unwrap();
    selvedge.json(&["deploy", file.to_str().unwrap(), "--name", "reader"]);
    selvedge.json(&["deploy", file.to_str().unwrap(), "--name", "small", "--limit", "memory_mb=16"]);

    let mut client = TcpStream::connect(selvedge.http).unwrap();
    client.set_nodelay(true).unwrap();
    write!(client, "POST /json HTTP/1.1\r\nhost: reader.localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for piece in [b"\xef\xbb".as_slice(), b"\xbf{\"price\":\"\xe2\x82", b"\xac\"", b"}"] {
        write!(client, "{:x}\r\n", piece.len()).unwrap();
        client.write_all(piece).unwrap();
        client.write_all(b"\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    client.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(Answer::read(client).body, r#"[["price","€"]]"#);

    assert_eq!(selvedge.post("reader", "/text", "").body, "[0,false]");
    for length in [1, 70_000, 1 << 20, 6 << 20] {
        assert_eq!(selvedge.post("reader", "/text", &text(length)).body, format!("[{length},true]"));
    }
    assert_eq!(selvedge.post("reader", "/text", &"é".repeat(100_000)).body, "[100000,true]");
    let answer = selvedge.post("small", "/text", &text(17 << 20));
    assert_eq!((answer.status, answer.body.as_str()), (500, "RangeError"));

    let mut client = TcpStream::connect(selvedge.http).unwrap();
    write!(client, "POST /text HTTP/1.1\r\nhost: reader.localhost\r\ncontent-length: 100\r\n\r\nabc")
        .unwrap();
    drop(client);
    eventually("the body that was cut off failed", || {
        (selvedge.get("reader", "/note").body == "TypeError").then_some(())
    });
    assert_eq!(selvedge.post("reader", "/json", "{").body, "SyntaxError");
}

/// The length of a `FixedLengthStream` is told in both directions, whatever headers say.
#[test]
fn a_fixed_length_is_told() {
    let selvedge = Selvedge::start();
    let code = r#"
        const fixed = (length, text) => {
          const { readable, writable } = new FixedLengthStream(length);
          const writer = writable.getWriter();
          const all = Promise.all([writer.write(new TextEncoder().encode(text)), writer.close()]);
          all.catch(() => {});
          return readable;
        };
        export default {
          async fetch(request, env, ctx) {
            const { pathname } = new URL(request.url);
            if (pathname === "/told") return new Response(request.headers.get("content-length") + (await request.text()));
            if (pathname === "/asked") {
              const body = fixed(5, "hello");
              return ctx.exports.default.fetch("http://x/told", { method: "POST", body, headers: { "content-length": "7" } });
            }
            if (pathname === "/short") return new Response(fixed(9, "hello"));
            return new Response(fixed(5, "hello"), { headers: { "content-length": "99", "x-a": "1" } });
          },
        };"#;
    selvedge.deploy("w", code);
    let answer = selvedge.get("w", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(answer.header("x-a"), Some("1"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(selvedge.get("w", "/asked").body, "5hello");
    // What comes to less than was told is cut off, so that nobody takes it for the whole.
    let mut client = TcpStream::connect(selvedge.http).unwrap();
    write!(client, "GET /short HTTP/1.1\r\nhost: w.localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(answer.to_lowercase().contains("content-length: 9"), "{answer}");
    assert!(answer.ends_with("hello") || answer.ends_with("\r\n\r\n"), "{answer}");
}
