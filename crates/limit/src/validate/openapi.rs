//! OpenAPI 3: operations by path and method, with their parameters and bodies.

use std::collections::HashMap;

use http::{HeaderMap, Method, header};
use jsonschema::Draft;
use serde_json::{Map, Value, json};

use super::{MISTAKES_MAX, Mistake, Schema, fits, is_json};

/// Operations of a document at most.
const OPERATIONS_MAX: usize = 5000;
/// Depth to which references between parts of a document are followed.
const REFERENCES_MAX: usize = 16;

/// A document, compiled.
#[derive(Debug)]
pub struct OpenApi {
    /// By their number of segments.
    paths: HashMap<usize, Vec<Path>>,
    /// Path of the first server, which stands before all.
    base: String,
}

#[derive(Debug)]
struct Path {
    /// `None` is a parameter.
    segments: Vec<Segment>,
    operations: Vec<(Method, Operation)>,
}

#[derive(Debug)]
enum Segment {
    Fixed(String),
    Parameter(String),
}

/// What a request of a path and method has to look like.
#[derive(Debug, Default)]
pub struct Operation {
    parameters: Vec<Parameter>,
    body_required: bool,
    /// By type, with a schema where it is JSON.
    bodies: Vec<(String, Option<Schema>)>,
}

#[derive(Debug)]
struct Parameter {
    place: Place,
    name: String,
    required: bool,
    schema: Option<Schema>,
    /// As the schema has it; texts are read as this.
    kind: String,
    /// Of a list's elements.
    item_kind: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// An operation, and the parameters in the path by name.
pub type Found<'a, 'p> = (&'a Operation, Vec<(&'a str, &'p str)>);

/// Why there is nothing to judge a request by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No path fits.
    Path,
    /// The path does not take the method.
    Method,
    /// The operation takes no body of the type.
    Type,
}

impl OpenApi {
    /// # Errors
    /// A sentence that says what is wrong with the document.
    pub fn new(document: &Value) -> Result<Self, String> {
        let version = document["openapi"].as_str().unwrap_or_default();
        let draft = match version {
            _ if version.starts_with("3.0") => Draft::Draft4,
            _ if version.starts_with("3.") => Draft::Draft202012,
            _ => return Err("it is no OpenAPI 3 document in JSON".into()),
        };
        let mut document = document.clone();
        if draft == Draft::Draft4 {
            nullable(&mut document, 0);
        }
        let base = document["servers"][0]["url"].as_str().unwrap_or_default();
        let base = match base.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => base,
        };
        let builder = Builder { document: &document, draft };
        let mut paths: HashMap<usize, Vec<Path>> = HashMap::new();
        let mut count = 0;
        for (template, item) in document["paths"].as_object().into_iter().flatten() {
            let segments: Vec<Segment> = split(template).map(segment).collect();
            let item = builder.resolved(item)?;
            let mut operations = Vec::new();
            for (name, operation) in item.as_object().into_iter().flatten() {
                let names = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];
                if !names.contains(&name.as_str()) {
                    continue;
                }
                count += 1;
                if count > OPERATIONS_MAX {
                    return Err(format!("more than {OPERATIONS_MAX} operations"));
                }
                let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes())
                    .map_err(|error| error.to_string())?;
                let built = builder.operation(item, operation);
                operations.push((method, built.map_err(|error| format!("{name} {template}: {error}"))?));
            }
            paths.entry(segments.len()).or_default().push(Path { segments, operations });
        }
        for group in paths.values_mut() {
            // Fixed segments go before parameters.
            group.sort_by_key(|path| {
                path.segments.iter().map(|s| matches!(s, Segment::Parameter(_))).collect::<Vec<_>>()
            });
        }
        Ok(Self { paths, base: base.trim_end_matches('/').to_owned() })
    }

    /// The operation of a request, and the parameters in its path.
    ///
    /// # Errors
    /// There is none.
    pub fn find<'p>(&self, method: &Method, path: &'p str) -> Result<Found<'_, 'p>, Missing> {
        let path = path.strip_prefix(&*self.base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let segments: Vec<&str> = split(path.ok_or(Missing::Path)?).collect();
        let group = self.paths.get(&segments.len()).ok_or(Missing::Path)?;
        let mut missing = Missing::Path;
        for path in group {
            let mut parameters = Vec::new();
            let fits = path.segments.iter().zip(&segments).all(|(segment, asked)| match segment {
                Segment::Fixed(text) => text == asked,
                Segment::Parameter(name) => {
                    parameters.push((name.as_str(), *asked));
                    !asked.is_empty()
                }
            });
            if !fits {
                continue;
            }
            let of = |wanted: &Method| path.operations.iter().find(|(method, _)| method == wanted);
            let found = of(method).or_else(|| (*method == Method::HEAD).then(|| of(&Method::GET)).flatten());
            match found {
                Some((_, operation)) => return Ok((operation, parameters)),
                None => missing = Missing::Method,
            }
        }
        Err(missing)
    }
}

