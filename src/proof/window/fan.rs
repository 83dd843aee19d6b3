//! Work in pieces that have nothing to do with each other, so that whoever calls may do them at once.
//!
//! This module knows no threads: the caller hands in how pieces are done. What comes of each is kept
//! in its own place, so the outcome is the same in whatever order they are done.

use std::sync::OnceLock;

/// Calls the work once with each number below the first argument, in any order, one after the other
/// or at once, and returns when all of it is done.
pub type Fan = dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Into so many pieces a large work is cut: enough for as many processors, and few enough that what
/// each of them lays out does not count.
pub(super) const PIECES: usize = 16;

/// One after the other.
pub fn in_turn(pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..pieces).for_each(work);
}

/// What came of each piece, in the order of their numbers.
pub(super) fn collect<T: Send + Sync>(
    fan: &Fan,
    pieces: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let done: Vec<OnceLock<T>> = (0..pieces).map(|_| OnceLock::new()).collect();
    fan(pieces, &|piece| {
        let _ = done[piece].set(work(piece));
    });
    done.into_iter().map(|it| it.into_inner().expect("BUG: a fan does all pieces")).collect()
}
