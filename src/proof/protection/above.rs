//! Which of a few steps another one needs.

use crate::event::StepId;
use crate::graph::Graph;

pub(super) fn index(job: usize) -> u32 {
    u32::try_from(job).expect("BUG: more jobs than steps")
}

pub(super) fn positions(graph: &Graph) -> Vec<u32> {
    let mut position = vec![0; graph.len()];
    for (at, step) in graph.topological().iter().enumerate() {
        position[step.index()] = index(at);
    }
    position
}

/// Which of a few steps another one needs, directly or through others: one pass over the graph for
/// each 64 of them.
pub(super) struct Above {
    count: usize,
    /// Row per step: the bits of those that it needs.
    bits: Vec<u64>,
}

impl Above {
    pub(super) fn of(graph: &Graph, steps: &[StepId]) -> Self {
        const NONE: u32 = u32::MAX;
        let words = steps.len().div_ceil(64);
        let mut bits = vec![0; steps.len() * words];
        let mut mask = vec![0u64; graph.len()];
        let mut row_of = vec![NONE; graph.len()];
        for (row, step) in steps.iter().enumerate() {
            row_of[step.index()] = index(row);
        }
        for word in 0..words {
            for &step in graph.topological() {
                let all = graph.needs(step).iter().fold(0, |all, need| all | mask[need.index()]);
                mask[step.index()] = all;
                let row = row_of[step.index()];
                if row == NONE {
                    continue;
                }
                let row = row as usize;
                // A step's own bit is for those who need it, not for itself.
                bits[row * words + word] = all;
                if row / 64 == word {
                    mask[step.index()] |= 1 << (row % 64);
                }
            }
        }
        Self { count: words, bits }
    }

    /// Whether `job` needs `other`.
    pub(super) fn is(&self, other: usize, job: usize) -> bool {
        self.bits[job * self.count + other / 64] >> (other % 64) & 1 == 1
    }
}
