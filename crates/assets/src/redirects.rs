//! `_redirects`: one rule a line, `from to [status]`. The first that matches counts.

use std::collections::HashMap;

use crate::pattern::{Pattern, fill};

/// Most rules without `*` and names, and most with them.
const STATIC_MAX: usize = 2000;
const DYNAMIC_MAX: usize = 100;
/// Longest line, bytes.
const LINE_MAX: usize = 1000;

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) to: String,
    /// 200 serves another path in the place of the one asked for.
    pub(crate) status: u16,
}

/// The rules of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Redirects {
    exact: HashMap<String, (usize, Target)>,
    patterns: Vec<(usize, Pattern, Target)>,
}

impl Redirects {
    /// Reads the file; an error names its line.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut redirects = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() > LINE_MAX {
                return Err((number, format!("the line is longer than {LINE_MAX} characters")));
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (from, to, status) = match words[..] {
                [from, to] => (from, to, 302),
                [from, to, status] => {
                    let known = [200, 301, 302, 303, 307, 308];
                    let status = status.parse().ok().filter(|status| known.contains(status));
                    (
                        from,
                        to,
                        status.ok_or((number, "the status is one of 200, 301, 302, 303, 307, 308".into()))?,
                    )
                }
                _ => return Err((number, "a rule is written `from to [status]`".into())),
            };
            let absolute = to.starts_with("https://") || to.starts_with("http://");
            if !(to.starts_with('/') || absolute && status != 200) {
                let kind = if status == 200 { "a path" } else { "a path or an address" };
                return Err((number, format!("{to:?} is not {kind}")));
            }
            let pattern = Pattern::parse(from).map_err(|problem| (number, problem))?;
            let target = Target { to: to.into(), status };
            if pattern.is_literal() {
                redirects.exact.entry(from.into()).or_insert((number, target));
            } else {
                redirects.patterns.push((number, pattern, target));
            }
            if redirects.exact.len() > STATIC_MAX || redirects.patterns.len() > DYNAMIC_MAX {
                return Err((
                    number,
                    format!("there are more than {STATIC_MAX} rules, or {DYNAMIC_MAX} with * or :name"),
                ));
            }
        }
        Ok(redirects)
    }

    /// The rule for a path, names filled in.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<Target> {
        let exact = self.exact.get(path);
        let before = exact.map_or(usize::MAX, |(number, _)| *number);
        let dynamic = self.patterns.iter().take_while(|(number, ..)| *number < before).find_map(
            |(_, pattern, target)| {
                let matched = pattern.matches(host, path)?;
                Some(Target { to: fill(&target.to, &matched), status: target.status })
            },
        );
        dynamic.or_else(|| exact.map(|(_, target)| target.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_counts() {
        let text =
            "/a /b 301\n/blog/* https://blog.example/:splat\n/blog/x /never\n/app/* /index.html 200 # spa\n";
        let redirects = Redirects::parse(text).unwrap();
        let find = |path| redirects.find("h", path).map(|target| (target.to, target.status));
        assert_eq!(find("/a"), Some(("/b".into(), 301)));
        assert_eq!(find("/blog/x"), Some(("https://blog.example/x".into(), 302)));
        assert_eq!(find("/app/y"), Some(("/index.html".into(), 200)));
        assert_eq!(find("/b"), None);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for bad in ["/a", "/a /b 404", "/a https://x.example/ 200", "a /b", "/a b", "/a /b 301 x"] {
            assert_eq!(Redirects::parse(&format!("\n{bad}")).unwrap_err().0, 2, "{bad}");
        }
    }
}
