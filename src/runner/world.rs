//! The world as the loop sees it: a job is begun, and speaks once. And the real one, which hands
//! deeds to the executor.
//!
//! Not known here: whether a job may begin, and how a deed is done.

use super::deed::{self, Prepared};
use super::guards::GuardLink;
use super::inbox::{ProgressBook, Voice};
use crate::estate::Estate;
use crate::event::{Ending, Job, ProviderId, Seq, Verdict};
use crate::executor::{self, Context};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::journal::rundir::RunDir;
use crate::run::Run;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where jobs are done. A job that was begun speaks exactly once through its voice.
pub trait World: Send + Sync {
    /// Begins a job whose `Started` is durable. Never waits.
    fn begin(&self, job: Job, run: &Run, voice: Voice);
    /// Tells a job to end. It still speaks once, of what it has done by then.
    fn stop(&self, job: Job);
}

/// What every job of a run shares.
pub(super) struct RealWorld {
    pub(super) estate: Arc<Estate>,
    pub(super) run_name: String,
    pub(super) run_dir: RunDir,
    pub(super) plan_dir: PathBuf,
    pub(super) facts: Arc<BTreeMap<String, String>>,
    pub(super) window_opens: Option<Timestamp>,
    pub(super) guard: GuardLink,
    pub(super) progress: ProgressBook,
    pub(super) durable: watch::Receiver<Seq>,
    pub(super) stops: Arc<Mutex<BTreeMap<Job, watch::Sender<bool>>>>,
}

impl World for RealWorld {
    fn begin(&self, job: Job, run: &Run, voice: Voice) {
        let prepared = match deed::prepare(run, job) {
            Ok(prepared) => prepared,
            // Nothing was done, and a further attempt would fill the texts in no other way.
            Err(why) => return voice.end(Ending::Failed(Failure::last(why))),
        };
        let (stop_sender, stop) = watch::channel(false);
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).insert(job, stop_sender);
        let step = run.graph().name(job.step);
        let context = Context {
            estate: Arc::clone(&self.estate),
            run: self.run_name.clone(),
            attempt_dir: self.run_dir.attempt(&step, job.way, job.attempt),
            notices_dir: self.run_dir.notices(),
            step,
            way: job.way,
            attempt: job.attempt,
            plan_dir: self.plan_dir.clone(),
            facts: Arc::clone(&self.facts),
            window_opens: self.window_opens,
            progress: self.progress.open(job),
            stop,
        };
        let after = After {
            guard: self.guard.clone(),
            given_back: run.given_back(job.step, job.way),
            graph: Arc::clone(run.graph()),
            record: self.durable.clone(),
        };
        let stops = Arc::clone(&self.stops);
        tokio::spawn(async move {
            let ending = attempt(prepared, context, after).await;
            stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
            voice.end(ending);
        });
    }

    fn stop(&self, job: Job) {
        if let Some(stop) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).get(&job) {
            stop.send_replace(true);
        }
    }
}

/// What is still to be done when the executor has answered.
struct After {
    guard: GuardLink,
    given_back: Vec<ProviderId>,
    graph: Arc<Graph>,
    record: watch::Receiver<Seq>,
}

/// One attempt from its directory to its ending.
async fn attempt(prepared: Prepared, context: Context, after: After) -> Ending {
    let deed = match prepared {
        Prepared::Deed(deed) => deed,
        Prepared::Settled(ending) => return ending,
    };
    let begun = Instant::now();
    if let Err(error) = make_private(&context.attempt_dir) {
        // Before the deed: nothing of it was begun.
        let what = format!("cannot make `{}`: {error}", context.attempt_dir.display());
        return Ending::Failed(Failure::transient(what));
    }
    if let Err(ending) = settle(&context).await {
        return ending;
    }
    let (timeout, progress) = (deed.timeout, context.progress.clone());
    let mut stop = context.stop.clone();
    let ending = Orphan(Some(Box::pin(executor::carry_out(deed, context)))).await;
    if !matches!(ending, Ending::Done(_)) || after.given_back.is_empty() {
        return ending;
    }
    progress.send_modify(|progress| progress.doing = "waits for normal answers".to_owned());
    let record = *after.record.borrow();
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep_until(begun + timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = after.guard.serve(&after.given_back, record) => ending,
        _ = stop.wait_for(|stop| *stop) => Ending::Stopped,
        () = deadline => Ending::Failed(after.not_serving(timeout.unwrap_or(Duration::ZERO))),
    }
}

/// Ends what a dead runner left of earlier attempts of this step, before it is asked or tried again.
async fn settle(context: &Context) -> Result<(), Ending> {
    let Some(attempts) = context.attempt_dir.parent() else { return Ok(()) };
    match executor::process::settle_leftovers(attempts).await {
        Ok(leftovers) => match leftovers.iter().find(|leftover| !leftover.gone) {
            None => Ok(()),
            Some(alive) => Err(Ending::Unknown(Failure::in_doubt(format!(
                "processes {:?} of an earlier attempt cannot be ended (`{}`)",
                alive.pids,
                alive.attempt.display()
            )))),
        },
        Err(error) => Err(Ending::Unknown(Failure::in_doubt(format!(
            "cannot look for processes of earlier attempts in `{}`: {error}",
            attempts.display()
        )))),
    }
}

/// A deed that outlives the runner: an executor that is dropped ends its command, but a runner that
/// has lost its journal ends nothing (whoever resumes finds the child and settles it).
struct Orphan<F>(Option<std::pin::Pin<Box<F>>>);

impl<F: Future> Future for Orphan<F> {
    type Output = F::Output;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        let Some(deed) = &mut self.0 else { return std::task::Poll::Pending };
        let polled = deed.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for Orphan<F> {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}

impl After {
    /// The deed is done, but what it gave back does not answer as it should.
    fn not_serving(&self, timeout: Duration) -> Failure {
        let mut failure = Failure::timed_out(format!(
            "done, but within {timeout:?} the guard did not find normal what was given back"
        ));
        for provider in &self.given_back {
            let verdict = self.guard.standing(*provider);
            let found = match &verdict {
                Verdict::Normal | Verdict::Degraded(_) => continue,
                Verdict::Unknown => "gave no judged answer".to_owned(),
                Verdict::Down(codes) => format!("is down ({})", codes.join(", ")),
                Verdict::Lying(codes) => format!("answers falsely ({})", codes.join(", ")),
            };
            let name = &self.graph.providers()[provider.index()].name;
            failure.chain.push(format!("`{name}` {found}"));
        }
        failure
    }
}

/// A directory that only we can read, its parents too.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
