//! Times, attempts, persons: a second fold of the journal, for reports.
//!
//! It hands each record to the core and asks what became of it, so that the two folds never differ. What the pieces show is by name and can be serialised as it is. Not known here:
//! what is legal, the journal's file, and how anything is shown.

use crate::event::{
    Back, Ending, Event, HoldId, Job, Outcome, Outputs, Person, ProviderId, QuestionId, Record,
    Request, Seq, StepId, Verdict, Way,
};
use crate::graph::Graph;
use crate::plan::{Kind, Phase};
use crate::run::{Goal, HoldCause, Impossible, Run, Status};
use jiff::Timestamp;
use serde::Serialize;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Done, or undone; of a check: the deed is done.
    Done,
    /// Of a check: the deed is not done.
    NotDone,
    /// It failed.
    Failed,
    /// Nobody knew.
    InDoubt,
    /// Ended because it was to be.
    Stopped,
    /// Never begun.
    Withdrawn,
}

/// One attempt at one way of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Do, undo or check.
    pub way: Way,
    /// From 1.
    pub attempt: u32,
    /// When it began.
    pub started: Timestamp,
    /// The record of its start.
    pub started_seq: Seq,
    /// When it ended. An attempt that the runner did not outlive ends when the next one opens.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub end: Option<End>,
    /// Why, when it did not end well.
    pub why: Option<String>,
}

/// What happened to one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepHistory {
    /// Its attempts, in order. A gate has none.
    pub attempts: Vec<Attempt>,
    /// When it was done last; none while it is not.
    pub done: Option<Timestamp>,
    /// When it was wholly undone last.
    pub undone: Option<Timestamp>,
}

impl StepHistory {
    /// From the first start to the last end; none when it never started.
    pub fn span(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        let first = self.attempts.first()?.started;
        Some((first, self.attempts.last()?.ended))
    }

    /// Whether its last deed ended badly and was not done since.
    pub fn has_failed(&self) -> bool {
        let last = |way| self.attempts.iter().rfind(|attempt| attempt.way == way);
        let bad = |attempt: Option<&Attempt>| {
            attempt.is_some_and(|attempt| matches!(attempt.end, Some(End::Failed | End::InDoubt)))
        };
        self.done.is_none() && (bad(last(Way::Do)) || bad(last(Way::Undo)))
    }
}

/// Something that a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The record.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Person,
    /// What, in one word: `approve`, `answer`, `rollback`, ...
    pub what: &'static str,
    /// The step that it is about, by name.
    pub step: Option<String>,
    /// The answer, the reach of a rollback, the hold released.
    pub choice: Option<String>,
    /// The person's own words: reason, note, evidence.
    pub words: String,
}

/// A time during which nothing started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldSpan {
    /// The record that caused it.
    pub id: HoldId,
    /// What held: `person`, `breach`, `question`.
    pub kind: &'static str,
    /// Who or what, and why.
    pub cause: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when; none while it holds.
    pub until: Option<Timestamp>,
}

/// A moment from which the run went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// The record that caused it.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who ordered it; none when a policy of the plan did.
    pub by: Option<String>,
    /// The step or provider whose failure caused it, or the person's reason.
    pub why: String,
    /// How many steps were to be undone from then on.
    pub steps: usize,
}

/// A change of what the guard held of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The record.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What it held from then on.
    pub verdict: Verdict,
}

/// A runner that took the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// From 1.
    pub epoch: u64,
    /// When.
    pub at: Timestamp,
    /// Its process id.
    pub pid: u32,
    /// Bytes of a torn tail that it cut off.
    pub cut: u64,
    /// How many attempts it found begun and not ended.
    pub in_doubt: usize,
}

/// Counts of steps, as reports show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepCounts {
    /// All of the graph.
    pub total: usize,
    /// Done now.
    pub done: usize,
    /// Begun once and wholly undone now.
    pub undone: usize,
    /// Whose last deed or undo ended badly; one that was undone afterwards counts in both.
    pub failed: usize,
}

/// Sums over the run's `database.verify` steps, as reports show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Rows at the old site.
    pub source: u64,
    /// Rows at the new site.
    pub target: u64,
    /// Rows that differ.
    pub differences: u64,
}

/// What happened, by step, provider, line and person.
#[derive(Clone, Debug)]
pub struct History {
    /// It notes nothing down: see [`History::none`].
    none: bool,
    steps: Vec<StepHistory>,
    seen: Vec<Vec<Seen>>,
    clear: Vec<Vec<(Timestamp, bool)>>,
    decisions: Vec<Decision>,
    holds: Vec<HoldSpan>,
    turns: Vec<Turn>,
    openings: Vec<Opening>,
    /// Steps known not to be wanted done, as of so many goals given.
    back: Vec<bool>,
    goals: u64,
    /// Spans of `holds` that are open.
    open_holds: usize,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    closed: Option<(Timestamp, Outcome)>,
}

