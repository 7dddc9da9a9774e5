//! A real OpenID provider (npm's oidc-provider), and an edge whose site has people log in there.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test crate uses its part of the helpers")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use selvedge_auth::oidc::OidcConfig;

use crate::support::{Server, start_sites};

pub const KEY: &str = "a session key of thirty-two bytes";

/// A provider in a process of its own.
pub struct Provider {
    child: Child,
    pub issuer: String,
}

impl Provider {
    pub fn start() -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        static INSTALL: std::sync::Once = std::sync::Once::new();
        INSTALL.call_once(|| {
            if !dir.join("node_modules/oidc-provider").exists() {
                let status = Command::new("npm")
                    .args(["ci", "--ignore-scripts", "--no-audit"])
                    .current_dir(&dir)
                    .status();
                assert!(status.unwrap().success());
            }
        });
        let mut child = Command::new("node")
            .args(["provider.mjs", "http://app.example"])
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut issuer).unwrap();
        Self { child, issuer: issuer.trim().to_owned() }
    }

    pub fn edge(&self, more: &str) -> Server {
        start_sites(&format!(
            r#"
[middleware.login.oidc]
issuer = "{}"
client_id = "app"
client_secret = "secret of app, & more: %"
scopes = ["openid", "offline_access", "profile"]
session_keys = ["{KEY}"]
after_logout = "/bye"
forward = {{ x-user = "sub", x-name = "name", x-groups = "roles" }}
{more}

[middleware.admins.roles]
require = {{ roles = ["admin"] }}

[[sites]]
hosts = ["app.example"]
use = ["login"]
[[sites.routes]]
path = "/*"
respond = {{ body = "{{header.x-user}}|{{header.x-groups}}|{{header.cookie}}" }}
[[sites.routes]]
path = "/admin"
use = ["admins"]
respond = {{ body = "admin" }}
"#,
            self.issuer
        ))
    }

    pub fn config(&self) -> OidcConfig {
        OidcConfig {
            issuer: self.issuer.clone(),
            client_id: "app".into(),
            client_secret: Some("secret of app, & more: %".into()),
            session_keys: vec![KEY.into()],
            ..OidcConfig::default()
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
