//! Rewriting HTML while it streams by, for `HTMLRewriter`.
//!
//! `lol_html` calls its handlers and expects them to be done when they return; a worker's handlers may return
//! promises. So each rewriter runs in a coroutine with a stack of its own: at a handler it stops and names the
//! token, JavaScript works on that token from the ordinary stack for as long as it likes, and the rewriter is resumed.
//! V8 never runs on the coroutine's stack.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use lol_html::html_content::{
    Comment, ContentType, Doctype, DocumentEnd, Element, EndTag, StreamingHandler, StreamingHandlerSink,
    TextChunk,
};
use lol_html::{
    AsciiCompatibleEncoding, DocumentContentHandlers, ElementContentHandlers, HandlerResult, HtmlRewriter,
    MemorySettings, Selector, Settings,
};

use crate::limits::Charge;

/// The coroutine's stack, bytes; the kernel gives pages only where it is used.
const STACK: usize = 256 << 10;
/// Most memory that one rewriter may use for what it must buffer, such as one long tag, bytes.
const MEMORY_MAX: usize = 8 << 20;

/// What a rewriter is resumed with.
pub enum Input {
    /// More of the document, or of the content that was asked for.
    Chunk(Vec<u8>),
    /// The end of the document, or of the content.
    End,
    /// The handler is done with its token.
    Handled,
    /// The handler threw: the rewriter stops.
    Failed,
}

/// Why a rewriter stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It wants more of the document.
    Hungry,
    /// The document is written.
    Done,
    /// The handler with this number is due for the current token.
    Token(Kind, u32),
    /// It wants the next chunk of the content with this number.
    Content(u32),
}

/// What kind of token a handler is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Element = 2,
    EndTag = 3,
    Comment = 4,
    Text = 5,
    Doctype = 6,
    End = 7,
}

