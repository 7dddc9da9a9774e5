//! The control plane's REST API: what is deployed, and how it changes. `docs/api.md` describes it.

mod assets;
mod auth;
pub mod control;
mod deployments;
mod error;
mod extract;
mod json;
mod logs;
mod metadata;
mod profile;
mod router;
mod routes;
pub mod sandbox;
mod scheduled;
mod scripts;
mod secrets;
pub mod settings;
mod source_map;
mod stack;
mod status;
mod upload;
mod versions;

pub use control::Control;
pub use router::{calls, for_operator, router};
pub use sandbox::Sandbox;
pub use settings::{PublicUrl, Settings};
