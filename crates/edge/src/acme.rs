//! Certificates by ACME: the work beside the serving threads, and the answers that authorities come for over plain HTTP
//! (HTTP-01, RFC 8555, section 8.3). Those over TLS are given in the handshake.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use selvedge_acme::{Acme, AcmeMetrics, Clock, HTTP01_PATH, Listeners};
use selvedge_tls::Tls;
use selvedge_tls::config::TlsConfig;

use crate::body::{Content, RequestBody};
use crate::edge::EdgeError;
use crate::exchange::Exchange;

/// Opens what was ordered before, if the settings say so, and has it served. [`Acme::start`] then goes to work.
pub(crate) fn open(
    config: &TlsConfig,
    tls: &Tls,
    listeners: Listeners,
    metrics: AcmeMetrics,
) -> Result<Option<Acme>, EdgeError> {
    let Some(config) = &config.acme else { return Ok(None) };
    let acme = Acme::open(config.clone(), listeners, Clock::System, metrics)?;
    tls.attach(Some(acme.clone()));
    Ok(Some(acme))
}

/// The answer to an authority that verifies a challenge, before anything else has a say. Tokens that nobody waits for are
/// a site's own business.
pub(crate) fn answer(exchange: &Exchange, request: &Request<RequestBody>) -> Option<Response<Content>> {
    let token = request.uri().path().strip_prefix(HTTP01_PATH)?;
    let head = *request.method() == Method::HEAD;
    if exchange.connection.session().is_some() || !(head || *request.method() == Method::GET) {
        return None;
    }
    let acme = exchange.thread.entrance.tls.as_ref()?.acme()?;
    let text = acme.http01(token)?;
    let mut response = Response::new(Content::Bytes(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = StatusCode::OK;
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
