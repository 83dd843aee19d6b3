//! List scheduling, as the runner does it: of the steps whose needs are there the one with the
//! longest way to go starts first, whenever its limits allow (Graham 1969: at most 2 - 1/m of the
//! best end with m places). Forwards and backwards are one machine with the edges turned.
//!
//! Not known here: what a window is, and where durations come from.

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
    /// Steps that take the same limits share a queue.
    class: Vec<u16>,
    classes: Vec<Vec<LimitId>>,
    rank: Vec<u32>,
    by_rank: Vec<StepId>,
    limits: Vec<u32>,
}

impl Side {
    /// Both directions.
    pub(super) fn both(graph: &Graph) -> (Self, Self) {
        let (doing, undoing) = orders(graph);
        (Self::new(graph, Way::Do, doing), Self::new(graph, Way::Undo, undoing))
    }

    fn new(graph: &Graph, way: Way, by_rank: Vec<StepId>) -> Self {
        let mut places: BTreeMap<&[LimitId], u16> = BTreeMap::new();
        let mut classes = Vec::new();
        let mut of_def: BTreeMap<usize, u16> = BTreeMap::new();
        let class = graph.steps().map(|step| {
            *of_def.entry(graph.def_index(step)).or_insert_with(|| {
                let people = action(graph.def(step), way).is_none_or(|it| it.is_manual());
                let limits = if people { &[] } else { graph.limits(step) };
                let next = places.len() as u16;
                *places.entry(limits).or_insert_with(|| {
                    classes.push(limits.to_vec());
                    next
                })
            })
        });
        let class = class.collect();
        let mut rank = vec![0; graph.len()];
        for (place, step) in (0..).zip(&by_rank) {
            rank[step.index()] = place;
        }
        let limits = (0..graph.limit_count() as u32).map(|it| graph.limit(LimitId(it))).collect();
        Self { way, class, classes, rank, by_rank, limits }
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

/// How a schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All were carried out.
    All,
    /// A step failed for good, at this moment.
    Failed(StepId, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Ends,
    Fails,
    Comes,
}

/// A schedule in the making, and the one made last; its tables are used again and again.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    graph: &'a Graph,
    side: &'a Side,
    /// Of each step how many it still waits for.
    left: Vec<u32>,
    /// Steps that wait for a limit, by class, the first in rank at the top.
    queues: Vec<BinaryHeap<Reverse<u32>>>,
    events: BinaryHeap<Reverse<(i64, u32, What)>>,
    used: Vec<u32>,
    /// Of each limit the round in which it was used up no more, and whose place became free.
    freed: Vec<(u32, u32)>,
    /// Of each step the round in which it was queued.
    queued: Vec<u32>,
    tries: Vec<u32>,
    /// When each step began first; `i64::MAX`: not yet.
    pub(super) begins: Vec<i64>,
    /// When each step ended; `i64::MAX`: not yet.
    pub(super) ends: Vec<i64>,
    /// The step whose end let each begin.
    pub(super) after: Vec<u32>,
    /// The limit that it waited for, if that was it.
    pub(super) limit: Vec<u32>,
    /// Steps in the order of their begins.
    pub(super) order: Vec<StepId>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(graph: &'a Graph, side: &'a Side) -> Self {
        let steps = graph.len();
        Self {
            graph,
            side,
            left: vec![0; steps],
            queues: vec![BinaryHeap::new(); side.classes.len()],
            events: BinaryHeap::new(),
            used: vec![0; side.limits.len()],
            freed: vec![(NONE, NONE); side.limits.len()],
            queued: vec![NONE; steps],
            tries: vec![0; steps],
            begins: vec![i64::MAX; steps],
            ends: vec![i64::MAX; steps],
            after: vec![NONE; steps],
            limit: vec![NONE; steps],
            order: Vec::with_capacity(steps),
        }
    }

    fn waited_for(&self, step: StepId) -> &'a [StepId] {
        match self.side.way {
            Way::Undo => self.graph.dependents(step),
            Way::Do | Way::Check => self.graph.needs(step),
        }
    }

