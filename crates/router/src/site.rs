//! The routes of one site, compiled.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use http::{HeaderMap, Method};
use regex::{Regex, RegexSet};

use crate::Parameters;
use crate::condition::{Condition, Methods};
use crate::path::{BadPath, PathPattern};

/// A route, and what it leads to.
#[derive(Clone, Debug)]
pub struct Route<T> {
    /// Paths.
    pub path: PathPattern,
    /// Methods; none means any.
    pub methods: Vec<Method>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Its part of the traffic, among routes of the same path, methods and number of conditions that have a weight.
    pub weight: Option<u32>,
    /// What it leads to.
    pub target: T,
}

/// What routes are chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path in its plain form.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    /// Header fields.
    pub headers: &'a HeaderMap,
    /// Address of the client.
    pub client: IpAddr,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'r, T> {
    /// What it leads to.
    pub target: &'r T,
    /// What the parameters of its path are here.
    pub parameters: Parameters,
}

/// There is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// For this path, or for this request.
    NotFound,
    /// There would be one for the path with one of these methods.
    Method(Vec<Method>),
}

/// Routes of one path, those that ask for most first.
#[derive(Clone, Debug)]
struct Group<T> {
    /// Names of the path's parameters.
    names: Vec<Arc<str>>,
    routes: Vec<(Methods, Vec<Condition>, Option<u32>, T)>,
}

/// All routes of a site.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    groups: Vec<Group<T>>,
    exact: HashMap<String, usize>,
    parameters: matchit::Router<usize>,
    has_parameters: bool,
    all_expressions: RegexSet,
    expressions: Vec<(Regex, usize)>,
    prefixes: HashMap<String, usize>,
    /// Lengths of the prefixes, longest first.
    prefix_lengths: Vec<usize>,
}

impl<T> Routes<T> {
    /// Compiles routes, which are given in the order they were written in. The error names the route by its place.
    pub fn new(routes: Vec<Route<T>>) -> Result<Self, (usize, BadPath)> {
        let mut all = Self {
            groups: Vec::new(),
            exact: HashMap::new(),
            parameters: matchit::Router::new(),
            has_parameters: false,
            all_expressions: RegexSet::empty(),
            expressions: Vec::new(),
            prefixes: HashMap::new(),
            prefix_lengths: Vec::new(),
        };
        let mut with_parameters: HashMap<String, usize> = HashMap::new();
        for (place, route) in routes.into_iter().enumerate() {
            let new = all.groups.len();
            let group = match &route.path {
                PathPattern::Exact(path) => *all.exact.entry(path.clone()).or_insert(new),
                PathPattern::Prefix(path) => *all.prefixes.entry(path.clone()).or_insert(new),
                PathPattern::Parameters(path) => match with_parameters.get(path) {
                    Some(group) => *group,
                    None => {
                        all.parameters.insert(path.clone(), new).map_err(|error| {
                            let problem = format!("it conflicts with another route: {error}");
                            (place, BadPath { pattern: path.clone(), problem })
                        })?;
                        all.has_parameters = true;
                        with_parameters.insert(path.clone(), new);
                        new
                    }
                },
                PathPattern::Expression(expression) => {
                    let same =
                        all.expressions.iter().find(|(other, _)| other.as_str() == expression.as_str());
                    match same {
                        Some((_, group)) => *group,
                        None => {
                            all.expressions.push((expression.clone(), new));
                            new
                        }
                    }
                }
            };
            if group == new {
                let names = route.path.parameters().into_iter().map(Arc::from).collect();
                all.groups.push(Group { names, routes: Vec::new() });
            }
            let Route { methods, conditions, weight, target, .. } = route;
            all.groups[group].routes.push((Methods(methods), conditions, weight, target));
        }
        for group in &mut all.groups {
            group.routes.sort_by_key(|(methods, conditions, ..)| {
                std::cmp::Reverse((conditions.len(), !methods.0.is_empty()))
            });
        }
        let expressions = all.expressions.iter().map(|(expression, _)| expression.as_str());
        all.all_expressions = RegexSet::new(expressions).map_err(|error| {
            (0, BadPath { pattern: "~".into(), problem: format!("the expressions together: {error}") })
        })?;
        let mut lengths: Vec<usize> = all.prefixes.keys().map(String::len).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        all.prefix_lengths = lengths;
        Ok(all)
    }

