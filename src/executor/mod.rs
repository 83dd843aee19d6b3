//! Carries actions out: from an action with every text filled to its one ending.
//!
//! Not known here: the graph, the run, the journal. An executor knows no ways: an undo is an action
//! like any other. It speaks exactly once per job.

use crate::action::Action;
use crate::estate::Estate;
use crate::event::{Ending, Way};
use crate::plan::Output;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is asked of an executor.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The action, filled. For a check of a built-in action: the action itself.
    pub action: Action<String>,
    /// Carry it out, or ask whether it is done.
    pub ask: Ask,
    /// After it the attempt is ended (whole process group) and answers `Failed(TimedOut)` or, where
    /// it may have acted, `Unknown`.
    pub timeout: Option<Duration>,
    /// Patterns to catch from stdout (`run`, `script`).
    pub outputs: Vec<Output>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Carry it out: `Done`, `Failed`, `Unknown`, `Stopped`.
    Perform,
    /// A built-in action's own check: is it done? `Done`, `NotDone`, `Unknown`.
    IsDone,
    /// A `check:` of the plan: perform it, exit 0 is `Done`, 1 `NotDone`, else `Unknown`.
    Check,
}

/// What an executor works with beside its deed.
#[derive(Clone, Debug)]
pub struct Context {
    /// The estate; empty for a plan that needs none.
    pub estate: Arc<Estate>,
    /// Name of the run.
    pub run: String,
    /// Full name of the step.
    pub step: String,
    /// Do, undo or check.
    pub way: Way,
    /// Attempt.
    pub attempt: u32,
    /// The directory that the plan's relative paths start from; the working directory of commands.
    pub plan_dir: PathBuf,
    /// A directory of its own under the run directory's `attempts/`: stdout, stderr, pid, status.
    pub attempt_dir: PathBuf,
    /// Facts for notices: `plan.name`, `plan.change`, `window.opens`, ...
    pub facts: Arc<BTreeMap<String, String>>,
    /// When the window opened (orders from before it come first), RFC 3339, if the plan has one.
    pub window_opens: Option<jiff::Timestamp>,
    /// The latest progress; the last value wins, never journaled.
    pub progress: watch::Sender<Progress>,
    /// Becomes true when the attempt is to end; it then answers `Stopped` (or what it already did).
    pub stop: watch::Receiver<bool>,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What it does just now, a few words.
    pub doing: String,
    /// Rows done and in all.
    pub rows: Option<(u64, u64)>,
    /// Bytes done and in all.
    pub bytes: Option<(u64, u64)>,
}

/// Carries a deed out. Cancel-safe by `Context::stop` only: the future is driven to its end.
pub async fn carry_out(deed: Deed, context: Context) -> Ending {
    let _ = (deed, context);
    todo!()
}
