//! Prints what confining this process costs, once and per system call: pipe it, since a confined process cannot
//! write to files: `cargo run -p selvedge-confine --example cost | cat`.

// It is what the example is for.
#![allow(clippy::print_stdout)]

use selvedge_confine::{Plan, enter, seal};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Round trips per measurement.
const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pair = UnixStream::pair()?;
    let before = nanoseconds_per_round(&mut pair)?;
    let start = Instant::now();
    let mut in_force = enter(&Plan::default())?;
    let entered = start.elapsed();
    let start = Instant::now();
    in_force.add(seal(false)?);
    let sealed = start.elapsed();
    println!("enter {} us, seal {} us: {in_force}", entered.as_micros(), sealed.as_micros());
    let after = nanoseconds_per_round(&mut pair)?;
    println!("sendto and recvfrom over a socket pair: {before} ns free, {after} ns sealed");
    Ok(())
}

fn nanoseconds_per_round((one, two): &mut (UnixStream, UnixStream)) -> std::io::Result<u128> {
    let start = Instant::now();
    let mut byte = [0];
    for _ in 0..ROUNDS {
        one.write_all(b"x")?;
        two.read_exact(&mut byte)?;
    }
    Ok(start.elapsed().as_nanos() / u128::from(ROUNDS))
}
