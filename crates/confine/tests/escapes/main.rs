//! Tries to get out of a confined process, once per way out and each time in a process of its own.
//!
//! The test binary starts itself again as the victim, since confinement must begin in a process with one thread.

// The attacks are system calls made by hand.
#![allow(unsafe_code)]

mod attacks;
mod victim;
mod work;

use attacks::{ATTACKS, Attack, Outcome};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Output, Stdio};

/// An ordinary user id that nobody has.
const ORDINARY_USER: u32 = 54_321;

/// Who starts the victim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Whoever runs the tests.
    Caller,
    /// A user without any privilege; needs root to get there.
    OrdinaryUser,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(("--victim", rest)) = arguments.get(1).map(|first| (first.as_str(), &arguments[2..])) {
        return victim::run(&rest[0], &rest[1]);
    }
    let root = rustix::process::geteuid().is_root();
    let mut trials = Vec::new();
    for attack in ATTACKS {
        trials.push(Trial::test(format!("sealed::{}", attack.name), || sealed(attack, Who::Caller)));
        if attack.works_unconfined && root {
            trials.push(Trial::test(format!("control::{}", attack.name), || succeeds_unconfined(attack)));
        }
        if attack.refused_by_enter {
            trials.push(Trial::test(format!("entered::{}", attack.name), || entered(attack, Who::Caller)));
        }
    }
    for job in work::JOBS {
        trials
            .push(Trial::test(format!("work::{}", job.name), || works(job.name, job.ends_with, Who::Caller)));
    }
    trials.push(Trial::test("in_force", || in_force(Who::Caller)));
    trials.push(Trial::test("refuses_to_start_with_threads", refuses_threads));
    trials.push(Trial::test("dies_with_its_parent", dies_with_parent));
    // Getting to an ordinary user takes root; an ordinary user has had the tests above as one.
    let ignored = !root;
    for attack in ATTACKS {
        let name = |prefix: &str| format!("ordinary_user::{prefix}::{}", attack.name);
        let run = || sealed(attack, Who::OrdinaryUser);
        trials.push(Trial::test(name("sealed"), run).with_ignored_flag(ignored));
        if attack.refused_by_enter {
            let run = || entered(attack, Who::OrdinaryUser);
            trials.push(Trial::test(name("entered"), run).with_ignored_flag(ignored));
        }
    }
    trials.push(
        Trial::test("ordinary_user::in_force", || in_force(Who::OrdinaryUser)).with_ignored_flag(ignored),
    );
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A command that starts this binary as victim, reachable for an ordinary user too.
fn victim(mode: &str, what: &str, who: Who) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--victim", mode, what])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if who == Who::OrdinaryUser {
        command.uid(ORDINARY_USER).gid(ORDINARY_USER);
    }
    command
}

fn run(mode: &str, what: &str, who: Who) -> Result<Output, Failed> {
    Ok(victim(mode, what, who).stdin(Stdio::null()).spawn()?.wait_with_output()?)
}

fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}, said `{}` `{}`", output.status, text(&output.stdout), text(&output.stderr))
}

fn sealed(attack: &Attack, who: Who) -> Result<(), Failed> {
    let output = run("sealed", attack.name, who)?;
    let as_expected = match attack.sealed {
        Outcome::Killed => output.status.signal() == Some(libc::SIGSYS),
        Outcome::Refused(errno) => {
            output.stdout == format!("refused {errno}").as_bytes() && output.status.success()
        }
    };
    if as_expected { Ok(()) } else { Err(describe(&output).into()) }
}

fn entered(attack: &Attack, who: Who) -> Result<(), Failed> {
    let output = run("entered", attack.name, who)?;
    let refused = output.stdout.starts_with(b"refused ") && output.status.success();
    if refused { Ok(()) } else { Err(describe(&output).into()) }
}

/// Shows that the attack is one: without confinement it works.
fn succeeds_unconfined(attack: &Attack) -> Result<(), Failed> {
    let output = run("free", attack.name, Who::Caller)?;
    if output.stdout == b"escaped" { Ok(()) } else { Err(describe(&output).into()) }
}

