//! The `date` of responses, made once a second.

use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// The text of the current second.
#[derive(Debug, Default)]
pub struct DateCache {
    second: Option<u64>,
    text: String,
}

impl DateCache {
    /// A moment in HTTP's format (RFC 9110, section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn text(&mut self, since_epoch: Duration) -> &str {
        let second = since_epoch.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = HttpDate::from(UNIX_EPOCH + Duration::from_secs(second)).to_string();
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_follows_the_second() {
        let mut cache = DateCache::default();
        // The example of RFC 9110, section 5.6.7.
        assert_eq!(cache.text(Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.text(Duration::from_millis(784_111_777_900)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.text(Duration::from_secs(784_111_778)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
