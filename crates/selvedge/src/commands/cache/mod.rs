//! `selvedge cache`: what the edge has stored of the routes' answers.

mod warm;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Shared;
use crate::failure::{Failure, Outcome};
use crate::terminal::{DIM, GOOD, Terminal, say};

/// What the edge has stored of the routes' answers: see how it does, or throw some of it away.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  selvedge cache status\n  selvedge cache purge --url https://shop.example/news\n  selvedge cache purge --tag product-7 --soft\n  selvedge cache warm --sitemap https://shop.example/sitemap.xml"
)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Hits, misses and memory in use
    Status,
    /// Throw stored answers away
    Purge(PurgeArgs),
    /// Have addresses cached before anybody asks for them
    Warm(warm::WarmArgs),
}

#[derive(Debug, Args)]
struct PurgeArgs {
    #[command(flatten)]
    what: What,
    /// Keep them: they are asked about before their next use, and serve where that fails
    #[arg(long)]
    soft: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Of this address, absolute
    #[arg(long)]
    url: Option<String>,
    /// Of all addresses that begin so
    #[arg(long)]
    prefix: Option<String>,
    /// With this tag in `Cache-Tag` or `Surrogate-Key`
    #[arg(long)]
    tag: Option<String>,
    /// All
    #[arg(long)]
    all: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CacheArgs, shared: &Shared, terminal: Terminal) -> Outcome {
    match &args.command {
        CacheCommand::Status => {
            let answer = shared.client()?.get("/api/v1/cache")?;
            terminal.answer(&answer, || {
                let number = |key: &str| answer[key].as_u64().unwrap_or_default();
                let (hits, misses) = (number("hits"), number("misses"));
                let share =
                    if hits + misses == 0 { 0.0 } else { hits as f64 * 100.0 / (hits + misses) as f64 };
                say!("{hits} hits, {misses} misses  {DIM}({share:.1} % hits){DIM:#}");
                say!(
                    "{} answered stale, {} waited for another one's answer",
                    number("stale"),
                    number("collapsed")
                );
                let mib = |key: &str| number(key) as f64 / f64::from(1 << 20);
                say!(
                    "{} addresses in {:.1} of {:.0} MiB",
                    number("addresses"),
                    mib("bytes"),
                    mib("bytes_max")
                );
                if let Some(disk) = answer["disk"].as_object() {
                    let number = |key: &str| disk.get(key).and_then(Value::as_u64).unwrap_or_default();
                    let mib = |key: &str| number(key) as f64 / f64::from(1 << 20);
                    say!(
                        "disk: {} responses in {:.1} of {:.0} MiB, {} errors",
                        number("objects"),
                        mib("bytes"),
                        mib("bytes_max"),
                        number("errors")
                    );
                }
                if let Some(redis) = answer["redis"].as_object() {
                    let number = |key: &str| redis.get(key).and_then(Value::as_u64).unwrap_or_default();
                    say!("Redis: {} hits, {} errors", number("hits"), number("errors"));
                }
            });
        }
        CacheCommand::Purge(PurgeArgs { what, soft }) => {
            let What { url, prefix, tag, all } = what;
            let call = json!({ "url": url, "prefix": prefix, "tag": tag, "all": all, "soft": soft });
            let answer = shared.client()?.send("POST", "/api/v1/cache/purge", &call)?;
            let told = answer["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            let text = |told: &Value, key: &str| told[key].as_str().unwrap_or_default().to_owned();
            let failed: Vec<String> = told
                .iter()
                .filter(|told| told["ok"] != true)
                .map(|told| format!("{}: {}", text(told, "target"), text(told, "message")))
                .collect();
            if !failed.is_empty() {
                let message = format!("this server purged, but not all that it told: {}", failed.join("; "));
                return Err(Failure::new("purge_incomplete", message)
                    .help("purge again when they answer; Redis is told again without that"));
            }
            terminal.answer(&answer, || {
                say!("{GOOD}✓{GOOD:#} {} purged", answer["purged"].as_u64().unwrap_or_default());
                for told in told {
                    say!("{GOOD}✓{GOOD:#} {}  {DIM}{}{DIM:#}", text(told, "target"), text(told, "message"));
                }
            });
        }
        CacheCommand::Warm(args) => return warm::run(args, shared, terminal),
    }
    Ok(())
}
