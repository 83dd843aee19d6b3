//! What `check` proves before anything runs.

mod closure;
mod domain;
pub mod protection;
mod rollback;

use crate::event::StepId;
use crate::graph::Graph;
use crate::text::fault::Fault;

/// What was proved of a graph, printed by `check`.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Warnings and notes.
    pub warnings: Vec<Fault>,
    /// For each line: what its rollback alone also undoes (step names of other lines and of none).
    pub line_rollbacks: Vec<LineRollback>,
}

/// What a `rollback-line` of a line undoes beside the line's own steps.
#[derive(Clone, Debug)]
pub struct LineRollback {
    /// The line.
    pub line: String,
    /// Definition names of other steps that it undoes too, if begun.
    pub also: Vec<String>,
}

/// Proves sections 4.1 to 4.3 of the design: graph, domain, rollback.
///
/// # Errors
/// Every fault found.
pub fn prove(graph: &Graph) -> Result<Proof, Vec<Fault>> {
    let _ = graph;
    todo!()
}

/// Proves the same of the plan without the steps that are out: what needed them needs what they
/// needed. Asked before a step is skipped, a line goes out, or something comes back.
///
/// # Errors
/// Every fault found.
pub fn prove_without(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Result<(), Vec<Fault>> {
    let _ = (graph, out);
    todo!()
}
