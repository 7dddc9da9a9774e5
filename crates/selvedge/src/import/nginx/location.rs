//! Locations, and what answers in them.

use toml::{Table, Value};

use super::super::units::{regex_escaped, route, set, upstream_url};
use super::super::words::Directive;
use super::{Around, Import, SILENT};

impl Import {
    pub(super) fn location(&mut self, directive: &Directive, around: &Around, routes: &mut Vec<Value>) {
        let (path, prefix) = match directive.arguments() {
            [modifier, path] => match modifier.as_str() {
                "=" => (path.clone(), path.clone()),
                "^~" => (format!("{path}*"), path.clone()),
                "~" => (format!("~{path}"), String::new()),
                "~*" => (format!("~(?i){path}"), String::new()),
                _ => return self.note(directive, "its kind is not understood"),
            },
            [name] if name.starts_with('@') => {
                return self
                    .note(directive, "places that others lead to have no counterpart; make a route of it");
            }
            [path] => (format!("{path}*"), path.clone()),
            _ => return self.note(directive, "its kind is not understood"),
        };
        routes.extend(self.route_of(&path, &prefix, directive.inside(), around));
        for inner in directive.inside().iter().filter(|inner| inner.name() == "location") {
            self.location(inner, around, routes);
        }
    }

    /// A route with what a location says.
    pub(super) fn route_of(
        &mut self,
        path: &str,
        prefix: &str,
        inside: &[Directive],
        around: &Around,
    ) -> Option<Value> {
        let mut around = around.clone();
        // Fields of a location take the place of those around it.
        if inside.iter().any(|one| one.name() == "add_header") {
            around.response.clear();
        }
        let mut answer: Option<(&str, Value)> = None;
        let mut alias = None;
        let mut tries: Vec<String> = Vec::new();
        let mut listing = false;
        for inner in inside {
            match inner.name() {
                "proxy_pass" | "grpc_pass" => {
                    let proxy = self.proxy(inner, prefix, &around);
                    answer = Some(("proxy", proxy));
                }
                "return" => answer = self.answer(inner).or(answer),
                "alias" => alias = Some(inner.first().trim_end_matches('/').to_owned()),
                "try_files" => tries = inner.arguments().to_vec(),
                "autoindex" => listing = inner.first() == "on",
                "location" => {}
                // As files they would show their sources.
                "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
                    self.note(inner, "its protocol is not spoken here; put an HTTP server in front of it");
                    answer =
                        Some(("respond", Table::from_iter([("status".into(), Value::from(501))]).into()));
                }
                "internal" | "if" | "rewrite" | "set" | "break" | "sub_filter" => {
                    self.note(inner, "there is no counterpart");
                }
                name if self.common(inner, &mut around) || SILENT.contains(&name) => {}
                _ => self.note(inner, "there is no counterpart"),
            }
        }
        // What was said after `proxy_pass` counts, too.
        if let Some(("proxy", Value::Table(table))) = &mut answer {
            for (name, value) in &around.proxy {
                table.insert(name.clone(), value.clone());
            }
            table.insert("host".into(), around.host.clone().unwrap_or_else(|| "upstream".into()).into());
            if table.contains_key("upstream") {
                table.retain(|name, _| !name.ends_with("_ms"));
            }
        }
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let root = alias.clone().or(around.root.clone())?;
                let mut files = Table::from_iter([("root".into(), Value::from(root))]);
                if alias.is_some() {
                    set(&mut files, "strip", prefix.trim_end_matches('/'));
                }
                if let Some(index) = &around.index {
                    files.insert("index".into(), index.clone().into());
                }
                if listing {
                    files.insert("listing".into(), true.into());
                }
                if !around.errors.is_empty() {
                    files.insert("errors".into(), around.errors.clone().into());
                }
                self.tries(inside, &tries, &mut files);
                ("files", files.into())
            }
        };
        let steps = self.steps(&mut around);
        let mut route = route(path, answer, &steps);
        if let (true, Value::Table(route)) = (around.cached, &mut route) {
            route.insert("cache".into(), true.into());
        }
        Some(route)
    }

    fn tries(&mut self, inside: &[Directive], tries: &[String], files: &mut Table) {
        let Some((last, before)) = tries.split_last() else { return };
        match last.as_str() {
            "=404" => {}
            page if page.starts_with('/') => {
                set(files, "fallback", page.split('?').next().unwrap_or(page));
            }
            _ => {
                if let Some(directive) = inside.iter().find(|one| one.name() == "try_files") {
                    self.note(directive, "what is tried last has to be a page or =404");
                }
            }
        }
        let plain = before.iter().all(|one| one == "$uri" || one == "$uri/");
        if !plain {
            let tried = before
                .iter()
                .filter(|one| *one != "$uri/")
                .map(|one| Value::from(one.replace("$uri", "{path}")));
            files.insert("try_files".into(), tried.collect::<Vec<_>>().into());
        }
    }

    fn proxy(&mut self, directive: &Directive, prefix: &str, around: &Around) -> Value {
        let target = directive.first();
        let scheme =
            target.split("://").next().unwrap_or("http").replace("grpcs", "https").replace("grpc", "h2c");
        let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
        let (server, path) = match rest.find('/').filter(|_| !rest.starts_with("unix:")) {
            Some(slash) => (&rest[..slash], Some(&rest[slash..])),
            None => (rest, None),
        };
        let mut table = around.proxy.clone();
        if target.contains('$') {
            self.note(directive, "servers are named in the settings; variables have no counterpart");
        }
        match self.draft.upstreams.contains_key(server) {
            true => set(&mut table, "upstream", server),
            false => drop(table.insert("to".into(), vec![Value::from(upstream_url(&scheme, server))].into())),
        }
        if let Some(path) = path.filter(|path| *path != prefix) {
            let pattern = format!("^{}", regex_escaped(prefix));
            let rewrite =
                Table::from_iter([("pattern".into(), pattern.into()), ("to".into(), Value::from(path))]);
            table.insert("rewrite".into(), rewrite.into());
        }
        table.into()
    }

    /// `return`.
    pub(super) fn answer(&mut self, directive: &Directive) -> Option<(&'static str, Value)> {
        let (status, text) = match directive.arguments() {
            [status] if status.parse::<u16>().is_ok() => (status.parse::<i64>().unwrap_or(200), None),
            [text] => (302, Some(text)),
            [status, text] => (status.parse().unwrap_or(200), Some(text)),
            _ => {
                self.note(directive, "it is not understood");
                return None;
            }
        };
        let text = match text {
            Some(text) => Some(self.template(directive, Some(text))?),
            None => None,
        };
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            let to = Table::from_iter([("to".into(), text?.into()), ("status".into(), status.into())]);
            return Some(("redirect", to.into()));
        }
        // nginx closes the connection at 444.
        let mut table =
            Table::from_iter([("status".into(), Value::from(if status == 444 { 403 } else { status }))]);
        if let Some(text) = text {
            table.insert("body".into(), text.into());
        }
        Some(("respond", table.into()))
    }

    /// A `rewrite` of a whole server that sends clients elsewhere.
    pub(super) fn rewrite(&mut self, directive: &Directive) -> Option<Value> {
        let status = match directive.arguments().get(2).map(String::as_str) {
            Some("permanent") => 301,
            Some("redirect") => 302,
            _ => {
                self.note(
                    directive,
                    "paths are changed by the middleware `rewrite`, or `rewrite` of a proxy",
                );
                return None;
            }
        };
        let whole = matches!(directive.first(), "^" | "^(.*)$" | "^/(.*)$" | "^(.*)");
        let to = directive.arguments()[1].trim_end_matches('?');
        let to = to.strip_suffix("/$1").or(to.strip_suffix("$1")).or(to.strip_suffix("$request_uri"));
        let Some(to) = to.filter(|_| whole) else {
            self.note(directive, "make a route with `redirect` of it");
            return None;
        };
        let to = self.template(directive, Some(&to.to_owned()))? + "{uri}";
        let redirect = Table::from_iter([("to".into(), to.into()), ("status".into(), Value::from(status))]);
        Some(route("/*", ("redirect", redirect.into()), &[]))
    }

    /// Names of the middleware that a location needs.
    fn steps(&mut self, around: &mut Around) -> Vec<String> {
        let mut steps = Vec::new();
        let (allow, deny) = &around.rules;
        if !allow.is_empty() || !deny.is_empty() {
            let list = |rules: &[String]| -> Vec<Value> {
                let rules = rules.iter().filter(|rule| *rule != "all");
                rules.map(|rule| Value::from(rule.as_str())).collect()
            };
            let mut settings = Table::new();
            for (name, list) in [("allow", list(allow)), ("deny", list(deny))] {
                if !list.is_empty() {
                    settings.insert(name.into(), list.into());
                }
            }
            steps.push(self.draft.step("addresses", "ip", settings));
        }
        steps.append(&mut around.steps);
        if let Some((realm, file)) = around.basic.take().filter(|(_, file)| !file.is_empty()) {
            let settings =
                Table::from_iter([("realm".into(), realm.into()), ("file".into(), Value::from(file))]);
            steps.push(self.draft.step("passwords", "basic", settings));
        }
        if let Some(bytes) = around.body_bytes.filter(|bytes| *bytes > 0) {
            let settings = Table::from_iter([("max_body_bytes".into(), Value::from(bytes))]);
            steps.push(self.draft.step("bodies", "validate", settings));
        }
        let mut fields = Table::new();
        for (name, map) in [("request", &around.request), ("response", &around.response)] {
            if !map.is_empty() {
                let map: Table =
                    map.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
                fields.insert(name.into(), map.into());
            }
        }
        if !fields.is_empty() {
            steps.push(self.draft.step("fields", "headers", fields));
        }
        steps
    }
}