    /// The route for a request. `dice` is called where routes have weights, and gives a number from 0 to below 1.
    pub fn find(&self, asked: &Asked<'_>, dice: impl FnMut() -> f64) -> Result<Found<'_, T>, Miss> {
        let mut search = Search { asked, dice, allowed: Vec::new() };
        if let Some(group) = self.exact.get(asked.path)
            && let Some(target) = search.choose(&self.groups[*group])
        {
            return Ok(Found { target, parameters: Parameters::new() });
        }
        if self.has_parameters
            && let Ok(matched) = self.parameters.at(asked.path)
        {
            let group = &self.groups[*matched.value];
            if let Some(target) = search.choose(group) {
                let values = matched.params.iter().map(|(_, value)| value.to_owned());
                return Ok(Found { target, parameters: group.names.iter().cloned().zip(values).collect() });
            }
        }
        if !self.expressions.is_empty() {
            for index in self.all_expressions.matches(asked.path) {
                let (expression, group) = &self.expressions[index];
                let group = &self.groups[*group];
                if let Some(target) = search.choose(group) {
                    return Ok(Found { target, parameters: captured(expression, asked.path, group) });
                }
            }
        }
        for length in &self.prefix_lengths {
            let Some(group) = self.prefix(asked.path, *length) else { continue };
            if let Some(target) = search.choose(&self.groups[group]) {
                return Ok(Found { target, parameters: Parameters::new() });
            }
        }
        Err(search.miss())
    }

    /// The group of the prefix that is so long. `/assets` belongs to `/assets/`.
    fn prefix(&self, path: &str, length: usize) -> Option<usize> {
        match path.get(..length) {
            Some(prefix) => self.prefixes.get(prefix).copied(),
            None if path.len() + 1 == length => self.prefixes.get(format!("{path}/").as_str()).copied(),
            None => None,
        }
    }
}

fn captured<T>(expression: &Regex, path: &str, group: &Group<T>) -> Parameters {
    if group.names.is_empty() {
        return Parameters::new();
    }
    let Some(captures) = expression.captures(path) else { return Parameters::new() };
    let value = |name: &Arc<str>| Some((name.clone(), captures.name(name)?.as_str().to_owned()));
    group.names.iter().filter_map(value).collect()
}

struct Search<'a, D> {
    asked: &'a Asked<'a>,
    dice: D,
    /// Methods of routes that would have fitted.
    allowed: Vec<Method>,
}

impl<D: FnMut() -> f64> Search<'_, D> {
    /// The first route of a path that takes the request; of several with weights, one by chance.
    fn choose<'g, T>(&mut self, group: &'g Group<T>) -> Option<&'g T> {
        let mut at = 0;
        while let Some((methods, conditions, weight, target)) = group.routes.get(at) {
            at += 1;
            if !self.holds(conditions) {
                continue;
            }
            if !methods.take(self.asked.method) {
                self.allowed.extend(
                    methods
                        .0
                        .iter()
                        .filter(|method| !self.allowed.contains(method))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                continue;
            }
            if weight.is_none() {
                return Some(target);
            }
            let asks = (conditions.len(), methods.0.is_empty());
            let equal = group.routes[at - 1..]
                .iter()
                .take_while(|(methods, conditions, ..)| (conditions.len(), methods.0.is_empty()) == asks)
                .filter(|(methods, conditions, ..)| methods.take(self.asked.method) && self.holds(conditions))
                .filter_map(|(.., weight, target)| Some((f64::from((*weight)?), target)));
            let equal: Vec<_> = equal.collect();
            let whole: f64 = equal.iter().map(|(weight, _)| weight).sum();
            if whole <= 0.0 {
                continue;
            }
            let mut left = (self.dice)() * whole;
            let chosen = equal.iter().find(|(weight, _)| {
                left -= weight;
                left < 0.0
            });
            return chosen.or(equal.last()).map(|(_, target)| *target);
        }
        None
    }

    fn holds(&self, conditions: &[Condition]) -> bool {
        conditions
            .iter()
            .all(|condition| condition.holds(self.asked.headers, self.asked.query, self.asked.client))
    }

    fn miss(mut self) -> Miss {
        if self.allowed.is_empty() {
            return Miss::NotFound;
        }
        if self.allowed.contains(&Method::GET) && !self.allowed.contains(&Method::HEAD) {
            self.allowed.push(Method::HEAD);
        }
        Miss::Method(self.allowed)
    }
}

#[cfg(test)]
mod tests;
