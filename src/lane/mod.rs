//! The emergency lane: its chained file and lock, and the hands that apply and confirm revocations.
//! Needs no runner. Not known here: graph, run.

pub mod admit;
mod ask;
pub mod file;
pub mod rows;
pub mod worker;
