//! `HTMLRewriter`'s side of the host; `html.rs` does the rewriting.

use lol_html::html_content::{Attribute, ContentType};
use lol_html::{AsciiCompatibleEncoding, Selector};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{append_bytes, key, text, throw_error, throw_type_error, uint8_array};
use crate::html::{Handler, Input, Rewriter, Stop, Token};
use crate::limits::Buffers;
use crate::state::State;

/// Rewriters that one worker may have under way.
const REWRITERS_MAX: usize = 64;
/// Handlers of one rewriter.
const HANDLERS_MAX: usize = 1024;
/// Longest selector, bytes.
const SELECTOR_MAX: usize = 1024;
/// Longest string that a handler may put into the document, bytes.
const TEXT_MAX: usize = 16 << 20;

/// What puts text into the document, and what each such operation takes besides the text, bytes.
const PUTS: [&str; 9] = [
    "before",
    "after",
    "prepend",
    "append",
    "replace",
    "setInnerContent",
    "setAttribute",
    "setTagName",
    "setText",
];
const PUT_BYTES: usize = 128;
const NO_MEMORY: &str =
    "The worker has no memory left for what is put into the document; put in less, or a stream.";

/// A worker's rewriters by number, each with the request that it belongs to.
#[derive(Default)]
pub struct Rewriters {
    all: std::collections::HashMap<u32, (u32, Rewriter)>,
    last: u32,
}

impl Rewriters {
    /// A request is over, and with it what it rewrote.
    pub fn request_over(&mut self, request: u32) {
        if !self.all.is_empty() {
            self.all.retain(|_, (owner, _)| *owner != request);
        }
    }
}

/// `htmlNew(selectors, kinds, encoding)`: a rewriter with these handlers; returns its number.
pub fn new(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let handlers = match handlers(scope, &arguments) {
        Ok(handlers) => handlers,
        Err(problem) => return throw_type_error(scope, &problem),
    };
    let label = text(scope, arguments.get(2), 64);
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).and_then(AsciiCompatibleEncoding::new);
    let state = State::of(scope);
    let mut rewriters = state.rewriters.borrow_mut();
    if rewriters.all.len() >= REWRITERS_MAX {
        return throw_error(scope, "Too many documents are being rewritten at the same time.");
    }
    match Rewriter::new(handlers, encoding.unwrap_or_else(AsciiCompatibleEncoding::utf_8)) {
        Ok(rewriter) => {
            rewriters.last = rewriters.last.wrapping_add(1).max(1);
            let number = rewriters.last;
            rewriters.all.insert(number, (state.current.get(), rewriter));
            result.set_uint32(number);
        }
        Err(_) => throw_error(scope, "There is no memory for another rewriter."),
    }
}

/// One character of `kinds` for each selector: `e`lement, `c`omments, `t`ext; for the document `d`octype,
/// `C`omments, `T`ext, `E`nd, whose selectors are empty.
fn handlers(
    scope: &mut PinScope<'_, '_>,
    arguments: &FunctionCallbackArguments<'_>,
) -> Result<Vec<Handler>, String> {
    let Ok(selectors) = v8::Local::<v8::Array>::try_from(arguments.get(0)) else {
        return Err("The selectors are no array.".into());
    };
    let kinds = text(scope, arguments.get(1), HANDLERS_MAX + 1);
    if kinds.len() > HANDLERS_MAX || selectors.length() as usize != kinds.len() {
        return Err(format!("A rewriter can have up to {HANDLERS_MAX} handlers."));
    }
    let mut handlers = Vec::with_capacity(kinds.len());
    for (index, kind) in (0..).zip(kinds.bytes()) {
        let selector = selectors.get_index(scope, index).unwrap_or_else(|| v8::undefined(scope).into());
        let written = text(scope, selector, SELECTOR_MAX);
        if written.len() + 3 >= SELECTOR_MAX {
            return Err(format!("A selector is longer than {SELECTOR_MAX} bytes."));
        }
        let parse = || {
            let parsed = written.parse::<Selector>();
            parsed.map_err(|error| format!("The selector {written:?} cannot be used: {error}."))
        };
        handlers.push(match kind {
            b'e' => Handler::Element(parse()?),
            b'c' => Handler::Comments(parse()?),
            b't' => Handler::Text(parse()?),
            b'd' => Handler::Doctype,
            b'C' => Handler::DocumentComments,
            b'T' => Handler::DocumentText,
            _ => Handler::End,
        });
    }
    Ok(handlers)
}

