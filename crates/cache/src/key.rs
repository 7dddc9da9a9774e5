//! The address that a response is found by: scheme, host, path and query, in one spelling.

use crate::settings::QueryKey;

/// `https://example.com/path?query`, normalised: the host in small letters and without the scheme's own port, escapes of
/// letters, digits and `-._~` undone and others in capital letters (RFC 3986, section 6.2.2). Dots and slashes stay, since servers
/// take them for different paths.
pub fn address(scheme: &str, host: &str, path: &str, query: Option<&str>, rules: &QueryKey) -> String {
    let mut out =
        String::with_capacity(scheme.len() + host.len() + path.len() + query.map_or(0, str::len) + 4);
    origin(scheme, host, &mut out);
    escapes(path, &mut out);
    if let Some(query) = query.filter(|_| !rules.ignore) {
        let rules_apply = rules.sort || !rules.only.is_empty() || !rules.except.is_empty();
        if !rules_apply {
            out.push('?');
            escapes(query, &mut out);
        } else {
            let mut spelled = String::with_capacity(query.len());
            escapes(query, &mut spelled);
            let mut parts: Vec<&str> = spelled.split('&').filter(|part| counts(part, rules)).collect();
            if rules.sort {
                // Stable: values of one name keep their order.
                parts.sort_by_key(|part| name_of(part));
            }
            for (index, part) in parts.into_iter().enumerate() {
                out.push(if index == 0 { '?' } else { '&' });
                out.push_str(part);
            }
        }
    }
    out
}

/// Scheme and host of an address.
pub fn origin(scheme: &str, host: &str, out: &mut String) {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(default).unwrap_or(host);
    out.push_str(scheme);
    out.push_str("://");
    out.extend(host.chars().map(|letter| letter.to_ascii_lowercase()));
}

/// The address in a `Location` or `Content-Location` of a response to a request for `address`, if it is of the same origin.
pub fn related(address: &str, location: &str) -> Option<String> {
    let start = address.find("://")? + 3;
    let end = address[start..].find('/').map_or(address.len(), |at| start + at);
    let origin = &address[..end];
    let location = location.split('#').next().unwrap_or_default();
    let path = if let Some((scheme, rest)) = location.split_once("://") {
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        let mut found = String::new();
        self::origin(&scheme.to_ascii_lowercase(), host, &mut found);
        if found != origin {
            return None;
        }
        path.to_owned()
    } else if location.starts_with("//") {
        return related(address, &format!("{}:{location}", &address[..start - 3]));
    } else if location.starts_with('/') {
        location.to_owned()
    } else {
        let path = address[end..].split('?').next().unwrap_or("/");
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        match location.strip_prefix('?') {
            Some(_) => format!("{path}{location}"),
            None => format!("{folder}{}", location.strip_prefix("./").unwrap_or(location)),
        }
    };
    let mut out = origin.to_owned();
    escapes(&path, &mut out);
    Some(out)
}

fn name_of(part: &str) -> &str {
    part.split('=').next().unwrap_or(part)
}

fn counts(part: &str, rules: &QueryKey) -> bool {
    let name = name_of(part);
    let listed = |list: &[String]| {
        list.iter().any(|rule| match rule.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => rule == name,
        })
    };
    (rules.only.is_empty() || listed(&rules.only)) && !listed(&rules.except)
}

/// One spelling for what percent signs encode. Text with a percent sign that encodes nothing stays as it is: together with what is decoded
/// behind it, it could come to encode something.
fn escapes(text: &str, out: &mut String) {
    let code = |at: usize| {
        let digits =
            text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u8::from_str_radix(digits, 16).ok()
    };
    if text.match_indices('%').any(|(at, _)| code(at).is_none()) {
        return out.push_str(text);
    }
    let mut done = 0;
    for (at, _) in text.match_indices('%') {
        out.push_str(&text[done..at]);
        match code(at) {
            // Undone, a dot could make a path segment that means something.
            Some(byte) if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&text[at..at + 3].to_ascii_uppercase()),
        }
        done = at + 3;
    }
    out.push_str(&text[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_address_has_one_spelling() {
        let rules = QueryKey::default();
        assert_eq!(
            address("http", "A.Example:80", "/%7ea%2f%e4", Some("b=%41"), &rules),
            "http://a.example/~a%2F%E4?b=A"
        );
        assert_eq!(address("https", "a:80", "/", None, &rules), "https://a:80/");
        assert_ne!(
            address("http", "a", "/%2e%2e/b", None, &rules),
            address("http", "a", "/../b", None, &rules)
        );
        assert_ne!(address("http", "a", "/", Some(""), &rules), address("http", "a", "/", None, &rules));
    }

    #[test]
    fn the_query_may_count_in_part() {
        let query = |rules: QueryKey| address("http", "a", "/", Some("z=1&utm_x=2&b=3&z=0"), &rules);
        assert_eq!(query(QueryKey { ignore: true, ..QueryKey::default() }), "http://a/");
        assert_eq!(query(QueryKey { sort: true, ..QueryKey::default() }), "http://a/?b=3&utm_x=2&z=1&z=0");
        assert_eq!(
            query(QueryKey { except: vec!["utm_*".into()], ..QueryKey::default() }),
            "http://a/?z=1&b=3&z=0"
        );
        assert_eq!(query(QueryKey { only: vec!["b".into()], ..QueryKey::default() }), "http://a/?b=3");
    }

    #[test]
    fn locations_are_of_the_same_origin() {
        let related = |location| related("http://a/b/c?d", location);
        assert_eq!(related("e").as_deref(), Some("http://a/b/e"));
        assert_eq!(related("/e#f").as_deref(), Some("http://a/e"));
        assert_eq!(related("HTTP://A:80/e").as_deref(), Some("http://a/e"));
        assert_eq!(related("//a/e").as_deref(), Some("http://a/e"));
        assert_eq!(related("?x").as_deref(), Some("http://a/b/c?x"));
        assert_eq!(related("https://a/e"), None);
        assert_eq!(related("http://other/e"), None);
    }

    proptest! {
        #[test]
        fn spelling_is_settled(path in "/[a-zA-Z0-9%./-]{0,40}", query in proptest::option::of("[a-z0-9=&%]{0,40}")) {
            let rules = QueryKey { sort: true, ..QueryKey::default() };
            let once = address("http", "h", &path, query.as_deref(), &rules);
            let (path, query) = once["http://h".len()..].split_once('?').map_or((&once[8..], None), |(p, q)| (p, Some(q)));
            prop_assert_eq!(address("http", "h", path, query, &rules), once.clone());
        }

        #[test]
        fn nothing_panics(address in ".{0,40}", location in ".{0,40}") {
            related(&address, &location);
        }
    }
}
