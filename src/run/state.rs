//! The state of a run, and the one way in which a step of it changes.
//!
//! [`Run::change`] is called on every transition. It keeps what is counted (limits, effects on
//! providers and roles, what is left to do or undo), tells the neighbours, and puts the step into
//! the queue that it belongs to now. So an event costs what its edges cost.

use super::facts::Fact;
use super::questions::Asked;
use super::rollback::Order;
use super::{Goal, Hold, Run, Status};
use crate::event::{
    Answer, Job, LineId, Outcome, Outputs, Person, ProviderId, QuestionId, Seq, StepId, Verdict,
    Way,
};
use crate::failure::Failure;
use crate::graph::{Effect, RoleId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Why a step takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// It takes part.
    No,
    /// A person left it out.
    Skipped,
    /// Its line was rolled back.
    Line,
}

/// How a step stands with the live floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It does not wait for it.
    Fresh,
    /// It waits, until a timer asks people.
    Until(Option<Timestamp>),
    /// People were asked.
    Asked,
}

/// The queue that a step stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// None: nothing is to be done, or something is awaited.
    None,
    /// Its do or check may start, limits and floor aside.
    Go,
    /// Its undo may start (or the check of a person's word), limits and floor aside.
    Back,
    /// It is undone by itself: nothing carries its undo out.
    Free,
    /// A gate that people may approve.
    Gate,
    /// The window is not open yet.
    Opens,
    /// Its `not_before` has not come.
    NotBefore,
    /// Its time was over when the run began: people are asked.
    Late,
    /// The window has closed: people are asked.
    Overrun,
    /// A revocation of its line is not confirmed.
    Lane,
}

/// What a run holds of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) status: Status,
    pub(super) goal: Goal,
    pub(super) out: Out,
    /// Attempts so far, by way; never falls.
    pub(super) attempts: [u32; 3],
    /// Failures by way since it was last clean or a person said `retry`.
    pub(super) fails: [u32; 3],
    /// What the running attempt goes back to when it is withdrawn.
    pub(super) before: Status,
    /// Direct needs that do not let it start.
    pub(super) blocked: u32,
    /// Direct dependents that keep it from being undone.
    pub(super) weight: u32,
    /// It lets its dependents start.
    pub(super) passable: bool,
    /// It keeps its needs from being undone.
    pub(super) weighs: bool,
    /// Record at which it was last done; 0 when it is not.
    pub(super) done_at: Seq,
    /// The order that wants it undone.
    pub(super) order: u32,
    /// When its backoff is over.
    pub(super) wake: Option<Timestamp>,
    /// A person says that it is undone; a check is to agree.
    pub(super) claimed: bool,
    /// Its running attempt is to end (an interrupt).
    pub(super) stop: bool,
    /// Its `not_before` has come, or a person said "now".
    pub(super) timely: bool,
    /// A person said "now" although its time was over.
    pub(super) late_ok: bool,
    pub(super) patience: Patience,
    pub(super) slot: Slot,
    /// The floor or a role bars its start, as of the newest record.
    pub(super) barred: bool,
}

impl Step {
    fn new() -> Self {
        Self {
            status: Status::Clean,
            goal: Goal::Done,
            out: Out::No,
            attempts: [0; 3],
            fails: [0; 3],
            before: Status::Clean,
            blocked: 0,
            weight: 0,
            passable: false,
            weighs: false,
            done_at: 0,
            order: 0,
            wake: None,
            claimed: false,
            stop: false,
            timely: false,
            late_ok: false,
            patience: Patience::Fresh,
            slot: Slot::None,
            barred: false,
        }
    }

    /// Begun and not done.
    pub(super) fn half_done(&self) -> bool {
        !matches!(self.status, Status::Clean | Status::Done)
    }

    pub(super) fn begun(&self) -> bool {
        self.status != Status::Clean
    }

    /// Nothing more is wanted of it, going forward.
    fn finished(&self) -> bool {
        self.out != Out::No || (self.status == Status::Done && self.goal == Goal::Done)
    }
}

