//! Memory and processor time of a process, read from `/proc`.
//!
//! Where no control group is writable the engine polls this and kills a host that is over its memory bound. What
//! a host allocates between two polls goes unseen, so the interval bounds how far it can overshoot.

use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory that goes away with the process, bytes: anonymous and shared memory. Pages of mapped files are
    /// not in it: they are the page cache's, the same for all hosts, and how many are mapped is the kernel's choice.
    pub memory_bytes: u64,
    /// Processor time of all threads so far, user and system, in milliseconds.
    pub cpu_ms: u64,
}

/// Reads what the process `pid` uses.
///
/// # Errors
/// `NotFound` once the process is gone and waited for; `InvalidData` when the kernel's text is not understood.
pub fn read(pid: u32) -> io::Result<Usage> {
    let ticks = rustix::param::clock_ticks_per_second();
    let mut buffer = [0u8; 4096];
    // One kernel-made line of about 50 numbers.
    let cpu_ms = cpu_ms(fill(&mut buffer, &format!("/proc/{pid}/stat"))?, ticks);
    let memory_bytes = memory_bytes(fill(&mut buffer, &format!("/proc/{pid}/status"))?);
    let usage = memory_bytes.zip(cpu_ms).map(|(memory_bytes, cpu_ms)| Usage { memory_bytes, cpu_ms });
    usage.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The beginning of a file, as much as the buffer holds.
fn fill<'a>(buffer: &'a mut [u8], path: &str) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    let mut file = File::open(path)?;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(&buffer[..filled])
}

fn cpu_ms(line: &[u8], ticks_per_second: u64) -> Option<u64> {
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
    // Counted from the third field: user time is the 14th, system time the 15th.
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)?.checked_mul(1000)?.checked_div(ticks_per_second)
}

/// Lines such as `RssAnon:      2492 kB`; the process's own name, on a line of its own, has no line break in it.
fn memory_bytes(status: &[u8]) -> Option<u64> {
    let kilobytes = |key: &str| {
        let lines = status.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let value = lines.filter_map(|line| line.strip_prefix(key)).next_back()?;
        u64::from_str(value.strip_prefix(':')?.trim().strip_suffix(" kB")?).ok()
    };
    kilobytes("RssAnon")?.checked_add(kilobytes("RssShmem")?)?.checked_mul(1024)
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
            assert_eq!(cpu_ms(line.as_bytes(), 100), Some(2000));
            let status = format!(
                "Name:\t{name}\nVmRSS:\t  900 kB\nRssAnon:\t     200 kB\nRssFile:\t     600 kB\nRssShmem:\t     100 kB\nVmData:\t 5 kB\n"
            );
            assert_eq!(memory_bytes(status.as_bytes()), Some(300 << 10));
        }
    }

    #[test]
    fn cut_off_or_absurd_lines_are_no_usage() {
        let line = format!("42 (node) {TAIL}");
        for end in 0..line.find(" 50").unwrap() {
            assert_eq!(cpu_ms(&line.as_bytes()[..end], 100), None);
        }
        assert_eq!(cpu_ms(line.replace(" 150 ", " 18446744073709551615 ").as_bytes(), 100), None);
        assert_eq!(cpu_ms(line.as_bytes(), 0), None);
        let status = "RssAnon:\t200 kB\nRssShmem:\t100 kB\n";
        for end in 0..status.len() - 1 {
            assert_eq!(memory_bytes(&status.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(memory_bytes(status.replace("200", "18446744073709551615").as_bytes()), None);
    }

    #[test]
    fn counts_what_a_process_takes_and_not_what_it_maps() {
        let before = read(std::process::id()).unwrap().memory_bytes;
        assert!(before > 50_000);
        let taken = vec![1u8; 64 << 20];
        let after = read(std::process::id()).unwrap().memory_bytes;
        assert!(after >= before + (60 << 20), "{before} {after} {}", taken[5]);
    }

    #[test]
    fn a_gone_process_is_not_found() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(read(child.id()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
