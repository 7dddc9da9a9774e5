//! Changes the address that is asked for, for what answers.

use http::Request;
use selvedge_limit::rewrite::{Rewrite, RewriteConfig};

use super::Flow;
use crate::body::RequestBody;
use crate::refusal::Refusal;

#[derive(Debug)]
pub(crate) struct RewriteStep(Rewrite);

impl RewriteStep {
    pub(super) fn new(config: &RewriteConfig) -> Result<Self, String> {
        Rewrite::new(config).map(Self)
    }

    pub(super) fn before(&self, request: &mut Request<RequestBody>) -> Flow {
        match self.0.apply(request.uri()) {
            Some(uri) => {
                *request.uri_mut() = uri;
                Flow::On
            }
            None => Flow::Refuse(Refusal::REWRITE),
        }
    }
}
