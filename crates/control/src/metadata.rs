//! What an upload says about its modules.

use std::fmt;

use selvedge_model::assets::Assets;
use selvedge_model::compatibility;
use selvedge_model::{Binding, BindingValue, Egress, Isolation, Limits, RoutePattern, ScriptName};
use selvedge_store::version::BINDINGS_MAX;
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;
use crate::json;

/// Longest value of a binding, bytes.
const TEXT_BYTES_MAX: usize = 128 << 10;
/// Longest name of a binding, bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest props of a service binding as JSON, bytes.
const PROPS_BYTES_MAX: usize = 64 << 10;
/// Longest message, bytes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Compatibility flags of one version, and the longest one, bytes.
const FLAGS_MAX: usize = 64;
/// Routes of one script.
const ROUTES_MAX: usize = 256;
/// Cron expressions of one script.
const CRONS_MAX: usize = 250;

/// The `metadata` part of an upload, checked by [`Metadata::parse`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    /// `body_part` where it is a script in the syntax of service workers.
    #[serde(alias = "body_part")]
    pub(crate) main_module: String,
    #[serde(default)]
    bindings: Vec<BindingSpec>,
    #[serde(default)]
    keep_bindings: Vec<BindingKind>,
    #[serde(default)]
    pub(crate) compatibility_date: String,
    #[serde(default)]
    pub(crate) compatibility_flags: Vec<String>,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) isolation: Isolation,
    #[serde(default)]
    pub(crate) egress: Egress,
    #[serde(default)]
    pub(crate) routes: Option<Vec<RoutePattern>>,
    #[serde(default)]
    pub(crate) assets: Option<Assets>,
    #[serde(default)]
    pub(crate) crons: Vec<String>,
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingSpec {
    name: String,
    #[serde(rename = "type")]
    kind: BindingKind,
    #[serde(default)]
    text: Option<Sensitive>,
    #[serde(default)]
    service: Option<ScriptName>,
    #[serde(default)]
    entrypoint: Option<String>,
    #[serde(default)]
    props: Option<serde_json::Map<String, serde_json::Value>>,
}

