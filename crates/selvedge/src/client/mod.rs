//! The control API as the commands use it. See docs/api.md.

mod http;
mod multipart;
mod tail;

pub(crate) use http::Client;
pub(crate) use multipart::Form;
