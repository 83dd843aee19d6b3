//! An execution from the moment on at which a line goes back alone: what has begun of the line is
//! undone, and what has begun and needs it; the rest goes on meanwhile, and what was undone only
//! because of the line starts again when the line is out.
//!
//! Undos take limits before dos. A line goes out if the plan without all that is out is proved, else
//! people are asked. Not known here: the live floor, and how long people take.

use super::back::finishes;
use super::random::Random;
use super::ready::Ready;
use super::schedule::{Bench, Part, Side, What, pause};
use super::simulate::Stage;
use crate::event::{LineId, StepId, Way};
use crate::plan::{Kind, OnFailure, Phase};
use crate::run::action;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What such an execution comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All but the lines that are out was done, the last of it at this moment.
    Partly(i64),
    /// In the end the whole run went back, by this moment.
    Undone(i64),
    /// It waits for people.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Clean,
    /// Under way, in the way that its goal said when it began.
    Runs(Way),
    /// Begun, and nothing of it under way.
    Half,
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    status: Status,
    /// A rollback that is not complete wants it undone.
    back: bool,
    /// Undone as far as such a rollback wants, so that what it needs may follow.
    undone: bool,
    /// Its line is out.
    out: bool,
    /// Those who need it may begin: it is done, or it is out and hands on what it needs.
    there: bool,
    /// How many it waits for, in the direction of its goal.
    left: u32,
    tries: u32,
    /// What was to happen to it in an earlier turn does not.
    turn: u32,
}

/// A rollback of a line, or of the whole run, under way.
struct Rollback {
    line: Option<LineId>,
    /// What it holds back or undoes, ascending.
    steps: Vec<StepId>,
    /// Steps of the line (or all) that are not clean yet.
    left: usize,
}

/// Not to be gone on with: people decide.
struct Held;

/// A moment, what happens then, and the turn of the step that it is for.
type Event = Reverse<(i64, StepId, What, u32)>;

pub(super) struct Course<'a> {
    stage: &'a Stage<'a>,
    random: &'a mut Random,
    now: i64,
    steps: Vec<Step>,
    events: BinaryHeap<Event>,
    used: Vec<u32>,
    dos: Vec<Ready>,
    undos: Vec<Ready>,
    rollbacks: Vec<Rollback>,
    out: BTreeSet<LineId>,
    /// Steps that wait for nobody, in the direction of their goal.
    free: Vec<StepId>,
}

/// Goes on from where a step has failed for good whose policy is `rollback-line`.
pub(super) fn go_on(
    stage: &Stage<'_>,
    forth: &Bench<'_>,
    failed: StepId,
    now: i64,
    random: &mut Random,
) -> Outcome {
    let Some(mut course) = Course::taken_over(stage, forth, now, random) else {
        return Outcome::Held;
    };
    match course.follow(failed).and_then(|()| course.run()) {
        Ok(outcome) => outcome,
        Err(Held) => Outcome::Held,
    }
}

impl<'a> Course<'a> {
    fn taken_over(
        stage: &'a Stage<'a>,
        forth: &Bench<'_>,
        now: i64,
        random: &'a mut Random,
    ) -> Option<Self> {
        let graph = stage.graph;
        let began = forth.course()?;
        let steps = graph.steps().map(|step| {
            let slot = &forth.slots[step.index()];
            let status = match (began.begins[step.index()], began.ends[step.index()]) {
                (_, end) if end != i64::MAX => Status::Done,
                // What is under way is seen by its event.
                (begin, _) if begin != i64::MAX => Status::Half,
                _ => Status::Clean,
            };
            Step {
                status,
                back: false,
                undone: false,
                out: false,
                there: status == Status::Done,
                left: slot.left,
                tries: slot.tries,
                turn: 0,
            }
        });
        let mut course = Self {
            stage,
            now,
            steps: steps.collect(),
            events: BinaryHeap::new(),
            used: forth.used.clone(),
            dos: forth.queues.clone(),
            undos: stage.undoing.queues(),
            rollbacks: Vec::new(),
            out: BTreeSet::new(),
            free: Vec::new(),
            random,
        };
        for event in &forth.events {
            let step = event.step();
            if event.what() != What::Comes {
                course.steps[step.index()].status = Status::Runs(Way::Do);
            }
            course.events.push(Reverse((event.at(), step, event.what(), 0)));
        }
        Some(course)
    }

    fn run(&mut self) -> Result<Outcome, Held> {
        loop {
            self.settle()?;
            let whole = |it: &Rollback| it.line.is_none() && it.left == 0;
            if self.rollbacks.iter().any(whole) {
                return Ok(Outcome::Undone(self.now));
            }
            self.start();
            let Some(Reverse((at, ..))) = self.events.peek().copied() else { break };
            while let Some(Reverse((then, step, what, turn))) = self.events.peek().copied()
                && then == at
            {
                self.events.pop();
                if turn == self.steps[step.index()].turn {
                    self.now = at;
                    self.happens(step, what)?;
                    // The next one may turn round what is free now.
                    self.settle()?;
                }
            }
        }
        let there = |step: &StepId| !self.stage.task.is_there(*step) || self.it(*step).there;
        match self.stage.graph.steps().all(|step| there(&step)) {
            true => Ok(Outcome::Partly(self.now)),
            false => Err(Held),
        }
    }

