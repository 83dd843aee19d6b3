//! What the records alone say of every step: a second, small fold of the journal, by the rules as they
//! are written down and not as the core carries them out.
//!
//! The core's own word is taken for one thing only, as no record tells of it: that a step which
//! nothing undoes has become clean, and that a gate is open. Whether it may be so is judged.

use super::oracle::{Kept, keep};
use super::reality::{has_check, undoable};
use super::shape::Shape;
use crate::action::{Action, Undo};
use crate::event::{Answer, Ending, Event, Job, Record, Request, StepId, Timer, Way};
use crate::failure::FailureKind;
use crate::graph::Graph;
use crate::plan::{Phase, Work};
use crate::run::{Goal, Run, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Where a step stands, by the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Never started, or wholly undone.
    Clean,
    /// Begun and not done.
    Half,
    /// Nobody knows whether it was done.
    Doubt,
    /// An attempt is under way.
    Running(Job),
    /// Done.
    Done,
}

impl Stage {
    pub(super) fn half(self) -> bool {
        !matches!(self, Self::Clean | Self::Done)
    }
}

/// The fold.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    stages: Vec<Stage>,
    /// What an attempt under way began from.
    before: Vec<Stage>,
    attempts: Vec<[u32; 3]>,
    /// Who has said that a manual step under way is done.
    hands: BTreeMap<StepId, BTreeSet<String>>,
    /// Steps of which a person says that they are undone; a check is to agree.
    claimed: BTreeSet<StepId>,
    /// Steps whose moment has come, or of which a person said "now".
    timely: BTreeSet<StepId>,
    opened: bool,
    epoch: u64,
}

impl Ledger {
    pub(super) fn new(graph: &Graph) -> Self {
        Self {
            stages: vec![Stage::Clean; graph.len()],
            before: vec![Stage::Clean; graph.len()],
            attempts: vec![[0; 3]; graph.len()],
            hands: BTreeMap::new(),
            claimed: BTreeSet::new(),
            timely: BTreeSet::new(),
            opened: graph.plan().window.is_none(),
            epoch: 0,
        }
    }

    pub(super) fn stage(&self, step: StepId) -> Stage {
        self.stages[step.index()]
    }