impl History {
    /// Nothing has happened yet.
    pub fn new(graph: &Graph) -> Self {
        Self {
            none: false,
            steps: vec![StepHistory::default(); graph.len()],
            seen: vec![Vec::new(); graph.providers().len()],
            clear: vec![Vec::new(); graph.line_count()],
            decisions: Vec::new(),
            holds: Vec::new(),
            turns: Vec::new(),
            openings: Vec::new(),
            back: vec![false; graph.len()],
            goals: 0,
            open_holds: 0,
            first: None,
            last: None,
            closed: None,
        }
    }

    /// A history that stays empty, whatever it takes in: for a runner, who goes on from the state and
    /// shows nothing of the past, so that its memory is that of the steps and not of the records.
    pub fn none(graph: &Graph) -> Self {
        Self { none: true, ..Self::new(graph) }
    }

    /// Takes in one record, and lets `run` take it in. Both must have been given all before it.
    ///
    /// # Errors
    /// When the event cannot have happened here; nothing is changed then.
    pub fn apply(&mut self, record: &Record, run: &mut Run) -> Result<(), Impossible> {
        if self.none {
            return run.apply(record);
        }
        let about = about(record, run);
        run.apply(record)?;
        self.fold(record, about, run);
        Ok(())
    }

    fn fold(&mut self, record: &Record, about: Option<StepId>, run: &Run) {
        self.first.get_or_insert(record.at);
        self.last = Some(record.at);
        match &record.event {
            Event::Begun(_) | Event::Due { .. } => {}
            Event::Opened { epoch, pid, cut, .. } => {
                let in_doubt = self.cut_off(record.at, run);
                let (epoch, pid, cut) = (*epoch, *pid, *cut);
                self.openings.push(Opening { epoch, at: record.at, pid, cut, in_doubt });
            }
            Event::Started(job) => self.steps[job.step.index()].attempts.push(Attempt {
                way: job.way,
                attempt: job.attempt,
                started: record.at,
                started_seq: record.seq,
                ended: None,
                end: None,
                why: None,
            }),
            Event::Ended(job, ending) => self.ended(record, *job, ending),
            Event::Verdict { provider, verdict, .. } => {
                let (seq, at) = (record.seq, record.at);
                self.seen[provider.index()].push(Seen { seq, at, verdict: verdict.clone() });
            }
            Event::Revocations { line, clear, .. } => {
                self.clear[line.index()].push((record.at, *clear));
            }
            Event::Requested(by, request) => self.requested(record, by, request, about, run),
            Event::Closed(outcome) => self.closed = Some((record.at, *outcome)),
        }
        if let Some(step) = about {
            self.settle(record, step, run);
        }
        self.note_holds(record, run);
        self.note_turn(record, run);
    }

    /// A new runner took the run: what has no end was cut off, except what people do.
    fn cut_off(&mut self, at: Timestamp, run: &Run) -> usize {
        let mut count = 0;
        for (step, history) in self.steps.iter_mut().enumerate() {
            let Some(open) = history.attempts.last_mut().filter(|open| open.end.is_none()) else {
                continue;
            };
            let step = StepId(u32::try_from(step).expect("BUG: step ids are u32"));
            if !matches!(run.status(step), Status::Running(_)) {
                open.ended = Some(at);
                open.end = Some(End::InDoubt);
                open.why = Some("the runner ended before it did".to_owned());
                count += 1;
            }
        }
        count
    }

    fn ended(&mut self, record: &Record, job: Job, ending: &Ending) {
        let (end, why) = match ending {
            Ending::Done(_) => (End::Done, None),
            Ending::NotDone => (End::NotDone, None),
            Ending::Failed(failure) => (End::Failed, Some(failure.to_string())),
            Ending::Unknown(failure) => (End::InDoubt, Some(failure.to_string())),
            Ending::Stopped => (End::Stopped, None),
            Ending::Withdrawn => (End::Withdrawn, None),
        };
        let mut attempts = self.steps[job.step.index()].attempts.iter_mut();
        let same = |open: &&mut Attempt| open.way == job.way && open.attempt == job.attempt;
        if let Some(open) = attempts.rfind(same) {
            (open.ended, open.end, open.why) = (Some(record.at), Some(end), why);
        }
    }

