//! A plan as it was written: what is to happen, not what it expands to.
//!
//! Not known here: the graph, the states of steps, the estate's addresses.

mod fan;
mod read;
mod schema;
pub(crate) mod scope;
mod sketch;
mod steps;
pub mod template;
#[cfg(test)]
mod tests;
mod work;

pub use read::{is_fatal, read, read_anyway};
pub use schema::schema;
pub use sketch::sketch;

use crate::action::{Action, Check, Effects, Undo};
use crate::text::Spanned;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use template::Template;

/// A whole plan file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name, printed wherever the run is named.
    pub name: String,
    /// Change number, printed beside it.
    pub change: Option<String>,
    /// When it happens; none: no clock matters.
    pub window: Option<Window>,
    /// In which times are shown; UTC when none is given.
    pub zones: Vec<TimeZone>,
    /// Product lines, in written order.
    pub lines: Vec<Line>,
    /// Protected services, in written order.
    pub protect: Vec<Protect>,
    /// Roles that only one site may hold.
    pub exclusive: Vec<Exclusive>,
    /// Resource or kind name to how many at once; `steps` is always there (default 16).
    pub limits: BTreeMap<String, Spanned<u32>>,
    /// What a failure for good does when the step does not say.
    pub on_failure: OnFailure,
    /// Steps, in written order.
    pub steps: Vec<StepDef>,
    /// Extra facts for templates and notices (`facts:`), and the built-in ones: `plan.name`, ...
    pub facts: BTreeMap<String, String>,
    /// Where it was read from; relative paths start at its directory.
    pub path: PathBuf,
    /// The exact text.
    pub source: Arc<str>,
}

/// The maintenance window.
#[derive(Clone, Debug)]
pub struct Window {
    /// First moment of phase `window`.
    pub opens: Timestamp,
    /// After it no step of phase `window` starts unasked.
    pub closes: Timestamp,
    /// Kept free at the end for a rollback.
    pub reserve: SignedDuration,
    /// The zone that `opens` was written in: calendar days count in it.
    pub zone: TimeZone,
    /// Where `window:` stands.
    pub span: crate::text::Span,
}

/// A product line and its facts.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub name: Spanned<String>,
    /// Fact name to value (`orders: paused`).
    pub facts: BTreeMap<String, String>,
}

/// A protected service.
#[derive(Clone, Debug)]
pub struct Protect {
    /// `ocsp`, `crl`, `seal`, ...
    pub service: Spanned<String>,
    /// Whether each line counts by itself.
    pub per_line: bool,
    /// Providers up at every moment, at least.
    pub at_least: u32,
    /// What a breach does beside the hold.
    pub on_breach: OnBreach,
    /// Who serves at the start (`ocsp@from/ocsp-1`); none: the estate says.
    pub providers: Option<Vec<Spanned<String>>>,
}

/// A role with at most so many holders.
#[derive(Clone, Debug)]
pub struct Exclusive {
    /// `writer`, `crl-signer`, ...
    pub role: Spanned<String>,
    /// Whether each line counts by itself.
    pub per_line: bool,
    /// Holders at once, at most.
    pub at_most: u32,
    /// The site that holds it at the start.
    pub holder: Option<Spanned<String>>,
}

/// What a breach does beside the hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBreach {
    /// Nothing more: a person decides.
    #[default]
    Hold,
    /// The whole run is rolled back.
    Rollback,
}

/// What a failure for good does. The order is the order of precedence when they collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFailure {
    /// Nothing starts; a person decides.
    #[default]
    Hold,
    /// The step's line is rolled back (a step without a line: the whole run).
    RollbackLine,
    /// The whole run is rolled back.
    Rollback,
}

/// What a step means; the rules of the domain hang on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the word of the plan language itself")]
pub enum Kind {
    Notify,
    Gate,
    Drain,
    Snapshot,
    Transfer,
    Upgrade,
    Verify,
    Switch,
    Reopen,
    Task,
}

