//! The `Cache-Status` field (RFC 9211).

use std::fmt::Write;

/// How this cache names itself.
pub const NAME: &str = "Selvedge";

/// Why a request went on to what answers (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told not to look.
    Bypass,
    /// A method that is not answered from caches.
    Method,
    /// Nothing is stored.
    UriMiss,
    /// Something is stored, for other requests.
    VaryMiss,
    /// The client asked for it.
    Request,
    /// What is stored is stale.
    Stale,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// It was answered with what is stored, so fresh for so long, seconds.
    pub hit: Option<i64>,
    /// It went on.
    pub forward: Option<Forward>,
    /// The status that came back.
    pub forward_status: Option<u16>,
    /// What came back is stored.
    pub stored: bool,
    /// It waited for another request's answer.
    pub collapsed: bool,
    /// Further word of why, a token.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// What it was in a word, for the access log.
    pub fn word(&self) -> &'static str {
        match (self.hit, self.forward, self.forward_status) {
            (Some(ttl), _, _) if ttl < 0 => "stale",
            (Some(_), _, _) => "hit",
            (_, Some(Forward::Bypass | Forward::Method), _) => "bypass",
            _ if self.collapsed => "collapsed",
            (_, Some(Forward::Stale | Forward::Request), Some(304)) => "revalidated",
            (_, Some(Forward::Stale), _) => "expired",
            _ => "miss",
        }
    }

    /// The member of the list.
    pub fn member(&self) -> String {
        let mut out = NAME.to_owned();
        if let Some(ttl) = self.hit {
            // Writing to a string does not fail.
            let _ = write!(out, "; hit; ttl={ttl}");
        }
        if let Some(forward) = self.forward {
            out.push_str(match forward {
                Forward::Bypass => "; fwd=bypass",
                Forward::Method => "; fwd=method",
                Forward::UriMiss => "; fwd=uri-miss",
                Forward::VaryMiss => "; fwd=vary-miss",
                Forward::Request => "; fwd=request",
                Forward::Stale => "; fwd=stale",
            });
        }
        if let Some(status) = self.forward_status {
            let _ = write!(out, "; fwd-status={status}");
        }
        if self.stored {
            out.push_str("; stored");
        }
        if self.collapsed {
            out.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            let _ = write!(out, "; detail={detail}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_written() {
        let hit = CacheStatus { hit: Some(-3), ..CacheStatus::default() };
        assert_eq!(hit.member(), "Selvedge; hit; ttl=-3");
        let miss = CacheStatus {
            forward: Some(Forward::Stale),
            forward_status: Some(304),
            stored: true,
            collapsed: true,
            ..CacheStatus::default()
        };
        assert_eq!(miss.member(), "Selvedge; fwd=stale; fwd-status=304; stored; collapsed");
    }
}
