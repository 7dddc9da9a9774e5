//! Sites: which hosts are answered for here, by which routes. Compiled once and shared by all threads, replaced as a whole when
//! settings change.

pub(crate) mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, Method, Request};
use selvedge_router::{Asked, Condition, Found, HostPattern, Hosts, Miss, PathPattern, Routes, Test};
use selvedge_telemetry::place_metrics::PlaceCounters;
use selvedge_tls::TlsSite;
use selvedge_tls::config::TlsMode;

pub use config::{Problem, RouteConfig, SiteConfig};

use selvedge_upstream::config::UpstreamConfig;

use crate::body::RequestBody;
use crate::cached::RouteCache;
use crate::handlers::Handler;
use crate::hints;
use crate::steps::{SecurityHeaders, Step, StepConfig};
use crate::template::without_port;

/// All sites, ready to serve.
#[derive(Debug, Default)]
pub struct Sites {
    hosts: Hosts<Arc<Site>>,
    /// What every request passes, whoever answers.
    pub(crate) common: Vec<Arc<Step>>,
    tls: Vec<TlsSite>,
    asks_clients: bool,
    /// Steps whose state outlives a change of other settings.
    lasting: BTreeMap<String, Lasting>,
}

/// A step, with all that it was made of.
#[derive(Debug)]
struct Lasting {
    config: StepConfig,
    step: Arc<Step>,
}

/// What is known of one site.
#[derive(Debug)]
pub(crate) struct Site {
    /// Whether requests without TLS are sent to HTTPS; `None` leaves it to what is usual.
    pub(crate) redirect: Option<bool>,
    /// Its clients have to show certificates, or may.
    pub(crate) asks_clients: bool,
    routes: Routes<Arc<Route>>,
}

/// One route: the steps a request passes, and what answers it.
#[derive(Debug)]
pub(crate) struct Route {
    /// For logs and metrics: the path as it was written.
    pub(crate) name: String,
    pub(crate) steps: Vec<Arc<Step>>,
    pub(crate) handler: Handler,
    /// Where its answers are cached.
    pub(crate) cache: Option<RouteCache>,
    /// For metrics: the site's first host.
    pub(crate) site: String,
    /// What is counted of it, once it has answered.
    pub(crate) counters: OnceLock<Arc<PlaceCounters>>,
    /// Clients are told what took how long.
    pub(crate) server_timing: bool,
    /// Clients are told at once what they will need.
    pub(crate) hints: Option<HeaderMap>,
}

/// All settings that sites are made of.
#[derive(Clone, Copy, Debug)]
pub struct SiteSettings<'a> {
    /// `[[sites]]`
    pub sites: &'a [SiteConfig],
    /// `[middleware.NAME]`
    pub middleware: &'a BTreeMap<String, StepConfig>,
    /// `[upstreams.NAME]`
    pub upstreams: &'a BTreeMap<String, UpstreamConfig>,
    /// The upstreams that are in use: those whose settings stay the same keep their state.
    pub registry: &'a selvedge_upstream::Registry,
    /// `use` of `[edge]`: before each site's own.
    pub common: &'a [String],
    /// Where relative paths begin: the directory of the settings' file.
    pub base: &'a Path,
}

impl Sites {
    /// Compiles settings, or says all that is wrong with them.
    pub fn new(settings: SiteSettings<'_>) -> Result<Self, Vec<Problem>> {
        Self::renewed(settings, &Self::default())
    }

    /// The same, in place of others: middleware whose name and settings are the same goes on counting, and keeps the keys that it
    /// has fetched.
    pub fn renewed(settings: SiteSettings<'_>, former: &Self) -> Result<Self, Vec<Problem>> {
        let mut compiler = Compiler { settings, former, problems: Vec::new(), steps: BTreeMap::new() };
        compiler.upstreams();
        compiler.steps(settings.middleware);
        let common = compiler.chain("edge.use", settings.common);
        let mut hosts = Hosts::default();
        for (index, site) in settings.sites.iter().enumerate() {
            compiler.site(&format!("sites.{index}"), site, &common, &mut hosts);
        }
        let tls = |site: &SiteConfig| TlsSite { hosts: site.hosts.clone(), tls: site.tls.clone() };
        let tls: Vec<TlsSite> = settings.sites.iter().map(tls).collect();
        let asks_clients = tls.iter().any(|site| site.tls.client_ca().is_some());
        let lasting = settings.middleware.iter().filter(|(_, config)| Step::is_lasting(config));
        let lasting = lasting.filter_map(|(name, config)| {
            let step = compiler.steps.get(name)?.clone()?;
            Some((name.clone(), Lasting { config: config.clone(), step }))
        });
        let lasting = lasting.collect();
        match compiler.problems {
            problems if problems.is_empty() => Ok(Self { hosts, common, tls, asks_clients, lasting }),
            problems => Err(problems),
        }
    }

