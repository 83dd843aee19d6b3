//! The core: a run of a graph, as a plain value.
//!
//! [`Run::apply`] takes what has happened, [`Run::next`] says what is to be done now,
//! [`Run::admit`] judges what people ask. Nothing here reads a clock, a file or a socket, so a run
//! is the fold of its journal and nothing else; to resume is to apply the journal again.

use crate::event::{
    Answer, Event, HoldId, Job, LineId, Outcome, Outputs, Person, ProviderId, QuestionId, Record,
    Request, Seq, StepId, Timer, Verdict, Way,
};
use crate::graph::{Graph, ServiceId};
use jiff::Timestamp;
use std::sync::Arc;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Never started, or wholly undone.
    Clean,
    /// Half-done: an attempt ended without success, or was stopped.
    Partial,
    /// An attempt is under way.
    Running(Job),
    /// Between attempts: the backoff before the next one at this way.
    Waiting(Way),
    /// Nobody knows whether this way was carried out.
    Doubt(Way),
    /// Failed for good at this way, until a person or policy answers.
    Failed(Way),
    /// Done.
    Done,
}

/// What the run wants of a step. A rollback only changes goals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// Done.
    Done,
    /// Undone, and staying so.
    Undone,
    /// Undone, then done again.
    Redo,
}

/// What the shell is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Journal `Started(job)`; when durable, and `may_begin` still says so, begin it.
    Start(Job),
    /// End the running job; it answers with one `Ended`.
    Stop(Job),
    /// Journal `Due` for this timer at this instant.
    Wake(Timer, Timestamp),
    /// Journal `Closed`.
    Close(Outcome),
}

/// The event cannot have happened here: a bug when live, damage at replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible(pub String);

/// A request that was not admitted: why, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why not.
    pub why: String,
    /// What to do instead.
    pub hint: Option<String>,
}

/// Why nothing starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The record that caused it.
    pub id: HoldId,
    /// Its reason.
    pub cause: HoldCause,
}

/// What holds a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldCause {
    /// A person's `hold`, an interrupt, or a `rollback --to` that arrived. Ended by `release`.
    Person {
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// A provider is breached; ended when enough are normal again and a person releases.
    Breach(ProviderId),
    /// A question waits for its answer.
    Question(QuestionId),
}

/// Something that only a person can settle, derived from the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The record that raised it.
    pub id: QuestionId,
    /// The step that it is about.
    pub step: Option<StepId>,
    /// What is asked, one sentence.
    pub text: String,
    /// What can be answered.
    pub answers: Vec<Answer>,
}

/// Why a step does not start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step that it needs (or, undone, that needs it) is not there yet.
    Step(StepId),
    /// A hold.
    Held(HoldId),
    /// A limit is used up; who uses it.
    Limit(String),
    /// Its phase or `not_before`.
    Time(Timer, Timestamp),
    /// Too few normal providers of this service would be left.
    Floor {
        /// `ocsp[geotrust]`
        service: String,
        /// Providers that are wanted back before it can start.
        wanting: Vec<ProviderId>,
    },
    /// A verdict on a provider is awaited.
    Verdict(ProviderId),
    /// People are to approve or act.
    People,
    /// A revocation of the line is not confirmed yet.
    Revocation(LineId),
}

/// A run of a graph.
#[derive(Clone, Debug)]
pub struct Run {
    graph: Arc<Graph>,
    // CORE helper: the state.
}

impl Run {
    /// A run to which nothing has happened yet.
    pub fn new(graph: Arc<Graph>) -> Self {
        Self { graph }
    }
    /// Takes in one record. Changes nothing when it fails.
    ///
    /// # Errors
    /// When the event cannot have happened here.
    pub fn apply(&mut self, record: &Record) -> Result<(), Impossible> {
        let _ = record;
        todo!()
    }
    /// Everything to be done now, in order of priority. Depends on the state alone: asked twice it
    /// answers twice the same. Starts that share a limit or a floor are already chosen so that all
    /// of them together are allowed.
    pub fn next(&self, out: &mut Vec<Command>) {
        let _ = out;
        todo!()
    }
    /// Judges a request: the event to journal, or the refusal.
    ///
    /// # Errors
    /// Why it cannot be had now.
    pub fn admit(&self, who: &Person, what: Request) -> Result<Event, Refusal> {
        let _ = (who, what);
        todo!()
    }
    /// Whether a started job may still begin, asked when its start is durable.
    pub fn may_begin(&self, job: Job) -> bool {
        let _ = job;
        todo!()
    }
    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }
    /// Where a step stands.
    pub fn status(&self, step: StepId) -> Status {
        let _ = step;
        todo!()
    }
    /// What the run wants of it.
    pub fn goal(&self, step: StepId) -> Goal {
        let _ = step;
        todo!()
    }
    /// Whether the step takes no part any more.
    pub fn is_out(&self, step: StepId) -> bool {
        let _ = step;
        todo!()
    }
    /// What its last done attempt's `outputs:` caught.
    pub fn outputs(&self, step: StepId) -> Option<&Outputs> {
        let _ = step;
        todo!()
    }
    /// Attempts under way.
    pub fn running(&self) -> impl Iterator<Item = Job> {
        std::iter::empty()
    }
    /// Why nothing starts; empty when it runs.
    pub fn holds(&self) -> &[Hold] {
        todo!()
    }
    /// What waits for a person.
    pub fn questions(&self) -> Vec<Question> {
        todo!()
    }
    /// Why a step does not start.
    pub fn waits_for(&self, step: StepId) -> Vec<Cause> {
        let _ = step;
        todo!()
    }
    /// The end, once it has one.
    pub fn outcome(&self) -> Option<Outcome> {
        todo!()
    }
    /// Lines that are out by a rollback of their own.
    pub fn lines_out(&self) -> impl Iterator<Item = LineId> {
        std::iter::empty()
    }
    /// Lines that are moved: none of their steps is out, and all are done.
    pub fn lines_moved(&self) -> impl Iterator<Item = LineId> {
        std::iter::empty()
    }
    /// Services that were breached at any time, in order of their first breach.
    pub fn breached(&self) -> &[ServiceId] {
        todo!()
    }
    /// The last verdict on a provider and the record it is as of.
    pub fn verdict(&self, provider: ProviderId) -> (&Verdict, Seq) {
        let _ = provider;
        todo!()
    }
    /// Whether the plan, as far as it has come, has this provider up (clients are sent there).
    pub fn is_up_in_plan(&self, provider: ProviderId) -> bool {
        let _ = provider;
        todo!()
    }
    /// The last record that touched this provider (a start or end of a job with effects on it).
    pub fn last_event_of(&self, provider: ProviderId) -> Seq {
        let _ = provider;
        todo!()
    }
    /// Whether the run is held by failure or doubt with nothing running and nobody who could go on
    /// but a person: the process exits with 4.
    pub fn needs_person(&self) -> bool {
        todo!()
    }
    /// The number of the newest record.
    pub fn seq(&self) -> Seq {
        todo!()
    }
}
