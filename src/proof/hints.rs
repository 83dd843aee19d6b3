//! What is worth a look and no fault: needs that others imply, steps that nothing waits for.

use crate::event::StepId;
use crate::graph::Graph;
use crate::plan::Kind;
use crate::text::fault::Fault;

/// Above this nobody reads hints, and looking for them costs more than all the rest.
const MAX_STEPS: usize = 20_000;

/// Finds them.
pub(super) fn find(graph: &Graph, faults: &mut Vec<Fault>) {
    let gated = graph.behind(|step| u64::from(graph.kind(step) == Kind::Gate));
    let has_gate = graph.steps().any(|step| graph.kind(step) == Kind::Gate);
    for def in 0..graph.plan().steps.len() {
        unneeded(graph, def, faults);
        if has_gate {
            ungated(graph, def, &gated, faults);
        }
    }
    if graph.len() <= MAX_STEPS {
        implied(graph, faults);
    }
}

/// A drain, snapshot, transfer, verify or gate is there for what comes after it.
fn unneeded(graph: &Graph, def: usize, faults: &mut Vec<Fault>) {
    let step = &graph.plan().steps[def];
    let guards = matches!(
        step.kind,
        Kind::Drain | Kind::Snapshot | Kind::Transfer | Kind::Verify | Kind::Gate
    );
    let waits = |id: StepId| {
        graph.dependents(id).iter().any(|dependent| graph.def_index(*dependent) != def)
    };
    if guards && graph.plan().steps.len() > 1 && !graph.instances(def).any(waits) {
        let kind = step.kind.name();
        let what =
            format!("{kind} `{}` is needed by no step: nothing waits for it", step.name.value);
        faults.push(Fault::warning("unneeded", step.name.span, what));
    }
}

/// In a plan with a go or no-go, what comes neither before it nor after it: it may still run, or
/// fail, long after everybody agreed. A notice says something, and is an end by itself.
fn ungated(graph: &Graph, def: usize, gated: &[u64], faults: &mut Vec<Fault>) {
    let step = &graph.plan().steps[def];
    let prepares = matches!(step.kind, Kind::Upgrade | Kind::Switch | Kind::Task);
    let is_loose = |id: StepId| gated[id.index()] == 0 && graph.dependents(id).is_empty();
    if prepares && graph.instances(def).any(is_loose) {
        let kind = step.kind.name();
        let what = format!(
            "{kind} `{}` is needed by no step, and lies behind no gate: no go or no-go waits for it",
            step.name.value
        );
        let fault = Fault::warning("unneeded", step.name.span, what)
            .hint("let the gate need it, or let it need the gate");
        faults.push(fault);
    }
}

/// Written needs every edge of which another need of the same step implies.
fn implied(graph: &Graph, faults: &mut Vec<Fault>) {
    // For each edge, whether its far end lies behind another need of the step.
    let mut pairs: Vec<(StepId, StepId)> = Vec::new();
    let mut asked: Vec<(usize, usize, std::ops::Range<usize>)> = Vec::new();
    for (index, def) in graph.plan().steps.iter().enumerate() {
        for (place, need) in def.needs.iter().enumerate() {
            let target = graph.named(&need.step.value);
            let (Some(first), Some(last)) = (target.first(), target.last()) else { continue };
            for step in graph.instances(index) {
                let needs = graph.needs(step);
                for needed in needs.iter().filter(|needed| (first..=last).contains(needed)) {
                    let start = pairs.len();
                    let others = needs.iter().filter(|other| *other != needed);
                    // A hundred others are enough to look at: a hint may be missed, never wrong.
                    pairs.extend(others.take(100).map(|other| (*needed, *other)));
                    asked.push((index, place, start..pairs.len()));
                }
                if pairs.len() > 4_000_000 {
                    return;
                }
            }
        }
    }
    let ordered = graph.ordered(&pairs);
    let mut by_need: std::collections::BTreeMap<(usize, usize), bool> = Default::default();
    for (def, place, range) in asked {
        let edge_implied = ordered[range].contains(&true);
        by_need.entry((def, place)).and_modify(|all| *all &= edge_implied).or_insert(edge_implied);
    }
    for ((def, place), all) in by_need {
        if all {
            let step = &graph.plan().steps[def];
            let need = &step.needs[place].step;
            let what = format!(
                "step `{}` needs `{}` through its other needs anyway",
                step.name.value, need.value
            );
            faults.push(Fault::warning("implied-need", need.span, what));
        }
    }
}
