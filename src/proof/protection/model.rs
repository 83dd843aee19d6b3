//! The events that matter to one service or role, with their weights.

use super::Sense;
use super::order::Order;
use super::subject::{Subject, Thing};
use crate::event::StepId;
use crate::graph::{Effect, Graph};
use crate::proof::closure::{Jobs, State};
use crate::text::fault::Fault;

/// The events that matter to one subject: the steps with an effect on it, and its outages that
/// several unordered steps share.
pub(in crate::proof) struct Model {
    pub(in crate::proof) jobs: Jobs,
    /// The step of each job that is one, needs before dependents; groups, after them, have none.
    pub(in crate::proof) steps: Vec<StepId>,
    /// Whether the least weight is that of some state that the plan can reach.
    pub(super) exact: bool,
}

/// Several unordered steps that disturb one thing: one outage.
struct Group {
    members: Vec<usize>,
    outage: u32,
}

impl Model {
    pub(in crate::proof) fn of(graph: &Graph, subject: &Subject) -> Result<Self, Vec<Fault>> {
        Self::with(graph, subject, &Order::of(graph, &subject.steps()))
    }

    /// The same by an order that is known already.
    pub(super) fn with(
        graph: &Graph,
        subject: &Subject,
        order: &Order<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut jobs = Jobs::default();
        for before in order.before() {
            jobs.push(before);
        }
        let mut model = Self { jobs, steps: order.steps().to_vec(), exact: true };
        let mut faults = Vec::new();
        let mut groups = Vec::new();
        for thing in &subject.things {
            match model.units(graph, thing, order) {
                Ok(units) => model.weigh(graph, subject, thing, units, &mut groups, &mut faults),
                Err(fault) => faults.push(fault),
            }
        }
        model.tie(order, &groups);
        if faults.is_empty() { Ok(model) } else { Err(faults) }
    }

    /// The effects on a thing in the order in which they happen: single ones, and groups of
    /// `disturbs` that are linked while two of them are unordered.
    fn units(
        &self,
        graph: &Graph,
        thing: &Thing,
        order: &Order<'_>,
    ) -> Result<Vec<(Vec<usize>, Effect)>, Fault> {
        let mut effects: Vec<(usize, Effect)> =
            thing.effects.iter().map(|&(step, effect)| (order.job(step), effect)).collect();
        effects.sort_by_key(|(job, _)| *job);
        let jobs: Vec<usize> = effects.iter().map(|(job, _)| *job).collect();
        let mut units: Vec<(Vec<usize>, Effect)> = Vec::new();
        let mut rest = effects.as_slice();
        for length in order.pieces(&jobs) {
            let (piece, after) = rest.split_at(length);
            rest = after;
            let members: Vec<usize> = piece.iter().map(|(job, _)| *job).collect();
            let switch = piece.iter().find(|(_, effect)| *effect != Effect::Disturbs);
            match switch {
                Some((switch, _)) if length > 1 => {
                    return Err(self.unordered(graph, thing, *switch, &members, order));
                }
                Some((_, effect)) => units.push((members, *effect)),
                None => units.push((members, Effect::Disturbs)),
            }
        }
        Ok(units)
    }

    fn unordered(
        &self,
        graph: &Graph,
        thing: &Thing,
        switch: usize,
        piece: &[usize],
        order: &Order<'_>,
    ) -> Fault {
        let loose = |other: &&usize| {
            **other != switch && !order.is(**other, switch) && !order.is(switch, **other)
        };
        let other = piece.iter().find(loose).copied().unwrap_or(switch);
        let (one, other) = (self.steps[switch.min(other)], self.steps[switch.max(other)]);
        Fault::error(
            "unordered-effects",
            graph.def(other).name.span,
            format!(
                "`{}` and `{}` both act on `{}`, and nothing says which comes first",
                graph.name(one),
                graph.name(other),
                thing.name
            ),
        )
        .also(graph.def(one).name.span, "the other one")
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
        groups: &mut Vec<Group>,
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
                    groups.push(Group { members, outage });
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
            graph.def(step).name.span,
            format!("`{}` {verb} `{}`, which is {state} already", graph.name(step), thing.name),
        )
        .hint(match effect {
            Effect::Gains => "name it under `disturbs`, or let an earlier step lose it",
            _ => "let an earlier step gain it, or leave the effect out",
        })
    }

    /// Orders the outages that several steps share: each needs what all its members need, and
    /// whatever needs them all needs it, other outages included.
    fn tie(&mut self, order: &Order<'_>, groups: &[Group]) {
        for group in groups {
            let before = order.before_all(&group.members);
            self.jobs.before[group.outage as usize].extend(order.last_of(&before));
            let after = order.after_all(&group.members);
            for job in order.first_of(&after) {
                self.jobs.before[job as usize].push(group.outage);
            }
            for other in groups.iter().filter(|other| other.outage != group.outage) {
                if other.members.iter().all(|&member| after[member]) {
                    self.jobs.before[other.outage as usize].push(group.outage);
                }
            }
        }
    }

    /// Whether a job is a step that does something to the subject.
    pub(super) fn acts(&self, job: usize) -> bool {
        job < self.steps.len() && (self.jobs.begin[job] != 0 || self.jobs.end[job] != 0)
    }

    /// Steps that have begun and not ended.
    pub(super) fn under_way<'a>(&'a self, state: &'a State) -> impl Iterator<Item = StepId> + 'a {
        let going = |job: &usize| state.begun[*job] && !state.ended[*job];
        (0..self.steps.len()).filter(going).map(|job| self.steps[job])
    }

    /// Steps that have ended and did something to the subject.
    pub(super) fn ended<'a>(&'a self, state: &'a State) -> impl Iterator<Item = StepId> + 'a {
        let ended = |job: &usize| state.ended[*job] && self.acts(*job);
        (0..self.steps.len()).filter(ended).map(|job| self.steps[job])
    }

    /// The state with events left out, latest first, while `holds` is true of the sum of weights.
    pub(super) fn shrunk(&self, state: &State, holds: &dyn Fn(i64) -> bool) -> State {
        let jobs = &self.jobs;
        let mut state = state.clone();
        let mut weight = jobs.weight(&state);
        // For each job how many begun ones need its end.
        let mut wanted = vec![0_u32; jobs.len()];
        for job in (0..jobs.len()).filter(|job| state.begun[*job]) {
            jobs.before[job].iter().for_each(|other| wanted[*other as usize] += 1);
        }
        // Outages have the last places, and need and are needed like steps: so more than one round.
        loop {
            let mut removed = false;
            for job in (0..jobs.len()).rev() {
                if state.ended[job] && wanted[job] == 0 && holds(weight - jobs.end[job]) {
                    weight -= jobs.end[job];
                    state.ended[job] = false;
                    removed = true;
                }
                let last = state.begun[job] && !state.ended[job];
                if last && holds(weight - jobs.begin[job]) {
                    weight -= jobs.begin[job];
                    state.begun[job] = false;
                    removed = true;
                    jobs.before[job].iter().for_each(|other| wanted[*other as usize] -= 1);
                }
            }
            if !removed {
                return state;
            }
        }
    }
}
