//! Faults put into the real binary on a real machine: killed at every record, disks that fail,
//! signals, lost terminals, people's mistakes, strangers. After each: what was acknowledged is there,
//! what was done is done once, and the run comes to the same end.
//!
//! `README.md` beside this file is the table of what was tried. A test that cannot be had here (no
//! root, no tool) says `SKIPPED` and why. `CUTOVER_KILLS=all` kills at more places.

mod disk;
mod kills;
mod machine;
mod network;
mod people;
mod security;
mod signals;
#[path = "../space/mod.rs"]
mod space;
mod tools;
