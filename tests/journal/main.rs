//! The journals of a run: cut, flipped, holed, doubled, full disks, killed writers, old formats.

mod codec;
mod common;
mod lane;
mod run;
mod store;
