//! Modules that the runtime provides: a worker imports them without deploying them.

/// Their specifiers. `runtime/src/worker/builtins.ts` says what gives their exports. Those of Node need a
/// compatibility flag, see [`crate::compatibility`].
pub const MODULES: &[&str] = &[
    "cloudflare:sockets",
    "cloudflare:workers",
    "node:assert",
    "node:assert/strict",
    "node:async_hooks",
    "node:buffer",
    "node:console",
    "node:constants",
    "node:crypto",
    "node:diagnostics_channel",
    "node:events",
    "node:http",
    "node:https",
    "node:module",
    "node:net",
    "node:os",
    "node:path",
    "node:path/posix",
    "node:path/win32",
    "node:perf_hooks",
    "node:process",
    "node:punycode",
    "node:querystring",
    "node:stream",
    "node:stream/consumers",
    "node:stream/promises",
    "node:stream/web",
    "node:string_decoder",
    "node:sys",
    "node:timers",
    "node:timers/promises",
    "node:tls",
    "node:url",
    "node:util",
    "node:util/types",
    "node:worker_threads",
    "node:zlib",
];

/// Modules of Node that workers do not have, with what to use in their place.
pub const ABSENT: &[(&str, &str)] = &[
    ("child_process", "workers cannot start processes"),
    ("cluster", "the platform runs workers on all processors by itself"),
    ("dgram", "workers cannot send datagrams; use fetch()"),
    ("dns", "fetch() resolves names; for records ask a DNS-over-HTTPS service"),
    ("dns/promises", "fetch() resolves names; for records ask a DNS-over-HTTPS service"),
    ("domain", "use AsyncLocalStorage of node:async_hooks"),
    ("fs", "workers have no files; import them into the bundle, or use fetch()"),
    ("fs/promises", "workers have no files; import them into the bundle, or use fetch()"),
    ("http2", "fetch() speaks HTTP/2 by itself"),
    ("inspector", "workers have no debugger of their own"),
    ("inspector/promises", "workers have no debugger of their own"),
    ("readline", "workers have no terminal"),
    ("readline/promises", "workers have no terminal"),
    ("repl", "workers have no terminal"),
    ("sea", "deploy the worker as it is"),
    ("sqlite", "workers have no files; use a database over HTTP"),
    ("test", "run tests outside of workers"),
    ("trace_events", "use console.log() and `selvedge tail`"),
    ("tty", "workers have no terminal"),
    ("v8", "use structuredClone() to copy values"),
    ("vm", "code is what was deployed; workers cannot compile text"),
    ("wasi", "import the .wasm module and give it its imports"),
];

/// Whether the runtime provides this module, if only with a flag.
pub fn is_provided(specifier: &str) -> bool {
    MODULES.contains(&specifier)
}

/// The full name of a module of Node that the runtime provides: `node:events` for `events` and `events/`, too.
pub fn canonical(specifier: &str) -> Option<&'static str> {
    let bare = bare(specifier);
    MODULES.iter().copied().find(|name| name.strip_prefix("node:") == Some(bare))
}

/// What to use in place of a module of Node that workers do not have.
pub fn instead(specifier: &str) -> Option<&'static str> {
    let bare = bare(specifier);
    ABSENT.iter().find(|(name, _)| *name == bare).map(|(_, instead)| *instead)
}

fn bare(specifier: &str) -> &str {
    let bare = specifier.strip_prefix("node:").unwrap_or(specifier);
    // Packages write `events/` to mean the one in node_modules, which is a copy of Node's.
    bare.strip_suffix('/').unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_node_come_in_three_forms() {
        for name in ["node:events", "events", "events/"] {
            assert_eq!(canonical(name), Some("node:events"));
        }
        assert_eq!(canonical("path/posix"), Some("node:path/posix"));
        assert_eq!(canonical("event"), None);
        assert!(
            instead("fs").is_some() && instead("node:fs/promises").is_some() && instead("path").is_none()
        );
    }

    #[test]
    fn a_module_is_there_or_not() {
        for (name, _) in ABSENT {
            assert!(canonical(name).is_none(), "{name}");
        }
    }
}
