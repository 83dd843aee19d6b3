//! The runner: the only loop of the program. It carries letters to the core, the core's commands to
//! the world, and never the second before the record that announces it is durable.
//!
//! The loop **applies at once and acts when durable**: a record changes the run in the turn in
//! which it is appended, what follows from it waits in `pending` until the journal's thread has
//! synced it. So an end and the starts that it allows share one sync, and nothing is ordered twice
//! meanwhile. A journal that is lost ends all deeds: no start, no stop, no reply; exit 5.
//!
//! Not known here: whether an event is legal (`run`), how anything is done (`world`, `executor`), how
//! a record is written (`journal`), who listens at the socket (`operator`).

pub mod alone;
pub mod clock;
mod deed;
pub mod fault;
mod fill;
mod guards;
mod inbox;
mod lane;
mod letters;
mod pending;
pub mod preflight;
pub mod rehearsal;
mod signals;
pub mod sim;
mod start;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watched;
#[cfg(test)]
mod whole;
mod world;

pub use inbox::{Answered, Door, News, ProgressBook, Voice};
pub use start::{
    ResumeOptions, Resumption, Runner, StartError, StartOptions, record, resume, start,
};
pub use world::World;

use crate::event::{Ending, Event, Job, Outcome, Person, Record, Request, Seq, Timer, Way};
use crate::lane::file::Held;
use crate::run::{Command, Impossible, Run, Status};
use clock::{Clock, JumpWatch};
use guards::GuardLink;
use inbox::{Letter, Listeners};
use jiff::Timestamp;
use lane::LaneLink;
use pending::Pending;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Letters taken from the inbox before what became durable meanwhile is let go.
const LETTERS_A_TURN: usize = 512;

/// Between two looks at a lane that somebody writes to.
const A_MOMENT: Duration = Duration::from_millis(10);

/// The reason of a hold that a signal caused; `resume` releases it.
pub const INTERRUPTED: &str = "interrupted";

/// The journal's side of the loop; a seam for tests that need a disk that fails.
trait Log: Send {
    /// Takes a record in. Never waits.
    fn append(&mut self, at: Timestamp, event: Event) -> Record;
    /// The turn is over: what it appended is made durable, together. Never waits.
    fn flush(&mut self) {}
    /// The newest durable record.
    fn durable(&self) -> Seq;
    /// Waits until more is durable. Cancel-safe.
    fn synced(&mut self) -> impl Future<Output = Result<Seq, String>> + Send;
}

/// How a runner's process ends. Not how the run ends: a held run has no end yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The run is closed.
    Closed(Outcome),
    /// Held by failure, doubt or breach; only a person can go on. Exit 4.
    NeedsPerson,
    /// Can be resumed. Exit 5.
    Interrupted {
        /// Why the runner left.
        why: String,
        /// When to resume, when it only waits for a moment (`--exit-between`).
        resume_at: Option<Timestamp>,
    },
    /// The journal's file failed: what was done last may not be recorded. Exit 5.
    JournalLost(String),
}

/// What a runner leaves.
#[derive(Clone, Debug)]
pub struct RunnerEnd {
    /// Why the process ends.
    pub exit: Exit,
    /// The run as it stands.
    pub run: Run,
}

impl RunnerEnd {
    /// Whether a protected service was breached at any time of the run (exit 6).
    pub fn breached(&self) -> bool {
        !self.run.breached().is_empty()
    }

    /// Whether some lines were rolled back by themselves while the rest was completed.
    pub fn partly(&self) -> bool {
        self.exit == Exit::Closed(Outcome::Completed) && self.run.lines_out().next().is_some()
    }
}

/// The runner broke its own rules: an event of its own that the core calls impossible. Nothing of
/// it was recorded; the run can be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bug(pub String);

impl fmt::Display for Bug {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BUG: the runner ordered what cannot be: {}", self.0)
    }
}

impl std::error::Error for Bug {}

/// What waits for its record.
enum Due {
    News(Arc<Record>),
    Begin(Job),
    Stop(Job),
    Reply(oneshot::Sender<Answered>, Answered),
    /// The emergency lane is held still until then.
    Free(Option<Arc<Held>>),
}

