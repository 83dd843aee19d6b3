//! How a run's events are written down: steps, lines and providers by name instead of by id, so
//! that a journal says by itself what happened.
//!
//! Externally tagged, kebab-case; unknown fields and unknown events are refused, never skipped:
//! a replay that leaves something out would order the wrong thing. Reading borrows from the line.
//!
//! Not known here: what an event means, and the file.

use crate::event::{
    Answer, Back, Ending, Event, Header, HoldId, Job, LineId, Outcome, Outputs, Person, ProviderId,
    QuestionId, Request, Seq, StepId, Timer, Verdict, Way,
};
use crate::failure::Failure;
use crate::graph::Graph;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Version of the journal's format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The names of a run's steps, lines and providers.
pub trait Names {
    /// A step's full name.
    fn step(&self, step: StepId) -> String;
    /// The step of that name.
    fn find_step(&self, name: &str) -> Option<StepId>;
    /// A line's name.
    fn line(&self, line: LineId) -> String;
    /// The line of that name.
    fn find_line(&self, name: &str) -> Option<LineId>;
    /// A provider's full name.
    fn provider(&self, provider: ProviderId) -> String;
    /// The provider of that name.
    fn find_provider(&self, name: &str) -> Option<ProviderId>;
}

impl Names for Graph {
    fn step(&self, step: StepId) -> String {
        self.name(step)
    }
    fn find_step(&self, name: &str) -> Option<StepId> {
        self.find(name)
    }
    fn line(&self, line: LineId) -> String {
        self.line_name(line).to_owned()
    }
    fn find_line(&self, name: &str) -> Option<LineId> {
        Self::find_line(self, name)
    }
    fn provider(&self, provider: ProviderId) -> String {
        self.providers()[provider.index()].name.clone()
    }
    fn find_provider(&self, name: &str) -> Option<ProviderId> {
        Self::find_provider(self, name)
    }
}

/// An event as it stands in a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Wire<'a> {
    /// See [`Event::Begun`].
    Begun(Box<Header>),
    /// See [`Event::Opened`].
    Opened {
        /// Of the runner that took the run.
        epoch: u64,
        /// Kernel boot id.
        #[serde(borrow)]
        boot: Cow<'a, str>,
        /// Process id.
        pid: u32,
        /// Bytes cut off before.
        #[serde(default, skip_serializing_if = "is_zero")]
        cut: u64,
    },
    /// See [`Event::Started`].
    Started {
        /// Full name of the step.
        #[serde(borrow)]
        step: Cow<'a, str>,
        /// Do, undo or check.
        way: Way,
        /// From 1.
        attempt: u32,
    },
    /// See [`Event::Ended`].
    Ended {
        /// Full name of the step.
        #[serde(borrow)]
        step: Cow<'a, str>,
        /// Do, undo or check.
        way: Way,
        /// From 1.
        attempt: u32,
        /// How.
        ending: WireEnding,
    },
    /// See [`Event::Due`].
    Due {
        /// Which timer.
        #[serde(borrow)]
        timer: WireTimer<'a>,
        /// Not waited for.
        #[serde(default, skip_serializing_if = "is_false")]
        jumped: bool,
    },
    /// See [`Event::Verdict`].
    Verdict {
        /// Full name of the provider.
        #[serde(borrow)]
        provider: Cow<'a, str>,
        /// What the guard holds of it.
        verdict: Verdict,
        /// As of this record.
        as_of: Seq,
    },
    /// See [`Event::Revocations`].
    Revocations {
        /// The line's name.
        #[serde(borrow)]
        line: Cow<'a, str>,
        /// All confirmed.
        clear: bool,
        /// As of this record.
        as_of: Seq,
    },
    /// See [`Event::Requested`].
    Requested {
        /// Who.
        by: Person,
        /// What.
        #[serde(borrow)]
        request: WireRequest<'a>,
    },
    /// See [`Event::Closed`].
    Closed(Outcome),
}

/// An ending as it stands in a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WireEnding {
    /// See [`Ending::Done`].
    Done {
        /// What the step's `outputs:` caught.
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
    },
    /// See [`Ending::NotDone`].
    NotDone,
    /// See [`Ending::Failed`].
    Failed(Failure),
    /// See [`Ending::Unknown`].
    Unknown(Failure),
    /// See [`Ending::Stopped`].
    Stopped,
    /// See [`Ending::Withdrawn`].
    Withdrawn,
}

/// A timer as it stands in a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WireTimer<'a> {
    /// The window opens.
    Opens,
    /// The window closes.
    Closes,
    /// A step's `not_before`.
    NotBefore {
        /// Full name of the step.
        #[serde(borrow)]
        step: Cow<'a, str>,
    },
    /// The backoff of a step is over.
    Retry {
        /// Full name of the step.
        #[serde(borrow)]
        step: Cow<'a, str>,
        /// Do, undo or check.
        way: Way,
    },
    /// A step has waited long for the live floor.
    Floor {
        /// Full name of the step.
        #[serde(borrow)]
        step: Cow<'a, str>,
    },
}

