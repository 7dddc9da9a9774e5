//! Cryptography as the Web Cryptography API names it, over bytes and [`Key`]s: no JavaScript, no threads, no I/O.
//!
//! All of the mathematics is AWS-LC's. The module `lc` is the only place that calls it; what it gives to the rest of
//! the crate is safe. The other modules follow the algorithms' sections of the standard
//! (<https://w3c.github.io/webcrypto/>, "the standard" below):
//!
//! - [`hash`]: digests, at once or in pieces. [`mac`]: HMAC likewise.
//! - [`aes`]: GCM, CBC, CTR and key wrap.
//! - [`sign`]: RSASSA-PKCS1-v1_5, RSA-PSS, ECDSA, Ed25519. [`oaep`]: RSA-OAEP.
//! - [`derive`]: ECDH and X25519, HKDF, PBKDF2, scrypt.
//! - [`key`]: what a key is; [`generate`] makes keys; [`format`] reads and writes them.
//!
//! What may take long asks a [`GoOn`] between its steps.

pub mod aes;
pub mod derive;
pub mod format;
pub mod generate;
pub mod hash;
pub mod key;
mod lc;
pub mod mac;
pub mod oaep;
pub mod sign;

pub use hash::Hash;
pub use key::{Curve, Key, Kind};

/// Asked now and then by operations that take long; they stop with [`Error::Stopped`] at the first `false`.
pub type GoOn<'a> = &'a (dyn Fn() -> bool + 'a);

/// Why an operation did not succeed. The variants are the standard's exceptions; the text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// What was given is no such key, or not well-formed (`DataError`).
    Data(&'static str),
    /// The operation failed for a reason specific to it (`OperationError`).
    Operation(&'static str),
    /// The key is not of the kind that the operation takes (`InvalidAccessError`).
    Access(&'static str),
    /// Not offered here (`NotSupportedError`).
    NotSupported(&'static str),
    /// A [`GoOn`] said no.
    Stopped,
}

impl Error {
    /// The name of the `DOMException`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data(_) => "DataError",
            Self::Operation(_) | Self::Stopped => "OperationError",
            Self::Access(_) => "InvalidAccessError",
            Self::NotSupported(_) => "NotSupportedError",
        }
    }

    /// The sentence for whoever wrote the code.
    pub fn message(self) -> &'static str {
        match self {
            Self::Data(text) | Self::Operation(text) | Self::Access(text) | Self::NotSupported(text) => text,
            Self::Stopped => "The operation took more CPU time than the worker has left; ask for less work.",
        }
    }
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Sets the library up, which asks the processor what it can do and the kernel for a seed. To be called before a
/// process gives up the system calls for that.
pub fn prepare() {
    lc::prepare();
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    lc::equal(a, b)
}
