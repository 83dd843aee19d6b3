//! How long the way back takes, from any state, and until when it can still be begun.
//!
//! Everything takes the long end of its range here: who plans a retreat counts on a bad day.

use super::fan::{self, Fan};
use super::schedule::{Bench, Course, Ended, Part, Side, Task};
use super::times::{self, Learned, Times};
use super::{TurnBack, moved};
use crate::event::{StepId, Way};
use crate::graph::Graph;
use crate::history::{Attempt, History};
use crate::plan::{Kind, Phase};
use crate::run::{Run, Status, action};
use jiff::{SignedDuration, Timestamp};

/// At most so many undos are put into schedules to find the turn-back times of a plan: beyond, not
/// every state is asked, but the next one that is (which has more to undo).
const UNDOS: usize = 10_000_000;

/// Where a step stands when one turns back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing of it is there: never begun, undone, or out.
    Clean,
    /// It stays as it is: done before the window.
    Stays,
    /// Something of it is there, and is undone.
    Begun,
    /// The rollback waits for its end, so long at most, and undoes it then.
    Finishes(i64),
}

/// The way back through a graph, laid out once to be asked of many states.
#[derive(Clone, Debug)]
pub struct Back {
    side: Side,
    times: Times,
}

impl Back {
    /// With the plan's estimates, and before them what was measured.
    pub fn new(graph: &Graph, learned: &Learned) -> Self {
        let (_, side) = Side::both(graph);
        Self { side, times: Times::new(graph, learned) }
    }

    /// How long a rollback of all that a run has begun takes; none when it is not offered, because a
    /// point of no return has begun.
    pub fn takes(&self, run: &Run) -> Option<SignedDuration> {
        let graph = run.graph();
        let begun = |step: StepId| run.status(step) != Status::Clean;
        if graph.steps().any(|step| begun(step) && graph.is_point_of_no_return(step)) {
            return None;
        }
        Some(self.takes_from(graph, |step| match run.status(step) {
            Status::Clean => Standing::Clean,
            Status::Done if graph.phase(step) == Phase::Before => Standing::Stays,
            Status::Running(job) if job.way == Way::Do && finishes(graph, step) => {
                Standing::Finishes(self.times.does(step).most())
            }
            _ => Standing::Begun,
        }))
    }

    /// The turn-back time of a run: the latest moment at which a rollback of all that it has begun
    /// still ends by `closes` less `reserve`. None when a rollback is not offered.
    pub fn by(&self, run: &Run, closes: Timestamp, reserve: SignedDuration) -> Option<Timestamp> {
        let takes = self.takes(run)?;
        Some(closes.checked_sub(reserve.saturating_add(takes)).unwrap_or(Timestamp::MIN))
    }

    /// How much time was left to turn back when a rollback was offered last: at the begin of the
    /// point of no return, else at the newest record. Negative: it would have ended too late.
    pub fn margin(
        &self,
        run: &Run,
        history: &History,
        deadline: Timestamp,
    ) -> Option<SignedDuration> {
        let graph = run.graph();
        let barred = graph.steps().filter(|step| graph.is_point_of_no_return(*step));
        let Some(at) = barred.filter_map(|step| begun(history, step)).min() else {
            let left = deadline.duration_since(history.last()?);
            return Some(left - self.takes(run)?);
        };
        let takes = self.takes_from(graph, |step| match begun(history, step) {
            Some(begun) if begun < at => match history.step(step).done {
                Some(done) if done <= at && graph.phase(step) == Phase::Before => Standing::Stays,
                _ => Standing::Begun,
            },
            _ => Standing::Clean,
        });
        Some(deadline.duration_since(at) - takes)
    }

    pub(super) fn takes_from(
        &self,
        graph: &Graph,
        standing: impl Fn(StepId) -> Standing,
    ) -> SignedDuration {
        let mut task = Task::nothing(graph, &self.side);
        for step in graph.steps() {
            task.set(step, part(graph, step, standing(step)));
        }
        let mut bench = Bench::new(graph, &self.side);
        SignedDuration::from_millis(longest(&mut bench, &self.times, &task))
    }
}

/// When a step began that is not undone: a gate, which nobody starts, when it was done.
fn begun(history: &History, step: StepId) -> Option<Timestamp> {
    let it = history.step(step);
    let since = |attempt: &&Attempt| {
        attempt.way == Way::Do && it.undone.is_none_or(|undone| attempt.started >= undone)
    };
    it.attempts.iter().find(since).map(|attempt| attempt.started).or(it.done)
}

/// Whether a rollback waits for the end of a step under way.
pub(super) fn finishes(graph: &Graph, step: StepId) -> bool {
    graph.def(step).finish_on_rollback
}

/// What a step is in the schedule of a rollback.
pub(super) fn part(graph: &Graph, step: StepId, standing: Standing) -> Part {
    let carried_out = action(graph.def(step), Way::Undo).is_some();
    match standing {
        Standing::Stays => Part::Absent,
        // The order goes through what is out, and through what has nothing to undo.
        Standing::Clean => Part::Passes,
        Standing::Begun | Standing::Finishes(_) if !carried_out => Part::Passes,
        Standing::Begun => Part::From(i64::MIN),
        Standing::Finishes(at) => Part::From(at),
    }
}

