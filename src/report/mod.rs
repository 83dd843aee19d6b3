//! What people read of a run: a board on a terminal, plain lines on a pipe, the status page, the
//! summary. Everything here is a view of the core's state; nothing here changes it.
//!
//! Not known here: how the state came about, files, sockets.

pub mod board;
pub mod check;
pub mod graph;
pub mod lines;
pub mod outlook;
pub mod status_page;
pub mod summary;
#[cfg(test)]
mod testing;
