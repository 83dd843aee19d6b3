//! One record into the state: first whether it could have happened, then what it changes.

use super::facts;
use super::state::Patience;
use super::{Goal, Run, Status};
use crate::event::{Ending, Event, Header, Job, Outputs, ProviderId, Record, StepId, Timer, Way};
use crate::failure::{Failure, FailureKind};
use crate::graph::ServiceId;
use crate::plan::Phase;
use jiff::{SignedDuration, Timestamp};

impl Run {
    /// Whether the event could have happened here.
    pub(super) fn judge(&self, record: &Record) -> Result<(), String> {
        let state = &self.state;
        if record.seq != state.seq + 1 {
            return Err(format!("record {} follows record {}", record.seq, state.seq));
        }
        if state.begun == matches!(record.event, Event::Begun(_)) {
            return Err("`begun` is the first record, and only the first".to_owned());
        }
        if state.outcome.is_some() {
            return Err("the run has ended".to_owned());
        }
        match &record.event {
            Event::Begun(header) => self.judge_header(header),
            Event::Opened { epoch, .. } => match state.epoch {
                Some(last) if *epoch <= last => {
                    Err(format!("epoch {epoch} after epoch {last}: another runner's"))
                }
                _ => Ok(()),
            },
            Event::Started(job) => {
                self.judge_step(job.step)?;
                if state.aborting {
                    return Err("nothing starts after an abort".to_owned());
                }
                self.may_start(*job)
            }
            Event::Ended(job, ending) => self.judge_end(*job, ending),
            Event::Due { timer, jumped } => self.judge_timer(*timer, *jumped),
            Event::Verdict { provider, as_of, .. } => {
                if provider.index() >= state.providers.len() {
                    return Err("no such provider".to_owned());
                }
                self.judge_as_of(*as_of)
            }
            Event::Revocations { line, as_of, .. } => {
                if line.index() >= state.clear.len() {
                    return Err("no such line".to_owned());
                }
                self.judge_as_of(*as_of)
            }
            Event::Requested(who, request) => {
                self.judge_request(who, request).map_err(|refusal| refusal.why)
            }
            Event::Closed(outcome) => match self.end() {
                Some(end) if end == *outcome => Ok(()),
                end => Err(format!("closed as {outcome:?}, where {end:?} would be right")),
            },
        }
    }

    fn judge_header(&self, header: &Header) -> Result<(), String> {
        if header.format == 1 {
            Ok(())
        } else {
            Err(format!("journal format {} is not known", header.format))
        }
    }

    fn judge_as_of(&self, as_of: u64) -> Result<(), String> {
        if as_of <= self.state.seq { Ok(()) } else { Err(format!("as of {as_of}, yet to come")) }
    }

    pub(super) fn judge_step(&self, step: StepId) -> Result<(), String> {
        if step.index() < self.state.steps.len() { Ok(()) } else { Err("no such step".to_owned()) }
    }

    fn judge_end(&self, job: Job, ending: &Ending) -> Result<(), String> {
        self.judge_step(job.step)?;
        let name = self.graph.name(job.step);
        if self.step(job.step).status != Status::Running(job) {
            return Err(format!(
                "attempt {} of `{name}` ({:?}) is not running",
                job.attempt, job.way
            ));
        }
        if *ending == Ending::NotDone && job.way != Way::Check {
            return Err(format!("`{name}` ended as only a check ends"));
        }
        if self.manual(job) && *ending != Ending::Withdrawn {
            return Err(format!("`{name}` is ended by people"));
        }
        Ok(())
    }

    fn judge_timer(&self, timer: Timer, jumped: bool) -> Result<(), String> {
        let state = &self.state;
        let window = self.graph.plan().window.is_some();
        if jumped && (!state.rehearsal || matches!(timer, Timer::Floor(_) | Timer::Closes)) {
            return Err(format!("{timer:?} is not jumped"));
        }
        if let Timer::NotBefore(step) | Timer::Retry(step, _) | Timer::Floor(step) = timer {
            self.judge_step(step)?;
        }
        let awaited = match timer {
            Timer::Opens => window && !state.opened,
            Timer::Closes => window && !state.closed && !state.rehearsal,
            Timer::NotBefore(step) => {
                self.fact(step).not_before.is_some() && !self.step(step).timely
            }
            Timer::Retry(step, way) => self.step(step).status == Status::Waiting(way),
            Timer::Floor(step) => matches!(self.step(step).patience, Patience::Until(Some(_))),
        };
        if awaited { Ok(()) } else { Err(format!("{timer:?} is not awaited")) }
    }

