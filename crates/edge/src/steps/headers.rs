//! Sets and removes header fields of requests and responses.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Flow;
use crate::body::RequestBody;
use crate::exchange::Exchange;
use crate::template::Template;

/// Fields that would let a message be read as another one.
const FRAMING: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
];

/// Changes to header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeadersConfig {
    /// Fields that requests get, in the place of theirs; values may have variables.
    pub request: BTreeMap<String, String>,
    /// Fields that requests get beside theirs.
    pub add_request: BTreeMap<String, String>,
    /// Fields that requests lose.
    pub remove_request: Vec<String>,
    /// Fields that responses get, in the place of theirs; values may have variables.
    pub response: BTreeMap<String, String>,
    /// Fields that responses get beside theirs.
    pub add_response: BTreeMap<String, String>,
    /// Fields that responses get where they have none of that name.
    pub default_response: BTreeMap<String, String>,
    /// Fields that responses lose.
    pub remove_response: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Headers {
    request: Vec<(HeaderName, Template)>,
    add_request: Vec<(HeaderName, Template)>,
    remove_request: Vec<HeaderName>,
    response: Vec<(HeaderName, Template)>,
    add_response: Vec<(HeaderName, Template)>,
    default_response: Vec<(HeaderName, Template)>,
    remove_response: Vec<HeaderName>,
}

impl Headers {
    pub(super) fn new(config: &HeadersConfig) -> Result<Self, String> {
        let name = |name: &String| match name.parse::<HeaderName>() {
            Ok(name) if FRAMING.contains(&name) => {
                Err(format!("{name} says where a message ends or how it travels; it is not for settings"))
            }
            Ok(name) => Ok(name),
            Err(_) => Err(format!("{name:?} is no name of a header field")),
        };
        let set = |fields: &BTreeMap<String, String>| -> Result<Vec<_>, String> {
            fields.iter().map(|(field, value)| Ok((name(field)?, Template::parse(value)?))).collect()
        };
        Ok(Self {
            request: set(&config.request)?,
            add_request: set(&config.add_request)?,
            add_response: set(&config.add_response)?,
            default_response: set(&config.default_response)?,
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
        let (for_request, more_request) = (rendered(&self.request), rendered(&self.add_request));
        let (for_response, more_response) = (rendered(&self.response), rendered(&self.add_response));
        let default_response = rendered(&self.default_response);
        for name in &self.remove_request {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(for_request);
        append(request.headers_mut(), more_request);
        let remove = self.remove_response.clone();
        exchange.later.push(Box::new(move |response| {
            for name in remove {
                response.headers_mut().remove(name);
            }
            let headers = response.headers_mut();
            headers.extend(for_response);
            append(headers, more_response);
            for (name, value) in default_response {
                if let Some(name) = name {
                    headers.entry(name).or_insert(value);
                }
            }
        }));
        Flow::On
    }
}

/// Adds fields beside those of the same name.
fn append(headers: &mut HeaderMap, more: HeaderMap) {
    for (name, value) in more {
        // Each name stands here once.
        if let Some(name) = name {
            headers.append(name, value);
        }
    }
}
