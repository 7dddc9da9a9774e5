//! URLs by the WHATWG rules.
//!
//! A parsed URL is one string: its serialisation, NUL, and the offsets of its parts, separated by commas:
//! end of the scheme (before `:`), end of the user name, start and end of the host, port or -1, start of the
//! path, of the query (its `?`) or -1, of the fragment (its `#`) or -1. Offsets count bytes, which are
//! characters, since a serialised URL is ASCII.

use url::{Position, Url};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

/// Longest URL that is parsed, bytes.
const URL_MAX: usize = 2 << 20;

fn text(scope: &PinScope<'_, '_>, value: v8::Local<'_, Value>) -> Option<String> {
    let string = v8::Local::<v8::String>::try_from(value).ok()?;
    (string.length() <= URL_MAX).then(|| string.to_rust_string_lossy(scope))
}

fn give(scope: &PinScope<'_, '_>, url: &Url, mut result: ReturnValue<'_, Value>) {
    let at = |position| url[..position].len();
    let optional = |present: bool, position| if present { at(position) as i64 - 1 } else { -1 };
    let answer = format!(
        "{url}\0{},{},{},{},{},{},{},{}",
        at(Position::AfterScheme),
        at(Position::AfterUsername),
        at(Position::BeforeHost),
        at(Position::AfterHost),
        url.port().map_or(-1, i64::from),
        at(Position::BeforePath),
        optional(url.query().is_some(), Position::BeforeQuery),
        optional(url.fragment().is_some(), Position::BeforeFragment),
    );
    if let Some(answer) = v8::String::new_from_utf8(scope, answer.as_bytes(), v8::NewStringType::Normal) {
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
    let parsed = match text(scope, arguments.get(1)) {
        Some(base) => Url::parse(&base).and_then(|base| base.join(&input)),
        None => Url::parse(&input),
    };
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
    let Ok(mut url) = Url::parse(&href) else { return };
    // An assignment that the standard ignores leaves the URL as it was.
    match component.as_str() {
        "href" => match Url::parse(&value) {
            Ok(parsed) => url = parsed,
            Err(_) => return,
        },
        "protocol" => drop(url::quirks::set_protocol(&mut url, &value)),
        "username" => drop(url::quirks::set_username(&mut url, &value)),
        "password" => drop(url::quirks::set_password(&mut url, &value)),
        "host" => drop(url::quirks::set_host(&mut url, &value)),
        "hostname" => drop(url::quirks::set_hostname(&mut url, &value)),
        "port" => drop(url::quirks::set_port(&mut url, &value)),
        "pathname" => url::quirks::set_pathname(&mut url, &value),
        "search" => url::quirks::set_search(&mut url, &value),
        "hash" => url::quirks::set_hash(&mut url, &value),
        _ => return,
    }
    give(scope, &url, result);
}
