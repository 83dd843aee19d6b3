//! The guard: keeps asking the protected services and verifies what they answer.
//!
//! A thread and a runtime of its own, so that nothing that a runner does can delay it, and one task
//! for each provider, which never stops asking. A verdict is about the answer's content, not the
//! port. Not known here: the plan, and where clients are sent: a provider that is not serving yet is
//! asked too, and called down; whether that matters is the core's to say.

pub mod cert;
pub mod crl;
pub mod fetch;
mod finding;
mod first;
#[cfg(test)]
mod fixture;
pub mod ocsp;
pub mod paper;
mod probe;
mod seal;
mod sign;
#[doc(hidden)]
pub mod stranger;
mod walk;
mod watch;

pub use cert::{CertError, Issuer, Serial};
pub use first::{First, first_verdicts};
pub use watch::Stats;

use crate::event::{Seq, Verdict};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What kind of service a target is; by the service's name (`ocsp`, `crl`; anything else is a page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6960.
    Ocsp,
    /// RFC 5280.
    Crl,
    /// A page with an expected text.
    Seal,
}

/// One provider (of a line) to watch. The runner makes these from graph and estate.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ocsp@to/ocsp-1[geotrust]`
    pub name: String,
    /// How it is asked.
    pub protocol: Protocol,
    /// URL with `{line}` filled; `{issuer}` is filled per issuer.
    pub url: String,
    /// Issuers' PEM files.
    pub issuers: Vec<PathBuf>,
    /// Sentinel PEM files (of any issuer; the guard picks those of `issuers`).
    pub good: Vec<PathBuf>,
    /// Revoked sentinels.
    pub revoked: Vec<PathBuf>,
    /// Never issued.
    pub unissued: Vec<PathBuf>,
    /// Text that a page must hold.
    pub expect: Option<String>,
}

/// The guard's pace.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two questions to one provider. From 1 s on it is the period of each question, and
    /// those of one provider are spread over it.
    pub every: Duration,
    /// Good answers in a row that end a breach.
    pub recovery: u32,
}

/// What the guard tells. Index = place in the targets it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The verdict on a target changed, by an answer to a question asked after it had been told of
    /// record `as_of`.
    Verdict {
        /// Which target.
        target: usize,
        /// The verdict; never `Unknown`: who touches a provider knows that himself.
        verdict: Verdict,
        /// The newest record that it had been told of when it asked.
        as_of: Seq,
        /// What was found, for the record: one sentence.
        why: String,
    },
    /// It lives: every target's task has come round lately. At least once per interval, by the
    /// heartbeat or by whichever task has the thread; when it stays away for three of them, as who
    /// listens counts them, the guard hangs, which is itself a breach.
    Alive,
}

/// What the guard is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A record touched these targets: their verdict is unknown again, only answers to questions
    /// asked from now on count, and with `given_back` they are asked at once and every 200 ms until 3
    /// good answers came. The next verdict on each of them is told even when it is the one before.
    Touched {
        /// Which targets.
        targets: Vec<usize>,
        /// The record.
        seq: Seq,
        /// Clients are sent there (again) from now on.
        given_back: bool,
    },
    /// A revocation is confirmed: these targets are asked about it too from now on. One that has once
    /// called the certificate revoked and then says anything else lies. (Until it has, nothing is
    /// expected: a provider that is not serving may not know yet.)
    Revoked {
        /// Which targets.
        targets: Vec<usize>,
        /// The certificate.
        serial: Serial,
    },
    /// The fault `guard=hang`: stands still from now on, heartbeat included.
    Hang,
}

/// Why no guard could be started: every certificate file that cannot be used, each with the target
/// that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardError(pub Vec<String>);

impl fmt::Display for GuardError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the guard cannot start")?;
        self.0.iter().try_for_each(|fault| write!(out, "\n  {fault}"))
    }
}

impl std::error::Error for GuardError {}

/// The guard, before it runs.
#[derive(Debug)]
pub struct Guard;

impl Guard {
    /// Reads all certificates, then starts the thread. From here on every target is asked, until the
    /// handle is dropped.
    ///
    /// # Errors
    /// Every issuer or sentinel file that cannot be read or is no certificate, every target without
    /// an issuer though its protocol needs one; or that there is no thread to be had.
    pub fn spawn(
        targets: Vec<Target>,
        pace: Pace,
    ) -> Result<(GuardHandle, mpsc::UnboundedReceiver<Said>), GuardError> {
        let probers = load(&targets)?;
        let questions = probers.iter().map(probe::Prober::subjects);
        let stats = targets.iter().zip(questions);
        let stats = stats.map(|(target, count)| Stats::new(&target.name, count)).collect();
        let shared = Arc::new(Shared { stats: Mutex::new(stats), stop: AtomicBool::new(false) });
        let (say, said) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::unbounded_channel();
        let inside = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| GuardError(vec![format!("no runtime: {error}")]))?;
        std::thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || {
                runtime.block_on(watch::watch(probers, pace, told, say, inside));
                // Questions under way are dropped with it.
                runtime.shutdown_background();
            })
            .map_err(|error| GuardError(vec![format!("no thread: {error}")]))?;
        Ok((GuardHandle { tell, shared }, said))
    }

    /// Reads all certificates and says what is wrong with them, without asking anyone.
    ///
    /// # Errors
    /// As [`Guard::spawn`].
    pub fn check(targets: &[Target]) -> Result<(), GuardError> {
        load(targets).map(|_| ())
    }
}

fn load(targets: &[Target]) -> Result<Vec<probe::Prober>, GuardError> {
    let mut faults: Vec<String> = Vec::new();
    let mut probers = Vec::new();
    for target in targets {
        if target.issuers.is_empty() && target.protocol != Protocol::Seal {
            faults.push(format!(
                "`{}` has no issuer: its answers could not be verified (give its service `issuers:` in the estate)",
                target.name
            ));
        }
        match probe::Prober::load(target) {
            Ok(prober) => probers.push(prober),
            Err(wrong) => {
                // One file serves many targets: it is told once.
                for fault in wrong.iter().map(ToString::to_string) {
                    if !faults.iter().any(|told| told.starts_with(&fault)) {
                        faults.push(format!("{fault} (for `{}`)", target.name));
                    }
                }
            }
        }
    }
    if faults.is_empty() { Ok(probers) } else { Err(GuardError(faults)) }
}

/// What the guard's thread and its handle share.
#[derive(Debug)]
struct Shared {
    stats: Mutex<Vec<Stats>>,
    stop: AtomicBool,
}

/// The guard, while it runs. Ends when dropped, without waiting.
#[derive(Debug)]
pub struct GuardHandle {
    tell: mpsc::UnboundedSender<Told>,
    shared: Arc<Shared>,
}

impl GuardHandle {
    /// Tells it something. Never waits; a guard that is gone hears nothing, and its silence says so.
    pub fn tell(&self, what: Told) {
        // A closed channel is the guard's end, which the missing heartbeat tells.
        let _ = self.tell.send(what);
    }

    /// Answers, failures and times of every target so far.
    pub fn stats(&self) -> Vec<Stats> {
        self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for GuardHandle {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
