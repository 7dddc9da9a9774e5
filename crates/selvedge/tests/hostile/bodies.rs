//! Bodies as weapons, of workers and of their clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::common::{Answer, eventually};
use crate::scene::{OFFENDER, Scene};

/// A stream of a gigabyte that counts what was asked of it; `/produced` says how much.
const GIGABYTE: &str = "\
    if (request.url.endsWith('/produced')) return new Response(String(globalThis.produced));\n\
    globalThis.produced = 0;\n\
    const chunk = new Uint8Array(1 << 16);\n\
    return new Response(new ReadableStream({\n\
      pull(controller) {\n\
        globalThis.produced += chunk.length;\n\
        controller.enqueue(chunk);\n\
        if (globalThis.produced >= 2 ** 30) controller.close();\n\
      },\n\
      cancel() { console.log('the client is gone'); },\n\
    }));";

fn limits() -> Value {
    json!({ "cpu_ms": 2_000, "cpu_burst_ms": 2_000, "body_bytes": 1 << 20, "memory_mb": 32 })
}

fn said(scene: &Scene, text: &str) {
    eventually(text, || {
        let logs = scene.selvedge.logs(OFFENDER);
        logs.iter().any(|event| event["message"].as_str().unwrap().contains(text)).then_some(())
    });
}

/// Resident memory of the process under test, MiB.
fn resident(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.selvedge.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_client_that_stops_reading() {
    let scene = Scene::new(GIGABYTE, limits());
    let before = resident(&scene);
    let mut reader = BufReader::new(scene.selvedge.begin(OFFENDER, "/"));
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    assert!(status.contains("200"), "{status}");
    let produced = || scene.selvedge.get(OFFENDER, "/produced").body.parse::<u64>().unwrap();
    // The worker is held up once all buffers on the way are full.
    let mut last = 0;
    let held = eventually("the worker waits for its client", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = produced();
        let held = now == std::mem::replace(&mut last, now);
        held.then_some(now)
    });
    assert!(held < 64 << 20, "{held} bytes were produced for a client that reads nothing");
    assert!(resident(&scene) < before + 64, "{} MiB before, {} MiB now", before, resident(&scene));
    drop(reader);
    said(&scene, "the client is gone");
    scene.recovered();
}

#[test]
fn a_client_that_leaves() {
    let scene = Scene::new(GIGABYTE, limits());
    let mut stream = scene.selvedge.begin(OFFENDER, "/");
    stream.read_exact(&mut [0; 1 << 16]).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    said(&scene, "the client is gone");
    scene.recovered();
}

#[test]
fn a_client_that_leaves_before_the_answer() {
    let scene = Scene::new(
        "request.signal.addEventListener('abort', () => console.log('aborted'));\n\
         console.log('waiting');\n\
         await new Promise((resolve) => setTimeout(resolve, 20_000));\n\
         return new Response('late');",
        limits(),
    );
    let stream = scene.selvedge.begin(OFFENDER, "/");
    said(&scene, "waiting");
    drop(stream);
    said(&scene, "aborted");
    scene.recovered();
}

#[test]
fn an_endless_stream_without_backpressure() {
    let scene = Scene::new(
        "return new Response(new ReadableStream({\n\
           start(controller) { for (;;) controller.enqueue(new Uint8Array(1 << 16)); },\n\
         }));",
        limits(),
    );
    scene.contained(503, "worker_memory_exceeded");
}

#[test]
fn a_writer_that_ignores_its_credit() {
    let scene = Scene::new(
        "const { readable, writable } = new TransformStream();\n\
         const writer = writable.getWriter();\n\
         const chunk = new Uint8Array(1 << 20);\n\
         for (let i = 0; i < 1000; i++) ctx.waitUntil(writer.write(chunk));\n\
         return new Response(readable);",
        json!({ "cpu_ms": 2_000, "cpu_burst_ms": 2_000, "wall_ms": 500, "memory_mb": 64 }),
    );
    let reader = scene.selvedge.begin(OFFENDER, "/");
    assert_eq!(scene.selvedge.get(OFFENDER, "/fine").status, 200);
    assert!(scene.selvedge.status()["memory_bytes"].as_u64().unwrap() < 512 << 20);
    drop(reader);
    scene.recovered();
}

#[test]
fn an_answer_that_breaks_off() {
    let scene = Scene::new(
        "return new Response(new ReadableStream({\n\
           start(controller) { controller.enqueue(new TextEncoder().encode('begun')); },\n\
           pull(controller) { controller.error(new Error('broken')); },\n\
         }));",
        limits(),
    );
    // The client must be able to tell it from an answer that is complete.
    let answer = Answer::try_read(scene.selvedge.begin(OFFENDER, "/"));
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 500), "{answer:?}");
    scene.recovered();
}

#[test]
fn an_answer_with_chunks_of_the_wrong_type() {
    let scene = Scene::new(
        "return new Response(new ReadableStream({ start(c) { c.enqueue({ toString() { throw 1 } }); c.close(); } }));",
        limits(),
    );
    let answer = Answer::try_read(scene.selvedge.begin(OFFENDER, "/"));
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 500), "{answer:?}");
    scene.recovered();
}

/// Begins a request with a chunked body.
fn chunked(scene: &Scene) -> TcpStream {
    let mut stream = TcpStream::connect(scene.selvedge.http).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let head = "POST / HTTP/1.1\r\nhost: offender.localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Sends up to `count` chunks of 64 KiB; stops when the server does not take more.
fn pour(stream: &mut TcpStream, count: usize) {
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b'x');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..count {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

#[test]
fn a_request_body_over_the_limit() {
    let scene =
        Scene::new("return new Response(String((await request.arrayBuffer()).byteLength));", limits());
    let mut stream = chunked(&scene);
    pour(&mut stream, 64);
    // A client that goes on writing may lose the answer to a reset; it never gets a 200.
    match Answer::try_read(stream) {
        Ok(answer) => {
            assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}")
        }
        Err(error) => {
            assert!(error.to_string().contains("reset") || error.to_string().contains("no status"), "{error}")
        }
    }
    scene.recovered();
}

#[test]
fn a_request_body_announced_over_the_limit() {
    let scene = Scene::new("return new Response('never');", limits());
    let mut stream = TcpStream::connect(scene.selvedge.http).unwrap();
    let head =
        "POST / HTTP/1.1\r\nhost: offender.localhost\r\nconnection: close\r\ncontent-length: 1048577\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = Answer::read(stream);
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{answer:?}");
    scene.recovered();
}

#[test]
fn a_request_body_that_nobody_reads() {
    let scene = Scene::new("return new Response('not interested');", limits());
    let mut stream = chunked(&scene);
    stream.write_all(b"5\r\nhello\r\n0\r\n\r\n").unwrap();
    let answer = Answer::read(stream);
    assert_eq!((answer.status, answer.body.as_str()), (200, "not interested"), "{answer:?}");
    scene.recovered();
}

#[test]
fn a_request_body_that_is_cut_off() {
    let scene = Scene::new(
        "try { await request.text(); console.log('complete'); } catch (error) { console.log('cut off'); }\n\
         return new Response('x');",
        limits(),
    );
    let mut stream = chunked(&scene);
    stream.write_all(b"10000\r\nonly so much").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    said(&scene, "cut off");
    assert!(!scene.selvedge.logs(OFFENDER).iter().any(|event| event["message"] == "complete"));
    scene.recovered();
}
