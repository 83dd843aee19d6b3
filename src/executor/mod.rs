//! Carries actions out: from an action with every text filled to its one ending.
//!
//! Not known here: the graph, the run, the journal. An executor knows no ways: an undo is an action
//! like any other. It speaks exactly once per job.

mod admin;
mod database;
mod edge;
mod http;
mod notify;
mod orders;
pub mod preflight;
pub mod process;
mod provider;
mod role;
mod secret;
mod switch;
mod until;

use crate::action::Action;
use crate::estate::{Estate, Site};
use crate::event::{Ending, Outputs, Way};
use crate::failure::Failure;
use crate::plan::Output;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use until::Until;

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
    /// A directory of the run: which channels have its notices.
    pub notices_dir: PathBuf,
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

/// What an executor says: outputs when the deed is done (or a check says so), else the ending.
type Worked = Result<Outputs, Ending>;

/// Carries a deed out and says its one ending. It ends by itself at the deadline and soon after
/// `Context::stop` becomes true: a command with its whole group, a statement by an interrupt, an
/// exchange over HTTP at its end. To be driven to its end; a dropped future kills its command and
/// stops its copying, but says nothing.
///
/// - `Done`: carried out, or (checks) found to be done.
/// - `NotDone`: checks only.
/// - `Failed`: over, and not done; the step is half-done.
/// - `Unknown`: nobody knows. A command that was ended at its deadline, or a lost answer.
/// - `Stopped`: over because it was asked to be.
pub async fn carry_out(deed: Deed, context: Context) -> Ending {
    let until = Until::new(deed.timeout, context.stop.clone());
    let worked = match until.go_on() {
        Err(ending) => Err(ending),
        // Large futures, seldom made: kept off the caller's own.
        Ok(()) if deed.ask == Ask::IsDone => Box::pin(is_done(&deed, &until, &context)).await,
        Ok(()) => Box::pin(perform(&deed, &until, &context)).await,
    };
    match (deed.ask, worked) {
        (_, Ok(outputs)) => Ending::Done(outputs),
        (Ask::Perform, Err(ending)) => ending,
        // A check that failed has no answer.
        (Ask::IsDone | Ask::Check, Err(Ending::Failed(failure))) => Ending::Unknown(failure),
        (Ask::IsDone | Ask::Check, Err(ending)) => ending,
    }
}

async fn perform(deed: &Deed, until: &Until, context: &Context) -> Worked {
    match &deed.action {
        Action::Run(run) => process::run(run, deed, until, context).await,
        Action::Script(script) => process::script(script, deed, until, context).await,
        Action::Http(http) => http::perform(http, deed, until, context).await,
        Action::EdgeClose(close) => edge::close(close, until, context).await,
        Action::EdgeOpen(open) => edge::open(open, until, context).await,
        Action::DatabaseSnapshot(it) => database::snapshot(it, until, context).await,
        Action::DatabaseDropSnapshot(it) => database::drop_snapshot(it, until, context).await,
        Action::DatabaseTransfer(it) => database::transfer(it, until, context).await,
        Action::DatabaseDiscard(it) => database::discard(it, until, context).await,
        Action::DatabaseVerify(it) => database::verify(it, until, context).await,
        Action::OrdersPause(it) => orders::pause(it, until, context).await,
        Action::OrdersResume(it) => orders::resume(it, until, context).await,
        Action::ProviderEnable(it) => provider::turn(it, true, until, context).await,
        Action::ProviderDisable(it) => provider::turn(it, false, until, context).await,
        Action::RoleFence(it) => role::turn(it, false, until, context).await,
        Action::RolePromote(it) => role::turn(it, true, until, context).await,
        Action::Notify(it) => notify::send(it, until, context).await,
        Action::Manual(_) => {
            Err(Ending::Failed(Failure::last("BUG: a manual step is carried out by people")))
        }
    }
}

/// Asks the world whether a built-in action is done. Changes nothing.
async fn is_done(deed: &Deed, until: &Until, context: &Context) -> Worked {
    match &deed.action {
        Action::Run(_) | Action::Script(_) | Action::Http(_) | Action::Manual(_) => {
            Err(Ending::Unknown(Failure::in_doubt("it has no check of its own")))
        }
        Action::EdgeClose(close) => edge::is_closed(close, until, context).await,
        Action::EdgeOpen(open) => edge::is_open(open, until, context).await,
        Action::DatabaseSnapshot(it) => database::has_snapshot(it, until, context).await,
        Action::DatabaseDropSnapshot(it) => database::has_no_snapshot(it, until, context).await,
        Action::DatabaseTransfer(it) => database::is_transferred(it, until, context).await,
        Action::DatabaseDiscard(it) => database::is_discarded(it, until, context).await,
        Action::DatabaseVerify(it) => database::is_verified(it, until, context).await,
        Action::OrdersPause(it) => orders::is_paused(it, until, context).await,
        Action::OrdersResume(it) => orders::is_resumed(it, until, context).await,
        Action::ProviderEnable(it) => provider::is(it, true, until, context).await,
        Action::ProviderDisable(it) => provider::is(it, false, until, context).await,
        Action::RoleFence(it) => role::is(it, false, until, context).await,
        Action::RolePromote(it) => role::is(it, true, until, context).await,
        Action::Notify(it) => notify::is_sent(it, context),
    }
}

impl Context {
    /// Says what is being done just now.
    fn doing(&self, what: impl Into<String>) {
        let what = what.into();
        self.progress.send_modify(|progress| progress.doing = what);
    }

    /// A site of the estate.
    fn site(&self, name: &str) -> Result<&Site, Ending> {
        self.estate.sites.get(name).map(|site| &site.value).ok_or_else(|| {
            Ending::Failed(Failure::last(format!("the estate has no site `{name}`")))
        })
    }
}

/// Fills `{line}` of an address or argument of the estate; `*` stands for all lines.
fn fill_line(text: &str, line: Option<&str>) -> String {
    text.replace("{line}", line.unwrap_or("*"))
}
