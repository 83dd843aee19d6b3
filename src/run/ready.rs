//! Which steps could start: queues by limit, and the choice among them.
//!
//! A step stands in one queue at most ([`Slot`]); `next` reads the heads of the queues, so that it
//! costs what it orders and not what waits.

use super::state::{Out, Slot, is_manual};
use super::{Command, Goal, Run, Status};
use crate::event::{Job, Outcome, StepId, Timer, Way};
use crate::plan::Phase;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::iter::Peekable;

/// What the starts chosen so far in one `next` will have taken.
pub(super) struct Taken {
    /// By limit; empty while nothing is chosen.
    pub(super) limits: Vec<u32>,
    pub(super) providers: BTreeSet<crate::event::ProviderId>,
    pub(super) roles: Vec<crate::graph::RoleId>,
}

impl Run {
    /// Puts a step into the queue that it belongs to.
    pub(super) fn reconsider(&mut self, id: StepId) {
        let slot = self.slot_for(id);
        let was = self.step(id).slot;
        if slot == was {
            return;
        }
        self.enqueue(id, was, false);
        // Judged when the event is taken in.
        self.state.steps[id.index()].barred = false;
        self.enqueue(id, slot, true);
        self.state.steps[id.index()].slot = slot;
        if self.fact(id).taker {
            self.state.stirred.insert(id);
        }
        if was == Slot::Gate && self.step(id).blocked > 0 {
            // What was approved is not there any more: what comes instead is approved anew.
            self.state.approvals.remove(&id);
        }
        if slot == Slot::Late {
            self.state.to_ask.insert(id);
        }
    }

    fn enqueue(&mut self, id: StepId, slot: Slot, add: bool) {
        let fact = &self.facts.steps[id.index()];
        let at = match slot {
            Slot::NotBefore => self.shifted(fact.not_before.unwrap_or(Timestamp::UNIX_EPOCH)),
            _ => Timestamp::UNIX_EPOCH,
        };
        let state = &mut self.state;
        let class = fact.class as usize;
        let put = |set: &mut BTreeSet<StepId>| {
            if add {
                set.insert(id);
            } else {
                set.remove(&id);
            }
        };
        let place = |set: &mut BTreeSet<u32>, rank: u32| {
            if add {
                set.insert(rank);
            } else {
                set.remove(&rank);
            }
        };
        match slot {
            Slot::None => {}
            Slot::Go | Slot::Back if state.steps[id.index()].barred => {
                put(&mut state.barred);
            }
            Slot::Go => place(&mut state.go[class], fact.do_rank),
            Slot::Back => place(&mut state.back[class], fact.undo_rank),
            Slot::Free => put(&mut state.free),
            Slot::Gate => put(&mut state.gates),
            Slot::Opens => put(&mut state.parked_opens),
            Slot::NotBefore if add => {
                state.parked_time.insert((at, id));
            }
            Slot::NotBefore => {
                state.parked_time.remove(&(at, id));
            }
            Slot::Late => put(&mut state.parked_late),
            Slot::Overrun => put(&mut state.parked_overrun),
            Slot::Lane => put(&mut state.parked_lane),
        }
    }

    pub(super) fn slot_for(&self, id: StepId) -> Slot {
        let step = self.step(id);
        let fact = self.fact(id);
        if step.goal == Goal::Done {
            if step.out != Out::No || step.blocked > 0 || self.goes_to_checkpoint() {
                return Slot::None;
            }
            return match step.status {
                Status::Clean | Status::Partial => self.forward_slot(id),
                Status::Doubt(Way::Do) if fact.has_check => {
                    if step.fails[Way::Check as usize] < fact.attempts {
                        Slot::Go
                    } else {
                        Slot::None
                    }
                }
                Status::Doubt(Way::Do) if fact.idempotent => self.forward_slot(id),
                _ => Slot::None,
            };
        }
        if step.weight > 0 {
            return Slot::None;
        }
        match step.status {
            Status::Clean | Status::Running(_) | Status::Waiting(_) => Slot::None,
            Status::Failed(Way::Undo) if step.claimed && fact.has_check => Slot::Back,
            Status::Failed(Way::Undo) => Slot::None,
            _ if fact.undoable => Slot::Back,
            _ => Slot::Free,
        }
    }

    /// Bars the start of a ready taker, or lifts the bar.
    pub(super) fn bar(&mut self, id: StepId, barred: bool) {
        let (slot, was) = (self.step(id).slot, self.step(id).barred);
        if barred != was {
            self.enqueue(id, slot, false);
            self.state.steps[id.index()].barred = barred;
            self.enqueue(id, slot, true);
        }
    }

