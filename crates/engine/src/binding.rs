//! What names in a worker's `env` stand for, where that is more than a value.
//!
//! A worker can only name its own bindings: what a name means is looked up out here, in the worker that the calling
//! instance runs. Another kind of binding is another [`Target`], and a module beside [`service`].

use std::rc::Rc;
use std::sync::Arc;

use selvedge_model::{BindingValue, ScriptName, Worker};
use selvedge_wire::message::{Bound, ResetCode};

use crate::connection::Connection;
use crate::service::{self, Named, Question};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::{assets, cache};

/// Before the name of an export where a worker calls itself.
const ITSELF: char = '#';
/// Before the name of a cache.
const CACHE: char = '!';
/// Largest `props` of a worker that calls itself, bytes.
const PROPS_MAX: usize = 64 << 10;

/// What a binding leads to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Another worker of the account, or the worker itself.
    Service(Named),
    /// A cache of the account, and what the call says to it.
    Cache(String, String),
    /// The worker's own static files.
    Assets,
}

/// What this worker's binding means; in words why it means nothing. `find` gives what a script of the same account
/// serves now.
fn resolve(
    worker: &Arc<Worker>,
    bound: &Bound<'_>,
    find: impl Fn(&ScriptName) -> Option<Arc<Worker>>,
) -> Result<Target, String> {
    if let Some(entrypoint) = bound.binding.strip_prefix(ITSELF) {
        if bound.props.len() > PROPS_MAX {
            return Err(format!("The props are larger than {PROPS_MAX} bytes."));
        }
        let (entrypoint, props) = (entrypoint.to_owned(), bound.props.to_owned());
        return Ok(Target::Service(Named { worker: worker.clone(), entrypoint, props }));
    }
    if let Some(name) = bound.binding.strip_prefix(CACHE) {
        return Ok(Target::Cache(name.to_owned(), bound.props.to_owned()));
    }
    let found = worker.bindings.iter().find(|binding| binding.name == bound.binding);
    match found.map(|binding| &binding.value) {
        Some(BindingValue::Service { service, entrypoint, props }) => Ok(Target::Service(Named {
            worker: find(service).ok_or_else(|| {
                format!(
                    "The binding {:?} leads to the worker {service}, which is not deployed.",
                    bound.binding
                )
            })?,
            entrypoint: entrypoint.clone().unwrap_or_default(),
            props: props.clone().unwrap_or_default(),
        })),
        Some(BindingValue::Assets) => Ok(Target::Assets),
        Some(
            BindingValue::PlainText { .. } | BindingValue::Json { .. } | BindingValue::SecretText { .. },
        ) => Err(format!("The binding {:?} is a value and cannot be called.", bound.binding)),
        None => Err(format!("The worker has no binding {:?}.", bound.binding)),
    }
}

/// Takes a call of a binding off the wire and serves it in the background.
pub fn begin(
    connection: &Rc<Connection>,
    shared: &Arc<Shared>,
    stream: Rc<Stream>,
    bound: &Bound<'_>,
    fin: bool,
) {
    let worker = shared.worker_of(bound.request.instance, &connection.host);
    let target = match &worker {
        Some(worker) => resolve(worker, bound, |script| {
            let deployment = shared.deployment(&worker.account, script)?;
            Some(deployment.pick(fastrand::f64()).clone())
        }),
        None => Err("The worker is no longer loaded.".into()),
    };
    let question = Question::new(bound, fin);
    let connection = connection.clone();
    tokio::task::spawn_local(async move {
        let served = match (target, connection.engine()) {
            (Ok(Target::Service(named)), Some(engine)) => {
                service::serve(&engine, &connection, &stream, named, question).await
            }
            (Ok(Target::Cache(name, props)), Some(engine)) => match &worker {
                Some(worker) => {
                    let shared = engine.shared();
                    cache::serve(shared, &connection, &stream, worker, (name, props), question).await
                }
                None => Ok(()),
            },
            (Ok(Target::Assets), Some(engine)) => match &worker {
                Some(worker) => assets::serve(engine.shared(), &connection, &stream, worker, question).await,
                None => Ok(()),
            },
            (Err(text), _) => Err((ResetCode::Refused, text)),
            (_, None) => Err((ResetCode::Unreachable, "The engine is stopping.".into())),
        };
        if let Err((code, text)) = served {
            stream.cancel(code, &text);
        }
        connection.forget(&stream);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::Binding;
    use selvedge_wire::message::Subrequest;

    fn worker(script: &str) -> Arc<Worker> {
        let service = |name: &str| BindingValue::Service {
            service: name.parse().unwrap(),
            entrypoint: Some("Admin".into()),
            props: Some("{}".into()),
        };
        let bindings = vec![
            Binding { name: "OTHER".into(), value: service("other") },
            Binding { name: "LOST".into(), value: service("lost") },
            Binding { name: "TEXT".into(), value: BindingValue::PlainText { text: "x".into() } },
        ];
        Arc::new(Worker { bindings, ..crate::testing::worker(script) })
    }

    #[test]
    fn only_own_service_bindings_lead_anywhere() {
        let me = worker("me");
        let asked = |binding: &str, props: &str| {
            let request = Subrequest { instance: 1, parent: 1, method: b"GET", url: b"", headers: b"" };
            let bound = Bound { binding, props, request };
            resolve(&me, &bound, |script| (script.as_str() == "other").then(|| worker("other")))
        };
        let leads = |script: &str, entrypoint: &str, props: &str| {
            let (entrypoint, props) = (entrypoint.into(), props.into());
            Ok(Target::Service(Named { worker: worker(script), entrypoint, props }))
        };
        // A host cannot give props to a binding: those of the deployment count.
        assert_eq!(asked("OTHER", "[1]"), leads("other", "Admin", "{}"));
        assert_eq!(asked("#", ""), leads("me", "", ""));
        assert_eq!(asked("#X", "1"), leads("me", "X", "1"));
        assert!(asked("#X", &" ".repeat(PROPS_MAX + 1)).is_err());
        assert!(asked("LOST", "").unwrap_err().contains("not deployed"));
        assert!(asked("TEXT", "").unwrap_err().contains("is a value"));
        assert!(asked("other", "").unwrap_err().contains("no binding"));
        assert!(asked("", "").is_err());
    }
}