/// `htmlResume(number, input)`: goes on with a chunk (bytes or a string), with the end (`null`), or from a handler that
/// is done (`true`) or threw (`false`). Returns why it stopped next, see `ops.d.ts`.
pub fn resume(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let given = arguments.get(1);
    let input = if given.is_true() {
        Input::Handled
    } else if given.is_false() {
        Input::Failed
    } else if given.is_null() {
        Input::End
    } else {
        let mut bytes = Vec::new();
        if !append_bytes(scope, given, &mut bytes) {
            return throw_type_error(scope, "A chunk of a document must be a string or bytes.");
        }
        Input::Chunk(bytes)
    };
    let number = key(&arguments);
    let charge = match &input {
        // What goes in comes out, and waits until it is taken.
        Input::Chunk(bytes) => Buffers::charge(&State::of(scope).buffers, bytes.len()),
        _ => Buffers::charge(&State::of(scope).buffers, 0),
    };
    let Some(charge) = charge else { return throw_type_error(scope, NO_MEMORY) };
    let stop = {
        let mut rewriters = State::of(scope).rewriters.borrow_mut();
        let Some((_, rewriter)) = rewriters.all.get_mut(&number) else {
            drop(rewriters);
            return throw_type_error(scope, "The rewriter's request is over.");
        };
        if charge.bytes() > 0 {
            rewriter.keep(charge);
        }
        let stop = rewriter.resume(input);
        if stop.is_err() {
            rewriters.all.remove(&number);
        }
        stop
    };
    match stop {
        Ok(Stop::Hungry) => result.set_uint32(0),
        Ok(Stop::Done) => result.set_uint32(1),
        Ok(Stop::Token(kind, handler)) => result.set_uint32(handler << 4 | kind as u32),
        Ok(Stop::Content(content)) => result.set_uint32(content << 4 | 8),
        Err(problem) => throw_type_error(scope, &problem),
    }
}

/// `htmlOutput(number)`: what was written since the last call, `undefined` when nothing was.
pub fn output(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let bytes = {
        let mut rewriters = State::of(scope).rewriters.borrow_mut();
        let rewriter = rewriters.all.get_mut(&key(&arguments));
        rewriter.map(|(_, rewriter)| rewriter.take_output()).unwrap_or_default()
    };
    if !bytes.is_empty()
        && let Some(array) = uint8_array(scope, &bytes)
    {
        result.set(array);
    }
}

/// `htmlEnd(number)`: the rewriter is of no use any more.
pub fn end(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    _: ReturnValue<'_, Value>,
) {
    let ended = State::of(scope).rewriters.borrow_mut().all.remove(&key(&arguments));
    drop(ended);
}

/// `htmlSerial(number)`: names the current token for `htmlToken`.
pub fn serial(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let rewriters = State::of(scope).rewriters.borrow();
    result.set_uint32(rewriters.all.get(&key(&arguments)).map_or(0, |(_, rewriter)| rewriter.serial));
}

/// What comes out of an operation on a token.
enum Outcome {
    Nothing,
    Bool(bool),
    Text(Option<String>),
    /// Names and values in turn.
    List(Vec<String>),
    Error(String),
}

