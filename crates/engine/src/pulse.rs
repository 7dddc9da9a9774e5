//! Whether a host's thread still answers: asked now and then, by the supervisor.
//!
//! Time is counted in looks of the supervisor, so that a machine that stood still as a whole ends nobody.

use std::cell::Cell;

/// Looks between an answer and the next question.
const REST: u32 = 100;
/// Looks that an answer may take.
const PATIENCE: u32 = 200;

/// What is to be done at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Wait,
    /// Send a question.
    Ask,
    /// It has not answered for too long.
    Lost,
}

/// The pulse of one thread.
#[derive(Debug, Default)]
pub struct Pulse {
    asked: Cell<bool>,
    looks: Cell<u32>,
}

impl Pulse {
    /// One look. A thread that is `excused`, since it runs a turn, for which there are other limits, or is stopped in a
    /// debugger, need not answer.
    pub fn look(&self, excused: bool) -> Beat {
        let looks = if excused && self.asked.get() { 0 } else { self.looks.get() + 1 };
        self.looks.set(looks);
        match self.asked.get() {
            false if looks >= REST => {
                self.asked.set(true);
                self.looks.set(0);
                Beat::Ask
            }
            true if looks >= PATIENCE => Beat::Lost,
            _ => Beat::Wait,
        }
    }

    /// It has answered.
    pub fn answered(&self) {
        self.asked.set(false);
        self.looks.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(pulse: &Pulse, excused: bool, count: u32) -> Vec<Beat> {
        (0..count).map(|_| pulse.look(excused)).filter(|beat| *beat != Beat::Wait).collect()
    }

    #[test]
    fn who_answers_is_asked_again() {
        let pulse = Pulse::default();
        for _ in 0..3 {
            assert_eq!(looks(&pulse, false, REST), [Beat::Ask]);
            assert_eq!(looks(&pulse, false, PATIENCE - 1), []);
            pulse.answered();
        }
    }

    #[test]
    fn who_does_not_answer_is_lost_unless_it_is_excused() {
        let pulse = Pulse::default();
        assert_eq!(looks(&pulse, true, REST), [Beat::Ask]);
        assert_eq!(looks(&pulse, true, 10 * PATIENCE), []);
        assert_eq!(looks(&pulse, false, PATIENCE), [Beat::Lost]);
    }
}
