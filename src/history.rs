//! Times, attempts, persons: a second fold of the journal, for reports.
//!
//! Not known here: what is legal (`run` decides that), the journal's file, and how anything is
//! shown.

use crate::event::Record;
use crate::graph::Graph;

/// What happened, by step and by person.
#[derive(Clone, Debug, Default)]
pub struct History {}

impl History {
    /// Nothing has happened yet.
    pub fn new(graph: &Graph) -> Self {
        let _ = graph;
        Self::default()
    }

    /// Takes in one record that the core has taken in.
    pub fn apply(&mut self, record: &Record) {
        let _ = record;
    }
}
