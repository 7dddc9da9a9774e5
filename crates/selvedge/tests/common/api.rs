//! The control API, for what the command line has no form for: limits, isolation, shares, raw modules.

use std::io::Write;

use selvedge_model::AccountId;
use selvedge_store::Store;
use serde_json::{Value, json};

use super::{Answer, Selvedge, connect};

/// Between the parts of an upload.
const BOUNDARY: &str = "end-of-a-part-of-this-upload";

/// A module of an upload.
pub struct Module<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub bytes: &'a [u8],
}

impl<'a> Module<'a> {
    /// The main module.
    pub fn main(code: &'a str) -> Self {
        Self { name: "main.js", kind: "application/javascript+module", bytes: code.as_bytes() }
    }

    /// WebAssembly.
    pub fn wasm(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, kind: "application/wasm", bytes }
    }
}

impl Selvedge {
    /// A call of the control API with the default account's token.
    pub fn api(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let token = std::fs::read_to_string(self.data().join("token")).unwrap();
        self.api_as(token.trim(), method, path, kind, body)
    }

    /// A call of the control API with this token.
    pub fn api_as(&self, token: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut stream = connect(self.admin);
        let head = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.admin,
            token,
            body.len()
        );
        // A refusal may come, and the connection close, before all of the body is taken.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(stream)
    }

    /// Uploads `modules`, the first of which is the main one; `metadata` holds what differs from the defaults.
    pub fn upload(&self, name: &str, metadata: Value, modules: &[Module<'_>]) -> Answer {
        let (kind, body) = form(metadata, modules);
        self.api("PUT", &format!("accounts/default/scripts/{name}"), &kind, &body)
    }

    /// Makes an account beside the default one. There is no call for that yet, so it goes into the records.
    pub fn account(&self, name: &str) -> Account<'_> {
        let account: AccountId = name.parse().unwrap();
        let store = Store::open(self.data(), None).unwrap();
        store.create_account(&account).unwrap();
        let token = store.create_token(&account, "test").unwrap().as_str().to_owned();
        Account { selvedge: self, name: name.into(), token }
    }

    /// Deploys one module with these limits; returns its version.
    pub fn deploy_limited(&self, name: &str, code: &str, limits: Value) -> String {
        let answer = self.upload(name, json!({ "limits": limits }), &[Module::main(code)]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["version"].as_str().unwrap().to_owned()
    }

    /// What a worker said and what happened to it, oldest first.
    pub fn logs(&self, name: &str) -> Vec<Value> {
        let answer = self.api("GET", &format!("accounts/default/scripts/{name}/logs"), "text/plain", b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json().as_array().unwrap().clone()
    }

    /// Hosts, isolates and memory.
    pub fn status(&self) -> Value {
        self.api("GET", "status", "text/plain", b"").json()
    }

    /// Process ids of the hosts that serve a group.
    pub fn hosts_of(&self, group: &str) -> Vec<u32> {
        let status = self.status();
        let hosts = status["hosts"].as_array().unwrap().iter().filter(|host| host["group"] == group);
        hosts.map(|host| host["pid"].as_u64().unwrap() as u32).collect()
    }

    /// A counter or gauge of the engine.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.call(self.admin, "GET", "x", "/metrics", "").body;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([' ']));
        let total = || text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_total "));
        value
            .or_else(total)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

/// An account other than the default one, with a token of its own.
pub struct Account<'a> {
    selvedge: &'a Selvedge,
    pub name: String,
    token: String,
}

impl Account<'_> {
    /// A call of the control API with this account's token.
    pub fn api(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.selvedge.api_as(&self.token, method, path, kind, body)
    }

    /// As [`Selvedge::upload`].
    pub fn upload(&self, name: &str, metadata: Value, modules: &[Module<'_>]) -> Answer {
        let (kind, body) = form(metadata, modules);
        self.api("PUT", &format!("accounts/{}/scripts/{name}", self.name), &kind, &body)
    }

    /// As [`Selvedge::logs`].
    pub fn logs(&self, name: &str) -> Vec<Value> {
        let path = format!("accounts/{}/scripts/{name}/logs", self.name);
        let answer = self.api("GET", &path, "text/plain", b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json().as_array().unwrap().clone()
    }

    /// `GET` of a worker of this account.
    pub fn get(&self, name: &str, path: &str) -> Answer {
        self.selvedge.get(&format!("{name}.{}", self.name), path)
    }
}

/// An upload's content type and body.
fn form(mut metadata: Value, modules: &[Module<'_>]) -> (String, Vec<u8>) {
    metadata["main_module"] = json!(modules[0].name);
    let metadata = metadata.to_string();
    let described = Module { name: "metadata", kind: "application/json", bytes: metadata.as_bytes() };
    let mut body = Vec::new();
    for Module { name, kind, bytes } in std::iter::once(&described).chain(modules) {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
             content-type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}
