//! An offender and its neighbour.

use serde_json::{Value, json};

use crate::common::api::Module;
use crate::common::client::Client;
use crate::common::{Answer, Selvedge, eventually};

/// The name of the worker that misbehaves.
pub const OFFENDER: &str = "offender";

/// One thread for all isolates, so that offender and neighbour share it.
const SETTINGS: &str = "[engine]\nhost_threads = 1\n";

/// A running Selvedge with an offender, and a neighbour that a client asks all the time.
pub struct Scene {
    pub selvedge: Selvedge,
    neighbour: Client,
}

impl Scene {
    /// An offender that does `attack`, the body of its handler, at every path but `/fine`.
    pub fn new(attack: &str, limits: Value) -> Self {
        Self::with_modules(&[Module::main(&handler("", attack))], limits, "")
    }

    /// The same; `settings` go to the engine, and modules may be imported.
    pub fn with_modules(modules: &[Module<'_>], limits: Value, settings: &str) -> Self {
        let selvedge = Selvedge::configured(&format!("{SETTINGS}{settings}"));
        let answer = selvedge.upload(OFFENDER, json!({ "limits": limits }), modules);
        assert_eq!(answer.status, 200, "{}", answer.body);
        selvedge.deploy_limited(
            "neighbour",
            "export default { fetch() { return new Response('hello') } }",
            json!({}),
        );
        let neighbour = Client::start(&selvedge, "neighbour");
        neighbour.more(1);
        Self { selvedge, neighbour }
    }

    /// Asks for the misdeed.
    pub fn attack(&self) -> Answer {
        self.selvedge.get(OFFENDER, "/")
    }

    /// The misdeed is answered like this, and found in the worker's log.
    pub fn contained(self, status: u16, code: &str) {
        let answer = self.attack();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        self.logged(code);
        self.recovered();
    }

    /// The misdeed fails inside the worker, whose answer says how.
    pub fn answers(self, expected: &str) {
        let answer = self.attack();
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{answer:?}");
        self.recovered();
    }

    /// The worker's log has an event with this code.
    pub fn logged(&self, code: &str) -> Value {
        eventually("the event is in the worker's log", || {
            self.selvedge.logs(OFFENDER).into_iter().find(|event| event["code"] == code)
        })
    }

    /// Requests that are not misdeeds are answered, and the neighbour has always been.
    pub fn recovered(self) {
        let answer = self.selvedge.get(OFFENDER, "/fine");
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"), "{answer:?}");
        self.unnoticed();
    }

    /// The neighbour has always been answered.
    pub fn unnoticed(self) {
        self.neighbour.finish();
    }
}

/// The code of an offender: `top` stands before the handler, `attack` in it.
pub fn handler(top: &str, attack: &str) -> String {
    format!(
        "{top}\nexport default {{\n  async fetch(request, env, ctx) {{\n    \
         if (request.url.endsWith('/fine')) return new Response('fine');\n    {attack}\n  }},\n}};\n"
    )
}

/// Tests of the form `name: attack => status code`, with the limits of the module that they stand in.
#[macro_export]
macro_rules! contained {
    ($($name:ident: $attack:expr => $status:literal $code:literal;)*) => {$(
        #[test]
        fn $name() {
            $crate::scene::Scene::new($attack, limits()).contained($status, $code);
        }
    )*};
}
