//! What of a request took how long, for traces and for `Server-Timing`. Requests of which nobody wants to know have no timeline.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use selvedge_telemetry::traces::{Accept, Span, SpanKind, Trace, TraceContext, Tracer, Value};

use crate::exchange::Exchange;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Longest `tracestate` that is passed on, bytes (Trace Context, section 3.3.1.5, asks for at least 512).
const TRACESTATE_MAX: usize = 512;
/// Longest text of a client's that spans tell, bytes.
const TEXT_MAX: usize = 256;

/// The parts of a request so far.
#[derive(Default)]
pub(crate) struct Timeline {
    /// The trace that it is part of.
    traced: Option<Traced>,
    /// The client is told.
    told: bool,
    parts: Vec<Part>,
}

/// Where a request is in its trace.
struct Traced {
    trace_id: u128,
    parent: Option<u64>,
    /// Of the request, and of what answers it.
    span_id: u64,
    answer_id: u64,
    sampled: bool,
    /// The caller's `tracestate` is passed on.
    believed: bool,
    method: Method,
    path: String,
}

struct Part {
    name: &'static str,
    answers: bool,
    start: Instant,
    end: Instant,
}

impl Timeline {
    /// Begins the trace of a request, or goes on with its caller's.
    pub(crate) fn begin_trace(
        exchange: &mut Exchange,
        tracer: &Tracer,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) {
        let thread = &exchange.thread;
        let listens = match tracer.accept {
            Accept::Always => true,
            Accept::Never => false,
            Accept::TrustedProxies => thread.is_trusted(exchange.connection.peer()),
        };
        let mut values = headers.get_all(TRACEPARENT).iter();
        // Of two nobody knows which is right.
        let caller = match (values.next(), values.next()) {
            (Some(value), None) if listens => TraceContext::parse(value.as_bytes()),
            _ => None,
        };
        let mut dice = thread.dice.borrow_mut();
        let trace_id = caller.map_or_else(|| dice.u128(1..), |caller| caller.trace_id);
        let sampled = caller.map_or_else(|| tracer.sample.takes(trace_id as u64), |caller| caller.sampled);
        let traced = Traced {
            trace_id,
            parent: caller.map(|caller| caller.span_id),
            span_id: dice.u64(1..),
            answer_id: dice.u64(1..),
            sampled,
            believed: caller.is_some(),
            method: method.clone(),
            path: if sampled { shortened(path) } else { String::new() },
        };
        drop(dice);
        exchange.timeline = Some(Box::new(Self { traced: Some(traced), ..Self::default() }));
    }

    /// The client is to be told.
    pub(crate) fn tell(exchange: &mut Exchange) {
        exchange.timeline.get_or_insert_default().told = true;
    }

    /// Whether parts are worth the look at the clock.
    fn is_watched(&self) -> bool {
        self.told || self.traced.as_ref().is_some_and(|traced| traced.sampled)
    }

    /// Has those who are asked on the way know the trace.
    pub(crate) fn propagate(&self, headers: &mut HeaderMap, answer: bool) {
        let Some(traced) = &self.traced else { return };
        let span_id = if answer { traced.answer_id } else { traced.span_id };
        let context = TraceContext { trace_id: traced.trace_id, span_id, sampled: traced.sampled };
        if let Ok(value) = HeaderValue::from_str(&context.text()) {
            headers.insert(TRACEPARENT, value);
        }
        let length: usize = headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum();
        if !traced.believed || length > TRACESTATE_MAX {
            headers.remove(TRACESTATE);
        }
    }

    /// The trace's id, where it is kept.
    pub(crate) fn trace_id(&self) -> Option<u128> {
        self.traced.as_ref().filter(|traced| traced.sampled).map(|traced| traced.trace_id)
    }

