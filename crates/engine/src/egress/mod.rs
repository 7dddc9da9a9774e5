//! What workers ask of the outside, under a policy that is enforced out here.
//!
//! By default only public addresses may be reached. The check is made on the address that is connected to,
//! after name resolution, so that no name can lead inside.

mod address;
mod body;
mod dial;
mod failed;
mod http;
mod policy;
mod pool;
mod request;
mod tcp;
mod tls;
mod upgrade;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use selvedge_wire::message::Subrequest;

pub use policy::Policy;
pub use pool::Pool;
pub use tcp::{Takeover, begin as begin_socket};

use crate::connection::Connection;
use crate::shared::Shared;
use crate::stream::Stream;
pub(crate) use body::Outgoing;
pub(crate) use failed::{Failed, refused, unreachable};
pub(crate) use http::relay;
pub(crate) use request::{Target, parse};
pub(crate) use upgrade::upgrade;

/// Takes a subrequest off the wire and serves it in the background.
pub fn begin(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    stream: Rc<Stream>,
    request: &Subrequest<'_>,
    fin: bool,
) {
    let worker = shared.worker_of(request.instance, &connection.host);
    let parsed = match worker {
        Some(worker) => request::parse(request, fin, &stream).map(|request| (worker, request)),
        None => Err(refused("The worker is being unloaded.")),
    };
    let (connection, shared) = (connection.clone(), shared.clone());
    tokio::task::spawn_local(async move {
        let served = async {
            let (worker, request) = parsed?;
            http::serve(&connection, &connection.egress, &shared.egress, &worker, &stream, request).await
        };
        let served = tokio::select! {
            biased;
            // Nobody waits for the answer any more: everything is dropped, which closes the connection.
            () = poll_fn(|cx| stream.poll_over(cx)) => Ok(None),
            served = served => served,
        };
        let lease = match served {
            Ok(lease) => lease,
            Err(Failed(code, text)) => {
                stream.cancel(code, &text);
                None
            }
        };
        // A server may answer before it has read everything; the worker still sends it.
        if lease.is_some() {
            while let Some(Ok(_)) = poll_fn(|cx| stream.poll_chunk(cx)).await {}
        }
        connection.forget(&stream);
        if let Some(lease) = lease {
            lease.give_back().await;
        }
    });
}
