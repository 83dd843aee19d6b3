//! The core: a run of a graph, as a plain value.
//!
//! [`Run::apply`] takes what has happened, [`Run::next`] says what is to be done now,
//! [`Run::admit`] judges what people ask. Nothing here reads a clock, a file or a socket, so a run
//! is the fold of its journal and nothing else; to resume is to apply the journal again.

mod admit;
mod anew;
mod facts;
mod floor;
mod fold;
mod questions;
mod ready;
mod rollback;
mod state;
mod waits;

pub(crate) use facts::{action, orders};

use crate::event::{
    Answer, Event, HoldId, Job, LineId, Outcome, Outputs, Person, ProviderId, QuestionId, Record,
    Request, Seq, StepId, Timer, Verdict, Way,
};
use crate::failure::Failure;
use crate::graph::{Effect, Graph, ServiceId};
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
    facts: Arc<facts::Facts>,
    state: state::State,
}

/// Runs of one graph are equal when they would go on in the same way.
impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.graph, &other.graph) && self.state == other.state
    }
}

impl Run {
    /// A run to which nothing has happened yet.
    pub fn new(graph: Arc<Graph>) -> Self {
        let facts = Arc::new(facts::Facts::new(&graph));
        let state = Self::blank(&graph, &facts);
        Self { graph, facts, state }
    }

    /// Takes in one record. Changes nothing when it fails.
    ///
    /// # Errors
    /// When the event cannot have happened here.
    pub fn apply(&mut self, record: &Record) -> Result<(), Impossible> {
        self.judge(record).map_err(Impossible)?;
        self.fold(record);
        Ok(())
    }

    /// Everything to be done now, in order of priority. Depends on the state alone: asked twice it
    /// answers twice the same, so a `Stop` is there until its job has ended and a `Wake` until it is
    /// due. Starts that share a limit or a floor are already chosen so that all of them together are
    /// allowed. Of each sort of timer the earliest is named.
    pub fn next(&self, out: &mut Vec<Command>) {
        self.commands(out);
    }

    /// Judges a request: the event to journal, or the refusal.
    ///
    /// # Errors
    /// Why it cannot be had now.
    pub fn admit(&self, who: &Person, what: Request) -> Result<Event, Refusal> {
        self.judge_request(who, &what)?;
        Ok(Event::Requested(who.clone(), what))
    }

    /// Whether a started job may still begin, asked when its start is durable. If not, it ends
    /// `Withdrawn`.
    pub fn may_begin(&self, job: Job) -> bool {
        let step = self.step(job.step);
        if step.status != Status::Running(job) || step.stop || self.state.aborting {
            return false;
        }
        let back = step.goal != Goal::Done;
        let claim = step.before == Status::Failed(Way::Undo);
        let right = match job.way {
            Way::Do => !back,
            Way::Undo => back,
            Way::Check => back == claim,
        };
        right
            && !self.stopped_by_hold(job.step, job.way)
            && self.floor_still_allows(job.step)
            && (job.way != Way::Do
                || !self.fact(job.step).confirmed
                || self.lane_is_clear(job.step))
    }

    /// The graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Where a step stands.
    pub fn status(&self, step: StepId) -> Status {
        self.step(step).status
    }

    /// What the run wants of it.
    pub fn goal(&self, step: StepId) -> Goal {
        self.step(step).goal
    }

    /// How often a step was given another goal so far: who has looked at all of them need not look
    /// again before this has grown.
    pub fn goals_given(&self) -> u64 {
        self.state.goals
    }

    /// Whether the step takes no part any more.
    pub fn is_out(&self, step: StepId) -> bool {
        self.step(step).out != state::Out::No
    }

    /// How many attempts at this way of a step have started so far.
    pub fn attempts(&self, step: StepId, way: Way) -> u32 {
        self.step(step).attempts[way as usize]
    }

    /// What its last done attempt's `outputs:` caught.
    pub fn outputs(&self, step: StepId) -> Option<&Outputs> {
        self.state.outputs.get(&step)
    }

    /// Why its last attempt did not end well, until it is done or undone.
    pub fn failure(&self, step: StepId) -> Option<&Failure> {
        self.state.failures.get(&step)
    }

    /// Attempts under way; manual ones, which only people end, included.
    pub fn running(&self) -> impl Iterator<Item = Job> {
        self.state.running.iter().filter_map(|step| match self.step(*step).status {
            Status::Running(job) => Some(job),
            _ => None,
        })
    }

    /// Whether people carry this job out: no executor sees it, and no crash puts it in doubt.
    pub fn is_manual(&self, job: Job) -> bool {
        self.manual(job)
    }

    /// People who have claimed a manual step under way, in order.
    pub fn claimed_by(&self, step: StepId) -> &[String] {
        self.state.hands.get(&step).map_or(&[], |hands| &hands.claims)
    }

