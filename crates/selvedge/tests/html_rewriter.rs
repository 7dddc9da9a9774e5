//! `HTMLRewriter`: what handlers can do to a document, and what they cannot do to the host.

mod common;

use common::Selvedge;

const WORKER: &str = include_str!("workers/html_rewriter.js");

fn worker() -> Selvedge {
    let selvedge = Selvedge::start();
    selvedge.deploy("w", WORKER);
    selvedge
}

#[track_caller]
fn gives(selvedge: &Selvedge, case: &str, expected: &str) {
    let answer = selvedge.get("w", &format!("/{case}"));
    assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{case}: {answer:?}");
}

#[test]
fn handlers_change_the_document() {
    let selvedge = worker();
    gives(
        &selvedge,
        "attributes",
        "<a href=\"https://example.com/x\" data-was=\"href=/x,id=one\" has=\"false,null,a\">link</a><b>text</b>",
    );
    gives(&selvedge, "content", "<div>&lt;b&gt;<i>1</i><h1>(one)</h1><i>2</i></div>");
    gives(&selvedge, "replace", "<hr>3<p class=d>a &lt; b</p><p class=e>5&lt;/p?&gt;</p>!");
    gives(
        &selvedge,
        "document",
        "<!DOCTYPE html><!-- gone --><p>hi</p><!-- doctype html null null; comment here ; text hi false; text  true -->",
    );
    gives(&selvedge, "headers", "[null,\"text/html\",\"<p>12</p>\"]");
    assert_eq!(selvedge.get("w", "/nothing").status, 204);
}

#[test]
fn handlers_may_take_their_time() {
    let selvedge = worker();
    gives(
        &selvedge,
        "async",
        "<ul><li id=\"late\">ali</li><li id=\"late\">bli</li><li id=\"late\">cli</li></ul>",
    );
    gives(&selvedge, "order", "first,second");
    gives(&selvedge, "streamed", "<h1 class=\"xy\">grüße</h1>");
    gives(&selvedge, "contents", "<div>chunk &lt;1&gt;</div><p>from <a> response</p>");
}

#[test]
fn the_charset_is_respected() {
    gives(&worker(), "charset", "[\"é\",[60,112,62,233]]");
}

#[test]
fn a_large_document_streams_through() {
    let answer = worker().get("w", "/big");
    assert_eq!(answer.body.matches("rel=\"nofollow\"").count(), 20_000);
    assert!(answer.body.ends_with("</table>20000"));
}

#[test]
fn mistakes_are_errors_of_the_worker() {
    let selvedge = worker();
    gives(&selvedge, "throws", "RangeError: mine");
    gives(&selvedge, "rejects", "RangeError: later");
    gives(&selvedge, "lies", "TypeError: liar");
    for (case, part) in [
        ("selector", "TypeError: The selector \"p:::\" cannot be used"),
        ("stale", "TypeError: This content token is no longer valid"),
        ("used", "TypeError: The body has been read already"),
        ("end_tag", "TypeError: "),
        ("names", "TypeError: "),
        ("many", "Error: Too many documents"),
    ] {
        let answer = selvedge.get("w", &format!("/{case}"));
        assert!(answer.body.starts_with(part), "{case}: {answer:?}");
    }
    // What requests left behind went with them.
    gives(&selvedge, "order", "first,second");
    gives(&selvedge, "poisoned", "<p>12</p>");
}
