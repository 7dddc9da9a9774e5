//! Traces as OTLP has them in JSON (OpenTelemetry protocol 1.x, "JSON Protobuf Encoding").

use serde_json::{Value as Json, json};

use super::{Span, Trace, Value};

/// The body of an export request.
pub(super) fn request(service: &str, traces: &[Trace]) -> Json {
    let spans: Vec<Json> =
        traces.iter().flat_map(|trace| trace.spans.iter().map(|one| span(trace.trace_id, one))).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", &Value::Text(service.to_owned())),
            attribute("service.version", &Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        ] },
        "scopeSpans": [{ "scope": { "name": "selvedge" }, "spans": spans }],
    }] })
}

fn span(trace_id: u128, span: &Span) -> Json {
    let attributes: Vec<Json> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut json = json!({
        "traceId": format!("{trace_id:032x}"),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": span.kind as u8,
        // 64-bit numbers are strings in JSON.
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": attributes,
        "status": span.error.map_or(json!({}), |message| json!({ "code": 2, "message": message })),
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = format!("{parent:016x}").into();
    }
    json
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": name, "value": value })
}
