//! Opens a run and puts the loop together: journal, world, guard, lane, signals.
//!
//! Not known here: what the loop does, how a plan is read, who listens at the door.

use super::clock::Clock;
use super::fault::{self, BadFault, Faults, FaultyWorld};
use super::guards::GuardLink;
use super::inbox::{Answered, Door, Listeners, ProgressBook};
use super::lane::LaneLink;
use super::world::{RealWorld, World};
use super::{Bug, Exit, Log, Loop, Manner, Parts, RunnerEnd, signals};
use crate::estate::Estate;
use crate::event::{Event, Header, Person, Record, Request, Seq};
use crate::graph::Graph;
use crate::guard::GuardError;
use crate::journal::replay::Cut;
use crate::journal::rundir::RunDir;
use crate::journal::store::is_full;
use crate::journal::{Journal, JournalError};
use crate::run::{Refusal, Run};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What a run is begun with.
#[derive(Debug)]
pub struct StartOptions {
    /// The compiled plan.
    pub graph: Arc<Graph>,
    /// The estate that it is bound to; none for a plan that needs none.
    pub estate: Option<Arc<Estate>>,
    /// The first record. Its options say whether this is a rehearsal, and which faults it has.
    pub header: Header,
    /// Where the run is kept.
    pub run_dir: RunDir,
    /// Stay when only a person can go on (a terminal, `--wait`), instead of exit 4.
    pub wait: bool,
    /// Leave when only a moment is waited for (`--exit-between`).
    pub exit_between: bool,
    /// Listen to SIGINT, SIGTERM and SIGHUP.
    pub signals: bool,
}

/// What a run is taken up with.
#[derive(Debug)]
pub struct ResumeOptions {
    /// Where the run is kept.
    pub run_dir: RunDir,
    /// Who takes it up.
    pub by: Person,
    /// As in [`StartOptions`].
    pub wait: bool,
    /// As in [`StartOptions`].
    pub exit_between: bool,
    /// As in [`StartOptions`].
    pub signals: bool,
}

