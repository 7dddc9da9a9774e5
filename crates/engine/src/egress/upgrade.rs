//! Requests that ask a server to switch protocols, each on a connection of its own.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use selvedge_model::Egress as Rules;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::body::Outgoing;
use super::dial::{dial, secure};
use super::failed::{Failed, timed_out};
use super::http::{FIELDS_MAX, HEAD_TIMEOUT, broke};
use super::policy::Policy;
use super::request::Target;

/// Sends a request over HTTP/1.1 and waits for the head of its answer. When that has status 101, `hyper::upgrade::on` gives
/// the connection.
pub async fn upgrade(
    policy: &Policy,
    rules: &Rules,
    target: &Target,
    mut request: Request<Outgoing>,
) -> Result<Response<Incoming>, Failed> {
    let socket = dial(policy, rules, &target.host, target.port).await?;
    target.write(&mut request, false);
    if target.secure {
        let socket = secure(&policy.http1_tls, &target.host, socket).await?;
        ask(&target.host, socket, request).await
    } else {
        ask(&target.host, socket, request).await
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    host: &str,
    socket: S,
    request: Request<Outgoing>,
) -> Result<Response<Incoming>, Failed> {
    let (mut sender, driver) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| broke(host, &error))?;
    tokio::task::spawn_local(driver.with_upgrades());
    let answer = timeout(HEAD_TIMEOUT, sender.send_request(request)).await;
    answer
        .map_err(|_| timed_out(format!("{host} did not answer in time.")))?
        .map_err(|error| broke(host, &error))
}
