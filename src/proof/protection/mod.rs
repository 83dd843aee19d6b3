//! Protection over all states (4.4): in no state that the plan can reach are too few providers of a
//! protected service up, or too many holders of an exclusive role there.
//!
//! `loses` counts from begin, `gains` from end, `disturbs` from begin to end: each effect is a weight
//! on an event, and the least sum over all states is one minimum cut (`closure`). For `exclusive` the
//! signs are turned and `gains` counts from begin, `loses` from end: the most holders at once.
//!
//! Lines are much alike: subjects that are the same but for their name are judged once.
//!
//! Not known here: failures and doubt. The runner keeps the invariant that every begun step has all
//! the steps that it needs done, so that its states are exactly the down-closed sets.

mod cure;
mod model;
mod order;
pub(super) mod subject;
#[cfg(test)]
mod tests;
mod witness;

use crate::event::{LineId, StepId};
use crate::graph::{Effect, Graph};
use crate::plan::OnFailure;
use crate::text::fault::Fault;
use cure::Cures;
pub(super) use model::Model;
use order::{FEW, orders};
use std::collections::BTreeMap;
use std::fmt;
pub(super) use subject::Subject;
use subject::subjects;

/// What was proved of one service or role. As text it is the proof in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// `ocsp[geotrust]`, `writer[geotrust]`
    pub name: String,
    /// A floor (`at_least`) or a ceiling (`at_most`).
    pub sense: Sense,
    /// The floor or ceiling of the plan.
    pub limit: u32,
    /// How many providers or sites there are.
    pub of: u32,
    /// How many of them are up, or hold it, before anything has begun.
    pub at_start: u32,
    /// The least up, or the most holders, over all reachable states.
    pub reached: u32,
    /// Whether some state really reaches it; else it is a safe bound (unordered `disturbs`).
    pub exact: bool,
    /// Steps that have begun and not ended in a tightest state, by name, as few as may be; none when
    /// it is as tight at the start.
    pub tightest: Vec<String>,
    /// Steps with an effect on it that have ended in that state, by name.
    pub after: Vec<String>,
    /// How many steps have an effect on it.
    pub steps: u32,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reached, of) = (&self.name, self.reached, self.of);
        match self.sense {
            Sense::AtLeast => write!(f, "{name}: at least {reached} of {of}")?,
            Sense::AtMost => write!(f, "{name}: at most {reached} of {of} sites hold it")?,
        }
        f.write_str(" in every reachable state")?;
        if !self.exact {
            f.write_str(" (a safe bound)")?;
        }
        f.write_str("; tightest: ")?;
        let ticked = |names: &[String]| -> String {
            let names: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let more = self.tightest.len().saturating_sub(4);
        match self.tightest.as_slice() {
            [] if self.after.is_empty() => f.write_str("at the start"),
            [] => write!(f, "after {}", ticked(&self.after)),
            names if more == 0 => write!(f, "{} running", ticked(names)),
            names => write!(f, "{} and {more} more running", ticked(names)),
        }
    }
}

/// Which way a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sense {
    /// Never fewer.
    AtLeast,
    /// Never more.
    AtMost,
}

/// Proves every floor and ceiling of the plan without the steps that are out (they hand their needs
/// on).
///
/// # Errors
/// Each bound that some reachable state breaks, with the steps that lead there and what would cure
/// it; and effects on one provider whose order is left open.
pub(super) fn prove(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Result<Vec<Bound>, Vec<Fault>> {
    prove_all(graph, &subjects(graph, out))
}

/// Lines that may be rolled back alone: some step of theirs says `rollback-line`.
pub(super) fn lines_alone(graph: &Graph) -> Vec<LineId> {
    let mut alone = vec![false; graph.line_count()];
    for step in graph.steps() {
        if let (Some(line), OnFailure::RollbackLine) = (graph.line(step), graph.on_failure(step)) {
            alone[line.index()] = true;
        }
    }
    let lines = (0..).map(LineId).zip(alone);
    lines.filter(|(_, alone)| *alone).map(|(line, _)| line).collect()
}

/// The faults of the plan without each of these lines, one at a time. Steps that are out hand their
/// needs on, so only what the line's own steps act on can differ.
pub(super) fn prove_without_lines(graph: &Graph, lines: &[LineId]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if lines.is_empty() {
        return faults;
    }
    let whole = subjects(graph, &|_| false);
    for &line in lines {
        let is_out = |step: StepId| graph.line(step) == Some(line);
        let touched = whole.iter().filter(|it| it.steps().into_iter().any(is_out));
        let left: Vec<Subject> = touched.map(|it| it.without(&is_out)).collect();
        let name = graph.line_name(line);
        for mut fault in prove_all(graph, &left).err().unwrap_or_default() {
            fault.what = format!("when line `{name}` is rolled back alone, {}", fault.what);
            faults.push(fault);
        }
    }
    faults
}

/// What two subjects have in common of which one is proved like the other.
type Likeness<'a> = (Sense, u32, Vec<(bool, &'a [(StepId, Effect)])>);

fn prove_all(graph: &Graph, subjects: &[Subject]) -> Result<Vec<Bound>, Vec<Fault>> {
    let mut unlike: Vec<&Subject> = Vec::new();
    let mut places: BTreeMap<Likeness<'_>, usize> = BTreeMap::new();
    let mut like = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let things = subject.things.iter().map(|thing| (thing.up, thing.effects.as_slice()));
        let place = places.entry((subject.sense, subject.limit, things.collect()));
        like.push(*place.or_insert_with(|| {
            unlike.push(subject);
            unlike.len() - 1
        }));
    }
    let sets: Vec<_> = unlike.iter().map(|subject| subject.steps()).collect();
    let orders = orders(graph, &sets, FEW);
    let mut cures = Cures::new();
    let judged: Vec<_> = unlike
        .iter()
        .zip(orders)
        .map(|(subject, order)| prove_one(graph, subject, &order, &mut cures))
        .collect();
    let mut bounds = Vec::new();
    let mut faults = Vec::new();
    for (subject, place) in subjects.iter().zip(like) {
        match &judged[place] {
            Ok(bound) => bounds.push(Bound { name: subject.name.clone(), ..bound.clone() }),
            Err(found) => faults.extend(found.iter().map(|fault| {
                let (theirs, own) =
                    (format!("`{}`", unlike[place].name), format!("`{}`", subject.name));
                Fault { what: fault.what.replacen(&theirs, &own, 1), ..fault.clone() }
            })),
        }
    }
    if faults.is_empty() { Ok(bounds) } else { Err(faults) }
}

fn prove_one(
    graph: &Graph,
    subject: &Subject,
    order: &order::Order<'_>,
    cures: &mut Cures,
) -> Result<Bound, Vec<Fault>> {
    let model = Model::with(graph, subject, order)?;
    let (least, state) = model.jobs.least();
    let reached = subject.count(least);
    if subject.breaks(reached) {
        return Err(vec![model.breach(graph, subject, order, &state, cures)]);
    }
    let tightest = model.shrunk(&state, &|weight| weight <= least);
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Bound {
        name: subject.name.clone(),
        sense: subject.sense,
        limit: subject.limit,
        of: small(subject.things.len()),
        at_start: u32::try_from(subject.at_start()).unwrap_or_default(),
        reached: u32::try_from(reached.max(0)).unwrap_or(u32::MAX),
        exact: model.exact,
        tightest: model.under_way(&tightest).map(|step| graph.name(step)).collect(),
        after: model.ended(&tightest).map(|step| graph.name(step)).collect(),
        steps: small(subject.steps().len()),
    })
}
