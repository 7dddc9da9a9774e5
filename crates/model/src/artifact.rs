//! The deployable unit: a set of modules, content-addressed.
//!
//! The encoding is canonical (modules sorted by name, fixed-width little-endian lengths), so that equal
//! content has equal bytes and therefore an equal digest.

use serde::{Deserialize, Serialize};

/// First bytes of every encoded artifact; the last one is the format's version.
const MAGIC: &[u8; 8] = b"SLVGART\x01";
/// Most modules in one artifact.
pub const MODULES_MAX: usize = 1_000;
/// Largest encoded artifact, bytes.
pub const ARTIFACT_BYTES_MAX: usize = 64 << 20;

/// How a module's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ModuleKind {
    /// ECMAScript module.
    Esm = 1,
    /// Imported as a string.
    Text = 2,
    /// Imported as an `ArrayBuffer`.
    Data = 3,
    /// Imported as a parsed value.
    Json = 4,
    /// Imported as a compiled `WebAssembly.Module`.
    Wasm = 5,
    /// Source map (JSON) of the module whose name it carries plus `.map`; never importable.
    SourceMap = 6,
    /// A classic script, in the syntax of service workers; only the entry point can be one.
    Script = 7,
}

impl ModuleKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Esm,
            2 => Self::Text,
            3 => Self::Data,
            4 => Self::Json,
            5 => Self::Wasm,
            6 => Self::SourceMap,
            7 => Self::Script,
            _ => return None,
        })
    }
}

/// One file of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its specifier relative to the artifact's root, such as `main.js` or `lib/a.js`.
    pub name: String,
    /// How to read it.
    pub kind: ModuleKind,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// All modules of a worker and which one is the entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Name of the entry module; its default export holds the handlers.
    pub main: String,
    /// Sorted by name, names unique.
    pub modules: Vec<Module>,
}

/// Why an artifact was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArtifactError {
    /// Not an artifact, or of a format this version does not read, or cut off.
    #[error("not a complete artifact of a known format")]
    Malformed,
    /// The entry module is not among the modules.
    #[error("entry module {0:?} is not among the uploaded modules")]
    NoMain(String),
    /// Two modules have one name.
    #[error("module {0:?} appears twice")]
    Duplicate(String),
    /// A name is empty, too long or holds NUL, backslash, or a `..` component.
    #[error("module name {0:?} is not a relative path")]
    Name(String),
    /// Too many or too large.
    #[error("{0}")]
    TooLarge(String),
}

