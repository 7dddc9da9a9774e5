//! What answers at the end of a route.

mod files;
mod proxy;
mod redirect;
mod respond;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;

use http::{Request, Response};
use selvedge_files::FilesConfig;
use selvedge_upstream::Registry;
use selvedge_upstream::config::{ProxyConfig, UpstreamConfig};

pub use redirect::RedirectConfig;
pub use respond::RespondConfig;

use files::FileServer;
use proxy::Proxy;
use redirect::Redirect;
use respond::Respond;
pub(crate) use worker::WorkerName;

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::request::Facts;

/// What answers.
#[derive(Debug)]
pub(crate) enum Handler {
    Worker(WorkerName),
    // Boxed: larger than the others.
    Proxy(Box<Proxy>),
    Files(FileServer),
    Redirect(Redirect),
    Respond(Respond),
}

impl Handler {
    pub(crate) fn worker(name: &str) -> Result<Self, String> {
        WorkerName::new(name).map(Self::Worker)
    }

    pub(crate) fn proxy(
        config: &ProxyConfig,
        upstreams: &BTreeMap<String, UpstreamConfig>,
        registry: &Registry,
        base: &Path,
    ) -> Result<Self, String> {
        Proxy::new(config, upstreams, registry, base).map(|proxy| Self::Proxy(Box::new(proxy)))
    }

    pub(crate) fn files(config: &FilesConfig, base: &Path) -> Result<Self, String> {
        FileServer::new(config, base).map(Self::Files)
    }

    pub(crate) fn redirect(config: &RedirectConfig) -> Result<Self, String> {
        Redirect::new(config).map(Self::Redirect)
    }

    pub(crate) fn respond(config: &RespondConfig) -> Result<Self, String> {
        Respond::new(config).map(Self::Respond)
    }

    /// As settings call it, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Worker(_) => "worker",
            Self::Proxy(_) => "upstream",
            Self::Files(_) => "files",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(
        &self,
        exchange: &mut Exchange,
        request: Box<Request<RequestBody>>,
        facts: &Facts,
    ) -> Result<Response<Content>, Refusal> {
        match self {
            Self::Worker(name) => name.answer(exchange, request, facts).await,
            // Boxed, so that other requests reserve no room for it.
            Self::Proxy(proxy) => Box::pin(proxy.answer(exchange, request, facts)).await,
            Self::Files(files) => files.answer(exchange, &request).await,
            Self::Redirect(redirect) => redirect.answer(exchange, &request),
            Self::Respond(respond) => Ok(respond.answer(exchange, &request)),
        }
    }
}
