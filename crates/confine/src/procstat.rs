//! Memory and processor time of a process, read from `/proc`.
//!
//! Where no control group is writable the engine polls this and kills a host that is over its memory bound. What
//! a host allocates between two polls goes unseen, so the interval bounds how far it can overshoot.

use std::fs::File;
use std::io::{self, Read};

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes; pages shared with other processes count in full.
    pub rss_bytes: u64,
    /// Processor time of all threads so far, user and system, in milliseconds.
    pub cpu_ms: u64,
}

/// Reads what the process `pid` uses.
///
/// # Errors
/// `NotFound` once the process is gone and waited for; `InvalidData` when the kernel's text is not understood.
pub fn read(pid: u32) -> io::Result<Usage> {
    // One kernel-made line of about 50 numbers.
    let mut line = [0u8; 2048];
    let mut filled = 0;
    let mut file = File::open(format!("/proc/{pid}/stat"))?;
    while filled < line.len() {
        match file.read(&mut line[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    let page = rustix::param::page_size() as u64;
    let ticks = rustix::param::clock_ticks_per_second();
    parse(&line[..filled], page, ticks).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(line: &[u8], page_bytes: u64, ticks_per_second: u64) -> Option<Usage> {
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
    // Counted from the third field: user time is the 14th, system time the 15th, resident pages the 24th.
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let pages: u64 = fields.nth(8)?.parse().ok()?;
    Some(Usage {
        rss_bytes: pages.checked_mul(page_bytes)?,
        cpu_ms: user.checked_add(system)?.checked_mul(1000)?.checked_div(ticks_per_second)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str =
        "S 1 2 3 0 -1 4194304 5 6 7 8 150 50 9 10 20 0 4 0 12345 999999 300 18446744073709551615 1";

    #[test]
    fn reads_around_a_hostile_name() {
        for name in ["node", "a) b (c", ") S 1 2 3 0 -1 1 1 1 1 1 7 7"] {
            let line = format!("42 ({name}) {TAIL}");
            assert_eq!(
                parse(line.as_bytes(), 4096, 100),
                Some(Usage { rss_bytes: 300 * 4096, cpu_ms: 2000 })
            );
        }
    }

    #[test]
    fn cut_off_or_absurd_lines_are_no_usage() {
        let line = format!("42 (node) {TAIL}");
        for end in 0..line.find(" 300").unwrap() {
            assert_eq!(parse(&line.as_bytes()[..end], 4096, 100), None);
        }
        assert_eq!(parse(line.replace(" 300 ", " 18446744073709551615 ").as_bytes(), 4096, 100), None);
        assert_eq!(parse(line.as_bytes(), 4096, 0), None);
    }

    #[test]
    fn own_use_is_plausible_and_a_gone_process_is_not_found() {
        let own = read(std::process::id()).unwrap();
        assert!(own.rss_bytes > 100_000);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(read(child.id()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
