//! The core by itself: the rules told as stories, and random stories that must keep the invariants.

mod oracle;
mod people;
mod rules;
mod story;
mod tale;
mod time;
mod world;