    /// Takes a judged record in.
    pub(super) fn fold(&mut self, record: &Record) {
        let at = record.at;
        self.state.seq = record.seq;
        match &record.event {
            Event::Begun(header) => self.begin(header, at),
            Event::Opened { epoch, .. } => self.open(*epoch, at),
            Event::Started(job) => self.start(*job),
            Event::Ended(job, ending) => self.finish(*job, ending, at),
            Event::Due { timer, .. } => self.due(*timer),
            Event::Verdict { provider, verdict, as_of } => {
                self.take_verdict(*provider, verdict.clone(), *as_of);
            }
            Event::Revocations { line, clear, .. } => {
                self.state.clear[line.index()] = *clear;
                for at in 0..self.facts.confirmed.len() {
                    self.reconsider(self.facts.confirmed[at]);
                }
            }
            Event::Requested(who, request) => self.take_request(who, request, at),
            Event::Closed(outcome) => self.state.outcome = Some(*outcome),
        }
        self.settle(at);
    }

    /// What follows from the event without a record of its own.
    fn settle(&mut self, at: Timestamp) {
        loop {
            let before = (self.state.left, self.state.unfinished, self.state.last_id);
            self.undo_free();
            self.finish_orders();
            self.judge_breaches();
            // First what holds the run, then what a hold stops.
            self.ask();
            self.open_gates();
            if before == (self.state.left, self.state.unfinished, self.state.last_id) {
                break;
            }
        }
        let seq = self.state.seq;
        for (missing, reached) in &mut self.state.checkpoints {
            *reached = if *missing == 0 { reached.or(Some(seq)) } else { None };
        }
        self.ask();
        if !self.state.aborting && self.state.outcome.is_none() {
            self.watch_floor(at);
            self.ask();
        }
    }

    /// What nothing has to undo is undone as soon as it may be.
    fn undo_free(&mut self) {
        if !self.state.holds.is_empty() && !self.some_order_acts() || self.state.aborting {
            return;
        }
        let mut after = None;
        loop {
            use std::ops::Bound::{Excluded, Unbounded};
            let from = after.map_or(Unbounded, Excluded);
            let next = self.state.free.range((from, Unbounded)).next().copied();
            let Some(step) = next else { break };
            if self.stopped_by_hold(step, Way::Undo) {
                after = Some(step);
                continue;
            }
            self.set_status(step, Status::Clean);
            self.touch(step);
            after = None;
        }
    }

    /// Gates whose last approval is there are done.
    fn open_gates(&mut self) {
        if !self.state.holds.is_empty() || self.state.aborting || self.state.approvals.is_empty() {
            return;
        }
        for gate in self.state.gates.clone() {
            if self.is_approved(gate) && (!self.fact(gate).confirmed || self.lane_is_clear(gate)) {
                self.set_status(gate, Status::Done);
            }
        }
    }

    /// Whether enough different people, of each group at least one, have approved.
    pub(super) fn is_approved(&self, gate: StepId) -> bool {
        let Some(approvals) = self.state.approvals.get(&gate) else { return false };
        let Some(asked) = facts::gate(self.graph.def(gate)) else { return false };
        let of_group = |group: &str| {
            approvals.iter().any(|person| person.groups.iter().any(|mine| mine == group))
        };
        approvals.len() >= asked.quorum.max(1) as usize
            && asked.by.iter().all(|group| of_group(&group.value))
    }

    fn begin(&mut self, header: &Header, at: Timestamp) {
        self.state.begun = true;
        self.state.rehearsal = header.options.rehearsal;
        self.state.shift = SignedDuration::from_secs(header.options.shift_s);
        self.state.begun_at = at;
        self.see_clock(at);
        self.reconsider_all();
    }

    /// The window may have closed while no runner looked.
    fn see_clock(&mut self, at: Timestamp) {
        if let Some(window) = &self.graph.plan().window
            && !self.state.rehearsal
            && at > self.shifted(window.closes)
        {
            self.state.closed = true;
        }
    }

    pub(super) fn reconsider_all(&mut self) {
        for step in self.graph.steps() {
            self.reconsider(step);
        }
    }