    /// What sites want of TLS.
    pub fn tls(&self) -> &[TlsSite] {
        &self.tls
    }

    /// Whether a site asks its clients for certificates.
    pub(crate) fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    /// The site of a host, which may have a port.
    pub(crate) fn site(&self, host: &str) -> Option<&Arc<Site>> {
        if self.hosts.is_empty() { None } else { self.hosts.get(without_port(host)) }
    }
}

impl Route {
    /// Whether it answers preflights itself.
    pub(crate) fn has_cors(&self) -> bool {
        self.steps.iter().any(|step| matches!(**step, Step::Cors(_)))
    }
}

impl Site {
    /// The route that takes a request, as if it were of this method and had this path.
    pub(crate) fn route(
        &self,
        request: &Request<RequestBody>,
        path: &str,
        method: &Method,
        client: IpAddr,
        dice: impl FnMut() -> f64,
    ) -> Result<Found<'_, Arc<Route>>, Miss> {
        let asked = Asked {
            method,
            path,
            query: request.uri().query().unwrap_or_default(),
            headers: request.headers(),
            client,
        };
        self.routes.find(&asked, dice)
    }
}

/// Compiles settings and collects what is wrong with them.
struct Compiler<'a> {
    settings: SiteSettings<'a>,
    former: &'a Sites,
    problems: Vec<Problem>,
    /// `None` where the settings of a step are wrong, which was said already.
    steps: BTreeMap<String, Option<Arc<Step>>>,
}

