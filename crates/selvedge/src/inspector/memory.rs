//! What a debugger has set up, so that it can be set up again in the next isolate.

use std::collections::HashMap;

use serde_json::{Value, json};

/// First id of requests that are repeated; debuggers count from 1.
const REPLAY_IDS: i64 = 1 << 30;
/// Settings that are remembered.
const SETTINGS_MAX: usize = 4096;

/// Methods that set something up, of which the last call counts.
const SETTERS: [&str; 9] = [
    "Debugger.setAsyncCallStackDepth",
    "Debugger.setBlackboxPatterns",
    "Debugger.setBlackboxExecutionContexts",
    "Debugger.setBreakpointsActive",
    "Debugger.setInstrumentationBreakpoint",
    "Debugger.setPauseOnExceptions",
    "Debugger.setSkipAllPauses",
    "Profiler.setSamplingInterval",
    "Runtime.setCustomObjectFormatterEnabled",
];

/// One thing that was set up.
#[derive(Debug)]
struct Setting {
    method: String,
    params: Value,
    /// V8's name for a breakpoint.
    breakpoint: Option<String>,
}

/// The memory of one debugger's wishes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    settings: Vec<Setting>,
    /// Breakpoints that V8 has not confirmed, by the request's id.
    asked: HashMap<i64, usize>,
}

impl Memory {
    /// Takes note of a debugger's request.
    pub(super) fn asked(&mut self, request: &str) {
        let Ok(mut request) = serde_json::from_str::<Value>(request) else { return };
        let Some(method) = request["method"].as_str().map(str::to_owned) else { return };
        let params = request["params"].take();
        if method == "Debugger.removeBreakpoint" {
            self.settings.retain(|setting| {
                setting.breakpoint.is_none()
                    || setting.breakpoint.as_deref() != params["breakpointId"].as_str()
            });
            self.asked.clear();
        } else if let Some(domain) = method.strip_suffix(".disable") {
            self.settings.retain(|setting| !setting.method.starts_with(&format!("{domain}.")));
            self.asked.clear();
        } else if method == "Debugger.setBreakpointByUrl" {
            if self.settings.len() < SETTINGS_MAX {
                if let Some(id) = request["id"].as_i64() {
                    self.asked.insert(id, self.settings.len());
                }
                self.settings.push(Setting { method, params, breakpoint: None });
            }
        } else if method.ends_with(".enable") || SETTERS.contains(&method.as_str()) {
            match self.settings.iter_mut().find(|setting| setting.method == method) {
                Some(setting) => setting.params = params,
                None => self.settings.push(Setting { method, params, breakpoint: None }),
            }
        }
    }

    /// Takes note of V8's answer.
    pub(super) fn answered(&mut self, message: &str) {
        if self.asked.is_empty() || !message.starts_with("{\"id\":") {
            return;
        }
        let Ok(answer) = serde_json::from_str::<Value>(message) else { return };
        let Some(at) = answer["id"].as_i64().and_then(|id| self.asked.remove(&id)) else { return };
        if let (Some(setting), Some(id)) =
            (self.settings.get_mut(at), answer["result"]["breakpointId"].as_str())
        {
            setting.breakpoint = Some(id.to_owned());
        }
    }

    /// The requests that set everything up again; answers to them are [`Memory::is_replayed`].
    pub(super) fn replay(&mut self) -> Vec<String> {
        self.asked.clear();
        let settings = self.settings.iter().enumerate();
        let request = |(at, setting): (usize, &Setting)| {
            json!({ "id": REPLAY_IDS + at as i64, "method": setting.method, "params": setting.params })
                .to_string()
        };
        settings.map(request).collect()
    }

    /// Whether this answers a repeated request, of which the debugger knows nothing.
    pub(super) fn is_replayed(&self, message: &str) -> bool {
        let id = message.strip_prefix("{\"id\":").map(|rest| rest.chars().take_while(char::is_ascii_digit));
        id.and_then(|digits| digits.collect::<String>().parse().ok()).is_some_and(|id: i64| id >= REPLAY_IDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(memory: &mut Memory) -> Vec<(String, Value)> {
        let requests = memory.replay();
        assert!(requests.iter().all(|request| {
            let id = serde_json::from_str::<Value>(request).unwrap()["id"].clone();
            memory.is_replayed(&json!({ "id": id, "result": {} }).to_string())
        }));
        let parsed = requests.iter().map(|request| serde_json::from_str::<Value>(request).unwrap());
        parsed.map(|mut it| (it["method"].as_str().unwrap().to_owned(), it["params"].take())).collect()
    }

    #[test]
    fn what_was_set_up_is_set_up_again() {
        let mut memory = Memory::default();
        memory.asked(r#"{"id":1,"method":"Runtime.enable"}"#);
        memory.asked(r#"{"id":2,"method":"Debugger.enable","params":{"maxScriptsCacheSize":1}}"#);
        memory.asked(r#"{"id":3,"method":"Debugger.setPauseOnExceptions","params":{"state":"all"}}"#);
        memory.asked(r#"{"id":4,"method":"Debugger.setPauseOnExceptions","params":{"state":"none"}}"#);
        memory.asked(r#"{"id":5,"method":"Debugger.setBreakpointByUrl","params":{"lineNumber":1}}"#);
        memory.asked(r#"{"id":6,"method":"Debugger.setBreakpointByUrl","params":{"lineNumber":2}}"#);
        memory.answered(r#"{"id":5,"result":{"breakpointId":"1:1:0:x"}}"#);
        memory.asked(r#"{"id":7,"method":"Debugger.removeBreakpoint","params":{"breakpointId":"1:1:0:x"}}"#);
        memory.asked(r#"{"id":8,"method":"Runtime.evaluate","params":{"expression":"1"}}"#);
        memory.asked("no json");
        let none = Value::Null;
        assert_eq!(
            replayed(&mut memory),
            [
                ("Runtime.enable".to_owned(), none),
                ("Debugger.enable".to_owned(), json!({ "maxScriptsCacheSize": 1 })),
                ("Debugger.setPauseOnExceptions".to_owned(), json!({ "state": "none" })),
                ("Debugger.setBreakpointByUrl".to_owned(), json!({ "lineNumber": 2 })),
            ]
        );
        memory.asked(r#"{"id":9,"method":"Debugger.disable"}"#);
        assert_eq!(replayed(&mut memory).len(), 1);
        assert!(!memory.is_replayed(r#"{"id":9,"result":{}}"#));
        assert!(!memory.is_replayed(r#"{"method":"Debugger.paused"}"#));
    }
}