/// What the run counts of a provider.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Provider {
    /// 1 when clients are sent there, disturbances aside.
    pub(super) net: i32,
    /// Half-done steps that disturb it.
    pub(super) disturbed: u32,
    /// Half-done steps that touch it.
    pub(super) half: u32,
    /// Half-done steps that touch it and have an attempt under way.
    pub(super) running: u32,
    /// The record that last touched it.
    pub(super) last_event: Seq,
    pub(super) verdict: Verdict,
    pub(super) as_of: Seq,
    /// As what its service counts it.
    pub(super) counts: Counts,
}

/// How many providers are what the floor and a breach ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Up, touched by no half-done step, and normal by a fresh verdict.
    pub(super) standing: usize,
    /// Up, touched by no half-done step, and not called down.
    pub(super) not_down: usize,
    /// Clients are sent there, and it lies.
    pub(super) lying: usize,
}

impl Counts {
    /// Takes out what was, puts in what is.
    pub(super) fn shift(&mut self, was: Self, is: Self) {
        self.standing = self.standing + is.standing - was.standing;
        self.not_down = self.not_down + is.not_down - was.not_down;
        self.lying = self.lying + is.lying - was.lying;
    }
}

/// Who does a manual step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hands {
    pub(super) claims: Vec<String>,
    pub(super) finished: Vec<String>,
}

/// All that a run is. Two runs with the same state go on in the same way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) seq: Seq,
    pub(super) begun: bool,
    pub(super) rehearsal: bool,
    pub(super) shift: SignedDuration,
    pub(super) begun_at: Timestamp,
    pub(super) epoch: Option<u64>,
    pub(super) steps: Vec<Step>,
    pub(super) providers: Vec<Provider>,
    /// Holders that each role counts as, 1 while it may hold.
    pub(super) roles: Vec<i32>,
    pub(super) used: Vec<u32>,
    pub(super) running: BTreeSet<StepId>,
    pub(super) timers: BTreeSet<(Timestamp, StepId, Way)>,
    /// Steps waiting for the floor with a deadline.
    pub(super) floor: BTreeSet<(Timestamp, StepId)>,
    /// Ready by class and place, what is barred aside.
    pub(super) go: Vec<BTreeSet<u32>>,
    pub(super) back: Vec<BTreeSet<u32>>,
    /// Ready takers whose start the floor or a role bars, whatever else starts.
    pub(super) barred: BTreeSet<StepId>,
    /// Takers that changed since they were last judged.
    pub(super) stirred: BTreeSet<StepId>,
    /// Providers and roles that changed since those who take them were last judged.
    pub(super) moved: BTreeSet<ProviderId>,
    pub(super) moved_roles: BTreeSet<RoleId>,
    /// What each service counts of its providers.
    pub(super) counts: Vec<Counts>,
    /// Whether a hold stopped takers when they were last judged.
    pub(super) was_held: bool,
    pub(super) free: BTreeSet<StepId>,
    pub(super) gates: BTreeSet<StepId>,
    pub(super) parked_opens: BTreeSet<StepId>,
    pub(super) parked_time: BTreeSet<(Timestamp, StepId)>,
    pub(super) parked_late: BTreeSet<StepId>,
    pub(super) parked_overrun: BTreeSet<StepId>,
    pub(super) parked_lane: BTreeSet<StepId>,
    pub(super) opened: bool,
    pub(super) closed: bool,
    pub(super) overrun_ok: bool,
    /// Per line: every accepted revocation is confirmed.
    pub(super) clear: Vec<bool>,
    pub(super) holds: Vec<Hold>,
    pub(super) questions: Vec<Asked>,
    pub(super) answered: BTreeMap<QuestionId, (String, Answer)>,
    pub(super) last_id: Seq,
    /// Steps to be asked about as soon as the event is taken in.
    pub(super) to_ask: BTreeSet<StepId>,
    /// Steps to be asked about when the last person's hold is released.
    pub(super) ask_later: BTreeSet<StepId>,
    /// Orders of lines that could not go out, to be asked about anew then.
    pub(super) lines_later: BTreeSet<u32>,
    pub(super) orders: Vec<Order>,
    pub(super) aborting: bool,
    pub(super) outcome: Option<Outcome>,
    /// How often a step was given another goal.
    pub(super) goals: u64,
    /// Steps that are neither done as wanted nor out.
    pub(super) unfinished: usize,
    /// Begun steps that are wanted undone.
    pub(super) left: usize,
    /// For each checkpoint, its carriers that are not done, and when it was reached.
    pub(super) checkpoints: Vec<(u32, Option<Seq>)>,
    pub(super) breached_now: BTreeSet<ServiceId>,
    pub(super) breached: Vec<ServiceId>,
    /// For running takers, the services whose floor was judged at the start.
    pub(super) floored: BTreeMap<StepId, Vec<ServiceId>>,
    pub(super) outputs: BTreeMap<StepId, Outputs>,
    pub(super) approvals: BTreeMap<StepId, Vec<Person>>,
    pub(super) hands: BTreeMap<StepId, Hands>,
    pub(super) failures: BTreeMap<StepId, Failure>,
    /// Services touched by this event, to be judged for a breach.
    pub(super) touched: BTreeSet<ServiceId>,
}