/// Why no runner came to be. Nothing was done.
#[derive(Debug)]
pub enum StartError {
    /// The run directory: another runner has it, it is damaged, cannot be written, ...
    Journal(JournalError),
    /// Faults that cannot be had.
    Faults(Vec<BadFault>),
    /// Certificates of the estate that the guard cannot use.
    Guard(GuardError),
    /// The estate allows no such run.
    Refused(String),
    /// The journal's file failed.
    Lost(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(out),
            Self::Faults(bad) => {
                for (place, fault) in bad.iter().enumerate() {
                    let separator = if place == 0 { "" } else { "\n" };
                    write!(out, "{separator}{fault}")?;
                }
                Ok(())
            }
            Self::Guard(error) => error.fmt(out),
            Self::Refused(why) => out.write_str(why),
            Self::Lost(why) => write!(out, "the journal is lost: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<GuardError> for StartError {
    fn from(error: GuardError) -> Self {
        Self::Guard(error)
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// What `resume` finds.
#[derive(Debug)]
pub enum Resumption {
    /// The run goes on.
    Goes(Box<Runner>),
    /// It is closed: nothing is done, and the exit code is that of its end.
    Finished(Box<RunnerEnd>, Box<Header>),
}

/// A run with its lock taken and its journal open, about to go.
pub struct Runner {
    looping: Loop<Journal>,
    first: Vec<Record>,
    door: Door,
    run: Run,
    estate: Option<Arc<Estate>>,
    header: Header,
    cut: Option<Cut>,
    faults: Faults,
    /// Begun by this process.
    is_new: bool,
    signals: bool,
}

impl fmt::Debug for Runner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runner").field("door", &self.door).finish_non_exhaustive()
    }
}

impl Log for Journal {
    fn append(&mut self, at: Timestamp, event: Event) -> Record {
        Self::append(self, at, event)
    }
    fn flush(&mut self) {
        Self::flush(self);
    }
    fn durable(&self) -> Seq {
        Self::durable(self)
    }
    async fn synced(&mut self) -> Result<Seq, String> {
        Self::synced(self).await.map_err(|lost| lost.to_string())
    }
}

/// Begins a run. To be called on a tokio runtime.
///
/// # Errors
/// Nothing was done then.
pub fn start(options: StartOptions) -> Result<Runner, StartError> {
    let StartOptions { graph, estate, header, run_dir, wait, exit_between, signals } = options;
    let faults = checked(&header, &graph, estate.as_deref())?;
    let clock = Clock::system();
    let (journal, first) = Journal::create(&run_dir, &graph, header.clone(), clock.now())?;
    let mut run = Run::new(Arc::clone(&graph));
    for record in &first {
        run.apply(record).map_err(|impossible| JournalError::Impossible { why: impossible.0 })?;
    }
    let by = header.by.clone();
    let manner = Manner { wait, exit_between, by: Some(by), ..Manner::default() };
    let taken = Taken { run_dir, header, estate, run, journal, first, cut: None };
    Runner::assemble(taken, manner, faults, clock, signals)
}

/// Takes a run up again, from its journal alone. To be called on a tokio runtime.
///
/// # Errors
/// Nothing was done then.
pub fn resume(options: ResumeOptions) -> Result<Resumption, StartError> {
    let ResumeOptions { run_dir, by, wait, exit_between, signals } = options;
    let clock = Clock::system();
    let resumed = Journal::resume(&run_dir, &by.login, clock.now())?;
    let replayed = resumed.replayed;
    let (Some(journal), Some(opened)) = (resumed.journal, resumed.opened) else {
        let outcome = replayed.run.outcome().unwrap_or(crate::event::Outcome::Stuck);
        let end = RunnerEnd { exit: Exit::Closed(outcome), run: replayed.run };
        return Ok(Resumption::Finished(Box::new(end), Box::new(replayed.header)));
    };
    let faults = checked(&replayed.header, &replayed.graph, replayed.estate.as_deref())?;
    let manner = Manner { wait, exit_between, by: Some(by), ..Manner::default() };
    let taken = Taken {
        run_dir,
        header: replayed.header,
        estate: replayed.estate,
        run: replayed.run,
        journal,
        first: vec![opened],
        cut: resumed.cut,
    };
    let runner = Runner::assemble(taken, manner, faults, clock, signals)?;
    Ok(Resumption::Goes(Box::new(runner)))
}

/// Records what a person asks of a run that no runner has now: under the run's lock, judged by the
/// core as ever, durable before it is answered. Whoever resumes the run acts on it. On a full disk the
/// journal's ballast is freed for it; what was written is read anew then, from the disk.
///
/// # Errors
/// A runner has the run after all, or its journal cannot be used.
pub async fn record(
    run_dir: &RunDir,
    who: &Person,
    requests: Vec<Request>,
) -> Result<Vec<Answered>, StartError> {
    let ballast = run_dir.ballast();
    let was_there = ballast.exists();
    match try_record(run_dir, who, requests.clone()).await {
        Err(StartError::Lost(_)) if was_there && !ballast.exists() => {}
        Err(StartError::Journal(JournalError::Io { source, .. }))
            if was_there && is_full(&source) =>
        {
            // Nothing can be done about a failure: the second try tells.
            let _ = std::fs::remove_file(&ballast);
        }
        ended => return ended,
    }
    try_record(run_dir, who, requests).await
}

async fn try_record(
    run_dir: &RunDir,
    who: &Person,
    requests: Vec<Request>,
) -> Result<Vec<Answered>, StartError> {
    let clock = Clock::system();
    let resumed = Journal::reopen_for_request(run_dir, &who.login, clock.now())?;
    let mut run = resumed.replayed.run;
    let Some(mut journal) = resumed.journal else {
        let refused = || Answered::Refused(Refusal { why: "the run has ended".into(), hint: None });
        return Ok(requests.iter().map(|_| refused()).collect());
    };
    let mut answers = Vec::new();
    for request in requests {
        answers.push(match run.admit(who, request) {
            Ok(event) => {
                let at = clock.now();
                let record = Record { seq: run.seq() + 1, at, event };
                run.apply(&record)
                    .map_err(|impossible| JournalError::Impossible { why: impossible.0 })?;
                journal.append(at, record.event);
                Answered::Recorded(record.seq)
            }
            Err(refusal) => Answered::Refused(refusal),
        });
    }
    while journal.durable() < journal.seq() {
        journal.synced().await.map_err(|lost| StartError::Lost(lost.to_string()))?;
    }
    Ok(answers)
}

/// What a production estate does not allow, and the faults that are asked for.
fn checked(header: &Header, graph: &Graph, estate: Option<&Estate>) -> Result<Faults, StartError> {
    if let Some(estate) = estate.filter(|estate| estate.production && header.options.rehearsal) {
        let why =
            format!("estate `{}` is a production estate: it is not rehearsed on", estate.name);
        return Err(StartError::Refused(why));
    }
    Faults::read(&header.options.faults, graph, estate).map_err(StartError::Faults)
}

/// A run with its lock taken.
struct Taken {
    run_dir: RunDir,
    header: Header,
    estate: Option<Arc<Estate>>,
    run: Run,
    journal: Journal,
    first: Vec<Record>,
    cut: Option<Cut>,
}

impl Runner {
    fn assemble(
        taken: Taken,
        mut manner: Manner,
        faults: Faults,
        clock: Clock,
        signals: bool,
    ) -> Result<Self, StartError> {
        let Taken { run_dir, header, estate, run, journal, first, cut } = taken;
        if !journal.has_ballast() {
            let why = format!(
                "the disk of `{}` is full: the journal's reserve of 1 MiB does not fit on it, so nothing is started; make room, then resume (`hold`, `abort` and `revoke` are still taken)",
                run_dir.path().display()
            );
            return Err(StartError::Refused(why));
        }
        let graph = Arc::clone(run.graph());
        let inbox = mpsc::unbounded_channel();
        let known = journal.durable();
        let (durable, durable_now) = watch::channel(known);
        let (listeners, progress) = (Listeners::default(), ProgressBook::default());
        manner.rehearsal = header.options.rehearsal;
        // Not by the epoch: a runner that was killed before its `opened` was durable had none.
        let is_new = first.first().is_some_and(|record| record.seq == 1);
        // A run that is taken up again was killed for what is durable already.
        let before = if is_new { 0 } else { known };
        manner.kill_at = faults.kill_at().filter(|record| *record > before);
        manner.guard_hangs = faults.guard_hangs() && is_new;
        let guard = match &estate {
            Some(estate) => GuardLink::start(&graph, estate, inbox.0.clone())?,
            None => GuardLink::none(),
        };
        let lane = match &estate {
            Some(estate) => LaneLink::start(&run, estate, &run_dir, known, inbox.0.clone())?,
            None => LaneLink::default(),
        };
        let world = RealWorld {
            estate: estate.clone().unwrap_or_default(),
            run_name: header.run.clone(),
            run_dir: run_dir.clone(),
            plan_dir: directory_of(&header.plan_path),
            facts: Arc::new(graph.plan().facts.clone()),
            window_opens: opens(&graph, &header),
            guard: guard.clone(),
            progress: progress.clone(),
            durable: durable_now.clone(),
            stops: Arc::default(),
        };
        let mut world: Arc<dyn World> = Arc::new(world);
        if faults.any_step() {
            world = Arc::new(FaultyWorld::around(world, &faults));
        }
        let door = Door {
            inbox: inbox.0.clone(),
            listeners: listeners.clone(),
            guard: guard.clone(),
            graph,
            people: Arc::new(estate.as_ref().map_or_else(BTreeMap::new, |e| e.people.clone())),
            run_dir,
            progress: progress.clone(),
            durable: durable_now,
        };
        let parts = Parts {
            run: run.clone(),
            log: journal,
            world,
            guard,
            lane,
            clock,
            manner,
            inbox,
            listeners,
            progress,
            durable,
        };
        let looping = Loop::new(parts);
        Ok(Self { looping, first, door, run, estate, header, cut, faults, is_new, signals })
    }

    /// The way in for the operators' socket, boards and drivers.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Has its deeds done in another world than the real one: by a program that uses this library,
    /// and where only the runner itself is to be measured. What the run records is as durable.
    #[must_use]
    pub fn in_world(mut self, world: Arc<dyn World>) -> Self {
        self.looping.world = world;
        self
    }

    /// The run as it stands before the first turn; boards fold the news into a copy of it.
    pub fn run_so_far(&self) -> &Run {
        &self.run
    }

    /// The run's estate.
    pub fn estate(&self) -> Option<&Arc<Estate>> {
        self.estate.as_ref()
    }

    /// The first record.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A torn tail of the journal that was cut off, to be said.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// The faults that the lab is to be given, as written.
    pub fn lab_faults(&self) -> &[String] {
        self.faults.of_lab()
    }

    /// Gives the lab the faults that it is to have. A run that is taken up again has given them.
    ///
    /// # Errors
    /// Faults that the lab does not know.
    pub async fn arm_lab(&self) -> Result<(), StartError> {
        let lab = self.estate.as_ref().and_then(|estate| estate.lab.as_ref());
        let (Some(lab), true) = (lab, self.is_new) else { return Ok(()) };
        let bad = fault::give_to_lab(&lab.control, self.faults.of_lab()).await;
        if bad.is_empty() { Ok(()) } else { Err(StartError::Faults(bad)) }
    }

    /// Runs until the run or this process has an end.
    ///
    /// # Errors
    /// A bug of the program; nothing impossible was recorded, and the run can be resumed.
    pub async fn run(self) -> Result<RunnerEnd, Bug> {
        if self.signals
            && let Err(error) = signals::listen(self.door.inbox.clone())
        {
            tracing::warn!(%error, "signals are not caught: Ctrl-C ends the runner at once");
        }
        self.looping.run(self.first).await
    }
}

fn directory_of(path: &str) -> PathBuf {
    Path::new(path).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// When the window opens in this run, shifted as the run is.
fn opens(graph: &Graph, header: &Header) -> Option<Timestamp> {
    let window = graph.plan().window.as_ref()?;
    window.opens.checked_add(SignedDuration::from_secs(header.options.shift_s)).ok()
}
