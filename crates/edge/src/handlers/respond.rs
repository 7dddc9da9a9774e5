//! Answers what the settings say.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::template::Template;

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RespondConfig {
    /// From 200 to 599.
    pub status: u16,
    /// Text, with variables.
    pub body: String,
    /// Further fields.
    pub headers: BTreeMap<String, String>,
}

impl Default for RespondConfig {
    fn default() -> Self {
        Self { status: 200, body: String::new(), headers: BTreeMap::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Respond {
    status: StatusCode,
    body: Template,
    headers: HeaderMap,
}

impl Respond {
    pub(super) fn new(config: &RespondConfig) -> Result<Self, String> {
        let status = Some(config.status).filter(|status| (200..600).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status =
            status.ok_or_else(|| format!("{} is no status; take one from 200 to 599", config.status))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let field = name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no name of a field"))?;
            let value =
                HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no value of a field"))?;
            headers.append(field, value);
        }
        if !config.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        Ok(Self { status, body: Template::parse(&config.body)?, headers })
    }

    pub(super) fn answer(&self, exchange: &Exchange, request: &Request<RequestBody>) -> Response<Content> {
        let mut response = Response::new(Bytes::from(self.body.render(exchange, request)).into());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}