/// A rollback's reach as it stands in a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum WireBack<'a> {
    /// See [`Back::Run`].
    Run {
        /// Done steps of phase before as well.
        #[serde(default, skip_serializing_if = "is_false")]
        before_too: bool,
    },
    /// One product line.
    #[serde(borrow)]
    Line(Cow<'a, str>),
    /// A checkpoint.
    #[serde(borrow)]
    To(Cow<'a, str>),
}

/// A request as it stands in a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the variant and the fields of `Request` itself")]
pub enum WireRequest<'a> {
    Hold {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Release {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<HoldId>,
    },
    Approve {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
        note: Cow<'a, str>,
    },
    Disapprove {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Answer {
        question: QuestionId,
        answer: Answer,
        #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
        note: Cow<'a, str>,
    },
    Claim {
        #[serde(borrow)]
        step: Cow<'a, str>,
    },
    Finish {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow)]
        evidence: Cow<'a, str>,
    },
    Fail {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Retry {
        #[serde(borrow)]
        step: Cow<'a, str>,
    },
    Skip {
        #[serde(borrow)]
        step: Cow<'a, str>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Abort {
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Rollback {
        #[serde(borrow)]
        back: WireBack<'a>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Interrupt,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl<'a> Wire<'a> {
    /// The event in names.
    pub fn of<N: Names + ?Sized>(event: &'a Event, names: &N) -> Self {
        match event {
            Event::Begun(header) => Self::Begun(header.clone()),
            Event::Opened { epoch, boot, pid, cut } => {
                Self::Opened { epoch: *epoch, boot: Cow::Borrowed(boot), pid: *pid, cut: *cut }
            }
            Event::Started(Job { step, way, attempt }) => {
                Self::Started { step: names.step(*step).into(), way: *way, attempt: *attempt }
            }
            Event::Ended(Job { step, way, attempt }, ending) => Self::Ended {
                step: names.step(*step).into(),
                way: *way,
                attempt: *attempt,
                ending: WireEnding::of(ending),
            },
            Event::Due { timer, jumped } => {
                Self::Due { timer: WireTimer::of(*timer, names), jumped: *jumped }
            }
            Event::Verdict { provider, verdict, as_of } => Self::Verdict {
                provider: names.provider(*provider).into(),
                verdict: verdict.clone(),
                as_of: *as_of,
            },
            Event::Revocations { line, clear, as_of } => {
                Self::Revocations { line: names.line(*line).into(), clear: *clear, as_of: *as_of }
            }
            Event::Requested(by, request) => {
                Self::Requested { by: by.clone(), request: WireRequest::of(request, names) }
            }
            Event::Closed(outcome) => Self::Closed(*outcome),
        }
    }

    /// The event in ids.
    ///
    /// # Errors
    /// A name that the plan does not know.
    pub fn event<N: Names + ?Sized>(self, names: &N) -> Result<Event, String> {
        Ok(match self {
            Self::Begun(header) => Event::Begun(header),
            Self::Opened { epoch, boot, pid, cut } => {
                Event::Opened { epoch, boot: boot.into_owned(), pid, cut }
            }
            Self::Started { step, way, attempt } => {
                Event::Started(Job { step: find_step(&step, names)?, way, attempt })
            }
            Self::Ended { step, way, attempt, ending } => {
                Event::Ended(Job { step: find_step(&step, names)?, way, attempt }, ending.ending())
            }
            Self::Due { timer, jumped } => Event::Due { timer: timer.timer(names)?, jumped },
            Self::Verdict { provider, verdict, as_of } => {
                let id = names
                    .find_provider(&provider)
                    .ok_or_else(|| format!("the plan has no provider `{provider}`"))?;
                Event::Verdict { provider: id, verdict, as_of }
            }
            Self::Revocations { line, clear, as_of } => {
                Event::Revocations { line: find_line(&line, names)?, clear, as_of }
            }
            Self::Requested { by, request } => Event::Requested(by, request.request(names)?),
            Self::Closed(outcome) => Event::Closed(outcome),
        })
    }
}

impl WireEnding {
    fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Done(outputs) => Self::Done { outputs: outputs.clone() },
            Ending::NotDone => Self::NotDone,
            Ending::Failed(failure) => Self::Failed(failure.clone()),
            Ending::Unknown(failure) => Self::Unknown(failure.clone()),
            Ending::Stopped => Self::Stopped,
            Ending::Withdrawn => Self::Withdrawn,
        }
    }

    fn ending(self) -> Ending {
        match self {
            Self::Done { outputs } => Ending::Done(outputs),
            Self::NotDone => Ending::NotDone,
            Self::Failed(failure) => Ending::Failed(failure),
            Self::Unknown(failure) => Ending::Unknown(failure),
            Self::Stopped => Ending::Stopped,
            Self::Withdrawn => Ending::Withdrawn,
        }
    }
}

impl WireTimer<'_> {
    fn of<N: Names + ?Sized>(timer: Timer, names: &N) -> Self {
        match timer {
            Timer::Opens => Self::Opens,
            Timer::Closes => Self::Closes,
            Timer::NotBefore(step) => Self::NotBefore { step: names.step(step).into() },
            Timer::Retry(step, way) => Self::Retry { step: names.step(step).into(), way },
            Timer::Floor(step) => Self::Floor { step: names.step(step).into() },
        }
    }

    fn timer<N: Names + ?Sized>(self, names: &N) -> Result<Timer, String> {
        Ok(match self {
            Self::Opens => Timer::Opens,
            Self::Closes => Timer::Closes,
            Self::NotBefore { step } => Timer::NotBefore(find_step(&step, names)?),
            Self::Retry { step, way } => Timer::Retry(find_step(&step, names)?, way),
            Self::Floor { step } => Timer::Floor(find_step(&step, names)?),
        })
    }
}

