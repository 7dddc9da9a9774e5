//! `routes`: what more routes and more middleware cost a request.

use std::fmt::Write;

use anyhow::Result;

use super::contest::Contestant;
use crate::Bench;
use crate::load::get;
use crate::report::{Cell, Figure, count, number, text};
use crate::servers::selvedge::{Data, Options, Selvedge};

const CONNECTIONS: usize = 64;
/// A key for tokens of the measurement only.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `{"alg":"HS256","typ":"JWT"}.{"sub":"bench","exp":4102444800}` with [`SECRET`].
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCIsImV4cCI6NDEwMjQ0NDgwMH0.yCuEtRf2IkAOrpxf0J73PIG3qc-px4aUkEqTnP9VmzY";

/// One configuration, and what is asked of it.
struct Case {
    name: &'static str,
    settings: String,
    request: Vec<u8>,
}

/// Measures the figure.
pub(super) fn measure(bench: &Bench) -> Result<Figure> {
    let cases = cases();
    let started: Vec<(Selvedge, Data)> = cases
        .iter()
        .map(|case| {
            let data = Data::new()?;
            let options = Options {
                core: Some(bench.cores.server),
                settings: case.settings.clone(),
                ..Options::default()
            };
            Ok((Selvedge::start(&bench.selvedge, &data, &options)?, data))
        })
        .collect::<Result<_>>()?;
    let mut all: Vec<Contestant> = cases
        .iter()
        .zip(&started)
        .map(|(case, (selvedge, _))| Contestant::new(case.name, selvedge.process.pid(), selvedge.http))
        .collect();
    for _ in 0..bench.rounds {
        for (case, contestant) in cases.iter().zip(&mut all) {
            contestant.take_turn(bench, CONNECTIONS, std::slice::from_ref(&case.request))?;
        }
    }
    let rows = all.iter().map(|one| row(one, &all[0])).collect();
    Ok(Figure {
        name: "routes",
        title: format!(
            "A fixed answer of Selvedge with few and many routes, and behind middleware, {CONNECTIONS} keep-alive connections; \
             medians of {} rounds of {} s, the configurations taking turns. The difference is to the first line.",
            bench.rounds, bench.seconds
        ),
        columns: vec!["configuration", "req/s", "CPU µs/req", "× first", "more µs", "errors"],
        rows,
        notes: Vec::new(),
    })
}

fn cases() -> Vec<Case> {
    let plain = || get("localhost", "/api/item7/42");
    let with_token = || {
        let head = "GET /api/item7/42 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer";
        format!("{head} {TOKEN}\r\n\r\n").into_bytes()
    };
    let limit = "[middleware.limit.rate_limit]\nrequests = 1000000000\nper = \"1m\"\n";
    let jwt = format!("[middleware.who.jwt]\nalgorithms = [\"HS256\"]\nsecret = \"{SECRET}\"\n");
    let fields = "[middleware.fields.headers]\nresponse = { x-a = \"1\", x-b = \"{client}\" }\n";
    let log = "[edge.access_log]\noutput = { file = \"/dev/null\" }\nformat = \"json\"\n ";
    let used = |names: &str| routes(10, &format!("use = [{names}]\n"));
    vec![
        Case { name: "10 routes", settings: routes(10, ""), request: plain() },
        Case { name: "10,000 routes", settings: routes(10_000, ""), request: plain() },
        Case {
            name: "10 routes, rate limit",
            settings: format!("{}{limit}", used("\"limit\"")),
            request: plain(),
        },
        Case { name: "10 routes, JWT", settings: format!("{}{jwt}", used("\"who\"")), request: with_token() },
        Case {
            name: "10 routes, fields",
            settings: format!("{}{fields}", used("\"fields\"")),
            request: plain(),
        },
        Case {
            name: "10 routes, access log",
            settings: format!("{log}{}", routes(10, "")),
            request: plain(),
        },
        Case {
            name: "10 routes, all of these",
            settings: format!("{log}{}{limit}{jwt}{fields}", used("\"limit\", \"who\", \"fields\"")),
            request: with_token(),
        },
    ]
}

/// So many routes with parameters, of which the seventh is asked for.
fn routes(count: usize, uses: &str) -> String {
    let mut text = format!("[[sites]]\nhosts = [\"localhost\"]\n{uses}");
    for n in 0..count {
        let _ = write!(
            text,
            "[[sites.routes]]\npath = \"/api/item{n}/{{id}}\"\nrespond = {{ body = \"item {{path.id}}\" }}\n"
        );
    }
    text
}

fn row(one: &Contestant, first: &Contestant) -> Vec<Cell> {
    let cpu = |contestant: &Contestant| contestant.median(|round| round.cpu_us);
    vec![
        text(&one.name),
        number(one.median(|round| round.per_second), 0),
        number(cpu(one), 2),
        number(one.ratio(first), 2),
        number(cpu(one) - cpu(first), 2),
        count(one.errors()),
    ]
}
