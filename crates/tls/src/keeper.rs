//! What has to be done about certificates while the server runs: look whether their files have changed, and ask their
//! authorities for fresh proofs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::certificate::Certificate;
use crate::config::TlsConfig;
use crate::ocsp;
use crate::server::Tls;

/// For one question to a responder, all in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer of a responder, bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// After a question without a usable answer.
const AGAIN: Duration = Duration::from_secs(300);

impl Tls {
    /// Looks after certificates, for as long as it is polled. Blocks its thread for as long as files are read.
    pub async fn keep(self: Arc<Self>, config: TlsConfig) {
        let mut ticks = tokio::time::interval(Duration::from_secs(config.reload_s.max(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.reload();
            if config.ocsp {
                self.refresh_staples().await;
            }
        }
    }

    /// Reads again what has changed in files. What is broken now stays as it was. Returns how many certificates were
    /// replaced.
    pub fn reload(&self) -> usize {
        self.reload_authorities();
        self.given.reload(self.certificates())
    }

    /// Asks for a proof for every certificate that has none, or an old one, and whose authority gives them.
    pub async fn refresh_staples(&self) {
        for loaded in self.given.loaded() {
            let now = SystemTime::now();
            let due = loaded.staple_due.is_none_or(|due| due <= now);
            let Some(url) = loaded.certificate.ocsp_url().filter(|_| due && !loaded.has_ocsp_file()) else {
                continue;
            };
            let certificate = &loaded.certificate;
            let fetched = tokio::time::timeout(ANSWER_WITHIN, fetch(url, certificate)).await;
            let fetched = fetched.unwrap_or_else(|_| Err("it takes too long".into()));
            let (response, due) = match fetched {
                Ok((response, due)) => (Some(response), due),
                Err(error) => {
                    tracing::warn!(names = certificate.names().join(","), url, %error, "no proof that a certificate is not revoked");
                    // The one before is handed on for as long as clients accept it.
                    let kept = certificate.key().ocsp.clone();
                    (kept.filter(|kept| ocsp::check(kept, certificate).is_ok()), now + AGAIN)
                }
            };
            self.given.staple(certificate.fingerprint(), response, due, self.certificates());
        }
    }
}

/// Asks a responder (RFC 6960, appendix A.1) and checks what it says. Returns the answer and when to ask again.
async fn fetch(url: &str, certificate: &Certificate) -> Result<(Vec<u8>, SystemTime), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let question = ocsp::request(certificate).map_err(|error| text(&error))?;
    let url: Uri = url.parse().map_err(|_| "its address is no URL")?;
    let authority = url.authority().filter(|_| url.scheme_str() == Some("http"));
    let authority = authority.ok_or("its address does not begin with http://")?;
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((authority.host(), port)).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/ocsp-request")
        .body(Full::new(Bytes::from(question)))
        .map_err(|error| text(&error))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        Ok(body.map_err(|error| text(&error))?.to_bytes().to_vec())
    };
    // The connection does its work while its exchange is waited for.
    let response = tokio::select! {
        response = exchange => response?,
        Err(error) = connection => return Err(text(&error)),
    };
    let due = ocsp::check(&response, certificate).map_err(|error| text(&error))?;
    Ok((response, due))
}
