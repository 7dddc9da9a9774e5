//! Where in a request a value stands.

use serde::{Deserialize, Serialize};

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The path.
    Path,
    /// A parameter of the query or of a form, its name included.
    Parameter,
    /// A string in a JSON body, or the name of a member.
    Json,
    /// The name of an uploaded file.
    FileName,
    /// A cookie.
    Cookie,
    /// `User-Agent`.
    UserAgent,
    /// `Referer`.
    Referer,
    /// Any other header field.
    Header,
    /// A body of no kind that is taken apart, such as XML.
    Body,
}

impl Place {
    /// A bit of its own.
    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }
}
