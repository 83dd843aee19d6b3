//! The guard alone: the services of a plan watched as a run would watch them, by the same guard and
//! judged by the same core, with no step and no journal.
//!
//! Not known here: how long it is watched, and how it is told.

use super::guards;
use super::start::StartError;
use crate::estate::Estate;
use crate::event::{Event, Header, ProviderId, Record, Seq, Verdict};
use crate::graph::Graph;
use crate::guard::{Guard, GuardHandle, Said, Stats};
use crate::journal::JournalError;
use crate::run::Run;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Intervals of silence after which the guard counts as dead (revocation.md, section 7).
const SILENT_INTERVALS: u32 = 3;

/// A word of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The verdict on a provider changed.
    Verdict {
        /// `ocsp@from/ocsp-1[geotrust]`
        provider: String,
        /// What the guard thinks of it.
        verdict: Verdict,
        /// Why, in one sentence.
        why: String,
    },
    /// A service is breached, for the first time in this watch.
    Breached(String),
    /// The guard says nothing any more, which is a breach of everything it watches.
    Silent,
}

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    run: Run,
    handle: GuardHandle,
    said: mpsc::UnboundedReceiver<Said>,
    providers: Vec<ProviderId>,
    verdicts: Vec<Verdict>,
    every: Duration,
    told: usize,
    silent: bool,
}

impl Watch {
    /// Starts the guard over everything that the plan protects. `header` is that of a run.
    ///
    /// # Errors
    /// Nothing to watch, or certificates that the guard cannot use.
    pub fn start(
        graph: &Arc<Graph>,
        estate: &Estate,
        header: Header,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let (providers, targets): (Vec<_>, Vec<_>) =
            guards::targets(graph, estate).into_iter().unzip();
        if targets.is_empty() {
            let why = "nothing that the plan protects has an address in the estate";
            return Err(StartError::Refused(why.to_owned()));
        }
        let mut run = Run::new(Arc::clone(graph));
        let opened =
            Event::Opened { epoch: 1, boot: String::new(), pid: std::process::id(), cut: 0 };
        for event in [Event::Begun(Box::new(header)), opened] {
            fold(&mut run, now, event)?;
        }
        let pace = guards::pace(estate);
        let (handle, said) = Guard::spawn(targets, pace)?;
        let verdicts = vec![Verdict::Unknown; providers.len()];
        let every = pace.every;
        Ok(Self { run, handle, said, providers, verdicts, every, told: 0, silent: false })
    }

    /// What is said next; several words when a verdict breaches a service. None when the guard is
    /// gone. Cancel-safe.
    ///
    /// # Errors
    /// A bug: a verdict that the core calls impossible.
    pub async fn next(
        &mut self,
        now: impl Fn() -> Timestamp,
    ) -> Result<Option<Vec<Word>>, StartError> {
        let patience = self.every * SILENT_INTERVALS;
        loop {
            let asked = Instant::now();
            match tokio::time::timeout(patience, self.said.recv()).await {
                Ok(Some(Said::Alive)) => self.silent = false,
                Ok(Some(Said::Verdict { target, verdict, why, .. })) => {
                    self.silent = false;
                    return self.hear(target, verdict, why, now()).map(Some);
                }
                Ok(None) => return Ok(None),
                // We slept ourselves: its words of that time are still in the channel.
                Err(_) if asked.elapsed() > patience + self.every => {}
                Err(_) if self.silent => {}
                Err(_) => {
                    self.silent = true;
                    return self.fall_silent(now()).map(Some);
                }
            }
        }
    }

    fn hear(
        &mut self,
        target: usize,
        verdict: Verdict,
        why: String,
        now: Timestamp,
    ) -> Result<Vec<Word>, StartError> {
        let provider = self.providers[target];
        let as_of = self.run.seq();
        fold(&mut self.run, now, Event::Verdict { provider, verdict: verdict.clone(), as_of })?;
        self.verdicts[target] = verdict.clone();
        let name = self.run.graph().providers()[provider.index()].name.clone();
        let mut words = vec![Word::Verdict { provider: name, verdict, why }];
        words.extend(self.new_breaches());
        Ok(words)
    }

    fn fall_silent(&mut self, now: Timestamp) -> Result<Vec<Word>, StartError> {
        for provider in self.providers.clone() {
            let as_of: Seq = self.run.seq();
            let verdict = Verdict::Down(vec!["guard-silent".to_owned()]);
            fold(&mut self.run, now, Event::Verdict { provider, verdict, as_of })?;
        }
        Ok([Word::Silent].into_iter().chain(self.new_breaches()).collect())
    }

    fn new_breaches(&mut self) -> Vec<Word> {
        let breached = self.run.breached();
        let new = breached[self.told..].iter();
        let words = new.map(|service| {
            Word::Breached(self.run.graph().services()[service.index()].name.clone())
        });
        let words = words.collect();
        self.told = breached.len();
        words
    }

    /// Whether anything was breached so far.
    pub fn breached(&self) -> bool {
        !self.run.breached().is_empty()
    }

    /// Each protected service, its lines together: `breached` (at any time), `unknown`, `degraded`
    /// or `normal`, by the worst of those that clients are sent to.
    pub fn services(&self) -> BTreeMap<String, &'static str> {
        let graph = self.run.graph();
        let verdict = |provider: &ProviderId| {
            let target = self.providers.iter().position(|known| known == provider);
            target.map_or(&Verdict::Unknown, |target| &self.verdicts[target])
        };
        const WORDS: [&str; 4] = ["normal", "degraded", "unknown", "breached"];
        let mut worst: BTreeMap<String, usize> = BTreeMap::new();
        for (place, service) in graph.services().iter().enumerate() {
            let breached = self.run.breached().iter().any(|known| known.index() == place);
            let serving = service
                .providers
                .iter()
                .filter(|provider| graph.providers()[provider.index()].serving_at_start);
            let word = serving.map(|provider| match verdict(provider) {
                Verdict::Normal => 0,
                Verdict::Unknown => 2,
                // Fewer than before, and still enough.
                Verdict::Degraded(_) | Verdict::Down(_) | Verdict::Lying(_) => 1,
            });
            let word = if breached { 3 } else { word.max().unwrap_or(2) };
            let base = service.name.split('[').next().unwrap_or(&service.name).to_owned();
            let known = worst.entry(base).or_insert(0);
            *known = word.max(*known);
        }
        worst.into_iter().map(|(service, word)| (service, WORDS[word])).collect()
    }

    /// Answers, failures, times and findings of each provider.
    pub fn stats(&self) -> Vec<Stats> {
        self.handle.stats()
    }
}

fn fold(run: &mut Run, at: Timestamp, event: Event) -> Result<(), StartError> {
    let record = Record { seq: run.seq() + 1, at, event };
    run.apply(&record).map_err(|impossible| JournalError::Impossible { why: impossible.0 }.into())
}