impl BindingSpec {
    /// Whether it has what its kind needs, and nothing else.
    fn check(&self) -> Result<(), ApiError> {
        check_name(&self.name)?;
        let name = &self.name;
        if self.kind == BindingKind::Assets {
            let bare = self.text.is_none() && self.service.is_none() && self.entrypoint.is_none();
            return if bare {
                Ok(())
            } else {
                Err(invalid(format!("bindings: {name:?} takes nothing but a name")))
            };
        }
        if self.kind != BindingKind::Service {
            if self.service.is_some() || self.entrypoint.is_some() || self.props.is_some() {
                return Err(invalid(format!("bindings: {name:?} is no service binding")));
            }
            let text = self.text.as_ref();
            let text = text.ok_or_else(|| invalid(format!("bindings: {name:?} has no `text`")))?;
            check_text(name, text)?;
            if self.kind == BindingKind::Json
                && serde_json::from_str::<serde::de::IgnoredAny>(&text.0).is_err()
            {
                return Err(invalid(format!("bindings: the text of {name:?} is not JSON")));
            }
            return Ok(());
        }
        if self.text.is_some() || self.service.is_none() {
            return Err(invalid(format!(
                "bindings: {name:?} must have `service`, the name of a worker, and no `text`"
            )));
        }
        if let Some(entrypoint) = &self.entrypoint {
            check_name(entrypoint)?;
        }
        if self.props.as_ref().is_some_and(|props| json_text(props).len() > PROPS_BYTES_MAX) {
            return Err(ApiError::too_large(format!(
                "the props of {name:?} are larger than {PROPS_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    /// Its value, once it is checked.
    fn value(self) -> BindingValue {
        let text = self.text.map(|text| text.0).unwrap_or_default();
        match (self.kind, self.service) {
            (BindingKind::Assets, _) => BindingValue::Assets,
            (BindingKind::Json, _) => BindingValue::Json { text },
            (BindingKind::SecretText, _) => BindingValue::SecretText { text },
            (BindingKind::Service, Some(service)) => BindingValue::Service {
                service,
                entrypoint: self.entrypoint.filter(|name| name != "default"),
                props: self.props.as_ref().map(json_text),
            },
            (BindingKind::PlainText | BindingKind::Service, _) => BindingValue::PlainText { text },
        }
    }
}

fn json_text(props: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::to_string(props).expect("a map of JSON is JSON")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BindingKind {
    PlainText,
    Json,
    SecretText,
    Service,
    Assets,
}

impl BindingKind {
    fn of(value: &BindingValue) -> Self {
        match value {
            BindingValue::PlainText { .. } => Self::PlainText,
            BindingValue::Json { .. } => Self::Json,
            BindingValue::SecretText { .. } => Self::SecretText,
            BindingValue::Service { .. } => Self::Service,
            BindingValue::Assets => Self::Assets,
        }
    }
}

/// A string that may be a secret: errors and `Debug` never show it.
pub(crate) struct Sensitive(pub(crate) String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(…)")
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own error would quote a number or boolean given in place of the string.
        match serde_json::Value::deserialize(deserializer) {
            Ok(serde_json::Value::String(text)) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("`text` must be a string")),
        }
    }
}

impl Metadata {
    /// Reads and checks the part.
    pub(crate) fn parse(bytes: &[u8], limits_max: &Limits) -> Result<Self, ApiError> {
        let metadata: Self = json::object(bytes).map_err(invalid)?;
        metadata.bindings.iter().try_for_each(BindingSpec::check)?;
        check_compatibility(&metadata.compatibility_date, &metadata.compatibility_flags)?;
        check_limits(&metadata.limits, limits_max)?;
        check_egress(&metadata.egress)?;
        check_crons(&metadata.crons)?;
        check_message(&metadata.message)?;
        check_routes(metadata.routes.as_deref().unwrap_or_default())?;
        Ok(metadata)
    }

    /// The new version's bindings: those given, then the kept kinds and all secrets of `base` that were not
    /// given anew. Sorted by name.
    pub(crate) fn merge_bindings(&mut self, base: Vec<Binding>) -> Result<Vec<Binding>, ApiError> {
        let mut bindings: Vec<Binding> = Vec::new();
        for spec in self.bindings.drain(..) {
            let name = spec.name.clone();
            let value = spec.value();
            if bindings.iter().any(|binding| binding.name == name) {
                return Err(invalid(format!("bindings: {name:?} appears twice")));
            }
            bindings.push(Binding { name, value });
            if bindings.len() > BINDINGS_MAX {
                return Err(invalid(format!("bindings: more than {BINDINGS_MAX}")));
            }
        }
        let given = bindings.len();
        for binding in base {
            let kind = BindingKind::of(&binding.value);
            let kept = kind == BindingKind::SecretText || self.keep_bindings.contains(&kind);
            if kept && !bindings[..given].iter().any(|new| new.name == binding.name) {
                bindings.push(binding);
            }
        }
        if bindings.len() > BINDINGS_MAX {
            return Err(invalid(format!("bindings: more than {BINDINGS_MAX} with those carried over")));
        }
        bindings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(bindings)
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::bad("invalid_metadata", format!("the metadata is not valid: {message}"))
}

/// Whether a binding may have this name: an ASCII identifier of JavaScript.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$';
    let good = name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        && name.bytes().all(word);
    if good {
        return Ok(());
    }
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(ApiError::bad(
        "invalid_binding_name",
        format!(
            "binding name {name:?} must be 1-{NAME_BYTES_MAX} characters of A-Z, a-z, 0-9, '_' and '$', not starting with a digit"
        ),
    ))
}

/// Whether the value of binding `name` is short enough.
pub(crate) fn check_text(name: &str, text: &Sensitive) -> Result<(), ApiError> {
    if text.0.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(ApiError::too_large(format!("the value of {name:?} is longer than {TEXT_BYTES_MAX} bytes")))
}

/// Whether a version's or deployment's message is short enough.
pub(crate) fn check_message(message: &str) -> Result<(), ApiError> {
    if message.len() <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    Err(ApiError::bad("invalid_request", format!("the message is longer than {MESSAGE_BYTES_MAX} bytes")))
}

/// Whether a script may have so many routes.
pub(crate) fn check_routes(routes: &[RoutePattern]) -> Result<(), ApiError> {
    if routes.len() <= ROUTES_MAX {
        return Ok(());
    }
    Err(ApiError::bad("invalid_request", format!("a script has at most {ROUTES_MAX} routes")))
}

fn check_compatibility(date: &str, flags: &[String]) -> Result<(), ApiError> {
    if !date.is_empty() && !compatibility::is_date(date) {
        return Err(invalid("compatibility_date: must be a day, YYYY-MM-DD".into()));
    }
    let word = |flag: &String| {
        (1..=FLAGS_MAX).contains(&flag.len())
            && flag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if flags.len() > FLAGS_MAX || !flags.iter().all(word) {
        return Err(invalid(format!(
            "compatibility_flags: at most {FLAGS_MAX} words of a-z, 0-9 and '_' are allowed"
        )));
    }
    Ok(())
}

fn check_crons(crons: &[String]) -> Result<(), ApiError> {
    if crons.len() > CRONS_MAX {
        return Err(invalid(format!("crons: at most {CRONS_MAX}")));
    }
    let read = |cron: &String| selvedge_engine::schedule::parse(cron).map(drop);
    crons.iter().try_for_each(read).map_err(|error| invalid(format!("crons: {error}")))
}

fn check_egress(egress: &Egress) -> Result<(), ApiError> {
    let most = selvedge_model::egress::PATTERNS_MAX;
    if egress.allow.len() <= most && egress.deny.len() <= most {
        return Ok(());
    }
    Err(invalid(format!("egress: at most {most} hosts can be allowed, and as many denied")))
}

fn check_limits(limits: &Limits, max: &Limits) -> Result<(), ApiError> {
    // A worker without memory, time or a turn can never answer; without the rest it may.
    let fields = [
        ("memory_mb", u64::from(limits.memory_mb), 8, u64::from(max.memory_mb)),
        ("wall_ms", u64::from(limits.wall_ms), 1, u64::from(max.wall_ms)),
        ("cpu_ms", u64::from(limits.cpu_ms), 1, u64::from(max.cpu_ms)),
        ("cpu_burst_ms", u64::from(limits.cpu_burst_ms), 1, u64::from(max.cpu_burst_ms)),
        ("body_bytes", limits.body_bytes, 0, max.body_bytes),
        ("subrequests", u64::from(limits.subrequests), 0, u64::from(max.subrequests)),
        ("concurrency", u64::from(limits.concurrency), 1, u64::from(max.concurrency)),
        ("queue", u64::from(limits.queue), 0, u64::from(max.queue)),
    ];
    for (name, value, min, max) in fields {
        if !(min..=max).contains(&value) {
            return Err(invalid(format!("limits.{name}: {value} is not between {min} and {max}")));
        }
    }
    Ok(())
}