/// The token at which the rewriter stands. The pointers are good until it is resumed.
#[derive(Clone, Copy)]
pub enum Token {
    None,
    Element(*mut Element<'static, 'static>),
    EndTag(*mut EndTag<'static>),
    Comment(*mut Comment<'static>),
    Text(*mut TextChunk<'static>),
    Doctype(*mut Doctype<'static>),
    End(*mut DocumentEnd<'static>),
}

/// A handler that a worker registered. Its number is its place in the list.
pub enum Handler {
    Element(Selector),
    Comments(Selector),
    Text(Selector),
    Doctype,
    DocumentComments,
    DocumentText,
    End,
}

/// What the coroutine and its owner share.
struct Shared {
    output: RefCell<Vec<u8>>,
    /// For what was put into the document and is not taken out yet.
    charge: Cell<Option<Charge>>,
    token: Cell<Token>,
    /// Good while the coroutine lives, which is as long as anything in it runs.
    yielder: Cell<*const Yielder<Input, Stop>>,
}

impl Shared {
    fn suspend(&self, stop: Stop) -> Input {
        // SAFETY: set by the coroutine before anything else, and only code inside of it calls this.
        unsafe { &*self.yielder.get() }.suspend(stop)
    }

    fn keep(&self, charge: Charge) {
        let mut all = self.charge.take();
        match &mut all {
            Some(all) => all.join(charge),
            None => all = Some(charge),
        }
        self.charge.set(all);
    }

    /// Stops at a token until JavaScript is done with it.
    fn handle(&self, token: Token, kind: Kind, handler: u32) -> HandlerResult {
        self.token.set(token);
        let input = self.suspend(Stop::Token(kind, handler));
        self.token.set(Token::None);
        match input {
            Input::Handled => Ok(()),
            _ => Err("the handler failed".into()),
        }
    }
}

/// One document on its way through.
pub struct Rewriter {
    coroutine: Coroutine<Input, Stop, Result<(), String>>,
    shared: Rc<Shared>,
    /// Goes up whenever the token changes, so that a token which JavaScript kept is known for what it is.
    pub serial: u32,
}

impl Rewriter {
    /// A rewriter for a document in this encoding. Fails when there is no memory for its stack.
    pub fn new(handlers: Vec<Handler>, encoding: AsciiCompatibleEncoding) -> std::io::Result<Self> {
        let shared = Rc::new(Shared {
            output: RefCell::default(),
            charge: Cell::default(),
            token: Cell::new(Token::None),
            yielder: Cell::new(std::ptr::null()),
        });
        let inside = shared.clone();
        let coroutine = Coroutine::with_stack(DefaultStack::new(STACK)?, move |yielder, first| {
            inside.yielder.set(yielder);
            rewrite(&inside, handlers, encoding, first)
        });
        Ok(Self { coroutine, shared, serial: 0 })
    }

    /// Goes on to the next stop; an error is a sentence for the worker's developer.
    pub fn resume(&mut self, input: Input) -> Result<Stop, String> {
        self.serial = self.serial.wrapping_add(1);
        if self.coroutine.done() {
            return Err("The rewriter has ended.".into());
        }
        match self.coroutine.resume(input) {
            CoroutineResult::Yield(stop) => Ok(stop),
            CoroutineResult::Return(result) => result.map(|()| Stop::Done),
        }
    }

    pub fn token(&self) -> Token {
        self.shared.token.get()
    }

    /// What was written since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        drop(self.shared.charge.take());
        std::mem::take(&mut *self.shared.output.borrow_mut())
    }

    /// Keeps a charge until what it is for was written and taken out.
    pub fn keep(&self, charge: Charge) {
        self.shared.keep(charge);
    }

    /// The same for what is written at the element's end, if it has one.
    pub fn keep_to_end(&self, element: &mut Element<'static, 'static>, charge: Charge) {
        let shared = self.shared.clone();
        let charge = Rc::new(Cell::new(Some(charge)));
        let spare = charge.clone();
        let written = move |_: &mut EndTag<'_>| {
            charge.take().into_iter().for_each(|charge| shared.keep(charge));
            Ok(())
        };
        if element.on_end_tag(Box::new(written)).is_err() {
            spare.take().into_iter().for_each(|charge| self.shared.keep(charge));
        }
    }

    /// Has JavaScript called with an end tag, when it comes.
    pub fn on_end_tag(&self, element: &mut Element<'static, 'static>, handler: u32) -> Result<(), String> {
        let shared = self.shared.clone();
        let handle = move |tag: &mut EndTag<'_>| {
            let token = Token::EndTag((&raw mut *tag).cast());
            shared.handle(token, Kind::EndTag, handler)
        };
        element.on_end_tag(Box::new(handle)).map_err(|error| error.to_string())
    }

    /// Content that JavaScript gives chunk by chunk, when its place is reached.
    pub fn content(&self, number: u32, content_type: ContentType) -> Box<dyn StreamingHandler + Send> {
        Box::new(Content { shared: OneThread(self.shared.clone()), number, content_type })
    }
}

struct Content {
    shared: OneThread<Rc<Shared>>,
    number: u32,
    content_type: ContentType,
}

/// `lol_html` wants streaming handlers to be `Send`.
struct OneThread<T>(T);

// SAFETY: a rewriter and all of its handlers live and die on their isolate's thread.
unsafe impl<T> Send for OneThread<T> {}

impl StreamingHandler for Content {
    fn write_all(self: Box<Self>, sink: &mut StreamingHandlerSink<'_>) -> HandlerResult {
        loop {
            match self.shared.0.suspend(Stop::Content(self.number)) {
                Input::Chunk(bytes) => sink.write_utf8_chunk(&bytes, self.content_type)?,
                Input::End => return Ok(()),
                Input::Handled | Input::Failed => return Err("the content failed".into()),
            }
        }
    }
}

/// Runs inside the coroutine.
fn rewrite(
    shared: &Rc<Shared>,
    handlers: Vec<Handler>,
    encoding: AsciiCompatibleEncoding,
    first: Input,
) -> Result<(), String> {
    let mut settings = Settings::new()
        .with_encoding(encoding)
        .with_strict(false)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY_MAX));
    for (number, handler) in (0..).zip(handlers) {
        let shared = shared.clone();
        let of = |selector, handlers| (Cow::Owned(selector), handlers);
        let elements = ElementContentHandlers::default();
        let document = DocumentContentHandlers::default();
        settings = match handler {
            Handler::Element(selector) => {
                let handle = move |element: &mut Element<'_, '_>| {
                    shared.handle(Token::Element((&raw mut *element).cast()), Kind::Element, number)
                };
                settings.append_element_content_handler(of(selector, elements.element(handle)))
            }
            Handler::Comments(selector) => {
                let handle = move |comment: &mut Comment<'_>| {
                    shared.handle(Token::Comment((&raw mut *comment).cast()), Kind::Comment, number)
                };
                settings.append_element_content_handler(of(selector, elements.comments(handle)))
            }
            Handler::Text(selector) => {
                let handle = move |text: &mut TextChunk<'_>| {
                    shared.handle(Token::Text((&raw mut *text).cast()), Kind::Text, number)
                };
                settings.append_element_content_handler(of(selector, elements.text(handle)))
            }
            Handler::Doctype => settings.append_document_content_handler(document.doctype(
                move |doctype: &mut Doctype<'_>| {
                    shared.handle(Token::Doctype((&raw mut *doctype).cast()), Kind::Doctype, number)
                },
            )),
            Handler::DocumentComments => settings.append_document_content_handler(document.comments(
                move |comment: &mut Comment<'_>| {
                    shared.handle(Token::Comment((&raw mut *comment).cast()), Kind::Comment, number)
                },
            )),
            Handler::DocumentText => {
                settings.append_document_content_handler(document.text(move |text: &mut TextChunk<'_>| {
                    shared.handle(Token::Text((&raw mut *text).cast()), Kind::Text, number)
                }))
            }
            Handler::End => {
                settings.append_document_content_handler(document.end(move |end: &mut DocumentEnd<'_>| {
                    shared.handle(Token::End((&raw mut *end).cast()), Kind::End, number)
                }))
            }
        };
    }
    let sink = |chunk: &[u8]| shared.output.borrow_mut().extend_from_slice(chunk);
    let mut rewriter = HtmlRewriter::new(settings, sink);
    let mut input = first;
    loop {
        match input {
            Input::Chunk(bytes) => rewriter.write(&bytes).map_err(|error| error.to_string())?,
            Input::End => return rewriter.end().map_err(|error| error.to_string()),
            Input::Handled | Input::Failed => return Err("The rewriter was stopped.".into()),
        }
        input = shared.suspend(Stop::Hungry);
    }
}
