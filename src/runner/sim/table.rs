//! What struck when, and what the run made of it: fault by phase by reaction, counted over all runs, so
//! that a test can ask for each cell (a simulator that never meets a thing proves nothing of it).
//!
//! Not known here: whether the reaction was right; the oracle judges that.

use std::collections::BTreeMap;
use std::fmt;

/// Where a run stands when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing of the window may start yet.
    BeforeTheWindow,
    /// It goes forward.
    Forward,
    /// Some step is in doubt.
    InDoubt,
    /// It is held.
    Held,
    /// A line, or what came after a checkpoint, is rolled back.
    PartlyBack,
    /// The whole run is rolled back.
    Back,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BeforeTheWindow,
        Self::Forward,
        Self::InDoubt,
        Self::Held,
        Self::PartlyBack,
        Self::Back,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::BeforeTheWindow => "before the window",
            Self::Forward => "forward",
            Self::InDoubt => "in doubt",
            Self::Held => "held",
            Self::PartlyBack => "partly back",
            Self::Back => "back",
        }
    }
}

/// What the run made of it within a few turns: the gravest that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reaction {
    /// It ended.
    Ends,
    /// The runner left, or died.
    Leaves,
    /// More is rolled back than before.
    TurnsBack,
    /// More is in doubt than before.
    Doubts,
    /// More holds it than before.
    Holds,
    /// Less holds it than before.
    LetsGo,
    /// It goes on.
    GoesOn,
}

impl Reaction {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ends,
        Self::Leaves,
        Self::TurnsBack,
        Self::Doubts,
        Self::Holds,
        Self::LetsGo,
        Self::GoesOn,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Ends => "ends",
            Self::Leaves => "leaves",
            Self::TurnsBack => "turns back",
            Self::Doubts => "doubts",
            Self::Holds => "holds",
            Self::LetsGo => "lets go",
            Self::GoesOn => "goes on",
        }
    }
}

/// What is compared to see a reaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) phase: Phase,
    pub(super) ended: bool,
    /// Runners that have left or died so far.
    pub(super) left: u32,
    /// Steps that are wanted undone, or out.
    pub(super) back: usize,
    pub(super) doubts: usize,
    pub(super) holds: usize,
}

impl Look {
    /// What has become of it.
    pub(super) fn reaction(&self, now: &Self) -> Reaction {
        match () {
            () if now.ended => Reaction::Ends,
            () if now.left > self.left => Reaction::Leaves,
            () if now.back > self.back => Reaction::TurnsBack,
            () if now.doubts > self.doubts => Reaction::Doubts,
            () if now.holds > self.holds => Reaction::Holds,
            () if now.holds < self.holds => Reaction::LetsGo,
            () => Reaction::GoesOn,
        }
    }
}

/// How often each fault met each phase with each reaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    cells: BTreeMap<(&'static str, Phase, Reaction), u64>,
}

impl Table {
    pub(super) fn count(&mut self, fault: &'static str, phase: Phase, reaction: Reaction) {
        *self.cells.entry((fault, phase, reaction)).or_default() += 1;
    }

    /// Takes another one in.
    pub fn join(&mut self, other: &Self) {
        for (cell, often) in &other.cells {
            *self.cells.entry(*cell).or_default() += often;
        }
    }

    /// How many different cells were hit.
    pub fn hit(&self) -> usize {
        self.cells.len()
    }

    /// How often a fault met a phase, whatever came of it.
    pub fn met(&self, fault: &str, phase: Phase) -> u64 {
        let here = self.cells.iter().filter(|((it, at, _), _)| *it == fault && *at == phase);
        here.map(|(_, often)| often).sum()
    }

    /// How often a fault had a reaction, in whatever phase.
    pub fn led_to(&self, fault: &str, reaction: Reaction) -> u64 {
        let here = self.cells.iter().filter(|((it, _, what), _)| *it == fault && *what == reaction);
        here.map(|(_, often)| often).sum()
    }
}

/// One line for each fault and phase, one column for each reaction.
impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<30} {:<18}", "fault", "phase")?;
        for reaction in Reaction::ALL {
            write!(out, " {:>10}", reaction.word())?;
        }
        writeln!(out)?;
        let mut last = None;
        for (fault, phase, _) in self.cells.keys() {
            if last.replace((*fault, *phase)) == Some((*fault, *phase)) {
                continue;
            }
            write!(out, "{fault:<30} {:<18}", phase.word())?;
            for reaction in Reaction::ALL {
                match self.cells.get(&(*fault, *phase, reaction)) {
                    Some(often) => write!(out, " {often:>10}")?,
                    None => write!(out, " {:>10}", "-")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
