//! The core by itself: the rules told as stories, and random stories that must keep the invariants.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds what it did not expect")]

mod back;
mod cost;
mod every;
mod mutants;
mod people;
mod present;
mod proved;
mod rules;
mod silence;
mod simulated;
mod skip;
mod story;
mod tale;
mod time;
mod world;
