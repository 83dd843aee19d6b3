//! A topological order, or the cycles that forbid one.

use super::rows::Rows;
use crate::event::StepId;
use crate::plan::Plan;
use crate::text::fault::Fault;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Every step once, needs before dependents; fewer when some stand in a cycle.
pub(super) fn topological(
    needs: &Rows<StepId>,
    dependents: &Rows<StepId>,
    len: usize,
) -> Vec<StepId> {
    let mut waits: Vec<u32> = (0..len).map(|index| needs.row(index).len() as u32).collect();
    let mut order: Vec<StepId> =
        (0..len).filter(|index| waits[*index] == 0).map(|index| StepId(index as u32)).collect();
    order.reserve(len - order.len());
    let mut next = 0;
    while let Some(&step) = order.get(next) {
        next += 1;
        for dependent in dependents.row(step.index()) {
            let wait = &mut waits[dependent.index()];
            *wait -= 1;
            if *wait == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

/// One fault for each knot of steps that need each other, each by a shortest cycle in it. Knots of
/// the same definitions (one for each line) are told once.
pub(super) fn cycles(
    plan: &Plan,
    needs: &Rows<StepId>,
    ordered: &[StepId],
    len: usize,
    name: &dyn Fn(StepId) -> String,
    def_of: &dyn Fn(StepId) -> usize,
) -> Vec<Fault> {
    let mut is_ordered = vec![false; len];
    ordered.iter().for_each(|step| is_ordered[step.index()] = true);
    let left: Vec<StepId> =
        (0..len as u32).map(StepId).filter(|step| !is_ordered[step.index()]).collect();
    let mut knots = DiGraph::<StepId, ()>::with_capacity(left.len(), left.len());
    let nodes: BTreeMap<StepId, _> =
        left.iter().map(|step| (*step, knots.add_node(*step))).collect();
    for step in &left {
        for needed in needs.row(step.index()) {
            if let Some(node) = nodes.get(needed) {
                knots.add_edge(nodes[step], *node, ());
            }
        }
    }
    // Not `tarjan_scc`: it recurses, and a long chain would overflow the stack.
    let mut told: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    let mut paths: BTreeMap<StepId, Vec<StepId>> = BTreeMap::new();
    for knot in kosaraju_scc(&knots) {
        let steps: BTreeSet<StepId> = knot.iter().map(|node| knots[*node]).collect();
        if let Some(path) = shortest_cycle(needs, &steps) {
            paths.insert(path[0], path);
        }
    }
    let mut faults = Vec::new();
    for path in paths.values() {
        if told.insert(path.iter().map(|step| def_of(*step)).collect()) {
            faults.push(cycle_fault(plan, path, name, def_of));
        }
    }
    faults
}

/// The shortest way from the knot's first step along needs back to it; none when the knot is a
/// single step that does not need itself.
fn shortest_cycle(needs: &Rows<StepId>, knot: &BTreeSet<StepId>) -> Option<Vec<StepId>> {
    let start = *knot.first()?;
    let mut from: BTreeMap<StepId, StepId> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(step) = queue.pop_front() {
        for needed in needs.row(step.index()) {
            if *needed == start {
                let mut path = vec![step];
                while let Some(before) = path.last().and_then(|last| from.get(last)) {
                    path.push(*before);
                }
                path.reverse();
                return Some(path);
            }
            if knot.contains(needed) && !from.contains_key(needed) {
                from.insert(*needed, step);
                queue.push_back(*needed);
            }
        }
    }
    None
}

fn cycle_fault(
    plan: &Plan,
    path: &[StepId],
    name: &dyn Fn(StepId) -> String,
    def_of: &dyn Fn(StepId) -> usize,
) -> Fault {
    const SHOWN: usize = 12;
    let mut shown: Vec<String> =
        path.iter().take(SHOWN).map(|step| format!("`{}`", name(*step))).collect();
    if path.len() > SHOWN {
        shown.push(format!("{} more", path.len() - SHOWN));
    }
    shown.push(format!("`{}`", name(path[0])));
    let first = &plan.steps[def_of(path[0])];
    let next = path.get(1).or(path.first()).map(|step| &plan.steps[def_of(*step)].name.value);
    let need = first.needs.iter().find(|need| Some(&need.step.value) == next);
    let span = need.map_or(first.name.span, |need| need.step.span);
    let what = if path.len() == 1 {
        format!("step {} needs itself", shown[0])
    } else {
        format!("these steps need each other: {}", shown.join(" -> "))
    };
    Fault::error("cycle", span, what)
        .hint("none of them could ever start: take one of these needs away")
}
