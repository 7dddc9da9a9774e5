//! What `to` names: how to reach a server, before its name is looked up.

use std::path::PathBuf;

use http::Uri;

/// A server's address as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) place: Place,
    /// As in `Host`: the name, and the port unless it is the scheme's own.
    pub(crate) authority: String,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// TLS, and in it whatever both sides know.
    Https,
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name or an address, without brackets.
    Host { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Reads `http://…`, `https://…`, `h2c://…`, `unix:/…`. The error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sun_path, with its final zero.
            return match path.starts_with('/') && path.len() < 108 {
                true => Ok(Self {
                    scheme: Scheme::Http,
                    place: Place::Unix(path.into()),
                    authority: "localhost".into(),
                }),
                false => Err(format!("{text:?} must be unix: and an absolute path of at most 107 bytes")),
            };
        }
        let form = || {
            format!(
                "{text:?} is not of the form http://host:port, https://host, h2c://host:port or unix:/path"
            )
        };
        let uri: Uri = text.parse().map_err(|_| form())?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("h2c") => (Scheme::H2c, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') {
            return Err(format!("{text:?}: a server's address has no user in it"));
        }
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("" | "/")) {
            return Err(format!("{text:?}: leave the path out; `rewrite` and `strip_prefix` change paths"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => port,
            rest => {
                let port = rest.and_then(|rest| rest.strip_prefix(':')).and_then(|port| port.parse().ok());
                port.filter(|port| *port > 0).ok_or_else(form)?
            }
        };
        if host.is_empty() {
            return Err(form());
        }
        Ok(Self { scheme, place: Place::Host { host, port }, authority: authority.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let target = Target::parse("http://127.0.0.1:3000").unwrap();
        assert_eq!(target.place, Place::Host { host: "127.0.0.1".into(), port: 3000 });
        assert_eq!((target.scheme, &*target.authority), (Scheme::Http, "127.0.0.1:3000"));
        let target = Target::parse("https://[::1]/").unwrap();
        assert_eq!(target.place, Place::Host { host: "::1".into(), port: 443 });
        assert_eq!(Target::parse("unix:/run/a.sock").unwrap().place, Place::Unix("/run/a.sock".into()));
        for bad in [
            "",
            "a",
            "a:1",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "unix:a",
            "http://a:0",
            "http://a:99999",
            "http://a:",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
