//! A server behind the edge that answers by hand, byte by byte, and remembers what it was asked.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test crate uses its part of the helpers")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Origin {
    pub address: SocketAddr,
    /// Heads and bodies, as they came.
    pub requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

pub struct Connection {
    pub stream: TcpStream,
    /// From 0 on, in the order of arrival.
    pub number: usize,
    requests: Arc<Mutex<Vec<String>>>,
    ahead: Vec<u8>,
}

impl Origin {
    /// Each connection is served by `serve` on a thread of its own.
    pub fn start(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    pub fn on(listener: TcpListener, serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (serve, noted, counted) = (Arc::new(serve), requests.clone(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let mut connection =
                    Connection { stream, number, requests: noted.clone(), ahead: Vec::new() };
                let serve = serve.clone();
                std::thread::spawn(move || serve(&mut connection));
            }
        });
        Self { address, requests, connections }
    }

    /// Answers every request on every connection with the same bytes.
    pub fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |connection| {
            while connection.request().is_some() {
                connection.send(&answer);
            }
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn last(&self) -> String {
        self.requests.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Connection {
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.ahead.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// The next request's head.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next request: head and body.
    pub fn request(&mut self) -> Option<String> {
        let mut text = self.head()?;
        let field = |name: &str| {
            let lower = text.to_ascii_lowercase();
            let line = lower.lines().find(|line| line.starts_with(&format!("{name}: ")))?.to_owned();
            Some(line[name.len() + 2..].to_owned())
        };
        let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
        let chunked = field("transfer-encoding").is_some();
        let end = loop {
            let found = if chunked {
                // The bodies of tests do not hold this themselves.
                let last = self.ahead.windows(3).position(|three| three == b"0\r\n");
                last.and_then(|last| {
                    let rest = self.ahead[last..].windows(4).position(|four| four == b"\r\n\r\n")?;
                    Some(last + rest + 4)
                })
            } else {
                (self.ahead.len() >= length).then_some(length)
            };
            match found {
                Some(end) => break end,
                None if self.more() => {}
                None => return None,
            }
        };
        let body: Vec<u8> = self.ahead.drain(..end).collect();
        text.push_str(&String::from_utf8_lossy(&body));
        self.requests.lock().unwrap().push(text.clone());
        Some(text)
    }

    /// What came behind the last head.
    pub fn take_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A response with a length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
