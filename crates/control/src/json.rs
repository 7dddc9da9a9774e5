//! JSON objects from clients.

use serde::de::DeserializeOwned;

/// Reads an object; else what is wrong with the text, without the value at fault: that may be a misplaced
/// secret.
pub(crate) fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // serde would take a list for a struct as well.
    if text.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
        return Err("it must be a JSON object".into());
    }
    serde_json::from_slice(text).map_err(|error| problem(&error.to_string()))
}

fn problem(text: &str) -> String {
    for kind in ["invalid type", "invalid value"] {
        // `invalid type: string "hunter2", expected a map at line 1 column 9`
        if text.starts_with(kind)
            && let Some(expected) = text.rfind(", expected ")
        {
            return format!("{kind}{}", &text[expected..]);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn objects_only_and_no_echo() {
        type Numbers = BTreeMap<String, u8>;
        assert_eq!(object::<Numbers>(b" {\"a\":1}").unwrap()["a"], 1);
        assert_eq!(object::<Numbers>(b"[]").unwrap_err(), "it must be a JSON object");
        assert!(object::<Numbers>(b"").unwrap_err().contains("EOF"));
        let error = object::<Numbers>(br#"{"a":"hunter2, expected "}"#).unwrap_err();
        assert_eq!(error, "invalid type, expected u8 at line 1 column 25");
        let error = object::<Numbers>(br#"{"a":271828}"#).unwrap_err();
        assert_eq!(error, "invalid value, expected u8 at line 1 column 11");
    }
}
