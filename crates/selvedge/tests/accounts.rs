//! Two accounts that do not trust each other, with workers of the same names and the same code in one Selvedge.

mod common;

use aws_lc_rs::digest::{SHA256, digest};
use common::api::{Account, Module};
use common::{Answer, Selvedge};
use serde_json::{Value, json};

const CODE: &str = include_str!("workers/tenant.js");

/// One of the two, by the same calls.
enum Tenant<'a> {
    Default(&'a Selvedge),
    Other(&'a Account<'a>),
}

impl Tenant<'_> {
    fn name(&self) -> &str {
        match self {
            Tenant::Default(_) => "default",
            Tenant::Other(account) => &account.name,
        }
    }

    fn api(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let path = format!("accounts/{}/{path}", self.name());
        match self {
            Tenant::Default(selvedge) => selvedge.api(method, &path, kind, body),
            Tenant::Other(account) => account.api(method, &path, kind, body),
        }
    }

    fn upload(&self, name: &str, metadata: Value) -> Answer {
        match self {
            Tenant::Default(selvedge) => selvedge.upload(name, metadata, &[Module::main(CODE)]),
            Tenant::Other(account) => account.upload(name, metadata, &[Module::main(CODE)]),
        }
    }

    fn get(&self, name: &str, path: &str) -> Answer {
        match self {
            Tenant::Default(selvedge) => selvedge.get(name, path),
            Tenant::Other(account) => account.get(name, path),
        }
    }

    fn case(&self, name: &str) -> Value {
        let answer = self.get("w", &format!("/{name}"));
        assert_eq!(answer.status, 200, "{} {name}: {answer:?}", self.name());
        answer.json()
    }

    fn logs(&self) -> Vec<Value> {
        let answer = self.api("GET", "scripts/w/logs", "text/plain", b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().clone()
    }

    /// `api` and `w`, which is bound to it, with a static file of this account's.
    fn deploy(&self, isolation: &str) {
        let who = json!({ "type": "plain_text", "name": "WHO", "text": self.name() });
        let answer = self.upload("api", json!({ "isolation": isolation, "bindings": [who] }));
        assert_eq!(answer.status, 200, "{answer:?}");
        let file = self.file();
        let put = self.api("PUT", &format!("assets/{}", hex(&file)), "application/octet-stream", &file);
        assert_eq!(put.status, 204, "{put:?}");
        let props = json!({ "tenant": self.name() });
        let bindings = json!([
            who,
            { "type": "service", "name": "API", "service": "api" },
            { "type": "service", "name": "ADMIN", "service": "api", "entrypoint": "Admin", "props": props },
            { "type": "assets", "name": "ASSETS" },
        ]);
        let metadata = json!({ "isolation": isolation, "bindings": bindings, "assets": site(&file) });
        let answer = self.upload("w", metadata);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn file(&self) -> Vec<u8> {
        format!("a file of {}", self.name()).into_bytes()
    }
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn site(file: &[u8]) -> Value {
    json!({ "files": { "/name.txt": { "digest": hex(file), "size": file.len(), "content_type": "text/plain" } } })
}

/// Everything that a name stands for is looked up in the account that says it, even in a process that both share.
fn apart(isolation: &str) {
    let selvedge = Selvedge::start();
    let other = selvedge.account("other");
    let both = [Tenant::Default(&selvedge), Tenant::Other(&other)];
    for tenant in &both {
        tenant.deploy(isolation);
    }
    for tenant in &both {
        let me = tenant.name();
        assert_eq!(tenant.get("w", "/who").body, me);
        assert_eq!(tenant.case("fetch"), json!(me));
        assert_eq!(tenant.case("rpc"), json!([[me, me], me, me, [me, null]]));
        assert_eq!(tenant.case("count"), json!(1), "the isolate of {me} is its own");
        assert_eq!(tenant.case("asset").as_str().unwrap().as_bytes(), tenant.file());
        assert_eq!(tenant.get("w", "/name.txt").body.as_bytes(), tenant.file());
    }

    let [ours, theirs] = &both;
    ours.case("put");
    assert_eq!(theirs.case("match"), json!([null, null]));
    assert_eq!(theirs.case("forget"), json!([false, false]));
    theirs.case("put");
    assert_eq!(ours.case("match"), json!(["default", "default"]));
    assert_eq!(theirs.case("match"), json!(["other", "other"]));
    assert_eq!(ours.case("forget"), json!([true, true]));
    assert_eq!(theirs.case("match"), json!(["other", "other"]));

    for tenant in &both {
        tenant.case("log");
        assert_eq!(tenant.get("w", "/fail").status, 500);
    }
    for tenant in &both {
        let me = tenant.name();
        let logs = common::eventually("both events are there", || {
            let logs = tenant.logs();
            (logs.len() >= 2).then_some(logs)
        });
        let text = format!("{logs:?}");
        assert!(
            text.contains(&format!("said by {me}")) && text.contains(&format!("thrown by {me}")),
            "{text}"
        );
        for neighbour in both.iter().map(Tenant::name).filter(|name| *name != me) {
            assert!(!text.contains(&format!("by {neighbour}")), "{text}");
        }
    }

    // A worker that is gone is gone, whoever has one of the same name.
    assert_eq!(theirs.api("DELETE", "scripts/api", "text/plain", b"").status, 204);
    let refused = theirs.get("w", "/fetch");
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(format!("{:?}", theirs.logs()).contains("which is not deployed"), "{:?}", theirs.logs());
    assert_eq!(ours.case("fetch"), json!("default"));
}

#[test]
fn accounts_with_a_process_each() {
    apart("account");
}

#[test]
fn accounts_in_one_process() {
    apart("shared");
}

#[test]
fn an_account_has_no_say_over_another() {
    let selvedge = Selvedge::start();
    let other = selvedge.account("other");
    let (ours, theirs) = (Tenant::Default(&selvedge), Tenant::Other(&other));
    ours.deploy("account");
    assert_eq!(theirs.upload("mine", json!({})).status, 200);

    // Bindings and files lead to what is one's own.
    let service = json!([{ "type": "service", "name": "API", "service": "api" }]);
    assert_eq!(theirs.upload("w", json!({ "bindings": service })).code(), "no_such_service");
    let stolen = json!({ "assets": site(&ours.file()) });
    assert_eq!(theirs.upload("w", stolen).code(), "assets_missing");
    let missing = json!({ "digests": [hex(&ours.file())] }).to_string();
    let missing = theirs.api("POST", "assets/missing", "application/json", missing.as_bytes());
    assert_eq!(missing.json()["missing"], json!([hex(&ours.file())]), "who has a file is not told");

    // Nor are versions of others deployed, or even seen.
    let version = ours.api("GET", "scripts/w/versions", "text/plain", b"").json()[0]["id"].clone();
    let shares = json!({ "versions": [{ "version": version, "percentage": 100 }] }).to_string();
    let deployed = theirs.api("POST", "scripts/mine/deployments", "application/json", shares.as_bytes());
    assert_eq!(deployed.status, 404, "{deployed:?}");
    let seen = format!("scripts/mine/versions/{}", version.as_str().unwrap());
    assert_eq!(theirs.api("GET", &seen, "text/plain", b"").status, 404);

    // Not a part of their hosts either, whether they have a route or go by the name of a worker.
    let routes = |tenant: &Tenant<'_>, script: &str, patterns: &[&str]| {
        let body = json!({ "patterns": patterns }).to_string();
        tenant.api("PUT", &format!("scripts/{script}/routes"), "application/json", body.as_bytes())
    };
    assert_eq!(routes(&ours, "w", &["shop.example/*"]).status, 200);
    assert_eq!(routes(&theirs, "mine", &["shop.example/login*"]).code(), "route_taken");
    assert_eq!(routes(&theirs, "mine", &["*.example/login"]).code(), "route_taken");
    for name in ["w.localhost/who", "*.localhost/who", "w.default.localhost/who"] {
        assert_eq!(routes(&theirs, "mine", &[name]).code(), "route_taken", "{name}");
        let routes = json!({ "routes": [name] });
        assert_eq!(theirs.upload("mine", routes).code(), "route_taken", "{name}");
    }
    assert_eq!(routes(&theirs, "mine", &["w.other.localhost/who"]).status, 200);
    assert_eq!(selvedge.get("w", "/who").body, "default");
    assert_eq!(selvedge.get("w.default", "/who").body, "default");
    assert_eq!(selvedge.get("nobody", "/who").code(), "no_such_worker");

    // Whatever is asked with the wrong token is refused in the same words.
    for (method, path) in
        [("GET", "scripts/w/logs"), ("GET", "scripts/w/tail"), ("DELETE", "scripts/w"), ("GET", "scripts")]
    {
        let answer = other.api(method, &format!("accounts/default/{path}"), "text/plain", b"");
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
        let answer = selvedge.api(method, &format!("accounts/other/{path}"), "text/plain", b"");
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}");
    }
    assert_eq!(ours.case("fetch"), json!("default"));
    let seen = other.api("GET", "status", "text/plain", b"");
    assert!(!seen.body.contains("account default"), "{seen:?}");
}
