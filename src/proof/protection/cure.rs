//! One more need, or `serial`, that would keep a bound. Each is tried: the plan's language says which
//! edges it would make, these must close no cycle, and the cut is asked again with them.

use super::model::Model;
use super::order::{Order, index};
use super::subject::Subject;
use crate::event::StepId;
use crate::graph::Graph;
use crate::proof::closure::State;
use std::collections::BTreeSet;

/// So many are tried in all, whatever the number of bounds that are broken.
const TRIES: u32 = 300;
/// A need that would make more edges than this is not tried.
const EDGES: usize = 10_000;

/// Looks for cures while there is patience.
pub(super) struct Cures {
    left: u32,
}

/// An edge: the first is needed by the second.
type Edge = (StepId, StepId);

impl Cures {
    pub(super) fn new() -> Self {
        Self { left: TRIES }
    }

    /// A cure for a state that breaks the bound, as it is told.
    pub(super) fn find(
        &mut self,
        model: &Model,
        graph: &Graph,
        subject: &Subject,
        order: &Order<'_>,
        state: &State,
    ) -> Option<String> {
        // Most are cured by an order between those that are under way together.
        let acting = (0..model.steps.len()).filter(|job| model.acts(*job));
        let mut jobs: Vec<usize> = acting.collect();
        jobs.sort_by_key(|&job| (!state.begun[job] || state.ended[job], state.ended[job]));
        let going = jobs.iter().take_while(|job| state.begun[**job] && !state.ended[**job]).count();
        let mut tried = BTreeSet::new();
        for place in 0..jobs.len().min(64) {
            let later = jobs[place];
            for &earlier in jobs.iter().take(64).filter(|earlier| **earlier != later) {
                if place >= going && jobs.iter().take(going).all(|job| *job != earlier) {
                    continue; // neither has anything to do with the breach
                }
                let defs =
                    (graph.def_index(model.steps[later]), graph.def_index(model.steps[earlier]));
                if !tried.insert(defs) || order.is(later, earlier) || order.is(earlier, later) {
                    continue;
                }
                for (text, edges) in candidates(graph, model.steps[later], model.steps[earlier]) {
                    self.left = self.left.checked_sub(1)?;
                    // The cycle first: the cut is of what has none.
                    if !closes_a_cycle(graph, &edges) && keeps(model, subject, order, &edges) {
                        return Some(text);
                    }
                }
            }
        }
        None
    }
}

/// What could be written so that one step needs the other, the least first, with all its edges.
fn candidates(graph: &Graph, later: StepId, earlier: StepId) -> Vec<(String, Vec<Edge>)> {
    let (one, other) = (graph.def_index(later), graph.def_index(earlier));
    let (late, early) = (graph.def(later), graph.def(earlier));
    let name = &late.name.value;
    if one == other {
        let mut found = Vec::new();
        let apart: Vec<_> = graph
            .bindings(later)
            .zip(graph.bindings(earlier))
            .filter(|((_, one), (_, other))| one != other)
            .map(|((variable, _), _)| variable)
            .collect();
        if let ([variable], true) = (apart.as_slice(), late.over.len() > 1) {
            let text = format!("`serial: {variable}` in `for_each` of `{name}` would keep it");
            found.push((text, chain(graph, one, Some(variable))));
        }
        let text = format!("`serial: true` in `for_each` of `{name}` would keep it");
        found.push((text, chain(graph, one, None)));
        return found;
    }
    if early.phase > late.phase {
        return Vec::new(); // such a need is refused
    }
    let needed = &early.name.value;
    let paired = pairs(graph, one, other, true);
    let whole = pairs(graph, one, other, false);
    let mut found = Vec::new();
    if paired.as_ref().is_some_and(|edges| edges.contains(&(earlier, later))) {
        let text = format!("it would be kept if `{name}` needed `{needed}`");
        found.extend(paired.map(|edges| (text, edges)));
    }
    let text =
        format!("it would be kept if `{name}` needed all of `{needed}`: `{{ all: {needed} }}`");
    found.extend(whole.map(|edges| (text, edges)));
    found
}

/// The edges of `serial`: one chain in written order, or one along a variable for each value of the
/// others.
fn chain(graph: &Graph, def: usize, along: Option<&str>) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut last: Vec<(Vec<(&str, &str)>, StepId)> = Vec::new();
    for step in graph.instances(def).take(EDGES) {
        let others: Vec<_> = graph
            .bindings(step)
            .filter(|(variable, _)| along.is_some_and(|along| *variable != along))
            .collect();
        match last.iter_mut().find(|(of, _)| *of == others) {
            Some((_, before)) => {
                edges.push((*before, step));
                *before = step;
            }
            None => last.push((others, step)),
        }
    }
    edges
}

/// The edges of a need between two definitions: per value of the shared variables, or all.
fn pairs(graph: &Graph, later: usize, earlier: usize, paired: bool) -> Option<Vec<Edge>> {
    let (late, early) = (graph.instances(later), graph.instances(earlier));
    if late.clone().count().saturating_mul(early.clone().count()) > EDGES {
        return None;
    }
    let agree = |one: StepId, other: StepId| {
        graph.bindings(one).all(|(variable, value)| {
            graph.bindings(other).all(|(name, other)| name != variable || value == other)
        })
    };
    let edges = late.flat_map(|one| {
        let early = early.clone().filter(move |other| !paired || agree(one, *other));
        early.map(move |other| (other, one))
    });
    Some(edges.collect())
}

/// Whether the bound is kept with these edges.
fn keeps(model: &Model, subject: &Subject, order: &Order<'_>, edges: &[Edge]) -> bool {
    let mut jobs = model.jobs.clone();
    for (earlier, later) in edges {
        // Steps without an effect on the subject are no jobs; leaving their edges out is safe.
        if let (Some(earlier), Some(later)) = (order.find(*earlier), order.find(*later)) {
            jobs.before[later].push(index(earlier));
        }
    }
    !subject.breaks(subject.count(jobs.least().0))
}

/// Whether the graph has a cycle with these edges.
fn closes_a_cycle(graph: &Graph, edges: &[Edge]) -> bool {
    let mut more: Vec<Edge> = edges.to_vec();
    more.sort_unstable();
    let of = |step: StepId| {
        let first = more.partition_point(|(earlier, _)| *earlier < step);
        more[first..]
            .iter()
            .take_while(move |(earlier, _)| *earlier == step)
            .map(|(_, later)| *later)
    };
    let mut waits: Vec<usize> = graph.steps().map(|step| graph.needs(step).len()).collect();
    more.iter().for_each(|(_, later)| waits[later.index()] += 1);
    let mut ready: Vec<StepId> = graph.steps().filter(|step| waits[step.index()] == 0).collect();
    let mut gone = 0;
    while let Some(step) = ready.pop() {
        gone += 1;
        for later in graph.dependents(step).iter().copied().chain(of(step)) {
            waits[later.index()] -= 1;
            if waits[later.index()] == 0 {
                ready.push(later);
            }
        }
    }
    gone < graph.len()
}
