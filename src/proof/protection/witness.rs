//! What is told of a broken floor or ceiling: the steps that lead there, and what would cure it.

use super::Sense;
use super::above::index;
use super::model::Model;
use super::subject::Subject;
use crate::event::StepId;
use crate::graph::Graph;
use crate::proof::closure::State;
use crate::text::fault::Fault;

impl Model {
    pub(super) fn breach(
        &self,
        graph: &Graph,
        subject: &Subject,
        start: i64,
        state: &State,
    ) -> Fault {
        let state = self.shrunk(subject, start, state);
        let reached = start
            + match subject.sense {
                Sense::AtLeast => self.jobs.weight(&state),
                Sense::AtMost => -self.jobs.weight(&state),
            };
        let names = |steps: Vec<StepId>| {
            let names: Vec<_> =
                steps.iter().map(|&step| format!("`{}`", graph.name(step))).collect();
            names.join(", ")
        };
        let ended: Vec<StepId> = (0..self.steps.len())
            .filter(|&job| state.ended[job])
            .map(|job| self.steps[job])
            .collect();
        let going: Vec<StepId> = self.under_way(&state).collect();
        let after =
            if ended.is_empty() { String::new() } else { format!(" after {} ended", names(ended)) };
        let what = match subject.sense {
            Sense::AtLeast => format!(
                "`{}` can be down to {reached} of {}, fewer than {}: while {} {} under way{after}",
                subject.name,
                subject.things.len(),
                subject.limit,
                names(going.clone()),
                if going.len() == 1 { "is" } else { "are" },
            ),
            Sense::AtMost => format!(
                "`{}` can have {reached} holders at once, more than {}: while {} {} under way{after}",
                subject.name,
                subject.limit,
                names(going.clone()),
                if going.len() == 1 { "is" } else { "are" },
            ),
        };
        let code = match subject.sense {
            Sense::AtLeast => "floor",
            Sense::AtMost => "ceiling",
        };
        let mut fault = Fault::error(code, subject.span, what);
        for &step in &going {
            fault = fault.also(graph.def(step).span, format!("`{}`", graph.name(step)));
        }
        match self.cure(graph, subject, start, &state) {
            Some(cure) => fault.hint(cure),
            None => fault.hint(match subject.sense {
                Sense::AtLeast => "bring another provider up before these steps begin",
                Sense::AtMost => "let the old holder be fenced before the new one is promoted",
            }),
        }
    }

    /// The state with events left out that are not needed to break the bound, latest first.
    fn shrunk(&self, subject: &Subject, start: i64, state: &State) -> State {
        let mut state = state.clone();
        let breaks = |state: &State| {
            let weight = self.jobs.weight(state);
            match subject.sense {
                Sense::AtLeast => start + weight < i64::from(subject.limit),
                Sense::AtMost => start - weight > i64::from(subject.limit),
            }
        };
        loop {
            let mut shrunk = false;
            for job in (0..self.jobs.len()).rev() {
                let needed = (0..self.jobs.len()).any(|other| {
                    state.begun[other] && self.jobs.before[other].contains(&index(job))
                });
                let mut without = state.clone();
                if state.ended[job] && !needed {
                    without.ended[job] = false;
                } else if state.begun[job] && !state.ended[job] {
                    without.begun[job] = false;
                } else {
                    continue;
                }
                if breaks(&without) {
                    state = without;
                    shrunk = true;
                }
            }
            if !shrunk {
                return state;
            }
        }
    }

    /// One more need that would keep the bound, if there is one between two of these steps.
    fn cure(&self, graph: &Graph, subject: &Subject, start: i64, state: &State) -> Option<String> {
        const TRIES: usize = 400;
        let mut tries = 0;
        // The steps that are under way together first: an order between them is what is missing.
        let mut order: Vec<usize> = (0..self.steps.len()).collect();
        order.sort_by_key(|&job| !state.begun[job] || state.ended[job]);
        for &later in &order {
            for &earlier in order.iter().filter(|&&earlier| earlier != later) {
                if self.jobs.before[later].contains(&index(earlier))
                    || self.jobs.before[earlier].contains(&index(later))
                {
                    continue;
                }
                tries += 1;
                if tries > TRIES {
                    return None;
                }
                let mut jobs = self.jobs.clone();
                // Whatever comes after `later` comes after `earlier` as well, by closure.
                jobs.before[later].push(index(earlier));
                let (least, _) = jobs.least();
                let kept = match subject.sense {
                    Sense::AtLeast => start + least >= i64::from(subject.limit),
                    Sense::AtMost => start - least <= i64::from(subject.limit),
                };
                if kept {
                    let (one, other) = (self.steps[later], self.steps[earlier]);
                    return Some(if graph.def_index(one) == graph.def_index(other) {
                        format!(
                            "`serial: true` in `for_each` of `{}` would keep it",
                            graph.def(one).name.value
                        )
                    } else {
                        format!(
                            "it would be kept if `{}` needed `{}`",
                            graph.name(one),
                            graph.name(other)
                        )
                    });
                }
            }
        }
        None
    }
}