    /// People who have approved a gate, in order.
    pub fn approved_by(&self, gate: StepId) -> &[Person] {
        self.state.approvals.get(&gate).map_or(&[], Vec::as_slice)
    }

    /// Gates that can be approved now.
    pub fn open_for_approval(&self) -> impl Iterator<Item = StepId> {
        self.state.gates.iter().copied()
    }

    /// Why nothing starts; empty when it runs.
    pub fn holds(&self) -> &[Hold] {
        &self.state.holds
    }

    /// What waits for a person, gates and manual steps aside.
    pub fn questions(&self) -> Vec<Question> {
        self.list_questions()
    }

    /// The end, once it has one.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.outcome
    }

    /// Whether the whole run is being, or was, rolled back.
    pub fn is_rolling_back(&self) -> bool {
        self.whole_rollback().is_some()
    }

    /// Lines that are out by a rollback of their own.
    pub fn lines_out(&self) -> impl Iterator<Item = LineId> {
        self.lines_where(|steps| steps.iter().any(|it| self.step(*it).out == state::Out::Line))
    }

    /// Lines that are moved: none of their steps is out, and all are done.
    pub fn lines_moved(&self) -> impl Iterator<Item = LineId> {
        self.lines_where(|steps| {
            !steps.is_empty()
                && steps.iter().all(|it| {
                    self.step(*it).out == state::Out::No && self.step(*it).status == Status::Done
                })
        })
    }

    fn lines_where(&self, is: impl Fn(&[StepId]) -> bool) -> impl Iterator<Item = LineId> {
        (0u32..)
            .zip(&self.facts.lines)
            .filter(move |(_, steps)| is(steps))
            .map(|(at, _)| LineId(at))
    }

    /// Services that were breached at any time, in order of their first breach.
    pub fn breached(&self) -> &[ServiceId] {
        &self.state.breached
    }

    /// The last verdict on a provider and the record it is as of.
    pub fn verdict(&self, provider: ProviderId) -> (&Verdict, Seq) {
        let it = &self.state.providers[provider.index()];
        (&it.verdict, it.as_of)
    }

    /// Whether the plan, as far as it has come, has this provider up (clients are sent there).
    pub fn is_up_in_plan(&self, provider: ProviderId) -> bool {
        self.up(provider)
    }

    /// Whether clients are sent there as soon as nobody disturbs it: what `loses` and `gains` have
    /// left, `disturbs` aside.
    pub fn is_sent_to(&self, provider: ProviderId) -> bool {
        self.state.providers[provider.index()].net > 0
    }

    /// The providers that a step touches and that clients are sent to when this way of it has ended
    /// well.
    pub fn given_back(&self, step: StepId, way: Way) -> Vec<ProviderId> {
        let is_up = |provider: ProviderId, effect: Effect| match (effect, way) {
            (Effect::Gains, Way::Do | Way::Check) | (Effect::Loses, Way::Undo) => true,
            (Effect::Loses, _) | (Effect::Gains, Way::Undo) => false,
            // Down only until the job has ended.
            (Effect::Disturbs, _) => self.is_sent_to(provider),
        };
        let effects = self.graph.effects(step).iter();
        effects.filter(|(it, effect)| is_up(*it, *effect)).map(|(it, _)| *it).collect()
    }

    /// The last record that touched this provider (a start or end of a job with effects on it).
    pub fn last_event_of(&self, provider: ProviderId) -> Seq {
        self.state.providers[provider.index()].last_event
    }

    /// Whether all accepted revocations of the line are confirmed, as far as the run has heard.
    pub fn revocations_clear(&self, line: LineId) -> bool {
        self.state.clear[line.index()]
    }

    /// Whether the run is held by failure or doubt with nothing running and nobody who could go on
    /// but a person: the process exits with 4. A gate, a manual step and a person's hold wait.
    pub fn needs_person(&self) -> bool {
        let state = &self.state;
        let persons = |hold: &Hold| matches!(hold.cause, HoldCause::Person { .. });
        if !state.begun
            || state.outcome.is_some()
            || state.aborting
            || !state.running.is_empty()
            || state.holds.iter().any(persons)
            || (state.holds.is_empty() && state.questions.is_empty())
        {
            return false;
        }
        let mut commands = Vec::new();
        self.commands(&mut commands);
        let moves = commands.iter().any(|command| match command {
            Command::Wake(Timer::Retry(step, way), _) => !self.stopped_by_hold(*step, *way),
            Command::Wake(Timer::Closes, _) => false,
            Command::Wake(..) => state.holds.is_empty(),
            _ => true,
        });
        let approvable = state.holds.is_empty() && !state.gates.is_empty();
        !moves && !approvable && !self.waits_for_verdict()
    }

    /// The number of the newest record.
    pub fn seq(&self) -> Seq {
        self.state.seq
    }
}