impl Artifact {
    /// Checks names and sizes and puts the modules in canonical order.
    pub fn new(main: impl Into<String>, mut modules: Vec<Module>) -> Result<Self, ArtifactError> {
        let main = main.into();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        if modules.len() > MODULES_MAX {
            return Err(ArtifactError::TooLarge(format!(
                "{} modules; at most {MODULES_MAX} are allowed",
                modules.len()
            )));
        }
        let bytes: usize = modules.iter().map(|m| m.content.len()).sum();
        if bytes > ARTIFACT_BYTES_MAX {
            return Err(ArtifactError::TooLarge(format!(
                "modules of {bytes} bytes; at most {ARTIFACT_BYTES_MAX} are allowed"
            )));
        }
        for module in &modules {
            let name = &module.name;
            let bad = name.is_empty()
                || name.len() > 1024
                || name.starts_with('/')
                || name.contains(['\0', '\\', '\n'])
                || name.split('/').any(|part| part == "..");
            if bad {
                return Err(ArtifactError::Name(name.clone()));
            }
        }
        if let Some(pair) = modules.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(ArtifactError::Duplicate(pair[0].name.clone()));
        }
        if !modules.iter().any(|m| m.name == main && matches!(m.kind, ModuleKind::Esm | ModuleKind::Script)) {
            return Err(ArtifactError::NoMain(main));
        }
        Ok(Self { main, modules })
    }

    /// The module of that name.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.binary_search_by(|m| m.name.as_str().cmp(name)).ok().map(|i| &self.modules[i])
    }

    /// The canonical bytes, whose SHA-256 is the artifact's digest.
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.modules.iter().map(|m| m.content.len() + m.name.len() + 9).sum();
        let mut out = Vec::with_capacity(size + self.main.len() + 16);
        out.extend_from_slice(MAGIC);
        put(&mut out, self.main.as_bytes());
        out.extend_from_slice(&(self.modules.len() as u32).to_le_bytes());
        for module in &self.modules {
            out.push(module.kind as u8);
            put(&mut out, module.name.as_bytes());
            put(&mut out, &module.content);
        }
        out
    }

    /// Reads what [`Artifact::encode`] wrote; checks everything, since the bytes come from a disk or a peer.
    pub fn decode(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(ArtifactError::Malformed)?;
        let main = text(take(&mut rest)?)?;
        let count = number(&mut rest)? as usize;
        if count > MODULES_MAX {
            return Err(ArtifactError::Malformed);
        }
        let mut modules = Vec::with_capacity(count);
        for _ in 0..count {
            let (&kind, tail) = rest.split_first().ok_or(ArtifactError::Malformed)?;
            rest = tail;
            let kind = ModuleKind::from_byte(kind).ok_or(ArtifactError::Malformed)?;
            let name = text(take(&mut rest)?)?;
            let content = take(&mut rest)?.to_vec();
            modules.push(Module { name, kind, content });
        }
        if !rest.is_empty() {
            return Err(ArtifactError::Malformed);
        }
        Self::new(main, modules)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn number(rest: &mut &[u8]) -> Result<u32, ArtifactError> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or(ArtifactError::Malformed)?;
    *rest = tail;
    Ok(u32::from_le_bytes(*head))
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], ArtifactError> {
    let len = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(len).ok_or(ArtifactError::Malformed)?;
    *rest = tail;
    Ok(head)
}

fn text(bytes: &[u8]) -> Result<String, ArtifactError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ArtifactError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn module(name: &str) -> Module {
        Module { name: name.into(), kind: ModuleKind::Esm, content: b"export default {}".to_vec() }
    }

    #[test]
    fn order_of_modules_does_not_change_the_bytes() {
        let a = Artifact::new("a.js", vec![module("a.js"), module("b.js")]).unwrap();
        let b = Artifact::new("a.js", vec![module("b.js"), module("a.js")]).unwrap();
        assert_eq!(a.encode(), b.encode());
    }

    #[test]
    fn refuses_escapes_duplicates_and_missing_entry() {
        assert!(matches!(Artifact::new("a.js", vec![module("../a.js")]), Err(ArtifactError::Name(_))));
        assert!(matches!(
            Artifact::new("a.js", vec![module("a.js"), module("a.js")]),
            Err(ArtifactError::Duplicate(_))
        ));
        assert_eq!(Artifact::new("b.js", vec![module("a.js")]), Err(ArtifactError::NoMain("b.js".into())));
    }

    proptest! {
        #[test]
        fn round_trip(names in proptest::collection::btree_set("[a-z]{1,8}\\.js", 1..5), body in any::<Vec<u8>>()) {
            let modules: Vec<_> = names.iter().map(|n| Module { name: n.clone(), kind: ModuleKind::Esm, content: body.clone() }).collect();
            let artifact = Artifact::new(names.first().unwrap().clone(), modules).unwrap();
            prop_assert_eq!(Artifact::decode(&artifact.encode()), Ok(artifact));
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
            let _ = Artifact::decode(&bytes);
            let _ = Artifact::decode(&[MAGIC.as_slice(), &bytes].concat());
        }

        #[test]
        fn cut_off_is_malformed(cut in 0usize..40) {
            let bytes = Artifact::new("a.js", vec![module("a.js")]).unwrap().encode();
            let cut = cut.min(bytes.len() - 1);
            prop_assert!(Artifact::decode(&bytes[..cut]).is_err());
        }
    }
}
