//! Where the control group hierarchies are mounted and which groups this process is in.

use super::Controller;
use std::io;
use std::path::{Path, PathBuf};

/// A mounted hierarchy, with the directory of the group this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    /// The top of what is mounted.
    pub(super) top: PathBuf,
    /// This process's own group; the same as `top` where that is out of sight.
    pub(super) own: PathBuf,
}

/// All mounted hierarchies that matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    pub(super) version_2: Option<Mounted>,
    /// Controllers mounted together appear once each with the same directories.
    pub(super) version_1: Vec<(Controller, Mounted)>,
}

impl Mounts {
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let groups = std::fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &groups))
    }

    /// Reads the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`; lines not understood are left out.
    fn parse(mounts: &str, groups: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            // id parent device root mount-point options [tags] - type source super-options
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            let (&[_, _, _, root, point, ..], &[kind, _, options, ..]) = (&left[..], &right[..]) else {
                continue;
            };
            let (root, point) = (unescape(root), unescape(point));
            match kind {
                "cgroup2" if found.version_2.is_none() => {
                    found.version_2 =
                        Some(Mounted::new(point, &root, group_of(groups, |names| names.is_empty())));
                }
                "cgroup" => {
                    for controller in Controller::ALL {
                        let named = |list: &str| list.split(',').any(|name| name == controller.name());
                        let known = found.version_1.iter().any(|(known, _)| *known == controller);
                        if named(options) && !known {
                            let mounted = Mounted::new(point.clone(), &root, group_of(groups, named));
                            found.version_1.push((controller, mounted));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }
}

impl Mounted {
    fn new(top: PathBuf, root: &Path, group: Option<&str>) -> Self {
        // In a container the mount's root may be the container's own group, and paths then start above it.
        let below = group.and_then(|group| Path::new(group).strip_prefix(root).ok());
        let clean = below
            .filter(|path| path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        let own = clean
            .filter(|path| path.components().next().is_some())
            .map_or(top.clone(), |path| top.join(path));
        Self { top, own }
    }
}

/// The path of this process's group in the hierarchy whose controller list is `wanted`.
fn group_of(groups: &str, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let names = parts.next()?;
        let path = parts.next()?;
        wanted(names).then_some(path)
    })
}

/// The kernel writes space, tab, newline and backslash in paths as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let octal = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                bytes = &rest[3..];
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(top: &str, own: &str) -> Mounted {
        Mounted { top: top.into(), own: own.into() }
    }

    #[test]
    fn finds_a_hybrid_system() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let groups = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n0::/user.slice";
        assert_eq!(
            Mounts::parse(mounts, groups),
            Mounts {
                version_2: Some(mounted("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user.slice")),
                version_1: vec![
                    (Controller::Cpu, mounted("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct")),
                    (Controller::Memory, mounted("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a/b")),
                ],
            }
        );
    }

    #[test]
    fn strips_a_containers_own_group_and_never_climbs() {
        let own = |root: &str, group: &str| {
            let mounts = format!("1 2 0:3 {root} /cg\\040x rw - cgroup2 none rw");
            Mounts::parse(&mounts, &format!("0::{group}")).version_2.unwrap().own
        };
        assert_eq!(own("/docker/7", "/docker/7/web"), Path::new("/cg x/web"));
        assert_eq!(own("/docker/7", "/elsewhere"), Path::new("/cg x"));
        assert_eq!(own("/", "/../../etc"), Path::new("/cg x"));
        assert_eq!(own("/", "/"), Path::new("/cg x"));
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in ["", "\n\n", " - ", "1 2 3 - cgroup2", "a b c d e f - cgroup", "\\ - \\ \\ \\"] {
            assert_eq!(Mounts::parse(text, text), Mounts::default());
        }
        assert_eq!(unescape("\\04"), Path::new("\\04"));
        assert_eq!(unescape("\\999x"), Path::new("\\999x"));
    }
}
