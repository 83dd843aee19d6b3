//! The words of a run: what can happen to it, and who may ask what of it.
//!
//! Not known here: whether an event is legal (`run` decides that), how it is written down
//! (`journal::codec` does that, by names instead of ids), and what a step is.

use crate::failure::Failure;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the table that this id belongs to.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A step: one instance, a node of the graph. Dense from 0 within one `Graph`.
    StepId
);
id!(
    /// A product line, by its place in the plan's `lines`.
    LineId
);
id!(
    /// A provider of a protected service; with `per: line` one for each line.
    ProviderId
);

/// Number of a record in the journal, from 1; 0 means "before the first".
pub type Seq = u64;

/// What is being done with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its deed.
    Do,
    /// The way back.
    Undo,
    /// Asking the world whether the deed is done, to settle a doubt.
    Check,
}

/// One attempt at one way of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// The step.
    pub step: StepId,
    /// Do, undo or check.
    pub way: Way,
    /// From 1, counted per step and way over the whole run; never reused.
    pub attempt: u32,
}

/// What a step's `outputs:` caught: name to value.
pub type Outputs = BTreeMap<String, String>;

/// How an attempt ended. Exactly one per started job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Do: done. Undo: undone. Check: the deed is done.
    Done(Outputs),
    /// Check only: the deed is not done, which means half-done.
    NotDone,
    /// It ended without success, and it is known that it ended. The step is half-done.
    Failed(Failure),
    /// Nobody knows whether the deed was done: the step is in doubt.
    Unknown(Failure),
    /// Ended because the runner asked it to. The step is half-done.
    Stopped,
    /// Never begun: when its start had become durable it was not allowed any more
    /// (`Run::may_begin`). As if it had not been started; never doubt.
    Withdrawn,
}

/// A moment that the run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The window opens.
    Opens,
    /// The window closes.
    Closes,
    /// A step's `not_before`.
    NotBefore(StepId),
    /// The backoff before the next attempt at this way of the step is over.
    Retry(StepId, Way),
    /// The step has waited for the live floor for as long as its timeout: people are asked. Never
    /// jumped: what it waits for is the world, not the plan.
    Floor(StepId),
}

/// The finding of a guard that hangs or is dead: a breach by itself, and no word on any provider.
pub const GUARD_SILENT: &str = "guard-silent";

/// What the guard holds of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Not judged since its last event: neither up nor down.
    Unknown,
    /// Answers, and rightly.
    Normal,
    /// Answers rightly, but something is not as it should be. Counts as normal for the floor.
    Degraded(Vec<String>),
    /// No right answer, after the re-asks: it counts as absent. The finding codes of revocation.md
    /// (severity B), or [`GUARD_SILENT`].
    Down(Vec<String>),
    /// An answer that is false by itself (severity B!): a breach at once when clients are sent there,
    /// not ended by a later good answer alone.
    Lying(Vec<String>),
}

impl Verdict {
    /// Whether clients sent there are served rightly.
    pub fn serves(&self) -> bool {
        matches!(self, Self::Normal | Self::Degraded(_))
    }

    /// Whether the guard calls the provider down, so that nothing is taken by taking it. A guard that
    /// is silent calls nothing down.
    pub fn calls_down(&self) -> bool {
        match self {
            Self::Down(codes) => codes != &[GUARD_SILENT],
            Self::Lying(_) => true,
            Self::Unknown | Self::Normal | Self::Degraded(_) => false,
        }
    }
}

/// Who asked. The groups are those of the estate's `people` at the time of asking: replay cannot
/// ask the system again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Login name of the login uid, else of the uid.
    pub login: String,
    /// The socket peer's uid.
    pub uid: u32,
    /// Groups of the estate's `people` that this login belongs to, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// Number of a hold: the `Seq` of the record that caused it, or the next free number when one record
/// causes several.
pub type HoldId = Seq;
/// Number of a question: the `Seq` of the record that raised it, or the next free number when one
/// record raises several.
pub type QuestionId = Seq;

/// How far a person's rollback goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// Every begun step. Done steps of phase before stay unless `before_too` (`--all`).
    Run {
        /// Undo done steps of phase before as well.
        before_too: bool,
    },
    /// One product line and what hangs on it.
    Line(LineId),
    /// To a named checkpoint, and hold there.
    To(String),
}

/// A person's answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Doubt: the deed is done. Failed undo: it is undone. (With `check` or guard agreeing.)
    Done,
    /// Doubt: the deed is not done (half-done).
    NotDone,
    /// Try again (a failed step or undo).
    Retry,
    /// Roll the run back.
    Rollback,
    /// Roll the step's line back.
    RollbackLine,
    /// Go on: start what is late or past `closes`, or continue where a policy asked.
    Go,
    /// Leave the late step out (only if the plan without it still proves).
    Skip,
    /// Stay held; the question is closed, a person's hold takes its place.
    Hold,
}

