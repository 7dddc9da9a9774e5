//! What TLS has to say about requests: which must come over it, and which connections may carry them. And the thread that
//! looks after certificates.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use http::{HeaderValue, Request, Response, StatusCode, header};
use selvedge_tls::Tls;
use selvedge_tls::config::TlsConfig;
use selvedge_tls::names::normal;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::sites::{Site, Sites};
use crate::template::without_port;

/// The port that `https` means.
const HTTPS: u16 = 443;
/// Where authorities look for answers to their challenges, which they ask for without TLS (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// Names without a certificate that probes are told.
const MISSING_SHOWN: usize = 10;

/// A connection whose client was not asked for the certificate that a site wants is none for its requests: HTTP/2 clients
/// use one connection for several hosts where its certificate covers them (RFC 9113, section 9.1.1), and hostile ones ask
/// for one host in the handshake and for another afterwards.
pub(crate) fn fits(exchange: &Exchange, sites: &Sites, host: &str) -> Result<(), Refusal> {
    if !sites.asks_clients() {
        return Ok(());
    }
    let Some(tls) = exchange.thread.entrance.tls.as_ref() else {
        // Without a listener for TLS nobody can show a certificate.
        return match sites.site(host) {
            Some(site) if site.asks_clients => Err(Refusal::MISDIRECTED),
            _ => Ok(()),
        };
    };
    let wanted = tls.policy(Some(without_port(host)));
    let fits = match exchange.connection.session() {
        Some(session) => session.policy.is_same(&wanted),
        None => !wanted.asks(),
    };
    if fits { Ok(()) } else { Err(Refusal::MISDIRECTED) }
}

/// Where a request that came without TLS is sent, if its site is to be used with it.
pub(crate) fn redirect(
    exchange: &Exchange,
    site: &Site,
    host: &str,
    request: &Request<RequestBody>,
) -> Option<Response<Content>> {
    let entrance = &exchange.thread.entrance;
    let (tls, port) = (entrance.tls.as_ref()?, entrance.https_port?);
    let connection = &exchange.connection;
    if connection.session().is_some()
        || site.redirect == Some(false)
        || request.uri().path().starts_with(CHALLENGES)
    {
        return None;
    }
    let host = without_port(host);
    let asked = site.redirect == Some(true);
    // Clients that come through a proxy may speak TLS with that; and a site without a certificate is better than none.
    let direct = connection.is_direct() && !exchange.thread.is_trusted(connection.peer());
    if !asked && (!direct || !normal(host).is_some_and(|name| tls.certificates().covers(&name))) {
        return None;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let location = match port {
        HTTPS => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let mut response = Response::new(Content::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).ok()?);
    Some(response)
}

/// How many names of sites have a certificate, or which have none.
pub(crate) fn check(tls: &Tls) -> Result<String, String> {
    let wanted = tls.wanted();
    let missing: Vec<&str> =
        wanted.iter().filter(|name| !tls.certificates().covers(name)).map(String::as_str).collect();
    match missing.len() {
        0 => Ok("every site has one".into()),
        more if more > MISSING_SHOWN => {
            let some = missing[..MISSING_SHOWN].join(", ");
            Err(format!("none for {some} and {} more", more - MISSING_SHOWN))
        }
        _ => Err(format!("none for {}", missing.join(", "))),
    }
}

/// Starts the thread that looks after certificates and follows changes of the sites, until `ended` says or its sender is gone.
pub(crate) fn keep<T: Send + Sync + 'static>(
    tls: Arc<Tls>,
    config: TlsConfig,
    mut sites: watch::Receiver<Arc<Sites>>,
    mut ended: watch::Receiver<Option<T>>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    sites.mark_unchanged();
    std::thread::Builder::new().name("certificates".into()).spawn(move || {
        let following = {
            let (tls, config) = (tls.clone(), config.clone());
            async move {
                while sites.changed().await.is_ok() {
                    let sites = sites.borrow_and_update().clone();
                    if let Err(error) = tls.update(&config, sites.tls()) {
                        tracing::error!(%error, "TLS stays as it was");
                    }
                }
                // Without their sender they stay what they are.
                std::future::pending::<()>().await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                () = tls.keep(config) => {}
                () = following => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
        });
    })
}
