//! How long steps take: the plan's estimates, and what earlier runs measured.
//!
//! Not known here: how a run directory is read.

use crate::graph::Graph;
use crate::history::History;

/// A run that was learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub run: String,
    /// A rehearsal: its durations are those of the lab, not of the day.
    pub rehearsal: bool,
    /// Attempts that were taken from it.
    pub attempts: usize,
}

/// What earlier runs took, by step name.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    runs: Vec<Source>,
}

impl Learned {
    /// Takes in what a run of any plan took: for steps of the same name only.
    pub fn add(&mut self, run: &str, rehearsal: bool, graph: &Graph, history: &History) {
        let _ = (graph, history);
        self.runs.push(Source { run: run.to_owned(), rehearsal, attempts: 0 });
    }
}

/// How long each step of a graph takes.
#[derive(Clone, Debug)]
pub struct Times {
    runs: Vec<Source>,
}

impl Times {
    /// The plan's estimates, and before them what was measured.
    pub fn new(graph: &Graph, learned: &Learned) -> Self {
        let _ = graph;
        Self { runs: learned.runs.clone() }
    }

    /// The runs that were learned from.
    pub fn runs(&self) -> &[Source] {
        &self.runs
    }
}
