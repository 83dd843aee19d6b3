//! The simulator: whole runs of a plan in a simulated world, on a simulated disk, by a simulated
//! clock; many in a second, each from its seed alone.
//!
//! Real are the core (`run`), the loop's own turns (`Loop::take`, `turn`, `release`, `exit`, and
//! `Pending` under them), the text of a deed (`deed::prepare`), the journal's lines, hashes and
//! recovery (`journal::codec`, `chain`, `replay::record`). Simulated are executors and people, the
//! guard's and the emergency lane's words, the disk with its page cache, and the clock. What is really
//! there is kept apart from all of it ([`Reality`]), and after every record the invariants of
//! reliability.md section 4 are judged ([`Oracle`]), by another way than the core's.
//!
//! Not simulated: the loop's `select!` (the simulator chooses what comes next, in any order that it
//! could), threads and tokio; the lock, the names of files, the ballast; executors, children that
//! outlive their runner, and timeouts (an attempt ends in every way in which they end it); that an act
//! ends only when the guard calls normal what it gave back; the guard's questions and the lane's file
//! and worker (their words come at any time, true or late; the lane is never busy); sockets, boards
//! and reports.

mod dice;
mod disk;
mod heal;
mod ledger;
mod many;
mod oracle;
mod people;
mod plans;
mod play;
mod reality;
mod recover;
mod shape;
mod shrink;
mod stage;
mod swarm;
mod table;
mod tale;
mod wish;
mod world;

pub use dice::Dice;
pub use many::{Runs, Summary};
pub use oracle::{Kept, Oracle, Violation};
pub use plans::plan;
pub use reality::{Reality, Truth, acts, done, has_check, undoable};
pub use table::{Phase, Reaction, Table};
pub use tale::{Of, Tale};
pub use wish::{cast, wish};

use crate::event::Outcome;
use crate::graph::Graph;
use play::Play;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A fault put into what lies around the core, to see that it is found (reliability.md section 6).
/// Those of the core itself are patches (`tests/mutants`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// 1: a deed begins before its record is synced.
    DeedBeforeSync,
    /// 2: a sync that failed is passed over.
    SyncErrorIgnored,
    /// 3: a sync that failed is tried again.
    SyncRetried,
    /// 4: a torn tail is kept, and written behind.
    TornTailKept,
    /// 5: old damage is cut off like a torn tail.
    OldDamageCut,
    /// 12: the late answer of an old attempt is taken for that of the new one.
    LateAnswerTaken,
    /// 14: whoever was thought dead writes on.
    EpochUnchecked,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Simulation {
    graph: Arc<Graph>,
    /// Of a run to which nothing has happened.
    oracle: Oracle,
    mutant: Option<Mutant>,
}

/// All that was chosen in one run: what it begins with, and then turn by turn. Told again it is the
/// same run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// What the run begins with: its clock, its faults.
    pub setup: Vec<u16>,
    /// What happens then; each turn chooses for itself, so that one can be left out.
    pub turns: Vec<Vec<u16>>,
}

/// How often each thing happened.
pub type Tally = BTreeMap<&'static str, u64>;

/// One run that kept every invariant.
#[derive(Clone, Debug)]
pub struct Told {
    /// How it ended.
    pub outcome: Outcome,
    /// Records in its journal.
    pub records: u64,
    /// Hash of its newest record: the same for the same seed.
    pub head: String,
    /// What happened.
    pub met: Tally,
    /// What struck when, and what came of it.
    pub table: Table,
}

/// Where an invariant broke.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The seed of that run.
    pub seed: u64,
    /// Which, and by what.
    pub violation: Violation,
    /// The choices that lead there.
    pub story: Story,
}

impl Simulation {
    /// Runs of this plan.
    pub fn new(graph: Arc<Graph>) -> Self {
        let oracle = Oracle::new(&graph);
        Self { graph, oracle, mutant: None }
    }

    /// The same with a fault put in.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// The plan's graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// One run from its seed.
    ///
    /// # Errors
    /// Where an invariant broke.
    pub fn run(&self, seed: u64) -> Result<Told, Box<Broken>> {
        let mut setup = Dice::seeded(seed);
        let mut play = Play::new(self, &mut setup);
        let mut story = Story { setup: setup.taken(), turns: Vec::new() };
        let mut dice = Dice::seeded(seed ^ 0x5eed_0000_0000_0000);
        let told = play.tell(|play, turn| {
            if turn >= play.turns() {
                return None;
            }
            let done = play.turn(&mut dice);
            story.turns.push(dice.taken());
            Some(done)
        });
        told.map(|()| play.told()).map_err(|violation| Box::new(Broken { seed, violation, story }))
    }

    /// One run from its choices, and what happened in it, line by line.
    pub fn tell(&self, story: &Story) -> (Vec<String>, Option<Violation>) {
        let mut setup = Dice::new(&story.setup);
        let mut play = Play::new(self, &mut setup);
        play.listen();
        let told = play.tell(|play, turn| {
            let choices = story.turns.get(turn)?;
            Some(play.turn(&mut Dice::new(choices)))
        });
        (play.heard(), told.err())
    }

    /// The shortest story found that breaks the same invariant.
    pub fn shrink(&self, broken: &Broken) -> Broken {
        shrink::shrink(self, broken)
    }
}
