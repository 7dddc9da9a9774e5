//! URLs by the WHATWG rules.
//!
//! A parsed URL is one string: its serialisation, NUL, and the offsets of its parts, separated by commas:
//! end of the scheme (before `:`), end of the user name, start and end of the host, port or -1, start of the
//! path, of the query (its `?`) or -1, of the fragment (its `#`) or -1. Offsets count bytes, which are
//! characters, since a serialised URL is ASCII.

use ada_url::Url;
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

/// Longest URL that is parsed, bytes.
const URL_MAX: usize = 2 << 20;

fn text(scope: &PinScope<'_, '_>, value: v8::Local<'_, Value>) -> Option<String> {
    let string = v8::Local::<v8::String>::try_from(value).ok()?;
    (string.length() <= URL_MAX).then(|| string.to_rust_string_lossy(scope))
}

fn give(scope: &PinScope<'_, '_>, url: &Url, mut result: ReturnValue<'_, Value>) {
    let href = url.href();
    let at = url.components();
    // The parser has the `@` behind credentials at the start of the host.
    let host = at.host_start + u32::from(href.as_bytes().get(at.host_start as usize) == Some(&b'@'));
    let optional = |number: Option<u32>| number.map_or(-1, i64::from);
    let answer = format!(
        "{href}\0{},{},{host},{},{},{},{},{}",
        at.protocol_end.saturating_sub(1),
        at.username_end,
        // Without a host its end may lie before its start.
        at.host_end.max(host),
        optional(at.port),
        optional(at.pathname_start),
        optional(at.search_start),
        optional(at.hash_start),
    );
    if let Some(answer) = v8::String::new_from_one_byte(scope, answer.as_bytes(), v8::NewStringType::Normal) {
        result.set(answer.into());
    }
}

/// `urlParse(input, base)`: `undefined` when it is no URL.
pub fn parse(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let Some(input) = text(scope, arguments.get(0)) else { return };
    let base = text(scope, arguments.get(1));
    let parsed = Url::parse(&input, base.as_deref());
    if let Ok(url) = parsed {
        give(scope, &url, result);
    }
}

/// `urlSet(href, component, value)`: the URL after an assignment to one of its attributes; `undefined` when
/// `href` is set to what is no URL.
pub fn set(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let (Some(href), Some(component), Some(value)) =
        (text(scope, arguments.get(0)), text(scope, arguments.get(1)), text(scope, arguments.get(2)))
    else {
        return;
    };
    let Ok(mut url) = Url::parse(&href, None) else { return };
    let value = value.as_str();
    // An assignment that the standard ignores leaves the URL as it was.
    match component.as_str() {
        "href" => match Url::parse(value, None) {
            Ok(parsed) => url = parsed,
            Err(_) => return,
        },
        "protocol" => drop(url.set_protocol(value)),
        "username" => drop(url.set_username(Some(value))),
        "password" => drop(url.set_password(Some(value))),
        "host" => drop(url.set_host(Some(value))),
        "hostname" => drop(url.set_hostname(Some(value))),
        "port" => drop(url.set_port(Some(value))),
        "pathname" => drop(url.set_pathname(Some(value))),
        "search" => url.set_search(Some(value)),
        "hash" => url.set_hash(Some(value)),
        _ => return,
    }
    give(scope, &url, result);
}