/// How long the undos of a task take when each takes its longest, in milliseconds.
fn longest(bench: &mut Bench<'_>, times: &Times, task: &Task<'_>) -> i64 {
    let mut draw = |step: StepId| times::Attempt { takes: times.undoes(step).most(), good: true };
    let Ended::All = bench.make(task, 0, &mut draw) else { return 0 };
    bench.end().map_or(0, |(end, _)| end)
}

/// What the turn-back times of a plan are told from.
pub(super) struct Retreat<'a> {
    pub(super) graph: &'a Graph,
    /// Backwards.
    pub(super) side: &'a Side,
    pub(super) times: &'a Times,
    /// A schedule in which every step takes its longest.
    pub(super) slow: &'a Course,
}

/// A state of the slow schedule: from the begin of a step until the next begin. Steps that begin
/// together make one state.
#[derive(Clone, Copy, Debug)]
struct State {
    /// How many steps of the window have begun.
    begun: usize,
    /// When the last of them did.
    at: i64,
}

impl Retreat<'_> {
    /// The turn-back time from the begin of each step on, as the slow schedule goes, up to the point
    /// of no return. `deadline` is counted like its moments.
    pub(super) fn turn_back(&self, opens: Timestamp, deadline: i64, fan: &Fan) -> Vec<TurnBack> {
        let graph = self.graph;
        let barred = graph.steps().filter(|step| graph.is_point_of_no_return(*step));
        let barred = barred.map(|step| self.begins(step)).min().unwrap_or(i64::MAX);
        let order = &self.slow.order;
        let done = order.iter().map(|step| self.slow.ends[step.index()]).max().unwrap_or(0);
        let mut begun: Vec<StepId> = order.clone();
        begun.retain(|step| self.begins(*step) < barred && graph.phase(*step) == Phase::Window);
        begun.sort_by_key(|step| self.begins(*step));
        // Each state lasts until the next begin.
        let mut untils = vec![barred.min(done); begun.len()];
        for place in (1..begun.len()).rev() {
            let (before, here) = (self.begins(begun[place - 1]), self.begins(begun[place]));
            untils[place - 1] = if before == here { untils[place] } else { here };
        }
        let states = self.states(&begun);
        let takes = self.take(&begun, &states, fan);
        let mut out: Vec<TurnBack> = Vec::with_capacity(begun.len());
        for (state, takes) in states.iter().zip(takes) {
            let by = deadline.saturating_sub(takes);
            for (&step, until) in begun[..state.begun].iter().zip(&untils).skip(out.len()) {
                out.push(TurnBack {
                    step,
                    at: SignedDuration::from_millis(self.begins(step)),
                    rollback: SignedDuration::from_millis(takes),
                    by: moved(opens, by),
                    margin: SignedDuration::from_millis(by.saturating_sub(*until)),
                });
            }
        }
        out
    }

    /// A gate begins and ends with its last approval.
    fn begins(&self, step: StepId) -> i64 {
        match self.graph.kind(step) {
            Kind::Gate => self.slow.ends[step.index()],
            _ => self.slow.begins[step.index()],
        }
    }

    /// The states to ask, the last of all among them.
    fn states(&self, begun: &[StepId]) -> Vec<State> {
        let every = (begun.len() * begun.len() / 2 / UNDOS).max(1);
        let mut states = Vec::new();
        for (place, step) in begun.iter().enumerate() {
            let at = self.begins(*step);
            let next = begun.get(place + 1).map(|next| self.begins(*next));
            let asked = (place + 1) % every == 0 || next.is_none();
            if asked && next != Some(at) {
                states.push(State { begun: place + 1, at });
            }
        }
        states
    }

    /// How long the rollback takes from each of the states, in milliseconds.
    fn take(&self, begun: &[StepId], states: &[State], fan: &Fan) -> Vec<i64> {
        let pieces: Vec<&[State]> =
            states.chunks(states.len().div_ceil(fan::PIECES).max(1)).collect();
        let takes = fan::collect(fan, pieces.len(), |piece| {
            let mut bench = Bench::new(self.graph, self.side);
            let mut task = Task::nothing(self.graph, self.side);
            let mut known = 0;
            let longest = |state: &State| {
                for &step in &begun[known..state.begun] {
                    task.set(step, part(self.graph, step, Standing::Begun));
                }
                known = state.begun;
                for &step in begun[..known].iter().filter(|step| finishes(self.graph, **step)) {
                    let left = self.slow.ends[step.index()].saturating_sub(state.at).max(0);
                    task.set(step, part(self.graph, step, Standing::Finishes(left)));
                }
                longest(&mut bench, self.times, &task)
            };
            pieces[piece].iter().map(longest).collect::<Vec<i64>>()
        });
        takes.into_iter().flatten().collect()
    }
}