impl Compiler<'_> {
    fn problem(&mut self, setting: &str, message: impl ToString) {
        self.problems.push(Problem { setting: setting.to_owned(), message: message.to_string() });
    }

    /// The value, or its problem noted.
    fn checked<T, E: ToString>(&mut self, setting: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(setting, error)).ok()
    }

    fn upstreams(&mut self) {
        for (name, config) in self.settings.upstreams {
            if let Some(problem) = config.problem() {
                self.problem(&format!("upstreams.{name}"), problem);
            }
        }
    }

    fn steps(&mut self, middleware: &BTreeMap<String, StepConfig>) {
        for (name, config) in middleware {
            let known = self.former.lasting.get(name).filter(|known| known.config == *config);
            if let Some(known) = known {
                self.steps.insert(name.clone(), Some(known.step.clone()));
                continue;
            }
            let step =
                self.checked(&format!("middleware.{name}"), Step::new(name, config, self.settings.base));
            self.steps.insert(name.clone(), step.map(Arc::new));
        }
    }

    fn chain(&mut self, setting: &str, names: &[String]) -> Vec<Arc<Step>> {
        let mut chain = Vec::new();
        for name in names {
            match self.steps.get(name) {
                Some(step) => chain.extend(step.clone()),
                None => {
                    let known: BTreeSet<&str> = self.steps.keys().map(String::as_str).collect();
                    let known: Vec<&str> = known.into_iter().collect();
                    let there = match known.is_empty() {
                        true => "there is none yet".to_owned(),
                        false => format!("there are: {}", known.join(", ")),
                    };
                    self.problem(setting, format!("there is no [middleware.{name}]; {there}"));
                }
            }
        }
        chain
    }

    fn site(&mut self, at: &str, site: &SiteConfig, common: &[Arc<Step>], hosts: &mut Hosts<Arc<Site>>) {
        // The first step is the last to see the response.
        let mut steps: Vec<Arc<Step>> = match site.security_headers {
            SecurityHeaders::Off => Vec::new(),
            fields => vec![Arc::new(Step::Security(fields))],
        };
        steps.extend_from_slice(common);
        steps.extend(self.chain(&format!("{at}.use"), &site.uses));
        let mut routes = Vec::new();
        for (index, route) in site.routes.iter().enumerate() {
            routes.extend(self.route(&format!("{at}.routes.{index}"), route, &steps, site));
        }
        let count = routes.len();
        let routes = match Routes::new(routes) {
            Ok(routes) => routes,
            Err((place, error)) => {
                // Its place among the good ones is its place among all where all are good.
                let place = if count == site.routes.len() { place } else { 0 };
                return self.problem(&format!("{at}.routes.{place}.path"), error);
            }
        };
        if let Some(problem) = site.tls.problem() {
            self.problem(&format!("{at}.tls"), problem);
        }
        let redirect = if site.tls.mode() == TlsMode::Off { Some(false) } else { site.tls.redirect() };
        let asks_clients = site.tls.client_ca().is_some();
        let compiled = Arc::new(Site { redirect, asks_clients, routes });
        if site.hosts.is_empty() {
            self.problem(
                &format!("{at}.hosts"),
                "name at least one host, or \"*\" for all that no other site has",
            );
        }
        for host in &site.hosts {
            let setting = format!("{at}.hosts");
            let Some(pattern) = self.checked(&setting, host.parse::<HostPattern>()) else { continue };
            if !hosts.insert(&pattern, compiled.clone()) {
                self.problem(&setting, format!("{host:?} belongs to another site already"));
            }
        }
    }

    fn route(
        &mut self,
        at: &str,
        route: &RouteConfig,
        site: &[Arc<Step>],
        of: &SiteConfig,
    ) -> Option<selvedge_router::Route<Arc<Route>>> {
        let path = self.checked(&format!("{at}.path"), route.path.parse::<PathPattern>());
        let methods: Vec<Method> = route
            .methods
            .iter()
            .filter_map(|method| {
                let parsed = Some(method).filter(|method| method.bytes().all(|b| b.is_ascii_uppercase()));
                let parsed = parsed.and_then(|method| method.parse().ok()).ok_or_else(|| {
                    format!("{method:?} is no method; they are written in capital letters, such as \"GET\"")
                });
                self.checked(&format!("{at}.methods"), parsed)
            })
            .collect();
        let conditions = self.conditions(at, route);
        let mut steps = site.to_vec();
        steps.extend(self.chain(&format!("{at}.use"), &route.uses));
        let cache = self.checked(
            &format!("{at}.cache"),
            RouteCache::new(route, self.settings.registry, self.settings.base),
        );
        let hints = self.checked(&format!("{at}.early_hints"), hints::compile(&route.early_hints));
        let handler = self.handler(at, route)?;
        let target = Arc::new(Route {
            name: route.path.clone(),
            site: of.hosts.first().cloned().unwrap_or_default(),
            counters: OnceLock::new(),
            steps,
            handler,
            cache: cache?,
            server_timing: of.server_timing,
            hints: hints?,
        });
        Some(selvedge_router::Route { path: path?, methods, conditions, weight: route.weight, target })
    }

    fn conditions(&mut self, at: &str, route: &RouteConfig) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (name, test) in &route.headers {
            let setting = format!("{at}.headers.{name}");
            let field = self.checked(&setting, name.parse::<HeaderName>());
            let test = self.checked(&setting, Test::parse(test));
            conditions.extend(field.zip(test).map(|(field, test)| Condition::Header(field, test)));
        }
        for (name, test) in &route.query {
            let test = self.checked(&format!("{at}.query.{name}"), Test::parse(test));
            conditions.extend(test.map(|test| Condition::Query(name.clone(), test)));
        }
        if !route.clients.is_empty() {
            let setting = format!("{at}.clients");
            let networks = route.clients.iter().filter_map(|text| self.checked(&setting, text.parse()));
            conditions.push(Condition::Address(networks.collect()));
        }
        conditions
    }

    /// What answers: exactly one thing.
    fn handler(&mut self, at: &str, route: &RouteConfig) -> Option<Handler> {
        let mut found: Vec<(&str, Result<Handler, String>)> = Vec::new();
        found.extend(route.worker.as_ref().map(|name| ("worker", Handler::worker(name))));
        found.extend(route.proxy.as_ref().map(|config| {
            let SiteSettings { upstreams, registry, base, .. } = self.settings;
            ("proxy", Handler::proxy(config, upstreams, registry, base))
        }));
        found
            .extend(route.files.as_ref().map(|config| ("files", Handler::files(config, self.settings.base))));
        found.extend(route.redirect.as_ref().map(|config| ("redirect", Handler::redirect(config))));
        found.extend(route.respond.as_ref().map(|config| ("respond", Handler::respond(config))));
        if found.len() != 1 {
            let message = match &found[..] {
                [] => "nothing answers here: add worker, proxy, files, redirect or respond".to_owned(),
                several => {
                    let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                    format!("{} cannot all answer; leave one", names.join(" and "))
                }
            };
            self.problem(at, message);
            return None;
        }
        let (name, handler) = found.remove(0);
        self.checked(&format!("{at}.{name}"), handler)
    }
}
