//! What is changed in messages of the DevTools protocol on their way, so that tools see the developer's sources.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use crate::project::Bundle;

/// Scripts of the runtime begin with this.
const RUNTIME: &str = "selvedge:";

/// Tells a debugger that what it knew of the isolate is gone.
pub(super) const NEXT_ISOLATE: [&str; 2] = [
    r#"{"method":"Debugger.resumed","params":{}}"#,
    r#"{"method":"Runtime.executionContextsCleared","params":{}}"#,
];

/// Source maps of a bundle, by the URL of the module as V8 names it, as `data:` URLs.
pub(crate) struct SourceMaps(BTreeMap<String, String>);

impl SourceMaps {
    /// Those of `bundle`; sources get their places on this machine, where editors find them.
    pub(crate) fn of(bundle: &Bundle, root: &Path) -> Self {
        let maps = bundle.modules.iter().filter_map(|module| {
            let name = module.name.strip_suffix(".map")?;
            let mut map: Value = serde_json::from_slice(&module.content).ok()?;
            for source in map["sources"].as_array_mut().into_iter().flatten() {
                if let Some(path) = source.as_str().filter(|path| !path.contains("://")) {
                    *source = file_url(&root.join(path)).into();
                }
            }
            let url = format!("data:application/json;base64,{}", BASE64.encode(map.to_string()));
            Some((format!("file:///{name}"), url))
        });
        Self(maps.collect())
    }
}

/// `file:///a/b%20c.ts`.
fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                url.push(byte.into())
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// A message of V8, as the debugger gets it.
pub(super) fn to_debugger(message: String, maps: &SourceMaps) -> String {
    // Few messages are looked at: parsing costs, and some are large.
    let Some(method) = method(&message) else { return message };
    let change: fn(&mut Value, &SourceMaps) = match method {
        "Debugger.scriptParsed" => |params, maps| {
            if let Some(map) = params["url"].as_str().and_then(|url| maps.0.get(url)) {
                params["sourceMapURL"] = map.as_str().into();
            }
        },
        // The topmost frame is where a message is said to come from.
        "Runtime.consoleAPICalled" => |params, _| {
            if let Some(frames) = params["stackTrace"]["callFrames"].as_array_mut() {
                frames.retain(|frame| !frame["url"].as_str().is_some_and(|url| url.starts_with(RUNTIME)));
            }
        },
        _ => return message,
    };
    let Ok(mut value) = serde_json::from_str::<Value>(&message) else { return message };
    change(&mut value["params"], maps);
    value.to_string()
}

/// A request of the debugger, as V8 gets it.
pub(super) fn to_isolate(request: String) -> String {
    if !request.contains("Debugger.setBlackboxPatterns") {
        return request;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&request) else { return request };
    if let Some(patterns) = value["params"]["patterns"].as_array_mut() {
        // Stepping does not lead into the runtime.
        patterns.push(format!("^{RUNTIME}").into());
    }
    value.to_string()
}

/// The answer to a request that no isolate can take now.
pub(super) fn refusal(request: &str) -> String {
    let id =
        serde_json::from_str::<Value>(request).map(|mut request| request["id"].take()).unwrap_or_default();
    let message = "The worker is not running: its last version could not be started.";
    json!({ "id": id, "error": { "code": -32000, "message": message } }).to_string()
}

/// The method of a notification.
fn method(message: &str) -> Option<&str> {
    message.strip_prefix("{\"method\":\"")?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::UploadModule;

    #[test]
    fn scripts_get_their_maps() {
        let map = r#"{"version":3,"sources":["src/a b.ts","https://x/y.ts"],"mappings":""}"#;
        let module = |name: &str, content: &str| UploadModule {
            name: name.into(),
            content_type: "",
            content: content.as_bytes().to_vec(),
        };
        let bundle = Bundle {
            main: "main.js".into(),
            modules: vec![module("main.js", ""), module("main.js.map", map), module("x.map", "{")],
            sources: Vec::new(),
            warnings: Vec::new(),
        };
        let maps = SourceMaps::of(&bundle, Path::new("/p"));
        let parsed =
            |url: &str| json!({ "method": "Debugger.scriptParsed", "params": { "url": url } }).to_string();
        let message = to_debugger(parsed("file:///main.js"), &maps);
        let message: Value = serde_json::from_str(&message).unwrap();
        let expected = r#"{"mappings":"","sources":["file:///p/src/a%20b.ts","https://x/y.ts"],"version":3}"#;
        let url = message["params"]["sourceMapURL"].as_str().unwrap();
        assert_eq!(url, format!("data:application/json;base64,{}", BASE64.encode(expected)));
        assert_eq!(to_debugger(parsed("file:///other.js"), &maps), parsed("file:///other.js"));
    }

    #[test]
    fn the_runtime_stays_out_of_sight() {
        let maps = SourceMaps(BTreeMap::new());
        let called = json!({ "method": "Runtime.consoleAPICalled", "params": { "stackTrace": { "callFrames": [
            { "url": "selvedge:runtime" }, { "url": "file:///main.js" }] } } });
        let message: Value = serde_json::from_str(&to_debugger(called.to_string(), &maps)).unwrap();
        assert_eq!(message["params"]["stackTrace"]["callFrames"], json!([{ "url": "file:///main.js" }]));
        let request =
            json!({ "id": 1, "method": "Debugger.setBlackboxPatterns", "params": { "patterns": ["a"] } });
        let request: Value = serde_json::from_str(&to_isolate(request.to_string())).unwrap();
        assert_eq!(request["params"]["patterns"], json!(["a", "^selvedge:"]));
        assert_eq!(to_isolate("{}".into()), "{}");
        assert!(refusal("?").contains("error"));
    }
}
