//! Sets and removes header fields of requests and responses.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::template::Template;

/// Changes to header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeadersConfig {
    /// Fields that requests get, in the place of theirs; values may have variables.
    pub request: BTreeMap<String, String>,
    /// Fields that requests lose.
    pub remove_request: Vec<String>,
    /// Fields that responses get, in the place of theirs; values may have variables.
    pub response: BTreeMap<String, String>,
    /// Fields that responses lose.
    pub remove_response: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Headers {
    request: Vec<(HeaderName, Template)>,
    remove_request: Vec<HeaderName>,
    response: Vec<(HeaderName, Template)>,
    remove_response: Vec<HeaderName>,
}

impl Headers {
    pub(super) fn new(config: &HeadersConfig) -> Result<Self, String> {
        let name = |name: &String| name.parse().map_err(|_| format!("{name:?} is no name of a header field"));
        let set = |fields: &BTreeMap<String, String>| -> Result<Vec<_>, String> {
            fields.iter().map(|(field, value)| Ok((name(field)?, Template::parse(value)?))).collect()
        };
        Ok(Self {
            request: set(&config.request)?,
            remove_request: config.remove_request.iter().map(name).collect::<Result<_, _>>()?,
            response: set(&config.response)?,
            remove_response: config.remove_response.iter().map(name).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let rendered = |fields: &[(HeaderName, Template)]| -> HeaderMap {
            let render = |(name, value): &(HeaderName, Template)| {
                // What makes no value, because of what the client sent, is left out.
                let value = HeaderValue::from_str(&value.render(exchange, request)).ok()?;
                Some((name.clone(), value))
            };
            fields.iter().filter_map(render).collect()
        };
        let (for_request, for_response) = (rendered(&self.request), rendered(&self.response));
        for name in &self.remove_request {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(for_request);
        let remove = self.remove_response.clone();
        exchange.later.push(Box::new(move |response| {
            for name in remove {
                response.headers_mut().remove(name);
            }
            response.headers_mut().extend(for_response);
        }));
        Flow::On
    }
}
