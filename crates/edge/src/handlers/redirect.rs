//! Sends clients elsewhere.

use http::{HeaderValue, Request, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::template::Template;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectConfig {
    /// Address, absolute or from the root, with variables: `https://{host}{uri}`.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
}

fn permanent() -> u16 {
    308
}

#[derive(Debug)]
pub(crate) struct Redirect {
    to: Template,
    status: StatusCode,
}

impl Redirect {
    pub(super) fn new(config: &RedirectConfig) -> Result<Self, String> {
        let status = match config.status {
            301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(config.status).map_err(|e| e.to_string())?,
            other => {
                return Err(format!("{other} is no status of redirects; take 301, 302, 303, 307 or 308"));
            }
        };
        Ok(Self { to: Template::parse(&config.to)?, status })
    }

    pub(super) fn answer(
        &self,
        exchange: &Exchange,
        request: &Request<RequestBody>,
    ) -> Result<Response<Content>, Refusal> {
        let to = self.to.render(exchange, request);
        // `//other.example` would be another host, which only the settings may name.
        let to = match to.strip_prefix('/') {
            Some(rest) => format!("/{}", rest.trim_start_matches(['/', '\\'])),
            None => to,
        };
        let to = HeaderValue::from_str(&to).map_err(|_| {
            Refusal::bad_request("The request cannot be redirected: what it asks for makes no address.")
        })?;
        let mut response = Response::new(Content::Empty);
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::LOCATION, to);
        Ok(response)
    }
}
