//! `idle`: memory of keep-alive connections on which nothing happens.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::front::settings;
use crate::load::get;
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::fronts::{Duty, Front, Scene};
use crate::servers::origin;
use crate::servers::selvedge::{Data, Options, Selvedge};
use crate::{Bench, process};

/// Connections; fewer where the limit of open files is lower.
const CONNECTIONS: u64 = 20_000;
/// Files for everything else.
const SPARE: u64 = 500;
/// After closing, for servers to notice.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("raise the file limit")?;
    let count = CONNECTIONS.min(limit.maximum.unwrap_or(u64::MAX).saturating_sub(SPARE)) as usize;
    let scene = Scene::new(origin::start(bench.cores.load, 0)?)?;
    let data = Data::new()?;
    let options = Options {
        core: Some(bench.cores.server),
        settings: settings(Duty::Files, &scene),
        max_connections: Some(count + 100),
        ..Options::default()
    };
    let selvedge = Selvedge::start(&bench.selvedge, &data, &options)?;
    let mut notes = Vec::new();
    let mut rows = vec![row("selvedge", selvedge.process.pid(), selvedge.http, count)?];
    for front in [Front::Nginx, Front::H2o, Front::Caddy].into_iter().filter(|_| bench.peers) {
        let measured = front
            .start(Duty::Files, &scene, bench.cores.server)
            .and_then(|running| row(&front.version(), running.process.pid(), running.address, count));
        match measured {
            Ok(measured) => rows.push(measured),
            Err(error) => notes.push(format!("{} left out: {error:#}", front.name())),
        }
    }
    Ok(Figure {
        name: "idle",
        title: format!(
            "{count} keep-alive connections of cleartext HTTP/1.1, one request each, then quiet: growth of the server's PSS \
             (user space), and what of it is left after all were closed."
        ),
        columns: vec!["server", "connections", "bytes each", "left after close, MB"],
        rows,
        notes,
    })
}

fn row(name: &str, pid: u32, address: SocketAddr, connections: usize) -> Result<Vec<Cell>> {
    let memory = || -> Result<u64> { Ok(process::memory(&process::tree(pid)?).proportional) };
    // What is made once for the first request is not a connection's.
    drop(asked(address)?);
    let before = memory()?;
    let open = (0..connections).map(|_| asked(address)).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(SETTLE);
    let with = memory()?;
    drop(open);
    std::thread::sleep(SETTLE);
    let after = memory()?;
    eprintln!("  {name}");
    Ok(vec![
        text(name),
        count(connections as u64),
        number(with.saturating_sub(before) as f64 / connections as f64, 0),
        number(after.saturating_sub(before) as f64 / 1e6, 1),
    ])
}

/// A connection after one request.
fn asked(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&get("localhost", "/1k.txt"))?;
    let mut received = Vec::new();
    let mut block = [0; 4096];
    // The head, and the file's 1,024 bytes.
    let whole = |received: &[u8]| {
        let head = received.windows(4).position(|four| four == b"\r\n\r\n");
        head.is_some_and(|head| received.len() >= head + 4 + 1024)
    };
    while !whole(&received) {
        let read = stream.read(&mut block)?;
        anyhow::ensure!(read > 0, "the connection was closed");
        received.extend_from_slice(&block[..read]);
    }
    Ok(stream)
}