    /// Time and revocations: what may keep a do whose needs are there.
    fn forward_slot(&self, id: StepId) -> Slot {
        let step = self.step(id);
        let fact = self.fact(id);
        let state = &self.state;
        let window = self.graph.plan().window.as_ref();
        let fresh = step.status == Status::Clean && !state.rehearsal && !step.late_ok;
        if fresh && self.was_late(id) {
            return Slot::Late;
        }
        if fact.not_before.is_some() && !step.timely && !step.late_ok {
            return Slot::NotBefore;
        }
        if fact.phase == Phase::Window && window.is_some() && !state.opened {
            return Slot::Opens;
        }
        if fact.bounded && window.is_some() && state.closed && !state.overrun_ok {
            return Slot::Overrun;
        }
        if fact.gate {
            return Slot::Gate;
        }
        if fact.confirmed && !self.lane_is_clear(id) {
            return Slot::Lane;
        }
        Slot::Go
    }

    /// Whether the time of the step was over when the run began.
    pub(super) fn was_late(&self, id: StepId) -> bool {
        let fact = self.fact(id);
        let begun = self.state.begun_at;
        let past = |at: Timestamp| begun > self.shifted(at);
        fact.not_before.is_some_and(past)
            || (fact.phase == Phase::Before
                && self.graph.plan().window.as_ref().is_some_and(|window| past(window.opens)))
    }

    /// An instant of the plan as this run means it.
    pub(super) fn shifted(&self, at: Timestamp) -> Timestamp {
        at.checked_add(self.state.shift).unwrap_or(at)
    }

    /// The way that the step's queue would start.
    pub(super) fn due_way(&self, id: StepId) -> Option<Way> {
        let step = self.step(id);
        match step.slot {
            Slot::Go if step.status == Status::Doubt(Way::Do) && self.fact(id).has_check => {
                Some(Way::Check)
            }
            Slot::Go => Some(Way::Do),
            Slot::Back if step.status == Status::Failed(Way::Undo) => Some(Way::Check),
            Slot::Back => Some(Way::Undo),
            _ => None,
        }
    }

    /// The next attempt at a way of a step.
    pub(super) fn attempt(&self, step: StepId, way: Way) -> Job {
        Job { step, way, attempt: self.step(step).attempts[way as usize] + 1 }
    }

    /// Whether the state could order this start: legality, not priority.
    pub(super) fn may_start(&self, job: Job) -> Result<(), String> {
        let name = || self.graph.name(job.step);
        if self.due_way(job.step) != Some(job.way) {
            return Err(format!(
                "`{}` is not to be started ({:?}, wanted {:?})",
                name(),
                self.step(job.step).status,
                self.step(job.step).goal
            ));
        }
        if job != self.attempt(job.step, job.way) {
            return Err(format!("attempt {} of `{}` is out of turn", job.attempt, name()));
        }
        if self.stopped_by_hold(job.step, job.way) {
            return Err(format!("`{}` is held", name()));
        }
        let taken = Self::nothing_taken();
        if !self.limits_allow(job, &taken) {
            return Err(format!("a limit of `{}` is used up", name()));
        }
        if !self.floor_allows(job.step, job.way, &taken) {
            return Err(format!("`{}` would take a provider that is needed", name()));
        }
        if !self.roles_allow(job.step, job.way, &taken) {
            return Err(format!("`{}` could make two holders of one role", name()));
        }
        Ok(())
    }

    pub(super) fn nothing_taken() -> Taken {
        Taken { limits: Vec::new(), providers: BTreeSet::new(), roles: Vec::new() }
    }

    pub(super) fn limits_allow(&self, job: Job, taken: &Taken) -> bool {
        let fact = self.fact(job.step);
        is_manual(fact, job.way)
            || self.facts.classes[fact.class as usize].iter().all(|limit| {
                let at = limit.0 as usize;
                let chosen = taken.limits.get(at).copied().unwrap_or(0);
                self.state.used[at] + chosen < self.graph.limit(*limit)
            })
    }

    /// Stops, the close, starts in order of priority, and the earliest moment of each sort.
    pub(super) fn commands(&self, out: &mut Vec<Command>) {
        if self.state.outcome.is_some() || !self.state.begun {
            return;
        }
        let running = self.state.running.iter().filter_map(|step| match self.step(*step).status {
            Status::Running(job) => Some(job),
            _ => None,
        });
        out.extend(running.filter(|job| self.must_stop(*job)).map(Command::Stop));
        if let Some(outcome) = self.end() {
            out.push(Command::Close(outcome));
            return;
        }
        if self.state.aborting {
            return;
        }
        self.starts(out);
        self.wakes(out);
    }

