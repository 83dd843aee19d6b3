//! Many executions of a plan, each with durations and failures of its own.
//!
//! A failure for good of a step does what its policy says. `rollback-line` is counted as a rollback
//! of the whole run: never better than what would happen. Past the point of no return, and with
//! `hold`, people decide, and nothing is known of how long that takes. Not known here: calendars.

use super::back::{Standing, finishes, part};
use super::random::Random;
use super::schedule::{Bench, Ended, Part, Side};
use super::times::{Attempt, Times};
use crate::event::StepId;
use crate::graph::Graph;
use crate::plan::{Kind, OnFailure, Phase};

/// At most so many steps are simulated in all, whatever the number of executions.
const STEP_RUNS: u64 = 100_000_000;
/// And behind gates, of all gates together.
const GATE_RUNS: u64 = 20_000_000;

/// What came of the executions. Moments are milliseconds since the opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) executions: u32,
    /// Ends of those that completed, ascending.
    pub(super) ends: Vec<i64>,
    /// Of each step in how many of them it was on the critical path.
    pub(super) critical: Vec<u32>,
    /// Ends of the rollbacks.
    pub(super) back: Vec<i64>,
    pub(super) held: u32,
}

/// A plan laid out to be executed.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) graph: &'a Graph,
    pub(super) times: &'a Times,
    pub(super) doing: &'a Side,
    pub(super) undoing: &'a Side,
    /// From when each step may start.
    pub(super) parts: &'a [Part],
    /// When the run begins.
    pub(super) from: i64,
    pub(super) seed: u64,
}

/// How many executions a graph of so many steps is worth.
pub(super) fn affordable(wanted: u32, steps: usize) -> u32 {
    let most = (STEP_RUNS / (steps as u64).max(1)).max(1);
    wanted.min(u32::try_from(most).unwrap_or(u32::MAX))
}

impl Stage<'_> {
    /// Executes the plan so many times.
    pub(super) fn executions(&self, count: u32) -> Tally {
        let mut forth = Bench::new(self.graph, self.doing);
        let mut back = Bench::new(self.graph, self.undoing);
        let mut tally = Tally {
            executions: count,
            critical: vec![0; self.graph.len()],
            ends: Vec::with_capacity(count as usize),
            ..Tally::default()
        };
        for number in 0..count {
            let mut random = Random::stream(self.seed, u64::from(number));
            let mut draw = |step: StepId| self.times.does(step).draw(&mut random);
            match forth.make(self.parts, self.from, &mut draw) {
                Ended::All => {
                    let Some((end, last)) = forth.last(|step| self.counts(step)) else { continue };
                    tally.ends.push(end);
                    for step in forth.chain(last) {
                        tally.critical[step.index()] += 1;
                    }
                }
                Ended::Failed(step, at) => {
                    match self.back(&forth, &mut back, step, at, &mut random) {
                        Some(end) => tally.back.push(end),
                        None => tally.held += 1,
                    }
                }
            }
        }
        tally.ends.sort_unstable();
        tally.back.sort_unstable();
        tally
    }

    /// Whether the end of the step is the end of the window's work.
    fn counts(&self, step: StepId) -> bool {
        self.parts[step.index()] != Part::Absent
    }

    /// What the failure of a step leads to: when the rollback has ended, or none when it is people's.
    fn back(
        &self,
        forth: &Bench<'_>,
        back: &mut Bench<'_>,
        failed: StepId,
        now: i64,
        random: &mut Random,
    ) -> Option<i64> {
        if self.graph.on_failure(failed) == OnFailure::Hold {
            return None;
        }
        let begun = |step: StepId| match self.graph.kind(step) {
            Kind::Gate => forth.ends[step.index()] <= now,
            _ => forth.begins[step.index()] <= now,
        };
        let mut parts = vec![Part::Absent; self.graph.len()];
        for step in self.graph.steps().filter(|step| begun(*step)) {
            if self.graph.is_point_of_no_return(step) {
                return None;
            }
            let running = forth.ends[step.index()] > now && step != failed;
            let standing = if !running && self.graph.phase(step) == Phase::Before && step != failed
            {
                Standing::Stays
            } else if running && finishes(self.graph, step) {
                let took = self.times.does(step).draw(random).takes;
                Standing::Finishes(forth.begins[step.index()].saturating_add(took).max(now))
            } else {
                Standing::Begun
            };
            parts[step.index()] = part(self.graph, step, standing);
        }
        let mut draw = |step: StepId| self.times.undoes(step).draw(random);
        match back.make(&parts, now, &mut draw) {
            Ended::All => Some(back.last(|_| true).map_or(now, |(end, _)| end)),
            Ended::Failed(..) => None,
        }
    }

    /// For each gate how long what lies behind it takes, ascending; a step that fails is tried as
    /// often as it may be, and then taken as done: who says go asks when it ends.
    pub(super) fn behind_gates(&self, count: u32) -> Vec<(StepId, Vec<i64>)> {
        let gates: Vec<(StepId, Vec<Part>)> = self
            .graph
            .steps()
            .filter(|step| self.graph.kind(*step) == Kind::Gate && self.counts(*step))
            .map(|gate| (gate, self.behind(gate)))
            .collect();
        let steps: usize = gates.iter().map(|(_, parts)| parts.len()).sum();
        let most = (GATE_RUNS / (steps as u64).max(1)).max(20);
        let count = count.min(u32::try_from(most).unwrap_or(u32::MAX));
        let mut bench = Bench::new(self.graph, self.doing);
        let times = gates.into_iter().map(|(gate, parts)| {
            let takes = (0..count).map(|number| {
                let mut random = Random::stream(!self.seed, u64::from(number));
                let mut draw = |step: StepId| self.tried(step, &mut random);
                bench.make(&parts, 0, &mut draw);
                bench.last(|_| true).map_or(0, |(end, _)| end)
            });
            let mut takes: Vec<i64> = takes.collect();
            takes.sort_unstable();
            (gate, takes)
        });
        times.collect()
    }

    fn tried(&self, step: StepId, random: &mut Random) -> Attempt {
        let retry = &self.graph.def(step).retry;
        let mut takes: i64 = 0;
        for tries in 1..=retry.attempts {
            let attempt = self.times.does(step).draw(random);
            takes = takes.saturating_add(attempt.takes);
            if attempt.good || tries == retry.attempts {
                break;
            }
            takes = takes.saturating_add(super::schedule::pause(retry, tries));
        }
        Attempt { takes, good: true }
    }

    /// What needs the gate, directly or through others.
    fn behind(&self, gate: StepId) -> Vec<Part> {
        let mut parts = vec![Part::Absent; self.graph.len()];
        let mut queue = vec![gate];
        while let Some(step) = queue.pop() {
            for &next in self.graph.dependents(step) {
                if self.counts(next) && parts[next.index()] == Part::Absent {
                    parts[next.index()] = Part::From(i64::MIN);
                    queue.push(next);
                }
            }
        }
        parts
    }
}
