//! The window (design 4.5): when does the plan end, on which steps does that hang, and until when
//! can it still be turned back.
//!
//! All of it is told from durations: the plan's estimates, or what earlier runs took. An estimate is
//! a guess, so a share of simulated executions is called odds only where durations were measured.
//! Not known here: clocks, files, and the state of a run (it is handed in as a set of steps).

mod back;
mod fan;
mod lines;
mod random;
mod ready;
mod schedule;
mod simulate;
#[cfg(test)]
mod tests;
mod times;
mod warnings;

pub use back::Back;
pub use fan::{Fan, in_turn};
pub use times::{Learned, Source, Times};

use crate::event::StepId;
use crate::graph::{Graph, LimitId};
use crate::plan::{Phase, Window};
use crate::text::fault::Fault;
use jiff::{SignedDuration, Timestamp};
use schedule::{Bench, Course, Part, Side, Task};
use simulate::Stage;
use times::{Attempt, Origin, millis};

/// How many executions are simulated when nobody says otherwise.
pub const EXECUTIONS: u32 = 10_000;

/// What is asked of [`judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seed of all that is drawn: the same seed gives the same outlook.
    pub seed: u64,
    /// Executions wanted; fewer are made of a very large plan.
    pub executions: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, executions: EXECUTIONS }
    }
}

/// What can be said of a plan's time.
///
/// Moments are counted from the opening of the window (without one: from the begin of the run), so
/// that a step of phase before has a negative one.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// The expected course, by step id: nothing fails, each step takes the middle of its range.
    pub schedule: Vec<Planned>,
    /// When the last step of the window ends in it.
    pub ends: SignedDuration,
    /// The chain of steps that sets this end, first to last: each waited for the one before, for
    /// its result or for its place in a limit.
    pub critical_path: Vec<StepId>,
    /// How it fits into the window; none for a plan without one.
    pub window: Option<InWindow>,
    /// Where the durations come from.
    pub sources: Sources,
    /// What does not fit, and steps that nothing is known of.
    pub warnings: Vec<Fault>,
}

/// One step of the expected course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub begins: SignedDuration,
    /// When it ends.
    pub ends: SignedDuration,
    /// The step whose end let it begin; none: nothing but the time.
    pub after: Option<StepId>,
    /// The limit that it waited for, when it was that and not a need that let it begin.
    pub limit: Option<LimitId>,
}

/// How a plan fits into its window.
#[derive(Clone, Debug, PartialEq)]
pub struct InWindow {
    /// When it opens.
    pub opens: Timestamp,
    /// When it closes.
    pub closes: Timestamp,
    /// `closes` less the reserve: the end to be kept.
    pub deadline: Timestamp,
    /// The seed of the simulation.
    pub seed: u64,
    /// Executions simulated.
    pub executions: u32,
    /// Executions wanted; more than `executions` where the plan is too large for so many.
    pub wanted: u32,
    /// Whether anything was measured: only then may shares be called odds.
    pub measured: bool,
    /// When those that completed ended; none when none did.
    pub end: Option<Spread>,
    /// Executions that completed.
    pub completed: u32,
    /// Executions that completed by the deadline.
    pub inside: u32,
    /// Executions that a failure for good turned back.
    pub rolled_back: u32,
    /// Of these, those whose rollback ended by the deadline.
    pub rolled_back_inside: u32,
    /// Executions that completed without a line or more: these had been rolled back alone.
    pub without_lines: u32,
    /// Of these, those that completed by the deadline.
    pub without_lines_inside: u32,
    /// Executions that a failure for good left to people.
    pub held: u32,
    /// Share of the completed executions in which the step was on the critical path, largest first;
    /// steps that never were are left out.
    pub criticality: Vec<(StepId, f64)>,
    /// The turn-back time from the begin of each step on, in the order of these begins, up to the
    /// point of no return. Steps and undos take the long end of their ranges here: a bad day counts.
    pub turn_back: Vec<TurnBack>,
    /// The latest go of each gate, in the order of the expected course.
    pub latest_go: Vec<LatestGo>,
}

/// Three quantiles, counted from the opening of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Half of them are not later.
    pub p50: SignedDuration,
    /// Nine of ten are not later.
    pub p90: SignedDuration,
    /// 99 of 100 are not later.
    pub p99: SignedDuration,
}

