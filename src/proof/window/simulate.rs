//! Many executions of a plan, each with durations and failures of its own.
//!
//! A failure for good of a step does what its policy says; what follows a `rollback-line` is told in
//! [`lines`]. Past the point of no return, and with `hold`, people decide, and nothing is known of how
//! long that takes. Not known here: calendars.

use super::back::{Standing, finishes, part};
use super::fan::{self, Fan};
use super::lines::{self, Outcome};
use super::random::Random;
use super::schedule::{Bench, Course, Ended, Part, Side, Task};
use super::times::{Attempt, Times};
use crate::event::{LineId, StepId};
use crate::graph::Graph;
use crate::plan::{Kind, OnFailure, Phase};
use crate::proof::prove_without;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// At most so many steps are simulated in all, whatever the number of executions.
const STEP_RUNS: u64 = 100_000_000;
/// And behind gates, of all gates together.
const GATE_RUNS: u64 = 20_000_000;

/// What came of the executions. Moments are milliseconds since the opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Ends of those that completed, ascending.
    pub(super) ends: Vec<i64>,
    /// Of each step in how many of them it was on the critical path.
    pub(super) critical: Vec<u32>,
    /// Ends of the rollbacks.
    pub(super) back: Vec<i64>,
    /// Ends of those that completed without a line or more.
    pub(super) partly: Vec<i64>,
    pub(super) held: u32,
}

/// A plan laid out to be executed.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) graph: &'a Graph,
    pub(super) times: &'a Times,
    pub(super) doing: &'a Side,
    pub(super) undoing: &'a Side,
    /// The steps that count, and from when each may start.
    pub(super) task: &'a Task<'a>,
    /// When the run begins.
    pub(super) from: i64,
    pub(super) seed: u64,
    pub(super) proofs: Proofs,
}

/// Which sets of lines may be out, as far as it was asked: a proof costs as much as many executions.
#[derive(Debug)]
pub(super) struct Proofs {
    known: Mutex<BTreeMap<BTreeSet<LineId>, bool>>,
    /// So many lines at once are asked for; more wait for people.
    pub(super) most: usize,
}

/// At most so many steps are gone through to prove the plan without lines, of all sets together.
const PROOF_STEPS: usize = 5_000_000;

impl Proofs {
    pub(super) fn new(graph: &Graph) -> Self {
        let lines = graph.line_count();
        let budget = (PROOF_STEPS / graph.len().max(1)).clamp(lines, 4096.max(lines));
        // As large sets as can all be asked for: what is asked must not depend on who asks first.
        let (mut most, mut sets, mut all) = (0, 1_usize, 0_usize);
        while most < lines {
            sets = sets.saturating_mul(lines - most) / (most + 1);
            all = all.saturating_add(sets);
            if all > budget {
                break;
            }
            most += 1;
        }
        Self { known: Mutex::default(), most }
    }
}

/// How many executions a graph of so many steps is worth.
pub(super) fn affordable(wanted: u32, steps: usize) -> u32 {
    let most = (STEP_RUNS / (steps as u64).max(1)).max(1);
    wanted.min(u32::try_from(most).unwrap_or(u32::MAX))
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.ends.extend(&other.ends);
        self.back.extend(&other.back);
        self.partly.extend(&other.partly);
        self.held += other.held;
        for (count, more) in self.critical.iter_mut().zip(&other.critical) {
            *count += more;
        }
    }
}

/// The numbers below `count` in so many pieces, as even as can be.
fn piece(count: u32, piece: usize, pieces: usize) -> Range<u32> {
    let at = |piece: usize| (u64::from(count) * piece as u64 / pieces as u64) as u32;
    at(piece)..at(piece + 1)
}

