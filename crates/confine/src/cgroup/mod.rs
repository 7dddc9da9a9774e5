//! Control groups: memory, processor time and threads of a host, bounded by the kernel.
//!
//! Groups are made under `selvedge-<pid of the engine>`. Where neither version 1 nor version 2 is writable
//! [`CgroupRoot::detect`] says why, and the engine falls back to polling [`procstat`](crate::procstat).

mod mounts;
mod place;
mod stale;
mod v1;
mod v2;

use crate::Measure;
use mounts::Mounts;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Memory in bytes, page cache and kernel memory included; swap is not available on top. At the bound the
    /// kernel kills.
    pub memory_bytes: u64,
    /// Processor time in cores, such as 0.5. At least a hundredth.
    pub cpu_cores: f64,
    /// Processes and threads together.
    pub pids: u32,
}

/// What a hierarchy can bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// Why there are no control groups to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no writable control group: {0}")]
pub struct Unavailable(String);

/// A directory of one hierarchy and the controllers that work in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    directory: PathBuf,
    controllers: Vec<Controller>,
}

/// The engine's own parent group, under which it makes one group per host.
///
/// Dropping it removes the parent group if no group is left in it.
#[derive(Debug)]
pub struct CgroupRoot {
    version: u8,
    places: Vec<Place>,
}

impl CgroupRoot {
    /// Finds where groups can be made, makes the parent group, and removes groups that dead engines left behind.
    ///
    /// On version 2 this may move the calling process into a group of its own next to the hosts' groups, because
    /// a group that bounds others may not hold processes itself.
    ///
    /// # Errors
    /// [`Unavailable`] says in words what was tried.
    pub fn detect() -> Result<Self, Unavailable> {
        let mounts = Mounts::of_this_process().map_err(|e| Unavailable(format!("/proc: {e}")))?;
        let own_name = stale::parent_name(std::process::id());
        let mut tried = Vec::new();
        match place::version_2(&mounts, &own_name) {
            Ok(place) => return Ok(Self { version: 2, places: vec![place] }),
            Err(why) => tried.push(format!("version 2: {why}")),
        }
        match place::version_1(&mounts, &own_name) {
            Ok(places) => return Ok(Self { version: 1, places }),
            Err(why) => tried.push(format!("version 1: {why}")),
        }
        Err(Unavailable(tried.join(", ")))
    }

    /// Says what [`detect`](Self::detect) would most likely find, without making or moving anything.
    ///
    /// # Errors
    /// [`Unavailable`] says in words what is in the way.
    pub fn look() -> Result<Measure, Unavailable> {
        let mounts = Mounts::of_this_process().map_err(|e| Unavailable(format!("/proc: {e}")))?;
        let (version, controllers) = place::look(&mounts).map_err(Unavailable)?;
        Ok(Measure::Cgroup {
            version,
            controllers: controllers.iter().map(|c| c.name().to_owned()).collect(),
        })
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// What the groups bound, as it appears in [`InForce`](crate::InForce).
    pub fn measure(&self) -> Measure {
        let controllers = self.places.iter().flat_map(|place| &place.controllers);
        Measure::Cgroup {
            version: self.version,
            controllers: controllers.map(|c| c.name().to_owned()).collect(),
        }
    }

    /// Makes a group with its bounds in force. Bounds whose controller is missing are left out.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not made of 1 to 64 letters, digits, `-` and `_`; `AlreadyExists` when
    /// there is a group of that name; otherwise what the kernel answers. No group is left behind.
    pub fn create(&self, name: &str, bounds: Bounds) -> io::Result<Cgroup> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        // Dots are out so that no name can be a kernel file's.
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a control group name"));
        }
        let mut group = Cgroup { version: self.version, places: Vec::new() };
        for place in &self.places {
            let directory = place.directory.join(name);
            match fs::create_dir(&directory) {
                // An engine that cannot see our process, in another container say, took the empty parent for stale.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.renew(place)?;
                    fs::create_dir(&directory)?;
                }
                made => made?,
            }
            // From here on dropping the group removes the directory.
            group.places.push(Place { directory: directory.clone(), controllers: place.controllers.clone() });
            for &controller in &place.controllers {
                match self.version {
                    1 => v1::bound(&directory, controller, bounds)?,
                    _ => v2::bound(&directory, controller, bounds)?,
                }
            }
        }
        Ok(group)
    }
}

