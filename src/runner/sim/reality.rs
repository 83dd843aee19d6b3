//! What is really there, whoever thinks what: the truth of every step, the attempts under way, the
//! providers that something outside of the plan broke.
//!
//! Not known here: what the core makes of it. Where the world lied (a check that said done of what is
//! not), what is really there and what the run can know are two things; such a step is marked.

use super::dice::Dice;
use crate::action::{Check, Undo};
use crate::event::{Answer, Ending, Job, LineId, Outputs, ProviderId, StepId, Verdict, Way};
use crate::failure::Failure;
use crate::graph::{Effect, Graph};
use crate::plan::Work;
use crate::run::{Question, Run, Status};
use std::collections::{BTreeMap, BTreeSet};

/// What is really there of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Nothing.
    Absent,
    /// Some of it.
    Half,
    /// All of it.
    Present,
}

/// What is really there.
#[derive(Clone, Debug)]
pub struct Reality {
    /// By step.
    pub steps: Vec<Truth>,
    /// Attempts that an executor has.
    pub jobs: BTreeMap<StepId, Job>,
    /// Providers that something outside of the plan broke.
    pub dead: Vec<bool>,
    /// Providers that answer falsely.
    pub lying: Vec<bool>,
    /// Steps of which the world told a lie: of them, and of what hangs on them, the run knows wrong.
    pub lied: BTreeSet<StepId>,
}

impl Reality {
    /// Nothing has been done yet, and everything answers.
    pub fn new(graph: &Graph) -> Self {
        Self {
            steps: vec![Truth::Absent; graph.len()],
            jobs: BTreeMap::new(),
            dead: vec![false; graph.providers().len()],
            lying: vec![false; graph.providers().len()],
            lied: BTreeSet::new(),
        }
    }

    /// What is there of a step.
    pub fn truth(&self, step: StepId) -> Truth {
        self.steps[step.index()]
    }

    /// Makes it so.
    pub fn set(&mut self, step: StepId, truth: Truth) {
        self.steps[step.index()] = truth;
    }

    /// What an attempt leaves that nobody saw end.
    pub fn abandon(&mut self, job: Job, dice: &mut Dice<'_>) {
        self.jobs.remove(&job.step);
        let was = self.truth(job.step);
        let truth = match (job.way, dice.roll(3)) {
            (Way::Check, _) => was,
            (Way::Do, 0) if was == Truth::Absent => Truth::Absent,
            (Way::Do, 1) => Truth::Present,
            (Way::Undo, 0) => was,
            (Way::Undo, 1) => Truth::Absent,
            _ => Truth::Half,
        };
        self.set(job.step, truth);
    }

    /// Some ending of an attempt under way, true to what it leaves.
    pub fn end_somehow(&mut self, job: Job, dice: &mut Dice<'_>) -> Ending {
        let was = self.truth(job.step);
        let choice = dice.roll(8);
        let (truth, ending) = match (job.way, choice) {
            (_, 7) if was == Truth::Absent || dice.roll(2) == 0 => (was, Ending::Withdrawn),
            (Way::Check, 0..=4) if was == Truth::Present => (was, done()),
            (Way::Check, 0..=4) => (was, Ending::NotDone),
            (Way::Check, 5) => (was, Ending::Stopped),
            (Way::Check, _) => (was, Ending::Unknown(Failure::in_doubt("no answer"))),
            (Way::Do, 0..=2) => (Truth::Present, done()),
            (Way::Undo, 0..=2) => (Truth::Absent, done()),
            (way, 3 | 4) => {
                // An undo may have come further than it knows.
                let further = way == Way::Undo && dice.roll(2) == 1;
                let truth = if further { Truth::Absent } else { Truth::Half };
                let failure = match choice {
                    3 => Failure::transient("for now"),
                    _ => Failure::last("for good"),
                };
                (truth, Ending::Failed(failure))
            }
            (_, 5) => (Truth::Half, Ending::Stopped),
            _ => {
                self.abandon(job, dice);
                let unknown = dice.roll(2) == 0;
                let failure = Failure::timed_out("too long");
                let ending =
                    if unknown { Ending::Unknown(failure) } else { Ending::Failed(failure) };
                (self.truth(job.step), ending)
            }
        };
        if ending == Ending::Withdrawn {
            // Nothing was begun: what the run was told before stays as true as it was.
            self.jobs.remove(&job.step);
        } else {
            self.leave(job, truth);
        }
        ending
    }

    /// An attempt ends well.
    pub fn end_well(&mut self, job: Job) -> Ending {
        let truth = match job.way {
            Way::Do => Truth::Present,
            Way::Undo => Truth::Absent,
            Way::Check => self.truth(job.step),
        };
        self.leave(job, truth);
        match (job.way, truth) {
            (Way::Check, Truth::Absent | Truth::Half) => Ending::NotDone,
            _ => done(),
        }
    }