impl Answer {
    /// Every answer, in the order in which they are listed.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::NotDone,
        Self::Retry,
        Self::Go,
        Self::Skip,
        Self::Hold,
        Self::RollbackLine,
        Self::Rollback,
    ];

    /// As it is typed and shown: `cutover answer RUN QUESTION WORD`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not-done",
            Self::Retry => "retry",
            Self::Go => "go",
            Self::Skip => "skip",
            Self::Hold => "hold",
            Self::RollbackLine => "rollback-line",
            Self::Rollback => "rollback",
        }
    }
}

/// What a person asks of a run. `Run::admit` refuses what cannot be had, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing starts until released.
    Hold {
        /// Why.
        reason: String,
    },
    /// Ends one hold, or every hold that a release ends.
    Release {
        /// The hold; all of the releasable ones when left out.
        hold: Option<HoldId>,
    },
    /// Agree to a gate.
    Approve {
        /// The gate.
        step: StepId,
        /// A word for the record.
        note: String,
    },
    /// Say no to a gate: holds the run and offers the rollback.
    Disapprove {
        /// The gate.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Answer an open question.
    Answer {
        /// Which.
        question: QuestionId,
        /// The answer.
        answer: Answer,
        /// A word for the record.
        note: String,
    },
    /// Take a manual step to do it.
    Claim {
        /// The step.
        step: StepId,
    },
    /// The manual step (or its undo) is done.
    Finish {
        /// The step.
        step: StepId,
        /// What shows it.
        evidence: String,
    },
    /// The manual step (or its undo) cannot be done.
    Fail {
        /// The step.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Try a failed, in-doubt, undone or out step again.
    Retry {
        /// The step.
        step: StepId,
    },
    /// Leave a step out that never started.
    Skip {
        /// The step.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// End running steps, undo nothing, close as stuck.
    Abort {
        /// Why.
        reason: String,
    },
    /// Go back.
    Rollback {
        /// How far.
        back: Back,
        /// Why.
        reason: String,
    },
    /// End what runs now and hold (the second Ctrl-C). Ended steps are half-done.
    Interrupt,
}

/// How a run ended. Held and interrupted are exits of the process, not ends of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step that is not out is done. Some line may be out: partly rolled back.
    Completed,
    /// Everything begun is undone (done steps of phase before excepted).
    RolledBack,
    /// Aborted: nothing more will happen; a person has to look.
    Stuck,
}

/// What a run was started with beside plan and estate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// A rehearsal: waits and backoffs are jumped, nothing is late.
    #[serde(default)]
    pub rehearsal: bool,
    /// Seconds added to every instant of the plan's window (`--shift-window`, rehearsals).
    #[serde(default)]
    pub shift_s: i64,
    /// Seed of whatever is drawn (jitter, faults).
    #[serde(default)]
    pub seed: u64,
    /// Faults put in on purpose, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Emergency revocations that a rehearsal asks for by itself; a resumed one asks for the rest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revocations: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The first record of every journal: all that a replay needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the journal's format; now 1.
    pub format: u32,
    /// Version of the program that began the run.
    pub program: String,
    /// Name of the run: unique, sortable by time.
    pub run: String,
    /// Where the plan was read, for messages and relative paths (absolute).
    pub plan_path: String,
    /// The plan's exact text.
    pub plan: String,
    /// Where the estate was read (absolute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estate_path: Option<String>,
    /// The estate's exact text; secrets are references in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estate: Option<String>,
    /// Hex digest of the compiled graph: a program that compiles another graph refuses.
    pub graph: String,
    /// Who began it.
    pub by: Person,
    /// The rest of the command line.
    pub options: Options,
}

/// Something that happened to a run. The journal is the sequence of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run exists. Always and only the first record.
    Begun(Box<Header>),
    /// A runner took the run: every started job without an end is in doubt from here on, every
    /// verdict is unknown.
    Opened {
        /// One more than the epoch before.
        epoch: u64,
        /// Kernel boot id and pid of the runner, for the stale lock message.
        boot: String,
        /// Process id of the runner.
        pid: u32,
        /// Bytes of a torn tail that recovery cut off before this record; 0 mostly.
        cut: u64,
    },
    /// An attempt is about to begin. Durable before anything is done.
    Started(Job),
    /// An attempt ended.
    Ended(Job, Ending),
    /// A timer came due; `jumped` when a rehearsal did not wait for it.
    Due {
        /// Which.
        timer: Timer,
        /// Not waited for.
        jumped: bool,
    },
    /// The guard's verdict on a provider changed, as of the record `as_of` (the newest that the
    /// guard had been told of when it asked).
    Verdict {
        /// Which provider.
        provider: ProviderId,
        /// What the guard holds of it.
        verdict: Verdict,
        /// Newer than every record up to this one.
        as_of: Seq,
    },
    /// The emergency lane: whether every accepted revocation of the line is confirmed.
    Revocations {
        /// The line.
        line: LineId,
        /// All confirmed, none suspect.
        clear: bool,
        /// As of this record.
        as_of: Seq,
    },
    /// A person asked, and was admitted.
    Requested(Person, Request),
    /// The run ended. Always the last record.
    Closed(Outcome),
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1, without gaps.
    pub seq: Seq,
    /// Wall clock when it was appended. Backoffs count from it; legality does not.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}
