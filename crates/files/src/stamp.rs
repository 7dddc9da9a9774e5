//! What tells one state of a file from another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use http::HeaderValue;
use rustix::fs::Stat;

/// Clocks of file systems tick coarsely: a file changed so recently may change again without its times showing it.
const UNSETTLED: Duration = Duration::from_secs(2);

/// A state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Nanoseconds since the epoch.
    pub(crate) modified: i128,
    changed: i128,
}

impl Stamp {
    #[allow(clippy::unnecessary_cast, reason = "the types of these fields differ between machines")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size.max(0) as u64,
            modified: nanoseconds(stat.st_mtime as i128, stat.st_mtime_nsec as i128),
            changed: nanoseconds(stat.st_ctime as i128, stat.st_ctime_nsec as i128),
        }
    }

    /// The state will not change without the times showing it.
    pub(crate) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = self.changed.max(self.modified);
        changed + (UNSETTLED.as_nanos() as i128) < now.as_nanos() as i128
    }

    /// Whole seconds since the epoch, as HTTP's dates have them.
    pub(crate) fn modified_s(&self) -> u64 {
        u64::try_from(self.modified.div_euclid(1_000_000_000)).unwrap_or(0)
    }

    /// For `Last-Modified`.
    pub(crate) fn last_modified(&self) -> HeaderValue {
        // Dates of HTTP end with the year 9999.
        let seconds = self.modified_s().min(253_402_300_799);
        let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// A strong entity tag. A digest, since numbers of inodes are nobody's business.
    pub(crate) fn tag(&self) -> HeaderValue {
        let text = format!("{} {} {} {}", self.device, self.inode, self.size, self.modified);
        tag(text.as_bytes())
    }
}

/// The entity tag of contents; the same on every server that has them.
pub(crate) fn content_tag(contents: &[u8]) -> HeaderValue {
    tag(contents)
}

fn tag(of: &[u8]) -> HeaderValue {
    let digest = digest::digest(&digest::SHA256, of);
    let mut text = String::with_capacity(34);
    text.push('"');
    for byte in &digest.as_ref()[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('"');
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

fn nanoseconds(seconds: i128, rest: i128) -> i128 {
    seconds * 1_000_000_000 + rest
}