    fn requested(
        &mut self,
        record: &Record,
        by: &Person,
        request: &Request,
        about: Option<StepId>,
        run: &Run,
    ) {
        let told = Told::of(request);
        let choice = match request {
            Request::Rollback { back, .. } => Some(match back {
                Back::Run { before_too: false } => "the run".to_owned(),
                Back::Run { before_too: true } => "the run and all that was before it".to_owned(),
                Back::Line(line) => format!("line {}", run.graph().line_name(*line)),
                Back::To(checkpoint) => format!("to {checkpoint}"),
            }),
            _ => told.choice,
        };
        self.decisions.push(Decision {
            seq: record.seq,
            at: record.at,
            by: by.clone(),
            what: told.what,
            step: about.map(|step| run.graph().name(step)),
            choice,
            words: told.words.to_owned(),
        });
    }

    /// What the core makes of the step that the record was about: manual steps, gates and settled
    /// doubts end without an `Ended`.
    fn settle(&mut self, record: &Record, step: StepId, run: &Run) {
        self.back[step.index()] &= run.goal(step) != Goal::Done;
        let history = &mut self.steps[step.index()];
        let status = run.status(step);
        if let Some(open) = history.attempts.last_mut().filter(|open| open.end.is_none()) {
            let end = match (status, open.way) {
                (Status::Running(_), _) => None,
                (Status::Done, Way::Do) | (Status::Clean, Way::Undo) => Some(End::Done),
                _ => Some(End::Failed),
            };
            if end.is_some() {
                (open.ended, open.end) = (Some(record.at), end);
            }
        }
        match status {
            Status::Done => history.done = history.done.or(Some(record.at)),
            Status::Clean => {
                if history.done.is_some() || !history.attempts.is_empty() {
                    history.undone = Some(record.at);
                }
                history.done = None;
            }
            _ => history.done = None,
        }
    }

    fn note_holds(&mut self, record: &Record, run: &Run) {
        let holds = run.holds();
        if holds.is_empty() && self.open_holds == 0 {
            return;
        }
        for span in self.holds.iter_mut().filter(|span| span.until.is_none()) {
            if !holds.iter().any(|hold| hold.id == span.id) {
                span.until = Some(record.at);
            }
        }
        for hold in holds {
            if self.holds.iter().any(|span| span.id == hold.id && span.until.is_none()) {
                continue;
            }
            let (kind, cause) = match &hold.cause {
                HoldCause::Person { who, reason } => ("person", format!("{who}: {reason}")),
                HoldCause::Breach(provider) => {
                    ("breach", run.graph().providers()[provider.index()].name.clone())
                }
                HoldCause::Question(question) => ("question", self.question(*question, run)),
            };
            let id = hold.id;
            self.holds.push(HoldSpan { id, kind, cause, from: record.at, until: None });
        }
        self.open_holds = holds.len();
    }

    fn question(&self, question: QuestionId, run: &Run) -> String {
        let asked = run.questions().into_iter().find(|asked| asked.id == question);
        asked.map_or_else(|| format!("question {question}"), |asked| asked.text)
    }

    /// A policy leaves no record of its own: that the run went back is seen by the goals of its
    /// steps. Counted only after records that can do that.
    fn note_turn(&mut self, record: &Record, run: &Run) {
        if run.goals_given() == self.goals {
            return;
        }
        let graph = run.graph();
        let (by, why) = match &record.event {
            Event::Requested(person, request) => {
                (Some(person.login.clone()), Told::of(request).words.to_owned())
            }
            Event::Ended(job, Ending::Failed(failure) | Ending::Unknown(failure)) => {
                (None, format!("{}: {failure}", graph.name(job.step)))
            }
            Event::Ended(job, Ending::NotDone) => (None, graph.name(job.step)),
            Event::Verdict { provider, verdict: Verdict::Down(_) | Verdict::Lying(_), .. } => {
                (None, graph.providers()[provider.index()].name.clone())
            }
            _ => return,
        };
        self.goals = run.goals_given();
        let mut turned = false;
        let mut steps = 0;
        for step in graph.steps() {
            let back = run.goal(step) != Goal::Done;
            steps += usize::from(back);
            turned |= back && !self.back[step.index()];
            self.back[step.index()] = back;
        }
        if turned {
            let (seq, at) = (record.seq, record.at);
            self.turns.push(Turn { seq, at, by, why, steps });
        }
    }

    /// What happened to a step.
    pub fn step(&self, step: StepId) -> &StepHistory {
        &self.steps[step.index()]
    }

    /// What happened to each step, by id.
    pub fn steps(&self) -> &[StepHistory] {
        &self.steps
    }

    /// What the guard held of a provider, change by change.
    pub fn seen(&self, provider: ProviderId) -> &[Seen] {
        &self.seen[provider.index()]
    }

