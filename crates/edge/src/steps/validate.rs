//! Refuses requests that do not look as they should, with all mistakes as problem details (RFC 9457).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use selvedge_limit::validate::{Missing, Mistake, Operation, Rules, Schema, ValidateConfig};

use super::Flow;
use super::buffered::{self, Lack, Limited};
use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;

/// Longest schema or OpenAPI document, bytes.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Longer bodies are judged aside, so that other requests of the thread need not wait, bytes.
const ASIDE: usize = 32 << 10;

#[derive(Debug)]
pub(crate) struct ValidateStep(Arc<Rules>);

impl ValidateStep {
    pub(super) fn new(config: &ValidateConfig) -> Result<Self, String> {
        let text = |path: &Path| {
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            if std::fs::metadata(path).map_err(|error| wrong(&error))?.len() > DOCUMENT_MAX {
                return Err(wrong(&format_args!("longer than {DOCUMENT_MAX} bytes")));
            }
            std::fs::read_to_string(path).map_err(|error| wrong(&error))
        };
        let schema = config.schema_file.as_deref().map(text).transpose()?;
        let openapi = config.openapi.as_deref().map(text).transpose()?;
        Rules::new(config, schema.as_deref(), openapi.as_deref()).map(|rules| Self(Arc::new(rules)))
    }

    pub(super) async fn before(&self, exchange: &mut Exchange, request: &mut Request<RequestBody>) -> Flow {
        let rules = &self.0;
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .map(str::to_owned);
        let has_body = !request.body().is_end_stream();
        let mut mistakes = rules.missing(request.uri().query().unwrap_or_default(), request.headers());
        let mut operation = None;
        if let Some(api) = &rules.openapi {
            match api.find(request.method(), request.uri().path()) {
                Ok((found, path)) => {
                    let query = request.uri().query().unwrap_or_default();
                    mistakes.extend(found.check_parameters(&path, query, request.headers()));
                    operation = Some(found);
                }
                Err(Missing::Method) => return Flow::Refuse(Refusal::ROUTE_METHOD),
                Err(_) => return Flow::Refuse(Refusal::UNKNOWN_OPERATION),
            }
        }
        if operation.is_some_and(Operation::needs_body) && !has_body {
            mistakes.push(Mistake { pointer: "#".into(), detail: "A body is required.".into() });
        }
        if !mistakes.is_empty() {
            return problem(exchange, &mistakes);
        }
        if !has_body {
            return Flow::On;
        }
        // Before anything of it is read, where its length was announced.
        if rules.max_body_bytes.is_some_and(|most| request.body().size_hint().lower() > most) {
            return Flow::Refuse(Refusal::BODY_TOO_LARGE);
        }
        let described = operation.map_or(Ok(None), |operation| operation.body(kind.as_deref()));
        let (true, Ok(described)) = (rules.takes_type(kind.as_deref()), described) else {
            return Flow::Refuse(Refusal::UNSUPPORTED_TYPE);
        };
        if rules.schema.is_some() || described.is_some() {
            let most = rules.max_body_bytes.map_or(rules.buffer_bytes, |most| most.min(rules.buffer_bytes));
            let body = match buffered::read(request.body_mut(), most).await {
                Ok(body) => body,
                Err(Lack::TooLong) => return Flow::Refuse(Refusal::BODY_TOO_LARGE),
                Err(Lack::Cut) => return Flow::Refuse(Refusal::BODY_CUT),
            };
            let mistakes = match body.len() <= ASIDE {
                true => judge(rules, described, &body),
                false => {
                    let (rules, method, path) =
                        (rules.clone(), request.method().clone(), request.uri().path().to_owned());
                    let judged = tokio::task::spawn_blocking(move || {
                        let operation = rules.openapi.as_ref().and_then(|api| api.find(&method, &path).ok());
                        let described =
                            operation.and_then(|(found, _)| found.body(kind.as_deref()).ok().flatten());
                        judge(&rules, described, &body)
                    });
                    match judged.await {
                        Ok(mistakes) => mistakes,
                        Err(_) => return Flow::Refuse(Refusal::INTERNAL),
                    }
                }
            };
            return if mistakes.is_empty() { Flow::On } else { problem(exchange, &mistakes) };
        }
        if let Some(left) = rules.max_body_bytes {
            let inner = std::mem::replace(request.body_mut(), RequestBody::None);
            let fault = exchange.body_fault.get_or_insert_default().clone();
            *request.body_mut() = RequestBody::Boxed(Box::pin(Limited { inner, left, fault }));
        }
        Flow::On
    }
}

fn judge(rules: &Rules, described: Option<&Schema>, body: &[u8]) -> Vec<Mistake> {
    let judged = [rules.schema.as_ref(), described].into_iter().flatten();
    judged.filter_map(|schema| schema.check(body).err()).flatten().collect()
}

fn problem(exchange: &mut Exchange, mistakes: &[Mistake]) -> Flow {
    const CODE: &str = "invalid_request";
    exchange.code = Some(CODE);
    let text = serde_json::json!({
        "type": "about:blank",
        "title": "The request is not as it should be.",
        "status": 400,
        "code": CODE,
        "request_id": exchange.request_id.to_str().unwrap_or_default(),
        "errors": mistakes,
    });
    let mut answer = Response::new(Content::from(Bytes::from(text.to_string())));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Flow::Answer(Box::new(answer))
}