impl Operation {
    /// Judges the parameters.
    pub fn check_parameters(&self, path: &[(&str, &str)], query: &str, headers: &HeaderMap) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for parameter in &self.parameters {
            let name = parameter.name.as_str();
            let (place, values): (&str, Vec<String>) = match parameter.place {
                Place::Path => (
                    "path",
                    path.iter().filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).collect(),
                ),
                Place::Query => {
                    ("query", pairs(query).filter(|(key, _)| key == name).map(|(_, value)| value).collect())
                }
                Place::Header => (
                    "header",
                    headers
                        .get_all(name)
                        .into_iter()
                        .filter_map(|value| value.to_str().ok())
                        .map(str::to_owned)
                        .collect(),
                ),
                Place::Cookie => ("cookie", cookies(headers, name)),
            };
            let pointer = format!("{place}:{name}");
            match (&parameter.schema, values.is_empty()) {
                (_, true) if parameter.required => {
                    mistakes.push(Mistake::new(pointer, "This parameter is required."))
                }
                (Some(schema), false) => {
                    let told = schema.check_value(&parameter.value(values), &pointer, true).err();
                    mistakes.extend(told.into_iter().flatten());
                }
                _ => {}
            }
        }
        mistakes.truncate(MISTAKES_MAX);
        mistakes
    }

    /// The schema for a body of this type: `Ok(None)` when it has none.
    ///
    /// # Errors
    /// The operation takes no such type.
    pub fn body(&self, kind: Option<&str>) -> Result<Option<&Schema>, Missing> {
        if self.bodies.is_empty() {
            return Ok(None);
        }
        let kind = kind.ok_or(Missing::Type)?;
        let found = self.bodies.iter().find(|(pattern, _)| fits(pattern, kind)).ok_or(Missing::Type)?;
        Ok(found.1.as_ref())
    }

    /// Whether a request must have a body.
    pub fn needs_body(&self) -> bool {
        self.body_required
    }
}

impl Parameter {
    /// Texts as the schema's type has them; what cannot be read stays text, which the schema will refuse.
    fn value(&self, values: Vec<String>) -> Value {
        if self.kind == "array" {
            let parts = match values.as_slice() {
                [one] => one.split(',').map(str::to_owned).collect(),
                _ => values,
            };
            return parts.into_iter().map(|part| typed(part, &self.item_kind)).collect();
        }
        typed(values.into_iter().next().unwrap_or_default(), &self.kind)
    }
}

fn typed(text: String, kind: &str) -> Value {
    let read = match kind {
        "integer" | "number" => text.parse::<serde_json::Number>().ok().map(Value::Number),
        "boolean" => text.parse().ok().map(Value::Bool),
        _ => None,
    };
    read.unwrap_or(Value::String(text))
}

struct Builder<'d> {
    document: &'d Value,
    draft: Draft,
}

