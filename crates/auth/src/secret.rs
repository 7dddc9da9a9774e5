//! Secrets in settings: written there, in a file or in the environment, and never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret: `"the text"`, `{ file = "path" }` or `{ env = "NAME" }`. Neither `Debug` nor serialization shows a text that
/// stands in the settings themselves.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Secret {
    /// The text itself.
    Text(#[schemars(with = "String")] Zeroizing<String>),
    /// A file that holds it; white space at its end does not count.
    File(SecretFile),
    /// A variable of the environment that holds it.
    Env(SecretEnv),
}

/// A file that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// Path of the file; a relative one starts where the settings are.
    pub file: PathBuf,
}

/// A variable of the environment that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEnv {
    /// Its name.
    pub env: String,
}

/// A text of the settings that need not be seen: the hash of a password or key.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// A secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in {path}: {reason}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// The variable is not set, or is no text.
    #[error("the environment has no variable {0}, which is to hold a secret")]
    Env(String),
    /// There is nothing in it.
    #[error("a secret is empty")]
    Empty,
}

/// Longest secret in a file, bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl Secret {
    /// The secret itself. Relative files are looked for in `directory`.
    pub fn load(&self, directory: &Path) -> Result<Zeroizing<String>, SecretError> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(SecretFile { file }) => {
                let path = directory.join(file);
                let text = read_bounded(&path).map_err(|reason| SecretError::File { path, reason })?;
                Zeroizing::new(text.trim_end().to_owned())
            }
            Self::Env(SecretEnv { env }) => {
                Zeroizing::new(std::env::var(env).map_err(|_| SecretError::Env(env.clone()))?)
            }
        };
        if text.is_empty() { Err(SecretError::Empty) } else { Ok(text) }
    }
}

/// Reads a file of at most 64 KiB as text.
fn read_bounded(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "longer than 64 KiB"));
    }
    Ok(text)
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::Text(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Secret(…)"),
            Self::File(SecretFile { file }) => write!(f, "Secret(file {})", file.display()),
            Self::Env(SecretEnv { env }) => write!(f, "Secret(env {env})"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(_) => serializer.serialize_str("(hidden)"),
            Self::File(file) => file.serialize(serializer),
            Self::Env(env) => env.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        let secret: Secret = serde_json::from_str(r#""hunter2hunter2""#).unwrap();
        assert!(!format!("{secret:?}").contains("hunter"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter"));
        assert_eq!(secret.load(Path::new("/")).unwrap().as_str(), "hunter2hunter2");
    }

    #[test]
    fn files_and_variables_hold_secrets() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("s"), "abc\n").unwrap();
        let secret: Secret = serde_json::from_str(r#"{"file":"s"}"#).unwrap();
        assert_eq!(secret.load(directory.path()).unwrap().as_str(), "abc");
        std::fs::write(directory.path().join("s"), "\n").unwrap();
        assert!(matches!(secret.load(directory.path()), Err(SecretError::Empty)));
        std::fs::write(directory.path().join("s"), "x".repeat(70_000)).unwrap();
        assert!(matches!(secret.load(directory.path()), Err(SecretError::File { .. })));
        let secret: Secret = serde_json::from_str(r#"{"env":"PATH"}"#).unwrap();
        assert_eq!(secret.load(directory.path()).unwrap().as_str(), std::env::var("PATH").unwrap());
        let secret: Secret = serde_json::from_str(r#"{"env":"SELVEDGE_NO_SUCH_VARIABLE"}"#).unwrap();
        assert!(matches!(secret.load(directory.path()), Err(SecretError::Env(_))));
    }
}
