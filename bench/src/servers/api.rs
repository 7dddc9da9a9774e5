//! The little of Selvedge's control API that measuring needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::load::response;

/// For any answer of the control API.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between parts of an upload. No worker that is deployed here holds it.
const BOUNDARY: &str = "selvedge-bench-3f1c7a52";

/// Where the control API is, and the right to call it. Each call has a connection of its own, since the server
/// closes those that are idle for some seconds.
pub(crate) struct Api {
    address: SocketAddr,
    token: String,
}

/// A worker to deploy: one module and the metadata of docs/api.md but for `main_module`.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) source: String,
    /// Such as `{"isolation": "worker"}`.
    pub(crate) metadata: Value,
}

impl Worker {
    pub(crate) fn new(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self { name: name.into(), source: source.into(), metadata: serde_json::json!({}) }
    }

    fn upload(&self) -> String {
        let mut metadata = self.metadata.clone();
        metadata["main_module"] = "worker.js".into();
        format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\
             content-type: application/json\r\n\r\n{metadata}\r\n\
             --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"worker.js\"; filename=\"worker.js\"\r\n\
             content-type: application/javascript+module\r\n\r\n{}\r\n--{BOUNDARY}--\r\n",
            self.source
        )
    }
}

impl Api {
    pub(crate) fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    /// Deploys a worker to all of its traffic.
    pub(crate) fn deploy(&self, worker: &Worker) -> Result<()> {
        let path = format!("/api/v1/accounts/default/scripts/{}", worker.name);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let (status, answer) = self.call("PUT", &path, &kind, &worker.upload())?;
        if status != 200 {
            bail!("deploying {}: {status} {answer}", worker.name);
        }
        Ok(())
    }

    /// Asks for something to be done, which must succeed.
    pub(crate) fn post(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.call("POST", path, "application/json", "")?;
        if status != 200 {
            bail!("{path}: {status} {answer}");
        }
        Ok(serde_json::from_str(&answer)?)
    }

    /// A value of /metrics; 0 when there is none of that name.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.call("GET", "/metrics", "text/plain", "")?;
        Ok(metric(&text, name))
    }

    fn call(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<(u16, String)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            self.token,
            body.len()
        );
        let mut stream = connect(self.address)?;
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let (response, bytes) = receive(&mut stream).with_context(|| format!("{method} {path}"))?;
        Ok((response.status, String::from_utf8_lossy(&bytes[response.body..]).into_owned()))
    }
}

/// Opens a blocking connection with time limits.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Reads one response to its end.
pub(crate) fn receive(stream: &mut TcpStream) -> Result<(response::Response, Vec<u8>)> {
    let (mut bytes, mut block) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut block)?;
        bytes.extend_from_slice(&block[..read]);
        match response::parse(&bytes) {
            Ok(Some(response)) => return Ok((response, bytes)),
            Ok(None) if read > 0 && bytes.len() <= response::MAX_BYTES => {}
            _ => bail!("cut off or malformed answer after {} bytes", bytes.len()),
        }
    }
}

fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(key, _)| *key == name).filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text = "# HELP a_total Something\na_total 3\na_total_more 5\nb{x=\"1\"} 7\n";
        assert_eq!(metric(text, "a_total"), 3.0);
        assert_eq!(metric(text, "c"), 0.0);
    }

    #[test]
    fn uploads_name_their_module() {
        let mut worker = Worker::new("a", "export default {}");
        worker.metadata["isolation"] = "worker".into();
        let upload = worker.upload();
        assert!(upload.contains(r#"{"isolation":"worker","main_module":"worker.js"}"#), "{upload}");
        assert!(upload.ends_with("export default {}\r\n--selvedge-bench-3f1c7a52--\r\n"));
    }
}