    /// A runner took the run: what ran is in doubt, what the guard held is unknown.
    fn open(&mut self, epoch: u64, at: Timestamp) {
        self.state.epoch = Some(epoch);
        let closed = self.state.closed;
        self.see_clock(at);
        let services = (0..self.graph.services().len()).map(|at| ServiceId(at as u32));
        self.state.touched.extend(services);
        let seq = self.state.seq;
        for (at, provider) in (0u32..).zip(&mut self.state.providers) {
            provider.verdict = crate::event::Verdict::Unknown;
            provider.as_of = seq;
            self.state.moved.insert(ProviderId(at));
        }
        for step in self.state.running.clone() {
            let Status::Running(job) = self.step(step).status else { continue };
            if self.manual(job) {
                continue;
            }
            let status = match job.way {
                Way::Do => Status::Doubt(Way::Do),
                Way::Undo => Status::Doubt(Way::Undo),
                Way::Check => self.step(step).before,
            };
            self.set_status(step, status);
            self.ask_if_in_doubt(step);
        }
        if self.state.closed != closed {
            self.reconsider_all();
        }
    }

    fn start(&mut self, job: Job) {
        let step = job.step;
        if self.fact(step).taker {
            let services = self.floor_services(step, job.way, &Self::nothing_taken()).into_iter();
            let services: Vec<_> = services.map(|(service, _)| service).collect();
            if !services.is_empty() {
                self.state.floored.insert(step, services);
            }
        }
        self.set_patience(step, Patience::Fresh);
        // It was asked about while it waited for the floor: that is settled by its start.
        self.close_questions_of(step);
        let before = self.step(step).status;
        self.change(step, |it| {
            it.before = before;
            it.attempts[job.way as usize] = job.attempt;
            it.status = Status::Running(job);
        });
        self.touch(step);
    }

    fn finish(&mut self, job: Job, ending: &Ending, at: Timestamp) {
        let step = job.step;
        match (job.way, ending) {
            (_, Ending::Withdrawn) => {
                let before = self.step(step).before;
                let done_at = self.step(step).done_at;
                self.set_status(step, before);
                // Still done since then, as if nothing had started.
                self.change(step, |it| it.done_at = done_at);
            }
            (Way::Check, ending) => self.checked(step, ending, at),
            (Way::Do, Ending::Done(outputs)) => self.did(step, outputs),
            (Way::Do, Ending::Failed(failure)) => self.did_not(step, failure, at),
            (Way::Do, Ending::Unknown(failure)) => self.may_have_done(step, failure, at),
            (Way::Do | Way::Undo, Ending::Stopped | Ending::NotDone) => {
                self.set_status(step, Status::Partial);
            }
            (Way::Undo, Ending::Done(_)) => self.set_status(step, Status::Clean),
            (Way::Undo, Ending::Failed(failure) | Ending::Unknown(failure)) => {
                self.undo_failed(step, failure, matches!(ending, Ending::Unknown(_)), at);
            }
        }
        self.touch(step);
    }

    /// The deed is done.
    pub(super) fn did(&mut self, step: StepId, outputs: &Outputs) {
        self.state.failures.remove(&step);
        if outputs.is_empty() {
            self.state.outputs.remove(&step);
        } else {
            self.state.outputs.insert(step, outputs.clone());
        }
        self.set_status(step, Status::Done);
    }

    /// The deed failed, and it is known that it ended.
    pub(super) fn did_not(&mut self, step: StepId, failure: &Failure, at: Timestamp) {
        if matches!(failure.kind, FailureKind::TimedOut | FailureKind::InDoubt) {
            return self.may_have_done(step, failure, at);
        }
        self.state.failures.insert(step, failure.clone());
        if self.step(step).goal != Goal::Done {
            return self.set_status(step, Status::Partial);
        }
        let fails = self.count_failure(step, Way::Do);
        if failure.kind == FailureKind::Transient && fails < self.fact(step).attempts {
            self.wait(step, Way::Do, fails, at);
        } else {
            self.set_status(step, Status::Failed(Way::Do));
            self.follow_policy(step);
        }
    }

    /// Nobody knows whether the deed was done.
    fn may_have_done(&mut self, step: StepId, failure: &Failure, at: Timestamp) {
        self.state.failures.insert(step, failure.clone());
        if self.step(step).goal != Goal::Done {
            return self.set_status(step, Status::Doubt(Way::Do));
        }
        let fails = self.count_failure(step, Way::Do);
        let fact = self.fact(step);
        if fact.has_check || !fact.idempotent {
            self.set_status(step, Status::Doubt(Way::Do));
            self.ask_if_in_doubt(step);
        } else if fails < fact.attempts {
            self.wait(step, Way::Do, fails, at);
        } else {
            self.set_status(step, Status::Failed(Way::Do));
            self.follow_policy(step);
        }
    }

