//! What may happen in one run: of all that can, a random part, so that rare things meet often
//! (swarm testing). One run in ten has no fault at all, and must complete.
//!
//! Not known here: what each does.

use super::dice::Dice;

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The journal is synced, all letters are taken.
    Flow,
    /// A part of the journal is synced.
    Sync,
    /// Some letters are taken.
    Deliver,
    /// An attempt under way answers.
    End,
    /// The earliest moment that is waited for comes.
    Timer,
    /// The guard looks at everything.
    Look,
    /// Whoever is waited for approves, claims or ends a step.
    Help,
    /// Somebody answers a question, or releases.
    Answer,
    /// Somebody asks for anything.
    Wish,
    /// The same person approves again.
    Twice,
    /// Somebody gives up.
    Abort,
    /// The process dies, at any byte of what it writes.
    Crash,
    /// The process is told to end, once or twice.
    Signal,
    /// The disk is full, or a sync fails.
    DiskFails,
    /// A byte of what was durable is another one when the run is taken up again.
    Damage,
    /// A runner that was thought dead writes on.
    Stale,
    /// A provider breaks, or is repaired.
    Breaks,
    /// A provider answers falsely, or stops to.
    Falsifies,
    /// The guard is silent.
    Silent,
    /// The guard's word on one provider comes late.
    LateWord,
    /// The wall clock is set.
    ClockJumps,
    /// A revocation is ordered, or all are confirmed.
    Revocation,
    /// An old attempt answers again, and what cannot be comes in.
    Intrude,
    /// A check says what is not so.
    CheckLies,
    /// An attempt under way never answers by itself.
    Hangs,
}

/// Acts that every run has, with their weights.
const ORDINARY: [(Act, u32); 8] = [
    (Act::Flow, 12),
    (Act::End, 16),
    (Act::Sync, 4),
    (Act::Deliver, 4),
    (Act::Timer, 2),
    (Act::Look, 3),
    (Act::Help, 4),
    (Act::Answer, 3),
];

/// Faults, each in half of the runs.
const FAULTS: [(Act, u32); 17] = [
    (Act::Wish, 3),
    (Act::Twice, 3),
    (Act::Abort, 1),
    (Act::Crash, 1),
    (Act::Signal, 1),
    (Act::DiskFails, 1),
    (Act::Damage, 1),
    (Act::Stale, 1),
    (Act::Breaks, 1),
    (Act::Falsifies, 1),
    (Act::Silent, 1),
    (Act::LateWord, 1),
    (Act::ClockJumps, 1),
    (Act::Revocation, 1),
    (Act::Intrude, 1),
    (Act::CheckLies, 4),
    (Act::Hangs, 1),
];

/// What may happen in a run.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    acts: Vec<(Act, u32)>,
    /// Whether nothing goes wrong.
    pub(super) quiet: bool,
    /// Of so many attempts one ends in some other way than well.
    pub(super) failing: usize,
}

impl Swarm {
    pub(super) fn new(dice: &mut Dice<'_>, steps: usize) -> Self {
        let quiet = dice.one_in(10);
        let mut acts = ORDINARY.to_vec();
        // A large plan takes more turns, and is to come as far in spite of the faults.
        let dilution = 1 + u32::try_from(steps / 40).unwrap_or(u32::MAX);
        acts.iter_mut().for_each(|(_, weight)| *weight *= dilution);
        for fault in FAULTS {
            if dice.roll(2) == 1 && !quiet {
                acts.push(fault);
            }
        }
        let often = [usize::MAX, 40, 12, 3][dice.roll(4)];
        let failing = if quiet { usize::MAX } else { often };
        Self { acts, quiet, failing }
    }

    pub(super) fn act(&self, dice: &mut Dice<'_>) -> Act {
        let all: u32 = self.acts.iter().map(|(_, weight)| weight).sum();
        let mut at = dice.roll(all as usize);
        for (act, weight) in &self.acts {
            if at < *weight as usize {
                return *act;
            }
            at -= *weight as usize;
        }
        Act::Flow
    }

    pub(super) fn fails(&self, dice: &mut Dice<'_>) -> bool {
        self.failing != usize::MAX && dice.one_in(self.failing)
    }
}