    /// Whether an attempt under way is to end: aborted, interrupted, or going the wrong way.
    fn must_stop(&self, job: Job) -> bool {
        let step = self.step(job.step);
        if self.manual(job) {
            return false;
        }
        let claim = matches!(step.before, Status::Failed(Way::Undo));
        let wrong = match job.way {
            Way::Do => step.goal != Goal::Done && !self.fact(job.step).finish_on_rollback,
            Way::Check => step.goal != Goal::Done && !claim,
            Way::Undo => false,
        };
        self.state.aborting || step.stop || wrong
    }

    /// The end that the state has come to.
    pub(super) fn end(&self) -> Option<Outcome> {
        let state = &self.state;
        if state.aborting {
            let still = state.running.iter().any(
                |step| matches!(self.step(*step).status, Status::Running(job) if !self.manual(job)),
            );
            return (!still).then_some(Outcome::Stuck);
        }
        if !state.running.is_empty() || state.left > 0 {
            return None;
        }
        if let Some(order) = self.whole_rollback() {
            return (!self.order_is_held(order)).then_some(Outcome::RolledBack);
        }
        let open = state.orders.iter().any(|order| !order.complete);
        (state.unfinished == 0 && state.holds.is_empty() && !open).then_some(Outcome::Completed)
    }

    pub(super) fn starts(&self, out: &mut Vec<Command>) {
        let mut taken = Self::nothing_taken();
        if self.state.holds.is_empty() {
            self.pick(&self.state.go, &self.facts.by_do_rank, &mut taken, out);
        }
        if self.state.holds.is_empty() || self.some_order_acts() {
            self.pick(&self.state.back, &self.facts.by_undo_rank, &mut taken, out);
        }
    }

    /// Merges the queues by rank; a queue whose limits are used up is left at once.
    fn pick(
        &self,
        classes: &[BTreeSet<u32>],
        by_rank: &[StepId],
        taken: &mut Taken,
        out: &mut Vec<Command>,
    ) {
        let mut queues: Vec<Peekable<_>> = classes
            .iter()
            .filter(|queue| !queue.is_empty())
            .map(|queue| queue.iter().copied().peekable())
            .collect();
        loop {
            let heads = queues.iter_mut().enumerate();
            let first = heads.filter_map(|(at, queue)| Some((*queue.peek()?, at))).min();
            let Some((rank, at)) = first else { return };
            let id = by_rank[rank as usize];
            let way = self.due_way(id).expect("BUG: a queued step has a way");
            let job = self.attempt(id, way);
            if !self.limits_allow(job, taken) {
                // What people do takes no slot: it goes, whoever before it waits for one.
                if self.facts.by_hand[self.fact(id).class as usize] {
                    queues[at].next();
                } else {
                    drop(queues.swap_remove(at));
                }
                continue;
            }
            queues[at].next();
            if self.stopped_by_hold(id, way)
                || !self.floor_allows(id, way, taken)
                || !self.roles_allow(id, way, taken)
            {
                continue;
            }
            self.take(job, taken);
            out.push(Command::Start(job));
        }
    }

    fn take(&self, job: Job, taken: &mut Taken) {
        let fact = self.fact(job.step);
        if !is_manual(fact, job.way) {
            taken.limits.resize(self.state.used.len(), 0);
            for limit in &self.facts.classes[fact.class as usize] {
                taken.limits[limit.0 as usize] += 1;
            }
        }
        if fact.taker {
            // Touched by a half-done step from its start on, whatever the effect.
            taken.providers.extend(self.graph.effects(job.step).iter().map(|(it, _)| *it));
            taken.roles.extend(self.roles_given(job.step, job.way));
        }
    }

    fn wakes(&self, out: &mut Vec<Command>) {
        let state = &self.state;
        let mut wakes = Vec::new();
        if let Some(window) = &self.graph.plan().window {
            if !state.opened && !state.parked_opens.is_empty() {
                wakes.push((self.shifted(window.opens), Timer::Opens));
            }
            if !state.closed && !state.rehearsal {
                wakes.push((self.shifted(window.closes), Timer::Closes));
            }
        }
        if let Some((at, step)) = state.parked_time.first() {
            wakes.push((*at, Timer::NotBefore(*step)));
        }
        if let Some((at, step, way)) = state.timers.first() {
            wakes.push((*at, Timer::Retry(*step, *way)));
        }
        if let Some((at, step)) = state.floor.first() {
            wakes.push((*at, Timer::Floor(*step)));
        }
        wakes.sort_unstable();
        out.extend(wakes.into_iter().map(|(at, timer)| Command::Wake(timer, at)));
    }
}