fn works(job: &str, ends_with: Option<i32>, who: Who) -> Result<(), Failed> {
    let output = run("work", job, who)?;
    let fine = match ends_with {
        None => output.status.success() && output.stdout == b"done",
        signal => output.status.signal() == signal,
    };
    if fine { Ok(()) } else { Err(describe(&output).into()) }
}

/// What the process says about itself must be what the kernel says about each of its threads.
fn in_force(who: Who) -> Result<(), Failed> {
    use std::io::{BufRead, BufReader};
    let mut child = victim("wait", "-", who).spawn()?;
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().ok_or("no output")?).read_line(&mut said)?;
    let check = || -> Result<(), Failed> {
        let in_force: selvedge_confine::InForce = said.trim_end().parse()?;
        if !in_force.is_sufficient() {
            return Err(format!("not sufficient: {said}").into());
        }
        let machine = selvedge_confine::probe::Machine::probe();
        if machine.is_sufficient() && machine.namespaces.iter().all(|(_, result)| result.is_ok()) {
            let full = "namespaces user,mount,net,ipc,uts; empty root; no capabilities";
            if !said.contains(full) || !in_force.missing.is_empty() {
                return Err(format!("this machine can do more: {said}").into());
            }
            for name in ["user", "mnt", "net", "ipc", "uts"] {
                let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}"));
                if link("self")? == link(&child.id().to_string())? {
                    return Err(format!("shares the {name} namespace").into());
                }
            }
            let root = fs::read_dir(format!("/proc/{}/root/", child.id()))?.count();
            let mount_table = fs::read_to_string(format!("/proc/{}/mountinfo", child.id()))?;
            let read_only =
                mount_table.lines().count() == 1 && mount_table.contains(" / ro,nosuid,nodev,noexec");
            if root != 0 || !read_only {
                return Err(format!("{root} entries in the root, mounts: {mount_table}").into());
            }
        }
        let uid = match who {
            Who::OrdinaryUser => ORDINARY_USER,
            Who::Caller if rustix::process::geteuid().is_root() => selvedge_confine::UNPRIVILEGED_ID,
            Who::Caller => rustix::process::geteuid().as_raw(),
        };
        let none = "0000000000000000";
        let tasks: Vec<_> = fs::read_dir(format!("/proc/{}/task", child.id()))?.collect::<Result<_, _>>()?;
        if tasks.len() < 2 {
            return Err("the victim was to have threads".into());
        }
        for task in tasks {
            let status = fs::read_to_string(task.path().join("status"))?;
            let expected = [
                ("Uid:", format!("{uid}\t{uid}\t{uid}\t{uid}")),
                ("CapInh:", none.to_owned()),
                ("CapPrm:", none.to_owned()),
                ("CapEff:", none.to_owned()),
                ("CapBnd:", none.to_owned()),
                ("CapAmb:", none.to_owned()),
                ("NoNewPrivs:", "1".to_owned()),
                ("Seccomp:", "2".to_owned()),
            ];
            for (key, value) in expected {
                let found = status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                if found != Some(value.as_str()) {
                    return Err(format!("{key} is {found:?}, not {value}").into());
                }
            }
        }
        Ok(())
    };
    let result = check();
    drop(child.stdin.take());
    let output = child.wait_with_output()?;
    result?;
    if output.status.success() { Ok(()) } else { Err(describe(&output).into()) }
}

fn refuses_threads() -> Result<(), Failed> {
    let output = run("threads-first", "-", Who::Caller)?;
    if output.stdout == b"confine.not-single-threaded" { Ok(()) } else { Err(describe(&output).into()) }
}

/// The victim has no other reason to end: its input stays open.
fn dies_with_parent() -> Result<(), Failed> {
    let (mut child, keep_open) = std::thread::spawn(|| {
        let mut child = victim("wait", "-", Who::Caller).spawn()?;
        let mut said = [0];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut said)?;
        let input = child.stdin.take();
        Ok::<_, std::io::Error>((child, input))
    })
    .join()
    .map_err(|_| "the spawning thread panicked")??;
    let status = child.wait()?;
    drop(keep_open);
    if status.signal() == Some(libc::SIGKILL) { Ok(()) } else { Err(format!("ended with {status}").into()) }
}
