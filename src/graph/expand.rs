//! Needs as a natural join, serial chains, phases: from definitions to edges.

use super::rows::Rows;
use super::shape::{Shape, Span};
use super::{MAX_EDGES, suggest};
use crate::event::StepId;
use crate::plan::{Need, Phase, Plan, Serial, StepDef};
use crate::text::fault::{Fault, Severity};
use std::collections::BTreeSet;

/// So many unknown names get a suggestion.
const MAX_SUGGESTED: usize = 20;

/// One need, ready to be walked for each instance.
struct Join {
    /// First instance of the needed definition.
    first: u32,
    /// For each shared variable: the digit of ours, and where its values lead in theirs.
    shared: Vec<Shared>,
    /// Every combination of the variables that only the needed definition has.
    free: Vec<u32>,
}

struct Shared {
    stride: u32,
    size: u32,
    leads: Vec<Option<u32>>,
}

impl Join {
    fn for_each(&self, offset: u32, mut take: impl FnMut(StepId)) {
        let mut base = self.first;
        for shared in &self.shared {
            match shared.leads[((offset / shared.stride) % shared.size) as usize] {
                Some(lead) => base += lead,
                None => return,
            }
        }
        for free in &self.free {
            take(StepId(base + free));
        }
    }
}

/// Makes every edge. Faults go to `faults`; edges of a faulty need are left out.
pub(super) fn needs(plan: &Plan, shape: &Shape, faults: &mut Vec<Fault>) -> Rows<StepId> {
    let mut rows = Rows::with_capacity(shape.len());
    let mut scratch: Vec<StepId> = Vec::new();
    let mut budget = MAX_EDGES;
    for (def, span) in plan.steps.iter().zip(&shape.spans) {
        let mut joins = Vec::with_capacity(def.needs.len());
        for need in &def.needs {
            if let Some((join, edges)) = join(plan, shape, def, span, need, faults) {
                if edges > budget {
                    faults.push(too_many(def, need, edges));
                    continue;
                }
                budget -= edges;
                joins.push(join);
            }
        }
        repeated(def, faults);
        let chain = chain(def, span, faults);
        for id in span.ids() {
            let offset = id.0 - span.first;
            for join in &joins {
                join.for_each(offset, |needed| scratch.push(needed));
            }
            match chain {
                Chain::None => {}
                Chain::All if offset > 0 => scratch.push(StepId(id.0 - 1)),
                Chain::Along { stride, size } if (offset / stride) % size > 0 => {
                    scratch.push(StepId(id.0 - stride));
                }
                Chain::All | Chain::Along { .. } => {}
            }
            scratch.sort_unstable();
            scratch.dedup();
            scratch.drain(..).for_each(|needed| rows.push(needed));
            rows.end_row();
        }
    }
    with_phases(plan, shape, rows, budget, faults)
}

fn too_many(def: &StepDef, need: &Need, edges: u64) -> Fault {
    let what = format!(
        "step `{}` needing `{}` would make {edges} edges; more than {MAX_EDGES} in one plan are refused",
        def.name.value, need.step.value
    );
    Fault::error("too-many-edges", need.step.span, what)
        .hint("put a gate or a task between them, that needs the one and is needed by the other")
}

fn repeated(def: &StepDef, faults: &mut Vec<Fault>) {
    let mut seen = BTreeSet::new();
    for need in &def.needs {
        if !seen.insert((&need.step.value, need.all)) {
            let what = format!("step `{}` needs `{}` twice", def.name.value, need.step.value);
            faults.push(Fault::warning("need-twice", need.step.span, what));
        }
    }
}

fn join(
    plan: &Plan,
    shape: &Shape,
    def: &StepDef,
    span: &Span,
    need: &Need,
    faults: &mut Vec<Fault>,
) -> Option<(Join, u64)> {
    let Some(&target) = shape.by_name.get(&need.step.value) else {
        let what = format!("step `{}` needs unknown step `{}`", def.name.value, need.step.value);
        let known = plan.steps.iter().map(|step| step.name.value.as_str());
        let mut fault = Fault::error("unknown-step", need.step.span, what);
        // The reader has told the first of them already, and each costs a look at every name.
        if faults.len() < MAX_SUGGESTED {
            fault = fault.hint(suggest(&need.step.value, known, "steps"));
        }
        faults.push(fault);
        return None;
    };
    let (target, theirs) = (&plan.steps[target as usize], &shape.spans[target as usize]);
    if target.phase > def.phase {
        faults.push(against_phase(def, need, target));
        return None;
    }
    if span.size == 0 || theirs.size == 0 {
        return None; // `for_each` is at fault already
    }
    if need.all {
        let free: Vec<u32> = (0..theirs.size).collect();
        let edges = u64::from(span.size) * free.len() as u64;
        return Some((Join { first: theirs.first, shared: Vec::new(), free }, edges));
    }
    let mut shared = Vec::new();
    let mut free = vec![0_u32];
    let mut edges = u64::from(span.size);
    for (over, digit) in target.over.iter().zip(&theirs.digits) {
        let ours = def.over.iter().position(|own| own.variable.value == over.variable.value);
        let Some(ours) = ours else {
            free = free
                .iter()
                .flat_map(|base| (0..digit.size).map(move |value| base + value * digit.stride))
                .collect();
            continue;
        };
        let (own, own_digit) = (&def.over[ours], &span.digits[ours]);
        let lead = |value: &String| digit.places.get(value).map(|place| place * digit.stride);
        let leads: Vec<Option<u32>> = own.values.iter().map(lead).collect();
        let paired = leads.iter().flatten().count() as u64;
        if paired == 0 {
            faults.push(no_pair(def, need, &own.variable.value));
            return None;
        }
        if paired < leads.len() as u64 {
            faults.push(left_out(def, need, &own.values, &leads));
        }
        edges = edges / leads.len() as u64 * paired;
        shared.push(Shared { stride: own_digit.stride, size: own_digit.size, leads });
    }
    let edges = edges * free.len() as u64;
    Some((Join { first: theirs.first, shared, free }, edges))
}

