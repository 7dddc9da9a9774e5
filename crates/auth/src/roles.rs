//! Whether somebody may, by their roles and by the scopes of their token or key.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::denial::{Denial, quoted};
use crate::identity::Identity;

/// Lets requests pass whose sender, as an earlier step found out, has roles or scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolesConfig {
    /// What is asked for; without anything, that it is known who it is.
    pub require: Requirement,
    /// What is asked for instead with some methods; the first rule with the method counts.
    pub rules: Vec<Rule>,
}

/// Roles and scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Requirement {
    /// What the sender is.
    pub roles: Vec<String>,
    /// What the token or key may be used for.
    pub scopes: Vec<String>,
    /// How much of it.
    pub of: Quantity,
    /// Everybody passes, also who is not known.
    pub nobody: bool,
}

/// How much of what is listed is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// All roles and all scopes.
    #[default]
    All,
    /// One role or one scope.
    Any,
}

/// What is asked for with some methods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Such as `GET`, which stands for `HEAD`, too.
    pub methods: Vec<String>,
    /// What they need.
    #[serde(default)]
    pub require: Requirement,
}

/// Judges who is known.
#[derive(Debug)]
pub struct Roles {
    rules: Vec<(Vec<Method>, Requirement)>,
    require: Requirement,
}

impl Roles {
    /// Checks the settings. The error is a sentence.
    pub fn new(config: &RolesConfig) -> Result<Self, String> {
        let method = |name: &String| {
            let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b"-_".contains(&b));
            let method = name.parse::<Method>().ok().filter(|_| good);
            method.ok_or_else(|| {
                format!("{name:?} is no method; they are written in capital letters, such as \"GET\"")
            })
        };
        let mut rules = Vec::new();
        for rule in &config.rules {
            let methods = rule.methods.iter().map(method).collect::<Result<Vec<_>, _>>()?;
            if methods.is_empty() {
                return Err("a rule without methods is never used".into());
            }
            rules.push((methods, rule.require.clone()));
        }
        for require in rules.iter().map(|(_, require)| require).chain([&config.require]) {
            if require.nobody && (!require.roles.is_empty() || !require.scopes.is_empty()) {
                return Err(
                    "`nobody = true` lets everybody pass; roles and scopes beside it would say nothing"
                        .into(),
                );
            }
        }
        Ok(Self { rules, require: config.require.clone() })
    }

    /// Whether a request may pass.
    pub fn check(&self, method: &Method, identity: Option<&Identity>) -> Result<(), Denial> {
        let asked = if *method == Method::HEAD { &Method::GET } else { method };
        let fits = |methods: &[Method]| methods.contains(method) || methods.contains(asked);
        let rule = self.rules.iter().find(|(methods, _)| fits(methods));
        let require = rule.map_or(&self.require, |(_, require)| require);
        if require.nobody {
            return Ok(());
        }
        let Some(identity) = identity else {
            let message = "Nobody is known to send this request; a token, key or login is needed.";
            return Err(Denial::unauthorized("identity_required", message).challenge("Bearer"));
        };
        if require.roles.is_empty() && require.scopes.is_empty() {
            return Ok(());
        }
        let role = |role: &String| identity.roles.contains(role);
        let scope = |scope: &String| identity.scopes.contains(scope);
        let (roles, scopes) = match require.of {
            Quantity::All => (require.roles.iter().all(role), require.scopes.iter().all(scope)),
            Quantity::Any => {
                let any = require.roles.iter().any(role) || require.scopes.iter().any(scope);
                (any, any)
            }
        };
        match (roles, scopes) {
            (true, true) => Ok(()),
            (_, false) if !require.scopes.is_empty() => {
                let message = "The token or key lacks a scope that is needed here.";
                let scope = quoted(&require.scopes.join(" "));
                Err(Denial::new(StatusCode::FORBIDDEN, "insufficient_scope", message)
                    .challenge(&format!("Bearer error=\"insufficient_scope\", scope={scope}")))
            }
            _ => {
                let message = "Whoever sends this request lacks a role that is needed here.";
                Err(Denial::new(StatusCode::FORBIDDEN, "insufficient_role", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Roles {
        Roles::new(&serde_json::from_str(text).unwrap()).unwrap()
    }

    fn identity(roles: &[&str], scopes: &[&str]) -> Identity {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Identity { roles: list(roles), scopes: list(scopes), ..Identity::default() }
    }

    fn code(roles: &Roles, method: &Method, identity: Option<&Identity>) -> Result<(), &'static str> {
        roles.check(method, identity).map_err(|denial| denial.code)
    }

    #[test]
    fn all_or_any_is_asked_for() {
        let all = roles(r#"{"require": {"roles": ["a", "b"], "scopes": ["r"]}}"#);
        assert_eq!(code(&all, &Method::GET, Some(&identity(&["b", "a", "c"], &["r"]))), Ok(()));
        assert_eq!(code(&all, &Method::GET, Some(&identity(&["a"], &["r"]))), Err("insufficient_role"));
        assert_eq!(code(&all, &Method::GET, Some(&identity(&["a", "b"], &["R"]))), Err("insufficient_scope"));
        assert_eq!(code(&all, &Method::GET, None), Err("identity_required"));
        let any = roles(r#"{"require": {"roles": ["a", "b"], "scopes": ["r"], "of": "any"}}"#);
        assert_eq!(code(&any, &Method::GET, Some(&identity(&["b"], &[]))), Ok(()));
        assert_eq!(code(&any, &Method::GET, Some(&identity(&[], &["r"]))), Ok(()));
        assert_eq!(code(&any, &Method::GET, Some(&identity(&["r"], &["a"]))), Err("insufficient_scope"));
        assert_eq!(code(&roles("{}"), &Method::GET, Some(&identity(&[], &[]))), Ok(()));
        assert_eq!(code(&roles("{}"), &Method::GET, None), Err("identity_required"));
    }

    #[test]
    fn methods_ask_for_their_own() {
        let roles = roles(
            r#"{"require": {"roles": ["admin"]}, "rules": [
                {"methods": ["GET"], "require": {"nobody": true}},
                {"methods": ["POST", "PUT"], "require": {"scopes": ["write"]}}]}"#,
        );
        let writer = identity(&[], &["write"]);
        assert_eq!(code(&roles, &Method::GET, None), Ok(()));
        assert_eq!(code(&roles, &Method::HEAD, None), Ok(()));
        assert_eq!(code(&roles, &Method::POST, Some(&writer)), Ok(()));
        assert_eq!(code(&roles, &Method::POST, None), Err("identity_required"));
        assert_eq!(code(&roles, &Method::DELETE, Some(&writer)), Err("insufficient_role"));
        assert_eq!(code(&roles, &"get".parse().unwrap(), Some(&writer)), Err("insufficient_role"));
        let denial = roles.check(&Method::POST, Some(&identity(&[], &[]))).unwrap_err();
        assert_eq!(denial.status, 403);
        assert_eq!(denial.challenge.unwrap(), "Bearer error=\"insufficient_scope\", scope=\"write\"");
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        for bad in [
            r#"{"rules": [{"methods": ["get"]}]}"#,
            r#"{"rules": [{"methods": []}]}"#,
            r#"{"require": {"nobody": true, "roles": ["a"]}}"#,
        ] {
            assert!(Roles::new(&serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