    fn it(&self, step: StepId) -> &Step {
        &self.steps[step.index()]
    }

    /// A gate begins and ends with its last approval.
    fn has_begun(&self, step: StepId) -> bool {
        match self.it(step).status {
            Status::Clean => false,
            Status::Done => true,
            Status::Runs(_) | Status::Half => self.stage.graph.kind(step) != Kind::Gate,
        }
    }

    fn happens(&mut self, step: StepId, what: What) -> Result<(), Held> {
        let retry = &self.stage.graph.def(step).retry;
        let it = &mut self.steps[step.index()];
        let Status::Runs(way) = it.status else {
            // The pause before another attempt, or the time before the first, is over.
            self.free.push(step);
            return Ok(());
        };
        it.status = if what == What::Ends && way == Way::Do { Status::Done } else { Status::Half };
        let again = self.now.saturating_add(pause(retry, it.tries));
        let (last, turn) = (it.tries >= retry.attempts, it.turn);
        self.give_back(step, way);
        let it = &mut self.steps[step.index()];
        match (what, way) {
            // It was waited for, to be undone.
            (_, Way::Do) if it.back => {
                it.tries = 0;
                if it.left == 0 {
                    self.free.push(step);
                }
            }
            (What::Ends, Way::Do) => self.is_there(step),
            (What::Ends, _) => self.is_undone(step),
            (_, Way::Do) if last => self.follow(step)?,
            (_, _) if last => return Err(Held),
            (_, _) => self.events.push(Reverse((again, step, What::Comes, turn))),
        }
        Ok(())
    }

    /// Does what the policy of a step says that has failed for good.
    fn follow(&mut self, failed: StepId) -> Result<(), Held> {
        match self.stage.graph.on_failure(failed) {
            OnFailure::Hold => Err(Held),
            OnFailure::Rollback => self.go_back(None),
            OnFailure::RollbackLine => self.go_back(self.stage.graph.line(failed)),
        }
    }

    /// Begins the rollback of a line, or of all.
    fn go_back(&mut self, line: Option<LineId>) -> Result<(), Held> {
        let graph = self.stage.graph;
        let mut steps = self.behind(line);
        // What was done before the window stays when all goes back.
        let stays =
            |it: &Step, step| graph.phase(step) == Phase::Before && it.status == Status::Done;
        steps.retain(|step| line.is_some() || !stays(self.it(*step), *step));
        if steps.iter().any(|it| self.has_begun(*it) && graph.is_point_of_no_return(*it)) {
            return Err(Held);
        }
        let mut fresh = Vec::new();
        for &step in &steps {
            if !self.it(step).back {
                self.turn_round(step);
                fresh.push(step);
            }
        }
        for &step in &fresh {
            let waits = graph.dependents(step).iter().filter(|it| {
                let it = self.it(**it);
                it.back && !it.undone
            });
            let left = waits.count() as u32;
            let it = &mut self.steps[step.index()];
            it.left = left;
            if left == 0 && it.status != Status::Runs(Way::Do) {
                self.free.push(step);
            }
        }
        let mine = |step: &&StepId| line.is_none() || graph.line(**step) == line;
        let left = steps.iter().filter(mine).filter(|it| !self.it(**it).undone).count();
        self.rollbacks.push(Rollback { line, steps, left });
        Ok(())
    }

    /// The steps of the line and all that need them, or all; ascending.
    fn behind(&self, line: Option<LineId>) -> Vec<StepId> {
        let graph = self.stage.graph;
        let present = |step: &StepId| self.stage.task.is_there(*step);
        let mine = |step: &StepId| line.is_none() || graph.line(*step) == line;
        let mut set: BTreeSet<StepId> = graph.steps().filter(present).filter(mine).collect();
        let mut queue: Vec<StepId> = set.iter().copied().collect();
        while let Some(step) = queue.pop() {
            let after = graph.dependents(step).iter().copied().filter(present);
            queue.extend(after.filter(|next| set.insert(*next)));
        }
        set.into_iter().collect()
    }

    /// A step is wanted undone from now on.
    fn turn_round(&mut self, step: StepId) {
        let (class, place) = self.stage.doing.class[step.index()];
        self.dos[class as usize].remove(place);
        let it = &mut self.steps[step.index()];
        it.back = true;
        it.undone = false;
        it.there = false;
        let waits = finishes(self.stage.graph, step);
        if it.status == Status::Runs(Way::Do) && waits {
            return;
        }
        it.tries = 0;
        it.turn += 1;
        if it.status == Status::Runs(Way::Do) {
            it.status = Status::Half;
            self.give_back(step, Way::Do);
        }
    }