impl Run {
    /// The state before the first record.
    pub(super) fn blank(graph: &crate::graph::Graph, facts: &super::facts::Facts) -> State {
        let classes = facts.classes.len();
        let mut steps: Vec<Step> = graph.steps().map(|_| Step::new()).collect();
        for step in graph.steps() {
            steps[step.index()].blocked = graph.needs(step).len() as u32;
        }
        let unfinished = steps.len();
        State {
            seq: 0,
            begun: false,
            rehearsal: false,
            shift: SignedDuration::ZERO,
            begun_at: Timestamp::UNIX_EPOCH,
            epoch: None,
            steps,
            providers: graph
                .providers()
                .iter()
                .map(|info| Provider {
                    net: i32::from(info.serving_at_start),
                    disturbed: 0,
                    half: 0,
                    running: 0,
                    last_event: 0,
                    verdict: Verdict::Unknown,
                    as_of: 0,
                    counts: Counts::default(),
                })
                .collect(),
            roles: graph.roles().iter().map(|role| i32::from(role.held_at_start)).collect(),
            used: vec![0; graph.limit_count()],
            running: BTreeSet::new(),
            timers: BTreeSet::new(),
            floor: BTreeSet::new(),
            go: vec![BTreeSet::new(); classes],
            back: vec![BTreeSet::new(); classes],
            barred: BTreeSet::new(),
            stirred: BTreeSet::new(),
            // Not counted yet.
            moved: (0..graph.providers().len() as u32).map(ProviderId).collect(),
            moved_roles: BTreeSet::new(),
            counts: vec![Counts::default(); graph.services().len()],
            was_held: false,
            free: BTreeSet::new(),
            gates: BTreeSet::new(),
            parked_opens: BTreeSet::new(),
            parked_time: BTreeSet::new(),
            parked_late: BTreeSet::new(),
            parked_overrun: BTreeSet::new(),
            parked_lane: BTreeSet::new(),
            opened: false,
            closed: false,
            overrun_ok: false,
            clear: vec![true; graph.line_count()],
            holds: Vec::new(),
            questions: Vec::new(),
            answered: BTreeMap::new(),
            last_id: 0,
            to_ask: BTreeSet::new(),
            ask_later: BTreeSet::new(),
            lines_later: BTreeSet::new(),
            orders: Vec::new(),
            aborting: false,
            outcome: None,
            goals: 0,
            unfinished,
            left: 0,
            checkpoints: facts.checkpoints.iter().map(|(_, carriers)| (*carriers, None)).collect(),
            breached_now: BTreeSet::new(),
            breached: Vec::new(),
            floored: BTreeMap::new(),
            outputs: BTreeMap::new(),
            approvals: BTreeMap::new(),
            hands: BTreeMap::new(),
            failures: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn step(&self, step: StepId) -> &Step {
        &self.state.steps[step.index()]
    }

    pub(super) fn fact(&self, step: StepId) -> &Fact {
        &self.facts.steps[step.index()]
    }

    /// Changes a step: counts, neighbours and queues follow.
    pub(super) fn change(&mut self, step: StepId, with: impl FnOnce(&mut Step)) {
        self.tally(step, false);
        let goal = self.step(step).goal;
        with(&mut self.state.steps[step.index()]);
        self.state.goals += u64::from(self.step(step).goal != goal);
        self.tally(step, true);
        self.pass_on(step);
        self.weigh_on(step);
        self.reconsider(step);
        if self.fact(step).taker {
            self.state.stirred.insert(step);
        }
    }

    /// Sets a status; what hangs on a status alone goes with it.
    pub(super) fn set_status(&mut self, step: StepId, status: Status) {
        let seq = self.state.seq;
        if status == Status::Clean {
            self.state.approvals.remove(&step);
            self.state.outputs.remove(&step);
            self.state.failures.remove(&step);
        }
        if !matches!(status, Status::Running(_)) {
            self.state.hands.remove(&step);
            self.state.floored.remove(&step);
        }
        self.change(step, |it| {
            it.status = status;
            if !matches!(status, Status::Running(_)) {
                it.stop = false;
            }
            match status {
                Status::Clean => {
                    it.fails = [0; 3];
                    it.claimed = false;
                    it.done_at = 0;
                }
                Status::Done => {
                    it.fails = [0; 3];
                    it.done_at = seq;
                }
                _ => {}
            }
        });
    }

    /// Takes what a step counts for out of the sums, or puts it in.
    fn tally(&mut self, id: StepId, add: bool) {
        let fact = &self.facts.steps[id.index()];
        let state = &mut self.state;
        let step = &state.steps[id.index()];
        let count = |sum: &mut usize| if add { *sum += 1 } else { *sum -= 1 };
        if !step.finished() {
            count(&mut state.unfinished);
        }
        if step.begun() && step.goal != Goal::Done {
            count(&mut state.left);
        }
        if let Some(at) = fact.checkpoint
            && !(step.out != Out::No || step.status == Status::Done)
        {
            let missing = &mut state.checkpoints[at as usize].0;
            if add { *missing += 1 } else { *missing -= 1 }
        }
        match step.status {
            Status::Running(job) => {
                let manual = is_manual(fact, job.way);
                for limit in self.facts.classes[fact.class as usize].iter().filter(|_| !manual) {
                    let used = &mut state.used[limit.0 as usize];
                    if add { *used += 1 } else { *used -= 1 }
                }
                if add {
                    state.running.insert(id);
                } else {
                    state.running.remove(&id);
                }
            }
            Status::Waiting(way) => {
                if let Some(at) = step.wake {
                    if add {
                        state.timers.insert((at, id, way));
                    } else {
                        state.timers.remove(&(at, id, way));
                    }
                }
            }
            _ => {}
        }
        if fact.taker {
            self.tally_effects(id, add);
        }
    }

    fn tally_effects(&mut self, id: StepId, add: bool) {
        let state = &mut self.state;
        let step = &state.steps[id.index()];
        let sign = if add { 1 } else { -1 };
        let (half, done, begun) = (step.half_done(), step.status == Status::Done, step.begun());
        let running = matches!(step.status, Status::Running(_));
        let count = |sum: &mut u32| if add { *sum += 1 } else { *sum -= 1 };
        for (provider, effect) in self.graph.effects(id) {
            let it = &mut state.providers[provider.index()];
            if half {
                count(&mut it.half);
                if running {
                    count(&mut it.running);
                }
            }
            match effect {
                Effect::Loses if begun => it.net -= sign,
                Effect::Gains if done => it.net += sign,
                Effect::Disturbs if half => count(&mut it.disturbed),
                _ => {}
            }
            state.moved.insert(*provider);
            state.touched.insert(self.graph.providers()[provider.index()].service);
        }
        for (role, effect) in self.graph.role_effects(id) {
            state.moved_roles.insert(*role);
            let holders = &mut state.roles[role.0 as usize];
            match effect {
                Effect::Gains if begun => *holders += sign,
                Effect::Loses if done => *holders -= sign,
                _ => {}
            }
        }
    }

    /// Tells the dependents whether this step lets them start; a step that is out hands its needs
    /// on.
    fn pass_on(&mut self, from: StepId) {
        let (mut now, mut work) = (Some(from), Vec::new());
        while let Some(id) = now {
            self.pass_on_from(id, &mut work);
            now = work.pop();
        }
    }

    fn pass_on_from(&mut self, id: StepId, work: &mut Vec<StepId>) {
        let step = &mut self.state.steps[id.index()];
        let passable = if step.out == Out::No {
            step.status == Status::Done && step.goal == Goal::Done
        } else {
            step.status == Status::Clean && step.blocked == 0
        };
        if passable == step.passable {
            return;
        }
        step.passable = passable;
        let graph = std::sync::Arc::clone(&self.graph);
        for next in graph.dependents(id) {
            let it = &mut self.state.steps[next.index()];
            let was = it.blocked;
            if passable {
                it.blocked -= 1
            } else {
                it.blocked += 1
            }
            if was == 0 || it.blocked == 0 {
                if it.out != Out::No {
                    work.push(*next);
                }
                self.reconsider(*next);
            }
        }
    }

    /// Tells the needs whether this step keeps them from being undone; a step that is out hands
    /// that on too.
    fn weigh_on(&mut self, from: StepId) {
        let (mut now, mut work) = (Some(from), Vec::new());
        while let Some(id) = now {
            self.weigh_on_from(id, &mut work);
            now = work.pop();
        }
    }

    fn weigh_on_from(&mut self, id: StepId, work: &mut Vec<StepId>) {
        let step = &mut self.state.steps[id.index()];
        let weighs = step.begun() || (step.out != Out::No && step.weight > 0);
        if weighs == step.weighs {
            return;
        }
        step.weighs = weighs;
        let graph = std::sync::Arc::clone(&self.graph);
        for need in graph.needs(id) {
            let it = &mut self.state.steps[need.index()];
            let was = it.weight;
            if weighs {
                it.weight += 1
            } else {
                it.weight -= 1
            }
            if was == 0 || it.weight == 0 {
                if it.out != Out::No {
                    work.push(*need);
                }
                self.reconsider(*need);
            }
        }
    }

    /// Providers' verdicts are unknown again: a job that touches them began or ended.
    pub(super) fn touch(&mut self, step: StepId) {
        let seq = self.state.seq;
        for (provider, _) in self.graph.effects(step) {
            let it = &mut self.state.providers[provider.index()];
            it.last_event = seq;
            it.verdict = Verdict::Unknown;
            it.as_of = seq;
            self.state.moved.insert(*provider);
            self.state.touched.insert(self.graph.providers()[provider.index()].service);
        }
    }

    /// Whether the revocations that a step waits for are confirmed.
    pub(super) fn lane_is_clear(&self, step: StepId) -> bool {
        match self.graph.line(step) {
            Some(line) => self.state.clear[line.index()],
            None => self.state.clear.iter().all(|clear| *clear),
        }
    }

    /// The lines whose revocations a step waits for.
    pub(super) fn unclear_lines(&self, step: StepId) -> Vec<LineId> {
        let lines = (0u32..).zip(&self.state.clear).filter(|(_, clear)| !**clear);
        let lines = lines.map(|(at, _)| LineId(at));
        match self.graph.line(step) {
            Some(line) => lines.filter(|it| *it == line).collect(),
            None => lines.collect(),
        }
    }

    /// Clients are sent there, as far as the plan has come.
    pub(super) fn up(&self, provider: ProviderId) -> bool {
        let it = &self.state.providers[provider.index()];
        it.net > 0 && it.disturbed == 0
    }

    /// An attempt that no executor sees.
    pub(super) fn manual(&self, job: Job) -> bool {
        is_manual(self.fact(job.step), job.way)
    }
}

/// Whether people carry this way of the step out.
pub(super) fn is_manual(fact: &Fact, way: Way) -> bool {
    match way {
        Way::Do => fact.manual_do,
        Way::Undo => fact.manual_undo,
        Way::Check => false,
    }
}
