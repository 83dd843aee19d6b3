//! Random small plans, proved: what a simulation runs when it is given none.
//!
//! Not known here: what happens in a run of one.

use super::dice::Dice;
use crate::graph::Graph;
use crate::graph::testing::{PlanBuilder, StepBuilder};
use crate::plan::{Kind, OnBreach, OnFailure, Phase};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// 2019-04-06T12:00:00Z, around which the windows of these plans lie.
const NOON: i64 = 1_554_552_000;

fn noon() -> Timestamp {
    Timestamp::from_second(NOON).unwrap_or(Timestamp::UNIX_EPOCH)
}

const POLICIES: [OnFailure; 3] = [OnFailure::Hold, OnFailure::RollbackLine, OnFailure::Rollback];

/// The plan of a number: of those that its choices and the next ones draw, the first that is proved.
pub(super) fn numbered(number: u64) -> Arc<Graph> {
    let mut dice = Dice::seeded(number ^ 0x9_1a45);
    loop {
        let choices: Vec<u16> = (0..120).map(|_| dice.word()).collect();
        if let Some(graph) = plan(&choices) {
            return graph;
        }
    }
}

/// A random plan that is proved; without effects where those drawn break the proof.
pub fn plan(choices: &[u16]) -> Option<Arc<Graph>> {
    let proved = |effects| {
        let graph = draw(&mut Dice::new(choices), effects).compile().ok()?;
        crate::proof::prove(&graph).is_ok().then(|| Arc::new(graph))
    };
    proved(true).or_else(|| proved(false))
}

fn draw(dice: &mut Dice<'_>, effects: bool) -> PlanBuilder {
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
