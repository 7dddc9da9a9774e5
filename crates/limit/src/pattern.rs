//! Regular expressions of settings. They take time linear in the text, whatever they are, and bounded memory.

use regex::{Regex, RegexBuilder};

/// Memory of one compiled expression, bytes.
const SIZE_MAX: usize = 1 << 20;

/// Compiles an expression.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build();
    built.map_err(|error| format!("{text:?} is no expression: {error}"))
}

/// Compiles an expression that the whole of a text has to fit.
///
/// # Errors
/// As [`compile`].
pub fn whole(text: &str) -> Result<Regex, String> {
    compile(text)?;
    compile(&format!("^(?:{text})$"))
}