fn against_phase(def: &StepDef, need: &Need, target: &StepDef) -> Fault {
    let what = format!(
        "step `{}` of phase {} needs `{}` of phase {}, which comes later: it could never start",
        def.name.value,
        phase_name(def.phase),
        target.name.value,
        phase_name(target.phase)
    );
    Fault::error("need-of-later-phase", need.step.span, what)
        .also(target.name.span, format!("`{}` stands here", target.name.value))
        .hint("phases are edges: before, then window, then after")
}

/// The word of the plan language.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::Window => "window",
        Phase::After => "after",
    }
}

fn no_pair(def: &StepDef, need: &Need, variable: &str) -> Fault {
    let what = format!(
        "step `{}` needs `{}`, but they have no value of `{variable}` in common: no edge would come of it",
        def.name.value, need.step.value
    );
    Fault::error("no-pair", need.step.span, what)
        .hint(format!("`{{ all: {} }}` needs every instance, whatever its values", need.step.value))
}

fn left_out(def: &StepDef, need: &Need, values: &[String], leads: &[Option<u32>]) -> Fault {
    let left: Vec<&str> = values
        .iter()
        .zip(leads)
        .filter(|(_, lead)| lead.is_none())
        .map(|(value, _)| value.as_str())
        .collect();
    let what = format!(
        "step `{}` waits for no `{}` where that has no instance: {}",
        def.name.value,
        need.step.value,
        super::listed(&left)
    );
    let mut note = Fault::warning("left-out", need.step.span, what);
    note.severity = Severity::Note;
    note
}

#[derive(Clone, Copy)]
enum Chain {
    None,
    All,
    Along { stride: u32, size: u32 },
}

fn chain(def: &StepDef, span: &Span, faults: &mut Vec<Fault>) -> Chain {
    match &def.serial {
        Serial::No => Chain::None,
        Serial::All => Chain::All,
        Serial::Along(variable) => {
            let place = def.over.iter().position(|over| over.variable.value == *variable);
            if place.is_none() {
                let what = format!(
                    "`serial` of step `{}` names `{variable}`, over which it does not fan out",
                    def.name.value
                );
                let known = def.over.iter().map(|over| over.variable.value.as_str());
                let fault = Fault::error("unknown-variable", def.name.span, what).hint(suggest(
                    variable,
                    known,
                    "variables of the step",
                ));
                faults.push(fault);
            }
            match place.and_then(|place| span.digits.get(place)) {
                Some(digit) => Chain::Along { stride: digit.stride, size: digit.size },
                None => Chain::None,
            }
        }
    }
}

/// Adds the edges of the phases: the sources of a phase need the sinks of the one before it. A step
/// of an earlier phase then lies behind every step of a later one, which is exact and needs the
/// fewest edges that plain needs can say it with.
fn with_phases(
    plan: &Plan,
    shape: &Shape,
    rows: Rows<StepId>,
    budget: u64,
    faults: &mut Vec<Fault>,
) -> Rows<StepId> {
    let phase_of = |step: StepId| plan.steps[shape.def_index(step)].phase;
    let mut phases: Vec<Phase> = plan.steps.iter().map(|def| def.phase).collect();
    phases.sort_unstable();
    phases.dedup();
    if phases.len() < 2 {
        return rows;
    }
    let mut is_source = vec![true; shape.len()];
    let mut is_sink = vec![true; shape.len()];
    for step in (0..shape.len() as u32).map(StepId) {
        let phase = phase_of(step);
        for needed in rows.row(step.index()) {
            if phase_of(*needed) == phase {
                is_source[step.index()] = false;
                is_sink[needed.index()] = false;
            }
        }
    }
    let of = |phase: Phase, mark: &[bool]| -> Vec<StepId> {
        let all = (0..shape.len() as u32).map(StepId);
        all.filter(|step| mark[step.index()] && phase_of(*step) == phase).collect()
    };
    let mut sinks_before: Vec<(Phase, Vec<StepId>)> = Vec::new();
    let mut edges = 0_u64;
    for pair in phases.windows(2) {
        let sinks = of(pair[0], &is_sink);
        edges += sinks.len() as u64 * of(pair[1], &is_source).len() as u64;
        sinks_before.push((pair[1], sinks));
    }
    if edges > budget {
        let what = format!(
            "the phases would make {edges} edges between the last steps of one and the first of the next; more than {MAX_EDGES} edges in one plan are refused"
        );
        let mut fault = Fault::error("too-many-edges", plan.steps[0].name.span, what)
            .hint("end a phase with one step (a gate, a task) that needs its last ones");
        fault.span = plan.steps.iter().find(|def| def.phase == phases[1]).map(|def| def.name.span);
        faults.push(fault);
        return rows;
    }
    let mut full = Rows::with_capacity(shape.len());
    let mut scratch: Vec<StepId> = Vec::new();
    for step in (0..shape.len() as u32).map(StepId) {
        scratch.extend_from_slice(rows.row(step.index()));
        if is_source[step.index()] {
            let phase = phase_of(step);
            let sinks = sinks_before.iter().find(|(of, _)| *of == phase);
            scratch.extend(sinks.into_iter().flat_map(|(_, sinks)| sinks));
            scratch.sort_unstable();
            scratch.dedup();
        }
        scratch.drain(..).for_each(|needed| full.push(needed));
        full.end_row();
    }
    full
}
