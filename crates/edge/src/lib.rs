//! The HTTP front: takes connections, finds the worker of each request and has the engine answer it.
//!
//! Start reading at [`request`]: the life of a request, one function a step.

mod acme;
pub mod admin;
mod begun;
mod body;
mod cached;
mod client_socket;
mod compress;
pub mod config;
mod connection;
pub mod edge;
mod entrance;
mod exchange;
mod file_body;
mod flags;
mod guard;
mod handlers;
mod headers;
mod hints;
mod http1;
mod http2;
mod https;
mod listen;
mod pulse;
pub mod readiness;
mod refusal;
pub mod request;
mod request_id;
mod sites;
mod steps;
mod stream;
mod template;
mod thread;
mod timeline;
mod tunnel;
mod websocket;
mod workers;

pub use admin::{AdminState, admin_router, cache_calls};
pub use body::{BodyCut, Content, Fault, RequestBody};
pub use compress::{Coding, CompressionConfig};
pub use config::{EdgeConfig, HealthConfig};
pub use edge::{Edge, EdgeError, Explain, Surroundings};
pub use handlers::{RedirectConfig, RespondConfig};
pub use hints::EarlyHints;
pub use readiness::{Matters, Readiness};
pub use selvedge_cache::store::{Counts as CacheCounts, Purge, Store as CacheStore};
pub use selvedge_http2::Http2Config;
pub use selvedge_tls::{Authority, Certificate, Certificates, Shelf, Tls, config as tls_config};
pub use selvedge_upstream::Registry as Upstreams;
pub use selvedge_upstream::config::{ProxyConfig, UpstreamConfig};
pub use sites::{Problem, RouteConfig, SiteConfig, SiteSettings, Sites};
pub use steps::{BodyConfig, HeadersConfig, SecurityHeaders, StepConfig, WorkerStepConfig};
pub use workers::{Answering, StandIn};
