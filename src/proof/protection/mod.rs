//! Protection over all states (4.4): in no state that the plan can reach are too few providers of a
//! protected service up, or too many holders of an exclusive role there.
//!
//! `loses` counts from begin, `gains` from end, `disturbs` from begin to end: each effect is a weight
//! on an event, and the least sum over all states is one minimum cut (`closure`). For `exclusive` the
//! signs are turned and `gains` counts from begin, `loses` from end: the most holders at once.
//!
//! Not known here: failures and doubt. The runner keeps the invariant that every begun step has all
//! the steps that it needs done, so that its states are exactly the down-closed sets.
mod above;
mod model;
pub(super) mod subject;
#[cfg(test)]
mod tests;
mod witness;

use crate::event::StepId;
use crate::graph::Graph;
use crate::text::fault::Fault;
pub(super) use model::Model;
pub(super) use subject::Subject;
use subject::subjects;

/// What was proved of one service or role.
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
    /// The least up, or the most holders, over all reachable states.
    pub reached: u32,
    /// Whether some state really reaches it; else it is a safe bound (unordered `disturbs`).
    pub exact: bool,
    /// Steps that have begun and not ended in the tightest state, by name.
    pub tightest: Vec<String>,
}

/// Which way a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let mut bounds = Vec::new();
    let mut faults = Vec::new();
    for subject in subjects(graph, out) {
        match prove_one(graph, &subject) {
            Ok(bound) => bounds.push(bound),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(bounds) } else { Err(faults) }
}

fn prove_one(graph: &Graph, subject: &Subject) -> Result<Bound, Vec<Fault>> {
    let model = Model::of(graph, subject)?;
    let (least, state) = model.jobs.least();
    let start: i64 = subject.things.iter().map(|thing| i64::from(thing.up)).sum();
    let sign = match subject.sense {
        Sense::AtLeast => 1,
        Sense::AtMost => -1,
    };
    let reached = start + sign * least;
    let broken = match subject.sense {
        Sense::AtLeast => reached < i64::from(subject.limit),
        Sense::AtMost => reached > i64::from(subject.limit),
    };
    if broken {
        return Err(vec![model.breach(graph, subject, start, &state)]);
    }
    Ok(Bound {
        name: subject.name.clone(),
        sense: subject.sense,
        limit: subject.limit,
        of: u32::try_from(subject.things.len()).unwrap_or(u32::MAX),
        reached: u32::try_from(reached.max(0)).unwrap_or(u32::MAX),
        exact: model.exact,
        tightest: model.under_way(&state).map(|step| graph.name(step)).collect(),
    })
}