/// Until when one can turn back once a step has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnBack {
    /// The step that has just begun.
    pub step: StepId,
    /// When that is, on a bad day.
    pub at: SignedDuration,
    /// How long the rollback of all that is begun then takes, this step half-done among it.
    pub rollback: SignedDuration,
    /// The latest moment at which that rollback still ends by the deadline.
    pub by: Timestamp,
    /// From the last moment of this state (the next begin, the point of no return, or the end) to
    /// `by`; negative: a rollback from here may not fit into the window.
    pub margin: SignedDuration,
}

/// Until when a gate can be approved so that what lies behind it still ends by the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestGo {
    /// The gate.
    pub gate: StepId,
    /// In half of the executions it is still in time.
    pub p50: Timestamp,
    /// In nine of ten.
    pub p90: Timestamp,
    /// In 99 of 100.
    pub p99: Timestamp,
}

/// Where the durations come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Steps with a measured duration.
    pub measured: usize,
    /// Steps with an estimate of the plan only.
    pub estimated: usize,
    /// Steps with neither: they count as nothing.
    pub unknown: usize,
    /// The runs that were learned from.
    pub runs: Vec<Source>,
}

impl InWindow {
    /// Share of all executions that completed by the deadline, 0 to 1.
    pub fn chance(&self) -> f64 {
        f64::from(self.inside) / f64::from(self.executions.max(1))
    }

    /// The states from which a rollback does not fit into the window.
    pub fn no_way_back(&self) -> impl Iterator<Item = &TurnBack> {
        self.turn_back.iter().filter(|at| at.margin.is_negative())
    }
}

/// Judges a plan's time; none when no duration of it is known. What is simulated is cut into pieces,
/// which `fan` does; how changes nothing of the outlook.
pub fn judge(graph: &Graph, times: &Times, options: &Options, fan: &Fan) -> Option<Outlook> {
    if !times.known() {
        return None;
    }
    let (doing, undoing) = Side::both(graph);
    let window = graph.plan().window.as_ref();
    let (parts, from) = course(graph, times);
    let mut bench = Bench::with_course(graph, &doing);
    let mut middle = |step| Attempt { takes: times.does(step).middle(), good: true };
    bench.make(&Task::new(graph, &doing, &parts), from, &mut middle);
    let course = bench.course()?;
    let schedule = graph.steps().map(|step| planned(&bench, course, step)).collect();
    let (ends, last) = course.last(graph, |step| graph.phase(step) != Phase::After).unzip();
    let mut critical_path: Vec<StepId> =
        last.map_or_else(Vec::new, |last| bench.chain(last).collect());
    critical_path.reverse();
    let mut outlook = Outlook {
        schedule,
        ends: SignedDuration::from_millis(ends.unwrap_or(0)),
        critical_path,
        window: None,
        sources: sources(times),
        warnings: Vec::new(),
    };
    outlook.window = window.map(|window| {
        let stage = Stage {
            graph,
            times,
            doing: &doing,
            undoing: &undoing,
            task: &Task::new(graph, &doing, &of_window(graph, parts)),
            from,
            seed: options.seed,
            proofs: simulate::Proofs::new(graph),
        };
        in_window(window, &stage, options, fan)
    });
    outlook.warnings = warnings::of(graph, times, &outlook);
    Some(outlook)
}

/// From when each step may start, in milliseconds since the opening, and when the run begins: early
/// enough for all that comes before the window.
fn course(graph: &Graph, times: &Times) -> (Vec<Part>, i64) {
    let Some(window) = graph.plan().window.as_ref() else {
        return (vec![Part::From(i64::MIN); graph.len()], 0);
    };
    let mut before: i64 = 0;
    let mut from: i64 = 0;
    let mut parts = Vec::with_capacity(graph.len());
    for step in graph.steps() {
        let def = graph.def(step);
        let earliest = def.not_before.map(|at| millis(at.duration_since(window.opens)));
        let earliest = match def.phase {
            Phase::Before => {
                before = before.saturating_add(times.does(step).most());
                from = from.min(earliest.unwrap_or(0));
                earliest.unwrap_or(i64::MIN)
            }
            Phase::Window | Phase::After => earliest.unwrap_or(0).max(0),
        };
        parts.push(Part::From(earliest));
    }
    (parts, from.min(before.saturating_neg()))
}

