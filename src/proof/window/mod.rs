//! The window (design 4.5): when does the plan end, on which steps does that hang, and until when
//! can it still be turned back.
//!
//! All of it is told from durations: the plan's estimates, or what earlier runs took. An estimate is
//! a guess, so a share of simulated executions is called odds only where durations were measured.
//! Not known here: clocks, files, and the state of a run (it is handed in as a set of steps).

mod times;

pub use times::{Learned, Source, Times};

use crate::event::StepId;
use crate::graph::{Graph, LimitId};
use crate::text::fault::Fault;
use jiff::{SignedDuration, Timestamp};

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
    /// Executions that a failure for good left to people.
    pub held: u32,
    /// Share of the completed executions in which the step was on the critical path, largest first;
    /// steps that never were are left out.
    pub criticality: Vec<(StepId, f64)>,
    /// The turn-back time when each step has ended, in order of these ends, up to the point of no
    /// return. Undos and steps take the long end of their ranges here: a bad day counts.
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

/// Until when one can turn back after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnBack {
    /// The step that has just ended.
    pub step: StepId,
    /// When that is, on a bad day.
    pub at: SignedDuration,
    /// How long the rollback of all that is begun then takes.
    pub rollback: SignedDuration,
    /// The latest moment at which that rollback still ends by the deadline.
    pub by: Timestamp,
    /// From the last moment of this state (the next start) to `by`; negative: a rollback from here
    /// does not fit into the window.
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

/// Judges a plan's time; none when no duration of it is known.
pub fn judge(graph: &Graph, times: &Times, options: &Options) -> Option<Outlook> {
    // The simulation lands next; until then nothing is said.
    let _ = (graph, times, options);
    None
}