impl<'d> Builder<'d> {
    /// What `$ref` leads to within the document.
    fn resolved(&self, mut value: &'d Value) -> Result<&'d Value, String> {
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value["$ref"].as_str() else { return Ok(value) };
            let pointer = reference.strip_prefix('#').unwrap_or("/");
            value = self
                .document
                .pointer(pointer)
                .ok_or_else(|| format!("{reference:?} leads nowhere in the document"))?;
        }
        Err("references lead in circles".into())
    }

    fn schema(&self, schema: &Value) -> Result<Schema, String> {
        // References in it are from the top of the document.
        let whole = json!({ "components": self.document["components"], "allOf": [schema] });
        Schema::with(&whole, Some(self.draft))
    }

    fn operation(&self, item: &'d Value, operation: &'d Value) -> Result<Operation, String> {
        let mut built = Operation::default();
        let list = |value: &'d Value| value["parameters"].as_array().map_or(&[][..], |list| list);
        // An operation's own go before those of its path.
        for parameter in list(operation).iter().chain(list(item)) {
            let parameter = self.resolved(parameter)?;
            let name = parameter["name"].as_str().ok_or("a parameter has no name")?.to_owned();
            let place = match parameter["in"].as_str() {
                Some("path") => Place::Path,
                Some("query") => Place::Query,
                Some("header") => Place::Header,
                Some("cookie") => Place::Cookie,
                _ => return Err(format!("parameter {name}: `in` is path, query, header or cookie")),
            };
            if built.parameters.iter().any(|known| known.name == name && known.place == place) {
                continue;
            }
            let schema = self.resolved(&parameter["schema"])?;
            let kind = |schema: &Value| schema["type"].as_str().unwrap_or_default().to_owned();
            let kind_of = kind(schema);
            let item_kind = kind(self.resolved(&schema["items"])?);
            let required = place == Place::Path || parameter["required"] == true;
            // Objects come in styles that are left to what answers.
            let judged = schema.is_object() && kind_of != "object";
            let schema = judged.then(|| self.schema(schema)).transpose()?;
            built.parameters.push(Parameter { place, name, required, schema, kind: kind_of, item_kind });
        }
        let body = self.resolved(&operation["requestBody"])?;
        built.body_required = body["required"] == true;
        for (kind, content) in body["content"].as_object().into_iter().flatten() {
            let json = is_json(kind) && content["schema"].is_object();
            let schema = json.then(|| self.schema(&content["schema"])).transpose()?;
            built.bodies.push((kind.to_ascii_lowercase(), schema));
        }
        Ok(built)
    }
}

/// OpenAPI 3.0 writes `nullable` where JSON Schema has a further type.
fn nullable(value: &mut Value, depth: usize) {
    if depth > 128 {
        return;
    }
    match value {
        Value::Object(object) => {
            widen(object);
            object.values_mut().for_each(|value| nullable(value, depth + 1));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| nullable(value, depth + 1)),
        _ => {}
    }
}

fn widen(object: &mut Map<String, Value>) {
    if object.get("nullable") != Some(&Value::Bool(true)) {
        return;
    }
    if let Some(Value::String(kind)) = object.get("type").cloned() {
        object.insert("type".into(), json!([kind, "null"]));
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.push(Value::Null);
    }
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => Segment::Parameter(name.to_owned()),
        None => Segment::Fixed(text.to_owned()),
    }
}

/// Text without its `%` codes; what is no UTF-8 is replaced.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decoded(&text.replace('+', " "));
        (plain(name), plain(value))
    })
}

