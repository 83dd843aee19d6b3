//! List scheduling, as the runner does it: of the steps whose needs are there the one with the
//! longest way to go starts first, whenever its limits allow (Graham 1969: at most 2 - 1/m of the
//! best end with m places). Forwards and backwards are one machine with the edges turned.
//!
//! Not known here: what a window is, and where durations come from.

use super::ready::Ready;
use super::times::{Attempt, millis};
use crate::event::{StepId, Way};
use crate::graph::{Graph, LimitId};
use crate::plan::Retry;
use crate::run::{action, orders};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// No step, no limit, no moment yet.
pub(super) const NONE: u32 = u32::MAX;

/// One direction of a graph, laid out for many schedules.
#[derive(Clone, Debug)]
pub(super) struct Side {
    way: Way,
    /// Steps that take the same limits share a queue; of each step its queue, and its place there.
    pub(super) class: Vec<(u16, u32)>,
    classes: Vec<Class>,
    limits: Vec<u32>,
}

/// Steps that take the same limits.
#[derive(Clone, Debug)]
struct Class {
    limits: Vec<LimitId>,
    /// First in rank first, with the rank among all.
    steps: Vec<(StepId, u32)>,
}

impl Side {
    /// Both directions.
    pub(super) fn both(graph: &Graph) -> (Self, Self) {
        let (doing, undoing) = orders(graph);
        (Self::new(graph, Way::Do, &doing), Self::new(graph, Way::Undo, &undoing))
    }

    fn new(graph: &Graph, way: Way, by_rank: &[StepId]) -> Self {
        let mut places: BTreeMap<&[LimitId], u16> = BTreeMap::new();
        let mut classes: Vec<Class> = Vec::new();
        let mut of_def: BTreeMap<usize, u16> = BTreeMap::new();
        let mut class = vec![(0, 0); graph.len()];
        for (rank, &step) in (0..).zip(by_rank) {
            let at = *of_def.entry(graph.def_index(step)).or_insert_with(|| {
                let people = action(graph.def(step), way).is_none_or(|it| it.is_manual());
                let limits = if people { &[] } else { graph.limits(step) };
                let next = places.len() as u16;
                *places.entry(limits).or_insert_with(|| {
                    classes.push(Class { limits: limits.to_vec(), steps: Vec::new() });
                    next
                })
            });
            let steps = &mut classes[at as usize].steps;
            class[step.index()] = (at, steps.len() as u32);
            steps.push((step, rank));
        }
        let limits = (0..graph.limit_count() as u32).map(|it| graph.limit(LimitId(it))).collect();
        Self { way, class, classes, limits }
    }

    /// Empty queues, one for each class.
    pub(super) fn queues(&self) -> Vec<Ready> {
        self.classes.iter().map(|class| Ready::new(class.steps.len())).collect()
    }

    /// What a step takes one of.
    pub(super) fn limits_of(&self, step: StepId) -> &[LimitId] {
        &self.classes[self.class[step.index()].0 as usize].limits
    }

    /// Takes the first in rank of those that the limits allow out of its queue.
    pub(super) fn take_first(&self, queues: &mut [Ready], used: &[u32]) -> Option<StepId> {
        let mut first: Option<(u32, StepId, u32, usize)> = None;
        for (at, class) in self.classes.iter().enumerate() {
            let Some(place) = queues[at].first() else { continue };
            let free = |limit: &LimitId| used[limit.index()] < self.limits[limit.index()];
            let (step, rank) = class.steps[place as usize];
            if first.is_none_or(|(least, ..)| rank < least) && class.limits.iter().all(free) {
                first = Some((rank, step, place, at));
            }
        }
        let (_, step, place, class) = first?;
        queues[class].remove(place);
        Some(step)
    }

    fn waited_for<'g>(&self, graph: &'g Graph, step: StepId) -> &'g [StepId] {
        match self.way {
            Way::Undo => graph.dependents(step),
            Way::Do | Way::Check => graph.needs(step),
        }
    }

    fn waiting<'g>(&self, graph: &'g Graph, step: StepId) -> &'g [StepId] {
        match self.way {
            Way::Undo => graph.needs(step),
            Way::Do | Way::Check => graph.dependents(step),
        }
    }
}

