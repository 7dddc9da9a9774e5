//! What a process and all its descendants have used, from /proc.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time and memory of a tree of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, each shared page divided by the number of processes that map it, bytes.
    pub(crate) proportional: u64,
    /// Resident in this tree alone, bytes.
    pub(crate) private: u64,
}

/// One line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, its own and that of children that ended, ticks.
    ticks: u64,
}

/// The process and its descendants, parents first.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// User and system time of the tree so far, children that ended included.
pub(crate) fn cpu_time(root: u32) -> Result<Duration> {
    Ok(tree(root)?.into_iter().map(own_cpu_time).sum())
}

/// User and system time of one process and its ended children; zero when it has ended itself.
pub(crate) fn own_cpu_time(pid: u32) -> Duration {
    let ticks = stat(pid).map_or(0, |stat| stat.ticks);
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of the processes; those that ended count for nothing.
pub(crate) fn memory(processes: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in processes {
        let one = rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default());
        sum.proportional += one.proportional;
        sum.private += one.private;
    }
    sum
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the name in parentheses, which may hold spaces and parentheses itself.
fn parse_stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    // Numbered as in proc(5): the first here is 3, the state.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = (14..=17).map(field).sum::<Option<u64>>()?;
    Some(Stat { parent: field(4)? as u32, ticks })
}

fn rollup(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(Ok(kib))) = (words.next(), words.next().map(str::parse::<u64>)) else {
            continue;
        };
        match name {
            "Pss:" => memory.proportional += kib * 1024,
            "Private_Clean:" | "Private_Dirty:" => memory.private += kib * 1024,
            _ => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn names_with_parentheses_are_skipped() {
        let line = "12 (a) S b) R 7 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 5";
        assert_eq!(parse_stat(line), Some(Stat { parent: 7, ticks: 127 }));
        assert_eq!(parse_stat("12 (a) R 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn only_the_sums_wanted_are_added() {
        let text = "5-7 ---p 0 [rollup]\nRss: 9 kB\nPss:  3 kB\nPss_Dirty: 2 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 4 kB\n";
        assert_eq!(rollup(text), Memory { proportional: 3 << 10, private: 5 << 10 });
    }

    #[test]
    fn grandchildren_belong_to_the_tree() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo up; read line; true'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let found = tree(shell.id()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(memory(&found).private > 0);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
