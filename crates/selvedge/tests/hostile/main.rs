//! Hostile workers of many kinds, each beside a normal worker of the same account, in the same process and on the
//! same thread: the offender is stopped, its owner is told, it answers again, and its neighbour notices nothing.

#[path = "../common/mod.rs"]
mod common;

mod afterwards;
mod amplification;
mod answers;
mod bodies;
mod cpu;
mod escapes;
mod loading;
mod memory;
mod remote_calls;
mod scene;
mod subrequests;
