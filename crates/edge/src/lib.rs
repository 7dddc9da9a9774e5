//! The HTTP front: takes connections, finds the worker of each request and has the engine answer it.
//!
//! Start reading at [`request`]: the life of a request, one function a step.

pub mod admin;
mod body;
pub mod config;
mod connection;
pub mod edge;
mod exchange;
mod guard;
mod headers;
mod http1;
mod http2;
mod listen;
pub mod readiness;
mod refusal;
pub mod request;
mod request_id;
mod thread;
mod websocket;

pub use admin::{AdminState, admin_router};
pub use body::{BodyCut, RequestBody};
pub use config::{EdgeConfig, Http2Config};
pub use edge::{Edge, EdgeError, Explain};
pub use readiness::Readiness;
