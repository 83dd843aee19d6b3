//! What is told of a broken floor or ceiling: a short sequence of steps that leads there, and what
//! would cure it.

use super::Sense;
use super::cure::Cures;
use super::model::Model;
use super::order::Order;
use super::subject::Subject;
use crate::event::StepId;
use crate::graph::Graph;
use crate::proof::closure::State;
use crate::text::fault::Fault;
use std::collections::BTreeSet;

/// So many sets of begun steps are looked at before a witness is left to be short, not shortest.
const SETS: usize = 20_000;
/// So many steps are named; nobody reads more.
const SHOWN: usize = 8;

impl Model {
    /// The fault of a subject that breaks its bound in this state.
    pub(super) fn breach(
        &self,
        graph: &Graph,
        subject: &Subject,
        order: &Order<'_>,
        state: &State,
        cures: &mut Cures,
    ) -> Fault {
        let state = self.shrunk(state, &|weight| subject.breaks(subject.count(weight)));
        let (state, shortest) = match self.shorter(subject, &state) {
            Search::Found(shorter) => (shorter, true),
            Search::None => (state, true),
            Search::GivenUp => (state, false),
        };
        let reached = subject.count(self.jobs.weight(&state));
        let going: Vec<StepId> = self.under_way(&state).collect();
        let ended: Vec<StepId> = self.ended(&state).collect();
        let what = said(graph, subject, reached, &going);
        let code = match subject.sense {
            Sense::AtLeast => "floor",
            Sense::AtMost => "ceiling",
        };
        let mut fault = Fault::error(code, subject.span, what);
        if !ended.is_empty() || !going.is_empty() {
            let way = if shortest { "the shortest way there" } else { "a short way there" };
            let then = match (ended.is_empty(), going.len()) {
                (true, 1) => format!("{} begins", names(graph, &going)),
                (true, _) => format!("{} begin, in any order", names(graph, &going)),
                (_, 0) => format!("{} end", names(graph, &ended)),
                (_, 1) => {
                    format!("{} end, then {} begins", names(graph, &ended), names(graph, &going))
                }
                _ => format!("{} end, then {} begin", names(graph, &ended), names(graph, &going)),
            };
            let last = going.last().or(ended.last());
            let span = last.map_or(subject.span, |&step| graph.def(step).name.span);
            fault = fault.also(span, format!("{way}: {then}"));
        }
        // Each definition once; the last one bears the way.
        let mut told: BTreeSet<usize> =
            going.last().map(|&it| graph.def_index(it)).into_iter().collect();
        for &step in going.iter().rev() {
            if told.len() < SHOWN && told.insert(graph.def_index(step)) {
                fault = fault.also(graph.def(step).name.span, format!("`{}`", graph.name(step)));
            }
        }
        let cure = cures.find(self, graph, subject, order, &state);
        fault.hint(cure.unwrap_or_else(|| {
            let hint = match subject.sense {
                Sense::AtLeast if going.is_empty() && ended.is_empty() => {
                    "list under `providers:` who serves, or lower `at_least`"
                }
                Sense::AtLeast => "bring another provider up before these steps begin",
                Sense::AtMost => "let the old holder be fenced before the new one is promoted",
            };
            hint.to_owned()
        }))
    }

    /// Looks through all sets of begun steps that are smaller than this state's, smallest first.
    fn shorter(&self, subject: &Subject, state: &State) -> Search {
        let jobs = &self.jobs;
        if jobs.len() > 64 || !self.exact {
            return Search::GivenUp;
        }
        let mask = |job: &u32| 1_u64 << job;
        let needs: Vec<u64> = jobs
            .before
            .iter()
            .map(|before| before.iter().map(mask).fold(0, |a, b| a | b))
            .collect();
        let size = state.begun.iter().filter(|begun| **begun).count();
        let mut layer: BTreeSet<u64> = BTreeSet::from([0]);
        let mut seen = 0;
        for _ in 0..size {
            let mut next = BTreeSet::new();
            for set in layer {
                seen += 1;
                if seen > SETS {
                    return Search::GivenUp;
                }
                let worst = self.worst(set, &needs);
                if subject.breaks(subject.count(jobs.weight(&worst))) {
                    return Search::Found(worst);
                }
                let may = |job: &usize| set >> job & 1 == 0 && needs[*job] & !set == 0;
                next.extend((0..jobs.len()).filter(may).map(|job| set | 1 << job));
            }
            layer = next;
        }
        Search::None
    }

    /// Of the states in which exactly these jobs have begun the one with the least weight.
    fn worst(&self, set: u64, needs: &[u64]) -> State {
        let jobs = &self.jobs;
        let held = |job: usize| set >> job & 1 == 1;
        let needed = (0..jobs.len()).filter(|job| held(*job)).fold(0, |all, job| all | needs[job]);
        let ended = |job: usize| held(job) && (needed >> job & 1 == 1 || jobs.end[job] < 0);
        State {
            begun: (0..jobs.len()).map(held).collect(),
            ended: (0..jobs.len()).map(ended).collect(),
        }
    }
}

enum Search {
    Found(State),
    None,
    GivenUp,
}

fn said(graph: &Graph, subject: &Subject, reached: i64, going: &[StepId]) -> String {
    let is = if going.len() == 1 { "is" } else { "are" };
    let when = match going {
        [] => " at the start".to_owned(),
        _ => format!(": while {} {is} under way", names(graph, going)),
    };
    match subject.sense {
        Sense::AtLeast => format!(
            "`{}` can be down to {reached} of {}, fewer than {}{when}",
            subject.name,
            subject.things.len(),
            subject.limit,
        ),
        Sense::AtMost => format!(
            "`{}` can have {reached} holders at once, more than {}{when}",
            subject.name, subject.limit,
        ),
    }
}

fn names(graph: &Graph, steps: &[StepId]) -> String {
    let mut names: Vec<_> =
        steps.iter().take(SHOWN).map(|&step| format!("`{}`", graph.name(step))).collect();
    if steps.len() > SHOWN {
        names.push(format!("{} more", steps.len() - SHOWN));
    }
    names.join(", ")
}