/// How the loop behaves beside the run's own rules.
#[derive(Clone, Debug, Default)]
struct Manner {
    /// Stay when only a person can go on.
    wait: bool,
    /// Leave when only a moment is waited for.
    exit_between: bool,
    /// Jump over waits and backoffs.
    rehearsal: bool,
    /// Kill the process when this record is durable.
    kill_at: Option<Seq>,
    /// The guard hangs when the first step has begun.
    guard_hangs: bool,
    /// Who is recorded for what signals ask.
    by: Option<Person>,
}

/// What the loop is made of.
struct Parts<L> {
    run: Run,
    log: L,
    world: Arc<dyn World>,
    guard: GuardLink,
    lane: LaneLink,
    clock: Clock,
    manner: Manner,
    inbox: (mpsc::UnboundedSender<Letter>, mpsc::UnboundedReceiver<Letter>),
    listeners: Listeners,
    progress: ProgressBook,
    durable: watch::Sender<Seq>,
}

/// The loop.
struct Loop<L> {
    run: Run,
    log: L,
    world: Arc<dyn World>,
    guard: GuardLink,
    lane: LaneLink,
    clock: Clock,
    jumps: JumpWatch,
    manner: Manner,
    to_inbox: mpsc::UnboundedSender<Letter>,
    inbox: mpsc::UnboundedReceiver<Letter>,
    listeners: Listeners,
    progress: ProgressBook,
    durable: watch::Sender<Seq>,
    pending: Pending<Due>,
    /// Jobs that were told to end; told once.
    stopping: BTreeSet<Job>,
    /// The earliest moment that the run waits for.
    wake: Option<(Timer, Timestamp)>,
    commands: Vec<Command>,
    /// Signals so far; at the first nothing new begins here, whatever the core says.
    signals: u32,
    /// Somebody was at the lane's file: order again in a moment.
    look_again: bool,
}

enum Stop {
    Bug(Bug),
    Lost(String),
}

impl From<Impossible> for Stop {
    fn from(Impossible(what): Impossible) -> Self {
        Self::Bug(Bug(what))
    }
}

impl<L: Log> Loop<L> {
    fn new(parts: Parts<L>) -> Self {
        Self {
            run: parts.run,
            log: parts.log,
            world: parts.world,
            guard: parts.guard,
            lane: parts.lane,
            jumps: JumpWatch::new(parts.clock.clone()),
            clock: parts.clock,
            manner: parts.manner,
            to_inbox: parts.inbox.0,
            inbox: parts.inbox.1,
            listeners: parts.listeners,
            progress: parts.progress,
            durable: parts.durable,
            pending: Pending::new(),
            stopping: BTreeSet::new(),
            wake: None,
            commands: Vec::new(),
            signals: 0,
            look_again: false,
        }
    }

    /// Tells of `first` (recorded and applied already), then runs until the run or the process has an
    /// end.
    async fn run(mut self, first: Vec<Record>) -> Result<RunnerEnd, Bug> {
        let exit = match self.drive(first).await {
            Ok(exit) => exit,
            Err(Stop::Lost(why)) => {
                // No reply is given (the senders drop), no deed is ended: children are left alone.
                self.pending.drain().for_each(drop);
                Exit::JournalLost(why)
            }
            Err(Stop::Bug(bug)) => return Err(bug),
        };
        Ok(RunnerEnd { exit, run: self.run })
    }

    async fn drive(&mut self, first: Vec<Record>) -> Result<Exit, Stop> {
        for record in first {
            self.follows(&Arc::new(record));
        }
        self.release_interrupts()?;
        loop {
            self.release()?;
            self.turn()?;
            self.log.flush();
            if let Some(exit) = self.exit() {
                return Ok(exit);
            }
            let clock = self.clock.clone();
            let wake = self.wake;
            tokio::select! {
                letter = self.inbox.recv() => {
                    let letter = letter.expect("BUG: the loop itself holds a sender");
                    self.take(letter)?;
                    self.take_more()?;
                }
                synced = self.log.synced(), if !self.pending.is_empty() => {
                    synced.map_err(Stop::Lost)?;
                }
                timer = wait_for(&clock, wake) => {
                    self.append(Event::Due { timer, jumped: false })?;
                }
                () = tokio::time::sleep(A_MOMENT), if self.look_again => {}
            }
            if let Some(by) = self.jumps.look() {
                tracing::warn!(%by, "the wall clock jumped");
                self.listeners.tell(&News::ClockJumped(by));
                self.asleep(by)?;
            }
        }
    }

