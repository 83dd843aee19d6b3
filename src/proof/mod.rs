//! What `check` proves before anything runs: sections 4.1 to 4.4 of the design; 4.5, which rests on
//! estimates and proves nothing, is [`window`].
//!
//! A step that is out takes no part: it owes nothing and gives nothing, but hands its needs on, so
//! the order of the others stays as it is. That is why every question here is asked of the whole
//! graph, with a mark on what is out. Not known here: states of a run, clocks, the estate.

mod closure;
mod domain;
mod flow;
mod hints;
pub mod present;
pub mod protection;
mod rollback;
mod states;
#[cfg(test)]
mod tests;
pub mod window;

use crate::action::Action;
use crate::event::{LineId, StepId};
use crate::graph::Graph;
use crate::plan::template::Template;
use crate::plan::{Phase, Work};
use crate::text::Span;
use crate::text::fault::{Fault, Severity};
use protection::Bound;
pub use states::States;
use std::collections::BTreeMap;

/// What was proved of a graph, printed by `check`.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Warnings and notes.
    pub warnings: Vec<Fault>,
    /// For each line: what its rollback alone also undoes (step names of other lines and of none).
    pub line_rollbacks: Vec<LineRollback>,
    /// For each protected service and exclusive role the tightest state.
    pub bounds: Vec<Bound>,
    /// Lines that may be rolled back alone (some step of theirs says `rollback-line`): the bounds
    /// hold without each of them, too.
    pub lines_alone: Vec<String>,
    /// How many states the plan can reach.
    pub states: States,
}

/// What a `rollback-line` of a line undoes beside the line's own steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRollback {
    /// The line.
    pub line: String,
    /// Definition names of other steps that it undoes too, if begun.
    pub also: Vec<String>,
}

/// Proves sections 4.1 to 4.4 of the design: graph, domain, rollback, protection.
///
/// The work is close to that of looking at every edge once for each 64 steps that act on a service.
///
/// # Errors
/// Every fault found, in written order, warnings among them.
pub fn prove(graph: &Graph) -> Result<Proof, Vec<Fault>> {
    let view = View { graph, out: None };
    let mut faults = Vec::new();
    never_met(graph, &mut faults);
    let bounds = judge(&view, &mut faults);
    let alone = protection::lines_alone(graph);
    // What is broken as it is says nothing of what is left of it.
    if !bounds.is_empty() {
        let found = protection::prove_without_lines(graph, &alone);
        faults.extend(once_for_all_lines(graph, found));
    }
    hints::find(graph, &mut faults);
    let warnings = finish(faults)?;
    Ok(Proof {
        warnings,
        line_rollbacks: rollback::of_lines(&view),
        bounds,
        lines_alone: alone.iter().map(|line| graph.line_name(*line).to_owned()).collect(),
        states: states::count(graph),
    })
}

/// Warnings of what the proof had to take on trust: where these are refused (`check --strict`), it
/// rests on what plan and estate say, and on nothing else.
const ON_TRUST: [&str; 2] = ["effects-unsaid", "start-unknown"];

/// Makes errors of the warnings that say what the proof takes on trust; whether there were any.
pub fn strict(faults: &mut [Fault]) -> bool {
    let mut any = false;
    for fault in faults.iter_mut().filter(|fault| ON_TRUST.contains(&fault.code)) {
        fault.severity = Severity::Error;
        any = true;
    }
    any
}

