//! Modules that the runtime provides: a worker imports them without deploying them.

/// Their specifiers. `runtime/src/worker/builtins.ts` says what gives their exports.
pub const MODULES: &[&str] = &["cloudflare:workers"];

/// Whether the runtime provides this module.
pub fn is_provided(specifier: &str) -> bool {
    MODULES.contains(&specifier)
}