    /// Lets those go that wait for nobody, and lines out that are clean, until nothing moves.
    fn settle(&mut self) -> Result<(), Held> {
        loop {
            while let Some(step) = self.free.pop() {
                self.comes(step);
            }
            let clean = |it: &Rollback| it.line.is_some() && it.left == 0;
            let Some(at) = self.rollbacks.iter().position(clean) else { return Ok(()) };
            self.goes_out(at)?;
        }
    }

    /// The step waits for nobody any more.
    fn comes(&mut self, step: StepId) {
        let it = *self.it(step);
        if it.back {
            let undo = action(self.stage.graph.def(step), Way::Undo).is_some();
            if !undo || !self.has_begun(step) {
                return self.is_undone(step);
            }
            let (class, place) = self.stage.undoing.class[step.index()];
            self.undos[class as usize].insert(place);
        } else if it.out {
            self.is_there(step);
        } else if let Part::From(earliest) = self.stage.task.part(step)
            && earliest > self.now
        {
            self.events.push(Reverse((earliest, step, What::Comes, it.turn)));
        } else {
            let (class, place) = self.stage.doing.class[step.index()];
            self.dos[class as usize].insert(place);
        }
    }

    fn is_there(&mut self, step: StepId) {
        self.steps[step.index()].there = true;
        for &next in self.stage.graph.dependents(step) {
            let it = &mut self.steps[next.index()];
            if !it.back && self.stage.task.is_there(next) {
                it.left -= 1;
                if it.left == 0 {
                    self.free.push(next);
                }
            }
        }
    }

    fn is_undone(&mut self, step: StepId) {
        let it = &mut self.steps[step.index()];
        it.status = Status::Clean;
        it.undone = true;
        it.tries = 0;
        it.turn += 1;
        for &need in self.stage.graph.needs(step) {
            let it = &mut self.steps[need.index()];
            if it.back && !it.undone {
                it.left -= 1;
                if it.left == 0 && it.status != Status::Runs(Way::Do) {
                    self.free.push(need);
                }
            }
        }
        let line = self.stage.graph.line(step);
        for rollback in &mut self.rollbacks {
            let mine = rollback.line.is_none() || rollback.line == line;
            if mine && rollback.steps.binary_search(&step).is_ok() {
                rollback.left -= 1;
            }
        }
    }

    /// All steps of the line are clean: it goes out, and what else was undone starts again.
    fn goes_out(&mut self, at: usize) -> Result<(), Held> {
        let rollback = self.rollbacks.remove(at);
        self.out.extend(rollback.line);
        if !self.stage.is_proved_without(&self.out) {
            return Err(Held);
        }
        let graph = self.stage.graph;
        let others = self.rollbacks.iter().flat_map(|it| &it.steps);
        let kept: BTreeSet<StepId> = others.copied().collect();
        let again: Vec<StepId> =
            rollback.steps.into_iter().filter(|step| !kept.contains(step)).collect();
        for step in &again {
            let it = &mut self.steps[step.index()];
            it.back = false;
            it.out |= graph.line(*step).is_some_and(|line| self.out.contains(&line));
        }
        for step in again {
            let missing = graph
                .needs(step)
                .iter()
                .filter(|need| self.stage.task.is_there(**need) && !self.it(**need).there);
            let left = missing.count() as u32;
            self.steps[step.index()].left = left;
            if left == 0 {
                self.free.push(step);
            }
        }
        Ok(())
    }

    /// Starts what the limits allow: undos first, of each way the first in rank.
    fn start(&mut self) {
        let (doing, undoing) = (self.stage.doing, self.stage.undoing);
        while let Some(step) = undoing.take_first(&mut self.undos, &self.used) {
            self.begin(step, Way::Undo);
        }
        while let Some(step) = doing.take_first(&mut self.dos, &self.used) {
            self.begin(step, Way::Do);
        }
    }

    fn begin(&mut self, step: StepId, way: Way) {
        for limit in self.side(way).limits_of(step) {
            self.used[limit.index()] += 1;
        }
        let attempt = match way {
            Way::Undo => self.stage.times.undoes(step).draw(self.random),
            Way::Do | Way::Check => self.stage.times.draw(step, self.random),
        };
        let it = &mut self.steps[step.index()];
        it.status = Status::Runs(way);
        it.tries += 1;
        let what = if attempt.good { What::Ends } else { What::Fails };
        let end = self.now.saturating_add(attempt.takes);
        self.events.push(Reverse((end, step, what, it.turn)));
    }

    fn give_back(&mut self, step: StepId, way: Way) {
        for limit in self.side(way).limits_of(step) {
            self.used[limit.index()] -= 1;
        }
    }

    fn side(&self, way: Way) -> &'a Side {
        match way {
            Way::Undo => self.stage.undoing,
            Way::Do | Way::Check => self.stage.doing,
        }
    }
}
