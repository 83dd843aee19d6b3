//! What reaches the loop, and what it tells: one inbox, in which nothing is dropped, and the news
//! for boards, drivers and the operators' socket.
//!
//! Not known here: what the loop makes of a letter.

use crate::event::{Ending, Job, LineId, Person, ProviderId, Record, Request, Seq, Verdict};
use crate::executor::Progress;
use crate::graph::Graph;
use crate::journal::rundir::RunDir;
use crate::revocation::Entry;
use crate::run::Refusal;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Everything that can happen to the loop from outside.
#[derive(Debug)]
pub(super) enum Letter {
    /// A job ended.
    Ended(Job, Ending),
    /// A person asks.
    Asked(Asked),
    /// The guard's verdict changed; `as_of` is a record.
    Verdict { provider: ProviderId, verdict: Verdict, as_of: Seq, why: String },
    /// The guard fell silent: a breach of everything that it watches.
    Silent,
    /// The guard speaks again after a silence.
    Speaks,
    /// The emergency lane's word on a line; `as_of` is a record.
    Revocations { line: LineId, clear: bool, as_of: Seq },
    /// The emergency lane wrote something down.
    Lane(Entry),
    /// A signal of the operating system.
    Signal(Signal),
    /// Something worth a line to people, not a record.
    Note(String),
}

/// Signals that the runner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Ctrl-C: the first holds, the second ends what runs.
    Interrupt,
    /// Ends what runs, at once.
    Terminate,
}

/// A request on its way to `Run::admit`.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) who: Person,
    pub(super) what: Request,
    pub(super) reply: oneshot::Sender<Answered>,
}

/// What became of a request. Told only when everything that it rests on is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Recorded under this number, durably.
    Recorded(Seq),
    /// Not admitted.
    Refused(Refusal),
}

/// A job's one word. It speaks exactly once: by [`Voice::end`], or, when its task dies, by a doubt.
pub struct Voice {
    job: Job,
    say: Option<Box<dyn FnOnce(Ending) + Send>>,
}

impl Voice {
    /// The voice of a job, heard by `say`.
    pub fn new(job: Job, say: impl FnOnce(Ending) + Send + 'static) -> Self {
        Self { job, say: Some(Box::new(say)) }
    }

    /// The job that speaks.
    pub fn job(&self) -> Job {
        self.job
    }

    /// Says how it ended.
    pub fn end(mut self, ending: Ending) {
        if let Some(say) = self.say.take() {
            say(ending);
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        if let Some(say) = self.say.take() {
            let what = "the attempt's task ended without a word (a bug of the program)";
            say(Ending::Unknown(crate::failure::Failure::in_doubt(what)));
        }
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Voice").field("job", &self.job).finish_non_exhaustive()
    }
}

/// What a board, a driver or a plain line may tell people, in order.
#[derive(Clone, Debug)]
pub enum News {
    /// A record, now durable.
    Record(Arc<Record>),
    /// The wall clock jumped by so much between two looks.
    ClockJumped(SignedDuration),
    /// What the guard found, for the verdict just told.
    Found {
        /// Which provider.
        provider: ProviderId,
        /// The verdict, by which its record is known: another may be told before that is durable.
        verdict: Verdict,
        /// One sentence.
        why: String,
    },
    /// A new entry of the emergency lane, durable.
    Lane(Entry),
    /// A sentence for people that is no record.
    Note(String),
}

/// The latest progress of every running job; sampled, never journaled.
#[derive(Clone, Debug, Default)]
pub struct ProgressBook {
    jobs: Arc<Mutex<BTreeMap<Job, watch::Receiver<Progress>>>>,
}

impl ProgressBook {
    /// Opens a page for a job.
    pub(super) fn open(&self, job: Job) -> watch::Sender<Progress> {
        let (sender, receiver) = watch::channel(Progress::default());
        self.lock().insert(job, receiver);
        sender
    }

    /// Closes it.
    pub(super) fn close(&self, job: Job) {
        self.lock().remove(&job);
    }

    /// How far each job is just now, by job.
    pub fn snapshot(&self) -> Vec<(Job, Progress)> {
        self.lock().iter().map(|(job, progress)| (*job, progress.borrow().clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Job, watch::Receiver<Progress>>> {
        // Nothing is done under this lock that could panic half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everyone in this process who hears the news.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    all: Arc<Mutex<Vec<mpsc::UnboundedSender<News>>>>,
}

impl Listeners {
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<News> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    pub(super) fn tell(&self, news: &News) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|listener| listener.send(news.clone()).is_ok());
    }
}

/// The way in for those who are not the runner: the operators' socket, boards, drivers.
#[derive(Clone, Debug)]
pub struct Door {
    pub(super) inbox: mpsc::UnboundedSender<Letter>,
    pub(super) listeners: Listeners,
    pub(super) guard: super::guards::GuardLink,
    /// The graph of the run, for names.
    pub graph: Arc<Graph>,
    /// Group name to logins, of the estate.
    pub people: Arc<BTreeMap<String, Vec<String>>>,
    /// Where the run is kept.
    pub run_dir: RunDir,
    /// How far each running job is.
    pub progress: ProgressBook,
    /// The number of the newest durable record.
    pub durable: watch::Receiver<Seq>,
}

impl Door {
    /// Asks the run something, and waits until the answer may be told. A runner that is gone, or
    /// whose journal is lost, refuses.
    pub async fn ask(&self, who: Person, what: Request) -> Answered {
        let (reply, answer) = oneshot::channel();
        let gone = || {
            Answered::Refused(Refusal {
                why: "the runner has ended, and whether it took the request is not known".into(),
                hint: Some("see `cutover status`, then ask again".into()),
            })
        };
        match self.inbox.send(Letter::Asked(Asked { who, what, reply })) {
            Ok(()) => answer.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }

    /// Answers, failures and times of every provider that the guard watches; empty without a guard.
    pub fn guard_stats(&self) -> Vec<crate::guard::Stats> {
        self.guard.stats()
    }

    /// Hears the news from now on.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<News> {
        self.listeners.listen()
    }
}
