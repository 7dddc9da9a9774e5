//! Calls from worker to worker: the caller's stream and the callee's, and all that passes between them.
//!
//! Nobody waits inside a host: two workers on one host thread take turns like any others.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use selvedge_model::{ScriptName, Worker};
use selvedge_wire::FIN;
use selvedge_wire::message::{self, Bound, Call, Fetch, Head, Invoke, ResetCode};

use crate::chain::Chain;
use crate::connection::Connection;
use crate::local::{Exchange, GRACE, Route};
use crate::stream::{Broken, Stream};
use crate::{EngineError, LocalEngine};

/// The code and the words for a caller.
type Failed = (ResetCode, String);

/// What a caller asks, off the wire.
#[derive(Debug)]
pub struct Question {
    pub method: Vec<u8>,
    pub url: Vec<u8>,
    /// A header block.
    pub headers: Vec<u8>,
    /// Without a body.
    whole: bool,
    /// It asks for a WebSocket: what follows on either side of an answer with status 101 are messages.
    socket: bool,
}

impl Question {
    /// Takes it out of the frame.
    pub fn new(bound: &Bound<'_>, whole: bool) -> Self {
        let request = &bound.request;
        Self {
            method: request.method.to_vec(),
            url: request.url.to_vec(),
            headers: request.headers.to_vec(),
            whole,
            // A GET without a body otherwise is whole.
            socket: !whole && request.method == b"GET" && asks_for_socket(request.headers),
        }
    }
}

fn asks_for_socket(headers: &[u8]) -> bool {
    message::header_pairs(headers)
        .any(|(name, value)| name == b"upgrade" && value.eq_ignore_ascii_case(b"websocket"))
}

/// Which worker, and what of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub worker: Arc<Worker>,
    /// Empty for the default export.
    pub entrypoint: String,
    /// JSON, or empty.
    pub props: String,
}

/// Has the named worker answer, and passes everything on in both directions until both are done or one breaks off.
pub async fn serve(
    engine: &LocalEngine,
    connection: &Rc<Connection>,
    caller: &Rc<Stream>,
    named: Named,
    question: Question,
) -> Result<(), Failed> {
    let chain = match &caller.chain {
        Some(chain) => chain.deeper(&named.worker).map_err(|text| (ResetCode::Refused, text))?,
        None => return Ok(()),
    };
    let worker = named.worker.clone();
    let script = &named.worker.script;
    // A caller that leaves before there is a place leaves the queue, too.
    let (route, claim) = tokio::select! {
        route = engine.route(&worker) => route.map_err(|error| failed(script, &error))?,
        _ = poll_fn(|cx| caller.poll_broken(cx)) => return Ok(()),
    };
    let stream = open(&route, &named, &question, worker.limits.wall_ms, chain);
    let patience = Duration::from_millis(u64::from(worker.limits.wall_ms)) + GRACE;
    // Dropped at the latest when this function returns: then the callee is told, if it is not done.
    let mut call = Exchange { stream, claim: Some(claim), shared: engine.shared().clone(), worker };
    let (answering, claim) = (&call.stream, &mut call.claim);
    let up = async { if question.whole { Ok(()) } else { copy(caller, answering).await } };
    let down = async {
        let head = tokio::time::timeout(patience, poll_fn(|cx| answering.poll_head(cx))).await;
        let head = head.unwrap_or_else(|_| Err(Broken::Reset(ResetCode::Timeout, String::new())))?;
        let mut headers = Vec::new();
        for (name, value) in &head.headers {
            message::put_header(&mut headers, name.as_str().as_bytes(), value.as_bytes());
        }
        let claim = claim.as_mut().filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS);
        if claim.is_some() && !question.socket {
            return Err(Broken::Reset(ResetCode::Protocol, String::new()));
        }
        let Some(claim) = claim else {
            connection.answer(caller, Head { status: head.status.as_u16(), headers: &headers }, false);
            return copy(answering, caller).await;
        };
        if !claim.becomes_socket() {
            return Err(Broken::Reset(ResetCode::NoResponse, "It has too many WebSockets.".into()));
        }
        connection.answer(caller, Head { status: 101, headers: &headers }, false);
        tokio::select! {
            copied = copy(answering, caller) => copied,
            () = claim.instance().retired() => {
                Err(Broken::Reset(ResetCode::NoResponse, "It was updated.".into()))
            }
        }
    };
    match both(caller, &call.stream, up, down).await {
        Side::Done => Ok(()),
        Side::Caller => {
            call.stream.cancel(ResetCode::Canceled, "");
            Ok(())
        }
        Side::Callee(broken) => {
            engine.broke(&route, &broken);
            Err(failed(script, &call.conclude(&broken)))
        }
    }
}

fn open(route: &Route, named: &Named, question: &Question, wall_ms: u32, chain: Chain) -> Rc<Stream> {
    let instance = route.instance.id;
    let invoke = Invoke {
        entrypoint: &named.entrypoint,
        props: &named.props,
        subrequests: chain.left(),
        fetch: Fetch {
            instance,
            wall_ms,
            socket: question.socket,
            http2: false,
            method: &question.method,
            url: &question.url,
            headers: &question.headers,
        },
    };
    let flags = if question.whole { FIN } else { 0 };
    let put = |out: &mut Vec<u8>, id| Call::Invoke(invoke).put(out, flags, id);
    route.connection.call(instance, "", Some(chain), question.whole, put)
}

/// What ended a call.
enum Side {
    /// The callee has answered.
    Done,
    /// The caller left.
    Caller,
    /// The callee broke off.
    Callee(Broken),
}

/// Runs both directions. After the answer's end the callee may go on with reading until it is done.
async fn both(
    caller: &Stream,
    callee: &Stream,
    up: impl Future<Output = Result<(), Broken>>,
    down: impl Future<Output = Result<(), Broken>>,
) -> Side {
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let (mut asked, mut answered) = (false, false);
    poll_fn(|cx| {
        if caller.poll_broken(cx).is_ready() {
            return Poll::Ready(Side::Caller);
        }
        if !asked {
            match up.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => asked = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Side::Caller),
                Poll::Pending => {}
            }
        }
        if !answered {
            match down.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => answered = true,
                Poll::Ready(Err(broken)) => return Poll::Ready(Side::Callee(broken)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let over = asked || callee.is_over() || callee.poll_broken(cx).is_ready();
        if over { Poll::Ready(Side::Done) } else { Poll::Pending }
    })
    .await
}

/// Passes everything on, with its end. An error when `from` breaks off; where `to` takes no more, nothing follows.
async fn copy(from: &Stream, to: &Stream) -> Result<(), Broken> {
    while let Some(chunk) = poll_fn(|cx| from.poll_chunk(cx)).await {
        if !to.send_all(&chunk?, false).await {
            return Ok(());
        }
    }
    to.send_data(&[], true);
    Ok(())
}

/// What the caller's developer is told; it is of the same account.
fn failed(service: &ScriptName, error: &EngineError) -> Failed {
    match error {
        // The callee's own words.
        EngineError::Exception(text) => (ResetCode::Exception, text.clone()),
        EngineError::Timeout => (ResetCode::Timeout, format!("{service}: {error}.")),
        error => (ResetCode::Unreachable, format!("{service}: {error}.")),
    }
}