    fn waiting(&self, step: StepId) -> &'a [StepId] {
        match self.side.way {
            Way::Undo => self.graph.needs(step),
            Way::Do | Way::Check => self.graph.dependents(step),
        }
    }

    fn clear(&mut self) {
        for queue in &mut self.queues {
            queue.clear();
        }
        self.events.clear();
        self.used.fill(0);
        self.freed.fill((NONE, NONE));
        self.tries.fill(0);
        self.begins.fill(i64::MAX);
        self.ends.fill(i64::MAX);
        self.after.fill(NONE);
        self.limit.fill(NONE);
        self.order.clear();
    }

    /// Makes a schedule of the parts, from a moment on. `draw` is asked once for each attempt.
    pub(super) fn make(
        &mut self,
        parts: &[Part],
        from: i64,
        draw: &mut impl FnMut(StepId) -> Attempt,
    ) -> Ended {
        self.clear();
        for step in self.graph.steps().filter(|step| parts[step.index()] != Part::Absent) {
            let there = |other: &&StepId| parts[other.index()] != Part::Absent;
            let left = self.waited_for(step).iter().filter(there).count() as u32;
            self.left[step.index()] = left;
            if left == 0 {
                self.events.push(Reverse((from, step.0, What::Comes)));
            }
        }
        for round in 0.. {
            let Some(&Reverse((now, _, _))) = self.events.peek() else { break };
            while let Some(&Reverse((at, step, what))) = self.events.peek()
                && at == now
            {
                self.events.pop();
                let step = StepId(step);
                match what {
                    What::Comes => self.comes(step, parts, now, round),
                    What::Ends => self.ended(step, parts, now, round),
                    What::Fails if self.failed(step, now, round) => {}
                    What::Fails => return Ended::Failed(step, now),
                }
            }
            self.start(now, round, draw);
        }
        Ended::All
    }

    /// The step waits for nobody any more.
    fn comes(&mut self, step: StepId, parts: &[Part], now: i64, round: u32) {
        let at = step.index();
        match parts[at] {
            Part::From(earliest) if earliest > now => {
                // Not the one before it, but the time let it begin.
                self.after[at] = NONE;
                self.events.push(Reverse((earliest, step.0, What::Comes)));
            }
            Part::From(_) => {
                self.queued[at] = round;
                self.queues[self.side.class[at] as usize].push(Reverse(self.side.rank[at]));
            }
            Part::Passes | Part::Absent => {
                self.begins[at] = now;
                self.behind(step, parts, now);
            }
        }
    }

    fn behind(&mut self, step: StepId, parts: &[Part], now: i64) {
        self.ends[step.index()] = now;
        for &next in self.waiting(step) {
            let at = next.index();
            if parts[at] == Part::Absent {
                continue;
            }
            self.left[at] -= 1;
            if self.left[at] == 0 {
                self.after[at] = step.0;
                self.events.push(Reverse((now, next.0, What::Comes)));
            }
        }
    }

    fn free(&mut self, step: StepId, round: u32) {
        for limit in &self.side.classes[self.side.class[step.index()] as usize] {
            let used = &mut self.used[limit.index()];
            if *used == self.side.limits[limit.index()] {
                self.freed[limit.index()] = (round, step.0);
            }
            *used -= 1;
        }
    }

    fn ended(&mut self, step: StepId, parts: &[Part], now: i64, round: u32) {
        self.free(step, round);
        self.behind(step, parts, now);
    }

    /// An attempt failed: whether there is another one.
    fn failed(&mut self, step: StepId, now: i64, round: u32) -> bool {
        self.free(step, round);
        let tries = self.tries[step.index()];
        let retry = &self.graph.def(step).retry;
        if tries >= retry.attempts {
            return false;
        }
        self.events.push(Reverse((now.saturating_add(pause(retry, tries)), step.0, What::Comes)));
        true
    }

    /// Starts what the limits allow, the first in rank first.
    fn start(&mut self, now: i64, round: u32, draw: &mut impl FnMut(StepId) -> Attempt) {
        loop {
            let side = self.side;
            let mut first: Option<(u32, usize)> = None;
            for (class, queue) in self.queues.iter().enumerate() {
                let Some(&Reverse(rank)) = queue.peek() else { continue };
                let free = |limit: &LimitId| self.used[limit.index()] < side.limits[limit.index()];
                if first.is_none_or(|(least, _)| rank < least)
                    && side.classes[class].iter().all(free)
                {
                    first = Some((rank, class));
                }
            }
            let Some((rank, class)) = first else { return };
            self.queues[class].pop();
            let step = side.by_rank[rank as usize];
            self.begin(step, class, now, round);
            let Attempt { takes, good } = draw(step);
            let what = if good { What::Ends } else { What::Fails };
            self.events.push(Reverse((now.saturating_add(takes), step.0, what)));
        }
    }

    fn begin(&mut self, step: StepId, class: usize, now: i64, round: u32) {
        let at = step.index();
        let limits = &self.side.classes[class];
        if self.tries[at] == 0 {
            self.begins[at] = now;
            self.order.push(step);
            if self.queued[at] != round {
                // It stood in its queue before: a place has become free in this round.
                let freed = limits.iter().find(|limit| self.freed[limit.index()].0 == round);
                if let Some(limit) = freed {
                    self.limit[at] = limit.0;
                    self.after[at] = self.freed[limit.index()].1;
                }
            }
        }
        self.tries[at] += 1;
        for limit in limits {
            self.used[limit.index()] += 1;
        }
    }

    /// When the last of those that `counts` ended, and which that was.
    pub(super) fn last(&self, counts: impl Fn(StepId) -> bool) -> Option<(i64, StepId)> {
        let steps = self.graph.steps().filter(|step| counts(*step));
        let ended = steps.map(|step| (self.ends[step.index()], step));
        // Of several that end last, the one that is written first.
        ended.filter(|(end, _)| *end != i64::MAX).max_by_key(|(end, step)| (*end, Reverse(*step)))
    }

    /// The chain that made a step end when it did, last to first: each was waited for by the one
    /// named before it.
    pub(super) fn chain(&self, last: StepId) -> impl Iterator<Item = StepId> {
        std::iter::successors(Some(last), |step| {
            let after = self.after[step.index()];
            (after != NONE).then_some(StepId(after))
        })
    }
}

/// The pause before the next attempt: doubled from one to the next, up to the longest.
pub(super) fn pause(retry: &Retry, tries: u32) -> i64 {
    let (first, longest) = retry.backoff;
    let first = millis(first);
    let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(20));
    doubled.min(millis(longest))
}
