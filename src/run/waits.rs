//! Why a step does not start: the same conditions as for starting it, told instead of judged.

use super::state::{Out, Slot};
use super::{Cause, Goal, Run, Status};
use crate::event::{Job, StepId, Timer, Way};
use crate::plan::Phase;

impl Run {
    /// Why a step does not start; empty when it could, when it runs, or when nothing is wanted of
    /// it.
    pub fn waits_for(&self, id: StepId) -> Vec<Cause> {
        let step = self.step(id);
        if self.state.outcome.is_some() || step.out != Out::No {
            return Vec::new();
        }
        if let Status::Running(job) = step.status {
            return if self.manual(job) { vec![Cause::People] } else { Vec::new() };
        }
        let mut causes = Vec::new();
        let back = step.goal != Goal::Done;
        match (back, step.status) {
            (false, Status::Done) | (true, Status::Clean) => return causes,
            (false, _) => self.unmet(id, &mut causes),
            (true, _) => self.still_needed(id, &mut causes),
        }
        if let (Status::Waiting(way), Some(at)) = (step.status, step.wake) {
            causes.push(Cause::Time(Timer::Retry(id, way), at));
        }
        if self.asked_about(id).next().is_some() {
            causes.push(Cause::People);
        }
        let way = self.due_way(id);
        let held = self.stopped_by_hold(id, way.unwrap_or(if back { Way::Undo } else { Way::Do }));
        if held {
            causes.extend(self.state.holds.iter().map(|hold| Cause::Held(hold.id)));
        }
        self.parked(id, &mut causes);
        if let Some(way) = way {
            causes.extend(self.floor_causes(id, way));
            self.used_up(self.attempt(id, way), &mut causes);
        }
        causes
    }

    fn parked(&self, id: StepId, causes: &mut Vec<Cause>) {
        let window = self.graph.plan().window.as_ref();
        match self.step(id).slot {
            Slot::Opens => {
                let opens = window.map(|window| self.shifted(window.opens));
                causes.extend(opens.map(|at| Cause::Time(Timer::Opens, at)));
            }
            Slot::Overrun => {
                let closes = window.map(|window| self.shifted(window.closes));
                causes.extend(closes.map(|at| Cause::Time(Timer::Closes, at)));
            }
            Slot::NotBefore | Slot::Late => {
                let fact = self.fact(id);
                let at = fact.not_before.or_else(|| {
                    let before = fact.phase == Phase::Before;
                    window.filter(|_| before).map(|window| window.opens)
                });
                let at = at.map(|at| self.shifted(at));
                causes.extend(at.map(|at| Cause::Time(Timer::NotBefore(id), at)));
            }
            Slot::Gate => {
                causes.push(Cause::People);
                if self.fact(id).confirmed {
                    causes.extend(self.unclear_lines(id).into_iter().map(Cause::Revocation));
                }
            }
            Slot::Lane => {
                causes.extend(self.unclear_lines(id).into_iter().map(Cause::Revocation));
            }
            Slot::None | Slot::Go | Slot::Back | Slot::Free => {}
        }
    }

    fn used_up(&self, job: Job, causes: &mut Vec<Cause>) {
        if self.limits_allow(job, &Self::nothing_taken()) {
            return;
        }
        let class = self.fact(job.step).class as usize;
        for limit in &self.facts.classes[class] {
            if self.state.used[limit.0 as usize] >= self.graph.limit(*limit) {
                causes.push(Cause::Limit(self.graph.limit_name(*limit).to_owned()));
            }
        }
    }

    /// The needs that are not there, through what is out.
    fn unmet(&self, id: StepId, causes: &mut Vec<Cause>) {
        let mut seen = vec![id];
        let mut work = vec![id];
        while let Some(step) = work.pop() {
            for need in self.graph.needs(step) {
                let it = self.step(*need);
                if it.passable || seen.contains(need) {
                    continue;
                }
                seen.push(*need);
                if it.out == Out::No {
                    causes.push(Cause::Step(*need));
                } else {
                    work.push(*need);
                }
            }
        }
    }

    /// The begun steps that need this one, through what is out.
    fn still_needed(&self, id: StepId, causes: &mut Vec<Cause>) {
        let mut seen = vec![id];
        let mut work = vec![id];
        while let Some(step) = work.pop() {
            for next in self.graph.dependents(step) {
                let it = self.step(*next);
                if !it.weighs || seen.contains(next) {
                    continue;
                }
                seen.push(*next);
                if it.begun() {
                    causes.push(Cause::Step(*next));
                } else {
                    work.push(*next);
                }
            }
        }
    }

    /// Whether a step that no hold stops waits for a verdict that may still come.
    pub(super) fn waits_for_verdict(&self) -> bool {
        self.state.barred.iter().copied().any(|id| {
            let Some(way) = self.due_way(id) else { return false };
            let causes = || self.floor_causes(id, way);
            !self.stopped_by_hold(id, way)
                && causes().iter().any(|cause| matches!(cause, Cause::Verdict(_)))
        })
    }
}
