//! Random plans, and a world that keeps its own truth: what is really there, whoever thinks what.

use crate::tale::noon;
use cutover::action::Undo;
use cutover::event::{Job, ProviderId, StepId, Way};
use cutover::graph::testing::{PlanBuilder, StepBuilder};
use cutover::graph::{Effect, Graph};
use cutover::plan::{Kind, OnBreach, OnFailure, Phase, Work};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Choices, one after the other; when they are used up, always the first possibility.
pub(crate) struct Dice<'a> {
    choices: &'a [u16],
    at: usize,
}

impl<'a> Dice<'a> {
    pub(crate) fn new(choices: &'a [u16]) -> Self {
        Self { choices, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.choices.len()
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % sides.max(1)
    }

    pub(crate) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.roll(from.len())])
    }
}

const POLICIES: [OnFailure; 3] = [OnFailure::Hold, OnFailure::RollbackLine, OnFailure::Rollback];

/// A random plan that is proved; without effects where those drawn break the proof.
pub(crate) fn graph(choices: &[u16]) -> Option<Arc<Graph>> {
    let proved = |effects| {
        let graph = plan(&mut Dice::new(choices), effects).compile().ok()?;
        cutover::proof::prove(&graph).is_ok().then(|| Arc::new(graph))
    };
    proved(true).or_else(|| proved(false))
}

fn plan(dice: &mut Dice<'_>, effects: bool) -> PlanBuilder {
    let mut plan = PlanBuilder::new()
        .on_failure(POLICIES[dice.roll(3)])
        .limit("steps", 1 + dice.roll(4) as u32)
        .limit("wan", 1);
    let lines = dice.roll(3) > 0;
    if lines {
        plan = plan.lines(["x", "y"]);
    }
    let protects = dice.roll(2) == 1;
    if protects {
        plan = plan.protect("ocsp", false, 1, ["ocsp@from/one", "ocsp@from/two"]);
        if dice.roll(2) == 1 {
            plan = plan.on_breach(OnBreach::Rollback);
        }
    }
    let exclusive = dice.roll(3) == 2;
    if exclusive {
        plan = plan.exclusive("writer", false, Some("from"));
    }
    let window = dice.roll(3) == 2;
    if window {
        let opens = noon() - SignedDuration::from_hours(dice.roll(2) as i64);
        plan = plan.window(opens, noon() + SignedDuration::from_hours(2));
    }
    let mut free: Vec<usize> = Vec::new();
    if effects && protects {
        free.extend([1, 2, 3, 4]);
    }
    if effects && exclusive {
        free.push(5);
    }
    let count = 1 + dice.roll(6);
    let here = dice.roll(count + 1);
    let mut names: Vec<(String, Phase)> = Vec::new();
    for index in 0..count {
        let name = format!("s{index}");
        let before = window && dice.one_in(5) && names.iter().all(|it| it.1 == Phase::Before);
        let phase = if before { Phase::Before } else { Phase::Window };
        let needs: Vec<String> = names.iter().map(|it| it.0.clone()).collect();
        let needs: Vec<String> = needs.into_iter().filter(|_| dice.roll(2) == 1).collect();
        let fan = lines && dice.roll(3) > 0;
        let effect = if free.is_empty() || dice.roll(2) == 0 {
            0
        } else {
            free.remove(dice.roll(free.len()))
        };
        if effect == 5 {
            // The promotion comes later; whether an edge says so is left open.
            free.push(6);
        }
        let fan = fan && effect < 3;
        plan = plan.step(&name, |step| {
            let step = step.needs(needs.iter().map(String::as_str)).phase(phase);
            let step = if fan { step.each("line", ["x", "y"]) } else { step };
            let step = if index == here { step.checkpoint("here") } else { step };
            let step = match dice.roll(12) {
                10 => step.not_before(noon() - SignedDuration::from_mins(5)),
                11 => step.not_before(noon() + SignedDuration::from_mins(5)),
                _ => step,
            };
            if effect > 0 {
                return touching(kind_of_step(step, dice, false), effect);
            }
            kind_of_step(step, dice, true)
        });
        names.push((name, phase));
    }
    plan
}