    /// An attempt is ended, as it was told to.
    pub fn end_stopped(&mut self, job: Job) -> Ending {
        let was = self.truth(job.step);
        self.leave(job, if job.way == Way::Check { was } else { Truth::Half });
        Ending::Stopped
    }

    /// A check says what is not so.
    pub fn end_with_a_lie(&mut self, job: Job) -> Ending {
        let was = self.truth(job.step);
        self.leave(job, was);
        self.lied.insert(job.step);
        if was == Truth::Present { Ending::NotDone } else { done() }
    }

    fn leave(&mut self, job: Job, truth: Truth) {
        self.jobs.remove(&job.step);
        self.set(job.step, truth);
        let whole = match job.way {
            Way::Do => truth == Truth::Present,
            Way::Undo => truth == Truth::Absent,
            Way::Check => false,
        };
        if whole {
            self.lied.remove(&job.step);
        }
    }

    /// How many sites hold each exclusive role (its place in the plan, and its line), by effects that
    /// are really there.
    pub fn holders(&self, graph: &Graph) -> BTreeMap<(u32, Option<LineId>), u32> {
        let mut held: Vec<bool> = graph.roles().iter().map(|role| role.held_at_start).collect();
        for step in graph.steps() {
            let under_way = self.under_way(step);
            for (role, effect) in graph.role_effects(step) {
                let it = &mut held[role.0 as usize];
                match (effect, self.truth(step)) {
                    (Effect::Loses, Truth::Present) if !under_way => *it = false,
                    (Effect::Gains, Truth::Absent) if !under_way => {}
                    (Effect::Gains, _) => *it = true,
                    _ => {}
                }
            }
        }
        let mut holders = BTreeMap::new();
        for (role, _) in graph.roles().iter().zip(held).filter(|(_, held)| *held) {
            *holders.entry((role.exclusive, role.line)).or_default() += 1;
        }
        holders
    }

    /// Whether an attempt at the deed or the way back of a step is under way.
    pub fn under_way(&self, step: StepId) -> bool {
        self.jobs.get(&step).is_some_and(|job| job.way != Way::Check)
    }

    /// Whether a provider would answer rightly if asked.
    pub fn answers(&self, provider: ProviderId) -> bool {
        !self.dead[provider.index()]
    }

    /// What a guard finds that asks now.
    pub fn verdict_of(&self, provider: ProviderId) -> Verdict {
        if self.lying[provider.index()] {
            Verdict::Lying(vec!["wrong-key".into()])
        } else if self.answers(provider) {
            Verdict::Normal
        } else {
            Verdict::Down(vec!["unreachable".into()])
        }
    }

    /// Whether a person who looks would give this answer.
    pub fn is_honest(&self, run: &Run, question: &Question, answer: Answer) -> bool {
        let Some(step) = question.step else { return true };
        let truth = self.truth(step);
        let undo = matches!(run.status(step), Status::Failed(Way::Undo));
        match answer {
            Answer::Done if undo => {
                // A check that disagrees is believed before the person.
                truth == Truth::Absent || (truth == Truth::Present && has_check(run.graph(), step))
            }
            Answer::Done => truth == Truth::Present,
            Answer::NotDone => truth != Truth::Present,
            _ => true,
        }
    }

    /// What people do by hand, and what nothing undoes, follows the run.
    pub fn follow(&mut self, run: &Run) {
        let graph = run.graph();
        for step in graph.steps() {
            let status = run.status(step);
            if status == Status::Clean && !undoable(graph, step) {
                self.set(step, Truth::Absent);
            }
            if let Status::Running(job) = status
                && run.is_manual(job)
            {
                self.set(step, Truth::Half);
            }
        }
    }

    /// What a person says of a step that people do is so.
    pub fn by_hand(&mut self, after: &Run, step: StepId) {
        match after.status(step) {
            Status::Done => self.set(step, Truth::Present),
            Status::Clean => self.set(step, Truth::Absent),
            _ => {}
        }
    }
}

/// The ending of what went well.
pub fn done() -> Ending {
    Ending::Done(Outputs::new())
}

/// A step that something has to undo.
pub fn undoable(graph: &Graph, step: StepId) -> bool {
    matches!(&graph.def(step).work, Work::Act { undo: Undo::By(_), .. })
}

/// A step that acts at all.
pub fn acts(graph: &Graph, step: StepId) -> bool {
    matches!(graph.def(step).work, Work::Act { .. })
}

/// A step whose doubt something else than a person can settle.
pub fn has_check(graph: &Graph, step: StepId) -> bool {
    matches!(&graph.def(step).work, Work::Act { check: Check::By(_) | Check::BuiltIn, .. })
}
