//! What a request has to look like: its size, types, fields, and JSON that fits a schema.

mod openapi;

use std::path::PathBuf;

use http::HeaderName;
use jsonschema::{PatternOptions, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use openapi::{Missing, OpenApi, Operation};

/// What requests have to look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ValidateConfig {
    /// Largest body, bytes.
    pub max_body_bytes: Option<u64>,
    /// Types of bodies, such as `application/json` or `image/*`; none means any.
    pub content_types: Vec<String>,
    /// Fields that requests must have.
    pub required_headers: Vec<String>,
    /// Parameters of the query that they must have.
    pub required_query: Vec<String>,
    /// A JSON Schema for bodies, here.
    pub schema: Option<Value>,
    /// The same in a file.
    pub schema_file: Option<PathBuf>,
    /// An OpenAPI 3 document, in JSON: requests have to fit the operations in it.
    pub openapi: Option<PathBuf>,
    /// Bodies that are judged as a whole are read up to this length, bytes.
    pub buffer_bytes: u64,
}

impl Default for ValidateConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: None,
            content_types: Vec::new(),
            required_headers: Vec::new(),
            required_query: Vec::new(),
            schema: None,
            schema_file: None,
            openapi: None,
            buffer_bytes: 1 << 20,
        }
    }
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where: `#/items/0/name` in the body (RFC 6901), or `query:page`, `header:x-id`, `path:id`.
    pub pointer: String,
    /// A sentence.
    pub detail: String,
}

impl Mistake {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// Mistakes that are told at most.
const MISTAKES_MAX: usize = 16;
/// Of bodies longer than this only the first mistake is looked for, bytes.
const ALL_MISTAKES_MAX: usize = 64 << 10;
/// Memory of an expression in a schema, bytes.
const PATTERN_MAX: usize = 1 << 20;

/// A JSON Schema, compiled. Its expressions take linear time; it loads nothing.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// # Errors
    /// A sentence that says what is wrong with the schema.
    pub fn new(schema: &Value) -> Result<Self, String> {
        Self::with(schema, None)
    }

    fn with(schema: &Value, draft: Option<jsonschema::Draft>) -> Result<Self, String> {
        let patterns = PatternOptions::regex().size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX);
        let mut options = jsonschema::options().with_pattern_options(patterns).should_validate_formats(true);
        if let Some(draft) = draft {
            options = options.with_draft(draft);
        }
        options.build(schema).map(Self).map_err(|error| format!("the schema is wrong: {error}"))
    }

    /// Judges a JSON text.
    ///
    /// # Errors
    /// What does not fit; at least one thing.
    pub fn check(&self, json: &[u8]) -> Result<(), Vec<Mistake>> {
        // Depth is bounded by the parser.
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| vec![Mistake::new("#", format!("The body is no JSON: {error}"))])?;
        self.check_value(&value, "#", json.len() <= ALL_MISTAKES_MAX)
    }

    fn check_value(&self, value: &Value, at: &str, all: bool) -> Result<(), Vec<Mistake>> {
        let told = |error: jsonschema::ValidationError<'_>| {
            Mistake::new(format!("{at}{}", error.instance_path()), error.masked().to_string())
        };
        let Err(first) = self.0.validate(value) else { return Ok(()) };
        Err(match all {
            true => self.0.iter_errors(value).take(MISTAKES_MAX).map(told).collect(),
            false => vec![told(first)],
        })
    }
}

/// [`ValidateConfig`] without its files.
#[derive(Debug)]
pub struct Rules {
    /// Largest body, bytes.
    pub max_body_bytes: Option<u64>,
    content_types: Vec<String>,
    required_headers: Vec<HeaderName>,
    required_query: Vec<String>,
    /// For bodies.
    pub schema: Option<Schema>,
    /// For whole requests.
    pub openapi: Option<OpenApi>,
    /// Bodies that are judged are read up to this length.
    pub buffer_bytes: u64,
}

