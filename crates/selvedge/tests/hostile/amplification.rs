//! One request that sets off many: workers that call one another, and themselves.

use serde_json::{Value, json};

use crate::common::Selvedge;
use crate::common::api::Module;

/// Says how many of so many tries went well, and how the first of the others failed.
const TRY: &str = "
    async function tries(count, what) {
      const settled = await Promise.allSettled(Array.from({ length: count }, (_, i) => what(i)));
      const good = settled.filter((one) => one.status === 'fulfilled');
      const bad = settled.find((one) => one.status === 'rejected');
      return [good.length, bad === undefined ? '' : bad.reason.message, good.map((one) => one.value)];
    }
";

fn deploy(selvedge: &Selvedge, name: &str, code: &str, subrequests: u32, callee: Option<&str>) {
    let service = callee.map(|callee| json!({ "type": "service", "name": "CALLEE", "service": callee }));
    let bindings: Vec<Value> = service.into_iter().collect();
    let limits = json!({ "subrequests": subrequests, "cpu_ms": 3000, "cpu_burst_ms": 3000 });
    let metadata = json!({ "bindings": bindings, "limits": limits });
    let code = format!("{TRY}\n{code}");
    let answer = selvedge.upload(name, metadata, &[Module::main(&code)]);
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
}

/// A callee does not bring a budget of its own: what is left of the request's is what there is.
#[test]
fn workers_that_call_one_another_share_a_budget() {
    let selvedge = Selvedge::start();
    // Each asks the cache thirty times, which counts like any subrequest.
    let leaf = "export default {
      async fetch() {
        const [good, why] = await tries(30, (i) => caches.default.match(`http://x/${i}`));
        return Response.json([good, why]);
      },
    };";
    let root = "export default {
      async fetch(request, env) {
        const answers = [];
        for (let i = 0; i < 3; i++) answers.push(await (await env.CALLEE.fetch('http://leaf/')).json());
        const [left, why] = await tries(30, (i) => caches.default.match(`http://x/${i}`));
        return Response.json([answers, left, why]);
      },
    };";
    deploy(&selvedge, "leaf", leaf, 1000, None);
    deploy(&selvedge, "root", root, 80, Some("leaf"));
    let answer = selvedge.get("root", "/").json();
    let spent = |index: usize| answer[0][index][0].as_u64().unwrap();
    assert_eq!((spent(0), spent(1)), (30, 30), "{answer}");
    // Eighty in all: three calls, and what they asked for.
    assert_eq!(spent(2), 17, "{answer}");
    assert!(answer[0][2][1].as_str().unwrap().contains("limit of subrequests"), "{answer}");
    assert_eq!(answer[1], 0, "{answer}");

    // A callee with less than the caller has left keeps to its own limit.
    deploy(&selvedge, "leaf", leaf, 5, None);
    let answer = selvedge.get("root", "/").json();
    assert_eq!((answer[0][0][0].clone(), answer[0][2][0].clone()), (json!(5), json!(5)), "{answer}");
    assert_eq!(answer[1], 30, "{answer}");
}

/// A worker that calls itself twice, and so on, ends after as many calls as one request may set off.
#[test]
fn a_worker_that_multiplies() {
    let selvedge = Selvedge::start();
    let code = "export default {
      async fetch(request, env, ctx) {
        const [, why, counts] = await tries(2, async () => (await (await ctx.exports.default.fetch('http://me/')).json())[0]);
        return Response.json([counts.reduce((sum, count) => sum + count, 1), why]);
      },
    };";
    deploy(&selvedge, "tree", code, 1000, None);
    for _ in 0..3 {
        let answer = selvedge.get("tree", "/").json();
        assert!(answer[0].as_u64().unwrap() <= 33, "{answer}");
        assert!(answer[0].as_u64().unwrap() > 16, "{answer}");
    }
    let wide = "export default {
      async fetch(request, env, ctx) {
        if (request.url !== 'http://me/') return Response.json(await tries(100, () => ctx.exports.default.fetch('http://me/').then((r) => r.text())));
        return new Response('me');
      },
    };";
    deploy(&selvedge, "wide", wide, 1000, None);
    let answer = selvedge.get("wide", "/").json();
    assert_eq!(answer[0], 32, "{answer}");
    assert!(answer[1].as_str().unwrap().contains("32 calls of workers"), "{answer}");
}