impl CgroupRoot {
    fn renew(&self, place: &Place) -> io::Result<()> {
        fs::create_dir(&place.directory)?;
        if self.version == 2 {
            v2::enable(&place.directory)?;
        }
        Ok(())
    }
}

impl Drop for CgroupRoot {
    fn drop(&mut self) {
        for place in &self.places {
            if self.version == 2 {
                v2::leave_leaf(&place.directory);
            }
            let _ = fs::remove_dir(&place.directory);
        }
    }
}

/// A group of processes with bounds.
///
/// Dropping it removes it when it is empty; [`CgroupRoot::detect`] of a later engine removes it otherwise.
#[derive(Debug)]
pub struct Cgroup {
    version: u8,
    places: Vec<Place>,
}

impl Cgroup {
    /// Moves a process with all its threads into the group. What it has allocated so far counts elsewhere;
    /// [`entry`](Self::entry) avoids that.
    ///
    /// # Errors
    /// What the kernel answers, such as `NotFound` for a process that is gone (`ESRCH`).
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.places.iter().try_for_each(|place| write(&place.directory, "cgroup.procs", &pid.to_string()))
    }

    /// A door through which a child enters the group by itself, see [`spawn::Child`](crate::spawn::Child).
    ///
    /// # Errors
    /// What opening the group's files answers.
    pub fn entry(&self) -> io::Result<Entry> {
        let open = |place: &Place| OpenOptions::new().write(true).open(place.directory.join("cgroup.procs"));
        Ok(Entry { doors: self.places.iter().map(open).collect::<io::Result<_>>()? })
    }

    /// Memory in use in bytes, page cache included.
    ///
    /// # Errors
    /// What reading the group's file answers; `InvalidData` when it is not understood.
    pub fn memory(&self) -> io::Result<u64> {
        let file = if self.version == 1 { v1::MEMORY } else { v2::MEMORY };
        let text = fs::read_to_string(self.memory_directory()?.join(file))?;
        text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// How many processes the kernel has killed for the group's memory bound.
    ///
    /// # Errors
    /// What reading the group's file answers; `InvalidData` when it does not count (before Linux 4.13).
    pub fn oom_kills(&self) -> io::Result<u64> {
        let file = if self.version == 1 { v1::OOM } else { v2::OOM };
        let text = fs::read_to_string(self.memory_directory()?.join(file))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Removes the group.
    ///
    /// # Errors
    /// `ResourceBusy` while a process is in it, which includes one that was killed and not waited for; dropping
    /// has then been tried and the directory stays.
    pub fn remove(mut self) -> io::Result<()> {
        let mut result = Ok(());
        for place in self.places.drain(..) {
            result = result.and(fs::remove_dir(&place.directory));
        }
        result
    }

    fn memory_directory(&self) -> io::Result<&Path> {
        let mut places = self.places.iter();
        let place = places.find(|place| place.controllers.contains(&Controller::Memory));
        place.map(|place| place.directory.as_path()).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for place in &self.places {
            let _ = fs::remove_dir(&place.directory);
        }
    }
}

/// An open door into a group, usable between `fork` and `exec`.
#[derive(Debug)]
pub struct Entry {
    doors: Vec<File>,
}

impl Entry {
    /// Moves the calling process into the group. Async-signal-safe: system calls only.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn join(&self) -> io::Result<()> {
        self.doors.iter().try_for_each(|mut door| door.write_all(b"0"))
    }
}

/// Writes one of the kernel's files in one piece.
fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    // Not `fs::write`: it would create the file where the kernel does not have it.
    OpenOptions::new().write(true).open(directory.join(file))?.write_all(value.as_bytes())
}
