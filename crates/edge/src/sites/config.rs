//! Settings of sites and their routes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use selvedge_cache::settings::CacheSwitch;
use selvedge_files::FilesConfig;
use selvedge_tls::config::SiteTlsConfig;
use selvedge_upstream::config::ProxyConfig;
use serde::{Deserialize, Serialize};

use crate::handlers::{RedirectConfig, RespondConfig};
use crate::steps::SecurityHeaders;

/// Some hosts, and what answers for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SiteConfig {
    /// `example.com`, `*.example.com` for all names under it, or `*` for all that no other site has.
    pub hosts: Vec<String>,
    /// Its certificate: `"auto"`, `"internal"`, `"off"`, or a table with files and what is asked of clients.
    pub tls: SiteTlsConfig,
    /// Names of middleware that all its routes use, in this order, before their own.
    #[serde(rename = "use")]
    pub uses: Vec<String>,
    /// Fields that have browsers protect users, where the application has not set them: `standard`, `strict` or `off`.
    pub security_headers: SecurityHeaders,
    /// Tells clients in `Server-Timing` what took how long: edge, each step, what answered.
    pub server_timing: bool,
    /// What answers. The more specific path wins, not the order.
    pub routes: Vec<RouteConfig>,
}

/// A part of a site. One of `worker`, `proxy`, `files`, `redirect` and `respond` says what answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// `/about` is that path only, `/assets/*` all below, `/users/{id}` has a parameter, `~^/v[0-9]+/` is an expression.
    pub path: String,
    /// Methods, such as `GET`; none means any.
    pub methods: Vec<String>,
    /// Header fields and what they must be: a value, `*` (there), `!` (not there) or `~expression`.
    pub headers: BTreeMap<String, String>,
    /// The same for parameters of the query.
    pub query: BTreeMap<String, String>,
    /// Networks of clients, such as `10.0.0.0/8`; none means any.
    pub clients: Vec<String>,
    /// Part of the traffic, beside other routes of the same path that have a weight.
    pub weight: Option<u32>,
    /// Names of middleware, in this order, after the site's.
    #[serde(rename = "use")]
    pub uses: Vec<String>,
    /// What the pages here need, told at once in 103 Early Hints: values of `Link`, such as
    /// `</style.css>; rel=preload; as=style`.
    pub early_hints: Vec<String>,
    /// Answers are cached: `true`, or a table that says how.
    pub cache: Option<CacheSwitch>,
    /// Answers: a deployed worker, `NAME` or `ACCOUNT/NAME`.
    pub worker: Option<String>,
    /// Answers: servers behind this one.
    pub proxy: Option<ProxyConfig>,
    /// Answers: files of a directory.
    pub files: Option<FilesConfig>,
    /// Answers: sends clients elsewhere.
    pub redirect: Option<RedirectConfig>,
    /// Answers: always the same.
    pub respond: Option<RespondConfig>,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            path: "/*".into(),
            methods: Vec::new(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            clients: Vec::new(),
            weight: None,
            uses: Vec::new(),
            early_hints: Vec::new(),
            cache: None,
            worker: None,
            proxy: None,
            files: None,
            redirect: None,
            respond: None,
        }
    }
}

/// A mistake in settings that their types do not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `sites.0.routes.2.path`.
    pub setting: String,
    /// A sentence.
    pub message: String,
}