impl Stage<'_> {
    /// Executes the plan so many times.
    pub(super) fn executions(&self, count: u32, fan: &Fan) -> Tally {
        let tallies = fan::collect(fan, fan::PIECES, |at| self.some(piece(count, at, fan::PIECES)));
        let mut tally = Tally { critical: vec![0; self.graph.len()], ..Tally::default() };
        for some in &tallies {
            tally.add(some);
        }
        tally.ends.sort_unstable();
        tally.back.sort_unstable();
        tally.partly.sort_unstable();
        tally
    }

    /// The executions of these numbers.
    fn some(&self, numbers: Range<u32>) -> Tally {
        // Nobody looks at the course of one in which nothing fails.
        let mut forth = match self.times.may_fail() {
            true => Bench::with_course(self.graph, self.doing),
            false => Bench::new(self.graph, self.doing),
        };
        let mut way_back = Bench::new(self.graph, self.undoing);
        let mut undos = Task::nothing(self.graph, self.undoing);
        let mut tally = Tally { critical: vec![0; self.graph.len()], ..Tally::default() };
        for number in numbers {
            let mut random = Random::stream(self.seed, u64::from(number));
            let mut draw = |step: StepId| self.times.draw(step, &mut random);
            match forth.make(self.task, self.from, &mut draw) {
                Ended::All => {
                    let Some((end, last)) = forth.end() else { continue };
                    tally.ends.push(end);
                    for step in forth.chain(last) {
                        tally.critical[step.index()] += 1;
                    }
                }
                Ended::Failed(step, at) => {
                    let outcome = match self.graph.on_failure(step) {
                        OnFailure::RollbackLine => {
                            lines::go_on(self, &forth, step, at, &mut random)
                        }
                        OnFailure::Hold => Outcome::Held,
                        OnFailure::Rollback => {
                            self.back(&forth, &mut undos, &mut way_back, step, at, &mut random)
                        }
                    };
                    match outcome {
                        Outcome::Partly(end) => tally.partly.push(end),
                        Outcome::Undone(end) => tally.back.push(end),
                        Outcome::Held => tally.held += 1,
                    }
                }
            }
        }
        tally
    }

    /// Whether the plan without these lines is proved.
    pub(super) fn is_proved_without(&self, lines: &BTreeSet<LineId>) -> bool {
        if lines.len() > self.proofs.most {
            return false;
        }
        let mut known = self.proofs.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(lines) {
            return *known;
        }
        let is_out = |step| self.graph.line(step).is_some_and(|line| lines.contains(&line));
        let proved = prove_without(self.graph, &is_out).is_ok();
        known.insert(lines.clone(), proved);
        proved
    }

    /// What a rollback of the whole run comes to.
    fn back(
        &self,
        forth: &Bench<'_>,
        undos: &mut Task<'_>,
        way_back: &mut Bench<'_>,
        failed: StepId,
        now: i64,
        random: &mut Random,
    ) -> Outcome {
        let is_offered =
            forth.course().is_some_and(|it| self.undone(it, failed, now, random, undos));
        if !is_offered {
            return Outcome::Held;
        }
        let mut draw = |step: StepId| self.times.undoes(step).draw(random);
        match way_back.make(undos, now, &mut draw) {
            Ended::All => Outcome::Undone(way_back.end().map_or(now, |(end, _)| end)),
            Ended::Failed(..) => Outcome::Held,
        }
    }

    /// What a rollback of the whole run undoes when a step has failed; false when none is offered.
    fn undone(
        &self,
        forth: &Course,
        failed: StepId,
        now: i64,
        random: &mut Random,
        undos: &mut Task<'_>,
    ) -> bool {
        let begun = |step: StepId| match self.graph.kind(step) {
            Kind::Gate => forth.ends[step.index()] <= now,
            _ => forth.begins[step.index()] <= now,
        };
        undos.clear();
        for step in self.graph.steps().filter(|step| begun(*step)) {
            if self.graph.is_point_of_no_return(step) {
                return false;
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
            undos.set(step, part(self.graph, step, standing));
        }
        true
    }

    /// For each gate how long what lies behind it takes, ascending; a step that fails is tried as
    /// often as it may be, and then taken as done: who says go asks when it ends.
    pub(super) fn behind_gates(&self, count: u32, fan: &Fan) -> Vec<(StepId, Vec<i64>)> {
        let is_gate = |step: &StepId| self.graph.kind(*step) == Kind::Gate;
        let gates = self.graph.steps().filter(|step| is_gate(step) && self.task.is_there(*step));
        let gates: Vec<StepId> = gates.collect();
        let steps = gates.len() * self.graph.len();
        let most = (GATE_RUNS / (steps as u64).max(1)).max(20);
        let count = count.min(u32::try_from(most).unwrap_or(u32::MAX));
        let pieces = fan::PIECES.div_ceil(gates.len().max(1));
        let takes = fan::collect(fan, gates.len() * pieces, |at| {
            let task = self.behind(gates[at / pieces]);
            let mut bench = Bench::new(self.graph, self.doing);
            let takes = piece(count, at % pieces, pieces).map(|number| {
                let mut random = Random::stream(!self.seed, u64::from(number));
                bench.make(&task, 0, &mut |step| self.tried(step, &mut random));
                bench.end().map_or(0, |(end, _)| end)
            });
            takes.collect::<Vec<i64>>()
        });
        let of_gates = gates.iter().zip(takes.chunks(pieces));
        let sorted = of_gates.map(|(gate, takes)| {
            let mut takes = takes.concat();
            takes.sort_unstable();
            (*gate, takes)
        });
        sorted.collect()
    }

    fn tried(&self, step: StepId, random: &mut Random) -> Attempt {
        let mut attempt = self.times.draw(step, random);
        if attempt.good {
            return attempt;
        }
        let retry = &self.graph.def(step).retry;
        let mut takes = attempt.takes;
        for tries in 1..retry.attempts {
            takes = takes.saturating_add(super::schedule::pause(retry, tries));
            attempt = self.times.draw(step, random);
            takes = takes.saturating_add(attempt.takes);
            if attempt.good {
                break;
            }
        }
        Attempt { takes, good: true }
    }

    /// What needs the gate, directly or through others.
    fn behind(&self, gate: StepId) -> Task<'_> {
        let mut task = Task::nothing(self.graph, self.doing);
        let mut queue = vec![gate];
        while let Some(step) = queue.pop() {
            for &next in self.graph.dependents(step) {
                if self.task.is_there(next) && !task.is_there(next) {
                    task.set(next, Part::From(i64::MIN));
                    queue.push(next);
                }
            }
        }
        task
    }
}