/// What a step is in one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It is not there, and nobody waits for it.
    Absent,
    /// It takes no time and no limit, but hands the order on.
    Passes,
    /// It is to be carried out, not before this moment.
    From(i64),
}

/// What is to be scheduled: the parts of the steps, and what each waits for because of them. Laid out
/// once, scheduled as often as wanted.
#[derive(Clone, Debug)]
pub(super) struct Task<'a> {
    graph: &'a Graph,
    side: &'a Side,
    parts: Vec<Part>,
    begin: Vec<Slot>,
    /// No step has to look at its part to know that it can begin at this moment or later.
    plain_from: i64,
}

/// Of a step all that a schedule looks at while it is made, side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// How many it still waits for.
    pub(super) left: u32,
    /// The step whose end let it begin.
    after: u32,
    /// The round in which it was queued.
    queued: u32,
    /// Attempts begun.
    pub(super) tries: u32,
}

impl Slot {
    /// More than any step waits for: who is not there never begins.
    const ABSENT: Self = Self { left: 1 << 31, after: NONE, queued: NONE, tries: 0 };
}

impl<'a> Task<'a> {
    /// Nothing yet.
    pub(super) fn nothing(graph: &'a Graph, side: &'a Side) -> Self {
        Self {
            graph,
            side,
            parts: vec![Part::Absent; graph.len()],
            begin: vec![Slot::ABSENT; graph.len()],
            plain_from: i64::MIN,
        }
    }

    pub(super) fn new(graph: &'a Graph, side: &'a Side, parts: &[Part]) -> Self {
        let mut task = Self::nothing(graph, side);
        for (step, part) in graph.steps().zip(parts) {
            task.set(step, *part);
        }
        task
    }

    pub(super) fn clear(&mut self) {
        self.parts.fill(Part::Absent);
        self.begin.fill(Slot::ABSENT);
        self.plain_from = i64::MIN;
    }

    /// Gives a step a part; who has one never becomes absent again.
    pub(super) fn set(&mut self, step: StepId, part: Part) {
        let plain_from = match part {
            Part::Absent => return,
            Part::Passes => i64::MAX,
            Part::From(moment) => moment,
        };
        self.plain_from = self.plain_from.max(plain_from);
        let was = std::mem::replace(&mut self.parts[step.index()], part);
        if was != Part::Absent {
            return;
        }
        let there = |other: &&StepId| self.parts[other.index()] != Part::Absent;
        let left = self.side.waited_for(self.graph, step).iter().filter(there).count();
        self.begin[step.index()].left = left as u32;
        for other in self.side.waiting(self.graph, step) {
            if self.parts[other.index()] != Part::Absent {
                self.begin[other.index()].left += 1;
            }
        }
    }

    pub(super) fn part(&self, step: StepId) -> Part {
        self.parts[step.index()]
    }

    pub(super) fn is_there(&self, step: StepId) -> bool {
        self.parts[step.index()] != Part::Absent
    }
}

/// How a schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All were carried out.
    All,
    /// A step failed for good, at this moment.
    Failed(StepId, i64),
}

/// What happens to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An attempt reaches its end.
    Ends,
    /// An attempt fails.
    Fails,
    /// The time has come that it waited for.
    Comes,
}

/// What happens to a step at a moment, in one number: they are taken in the order of moments, at one
/// moment in the order of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Happens(Reverse<u128>);

impl Happens {
    fn new(at: i64, step: StepId, what: What) -> Self {
        // The first bit turned, signed numbers are in the order of unsigned ones.
        let at = at.cast_unsigned() ^ (1 << 63);
        Self(Reverse(u128::from(at) << 64 | u128::from(step.0) << 2 | what as u128))
    }

    pub(super) fn at(self) -> i64 {
        (((self.0.0 >> 64) as u64) ^ (1 << 63)).cast_signed()
    }

    pub(super) fn step(self) -> StepId {
        StepId((self.0.0 >> 2) as u32)
    }

    pub(super) fn what(self) -> What {
        match self.0.0 & 3 {
            0 => What::Ends,
            1 => What::Fails,
            _ => What::Comes,
        }
    }
}

