//! The process that is confined and then attacks from within.

use crate::{attacks, work};
use selvedge_confine::{InForce, Plan, enter, seal};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::mpsc;

/// Runs in one of the modes `free`, `entered`, `sealed`, `work`, `wait` and `threads-first`.
pub(crate) fn run(mode: &str, what: &str) -> ExitCode {
    match mode {
        "free" => attack(what),
        "entered" => {
            confine();
            attack(what)
        }
        "sealed" => {
            confine();
            in_a_thread_of_before(|| seal(false), || attack(what))
        }
        "work" => {
            work::prepare();
            confine();
            in_a_thread_of_before(|| seal(true), || work::run(what))
        }
        "wait" => {
            let mut in_force = confine();
            in_a_thread_of_before(
                || {
                    seal(false)
                        .inspect(|measure| in_force.add(measure.clone()))
                        .map(|_| say(&format!("{in_force}\n")))
                },
                || {
                    // Until the test closes our input.
                    let _ = std::io::stdin().read(&mut [0]);
                    ExitCode::SUCCESS
                },
            )
        }
        "threads-first" => {
            let (_keep, wait) = mpsc::channel::<()>();
            std::thread::spawn(move || wait.recv());
            say(enter(&Plan::default()).map_or_else(|e| e.code(), |_| "entered"));
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

fn confine() -> InForce {
    enter(&Plan::default()).expect("enter")
}

/// Starts a thread, seals, then lets the thread go: what it runs into reached it from another thread.
fn in_a_thread_of_before<T: std::fmt::Debug>(
    seal: impl FnOnce() -> Result<T, selvedge_confine::ConfineError>,
    then: impl FnOnce() -> ExitCode + Send,
) -> ExitCode {
    let (go, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            wait.recv().expect("sealed");
            then()
        });
        seal().expect("seal");
        go.send(()).expect("waiting");
        thread.join().expect("thread")
    })
}

fn attack(name: &str) -> ExitCode {
    let attack = attacks::ATTACKS.iter().find(|attack| attack.name == name).expect("known attack");
    match (attack.run)() {
        Ok(()) => say("escaped"),
        Err(e) => say(&format!("refused {}", e.raw_os_error().unwrap_or(-1))),
    }
    ExitCode::SUCCESS
}

pub(crate) fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()).expect("stdout");
}
