//! The files of version 1, one hierarchy per controller.

use super::{Bounds, Controller, write};
use std::io;
use std::path::Path;

/// Current use in bytes.
pub(super) const MEMORY: &str = "memory.usage_in_bytes";
/// Holds a line `oom_kill N`.
pub(super) const OOM: &str = "memory.oom_control";
/// The time over which processor time is shared out, in microseconds.
const PERIOD: u64 = 100_000;

/// Puts one bound into force.
pub(super) fn bound(directory: &Path, controller: Controller, bounds: Bounds) -> io::Result<()> {
    match controller {
        Controller::Memory => {
            let bytes = bounds.memory_bytes.to_string();
            write(directory, "memory.limit_in_bytes", &bytes)?;
            match write(directory, "memory.memsw.limit_in_bytes", &bytes) {
                // A kernel that does not account for swap can be asked not to use it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => write(directory, "memory.swappiness", "0"),
                other => other,
            }
        }
        Controller::Cpu => {
            write(directory, "cpu.cfs_period_us", &PERIOD.to_string())?;
            write(directory, "cpu.cfs_quota_us", &quota(bounds.cpu_cores, PERIOD).to_string())
        }
        Controller::Pids => write(directory, "pids.max", &bounds.pids.to_string()),
    }
}

/// Cores as microseconds per period; the kernel takes no less than a millisecond.
pub(super) fn quota(cores: f64, period: u64) -> u64 {
    ((cores * period as f64) as u64).max(1000)
}

#[cfg(test)]
mod tests {
    use super::quota;

    #[test]
    fn quota_has_a_floor_and_survives_nonsense() {
        assert_eq!(quota(0.5, 100_000), 50_000);
        assert_eq!(quota(4.0, 100_000), 400_000);
        for nonsense in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(quota(nonsense, 100_000), 1000);
        }
    }
}
