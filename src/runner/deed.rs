//! From a job to what an executor is handed: every text filled, with the step's own way back and
//! check.
//!
//! Not known here: clocks, files, how a deed is done.

use super::fill::fill;
use crate::action::{Action, Check, Undo};
use crate::event::{Ending, Job, Outputs, StepId, Way};
use crate::executor::{Ask, Deed};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::plan::Work;
use crate::plan::template::{Piece, Template};
use crate::run::Run;
use std::time::Duration;

/// A job made ready.
#[derive(Debug)]
pub(super) enum Prepared {
    /// To be carried out.
    Deed(Deed),
    /// Nothing is to be done: this is how it ends.
    Settled(Ending),
}

/// The action of a job: its deed, its way back, its check; none where the plan has none.
fn action_of(graph: &Graph, job: Job) -> Option<&Action<Template>> {
    match (&graph.def(job.step).work, job.way) {
        (Work::Act { act, .. }, Way::Do) => Some(act),
        (Work::Act { undo: Undo::By(undo), .. }, Way::Undo) => Some(undo),
        (Work::Act { act, check: Check::BuiltIn, .. }, Way::Check) => Some(act),
        (Work::Act { check: Check::By(check), .. }, Way::Check) => Some(check),
        _ => None,
    }
}

/// Whether people do this job, and no executor sees it.
pub(super) fn is_manual(graph: &Graph, job: Job) -> bool {
    job.way != Way::Check && matches!(action_of(graph, job), Some(Action::Manual(_)))
}

/// For a job that people do: the groups that may do it, and how many different people must.
pub(super) fn manual_people(graph: &Graph, job: Job) -> Option<(Vec<String>, u32)> {
    match action_of(graph, job) {
        Some(Action::Manual(manual)) => Some((manual.by.clone(), manual.people)),
        _ => None,
    }
}

/// Fills a job's action with its step's variables, the plan's facts and the journaled outputs.
///
/// # Errors
/// The look-up that found nothing.
pub(super) fn prepare(run: &Run, job: Job) -> Result<Prepared, String> {
    let graph = run.graph();
    let def = graph.def(job.step);
    let Some(action) = action_of(graph, job) else {
        return Ok(Prepared::Settled(without_action(graph, job)));
    };
    let outputs = |step: StepId| -> Option<&Outputs> { run.outputs(step) };
    let action = fill(action, &mut |template| graph.fill(job.step, template, &outputs))?;
    let ask = ask_of(graph, job);
    // A check that finds the step done stands in for its end, outputs and all.
    let outputs = if job.way == Way::Undo { Vec::new() } else { def.outputs.clone() };
    let timeout = def.timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    Ok(Prepared::Deed(Deed { action, ask, timeout, outputs }))
}

/// What an executor is asked by a job.
pub(super) fn ask_of(graph: &Graph, job: Job) -> Ask {
    match (job.way, &graph.def(job.step).work) {
        (Way::Check, Work::Act { check: Check::BuiltIn, .. }) => Ask::IsDone,
        (Way::Check, _) => Ask::Check,
        (Way::Do | Way::Undo, _) => Ask::Perform,
    }
}

/// The action of a job before anything has run, filled as [`prepare`] will fill it: only what other
/// steps will have printed stays a look-up. None where the plan names no action; the flag says
/// whether a look-up is left.
///
/// # Errors
/// The look-up that finds nothing.
pub(super) fn foresee(graph: &Graph, job: Job) -> Result<Option<(Action<String>, bool)>, String> {
    let Some(action) = action_of(graph, job) else { return Ok(None) };
    let mut open = false;
    let action = fill(action, &mut |template| {
        open |= template.outputs().next().is_some();
        foresee_text(graph, job.step, template)
    })?;
    Ok(Some((action, open)))
}

/// A text of a step before anything has run.
///
/// # Errors
/// The look-up that finds nothing.
pub(super) fn foresee_text(
    graph: &Graph,
    step: StepId,
    template: &Template,
) -> Result<String, String> {
    let none = |_: StepId| -> Option<&Outputs> { None };
    template.fill(&mut |piece| match piece {
        Piece::Output { .. } => Ok(piece.to_string()),
        other => {
            let alone = Template { pieces: vec![other.clone()], span: template.span };
            graph.fill(step, &alone, &none)
        }
    })
}

/// How a job ends for which the plan names no action.
fn without_action(graph: &Graph, job: Job) -> Ending {
    let undo = match &graph.def(job.step).work {
        Work::Act { undo, .. } => Some(undo),
        Work::Ask(_) => None,
    };
    match (job.way, undo) {
        (Way::Undo, Some(Undo::Missing)) => {
            Ending::Failed(Failure::last("the plan says no `undo` for this step"))
        }
        // A gate, or `undo: { none: REASON }`: there is nothing to take back.
        (Way::Undo, _) => Ending::Done(Outputs::new()),
        (Way::Check, _) => Ending::Unknown(Failure::in_doubt("the plan says no `check`")),
        (Way::Do, _) => Ending::Failed(Failure::last("a gate is opened by people only")),
    }
}