fn cookies(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pets() -> OpenApi {
        OpenApi::new(&json!({
            "openapi": "3.0.3", "servers": [{"url": "https://api.example/v1/"}],
            "paths": {
                "/pets/{id}": {
                    "parameters": [{"$ref": "#/components/parameters/Id"}],
                    "get": {"parameters": [
                        {"name": "limit", "in": "query", "required": true, "schema": {"type": "integer", "maximum": 10}},
                        {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}},
                        {"name": "X-Trace", "in": "header", "schema": {"type": "boolean"}},
                        {"name": "session", "in": "cookie", "schema": {"type": "string", "minLength": 3}}
                    ]},
                    "put": {"requestBody": {"required": true, "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}, "text/*": {}
                    }}}
                },
                "/pets/mine": {"get": {}}
            },
            "components": {
                "parameters": {"Id": {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}}},
                "schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string", "nullable": true}, "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": true},
                    "mother": {"$ref": "#/components/schemas/Pet"}
                }}}
            }
        }))
        .unwrap()
    }

    fn told(path: &str, query: &str, fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let (api, mut headers) = (pets(), HeaderMap::new());
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        let (operation, parameters) = api.find(&Method::GET, path).unwrap();
        let mistakes = operation.check_parameters(&parameters, query, &headers);
        mistakes.into_iter().map(|mistake| mistake.pointer).collect()
    }

    #[test]
    fn operations_are_found() {
        let api = pets();
        assert!(
            api.find(&Method::GET, "/v1/pets/7").is_ok() && api.find(&Method::HEAD, "/v1/pets/7").is_ok()
        );
        assert!(api.find(&Method::GET, "/v1/pets/mine").unwrap().1.is_empty(), "fixed before parameters");
        for path in ["/pets/7", "/v1/pets", "/v1/pets/", "/v1/pets/7/x", "/v11/pets/7", "/"] {
            assert_eq!(api.find(&Method::GET, path).err(), Some(Missing::Path), "{path}");
        }
        assert_eq!(api.find(&Method::DELETE, "/v1/pets/7").err(), Some(Missing::Method));
    }

    #[test]
    fn parameters_are_judged_by_their_types() {
        let none: [&str; 0] = [];
        assert_eq!(
            told(
                "/v1/pets/7",
                "limit=3&tags=1,2&x=y",
                &[("x-trace", "true"), ("cookie", "a=b; session=abc")]
            ),
            none
        );
        assert_eq!(told("/v1/pets/7", "limit=3&tags=1&tags=2", &[]), none);
        assert_eq!(told("/v1/pets/x", "", &[]), ["query:limit", "path:id"]);
        assert_eq!(
            told("/v1/pets/7", "limit=11&tags=1,z", &[("x-trace", "2"), ("cookie", "session=a")]),
            ["query:limit", "query:tags/1", "header:X-Trace", "cookie:session"]
        );
        assert_eq!(told("/v1/pets/%37", "limit=%33", &[]), none);
    }

    #[test]
    fn bodies_are_judged_by_their_schemas() {
        let api = pets();
        let (operation, _) = api.find(&Method::PUT, "/v1/pets/7").unwrap();
        assert!(operation.needs_body());
        assert!(operation.body(Some("image/png")).is_err() && operation.body(None).is_err());
        assert!(operation.body(Some("text/plain")).unwrap().is_none());
        let schema = operation.body(Some("application/json; charset=utf-8")).unwrap().unwrap();
        assert_eq!(schema.check(br#"{"name": null, "mother": {"name": "x", "age": 1}}"#), Ok(()));
        let mistakes = schema.check(br#"{"name": "a", "age": 0, "mother": {}}"#).unwrap_err();
        let pointers: Vec<&str> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
        assert!(pointers.contains(&"#/age") && pointers.contains(&"#/mother"), "{mistakes:?}");
    }

    #[test]
    fn wrong_documents_are_refused() {
        for wrong in [
            json!({"swagger": "2.0"}),
            json!({"openapi": "3.1.0", "paths": {"/": {"$ref": "#/nowhere"}}}),
            json!({"openapi": "3.1.0", "paths": {"/": {"$ref": "https://a.example/x.json"}}}),
            json!({"openapi": "3.1.0", "components": {"a": {"$ref": "#/components/a"}}, "paths": {"/": {"$ref": "#/components/a"}}}),
            json!({"openapi": "3.1.0", "paths": {"/": {"get": {"parameters": [{"name": "a", "in": "body"}]}}}}),
            json!({"openapi": "3.1.0", "paths": {"/": {"get": {"requestBody": {"content": {"application/json": {"schema": {"type": 7}}}}}}}}),
        ] {
            assert!(OpenApi::new(&wrong).is_err(), "{wrong}");
        }
    }
}
