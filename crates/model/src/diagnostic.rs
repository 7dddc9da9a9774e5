//! Why a worker's code was refused, told with file, line and excerpt.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One error in a worker's code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Stable code: `syntax_error`, `unknown_import`, `no_default_export`, `no_handler`, `top_level_exception`,
    /// `top_level_timeout`, `module_too_large` or `memory_exceeded`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Module (or original source file, when a source map led there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The source line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// JavaScript stack, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: message`, then the source line with a caret under the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}:{}", self.column.unwrap_or(1))?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let gutter = self.line.map(|l| l.to_string()).unwrap_or_default();
            write!(f, "\n  {gutter} | {excerpt}")?;
            if let Some(column) = self.column {
                let pad: String = excerpt
                    .chars()
                    .take(column.saturating_sub(1) as usize)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(f, "\n  {} | {pad}^", " ".repeat(gutter.len()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_place() {
        let diagnostic = Diagnostic {
            code: "syntax_error".into(),
            message: "Unexpected token '}'".into(),
            file: Some("main.js".into()),
            line: Some(12),
            column: Some(3),
            excerpt: Some("\t }".into()),
            stack: None,
        };
        assert_eq!(diagnostic.to_string(), "main.js:12:3: Unexpected token '}'\n  12 | \t }\n     | \t ^");
    }
}