fn touching(step: StepBuilder, effect: usize) -> StepBuilder {
    match effect {
        1 => step.disturbs(["ocsp@from/one"]),
        2 => step.disturbs(["ocsp@from/two"]),
        3 => step.gains(["ocsp@to/one"]),
        4 => step.loses(["ocsp@from/one"]),
        5 => step.loses(["writer@from"]),
        _ => step.gains(["writer@to"]),
    }
}

fn kind_of_step(step: StepBuilder, dice: &mut Dice<'_>, any: bool) -> StepBuilder {
    let sort = dice.roll(12);
    if any && sort == 10 {
        return step.gate(["release", "security"], 2);
    }
    if any && sort == 11 {
        return step.manual(["release"], 1 + dice.roll(2) as u32);
    }
    let mut step = step.attempts(1 + dice.roll(3) as u32, SignedDuration::from_secs(5));
    step = match dice.roll(4) {
        1 => step.check(&["look"]),
        2 => step.idempotent(),
        3 => step.checks_itself(),
        _ => step,
    };
    if any && dice.one_in(8) {
        step = step.no_undo();
    }
    if dice.one_in(12) {
        step = step.point_of_no_return();
    }
    if dice.one_in(3) {
        step = step.on_failure(POLICIES[dice.roll(3)]);
    }
    if dice.one_in(6) {
        step = step.finish_on_rollback();
    }
    if dice.one_in(8) {
        step = step.kind(Kind::Verify);
    }
    if dice.one_in(6) {
        step = step.uses(["wan"]);
    }
    step
}

/// What is really there of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Absent,
    Half,
    Present,
}

/// What is really there.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) steps: Vec<Truth>,
    /// Attempts that an executor has.
    pub(crate) jobs: BTreeMap<StepId, Job>,
    /// Providers that something outside of the plan broke.
    pub(crate) dead: Vec<bool>,
    /// Providers that answer falsely.
    pub(crate) lying: Vec<bool>,
}

impl World {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self {
            steps: vec![Truth::Absent; graph.len()],
            jobs: BTreeMap::new(),
            dead: vec![false; graph.providers().len()],
            lying: vec![false; graph.providers().len()],
        }
    }

    pub(crate) fn truth(&self, step: StepId) -> Truth {
        self.steps[step.index()]
    }

    pub(crate) fn set(&mut self, step: StepId, truth: Truth) {
        self.steps[step.index()] = truth;
    }

    /// What an attempt leaves that nobody saw end.
    pub(crate) fn abandon(&mut self, job: Job, dice: &mut Dice<'_>) {
        self.jobs.remove(&job.step);
        let was = self.truth(job.step);
        let truth = match (job.way, dice.roll(3)) {
            (Way::Check, _) => was,
            (Way::Do, 0) if was == Truth::Absent => Truth::Absent,
            (Way::Do, 1) => Truth::Present,
            (Way::Undo, 0) => was,
            (Way::Undo, 1) => Truth::Absent,
            _ => Truth::Half,
        };
        self.set(job.step, truth);
    }

    /// Roles that somebody may write with, by effects that are really there.
    pub(crate) fn holders(&self, graph: &Graph) -> usize {
        let mut held: Vec<bool> = graph.roles().iter().map(|role| role.held_at_start).collect();
        for step in graph.steps() {
            let under_way = self.jobs.get(&step).is_some_and(|job| job.way != Way::Check);
            for (role, effect) in graph.role_effects(step) {
                let it = &mut held[role.0 as usize];
                match (effect, self.truth(step)) {
                    (Effect::Loses, Truth::Present) if !under_way => *it = false,
                    (Effect::Gains, Truth::Absent) if !under_way => {}
                    (Effect::Gains, _) => *it = true,
                    _ => {}
                }
            }
        }
        held.into_iter().filter(|held| *held).count()
    }

    /// Whether a provider would answer rightly if asked.
    pub(crate) fn answers(&self, provider: ProviderId) -> bool {
        !self.dead[provider.index()]
    }
}

/// A step that something has to undo.
pub(crate) fn undoable(graph: &Graph, step: StepId) -> bool {
    matches!(&graph.def(step).work, Work::Act { undo: Undo::By(_), .. })
}

/// A step that acts at all.
pub(crate) fn acts(graph: &Graph, step: StepId) -> bool {
    matches!(graph.def(step).work, Work::Act { .. })
}
