//! The events that matter to one service or role, with their weights.

use super::Sense;
use super::above::{Above, index, positions};
use super::subject::{Subject, Thing};
use crate::event::StepId;
use crate::graph::{Effect, Graph};
use crate::proof::closure::{Jobs, State};
use crate::text::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// The events that matter to one subject: the steps with an effect on it, and its outages that
/// several unordered steps share.
pub(in crate::proof) struct Model {
    pub(in crate::proof) jobs: Jobs,
    /// The step of each job that is one; groups have none.
    pub(in crate::proof) steps: Vec<StepId>,
    rows: BTreeMap<StepId, usize>,
    pub(super) exact: bool,
}

impl Model {
    pub(in crate::proof) fn of(graph: &Graph, subject: &Subject) -> Result<Self, Vec<Fault>> {
        let steps: BTreeSet<StepId> =
            subject.things.iter().flat_map(|thing| &thing.effects).map(|(step, _)| *step).collect();
        let mut steps: Vec<StepId> = steps.into_iter().collect();
        let position = positions(graph);
        steps.sort_by_key(|step| position[step.index()]);
        let above = Above::of(graph, &steps);
        let mut jobs = Jobs::default();
        for job in 0..steps.len() {
            jobs.push((0..job).filter(|&other| above.is(other, job)).map(index).collect());
        }
        let rows = steps.iter().enumerate().map(|(row, &step)| (step, row)).collect();
        let mut model = Self { jobs, steps, rows, exact: true };
        let mut faults = Vec::new();
        let mut groups: Vec<(Vec<usize>, u32)> = Vec::new();
        for thing in &subject.things {
            match model.units(graph, thing, &above) {
                Ok(units) => model.weigh(graph, subject, thing, units, &mut groups, &mut faults),
                Err(fault) => faults.push(fault),
            }
        }
        model.tie(&above, &groups);
        if faults.is_empty() { Ok(model) } else { Err(faults) }
    }

    /// The effects on a thing in the order in which they happen: single ones, and groups of
    /// `disturbs` that are linked while two of them are unordered.
    fn units(
        &self,
        graph: &Graph,
        thing: &Thing,
        above: &Above,
    ) -> Result<Vec<(Vec<usize>, Effect)>, Fault> {
        let mut effects: Vec<(usize, Effect)> =
            thing.effects.iter().map(|&(step, effect)| (self.job_of(step), effect)).collect();
        effects.sort_by_key(|(job, _)| *job);
        let mut units: Vec<(Vec<usize>, Effect)> = Vec::new();
        for &(job, effect) in &effects {
            let loose: Vec<usize> = effects
                .iter()
                .filter(|(other, _)| *other < job && !above.is(*other, job))
                .map(|(other, _)| *other)
                .collect();
            let mixed = effects.iter().find(|(other, kind)| {
                loose.contains(other) && !(*kind == Effect::Disturbs && effect == Effect::Disturbs)
            });
            if let Some((other, _)) = mixed {
                return Err(self.unordered(graph, thing, *other, job));
            }
            // Everything from the first unit that holds an unordered one belongs together.
            let first = units
                .iter()
                .position(|(members, _)| members.iter().any(|member| loose.contains(member)));
            match first {
                Some(first) => {
                    let mut members: Vec<usize> =
                        units.drain(first..).flat_map(|(members, _)| members).collect();
                    members.push(job);
                    units.push((members, Effect::Disturbs));
                }
                None => units.push((vec![job], effect)),
            }
        }
        Ok(units)
    }

    fn job_of(&self, step: StepId) -> usize {
        let job = self.rows.get(&step);
        *job.expect("BUG: a step with an effect is a job")
    }

