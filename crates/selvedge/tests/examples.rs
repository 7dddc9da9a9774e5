//! The examples deploy as they are and answer.

mod common;

use std::io::{BufRead, BufReader};

use common::{Selvedge, repository};
use serde_json::json;

fn deployed(name: &str) -> Selvedge {
    let selvedge = Selvedge::start();
    let answer = selvedge.json(&["deploy", repository("examples").join(name).to_str().unwrap()]);
    assert_eq!(answer["name"], name);
    assert_eq!(answer["url"], format!("http://{name}.localhost:{}", selvedge.http.port()));
    assert_eq!(answer["warnings"], json!([]));
    selvedge
}

#[test]
fn hello() {
    let selvedge = deployed("hello");
    assert_eq!(selvedge.get("hello", "/").body, "Hello, world!\n");
    assert_eq!(selvedge.get("hello", "/?name=you").body, "Hello, you!\n");
}

#[test]
fn api() {
    assert!(repository("examples/api/node_modules/hono").exists(), "run `npm ci` in examples/api");
    let selvedge = deployed("api");
    assert_eq!(selvedge.get("api", "/books").json().as_array().unwrap().len(), 3);
    assert_eq!(selvedge.get("api", "/books?author=Stanis%C5%82aw%20Lem").json()[0]["title"], "Solaris");
    assert_eq!(selvedge.get("api", "/books/2").json()["title"], "Solaris");
    assert_eq!(selvedge.get("api", "/books/9").status, 404);
    assert_eq!(selvedge.get("api", "/nothing").json()["error"], "nothing at /nothing");
    let made = selvedge.post("api", "/books", r#"{"title": "Kindred", "author": "Octavia E. Butler"}"#);
    assert_eq!((made.status, made.json()["id"].clone()), (201, json!(4)));
    assert_eq!(selvedge.post("api", "/books", "{").status, 400);
    let long = json!({"title": "x".repeat(81), "author": "y"}).to_string();
    assert_eq!(selvedge.post("api", "/books", &long).json()["error"], "title is longer than 80 characters");
}

#[test]
fn streaming() {
    let selvedge = deployed("streaming");
    let answer = selvedge.get("streaming", "/?steps=3");
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    assert_eq!(answer.body, "data: 3\n\ndata: 2\n\ndata: 1\n\n");
    // The first event of a long stream arrives while the stream goes on.
    let mut stream = BufReader::new(selvedge.begin("streaming", "/?steps=100"));
    let mut line = String::new();
    while !line.starts_with("data: 100") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0);
    }
}

#[test]
fn site() {
    let selvedge = deployed("site");
    let page = selvedge.get("site", "/");
    assert!(page.head.contains("text/html"), "{}", page.head);
    assert!(page.body.contains("<h1>A page of your own</h1>"));
    assert_eq!(selvedge.get("site", "/other").status, 404);
    assert_eq!(selvedge.post("site", "/", "x").status, 405);
}
