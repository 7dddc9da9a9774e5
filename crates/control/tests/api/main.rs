//! The API over real sockets, with a double of the engine that judges code by its text.

mod calls;
mod deploy;
mod harness;
mod hostile;
mod logs;
mod secrets;