/// A schedule in the making, and the one made last; its tables are used again and again.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    graph: &'a Graph,
    side: &'a Side,
    pub(super) slots: Vec<Slot>,
    /// Steps that wait for a limit, by class.
    pub(super) queues: Vec<Ready>,
    /// What is still to happen.
    pub(super) events: BinaryHeap<Happens>,
    /// Of each limit how many are taken.
    pub(super) used: Vec<u32>,
    /// Of each limit the round in which it was used up no more, and whose place became free.
    freed: Vec<(u32, u32)>,
    /// Steps that have ended in this moment without taking any time.
    passed: Vec<StepId>,
    /// When the last one ended, and which: of several the one that is written first.
    end: Option<(i64, StepId)>,
    course: Option<Course>,
}

/// The course of a schedule, step by step.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// When each step began first; `i64::MAX`: not yet.
    pub(super) begins: Vec<i64>,
    /// When each step ended; `i64::MAX`: not yet.
    pub(super) ends: Vec<i64>,
    /// The limit that each waited for, if that was it.
    pub(super) limit: Vec<u32>,
    /// Steps in the order of their begins.
    pub(super) order: Vec<StepId>,
}

impl<'a> Bench<'a> {
    /// For the end and what it hangs on.
    pub(super) fn new(graph: &'a Graph, side: &'a Side) -> Self {
        Self {
            graph,
            side,
            slots: Vec::with_capacity(graph.len()),
            queues: side.queues(),
            events: BinaryHeap::new(),
            used: vec![0; side.limits.len()],
            freed: vec![(NONE, NONE); side.limits.len()],
            passed: Vec::new(),
            end: None,
            course: None,
        }
    }

    /// For the whole course, too.
    pub(super) fn with_course(graph: &'a Graph, side: &'a Side) -> Self {
        let steps = graph.len();
        let course = Course {
            begins: vec![i64::MAX; steps],
            ends: vec![i64::MAX; steps],
            limit: vec![NONE; steps],
            order: Vec::with_capacity(steps),
        };
        Self { course: Some(course), ..Self::new(graph, side) }
    }

    fn clear(&mut self, task: &Task<'_>) {
        self.slots.clear();
        self.slots.extend_from_slice(&task.begin);
        self.queues.iter_mut().for_each(Ready::clear);
        self.events.clear();
        self.used.fill(0);
        self.freed.fill((NONE, NONE));
        self.end = None;
        if let Some(course) = &mut self.course {
            course.begins.fill(i64::MAX);
            course.ends.fill(i64::MAX);
            course.limit.fill(NONE);
            course.order.clear();
        }
    }

    /// Makes a schedule, from a moment on. `draw` is asked once for each attempt.
    pub(super) fn make(
        &mut self,
        task: &Task<'_>,
        from: i64,
        draw: &mut impl FnMut(StepId) -> Attempt,
    ) -> Ended {
        self.clear(task);
        for (step, slot) in (0..).map(StepId).zip(&task.begin) {
            if slot.left == 0 {
                self.comes(step, task, from, 0);
            }
        }
        self.pass_on(task, from, 0);
        self.start(from, 0, draw);
        for round in 1.. {
            let Some(now) = self.events.peek().map(|first| first.at()) else { break };
            while let Some(first) = self.events.peek().copied()
                && first.at() == now
            {
                self.events.pop();
                let step = first.step();
                match first.what() {
                    What::Comes => self.comes(step, task, now, round),
                    What::Ends => {
                        self.free(step, round);
                        self.behind(step, task, now, round);
                    }
                    What::Fails if self.failed(step, now, round) => {}
                    What::Fails => return Ended::Failed(step, now),
                }
                self.pass_on(task, now, round);
            }
            self.start(now, round, draw);
        }
        Ended::All
    }

    /// The step waits for nobody any more.
    fn comes(&mut self, step: StepId, task: &Task<'_>, now: i64, round: u32) {
        let at = step.index();
        if now < task.plain_from {
            match task.parts[at] {
                Part::From(earliest) if earliest > now => {
                    // Not the one before it, but the time let it begin.
                    self.slots[at].after = NONE;
                    self.events.push(Happens::new(earliest, step, What::Comes));
                    return;
                }
                Part::From(_) => {}
                Part::Passes | Part::Absent => {
                    if let Some(course) = &mut self.course {
                        course.begins[at] = now;
                    }
                    self.passed.push(step);
                    return;
                }
            }
        }
        self.slots[at].queued = round;
        let (class, place) = self.side.class[at];
        self.queues[class as usize].insert(place);
    }

