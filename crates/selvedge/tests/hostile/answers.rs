//! Workers that answer with what is no answer, or with too much of one.

use serde_json::{Value, json};

use crate::common::eventually;
use crate::contained;
use crate::scene::{OFFENDER, Scene};

fn limits() -> Value {
    json!({ "cpu_ms": 2_000, "cpu_burst_ms": 2_000, "wall_ms": 500 })
}

contained! {
    no_answer: "return;" => 500 "worker_no_response";
    a_string: "return 'hello';" => 500 "worker_no_response";
    a_look_alike: "return { status: 200, headers: new Headers(), body: null, ok: true };" => 500 "worker_no_response";
    an_heir_without_insides: "return Object.create(Response.prototype);" => 500 "worker_no_response";
    a_proxy_of_an_answer: "return new Proxy(new Response('x'), {});" => 500 "worker_no_response";
    a_liar_of_an_answer:
        "class Liar extends Response { get status() { throw new Error('no') } get headers() { return 7 } }\n\
         return { [Symbol.hasInstance]: () => true, __proto__: Liar.prototype };" => 500 "worker_no_response";
    throws_null: "throw null;" => 500 "worker_exception";
    throws_a_symbol: "throw Symbol('x');" => 500 "worker_exception";
    throws_a_hostile_object:
        "throw { toString() { throw 1 }, get message() { throw 2 }, get stack() { throw 3 } };" => 500 "worker_exception";
    throws_a_proxy: "throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } });" => 500 "worker_exception";
    throws_a_revoked_proxy: "const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy;"
        => 500 "worker_exception";
    throws_a_huge_message: "throw new Error('x'.repeat(5 << 20));" => 500 "worker_exception";
    rejects_later: "return new Promise((_, reject) => setTimeout(() => reject(new Error('late')), 5));"
        => 500 "worker_exception";
    one_huge_header: "return new Response('x', { headers: { x: 'y'.repeat(1 << 20) } });" => 500 "worker_no_response";
    a_hundred_thousand_headers:
        "const headers = new Headers(); for (let i = 0; i < 1e5; i++) headers.append('x-' + i, 'y');\n\
         return new Response('x', { headers });" => 500 "worker_no_response";
    never_settles: "await new Promise(() => {});" => 504 "worker_timeout";
    settles_too_late: "await new Promise((resolve) => setTimeout(resolve, 60_000)); return new Response('x');"
        => 504 "worker_timeout";
    a_thenable_that_never_settles: "return { then() {} };" => 504 "worker_timeout";
    header_injection: "return new Response('x', { headers: { x: 'a\\r\\nset-cookie: b' } });" => 500 "worker_exception";
    status_out_of_range: "return new Response('x', { status: 99 });" => 500 "worker_exception";
}

/// As many fields as a head has room for: more than most programs are prepared to hold.
#[test]
fn as_many_headers_as_fit() {
    let scene = Scene::new(
        "const headers = new Headers();\n\
         for (let i = 0; i < 25_900; i++) headers.append(i.toString(36), '');\n\
         return new Response('x', { headers });",
        limits(),
    );
    let answer = scene.attack();
    assert!([200, 500].contains(&answer.status), "{}", answer.status);
    scene.recovered();
}

#[test]
fn an_answer_twice() {
    let scene = Scene::new(
        "return { then(resolve) { resolve(new Response('one')); resolve(new Response('two')); throw 3; } };",
        limits(),
    );
    scene.answers("one");
}

#[test]
fn one_answer_for_two_requests() {
    let scene = Scene::new("return globalThis.kept ??= new Response('kept');", limits());
    assert_eq!(scene.attack().status, 200);
    let second = scene.attack();
    assert_eq!(second.status, 500, "{second:?}");
    scene.recovered();
}

#[test]
fn a_request_that_works_on_after_its_answer() {
    let scene = Scene::new(
        "setInterval(() => console.log('still here'), 1); ctx.waitUntil(new Promise(() => {})); return new Response('x');",
        json!({ "wall_ms": 200 }),
    );
    assert_eq!(scene.attack().body, "x");
    let lines = || scene.selvedge.logs(OFFENDER).len();
    let mut before = 0;
    eventually("it has come to its end", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = lines();
        (now == std::mem::replace(&mut before, now) && now > 0).then_some(())
    });
    scene.recovered();
}

/// What a worker does to its own built-ins is its own matter.
#[test]
fn polluted_built_ins() {
    let attack = "\
        const evil = () => { throw new Error('polluted') };\n\
        for (const holder of [Object, Array, Promise, Function, Map, Set, String, RegExp, Uint8Array, Response, Headers,\n\
            Request, URL, ReadableStream, TextEncoder, Symbol, Number, Error, WeakMap]) {\n\
          for (const name of Object.getOwnPropertyNames(holder.prototype)) {\n\
            try { Object.defineProperty(holder.prototype, name, { value: evil, configurable: true }) } catch {}\n\
          }\n\
        }\n\
        Object.defineProperty(Object.prototype, '0', { get: evil, set: evil });\n\
        Object.defineProperty(Object.prototype, 'then', { get: evil });\n\
        for (const name of Object.getOwnPropertyNames(globalThis)) { try { globalThis[name] = evil } catch {} }\n\
        return answer;";
    let attack = format!("const answer = new Response('polluted');\n{attack}");
    let scene = Scene::new(&attack, limits());
    for _ in 0..3 {
        let answer = scene.attack();
        assert!([200, 500, 503, 504].contains(&answer.status), "{answer:?}");
    }
    // A new version begins with a clean slate.
    let fine = "export default { fetch() { return new Response('fine') } }";
    scene.selvedge.deploy_limited(OFFENDER, fine, json!({}));
    scene.recovered();
}