/// `htmlToken(number, serial, operation, a, b)`: works on the current token.
pub fn token(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let operation = text(scope, arguments.get(2), 32);
    let number = |at| v8::Local::<v8::Uint32>::try_from(arguments.get(at)).map_or(0, |number| number.value());
    let (a, b) = (argument(scope, arguments.get(3)), arguments.get(4));
    let Some(a) = a else { return throw_type_error(scope, "The text is too long.") };
    let second = || text(scope, b, TEXT_MAX);
    let content = Content { text: &a, number: number(3), html: b.is_true() };
    // Whatever is put into a document waits there until it is written.
    let bytes = a.len() + v8::Local::<v8::String>::try_from(b).map_or(0, |b| b.length().min(TEXT_MAX));
    let puts = PUTS.contains(&operation.as_str());
    let charge = puts.then(|| Buffers::charge(&State::of(scope).buffers, bytes + PUT_BYTES));
    if let Some(None) = charge {
        return throw_type_error(scope, NO_MEMORY);
    }
    let outcome = {
        let rewriters = State::of(scope).rewriters.borrow();
        let rewriter = rewriters.all.get(&number(0)).map(|(_, rewriter)| rewriter);
        let current = rewriter.filter(|rewriter| rewriter.serial == number(1));
        match (current, current.map_or(Token::None, Rewriter::token)) {
            // SAFETY: the rewriter stands still at the token, which lives until it is resumed; nothing else refers to it.
            (Some(rewriter), token) => unsafe {
                let outcome = apply(rewriter, token, &operation, &a, second, &content);
                match (charge.flatten(), token, operation.as_str()) {
                    (Some(charge), Token::Element(element), "append" | "after") => {
                        rewriter.keep_to_end(&mut *element, charge);
                    }
                    (Some(charge), ..) => rewriter.keep(charge),
                    (None, ..) => {}
                }
                outcome
            },
            (None, _) => Outcome::Error(
                "This content token is no longer valid: tokens can be used only while their handler runs."
                    .into(),
            ),
        }
    };
    match outcome {
        Outcome::Nothing | Outcome::Text(None) => result.set_null(),
        Outcome::Bool(value) => result.set_bool(value),
        Outcome::Text(Some(text)) => {
            if let Some(text) = v8::String::new(scope, &text) {
                result.set(text.into());
            }
        }
        Outcome::List(items) => {
            let items: Option<Vec<v8::Local<'_, Value>>> =
                items.iter().map(|item| v8::String::new(scope, item).map(Into::into)).collect();
            if let Some(items) = items {
                result.set(v8::Array::new_with_elements(scope, &items).into());
            }
        }
        Outcome::Error(problem) => throw_type_error(scope, &problem),
    }
}

/// A string argument, empty for anything else; `None` when it is too long.
fn argument(scope: &PinScope<'_, '_>, value: v8::Local<'_, Value>) -> Option<String> {
    match v8::Local::<v8::String>::try_from(value) {
        Ok(string) if string.length() > TEXT_MAX => None,
        Ok(_) => Some(text(scope, value, usize::MAX)),
        Err(_) => Some(String::new()),
    }
}

/// What a handler puts into the document: a string, or the number of content that comes in chunks.
struct Content<'a> {
    text: &'a str,
    number: u32,
    html: bool,
}

impl Content<'_> {
    fn kind(&self) -> ContentType {
        if self.html { ContentType::Html } else { ContentType::Text }
    }
}

/// Calls the method for a string, or its streaming form for content in chunks.
macro_rules! put {
    ($rewriter:ident, $content:ident, $token:expr, $method:ident, $streaming:ident) => {{
        match $content.number {
            0 => $token.$method($content.text, $content.kind()),
            number => $token.$streaming($rewriter.content(number, $content.kind())),
        }
        Outcome::Nothing
    }};
}

