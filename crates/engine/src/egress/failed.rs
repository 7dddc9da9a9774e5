//! Why something asked of the outside did not come about, in words for the worker's developer.

use selvedge_wire::message::ResetCode;

/// A failure with a stable code.
#[derive(Debug)]
pub struct Failed(pub ResetCode, pub String);

/// The policy or the form of the request forbids it.
pub fn refused(text: impl Into<String>) -> Failed {
    Failed(ResetCode::Refused, text.into())
}

/// The other side could not be reached or broke off.
pub fn unreachable(text: impl Into<String>) -> Failed {
    Failed(ResetCode::Unreachable, text.into())
}

/// The other side took too long.
pub fn timed_out(text: impl Into<String>) -> Failed {
    Failed(ResetCode::TimedOut, text.into())
}

/// An error with all its causes, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