    fn unordered(&self, graph: &Graph, thing: &Thing, one: usize, other: usize) -> Fault {
        let (one, other) = (self.steps[one], self.steps[other]);
        Fault::error(
            "unordered-effects",
            graph.def(other).span,
            format!(
                "`{}` and `{}` both act on `{}`, and nothing says which comes first",
                graph.name(one),
                graph.name(other),
                thing.name
            ),
        )
        .also(graph.def(one).span, "the other one")
        .hint(format!(
            "let one need the other, or the same gate, so that `{}` is up or down for sure",
            thing.name
        ))
    }

    /// Puts the weights of a thing's effects on the events.
    fn weigh(
        &mut self,
        graph: &Graph,
        subject: &Subject,
        thing: &Thing,
        units: Vec<(Vec<usize>, Effect)>,
        groups: &mut Vec<(Vec<usize>, u32)>,
        faults: &mut Vec<Fault>,
    ) {
        let mut up = thing.up;
        for (members, effect) in units {
            let job = members[0];
            match effect {
                Effect::Loses | Effect::Gains if up == (effect == Effect::Gains) => {
                    faults.push(self.twice(graph, thing, job, effect));
                }
                Effect::Loses => {
                    match subject.sense {
                        Sense::AtLeast => self.jobs.begin[job] -= 1,
                        // Turned signs: a holder that leaves counts until the end.
                        Sense::AtMost => self.jobs.end[job] += 1,
                    }
                    up = false;
                }
                Effect::Gains => {
                    match subject.sense {
                        Sense::AtLeast => self.jobs.end[job] += 1,
                        Sense::AtMost => self.jobs.begin[job] -= 1,
                    }
                    up = true;
                }
                // A `disturbs` on what is down changes nothing; on a role it means nothing.
                Effect::Disturbs if !up || subject.sense == Sense::AtMost => {}
                Effect::Disturbs if members.len() == 1 => {
                    self.jobs.begin[job] -= 1;
                    self.jobs.end[job] += 1;
                }
                Effect::Disturbs => {
                    let outage = self.jobs.push(Vec::new());
                    self.jobs.begin[outage as usize] -= 1;
                    self.jobs.end[outage as usize] += 1;
                    self.exact = false;
                    groups.push((members, outage));
                }
            }
        }
    }

    fn twice(&self, graph: &Graph, thing: &Thing, job: usize, effect: Effect) -> Fault {
        let step = self.steps[job];
        let (verb, state) = match effect {
            Effect::Gains => ("gains", "up"),
            _ => ("loses", "down"),
        };
        Fault::error(
            "effect-twice",
            graph.def(step).span,
            format!("`{}` {verb} `{}`, which is {state} already", graph.name(step), thing.name),
        )
        .hint(match effect {
            Effect::Gains => "name it under `disturbs`, or let an earlier step lose it",
            _ => "let an earlier step gain it, or leave the effect out",
        })
    }

    /// Orders the outages that several steps share: each needs what all its members need, and
    /// whatever needs them all needs it.
    fn tie(&mut self, above: &Above, groups: &[(Vec<usize>, u32)]) {
        for (members, outage) in groups {
            let before = (0..self.steps.len())
                .filter(|&other| members.iter().all(|&member| above.is(other, member)));
            self.jobs.before[*outage as usize] = before.map(index).collect();
            for job in 0..self.steps.len() {
                if members.iter().all(|&member| above.is(member, job)) {
                    self.jobs.before[job].push(*outage);
                }
            }
            for (others, other_outage) in groups {
                let after = others
                    .iter()
                    .all(|&other| members.iter().all(|&member| above.is(member, other)));
                if after && other_outage != outage {
                    self.jobs.before[*other_outage as usize].push(*outage);
                }
            }
        }
    }

    /// Steps that have begun and not ended.
    pub(super) fn under_way<'a>(&'a self, state: &'a State) -> impl Iterator<Item = StepId> + 'a {
        self.steps
            .iter()
            .enumerate()
            .filter(|(job, _)| state.begun[*job] && !state.ended[*job])
            .map(|(_, step)| *step)
    }
}
