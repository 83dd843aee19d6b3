//! The core by itself: the rules told as stories, and random stories that must keep the invariants.

mod people;
mod rules;
mod tale;
mod time;