    pub(super) fn doubts(&self) -> usize {
        self.stages.iter().filter(|stage| **stage == Stage::Doubt).count()
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// Whether what the records say allows this start.
    pub(super) fn judge_start(&self, graph: &Graph, job: Job) -> Kept {
        let (step, name) = (job.step, graph.name(job.step));
        let count = self.attempts[step.index()][job.way as usize];
        keep!(job.attempt == count + 1, "I3: attempt {} of `{name}` after {count}", job.attempt);
        let stage = self.stage(step);
        keep!(!matches!(stage, Stage::Running(_)), "I3: `{name}` is started while it is {stage:?}");
        match job.way {
            Way::Do => {
                keep!(stage != Stage::Done, "I4: `{name}` is done, and is started again");
                if stage == Stage::Doubt {
                    let repeats = graph.def(step).idempotent && !has_check(graph, step);
                    keep!(repeats, "I5: `{name}` was repeated by a guess");
                }
                if stage == Stage::Clean && graph.phase(step) == Phase::Window {
                    keep!(self.opened, "I1: `{name}` is started before the window opens");
                }
                if stage == Stage::Clean && graph.def(step).not_before.is_some() {
                    let timely = self.timely.contains(&step);
                    keep!(timely, "I1: `{name}` is started before its time");
                }
            }
            Way::Undo => {
                keep!(stage != Stage::Clean, "I7: `{name}` never started, and is undone");
            }
            Way::Check => {
                let asked = stage == Stage::Doubt || self.claimed.contains(&step);
                keep!(asked, "I5: `{name}` is {stage:?}, and is checked");
            }
        }
        Ok(())
    }

    /// Takes a record in.
    pub(super) fn fold(&mut self, before: &Run, record: &Record) -> Kept {
        let graph = before.graph();
        match &record.event {
            Event::Opened { epoch, .. } => {
                keep!(*epoch > self.epoch, "I10: epoch {epoch} after {}", self.epoch);
                self.epoch = *epoch;
                self.runner_died(before);
            }
            Event::Started(job) => {
                let at = job.step.index();
                self.before[at] = self.stages[at];
                self.stages[at] = Stage::Running(*job);
                self.attempts[at][job.way as usize] = job.attempt;
                self.hands.remove(&job.step);
            }
            Event::Ended(job, ending) => {
                let was = self.stage(job.step);
                keep!(was == Stage::Running(*job), "I3: {job:?} ended while it was {was:?}");
                self.stages[job.step.index()] = self.ended(*job, ending);
            }
            Event::Due { timer: Timer::Opens, .. } => self.opened = true,
            Event::Due { timer: Timer::NotBefore(step), .. } => {
                self.timely.insert(*step);
            }
            Event::Requested(who, request) => self.requested(before, graph, &who.login, request),
            _ => {}
        }
        Ok(())
    }

    /// What was under way is in doubt; an undo is repeated, what people do goes on.
    fn runner_died(&mut self, run: &Run) {
        for (stage, before) in self.stages.iter_mut().zip(&self.before) {
            let Stage::Running(job) = *stage else { continue };
            if run.is_manual(job) {
                continue;
            }
            *stage = match job.way {
                Way::Do => Stage::Doubt,
                Way::Undo => Stage::Half,
                Way::Check => *before,
            };
        }
    }

    fn ended(&mut self, job: Job, ending: &Ending) -> Stage {
        let before = self.before[job.step.index()];
        let claimed = self.claimed.contains(&job.step);
        let in_doubt = |kind| matches!(kind, FailureKind::TimedOut | FailureKind::InDoubt);
        match (job.way, ending) {
            (_, Ending::Withdrawn) | (Way::Check, Ending::Stopped) => before,
            (Way::Check, ending) if claimed => {
                self.claimed.remove(&job.step);
                if *ending == Ending::NotDone { Stage::Clean } else { Stage::Half }
            }
            (Way::Do | Way::Check, Ending::Done(_)) => Stage::Done,
            (Way::Check, Ending::NotDone) => Stage::Half,
            (Way::Check, Ending::Failed(_) | Ending::Unknown(_)) => Stage::Doubt,
            (Way::Do, Ending::Unknown(_)) => Stage::Doubt,
            (Way::Do, Ending::Failed(failure)) if in_doubt(failure.kind) => Stage::Doubt,
            (Way::Undo, Ending::Done(_)) => Stage::Clean,
            _ => Stage::Half,
        }
    }

    fn requested(&mut self, before: &Run, graph: &Graph, who: &str, request: &Request) {
        match request {
            Request::Finish { step, .. } => {
                let Stage::Running(job) = self.stage(*step) else { return };
                let hands = self.hands.entry(*step).or_default();
                hands.insert(who.to_owned());
                if hands.len() >= people(graph, job).max(1) as usize {
                    self.stages[step.index()] =
                        if job.way == Way::Do { Stage::Done } else { Stage::Clean };
                }
            }
            Request::Fail { step, .. } => self.stages[step.index()] = Stage::Half,
            Request::Retry { step }
                if self.stage(*step) == Stage::Doubt && !has_check(graph, *step) =>
            {
                self.stages[step.index()] = Stage::Half;
            }
            Request::Answer { question, answer, .. } => {
                let asked = before.questions().into_iter().find(|it| it.id == *question);
                if let Some(step) = asked.and_then(|it| it.step) {
                    self.answered(graph, step, *answer);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, graph: &Graph, step: StepId, answer: Answer) {
        let check = has_check(graph, step);
        let stage = &mut self.stages[step.index()];
        match (*stage, answer) {
            (Stage::Doubt, Answer::Done) => *stage = Stage::Done,
            (Stage::Doubt, Answer::NotDone) => *stage = Stage::Half,
            (Stage::Half, Answer::Done) if check => {
                self.claimed.insert(step);
            }
            // The guard agrees.
            (Stage::Half, Answer::Done) => *stage = Stage::Clean,
            (_, Answer::Go) => {
                self.timely.insert(step);
            }
            _ => {}
        }
    }

    /// The core's claims are what the records say.
    pub(super) fn agree(&mut self, after: &Run, shape: &Shape) -> Kept {
        let graph = after.graph();
        // Those that need it come before what they need.
        for step in graph.topological().iter().rev().copied() {
            let (mine, claim) = (self.stage(step), after.status(step));
            if agrees(graph, step, mine, claim) {
                continue;
            }
            let name = graph.name(step);
            if claim == Status::Clean && !undoable(graph, step) && mine != Stage::Clean {
                let dependents = shape.dependents(step).steps();
                for other in dependents {
                    let it = self.stage(other);
                    keep!(
                        it == Stage::Clean,
                        "I7: `{name}` is undone by itself, and `{}`, which needs it, is {it:?}",
                        graph.name(other)
                    );
                }
                self.stages[step.index()] = Stage::Clean;
                continue;
            }
            if let Stage::Running(job) = mine
                && after.is_manual(job)
                && claim == Status::Partial
                && after.goal(step) != Goal::Done
            {
                // Nobody has to be told to end: people are not waited for any more.
                self.stages[step.index()] = Stage::Half;
                continue;
            }
            let gate = matches!(graph.def(step).work, Work::Ask(_));
            keep!(
                gate && claim == Status::Done && mine == Stage::Clean,
                "I5: `{name}` is {mine:?} by the records, and called {claim:?}"
            );
            self.stages[step.index()] = Stage::Done;
        }
        Ok(())
    }
}

fn agrees(graph: &Graph, step: StepId, mine: Stage, claim: Status) -> bool {
    match (mine, claim) {
        (Stage::Clean, Status::Clean)
        | (Stage::Done, Status::Done)
        | (Stage::Doubt, Status::Doubt(Way::Do) | Status::Waiting(Way::Check))
        | (Stage::Half, Status::Partial | Status::Failed(_) | Status::Doubt(Way::Undo)) => true,
        (Stage::Half, Status::Waiting(way)) => way != Way::Check,
        (Stage::Running(job), Status::Running(other)) => job == other,
        (Stage::Doubt, Status::Partial | Status::Waiting(Way::Do) | Status::Failed(Way::Do)) => {
            graph.def(step).idempotent && !has_check(graph, step)
        }
        _ => false,
    }
}

/// How many people a manual job wants.
fn people(graph: &Graph, job: Job) -> u32 {
    let Work::Act { act, undo, .. } = &graph.def(job.step).work else { return 1 };
    let action = match (job.way, undo) {
        (Way::Do, _) => Some(act),
        (Way::Undo, Undo::By(undo)) => Some(&**undo),
        _ => None,
    };
    match action {
        Some(Action::Manual(manual)) => manual.people,
        _ => 1,
    }
}
