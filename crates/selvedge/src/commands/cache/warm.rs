//! `selvedge cache warm`: asks the running server for addresses, so that their answers are cached before anybody else asks.

use std::collections::HashSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::terminal::{GOOD, Terminal, say};

/// For one address, to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Addresses at most.
const ADDRESSES_MAX: usize = 1_000_000;
/// Of a list or a sitemap, bytes: the bound that sitemaps have themselves.
const LIST_MAX: u64 = 50 << 20;
/// Sitemaps that an index of sitemaps may name.
const SITEMAPS_MAX: usize = 1000;
/// Failures that are told one by one.
const TOLD_MAX: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct WarmArgs {
    #[command(flatten)]
    from: From,
    /// Requests at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Where to ask, instead of the listeners that the server names
    #[arg(long, value_name = "ADDRESS")]
    to: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct From {
    /// A file with one address a line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// A sitemap, or an index of sitemaps
    #[arg(long, value_name = "URL")]
    sitemap: Option<String>,
}

/// What came of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warmed {
    Stored,
    /// It was there already.
    Hit,
    /// Its answer is not cached.
    Passed,
}

/// Runs the command.
pub(super) fn run(args: &WarmArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    let server = Running::find(args, shared)?;
    let addresses = match (&args.from.list, &args.from.sitemap) {
        (Some(path), _) => listed(path)?,
        (None, Some(url)) => server.sitemap(url)?,
        (None, None) => Vec::new(),
    };
    if addresses.is_empty() {
        return Err(Failure::new("nothing_to_warm", "there is no address in the list"));
    }
    let style = ProgressStyle::with_template("warming {bar:30} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(addresses.len() as u64);
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..usize::from(args.concurrency).min(addresses.len()) {
            scope.spawn(|| {
                while let Some(address) = addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let warmed = server.warm(address).map_err(|problem| (address.as_str(), problem));
                    if let Ok(mut results) = results.lock() {
                        results.push(warmed);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let results = results.into_inner().unwrap_or_default();
    let count = |what| results.iter().filter(|result| **result == Ok(what)).count();
    let (stored, hits, passed) = (count(Warmed::Stored), count(Warmed::Hit), count(Warmed::Passed));
    let failures: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    if !failures.is_empty() {
        let first: Vec<String> = failures
            .iter()
            .take(TOLD_MAX)
            .map(|(address, problem)| format!("{address}: {problem}"))
            .collect();
        let message =
            format!("{} of {} addresses failed, such as {}", failures.len(), results.len(), first.join("; "));
        return Err(Failure::new("warm_failed", message)
            .help(format!("{stored} were stored, {hits} were there already, {passed} are not cached")));
    }
    terminal.answer(&json!({ "stored": stored, "hits": hits, "passed": passed }), || {
        say!("{GOOD}✓{GOOD:#} {stored} stored, {hits} were there already, {passed} are not cached");
    });
    Ok(())
}

/// Addresses of a file.
fn listed(path: &PathBuf) -> Outcome<Vec<String>> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(LIST_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIST_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::io("read", path, &error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut addresses = Addresses::default();
    lines.for_each(|line| addresses.add(line));
    Ok(addresses.all)
}

/// Addresses, each once.
#[derive(Default)]
struct Addresses {
    all: Vec<String>,
    known: HashSet<String>,
}

impl Addresses {
    fn add(&mut self, address: &str) {
        if self.all.len() < ADDRESSES_MAX && self.known.insert(address.to_owned()) {
            self.all.push(address.to_owned());
        }
    }
}

/// The running server, whatever names resolve to.
struct Running {
    http: Option<Agent>,
    https: Option<Agent>,
}

impl Running {
    fn find(args: &WarmArgs, shared: &Shared) -> Outcome<Self> {
        if let Some(to) = args.to {
            return Ok(Self { http: Some(agent(to)), https: Some(agent(to)) });
        }
        let client = shared.client()?;
        let cache = client.get("/api/v1/cache")?;
        let near = client.host_address();
        let listener = |tls: bool| {
            let listeners = cache["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
            let fitting = listeners.iter().find(|listener| listener["tls"] == tls)?;
            let mut address: SocketAddr = fitting["address"].as_str()?.parse().ok()?;
            if address.ip().is_unspecified() {
                address.set_ip(near);
            }
            Some(agent(address))
        };
        Ok(Self { http: listener(false), https: listener(true) })
    }

    fn get(&self, address: &str) -> Result<ureq::http::Response<ureq::Body>, String> {
        let agent = match address.split_once("://") {
            Some(("http", _)) => self.http.as_ref().ok_or("the server has no listener without TLS"),
            Some(("https", _)) => self.https.as_ref().ok_or("the server has no listener with TLS"),
            _ => Err("is no address such as https://shop.example/"),
        };
        agent?.get(address).call().map_err(|error| error.to_string())
    }

    /// Asks for an address, to the end of its answer.
    fn warm(&self, address: &str) -> Result<Warmed, String> {
        let response = self.get(address)?;
        let status = response.status();
        let fields = response.headers().get_all("cache-status").into_iter();
        let said = fields.filter_map(|value| value.to_str().ok()).next_back().unwrap_or_default().to_owned();
        std::io::copy(&mut response.into_body().into_reader(), &mut std::io::sink())
            .map_err(|error| format!("its answer broke off: {error}"))?;
        if status.is_server_error() || status.is_client_error() {
            return Err(format!("status {}", status.as_u16()));
        }
        Ok(match said {
            said if said.contains("; hit") => Warmed::Hit,
            said if said.contains("; stored") => Warmed::Stored,
            _ => Warmed::Passed,
        })
    }

    fn sitemap(&self, url: &str) -> Outcome<Vec<String>> {
        let mut addresses = Addresses::default();
        let more = self.read_sitemap(url, &mut addresses)?;
        for url in more.iter().take(SITEMAPS_MAX) {
            // An index within an index is against the protocol.
            self.read_sitemap(url, &mut addresses)?;
        }
        Ok(addresses.all)
    }

    /// Gives the sitemaps that it names.
    fn read_sitemap(&self, url: &str, addresses: &mut Addresses) -> Outcome<Vec<String>> {
        let failed = |problem: String| Failure::new("sitemap", format!("the sitemap {url}: {problem}"));
        let mut response = self.get(url).map_err(failed)?;
        if !response.status().is_success() {
            return Err(failed(format!("status {}", response.status().as_u16())));
        }
        let bytes = response.body_mut().with_config().limit(LIST_MAX).read_to_vec();
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Err(failed("it is compressed as a file; name one that is not".into()));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".into()))?;
        read_xml(&text, addresses).map_err(failed)
    }
}

/// The addresses of a sitemap (sitemaps.org protocol), and the sitemaps that an index names.
fn read_xml(text: &str, addresses: &mut Addresses) -> Result<Vec<String>, String> {
    let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
    let mut sitemaps = Vec::new();
    for place in document.descendants().filter(|node| node.tag_name().name() == "loc") {
        let Some(address) = place.text().map(str::trim) else { continue };
        match place.parent().map(|parent| parent.tag_name().name()) {
            Some("url") => addresses.add(address),
            Some("sitemap") => sitemaps.push(address.to_owned()),
            // Such as of an image.
            _ => {}
        }
    }
    Ok(sitemaps)
}

/// Asks at one address whatever a name resolves to.
#[derive(Debug)]
struct To(SocketAddr);

impl Resolver for To {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

fn agent(to: SocketAddr) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        // What it says is thrown away. On this machine nobody is in between, and its certificate may be of an own authority.
        .disable_verification(to.ip().is_loopback())
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("selvedge/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    Agent::with_parts(config, DefaultConnector::default(), To(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sitemaps_are_read() {
        let mut addresses = Addresses::default();
        let map = "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\" xmlns:i=\"x\">
            <url><loc> https://a/1?x=1&amp;y=2 </loc><i:image><i:loc>https://a/p.png</i:loc></i:image></url>
            <url><loc>https://a/2</loc></url><url><loc>https://a/2</loc></url></urlset>";
        assert_eq!(read_xml(map, &mut addresses), Ok(Vec::new()));
        assert_eq!(addresses.all, ["https://a/1?x=1&y=2", "https://a/2"]);
        let index = "<sitemapindex><sitemap><loc>https://a/m.xml</loc></sitemap></sitemapindex>";
        assert_eq!(read_xml(index, &mut addresses), Ok(vec!["https://a/m.xml".to_owned()]));
        assert!(read_xml("<urlset><url>", &mut addresses).is_err());
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><urlset>&b;</urlset>";
        assert!(read_xml(bomb, &mut addresses).is_err());
    }
}
