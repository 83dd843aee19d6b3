//! What could be next and why it is not: steps of one definition that wait for the same are one row.

use super::fit::Part;
use super::{View, hour, span};
use crate::event::StepId;
use crate::plan::Work;
use crate::run::{Cause, Status};
use std::collections::BTreeMap;

/// Rows at most, whatever the height: further ones would only repeat the plan.
const MOST: usize = 8;

/// What of a cause is alike for steps that share a row; people come first.
type Key = (u8, usize, String);

/// The rows.
pub(super) fn part(view: &View<'_>) -> Part {
    let run = view.run;
    let graph = run.graph();
    let mut groups: BTreeMap<Key, (Vec<StepId>, Vec<String>)> = BTreeMap::new();
    for step in graph.steps().filter(|&step| could_be_next(view, step)) {
        let causes = run.waits_for(step);
        let Some(first) = causes.first() else { continue };
        let (rank, alike, words) = because(view, step, first);
        let key = (rank, graph.def_index(step), alike);
        let (steps, whys) = groups.entry(key).or_default();
        steps.push(step);
        let further = causes.iter().skip(1).filter(|cause| matches!(cause, Cause::Step(_)));
        let further = further.map(|cause| because(view, step, cause).2);
        for why in std::iter::once(words).chain(further) {
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
    }
    let rows = groups.into_values().map(|(steps, whys)| {
        let who = match steps.as_slice() {
            [one] => graph.name(*one),
            [first, ..] => format!("{} x {}", steps.len(), graph.def(*first).name.value),
            [] => String::new(),
        };
        let why = match whys.as_slice() {
            [one] => one.clone(),
            [one, two] => format!("{one} and {two}"),
            [one, ..] => format!("{one} and {} more", whys.len() - 1),
            [] => String::new(),
        };
        (format!("waits   {who} for {why}"), steps.len())
    });
    let mut part = Part::weighed(rows.collect(), 1, "step", " that wait");
    part.fold(MOST);
    part
}

fn could_be_next(view: &View<'_>, step: StepId) -> bool {
    let run = view.run;
    let met = |need: &StepId| {
        matches!(run.status(*need), Status::Done | Status::Running(_)) || run.is_out(*need)
    };
    matches!(run.status(step), Status::Clean | Status::Waiting(_))
        && !run.is_out(step)
        && run.graph().needs(step).iter().all(met)
}

/// Who is to approve a gate, and how many have.
fn people(view: &View<'_>, step: StepId) -> String {
    let Work::Ask(gate) = &view.run.graph().def(step).work else { return "people".to_owned() };
    let by: Vec<&str> = gate.by.iter().map(|group| group.value.as_str()).collect();
    let have = view.run.approved_by(step).len();
    format!("{} ({have} of {} approved): `cutover approve`", by.join(", "), gate.quorum)
}

/// How urgent a cause is, what it shares with others, and its words.
fn because(view: &View<'_>, step: StepId, cause: &Cause) -> (u8, String, String) {
    let graph = view.run.graph();
    let provider = |id: crate::event::ProviderId| &graph.providers()[id.index()];
    let own = |rank: u8, words: String| (rank, step.0.to_string(), words);
    let shared = |rank: u8, words: String| (rank, words.clone(), words);
    match cause {
        Cause::People => own(0, people(view, step)),
        Cause::Floor { service, wanting } => {
            let wanting: Vec<&str> = wanting.iter().map(|&id| &*provider(id).name).collect();
            let wanting = wanting.join(", ");
            own(1, format!("{service}: too few would be left; wanted back: {wanting}"))
        }
        Cause::Revocation(line) => {
            shared(1, format!("a revocation of {} to be confirmed", graph.line_name(*line)))
        }
        Cause::Held(_) => shared(2, "the hold".to_owned()),
        Cause::Time(_, at) => {
            let left = span(at.duration_since(view.now));
            shared(3, format!("{} ({left} to go)", hour(*at, &view.zone)))
        }
        Cause::Verdict(id) => (4, String::new(), format!("a verdict on {}", provider(*id).name)),
        Cause::Limit(name) => shared(5, format!("a place of limit `{name}`")),
        Cause::Step(need) => (6, graph.def_index(*need).to_string(), graph.name(*need)),
    }
}