impl Rules {
    /// Of settings and the texts of `schema_file` and `openapi`.
    ///
    /// # Errors
    /// A sentence that says which setting is wrong.
    pub fn new(config: &ValidateConfig, schema: Option<&str>, openapi: Option<&str>) -> Result<Self, String> {
        let json = |text: &str| {
            serde_json::from_str::<Value>(text).map_err(|error| format!("it is no JSON: {error}"))
        };
        let schema = match (&config.schema, schema) {
            (Some(_), Some(_)) => return Err("`schema` and `schema_file` cannot both be".into()),
            (Some(schema), None) => Some(Schema::new(schema)?),
            (None, Some(text)) => Some(Schema::new(&json(text)?)?),
            (None, None) => None,
        };
        let field =
            |name: &String| name.parse().map_err(|_| format!("{name:?} is no name of a header field"));
        Ok(Self {
            max_body_bytes: config.max_body_bytes,
            content_types: config.content_types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
            required_headers: config.required_headers.iter().map(field).collect::<Result<_, _>>()?,
            required_query: config.required_query.clone(),
            schema,
            openapi: openapi.map(|text| OpenApi::new(&json(text)?)).transpose()?,
            buffer_bytes: config.buffer_bytes,
        })
    }

    /// Fields and parameters that are missing.
    pub fn missing(&self, query: &str, headers: &http::HeaderMap) -> Vec<Mistake> {
        let fields = self.required_headers.iter().filter(|name| !headers.contains_key(*name));
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let parameters = self.required_query.iter().filter(|name| !has(name));
        fields
            .map(|name| Mistake::new(format!("header:{name}"), "This field is required."))
            .chain(
                parameters.map(|name| Mistake::new(format!("query:{name}"), "This parameter is required.")),
            )
            .take(MISTAKES_MAX)
            .collect()
    }

    /// Whether a body may be of this type.
    pub fn takes_type(&self, kind: Option<&str>) -> bool {
        self.content_types.is_empty()
            || kind.is_some_and(|kind| self.content_types.iter().any(|one| fits(one, kind)))
    }
}

/// Whether `image/*` or `application/json` is `kind`, parameters aside.
fn fits(pattern: &str, kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match pattern.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == pattern,
    }
}

/// Whether a type is JSON.
pub fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_have_pointers() {
        let schema = Schema::new(&json!({
            "type": "object", "required": ["name"],
            "properties": {"items": {"type": "array", "items": {"type": "integer"}}, "mail": {"format": "email"}}
        }))
        .unwrap();
        assert_eq!(schema.check(br#"{"name": 1, "items": [1, 2]}"#), Ok(()));
        let mistakes = schema.check(br#"{"items": [1, "secret"]}"#).unwrap_err();
        let pointers: Vec<&str> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
        assert!(pointers.contains(&"#") && pointers.contains(&"#/items/1"), "{mistakes:?}");
        assert!(!format!("{mistakes:?}").contains("secret"), "what was sent is not repeated");
        assert!(schema.check(b"{").unwrap_err()[0].detail.contains("no JSON"));
    }

    #[test]
    fn hostile_bodies_and_schemas_cost_little() {
        let schema = Schema::new(&json!({"items": {"type": "string", "pattern": "^(a+)+$"}})).unwrap();
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert_eq!(schema.check(&deep).unwrap_err().len(), 1);
        let many = format!("[{}1]", "1,".repeat(100_000));
        assert_eq!(schema.check(many.as_bytes()).unwrap_err().len(), 1);
        let few = format!("[{}1]", "1,".repeat(1000));
        assert_eq!(schema.check(few.as_bytes()).unwrap_err().len(), MISTAKES_MAX);
        // Backtracking would not finish.
        let text = serde_json::to_vec(&json!([format!("{}!", "a".repeat(50_000))])).unwrap();
        assert!(schema.check(&text).is_err());
        for wrong in [
            json!({"type": 1}),
            json!({"pattern": "("}),
            json!({"pattern": "(a{1000}){1000}"}),
            json!({"pattern": "(?=a)"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
        ] {
            assert!(Schema::new(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_and_missing_parts() {
        let config = ValidateConfig {
            content_types: vec!["application/json".into(), "image/*".into()],
            required_headers: vec!["x-id".into()],
            required_query: vec!["page".into()],
            ..ValidateConfig::default()
        };
        let rules = Rules::new(&config, None, None).unwrap();
        for (kind, taken) in
            [("Application/JSON; charset=utf-8", true), ("image/png", true), ("text/html", false)]
        {
            assert_eq!(rules.takes_type(Some(kind)), taken, "{kind}");
        }
        assert!(!rules.takes_type(None));
        assert_eq!(rules.missing("pages=1", &http::HeaderMap::new()).len(), 2);
        assert_eq!(
            rules
                .missing(
                    "a&page",
                    &[(HeaderName::from_static("x-id"), http::HeaderValue::from_static("1"))]
                        .into_iter()
                        .collect()
                )
                .len(),
            0
        );
    }
}
