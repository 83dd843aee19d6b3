//! Ordered, not yet durable: what follows from a record waits here until the record is synced.
//!
//! Not known here: what the deeds are, and whether they may still be done when they are let go.

use crate::event::Seq;
use std::collections::VecDeque;

/// Deeds in the order of the records that they follow from.
#[derive(Debug)]
pub(super) struct Pending<T> {
    queue: VecDeque<(Seq, T)>,
}

impl<T> Pending<T> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// Keeps a deed until record `seq` is durable.
    pub(super) fn push(&mut self, seq: Seq, deed: T) {
        let last = self.queue.back().map_or(0, |(last, _)| *last);
        assert!(seq >= last, "BUG: deeds follow from records in their order");
        self.queue.push_back((seq, deed));
    }

    /// The next deed whose record is durable. One at a time: carrying it out may order more.
    pub(super) fn release(&mut self, durable: Seq) -> Option<(Seq, T)> {
        match self.queue.front() {
            Some((seq, _)) if *seq <= durable => self.queue.pop_front(),
            _ => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Everything that will never become durable: the journal is lost.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.queue.drain(..).map(|(_, deed)| deed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_let_go_before_its_record_is_durable() {
        let mut pending = Pending::new();
        pending.push(3, "three");
        pending.push(3, "three too");
        pending.push(5, "five");
        assert_eq!(pending.release(2), None);
        assert_eq!(pending.release(4), Some((3, "three")));
        assert_eq!(pending.release(4), Some((3, "three too")));
        assert_eq!(pending.release(4), None);
        assert!(!pending.is_empty());
        assert_eq!(pending.release(5), Some((5, "five")));
        assert!(pending.is_empty());
    }
}
