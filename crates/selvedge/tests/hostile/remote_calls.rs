//! Workers that call others, or answer their calls, with what breaks what was not written with care.

use serde_json::{Value, json};

use crate::common::Selvedge;
use crate::common::api::Module;
use crate::common::client::Client;

const CALLEE: &str = include_str!("../workers/evil_callee.js");
const CALLER: &str = include_str!("../workers/evil_caller.js");
const VICTIM: &str = include_str!("../workers/victim.js");

/// All of them in one process and on one thread, beside a neighbour that is asked all the time.
struct Scene {
    selvedge: Selvedge,
    neighbour: Client,
    host: Vec<u32>,
}

impl Scene {
    fn new() -> Self {
        Self::with_wall_ms(30_000)
    }

    fn with_wall_ms(wall_ms: u32) -> Self {
        let selvedge = Selvedge::configured("[engine]\nhost_threads = 1\n");
        let deploy = |name: &str, code: &str, bindings: Value, limits: Value| {
            let metadata = json!({ "bindings": bindings, "limits": limits });
            let answer = selvedge.upload(name, metadata, &[Module::main(code)]);
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        };
        let some = json!({ "cpu_ms": 3000, "cpu_burst_ms": 3000, "wall_ms": wall_ms, "memory_mb": 96 });
        deploy("evil", CALLEE, json!([]), some.clone());
        deploy("victim", VICTIM, json!([]), some.clone());
        let bindings = json!([
            { "type": "service", "name": "EVIL", "service": "evil", "entrypoint": "Evil" },
            { "type": "service", "name": "VICTIM", "service": "victim" },
        ]);
        deploy("caller", CALLER, bindings, some);
        deploy(
            "neighbour",
            "export default { fetch() { return new Response('hello') } }",
            json!([]),
            json!({}),
        );
        let neighbour = Client::start(&selvedge, "neighbour");
        neighbour.more(1);
        let host = selvedge.hosts_of("account default");
        Self { selvedge, neighbour, host }
    }

    #[track_caller]
    fn gives(&self, case: &str, expected: Value) {
        let answer = self.selvedge.get("caller", &format!("/{case}"));
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        assert_eq!(answer.json(), expected, "{case}");
    }

    /// It comes to an end, with whatever is said in these words.
    #[track_caller]
    fn ends(&self, case: &str, said: &[&str]) {
        let answer = self.selvedge.get("caller", &format!("/{case}"));
        let fits = said.iter().any(|said| answer.body.contains(said));
        assert!(fits, "{case}: {answer:?}");
    }

    /// Everybody is as before, in the same process.
    fn recovered(self) {
        for worker in ["evil", "victim", "caller"] {
            let answer = self.selvedge.get(worker, "/fine");
            assert_eq!((answer.status, answer.body.as_str()), (200, "fine"), "{worker}: {answer:?}");
        }
        assert_eq!(self.selvedge.hosts_of("account default"), self.host, "the host is the same");
        self.neighbour.finish();
    }
}

#[test]
fn answers_that_are_none() {
    let scene = Scene::new();
    scene.gives("getter", json!("RangeError: getter"));
    scene.gives("proxy", json!("RangeError: ownKeys"));
    scene.gives("cycle", json!([true, true, true]));
    scene.gives("thenable", json!(1));
    scene.gives("error", json!("Error: The other worker threw something that cannot be read."));
    scene.gives("name", json!("__proto__: m"));
    scene.gives("longError", json!(16 << 10));
    scene.gives("nothing", json!("Error: undefined"));
    scene.recovered();
}
#[test]
fn answers_that_are_too_much() {
    let scene = Scene::new();
    let stack = json!("RangeError: Maximum call stack size exceeded");
    scene.gives("deep", stack.clone());
    scene.gives("stream", stack);
    scene.gives(
        "huge",
        json!("TypeError: A message between workers may have 32 MiB; pass more as a ReadableStream."),
    );
    scene.gives("errors", json!("Error: The other worker threw something that cannot be read."));
    scene.ends("response", &["A body stream gave a chunk that is no Uint8Array"]);
    scene.gives("streams", json!(1_000));
    scene.gives("fewStubs", json!(10_000));
    let unit = "TypeError: The RPC receiver does not implement the method \"constructor\".";
    let over = "TypeError: The stub was disposed of.";
    let trap = scene.selvedge.get("caller", "/trap").json();
    assert_eq!(trap[0], "RangeError: boom");
    assert_eq!(trap[1], "RangeError: boom");
    assert!(trap[2].is_null() || trap[2] == unit, "{trap}");
    assert_eq!((&trap[3], &trap[4]), (&json!(over), &json!(over)));
    scene.recovered();
}

/// What goes on without end meets the limits of the worker that does it, and its caller is told.
#[test]
fn answers_without_end() {
    let scene = Scene::new();
    scene.gives("growing", json!("TypeError: evil: the worker used more memory than its limit allows."));
    scene.gives("loop", json!("TypeError: evil: the worker used more CPU time than its limit allows."));
    scene.recovered();
    let scene = Scene::new();
    // Either side may be the first that has no memory left.
    scene.ends("stubs", &["evil: the worker used more", "worker_memory_exceeded", "worker_cpu_exceeded"]);
    scene.ends("bomb", &["evil: the worker used more", "worker_memory_exceeded", "worker_cpu_exceeded"]);
    scene.recovered();
}

#[test]
fn an_answer_that_never_comes() {
    let scene = Scene::with_wall_ms(1_000);
    scene.ends("never", &["worker_timeout"]);
    scene.recovered();
}

#[test]
fn callbacks_that_call_back() {
    let scene = Scene::new();
    scene.gives("calls", json!(5_000));
    scene.gives("recurse", json!("RangeError: Maximum call stack size exceeded"));
    scene.recovered();
    let scene = Scene::with_wall_ms(3_000);
    // The callee's calls beyond the limit fail at once; the others wait until the request is over.
    scene.ends("tooMany", &["worker_timeout"]);
    scene.recovered();
}

#[test]
fn calls_that_make_no_sense() {
    let scene = Scene::new();
    let answer = scene.selvedge.get("caller", "/arguments").json();
    let clone = "DataCloneError: ";
    let expected = [
        "TypeError: trap",
        "function",
        "TypeError: getter",
        "object",
        clone,
        clone,
        clone,
        "object",
        "object",
    ];
    for (said, expected) in answer.as_array().unwrap().iter().zip(expected) {
        assert!(said.as_str().unwrap().starts_with(expected), "{answer}");
    }
    let answer = scene.selvedge.get("caller", "/path").json();
    assert_eq!(answer[0], "TypeError: A remote call may lead through 64 names at most.");
    for said in answer.as_array().unwrap() {
        assert!(said.as_str().unwrap().starts_with("TypeError: "), "{answer}");
    }
    scene.gives("pipeline", json!(1_001));
    scene.ends("holes", &["worker_cpu_exceeded"]);
    scene.recovered();
}
