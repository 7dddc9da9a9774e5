//! Changes of JSON texts, by pointer (RFC 6901).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Changes of a JSON text, in this order: `remove`, `rename`, `set`. What is not there is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JsonEdit {
    /// Pointers to what goes, such as `/user/password`; `*` stands for each element of a list or object.
    pub remove: Vec<String>,
    /// Pointers to members of objects, and their new names.
    pub rename: BTreeMap<String, String>,
    /// Pointers to members of objects that are there, whose value is this from then on.
    pub set: BTreeMap<String, Value>,
}

impl JsonEdit {
    /// # Errors
    /// A sentence that names a pointer that is none.
    pub fn check(&self) -> Result<(), String> {
        let pointers = self.remove.iter().chain(self.rename.keys()).chain(self.set.keys());
        match pointers.into_iter().find(|pointer| !pointer.starts_with('/')) {
            Some(pointer) => Err(format!("{pointer:?} is no pointer; write for example /user/name")),
            None => Ok(()),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty()
    }

    /// The text with the changes. Members of objects come in the order of their names.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn apply(&self, json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let mut value: Value = serde_json::from_slice(json)?;
        for pointer in &self.remove {
            at(&mut value, &tokens(pointer), &mut |parent, last| match parent {
                Value::Object(object) if last == "*" => object.clear(),
                Value::Object(object) => drop(object.remove(last)),
                Value::Array(list) if last == "*" => list.clear(),
                Value::Array(list) => {
                    if let Some(index) = last.parse().ok().filter(|index| *index < list.len()) {
                        list.remove(index);
                    }
                }
                _ => {}
            });
        }
        for (pointer, name) in &self.rename {
            at(&mut value, &tokens(pointer), &mut |parent, last| {
                if let Value::Object(object) = parent
                    && let Some(value) = object.remove(last)
                {
                    object.insert(name.clone(), value);
                }
            });
        }
        for (pointer, new) in &self.set {
            at(&mut value, &tokens(pointer), &mut |parent, last| match parent {
                Value::Object(object) => drop(object.insert(last.to_owned(), new.clone())),
                Value::Array(list) => {
                    if let Some(place) = last.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                        *place = new.clone();
                    }
                }
                _ => {}
            });
        }
        serde_json::to_vec(&value)
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// Does something with the parent of each place that a pointer leads to.
fn at(value: &mut Value, tokens: &[String], with: &mut impl FnMut(&mut Value, &str)) {
    match tokens {
        [] => {}
        [last] => with(value, last),
        [first, rest @ ..] => match value {
            Value::Object(object) if first == "*" => {
                object.values_mut().for_each(|value| at(value, rest, with))
            }
            Value::Array(list) if first == "*" => list.iter_mut().for_each(|value| at(value, rest, with)),
            Value::Object(object) => {
                object.get_mut(first).into_iter().for_each(|value| at(value, rest, with))
            }
            Value::Array(list) => {
                let place = first.parse::<usize>().ok().and_then(|index| list.get_mut(index));
                place.into_iter().for_each(|value| at(value, rest, with));
            }
            _ => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(edit: &str, json: &str) -> String {
        let edit: JsonEdit = serde_json::from_str(edit).unwrap();
        edit.check().unwrap();
        String::from_utf8(edit.apply(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn members_go_move_and_come() {
        assert_eq!(
            run(r#"{"remove": ["/a/b", "/l/0", "/none/x"]}"#, r#"{"a": {"b": 1, "c": 2}, "l": [1, 2]}"#),
            r#"{"a":{"c":2},"l":[2]}"#
        );
        assert_eq!(
            run(r#"{"remove": ["/users/*/password"]}"#, r#"{"users": [{"password": 1, "n": 2}, 3]}"#),
            r#"{"users":[{"n":2},3]}"#
        );
        assert_eq!(run(r#"{"rename": {"/a/b": "c"}}"#, r#"{"a": {"b": 1}}"#), r#"{"a":{"c":1}}"#);
        assert_eq!(
            run(r#"{"set": {"/a": {"x": 1}, "/l/1": 9, "/l/7": 9, "/no/way": 1}}"#, r#"{"l": [1, 2]}"#),
            r#"{"a":{"x":1},"l":[1,9]}"#
        );
        assert_eq!(run(r#"{"remove": ["/a~1b"], "set": {"/c~0d": 1}}"#, r#"{"a/b": 1}"#), r#"{"c~d":1}"#);
        assert_eq!(run(r#"{"remove": ["/a"]}"#, "17"), "17");
    }

    #[test]
    fn what_is_no_json_or_pointer_is_told() {
        assert!(JsonEdit { remove: vec!["a".into()], ..JsonEdit::default() }.check().is_err());
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert!(JsonEdit::default().apply(&deep).is_err());
    }
}
