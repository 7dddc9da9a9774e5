//! Load generators of others, for what ours does not speak: wrk for TLS handshakes, h2load for HTTP/2.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cpu;

/// Requests that were answered, and those that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) count: u64,
    pub(crate) errors: u64,
}

/// New TLS connections with one request each, over and over, 16 at a time.
pub(crate) fn handshakes(to: SocketAddr, path: &str, seconds: f64, core: usize) -> Result<Answered> {
    let mut wrk = Command::new("wrk");
    // wrk counts whole seconds.
    wrk.args(["-t1", "-c16", &format!("-d{}", seconds.ceil()), "-H", "connection: close"]);
    // By name: a second `Host` beside the address would be refused.
    wrk.arg(format!("https://localhost:{}{path}", to.port()));
    parse_wrk(&run(wrk, core)?)
}

/// HTTP/2 over TLS: 8 connections with 32 streams each.
pub(crate) fn http2(to: SocketAddr, path: &str, seconds: f64, core: usize) -> Result<Answered> {
    let mut h2load = Command::new("h2load");
    h2load.args(["-t1", "-c8", "-m32", &format!("-D{}", seconds.ceil())]);
    h2load.arg(format!("https://localhost:{}{path}", to.port()));
    parse_h2load(&run(h2load, core)?)
}

fn run(mut command: Command, core: usize) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = cpu::on(core, || command.output())?
        .with_context(|| format!("run {program} (apt install wrk nghttp2-client)"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn parse_wrk(text: &str) -> Result<Answered> {
    let line = text.lines().find(|line| line.contains(" requests in ")).context("wrk said nothing")?;
    let count = line.split_whitespace().next().and_then(|n| n.parse().ok()).context("wrk's count")?;
    let sum = |line: &str| -> u64 {
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok()).sum()
    };
    let bad = text.lines().filter(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    Ok(Answered { count, errors: bad.map(sum).sum() })
}

fn parse_h2load(text: &str) -> Result<Answered> {
    // status codes: 123 2xx, 0 3xx, 0 4xx, 0 5xx
    let line = text.lines().find(|line| line.starts_with("status codes:")).context("h2load said nothing")?;
    let numbers: Vec<u64> = line
        .split([' ', ','])
        .filter(|word| !word.contains("xx"))
        .filter_map(|word| word.parse().ok())
        .collect();
    let [good, others @ ..] = &numbers[..] else { bail!("h2load: {line}") };
    Ok(Answered { count: *good, errors: others.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_say_is_understood() {
        let wrk = "Running 2s test @ x\n  1 threads and 16 connections\n  7345 requests in 2.00s, 9.9MB read\n  \
                   Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec:   3672\n";
        assert_eq!(parse_wrk(wrk).unwrap(), Answered { count: 7345, errors: 4 });
        let h2load = "requests: 10 total\nstatus codes: 99 2xx, 0 3xx, 1 4xx, 0 5xx\ntraffic: 1\n";
        assert_eq!(parse_h2load(h2load).unwrap(), Answered { count: 99, errors: 1 });
        assert!(parse_wrk("").is_err() && parse_h2load("").is_err());
    }
}