/// What comes after the window does not count against it.
fn of_window(graph: &Graph, mut parts: Vec<Part>) -> Vec<Part> {
    for step in graph.steps().filter(|step| graph.phase(*step) == Phase::After) {
        parts[step.index()] = Part::Absent;
    }
    parts
}

fn planned(bench: &Bench<'_>, course: &Course, step: StepId) -> Planned {
    let at = step.index();
    let limit = course.limit[at];
    Planned {
        begins: SignedDuration::from_millis(course.begins[at]),
        ends: SignedDuration::from_millis(course.ends[at]),
        after: bench.after(step),
        limit: (limit != schedule::NONE).then_some(LimitId(limit)),
    }
}

fn in_window(window: &Window, stage: &Stage<'_>, options: &Options, fan: &Fan) -> InWindow {
    let (graph, times) = (stage.graph, stage.times);
    let close = window.closes.checked_sub(window.reserve).unwrap_or(window.closes);
    let deadline = millis(close.duration_since(window.opens));
    let executions = simulate::affordable(options.executions.max(1), graph.len());
    let tally = stage.executions(executions, fan);
    let by_deadline = |ends: &[i64]| ends.partition_point(|end| *end <= deadline) as u32;
    let completed = tally.ends.len() as u32;
    let mut criticality: Vec<(StepId, f64)> = graph
        .steps()
        .zip(&tally.critical)
        .filter(|(_, count)| **count > 0)
        .map(|(step, count)| (step, f64::from(*count) / f64::from(completed.max(1))))
        .collect();
    criticality.sort_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
    let latest_go = stage.behind_gates(executions, fan).into_iter().filter_map(|(gate, takes)| {
        let spread = Spread::of(&takes)?;
        let before = |takes: SignedDuration| close.checked_sub(takes).unwrap_or(Timestamp::MIN);
        let (p50, p90, p99) = (before(spread.p50), before(spread.p90), before(spread.p99));
        Some(LatestGo { gate, p50, p90, p99 })
    });
    InWindow {
        opens: window.opens,
        closes: window.closes,
        deadline: close,
        seed: options.seed,
        executions,
        wanted: options.executions,
        measured: times.measured(),
        end: Spread::of(&tally.ends),
        completed,
        inside: by_deadline(&tally.ends),
        rolled_back: tally.back.len() as u32,
        rolled_back_inside: by_deadline(&tally.back),
        without_lines: tally.partly.len() as u32,
        without_lines_inside: by_deadline(&tally.partly),
        held: tally.held,
        criticality,
        turn_back: turn_back(stage, window.opens, deadline, fan),
        latest_go: latest_go.collect(),
    }
}

fn turn_back(stage: &Stage<'_>, opens: Timestamp, deadline: i64, fan: &Fan) -> Vec<TurnBack> {
    let (graph, times) = (stage.graph, stage.times);
    let mut bench = Bench::with_course(graph, stage.doing);
    let mut most = |step| Attempt { takes: times.does(step).most(), good: true };
    bench.make(stage.task, stage.from, &mut most);
    let Some(slow) = bench.course() else { return Vec::new() };
    let retreat = back::Retreat { graph, side: stage.undoing, times, slow };
    retreat.turn_back(opens, deadline, fan)
}

impl Spread {
    /// Of values in ascending order; none of none.
    fn of(ascending: &[i64]) -> Option<Self> {
        let at = |share: usize| {
            let place = (ascending.len() * share).div_ceil(100).max(1) - 1;
            ascending.get(place).map(|value| SignedDuration::from_millis(*value))
        };
        Some(Self { p50: at(50)?, p90: at(90)?, p99: at(99)? })
    }
}

fn sources(times: &Times) -> Sources {
    let count = |origin| times.origins().iter().filter(|it| **it == origin).count();
    Sources {
        measured: count(Origin::Measured),
        estimated: count(Origin::Estimated),
        unknown: count(Origin::Unknown),
        runs: times.runs().to_vec(),
    }
}

/// So many milliseconds later.
fn moved(from: Timestamp, by: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_millis(by)).unwrap_or(from)
}