impl Kind {
    /// Every kind, as written in plans.
    pub const ALL: [(&'static str, Self); 10] = [
        ("notify", Self::Notify),
        ("gate", Self::Gate),
        ("drain", Self::Drain),
        ("snapshot", Self::Snapshot),
        ("transfer", Self::Transfer),
        ("upgrade", Self::Upgrade),
        ("verify", Self::Verify),
        ("switch", Self::Switch),
        ("reopen", Self::Reopen),
        ("task", Self::Task),
    ];

    /// The word of the plan language.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("task", |(name, _)| name)
    }
}

/// When a step may start. Phases are edges: before, then window, then after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before the window opens.
    Before,
    /// From `opens`; past `closes` only when a person says so.
    #[default]
    Window,
    /// When every step of the window is done or out.
    After,
}

/// One step as written; `for_each` makes instances of it.
#[derive(Clone, Debug)]
pub struct StepDef {
    /// Its name: `[a-z0-9-]+`.
    pub name: Spanned<String>,
    /// What it means.
    pub kind: Kind,
    /// What it does.
    pub work: Work,
    /// Variables that it fans out over, in written order; the last turns fastest.
    pub over: Vec<Over>,
    /// Which instances are chained.
    pub serial: Serial,
    /// What it waits for.
    pub needs: Vec<Need>,
    /// When it may start.
    pub phase: Phase,
    /// Not before this moment (unshifted).
    pub not_before: Option<Timestamp>,
    /// Named resources that it takes one of, beside `steps` and its kind.
    pub uses: Vec<Spanned<String>>,
    /// Effects as written; none: those of the action.
    pub effects: Option<Spanned<Effects<Template>>>,
    /// How long it is expected to take: a range, both ends equal for a number.
    pub estimate: Option<(SignedDuration, SignedDuration)>,
    /// After it an attempt is ended; none: never (gates and manual steps).
    pub timeout: Option<SignedDuration>,
    /// Attempts and pauses.
    pub retry: Retry,
    /// May be repeated without asking whether it is done.
    pub idempotent: bool,
    /// What a failure for good does; none: the plan's.
    pub on_failure: Option<OnFailure>,
    /// A rollback waits for it instead of ending it (`on_rollback: finish`).
    pub finish_on_rollback: bool,
    /// A name that `rollback --to` comes back to; reached when the last instance has ended.
    pub checkpoint: Option<Spanned<String>>,
    /// From its begin no rollback over it is offered.
    pub point_of_no_return: bool,
    /// Output name to a pattern with one group, matched against its stdout.
    pub outputs: Vec<Output>,
    /// Where the step stands (its key).
    pub span: crate::text::Span,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    /// It acts.
    Act {
        /// The deed.
        act: Action<Template>,
        /// The way back.
        undo: Undo<Template>,
        /// How a doubt is settled.
        check: Check<Template>,
    },
    /// It asks people.
    Ask(Gate),
}

/// A go/no-go point.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Groups of the estate's `people`; at least one person of each must approve.
    pub by: Vec<Spanned<String>>,
    /// Different people who must approve.
    pub quorum: u32,
    /// The question.
    pub ask: Template,
}

/// One variable of a `for_each` and its values.
#[derive(Clone, Debug)]
pub struct Over {
    /// `line`, `host`, ...
    pub variable: Spanned<String>,
    /// Its values, in order.
    pub values: Vec<String>,
}

/// Which instances of a step are chained one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Serial {
    /// None.
    #[default]
    No,
    /// All, in written order, the last variable fastest.
    All,
    /// Along this variable, one chain for each value of the others.
    Along(String),
}

/// One need of a step.
#[derive(Clone, Debug)]
pub struct Need {
    /// The step needed, by its definition's name.
    pub step: Spanned<String>,
    /// `{ all: NAME }`: every instance, not the paired ones.
    pub all: bool,
}

/// Attempts and pauses.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// At most so many attempts, the first included; 1 when left out.
    pub attempts: u32,
    /// Pause before the second attempt, doubled from one to the next up to the second value.
    pub backoff: (SignedDuration, SignedDuration),
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: (SignedDuration::from_secs(1), SignedDuration::from_secs(60)) }
    }
}

/// A value caught from a step's stdout.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name, `${{ steps.STEP.outputs.NAME }}`.
    pub name: String,
    /// Pattern with one group.
    pub pattern: String,
}