/// Proves the same of the plan without the steps that are out: what needed them needs what they
/// needed. Asked before a step is skipped, a line goes out, or something comes back.
///
/// # Errors
/// Every fault found: the plan without them is not safe.
pub fn prove_without(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Result<(), Vec<Fault>> {
    let view = View { graph, out: Some(graph.steps().map(out).collect()) };
    let mut faults = Vec::new();
    outputs_left(&view, &mut faults);
    let _ = judge(&view, &mut faults);
    finish(faults).map(|_| ())
}

fn judge(view: &View<'_>, faults: &mut Vec<Fault>) -> Vec<Bound> {
    domain::judge(view, faults);
    rollback::judge(view, faults);
    protection::prove(view.graph, &|step| !view.is_in(step)).unwrap_or_else(|found| {
        faults.extend(once_for_all_lines(view.graph, found));
        Vec::new()
    })
}

/// Lines are much alike, and so are their faults: one that several lines have is told of the first,
/// with the number of the others.
fn once_for_all_lines(graph: &Graph, faults: Vec<Fault>) -> Vec<Fault> {
    let of_any_line = |text: &str| -> String {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let words = text.split_inclusive(|c: char| !is_name(c));
        let general = words.map(|word| {
            let name = word.trim_end_matches(|c: char| !is_name(c));
            if graph.find_line(name).is_some() { &word[name.len()..] } else { word }
        });
        general.collect()
    };
    let mut places: BTreeMap<(&'static str, Option<Span>, String), usize> = BTreeMap::new();
    let mut told: Vec<(Fault, u32)> = Vec::new();
    for fault in faults {
        let key = (fault.code, fault.span, of_any_line(&fault.what));
        let place = *places.entry(key).or_insert(told.len());
        match told.get_mut(place) {
            Some((_, more)) => *more += 1,
            None => told.push((fault, 0)),
        }
    }
    let counted = told.into_iter().map(|(mut fault, more)| {
        match more {
            0 => {}
            1 => fault.what.push_str(" (and so for one more line)"),
            more => fault.what.push_str(&format!(" (and so for {more} more lines)")),
        }
        fault
    });
    counted.collect()
}

fn finish(mut faults: Vec<Fault>) -> Result<Vec<Fault>, Vec<Fault>> {
    faults.sort_by_key(|fault| fault.span);
    let is_error = |fault: &Fault| fault.severity == Severity::Error;
    if faults.iter().any(is_error) { Err(faults) } else { Ok(faults) }
}

/// A graph, and what of it is out.
struct View<'g> {
    graph: &'g Graph,
    out: Option<Vec<bool>>,
}

impl View<'_> {
    fn is_in(&self, step: StepId) -> bool {
        !self.out.as_ref().is_some_and(|out| out[step.index()])
    }

    /// Steps that take part, in written order.
    fn steps(&self) -> impl Iterator<Item = StepId> + '_ {
        self.graph.steps().filter(|step| self.is_in(*step))
    }

    /// A point of no return that takes part.
    fn is_point_of_no_return(&self, step: StepId) -> bool {
        self.is_in(step) && self.graph.is_point_of_no_return(step)
    }

    /// The line that a step concerns: that of its instance, else the one that its action names.
    fn line(&self, step: StepId) -> Option<LineId> {
        let named = |text: &Template| {
            let name = self.graph.fill(step, text, &|_| None).ok()?;
            self.graph.find_line(&name)
        };
        self.graph.line(step).or_else(|| match self.act(step)? {
            Action::EdgeClose(it) => named(&it.line),
            Action::EdgeOpen(it) => named(&it.line),
            Action::OrdersPause(it) => named(&it.line),
            Action::OrdersResume(it) => named(&it.line),
            Action::DatabaseSnapshot(it) => named(&it.database),
            Action::DatabaseTransfer(it) => named(&it.database),
            Action::DatabaseVerify(it) => named(&it.database),
            _ => None,
        })
    }

    fn act(&self, step: StepId) -> Option<&Action<Template>> {
        match &self.graph.def(step).work {
            Work::Act { act, .. } => Some(act),
            Work::Ask(_) => None,
        }
    }
}

/// Clocks that contradict a phase: a step that could start only when its phase is over.
fn never_met(graph: &Graph, faults: &mut Vec<Fault>) {
    let Some(window) = &graph.plan().window else { return };
    for def in &graph.plan().steps {
        let Some(not_before) = def.not_before else { continue };
        let (over, what) = match def.phase {
            Phase::Before => (window.opens, "phase before ends when the window opens"),
            Phase::Window => (window.closes, "the window is closed then"),
            Phase::After => continue,
        };
        if not_before >= over {
            let what =
                format!("step `{}` may not start before {not_before}, and {what}", def.name.value);
            let fault = Fault::error("never-in-phase", def.name.span, what)
                .hint("bring its `not_before` forward, or give it a later `phase`");
            faults.push(fault);
        }
    }
}

/// What is out has printed nothing.
fn outputs_left(view: &View<'_>, faults: &mut Vec<Fault>) {
    for (from, by, span) in view.graph.look_ups() {
        if view.is_in(*by) && !view.is_in(*from) {
            let (from, by) = (view.graph.name(*from), view.graph.name(*by));
            let what = format!("`{by}` looks up an output of `{from}`, which is out");
            let fault = Fault::error("output-of-out", *span, what)
                .hint(format!("leave `{by}` out too, or bring `{from}` back"));
            faults.push(fault);
        }
    }
}