    /// When the revocations of a line (by place in the plan) became confirmed, and unconfirmed.
    pub fn revocations(&self, line: usize) -> &[(Timestamp, bool)] {
        self.clear.get(line).map_or(&[], Vec::as_slice)
    }

    /// What people did, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// When nothing started, and why.
    pub fn holds(&self) -> &[HoldSpan] {
        &self.holds
    }

    /// When the run went back, and why.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The runners that had the run.
    pub fn openings(&self) -> &[Opening] {
        &self.openings
    }

    /// When the run began.
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// When its newest record was written.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// When and how it was closed.
    pub fn closed(&self) -> Option<(Timestamp, Outcome)> {
        self.closed
    }

    /// From the first start of a step of the window to the last end of one, in whole seconds; to
    /// the newest record while one runs.
    pub fn window_used_s(&self, graph: &Graph) -> i64 {
        let of_window = graph.steps().filter(|step| graph.phase(*step) == Phase::Window);
        let attempts = of_window.flat_map(|step| &self.steps[step.index()].attempts);
        let mut span: Option<(Timestamp, Timestamp)> = None;
        for attempt in attempts {
            let end = attempt.ended.or(self.last).unwrap_or(attempt.started);
            span = Some(span.map_or((attempt.started, end), |(first, last)| {
                (first.min(attempt.started), last.max(end))
            }));
        }
        span.map_or(0, |(first, last)| last.duration_since(first).as_secs())
    }

    /// Counts of steps.
    pub fn step_counts(&self, run: &Run) -> StepCounts {
        let mut counts = StepCounts { total: self.steps.len(), ..StepCounts::default() };
        for step in run.graph().steps() {
            let history = self.step(step);
            let status = run.status(step);
            counts.done += usize::from(status == Status::Done);
            counts.undone += usize::from(status == Status::Clean && history.undone.is_some());
            counts.failed += usize::from(history.has_failed());
        }
        counts
    }

    /// Sums over the done verify steps' outputs (`rows_source`, `rows_target`, `differences`).
    pub fn row_counts(&self, run: &Run) -> RowCounts {
        let graph = run.graph();
        let verifies = graph.steps().filter(|step| graph.kind(*step) == Kind::Verify);
        let mut rows = RowCounts::default();
        for outputs in verifies.filter_map(|step| run.outputs(step)) {
            rows.source += number(outputs, "rows_source");
            rows.target += number(outputs, "rows_target");
            rows.differences += number(outputs, "differences");
        }
        rows
    }
}

/// The step that a record is about, besides those that it moves only by policy. Asked before the
/// core takes the record in: an answered question is gone afterwards.
fn about(record: &Record, run: &Run) -> Option<StepId> {
    match &record.event {
        Event::Ended(job, _) => Some(job.step),
        Event::Requested(_, Request::Answer { question, .. }) => {
            run.questions().into_iter().find(|asked| asked.id == *question)?.step
        }
        Event::Requested(_, request) => Told::of(request).step,
        _ => None,
    }
}

fn number(outputs: &Outputs, name: &str) -> u64 {
    outputs.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A request in the words of a report.
struct Told<'a> {
    what: &'static str,
    step: Option<StepId>,
    choice: Option<String>,
    words: &'a str,
}

impl<'a> Told<'a> {
    fn of(request: &'a Request) -> Self {
        let (what, step, words) = match request {
            Request::Hold { reason } => ("hold", None, reason.as_str()),
            Request::Release { .. } => ("release", None, ""),
            Request::Approve { step, note } => ("approve", Some(*step), note.as_str()),
            Request::Disapprove { step, reason } => ("disapprove", Some(*step), reason.as_str()),
            Request::Answer { note, .. } => ("answer", None, note.as_str()),
            Request::Claim { step } => ("claim", Some(*step), ""),
            Request::Finish { step, evidence } => ("done", Some(*step), evidence.as_str()),
            Request::Fail { step, reason } => ("fail", Some(*step), reason.as_str()),
            Request::Retry { step } => ("retry", Some(*step), ""),
            Request::Skip { step, reason } => ("skip", Some(*step), reason.as_str()),
            Request::Abort { reason } => ("abort", None, reason.as_str()),
            Request::Rollback { reason, .. } => ("rollback", None, reason.as_str()),
            Request::Interrupt => ("interrupt", None, ""),
        };
        let choice = match request {
            Request::Release { hold: Some(hold) } => Some(format!("hold {hold}")),
            Request::Answer { answer, .. } => Some(answer.word().to_owned()),
            _ => None,
        };
        Self { what, step, choice, words }
    }
}
