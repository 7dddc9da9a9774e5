//! Settings of HTTP/2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an HTTP/2 connection may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Config {
    /// Requests at a time.
    pub max_streams: u32,
    /// Bytes of one request's body that may be on their way or wait for their reader, for a client that sends faster than
    /// 64 KiB a round trip. At least 65535.
    pub max_stream_window: u32,
    /// The same for all bodies of a connection together.
    pub connection_window: u32,
    /// Points that a client may collect with what costs the server more than the client: resets, refused streams, broken
    /// frames, pings, settings, empty frames. They wear off with time and with answers that are taken. One more ends the
    /// connection with ENHANCE_YOUR_CALM. 0 counts without ending any.
    pub glitch_budget: u32,
    /// Between pings to a quiet client, milliseconds; 0 sends none.
    pub ping_interval_ms: u64,
    /// For the answer to a ping, milliseconds.
    pub ping_timeout_ms: u64,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            max_streams: 128,
            max_stream_window: 1 << 20,
            connection_window: 2 << 20,
            glitch_budget: 1000,
            ping_interval_ms: 30_000,
            ping_timeout_ms: 10_000,
        }
    }
}

impl Http2Config {
    /// What is wrong with these settings, in words.
    pub fn problem(&self) -> Option<&'static str> {
        let windows = 65_535..=0x7fff_ffff;
        if self.max_streams == 0 {
            return Some("http2.max_streams must be at least 1");
        }
        if !windows.contains(&self.max_stream_window) || !windows.contains(&self.connection_window) {
            return Some(
                "http2.max_stream_window and http2.connection_window must be between 65535 and 2147483647",
            );
        }
        if self.ping_interval_ms > 0 && self.ping_timeout_ms == 0 {
            return Some("http2.ping_timeout_ms must be at least 1");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused() {
        assert_eq!(Http2Config::default().problem(), None);
        for bad in [
            Http2Config { max_streams: 0, ..Default::default() },
            Http2Config { max_stream_window: 65_534, ..Default::default() },
            Http2Config { connection_window: 1 << 31, ..Default::default() },
            Http2Config { ping_timeout_ms: 0, ..Default::default() },
        ] {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }
}
