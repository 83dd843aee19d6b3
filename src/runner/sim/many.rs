//! Many runs, in threads, and what they had in common: the same for the same seeds, in however many
//! threads.
//!
//! Not known here: what a run is.

use super::table::Table;
use super::{Broken, Mutant, Simulation, Tally, Told, plans};
use crate::graph::Graph;
use ring::digest;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs told before they are put together: what is held in memory at once.
const CHUNK: u64 = 1_024;

/// Runs of one plan, or of random small ones, each seed another.
#[derive(Clone, Debug)]
pub struct Runs {
    one: Option<Simulation>,
    mutant: Option<Mutant>,
}

/// What many runs had in common.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that were made; without the broken one.
    pub runs: u64,
    /// Records in all.
    pub records: u64,
    /// How often what happened.
    pub met: Tally,
    /// What struck when, and what came of it.
    pub table: Table,
    /// Hex digest over the newest hash of every journal, in the order of the seeds.
    pub digest: String,
    /// The first seed that broke an invariant.
    pub broken: Option<Broken>,
}

impl Runs {
    /// Of this plan.
    pub fn of(graph: Arc<Graph>) -> Self {
        Self { one: Some(Simulation::new(graph)), mutant: None }
    }

    /// Of random small plans.
    pub fn small() -> Self {
        Self { one: None, mutant: None }
    }

    /// The same with a fault put in.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self { one: self.one.map(|one| one.with(mutant)), mutant: Some(mutant) }
    }

    /// What is simulated for a seed.
    pub fn simulation(&self, seed: u64) -> Cow<'_, Simulation> {
        match (&self.one, self.mutant) {
            (Some(one), _) => Cow::Borrowed(one),
            (None, None) => Cow::Owned(Simulation::new(plans::numbered(seed / 4))),
            (None, Some(it)) => Cow::Owned(Simulation::new(plans::numbered(seed / 4)).with(it)),
        }
    }

    /// Runs with the seeds from `first` on, in so many threads, up to the first that breaks an
    /// invariant.
    pub fn make(&self, first: u64, runs: u64, threads: usize) -> Summary {
        let mut summary = Summary::default();
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut done = 0;
        while done < runs && summary.broken.is_none() {
            let count = CHUNK.min(runs - done);
            for run in self.chunk(first.wrapping_add(done), count, threads) {
                match run {
                    Ok(told) => {
                        digest.update(told.head.as_bytes());
                        summary.take(told);
                    }
                    Err(broken) => {
                        summary.broken = Some(*broken);
                        break;
                    }
                }
            }
            done += count;
        }
        let hex = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Summary { digest: hex, ..summary }
    }

    /// These seeds, in their order, up to the first broken one.
    fn chunk(&self, first: u64, count: u64, threads: usize) -> Vec<Result<Told, Box<Broken>>> {
        let (next, broken_at) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let worker = || {
            let mut made = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count || at > broken_at.load(Ordering::Relaxed) {
                    return made;
                }
                let seed = first.wrapping_add(at);
                let run = self.simulation(seed).run(seed);
                if run.is_err() {
                    broken_at.fetch_min(at, Ordering::Relaxed);
                }
                made.push((at, run));
            }
        };
        let mut made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
            let joined = threads.into_iter().map(|it| it.join().expect("BUG: a run panicked"));
            joined.flatten().collect()
        });
        made.sort_by_key(|(at, _)| *at);
        let whole = made.iter().position(|(_, run)| run.is_err()).map_or(made.len(), |at| at + 1);
        made.truncate(whole);
        made.into_iter().map(|(_, run)| run).collect()
    }
}

impl Summary {
    fn take(&mut self, told: Told) {
        self.runs += 1;
        self.records += told.records;
        self.table.join(&told.table);
        for (what, often) in told.met {
            *self.met.entry(what).or_default() += often;
        }
    }
}