    fn ask_if_in_doubt(&mut self, step: StepId) {
        if self.step(step).status == Status::Doubt(Way::Do) {
            self.state.to_ask.insert(step);
        }
    }

    /// A check has answered, or not.
    fn checked(&mut self, step: StepId, ending: &Ending, at: Timestamp) {
        let claim = self.step(step).before == Status::Failed(Way::Undo);
        match ending {
            Ending::Stopped => {
                let before = self.step(step).before;
                self.set_status(step, before);
            }
            Ending::NotDone if claim => self.set_status(step, Status::Clean),
            _ if claim => {
                self.change(step, |it| it.claimed = false);
                self.set_status(step, Status::Failed(Way::Undo));
                self.state.to_ask.insert(step);
            }
            Ending::Done(outputs) => self.did(step, outputs),
            Ending::NotDone if self.step(step).goal != Goal::Done => {
                self.set_status(step, Status::Partial);
            }
            Ending::NotDone => {
                let fails = self.step(step).fails[Way::Do as usize];
                if fails >= self.fact(step).attempts {
                    self.set_status(step, Status::Failed(Way::Do));
                    self.follow_policy(step);
                } else if fails > 0 {
                    self.wait(step, Way::Do, fails, at);
                } else {
                    self.set_status(step, Status::Partial);
                }
            }
            Ending::Failed(failure) | Ending::Unknown(failure) => {
                self.state.failures.insert(step, failure.clone());
                let fails = self.count_failure(step, Way::Check);
                if self.step(step).goal == Goal::Done && fails < self.fact(step).attempts {
                    self.wait(step, Way::Check, fails, at);
                } else {
                    self.set_status(step, Status::Doubt(Way::Do));
                    self.ask_if_in_doubt(step);
                }
            }
            Ending::Withdrawn => {}
        }
    }

    /// An undo failed, or nobody knows; one in doubt is repeated at least once.
    pub(super) fn undo_failed(
        &mut self,
        step: StepId,
        failure: &Failure,
        unknown: bool,
        at: Timestamp,
    ) {
        self.state.failures.insert(step, failure.clone());
        let fails = self.count_failure(step, Way::Undo);
        let doubt = unknown || matches!(failure.kind, FailureKind::TimedOut | FailureKind::InDoubt);
        let most = self.fact(step).attempts;
        let again = match failure.kind {
            _ if doubt => fails < most.max(2),
            FailureKind::Transient => fails < most,
            _ => false,
        };
        if again {
            self.wait(step, Way::Undo, fails, at);
        } else {
            self.set_status(step, Status::Failed(Way::Undo));
            self.state.to_ask.insert(step);
        }
    }

    fn count_failure(&mut self, step: StepId, way: Way) -> u32 {
        // Of what `change` follows only the queue hangs on it.
        self.state.steps[step.index()].fails[way as usize] += 1;
        self.reconsider(step);
        if self.fact(step).taker {
            self.state.stirred.insert(step);
        }
        self.step(step).fails[way as usize]
    }

    /// Until the backoff is over, counted from the record of the failure.
    fn wait(&mut self, step: StepId, way: Way, fails: u32, at: Timestamp) {
        let (first, most) = self.fact(step).backoff;
        let factor = 1i32 << (fails.saturating_sub(1)).min(20);
        let pause = first.checked_mul(factor).map_or(most, |pause| pause.min(most));
        let wake = at.checked_add(pause).unwrap_or(at);
        // First the instant: the status is what puts it among the timers, and is another one yet.
        debug_assert!(
            !matches!(self.step(step).status, Status::Waiting(_)),
            "BUG: it waits already"
        );
        self.state.steps[step.index()].wake = Some(wake);
        self.set_status(step, Status::Waiting(way));
    }

    fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Opens => {
                self.state.opened = true;
                for step in self.state.parked_opens.clone() {
                    self.reconsider(step);
                }
            }
            Timer::Closes => {
                self.state.closed = true;
                let bounded = self.graph.steps().filter(|it| self.fact(*it).phase == Phase::Window);
                for step in bounded.collect::<Vec<_>>() {
                    self.reconsider(step);
                }
            }
            Timer::NotBefore(step) => self.change(step, |it| it.timely = true),
            Timer::Retry(step, Way::Check) => {
                self.set_status(step, Status::Doubt(Way::Do));
                self.ask_if_in_doubt(step);
            }
            Timer::Retry(step, _) => self.set_status(step, Status::Partial),
            Timer::Floor(step) => {
                self.set_patience(step, Patience::Asked);
                self.state.to_ask.insert(step);
            }
        }
    }
}