/// # Safety
/// The token's pointer must be good.
unsafe fn apply(
    rewriter: &Rewriter,
    token: Token,
    operation: &str,
    a: &str,
    b: impl Fn() -> String,
    content: &Content<'_>,
) -> Outcome {
    let fallible = |result: Result<(), String>| match result {
        Ok(()) => Outcome::Nothing,
        Err(problem) => Outcome::Error(problem),
    };
    // SAFETY: the caller's promise.
    unsafe {
        match (token, operation) {
            (Token::Element(element), _) => {
                let element = &mut *element;
                match operation {
                    "tagName" => Outcome::Text(Some(element.tag_name())),
                    "setTagName" => fallible(element.set_tag_name(a).map_err(|error| error.to_string())),
                    "namespaceURI" => Outcome::Text(Some(element.namespace_uri().into())),
                    "attributes" => Outcome::List(element.attributes().iter().flat_map(pair).collect()),
                    "getAttribute" => Outcome::Text(element.get_attribute(a)),
                    "hasAttribute" => Outcome::Bool(element.has_attribute(a)),
                    "setAttribute" => {
                        fallible(element.set_attribute(a, &b()).map_err(|error| error.to_string()))
                    }
                    "removeAttribute" => {
                        element.remove_attribute(a);
                        Outcome::Nothing
                    }
                    "removed" => Outcome::Bool(element.removed()),
                    "remove" => {
                        element.remove();
                        Outcome::Nothing
                    }
                    "removeAndKeepContent" => {
                        element.remove_and_keep_content();
                        Outcome::Nothing
                    }
                    "before" => put!(rewriter, content, element, before, streaming_before),
                    "after" => put!(rewriter, content, element, after, streaming_after),
                    "prepend" => put!(rewriter, content, element, prepend, streaming_prepend),
                    "append" => put!(rewriter, content, element, append, streaming_append),
                    "setInnerContent" => {
                        put!(rewriter, content, element, set_inner_content, streaming_set_inner_content)
                    }
                    "replace" => put!(rewriter, content, element, replace, streaming_replace),
                    "onEndTag" => fallible(rewriter.on_end_tag(element, content.number)),
                    _ => Outcome::Nothing,
                }
            }
            (Token::EndTag(tag), _) => {
                let tag = &mut *tag;
                match operation {
                    "tagName" => Outcome::Text(Some(tag.name())),
                    "setTagName"
                        if a.is_empty()
                            || a.contains(|c: char| c.is_ascii_whitespace() || "/>".contains(c)) =>
                    {
                        Outcome::Error("An end tag's name must not be empty or hold spaces, / or >.".into())
                    }
                    "setTagName" => {
                        tag.set_name(a);
                        Outcome::Nothing
                    }
                    "removed" => Outcome::Bool(tag.removed()),
                    "remove" => {
                        tag.remove();
                        Outcome::Nothing
                    }
                    "before" => put!(rewriter, content, tag, before, streaming_before),
                    "after" => put!(rewriter, content, tag, after, streaming_after),
                    "replace" => put!(rewriter, content, tag, replace, streaming_replace),
                    _ => Outcome::Nothing,
                }
            }
            (Token::Comment(comment), _) => {
                let comment = &mut *comment;
                match operation {
                    "removed" => Outcome::Bool(comment.removed()),
                    "remove" => {
                        comment.remove();
                        Outcome::Nothing
                    }
                    "before" => put!(rewriter, content, comment, before, streaming_before),
                    "after" => put!(rewriter, content, comment, after, streaming_after),
                    "replace" => put!(rewriter, content, comment, replace, streaming_replace),
                    "text" => Outcome::Text(Some(comment.text())),
                    "setText" => fallible(comment.set_text(a).map_err(|error| error.to_string())),
                    _ => Outcome::Nothing,
                }
            }
            (Token::Text(chunk), _) => {
                let chunk = &mut *chunk;
                match operation {
                    "removed" => Outcome::Bool(chunk.removed()),
                    "remove" => {
                        chunk.remove();
                        Outcome::Nothing
                    }
                    "before" => put!(rewriter, content, chunk, before, streaming_before),
                    "after" => put!(rewriter, content, chunk, after, streaming_after),
                    "replace" => put!(rewriter, content, chunk, replace, streaming_replace),
                    "text" => Outcome::Text(Some(chunk.as_str().into())),
                    "lastInTextNode" => Outcome::Bool(chunk.last_in_text_node()),
                    _ => Outcome::Nothing,
                }
            }
            (Token::Doctype(doctype), "name") => Outcome::Text((*doctype).name()),
            (Token::Doctype(doctype), "publicId") => Outcome::Text((*doctype).public_id()),
            (Token::Doctype(doctype), "systemId") => Outcome::Text((*doctype).system_id()),
            (Token::End(end), "append") => {
                (*end).append(content.text, content.kind());
                Outcome::Nothing
            }
            _ => Outcome::Nothing,
        }
    }
}

fn pair(attribute: &Attribute<'_>) -> [String; 2] {
    [attribute.name(), attribute.value()]
}