impl<'a> WireRequest<'a> {
    fn of<N: Names + ?Sized>(request: &'a Request, names: &N) -> Self {
        let name = |step: &StepId| names.step(*step).into();
        match request {
            Request::Hold { reason } => Self::Hold { reason: reason.into() },
            Request::Release { hold } => Self::Release { hold: *hold },
            Request::Approve { step, note } => {
                Self::Approve { step: name(step), note: note.into() }
            }
            Request::Disapprove { step, reason } => {
                Self::Disapprove { step: name(step), reason: reason.into() }
            }
            Request::Answer { question, answer, note } => {
                Self::Answer { question: *question, answer: *answer, note: note.into() }
            }
            Request::Claim { step } => Self::Claim { step: name(step) },
            Request::Finish { step, evidence } => {
                Self::Finish { step: name(step), evidence: evidence.into() }
            }
            Request::Fail { step, reason } => {
                Self::Fail { step: name(step), reason: reason.into() }
            }
            Request::Retry { step } => Self::Retry { step: name(step) },
            Request::Skip { step, reason } => {
                Self::Skip { step: name(step), reason: reason.into() }
            }
            Request::Abort { reason } => Self::Abort { reason: reason.into() },
            Request::Rollback { back, reason } => {
                let back = match back {
                    Back::Run { before_too } => WireBack::Run { before_too: *before_too },
                    Back::Line(line) => WireBack::Line(names.line(*line).into()),
                    Back::To(checkpoint) => WireBack::To(checkpoint.into()),
                };
                Self::Rollback { back, reason: reason.into() }
            }
            Request::Interrupt => Self::Interrupt,
        }
    }

    fn request<N: Names + ?Sized>(self, names: &N) -> Result<Request, String> {
        let find = |step: &str| find_step(step, names);
        Ok(match self {
            Self::Hold { reason } => Request::Hold { reason: reason.into() },
            Self::Release { hold } => Request::Release { hold },
            Self::Approve { step, note } => {
                Request::Approve { step: find(&step)?, note: note.into() }
            }
            Self::Disapprove { step, reason } => {
                Request::Disapprove { step: find(&step)?, reason: reason.into() }
            }
            Self::Answer { question, answer, note } => {
                Request::Answer { question, answer, note: note.into() }
            }
            Self::Claim { step } => Request::Claim { step: find(&step)? },
            Self::Finish { step, evidence } => {
                Request::Finish { step: find(&step)?, evidence: evidence.into() }
            }
            Self::Fail { step, reason } => {
                Request::Fail { step: find(&step)?, reason: reason.into() }
            }
            Self::Retry { step } => Request::Retry { step: find(&step)? },
            Self::Skip { step, reason } => {
                Request::Skip { step: find(&step)?, reason: reason.into() }
            }
            Self::Abort { reason } => Request::Abort { reason: reason.into() },
            Self::Rollback { back, reason } => {
                let back = match back {
                    WireBack::Run { before_too } => Back::Run { before_too },
                    WireBack::Line(line) => Back::Line(find_line(&line, names)?),
                    WireBack::To(checkpoint) => Back::To(checkpoint.into()),
                };
                Request::Rollback { back, reason: reason.into() }
            }
            Self::Interrupt => Request::Interrupt,
        })
    }
}

fn find_step<N: Names + ?Sized>(name: &str, names: &N) -> Result<StepId, String> {
    names.find_step(name).ok_or_else(|| format!("the plan has no step `{name}`"))
}

fn find_line<N: Names + ?Sized>(name: &str, names: &N) -> Result<LineId, String> {
    names.find_line(name).ok_or_else(|| format!("the plan has no line `{name}`"))
}
