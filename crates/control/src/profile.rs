//! CPU profiles of live workers, in terms of their original sources.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use selvedge_engine::InspectError;
use selvedge_model::{AccountId, ScriptName, VersionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{Control, PROFILES_MAX};
use crate::error::ApiError;
use crate::extract::{JsonBody, Params};
use crate::stack::ArtifactMaps;

/// Longest profile, seconds.
const SECONDS_MAX: u64 = 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProfile {
    #[serde(default = "seconds_default")]
    seconds: u64,
    #[serde(default)]
    version: Option<VersionId>,
}

fn seconds_default() -> u64 {
    5
}

pub(crate) async fn create(
    State(control): State<Control>,
    Params((account, script)): Params<(AccountId, ScriptName)>,
    JsonBody(NewProfile { seconds, version }): JsonBody<NewProfile>,
) -> Result<Json<Value>, ApiError> {
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let message = format!("seconds must be between 1 and {SECONDS_MAX}");
        return Err(ApiError::bad("invalid_request", message));
    }
    let worker = control.deployed_worker(&account, &script, version.as_ref()).await?;
    let _place = control.profiles().clone().try_acquire_owned().map_err(|_| {
        let message = format!("{PROFILES_MAX} profiles are being taken; wait for one to end");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_profiles", message)
    })?;
    let profile = control.sandbox().profile(worker.clone(), Duration::from_secs(seconds)).await;
    let mut profile = profile.map_err(|error| {
        let code = match error {
            InspectError::Busy => "profile_busy",
            InspectError::Lost => "profile_lost",
            InspectError::Engine(_) => "sandbox_unavailable",
        };
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
    })?;
    let mapping = control.clone();
    let digest = worker.digest.clone();
    let profile = control.read(move |records| {
        let maps = mapping.maps().of(&records.artifacts, &digest)?;
        map_profile(&mut profile, &maps);
        Ok(profile)
    });
    Ok(Json(json!({ "version": worker.version, "profile": profile.await? })))
}

/// Puts original places into the nodes of a profile. Which lines inside of a function were hit is left out there: the
/// generated line does not say which original one.
fn map_profile(profile: &mut Value, maps: &ArtifactMaps) {
    let nodes = profile.get_mut("nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten() {
        let Some(node) = node.as_object_mut() else { continue };
        let Some(frame) = node.get_mut("callFrame") else { continue };
        let number = |name: &str| frame[name].as_i64().and_then(|number| u32::try_from(number).ok());
        let (Some(line), Some(column)) = (number("lineNumber"), number("columnNumber")) else { continue };
        let place = frame["url"].as_str().and_then(|url| maps.lookup((url, line + 1, column + 1)));
        let Some(place) = place else { continue };
        let (source, line, column) = (place.source.to_owned(), place.line - 1, place.column - 1);
        frame["url"] = source.into();
        frame["lineNumber"] = line.into();
        frame["columnNumber"] = column.into();
        node.remove("positionTicks");
    }
}

#[cfg(test)]
mod tests {
    use selvedge_model::{Artifact, Module, ModuleKind};

    use super::*;

    #[test]
    fn nodes_are_mapped_and_strange_ones_stay() {
        let map = r#"{"version":3,"sources":["src/a.ts"],"sourcesContent":[""],"mappings":"AAAA;AACE"}"#;
        let module = |name: &str, kind, content: &str| Module {
            name: name.into(),
            kind,
            content: content.as_bytes().to_vec(),
        };
        let modules =
            vec![module("main.js", ModuleKind::Esm, ""), module("main.js.map", ModuleKind::SourceMap, map)];
        let maps = ArtifactMaps::new(&Artifact::new("main.js", modules).unwrap());
        let mut profile = json!({ "nodes": [
            { "id": 1, "callFrame": { "functionName": "(root)", "url": "", "lineNumber": -1, "columnNumber": -1 } },
            { "id": 2, "positionTicks": [], "callFrame": { "url": "file:///main.js", "lineNumber": 1, "columnNumber": 4 } },
            { "id": 3, "callFrame": { "url": 7, "lineNumber": 1e99, "columnNumber": 4 } },
            4,
        ] });
        let before = profile.clone();
        map_profile(&mut profile, &maps);
        assert_eq!(
            profile["nodes"][1],
            json!({ "id": 2, "callFrame": { "url": "src/a.ts", "lineNumber": 1, "columnNumber": 2 } })
        );
        for strange in [0, 2, 3] {
            assert_eq!(profile["nodes"][strange], before["nodes"][strange]);
        }
        map_profile(&mut json!("no profile"), &maps);
    }
}