    fn pass_on(&mut self, task: &Task<'_>, now: i64, round: u32) {
        while let Some(step) = self.passed.pop() {
            self.behind(step, task, now, round);
        }
    }

    fn behind(&mut self, step: StepId, task: &Task<'_>, now: i64, round: u32) {
        if self.end.is_none_or(|(last, which)| (now, Reverse(step)) > (last, Reverse(which))) {
            self.end = Some((now, step));
        }
        if let Some(course) = &mut self.course {
            course.ends[step.index()] = now;
        }
        for &next in self.side.waiting(self.graph, step) {
            let slot = &mut self.slots[next.index()];
            slot.left -= 1;
            if slot.left == 0 {
                slot.after = step.0;
                self.comes(next, task, now, round);
            }
        }
    }

    fn free(&mut self, step: StepId, round: u32) {
        let side = self.side;
        for limit in side.limits_of(step) {
            let used = &mut self.used[limit.index()];
            if *used == side.limits[limit.index()] {
                self.freed[limit.index()] = (round, step.0);
            }
            *used -= 1;
        }
    }

    /// An attempt failed: whether there is another one.
    fn failed(&mut self, step: StepId, now: i64, round: u32) -> bool {
        self.free(step, round);
        let tries = self.slots[step.index()].tries;
        let retry = &self.graph.def(step).retry;
        if tries >= retry.attempts {
            return false;
        }
        let again = now.saturating_add(pause(retry, tries));
        self.events.push(Happens::new(again, step, What::Comes));
        true
    }

    /// Starts what the limits allow, the first in rank first.
    fn start(&mut self, now: i64, round: u32, draw: &mut impl FnMut(StepId) -> Attempt) {
        while let Some(step) = self.side.take_first(&mut self.queues, &self.used) {
            self.begin(step, now, round);
            let Attempt { takes, good } = draw(step);
            let what = if good { What::Ends } else { What::Fails };
            self.events.push(Happens::new(now.saturating_add(takes), step, what));
        }
    }

    fn begin(&mut self, step: StepId, now: i64, round: u32) {
        let limits = self.side.limits_of(step);
        let slot = &mut self.slots[step.index()];
        if slot.tries == 0 {
            if let Some(course) = &mut self.course {
                course.begins[step.index()] = now;
                course.order.push(step);
            }
            if slot.queued != round {
                // It stood in its queue before: a place has become free in this round.
                let freed = limits.iter().find(|limit| self.freed[limit.index()].0 == round);
                if let Some(limit) = freed {
                    slot.after = self.freed[limit.index()].1;
                    if let Some(course) = &mut self.course {
                        course.limit[step.index()] = limit.0;
                    }
                }
            }
        }
        slot.tries += 1;
        for limit in limits {
            self.used[limit.index()] += 1;
        }
    }

    /// When the last one ended, and which that was: of several the one that is written first.
    pub(super) fn end(&self) -> Option<(i64, StepId)> {
        self.end
    }

    /// The course, if it was wanted.
    pub(super) fn course(&self) -> Option<&Course> {
        self.course.as_ref()
    }

    /// The step whose end let one begin.
    pub(super) fn after(&self, step: StepId) -> Option<StepId> {
        let after = self.slots[step.index()].after;
        (after != NONE).then_some(StepId(after))
    }

    /// The chain that made a step end when it did, last to first: each was waited for by the one
    /// named before it.
    pub(super) fn chain(&self, last: StepId) -> impl Iterator<Item = StepId> {
        std::iter::successors(Some(last), |step| self.after(*step))
    }
}

impl Course {
    /// When the last of those that `counts` ended, and which that was.
    pub(super) fn last(
        &self,
        graph: &Graph,
        counts: impl Fn(StepId) -> bool,
    ) -> Option<(i64, StepId)> {
        let steps = graph.steps().filter(|step| counts(*step));
        let ended = steps.map(|step| (self.ends[step.index()], step));
        // Of several that end last, the one that is written first.
        ended.filter(|(end, _)| *end != i64::MAX).max_by_key(|(end, step)| (*end, Reverse(*step)))
    }
}

/// The pause before the next attempt: doubled from one to the next, up to the longest.
pub(super) fn pause(retry: &Retry, tries: u32) -> i64 {
    let (first, longest) = retry.backoff;
    let first = millis(first);
    let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(20));
    doubled.min(millis(longest))
}