    fn take_more(&mut self) -> Result<(), Stop> {
        for _ in 0..LETTERS_A_TURN {
            match self.inbox.try_recv() {
                Ok(letter) => self.take(letter)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes an event in: the core first, so that nothing impossible is ever written.
    fn append(&mut self, event: Event) -> Result<Arc<Record>, Stop> {
        let at = self.clock.now();
        let record = Record { seq: self.run.seq() + 1, at, event };
        self.run.apply(&record)?;
        let written = self.log.append(at, record.event.clone());
        if written.seq != record.seq {
            let what = format!("record {} was written as {}", record.seq, written.seq);
            return Err(Stop::Bug(Bug(what)));
        }
        let record = Arc::new(record);
        self.follows(&record);
        Ok(record)
    }

    /// What follows from every record.
    fn follows(&mut self, record: &Arc<Record>) {
        self.pending.push(record.seq, Due::News(Arc::clone(record)));
        self.touch(record);
        self.lane.follow(&self.run, record);
    }

    /// Tells the guard what a record touched.
    fn touch(&self, record: &Record) {
        let step = match &record.event {
            Event::Opened { .. } => {
                // A new guard: what earlier ones were told is told again.
                self.lane.confirmed().iter().for_each(|certificate| self.look_after(certificate));
                return self.guard.touched_all(record.seq);
            }
            Event::Started(job) | Event::Ended(job, _) if job.way != Way::Check => job.step,
            Event::Ended(job, Ending::Done(_)) => job.step,
            Event::Requested(_, Request::Finish { step, .. } | Request::Fail { step, .. }) => *step,
            _ => return,
        };
        let begins = matches!(record.event, Event::Started(_));
        let touched = self.run.graph().effects(step).iter().map(|(provider, _)| *provider);
        let (up, down): (Vec<_>, Vec<_>) =
            touched.partition(|provider| !begins && self.run.is_up_in_plan(*provider));
        self.guard.touched(&up, record.seq, true);
        self.guard.touched(&down, record.seq, false);
    }

    /// Lets go what has become durable.
    fn release(&mut self) -> Result<(), Stop> {
        let durable = self.log.durable();
        if *self.durable.borrow() != durable {
            self.durable.send_replace(durable);
            self.lane.became_durable(durable);
        }
        if self.manner.kill_at.is_some_and(|record| durable >= record) {
            kill_self();
        }
        while let Some((_, due)) = self.pending.release(durable) {
            match due {
                Due::News(record) => self.listeners.tell(&News::Record(record)),
                Due::Reply(reply, answer) => {
                    // A person who hung up can read it in the journal.
                    let _ = reply.send(answer);
                }
                Due::Begin(job) if self.may_begin(job) => self.begin(job),
                // A person ended a step by hand before its start was durable.
                Due::Begin(job) if !self.is_running(job) => {}
                Due::Begin(job) => {
                    self.append(Event::Ended(job, Ending::Withdrawn))?;
                    self.stopping.remove(&job);
                }
                Due::Stop(job) => self.stop(job)?,
                Due::Free(held) => drop(held),
            }
        }
        Ok(())
    }

    fn may_begin(&self, job: Job) -> bool {
        self.signals == 0 && !self.stopping.contains(&job) && self.run.may_begin(job)
    }

    fn begin(&mut self, job: Job) {
        if self.manner.guard_hangs {
            self.manner.guard_hangs = false;
            self.guard.hang();
        }
        if deed::is_manual(self.run.graph(), job) {
            // A person does it; requests move it.
            return;
        }
        let inbox = self.to_inbox.clone();
        let voice = Voice::new(job, move |ending| {
            // The loop is gone: nobody is left to hear it, and resume finds the job in doubt.
            let _ = inbox.send(Letter::Ended(job, ending));
        });
        self.world.begin(job, &self.run, voice);
    }

    fn is_running(&self, job: Job) -> bool {
        self.run.status(job.step) == Status::Running(job)
    }

    fn stop(&mut self, job: Job) -> Result<(), Stop> {
        if !self.is_running(job) {
            return Ok(());
        }
        if deed::is_manual(self.run.graph(), job) {
            self.append(Event::Ended(job, Ending::Stopped))?;
            self.stopping.remove(&job);
        } else {
            self.world.stop(job);
        }
        Ok(())
    }

    /// Orders everything that is due now.
    fn turn(&mut self) -> Result<(), Stop> {
        loop {
            let mut commands = std::mem::take(&mut self.commands);
            commands.clear();
            self.run.next(&mut commands);
            self.wake = None;
            self.look_again = false;
            let mut ordered = false;
            for command in &commands {
                ordered |= self.order(command)?;
            }
            self.commands = commands;
            if !ordered && !self.jump()? {
                return Ok(());
            }
        }
    }

    /// Orders one command; says whether a record came of it.
    fn order(&mut self, command: &Command) -> Result<bool, Stop> {
        match command {
            Command::Start(_) if self.signals > 0 => Ok(false),
            Command::Start(job) => self.start(*job),
            Command::Stop(job) => {
                if self.stopping.insert(*job) {
                    self.pending.push(self.run.seq(), Due::Stop(*job));
                }
                Ok(false)
            }
            Command::Wake(timer, at) => {
                if self.wake.is_none_or(|(_, earliest)| *at < earliest) {
                    self.wake = Some((*timer, *at));
                }
                Ok(false)
            }
            Command::Close(outcome) => {
                self.append(Event::Closed(*outcome))?;
                Ok(true)
            }
        }
    }

    /// Orders a start; one that a revocation could race with only while the lane is held still.
    fn start(&mut self, job: Job) -> Result<bool, Stop> {
        let mut held = None;
        if job.way == Way::Do && lane::awaits_lane(self.run.graph(), job.step) {
            match self.hold_lane(job.step)? {
                Some(hold) => held = hold,
                None => return Ok(false),
            }
        }
        let record = self.append(Event::Started(job))?;
        self.pending.push(record.seq, Due::Free(held));
        self.pending.push(record.seq, Due::Begin(job));
        Ok(true)
    }

    /// A rehearsal does not wait: backoffs and `not_before` are jumped at once, the opening of the
    /// window when nothing else is under way. The close of the window is never jumped to.
    fn jump(&mut self) -> Result<bool, Stop> {
        let Some((timer, at)) = self.wake else { return Ok(false) };
        let idle = || self.run.running().next().is_none() && self.pending.is_empty();
        let jumps = match timer {
            _ if !self.manner.rehearsal || self.signals > 0 => false,
            Timer::Retry(..) | Timer::NotBefore(_) => true,
            Timer::Opens => idle(),
            Timer::Closes | Timer::Floor(_) => false,
        };
        if jumps {
            let jumped = at > self.clock.now();
            self.append(Event::Due { timer, jumped })?;
        }
        Ok(jumps)
    }

    /// Whether this process has nothing more to do.
    fn exit(&self) -> Option<Exit> {
        if !self.pending.is_empty() {
            return None;
        }
        if let Some(outcome) = self.run.outcome() {
            return Some(Exit::Closed(outcome));
        }
        let graph = self.run.graph();
        if self.run.running().any(|job| !deed::is_manual(graph, job)) {
            return None;
        }
        if self.signals > 0 {
            return Some(Exit::Interrupted { why: INTERRUPTED.to_owned(), resume_at: None });
        }
        if !self.manner.wait && self.run.needs_person() {
            return Some(Exit::NeedsPerson);
        }
        match self.wake {
            Some((Timer::Opens | Timer::NotBefore(_), at))
                if self.manner.exit_between
                    && self.run.holds().is_empty()
                    && self.run.running().next().is_none() =>
            {
                let why = "only a moment is waited for (`--exit-between`)".to_owned();
                Some(Exit::Interrupted { why, resume_at: Some(at) })
            }
            _ => None,
        }
    }
}

/// Waits for the earliest timer; for ever when there is none.
async fn wait_for(clock: &Clock, wake: Option<(Timer, Timestamp)>) -> Timer {
    match wake {
        Some((timer, at)) => {
            clock.sleep_until(at).await;
            timer
        }
        None => std::future::pending().await,
    }
}

/// `runner=kill@RECORD`: as a power cut would, without a word.
fn kill_self() {
    let me = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(me, rustix::process::Signal::KILL) {
        tracing::error!(%error, "the injected kill of the runner failed");
    }
}
