//! What debuggers look for over HTTP: which targets there are (`/json`), and the WebSocket of the only one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State as FromState};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use selvedge_engine::EngineHandle;
use selvedge_engine::inspect::INSPECTOR_MESSAGE_MAX;
use selvedge_engine::websocket::handshake;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{Target, session};

/// What the handlers know.
pub(super) struct State {
    address: SocketAddr,
    path: String,
    engine: EngineHandle,
    targets: watch::Receiver<Option<Arc<Target>>>,
    /// A debugger is connected.
    taken: AtomicBool,
}

type Shared = Arc<State>;

impl State {
    pub(super) fn new(
        address: SocketAddr,
        path: String,
        engine: EngineHandle,
        targets: watch::Receiver<Option<Arc<Target>>>,
    ) -> Shared {
        Arc::new(Self { address, path, engine, targets, taken: AtomicBool::new(false) })
    }
}

/// Serves until the process ends.
pub(super) async fn serve(listener: tokio::net::TcpListener, state: Shared) {
    let router = Router::new()
        .route("/", get(about))
        .route("/json", get(list))
        .route("/json/list", get(list))
        .route("/json/version", get(version))
        .route(&format!("/{}", state.path), get(connect))
        .layer(middleware::from_fn(local_only))
        .with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the debugger has stopped");
    }
}

/// Refuses what a web page asks: under a name that leads here (DNS rebinding), or from its own origin.
async fn local_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let origin = request.headers().get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
    let page = origin.starts_with(b"http:") || origin.starts_with(b"https:");
    if !local || page {
        let text = "The debugger answers tools on this machine, not web pages.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

async fn about(FromState(state): FromState<Shared>) -> String {
    format!(
        "The debugger of `selvedge dev`.\n\n\
         Chrome   open chrome://inspect and choose the worker under Remote Target\n\
         VS Code  attach to port {} (type \"node\", request \"attach\")\n\
         terminal node inspect {}\n",
        state.address.port(),
        state.address
    )
}

async fn version() -> Json<Value> {
    let browser = concat!("Selvedge/", env!("CARGO_PKG_VERSION"));
    Json(json!({ "Browser": browser, "Protocol-Version": "1.3" }))
}

async fn list(FromState(state): FromState<Shared>) -> Json<Value> {
    let target = state.targets.borrow().clone();
    let at = format!("{}/{}", state.address, state.path);
    Json(target.map_or_else(
        || json!([]),
        |target| {
            json!([{
                "id": state.path,
                "title": format!("worker {}", target.worker.script),
                "description": "Selvedge worker",
                "type": "node",
                "url": "file:///main.js",
                "devtoolsFrontendUrl": format!("devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws={at}"),
                "webSocketDebuggerUrl": format!("ws://{at}"),
            }])
        },
    ))
}

/// Takes a debugger's WebSocket, one at a time.
async fn connect(FromState(state): FromState<Shared>, headers: HeaderMap, mut request: Request) -> Response {
    let Ok(accept) = handshake::accept(&headers) else {
        return (StatusCode::BAD_REQUEST, "Debuggers connect here with a WebSocket.\n").into_response();
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if state.taken.swap(true, Ordering::AcqRel) {
        return (StatusCode::CONFLICT, "Another debugger is connected; close it first.\n").into_response();
    }
    let place = Place(state);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(INSPECTOR_MESSAGE_MAX))
            .max_frame_size(Some(INSPECTOR_MESSAGE_MAX));
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        session::run(socket, &place.0.engine, place.0.targets.clone()).await;
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The right to be the connected debugger.
struct Place(Shared);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}
