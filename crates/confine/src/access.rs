//! Landlock: no file, no TCP port, no abstract socket and no signal beyond the process.

use crate::{InForce, Measure};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetError, RulesetStatus, Scope,
};

/// The newest ABI asked for; the crate steps down to what the kernel knows.
const NEWEST: ABI = ABI::V9;

/// Denies all that Landlock can deny, for this thread and those it starts.
pub(crate) fn deny_all(in_force: &mut InForce) {
    match restrict() {
        Ok(Some(abi)) => in_force.add(Measure::Landlock { abi }),
        Ok(None) => in_force.lacks("landlock", "the kernel does not offer it"),
        Err(e) => in_force.lacks("landlock", e),
    }
}

fn restrict() -> Result<Option<u8>, RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi as u8),
        _ => None,
    })
}
