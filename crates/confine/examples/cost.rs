//! Prints what confining this process costs: `cargo run -p selvedge-confine --example cost`.

// It is what the example is for.
#![allow(clippy::print_stdout)]

use selvedge_confine::{Plan, enter, seal};
use std::time::Instant;

fn main() -> Result<(), selvedge_confine::ConfineError> {
    let start = Instant::now();
    let mut in_force = enter(&Plan::default())?;
    let entered = start.elapsed();
    let start = Instant::now();
    in_force.add(seal(false)?);
    let sealed = start.elapsed();
    println!("enter {} us, seal {} us: {in_force}", entered.as_micros(), sealed.as_micros());
    Ok(())
}