    /// Adds `Server-Timing` (W3C, milliseconds) where the client is told. What steps and workers have told stays.
    pub(crate) fn tell_client(&self, started: Instant, now: Instant, headers: &mut HeaderMap) {
        if !self.told {
            return;
        }
        let ms = |start: Instant, end: Instant| (end - start).as_micros() as f64 / 1e3;
        let total = ms(started, now);
        let parts: f64 = self.parts.iter().map(|part| ms(part.start, part.end)).sum();
        let mut text = format!("total;dur={total:.3}, edge;dur={:.3}", (total - parts).max(0.0));
        for part in &self.parts {
            text.push_str(&format!(", {};dur={:.3}", part.name, ms(part.start, part.end)));
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(SERVER_TIMING, value);
        }
    }
}

/// The moment a part begins, where somebody wants to know.
pub(crate) fn start(exchange: &Exchange) -> Option<Instant> {
    exchange.timeline.as_ref().filter(|timeline| timeline.is_watched()).map(|_| Instant::now())
}

/// Ends what [`start`] began.
pub(crate) fn end(exchange: &mut Exchange, started: Option<Instant>, name: &'static str, answers: bool) {
    if let (Some(start), Some(timeline)) = (started, &mut exchange.timeline) {
        timeline.parts.push(Part { name, answers, start, end: Instant::now() });
    }
}

/// Hands the trace of a request that is over to the tracer.
pub(crate) fn finish(exchange: &Exchange, tracer: &Tracer, now: Instant) {
    let Some(timeline) = &exchange.timeline else { return };
    let Some(traced) = timeline.traced.as_ref().filter(|traced| traced.sampled) else { return };
    let clock = &exchange.thread.clock;
    let ns = |at: Instant| clock.since_epoch(at).as_nanos() as u64;
    let status = exchange.status.as_u16();
    let route = exchange.route.as_ref().map(|route| route.name.clone());
    let worker = exchange.worker.as_ref().map(|worker| format!("{}/{}", worker.account, worker.script));
    let text = |name, value: &str| (name, Value::Text(value.to_owned()));
    let mut attributes = vec![
        text("http.request.method", traced.method.as_str()),
        text("url.path", &traced.path),
        text("url.scheme", exchange.scheme()),
        ("http.response.status_code", Value::Number(status.into())),
        ("http.response.body.size", Value::Number(exchange.bytes as i64)),
        text("client.address", &exchange.client.to_string()),
        text("selvedge.request_id", exchange.request_id.to_str().unwrap_or_default()),
    ];
    attributes.extend(route.as_deref().map(|route| text("http.route", route)));
    attributes.extend(worker.as_deref().map(|worker| text("faas.name", worker)));
    attributes.extend(exchange.code.map(|code| text("error.type", code)));
    let name = match route.as_deref().or(worker.as_deref()) {
        Some(place) => format!("{} {place}", traced.method),
        None => traced.method.to_string(),
    };
    // What clients do wrong is no error of this server's (OpenTelemetry, HTTP spans).
    let error = exchange.code.filter(|_| status >= 500).or((status >= 500).then_some("error"));
    let mut spans = vec![Span {
        id: traced.span_id,
        parent: traced.parent,
        name,
        kind: SpanKind::Server,
        start_ns: ns(exchange.started),
        end_ns: ns(now),
        attributes,
        error,
    }];
    for part in &timeline.parts {
        let mut attributes = Vec::new();
        let mut kind = SpanKind::Internal;
        if let Some(report) = exchange.report.as_ref().filter(|_| part.answers) {
            kind = SpanKind::Client;
            attributes.extend(report.server.as_deref().map(|server| text("server.address", server)));
            attributes.push((
                "http.request.resend_count",
                Value::Number(i64::from(report.attempts.saturating_sub(1))),
            ));
        }
        let id = match part.answers {
            true => traced.answer_id,
            false => exchange.thread.dice.borrow_mut().u64(1..),
        };
        spans.push(Span {
            id,
            parent: Some(traced.span_id),
            name: part.name.to_owned(),
            kind,
            start_ns: ns(part.start),
            end_ns: ns(part.end),
            attributes,
            error: error.filter(|_| part.answers),
        });
    }
    tracer.finish(Trace { trace_id: traced.trace_id, spans });
}

fn shortened(path: &str) -> String {
    let mut end = path.len().min(TEXT_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path[..end].to_owned()
}
