//! The invariants, judged from the journal and from what is really there (reliability.md section 4).
//!
//! What may be is worked out here, from the graph and the records ([`Ledger`]), in another way than the
//! core does it; of the core are taken what it wants (goals, holds, what is out), and the states that
//! it claims, to be compared. Judged elsewhere, as it needs more than one run of a core: I2 and I13
//! (`play`, `disk`), I14 and I16 (`play`, `heal`), one runner of I10 (`disk`). Not judged: I17, as no
//! secret comes into a simulated run (the real binary is searched for one).

use super::ledger::{Ledger, Stage};
use super::reality::{Reality, Truth, acts, undoable};
use super::shape::{Set, Shape};
use crate::event::{
    Answer, Event, HoldId, Job, Outcome, ProviderId, Record, Request, Seq, StepId, Verdict, Way,
};
use crate::graph::{Effect, Graph};
use crate::plan::{Kind, Phase, Work};
use crate::proof::{self, protection::Sense};
use crate::run::{Command, Goal, Hold, HoldCause, Run, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// An invariant that was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Whether an invariant was kept.
pub type Kept = Result<(), Violation>;

/// Answers with the violation when the invariant does not hold.
macro_rules! keep {
    ($held:expr, $($text:tt)+) => {
        let held: bool = $held;
        if !held {
            return Err($crate::runner::sim::Violation(format!($($text)+)));
        }
    };
}
pub(super) use keep;

/// Its own small fold of what the invariants need.
#[derive(Clone, Debug)]
pub struct Oracle {
    shape: Arc<Shape>,
    verdicts: Vec<(Verdict, Seq)>,
    last_event: Vec<Seq>,
    clear: Vec<bool>,
    /// Who has approved each gate since it was last undone.
    approvals: BTreeMap<StepId, Vec<(String, Vec<String>)>>,
    ledger: Ledger,
    /// Least providers up by service, over all that the whole plan can reach.
    proved: Vec<usize>,
    /// Persons' holds, and the records that raised them.
    persons: BTreeMap<HoldId, Seq>,
    /// Newest record by which a person, or `on_breach`, wanted something undone.
    ordered: Seq,
    may_be_stuck: bool,
}

impl Oracle {
    /// Of a run to which nothing has happened yet.
    pub fn new(graph: &Graph) -> Self {
        Self {
            shape: Arc::new(Shape::new(graph)),
            verdicts: vec![(Verdict::Unknown, 0); graph.providers().len()],
            last_event: vec![0; graph.providers().len()],
            clear: vec![true; graph.line_count()],
            approvals: BTreeMap::new(),
            ledger: Ledger::new(graph),
            proved: least_up(graph),
            persons: BTreeMap::new(),
            ordered: 0,
            may_be_stuck: false,
        }
    }

    /// How many steps are in doubt, by the records.
    pub(super) fn doubts(&self) -> usize {
        self.ledger.doubts()
    }

    /// Whether steps of the window may start, by the records.
    pub(super) fn is_open(&self) -> bool {
        self.ledger.is_open()
    }

    /// Judges a record that the core took in; `before` is the run as it was.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn judge(&mut self, before: &Run, record: &Record, after: &Run, world: &Reality) -> Kept {
        match &record.event {
            Event::Started(job) => self.judge_start(before, *job)?,
            Event::Closed(_) => {
                let rest = after.running().all(|job| after.is_manual(job));
                keep!(rest, "closed with attempts under way");
            }
            _ => {}
        }
        self.fold(before, record, after)?;
        self.judge_holds(before, record, after)?;
        judge_out(before, after)?;
        self.judge_state(after, world)?;
        if record.seq.is_multiple_of(self.shape.stride) {
            judge_commands(after, record)?;
        }
        self.judge_gates(before, after)
    }

    /// Takes a record in that was judged before.
    pub(super) fn fold(&mut self, before: &Run, record: &Record, after: &Run) -> Kept {
        self.ledger.fold(before, record)?;
        self.ledger.agree(after, &self.shape)?;
        let graph = after.graph();
        let seq = record.seq;
        match &record.event {
            Event::Started(job) | Event::Ended(job, _) => {
                for (provider, _) in graph.effects(job.step) {
                    self.last_event[provider.index()] = seq;
                }
            }
            Event::Opened { .. } => {
                for verdict in &mut self.verdicts {
                    verdict.0 = Verdict::Unknown;
                }
            }
            Event::Verdict { provider, verdict, as_of } => {
                // One that judges what is gone changes nothing.
                if *as_of >= self.last_event[provider.index()] {
                    self.verdicts[provider.index()] = (verdict.clone(), *as_of);
                }
                let bad = matches!(verdict, Verdict::Down(_) | Verdict::Lying(_));
                if bad && after.is_rolling_back() && !after.holds().is_empty() {
                    self.ordered = seq;
                }
            }
            Event::Revocations { line, clear, .. } => self.clear[line.index()] = *clear,
            Event::Requested(who, request) => {
                self.fold_request(&who.login, &who.groups, request, seq)
            }
            _ => {}
        }
        // An `on_breach` that a later record brings to light (a step took the other provider).
        if after.breached().len() > before.breached().len() {
            self.ordered = seq;
        }
        for hold in after.holds() {
            if matches!(hold.cause, HoldCause::Person { .. }) {
                self.persons.entry(hold.id).or_insert(seq);
            }
        }
        for (gate, approvals) in &mut self.approvals {
            if before.status(*gate) == Status::Done && after.status(*gate) == Status::Clean {
                approvals.clear();
            }
        }
        Ok(())
    }

    fn fold_request(&mut self, login: &str, groups: &[String], request: &Request, seq: Seq) {
        match request {
            Request::Approve { step, .. } => {
                let all = self.approvals.entry(*step).or_default();
                all.push((login.to_owned(), groups.to_vec()));
            }
            Request::Disapprove { step, .. } => {
                self.approvals.entry(*step).or_default().retain(|it| it.0 != login);
            }
            Request::Abort { .. } => self.may_be_stuck = true,
            Request::Rollback { .. }
            | Request::Retry { .. }
            | Request::Answer { answer: Answer::Rollback | Answer::RollbackLine, .. } => {
                self.ordered = seq;
            }
            _ => {}
        }
    }

    fn judge_start(&self, before: &Run, job: Job) -> Kept {
        let graph = before.graph();
        let name = graph.name(job.step);
        self.ledger.judge_start(graph, job)?;
        if !before.holds().is_empty() {
            keep!(job.way != Way::Do, "I6: a do of `{name}` under a hold");
            keep!(self.ordered > 0, "I6: an undo of `{name}` under a hold that nobody ordered");
            let since = before.holds().iter().filter_map(|hold| self.persons.get(&hold.id));
            let newest = since.max().copied().unwrap_or(0);
            keep!(self.ordered > newest, "I6: a person's hold is newer than the order to undo");
        }
        match job.way {
            Way::Do => {
                keep!(!before.is_out(job.step), "I20: `{name}` is out, and is started");
                let goal = before.goal(job.step);
                keep!(goal == Goal::Done, "I1: `{name}` is started while its goal is {goal:?}");
                self.judge_lane(graph, job.step)?;
            }
            Way::Undo => {
                keep!(!graph.is_point_of_no_return(job.step), "I15: an undo of `{name}`");
                for other in self.shape.dependents(job.step).steps() {
                    let it = self.ledger.stage(other);
                    keep!(
                        it == Stage::Clean,
                        "I7: `{name}` is undone, and `{}`, which needs it, is {it:?}",
                        graph.name(other)
                    );
                }
            }
            Way::Check => {}
        }
        if job.way == Way::Check { Ok(()) } else { self.judge_floor(before, job) }
    }

    /// Judges a deed that begins now, its start durable: what came since it was ordered counts too.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub(super) fn judge_begin(&self, run: &Run, job: Job) -> Kept {
        let name = run.graph().name(job.step);
        let status = run.status(job.step);
        keep!(status == Status::Running(job), "I2: `{name}` begins while it is {status:?}");
        if job.way == Way::Do {
            keep!(run.holds().is_empty(), "I6: a do of `{name}` begins under a hold");
            let goal = run.goal(job.step);
            keep!(goal == Goal::Done, "I1: `{name}` begins while its goal is {goal:?}");
            self.judge_lane(run.graph(), job.step)?;
        }
        Ok(())
    }

    fn judge_lane(&self, graph: &Graph, step: StepId) -> Kept {
        if !matches!(graph.kind(step), Kind::Verify | Kind::Reopen) {
            return Ok(());
        }
        let clear = match graph.line(step) {
            Some(line) => self.clear[line.index()],
            None => self.clear.iter().all(|clear| *clear),
        };
        keep!(clear, "I11: `{}` with a revocation unconfirmed", graph.name(step));
        Ok(())
    }

    /// I19, as design.md says it.
    fn judge_floor(&self, before: &Run, job: Job) -> Kept {
        let graph = before.graph();
        let mine = graph.effects(job.step);
        if mine.is_empty() {
            return Ok(());
        }
        let half = |step: StepId| self.ledger.stage(step).half();
        let fresh = |it: ProviderId| {
            let (verdict, as_of) = &self.verdicts[it.index()];
            (*as_of >= self.last_event[it.index()]).then_some(verdict)
        };
        let sent_to = |it: ProviderId| self.is_sent_to(graph, it);
        let taken: Vec<ProviderId> = mine
            .iter()
            .filter(|(provider, effect)| {
                half(job.step)
                    || match job.way {
                        Way::Do => *effect != Effect::Gains && sent_to(*provider),
                        _ => *effect != Effect::Loses && sent_to(*provider),
                    }
            })
            .map(|(provider, _)| *provider)
            .collect();
        let free =
            |it: &ProviderId| matches!(fresh(*it), Some(Verdict::Down(_) | Verdict::Lying(_)));
        for service in graph.services() {
            let takes = |it: &&ProviderId| taken.contains(it) && !free(it);
            if !service.providers.iter().any(|it| takes(&it)) {
                continue;
            }
            let stands = |it: &&ProviderId| {
                sent_to(**it)
                    && !taken.contains(it)
                    && self.shape.touching(**it).iter().all(|(step, _)| !half(*step))
                    && fresh(**it).is_some_and(Verdict::serves)
            };
            let left = service.providers.iter().filter(stands).count();
            let wanted = graph.plan().protect[service.protect as usize].at_least as usize;
            let name = graph.name(job.step);
            keep!(
                left >= wanted,
                "I19: {:?} of `{name}` leaves {left} of {}",
                job.way,
                service.name
            );
        }
        Ok(())
    }

    /// Whether clients are sent to a provider, by the records: `loses` counts from the begin, `gains`
    /// from the end.
    fn is_sent_to(&self, graph: &Graph, provider: ProviderId) -> bool {
        let mut net = i32::from(graph.providers()[provider.index()].serving_at_start);
        for (step, effect) in self.shape.touching(provider) {
            match effect {
                Effect::Loses if self.ledger.stage(*step) != Stage::Clean => net -= 1,
                Effect::Gains if self.ledger.stage(*step) == Stage::Done => net += 1,
                _ => {}
            }
        }
        net > 0
    }

    /// Who is called up is up by the records: floor, guard and emergency lane go by it.
    fn judge_providers(&self, run: &Run) -> Kept {
        let graph = run.graph();
        for (provider, info) in (0..).map(ProviderId).zip(graph.providers()) {
            let (claim, so) = (run.is_sent_to(provider), self.is_sent_to(graph, provider));
            keep!(claim == so, "I8: `{}` is called up {claim}, and it is {so}", info.name);
        }
        Ok(())
    }

    fn judge_state(&self, run: &Run, world: &Reality) -> Kept {
        let graph = run.graph();
        let mut passable = Set::new(graph.len());
        for step in graph.steps() {
            if run.is_out(step) || self.ledger.stage(step) == Stage::Done {
                passable.insert(step);
            }
        }
        for step in graph.steps() {
            let stage = self.ledger.stage(step);
            if stage == Stage::Clean {
                let clean = world.truth(step) == Truth::Absent || !undoable(graph, step);
                let excused = world.lied.contains(&step);
                keep!(clean || excused, "I7: `{}` is not clean", graph.name(step));
                continue;
            }
            keep!(!run.is_out(step), "I20: `{}` is out, and begun", graph.name(step));
            if stage == Stage::Done && acts(graph, step) {
                let done = world.truth(step) == Truth::Present || world.lied.contains(&step);
                keep!(done, "I5: `{}` is called done, and is not", graph.name(step));
            }
            if let Some(need) = self.shape.needs(step).first_not_in(&passable) {
                keep!(
                    false,
                    "I18: `{}` has begun, and `{}`, which it needs, is {:?}",
                    graph.name(step),
                    graph.name(need),
                    run.status(need)
                );
            }
        }
        let mut used = vec![0; graph.limit_count()];
        for job in run.running().filter(|job| !run.is_manual(*job)) {
            for limit in graph.limits(job.step) {
                used[limit.0 as usize] += 1;
                let name = graph.limit_name(*limit);
                keep!(
                    used[limit.0 as usize] <= graph.limit(*limit),
                    "I1: above the limit `{name}`"
                );
            }
        }
        let whole = graph.steps().all(|step| !run.is_out(step));
        if run.is_rolling_back() {
            self.judge_goals(run)?;
        }
        self.judge_roles(graph)?;
        self.judge_providers(run)?;
        self.judge_floors(graph, world, whole)?;
        self.judge_world(graph, world)
    }

    /// A rollback of the whole run passes over nothing that has begun.
    fn judge_goals(&self, run: &Run) -> Kept {
        let graph = run.graph();
        for step in graph.steps() {
            let stage = self.ledger.stage(step);
            let stays = graph.phase(step) == Phase::Before && stage == Stage::Done;
            let passed = stage != Stage::Clean && !stays && run.goal(step) == Goal::Done;
            keep!(!passed, "I7: the rollback passes over `{}`, {stage:?}", graph.name(step));
        }
        Ok(())
    }

    /// Holders by the records: whoever may have it counts, in doubt as well.
    fn judge_roles(&self, graph: &Graph) -> Kept {
        if graph.roles().is_empty() {
            return Ok(());
        }
        let mut holders: BTreeMap<_, u32> = BTreeMap::new();
        for (info, touching) in graph.roles().iter().zip(self.shape.role_effects()) {
            let mut net = i32::from(info.held_at_start);
            for (step, effect) in touching {
                match (effect, self.ledger.stage(*step)) {
                    (Effect::Gains, stage) if stage != Stage::Clean => net += 1,
                    (Effect::Loses, Stage::Done) => net -= 1,
                    _ => {}
                }
            }
            if net > 0 {
                *holders.entry((info.exclusive, info.line)).or_default() += 1;
            }
        }
        for ((exclusive, line), count) in holders {
            let exclusive = &graph.plan().exclusive[exclusive as usize];
            let line = line.map_or("", |line| graph.line_name(line));
            let role = &exclusive.role.value;
            keep!(count <= exclusive.at_most, "I9: {count} sites may hold `{role}` of `{line}`");
        }
        Ok(())
    }

    /// Persons' holds end by a release, and by nothing else.
    fn judge_holds(&self, before: &Run, record: &Record, after: &Run) -> Kept {
        if let Event::Requested(_, request) = &record.event {
            if matches!(request, Request::Release { .. } | Request::Abort { .. }) {
                return Ok(());
            }
            if matches!(request, Request::Hold { .. } | Request::Interrupt) {
                let more = after.holds().len() > before.holds().len();
                keep!(more, "I6: a person's hold does not hold");
            }
        }
        for hold in before.holds() {
            let persons = matches!(hold.cause, HoldCause::Person { .. });
            let stays = !persons || after.holds().contains(hold);
            keep!(stays, "I6: a person's hold has ended, and nobody released it");
        }
        Ok(())
    }

    /// Up in the world are never fewer than were proved, as long as the plan is the whole one.
    fn judge_floors(&self, graph: &Graph, world: &Reality, whole: bool) -> Kept {
        if !whole || !world.lied.is_empty() {
            return Ok(());
        }
        for (service, least) in graph.services().iter().zip(&self.proved) {
            let up = |it: &&ProviderId| self.is_up(graph, world, **it);
            let up = service.providers.iter().filter(up).count();
            let name = &service.name;
            keep!(up >= *least, "I8: {up} of {name} are up, and at least {least} were proved");
        }
        Ok(())
    }

    /// What must be so in the world, whatever the journal says.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn judge_world(&self, graph: &Graph, world: &Reality) -> Kept {
        // Whom the world lied to cannot keep its promises.
        if !world.lied.is_empty() {
            return Ok(());
        }
        for ((exclusive, line), holders) in world.holders(graph) {
            let exclusive = &graph.plan().exclusive[exclusive as usize];
            let line = line.map_or("", |line| graph.line_name(line));
            let role = &exclusive.role.value;
            keep!(holders <= exclusive.at_most, "I9: {holders} sites hold `{role}` of `{line}`");
        }
        for service in graph.services() {
            let up = |it: &&ProviderId| self.is_up(graph, world, **it);
            let up = service.providers.iter().filter(up).count();
            let floor = graph.plan().protect[service.protect as usize].at_least as usize;
            keep!(up >= floor, "I8: our acts leave {up} of {} up", service.name);
        }
        Ok(())
    }

    /// Whether our acts leave a provider up: what is really there of the steps that touch it.
    fn is_up(&self, graph: &Graph, world: &Reality, provider: ProviderId) -> bool {
        let mut net = i32::from(graph.providers()[provider.index()].serving_at_start);
        let mut disturbed = false;
        for (step, effect) in self.shape.touching(provider) {
            let (truth, under_way) = (world.truth(*step), world.under_way(*step));
            match effect {
                Effect::Loses if truth != Truth::Absent || under_way => net -= 1,
                Effect::Gains if truth == Truth::Present && !under_way => net += 1,
                Effect::Disturbs => disturbed |= under_way || truth == Truth::Half,
                _ => {}
            }
        }
        net > 0 && !disturbed
    }

    fn judge_gates(&self, before: &Run, after: &Run) -> Kept {
        let graph = after.graph();
        for step in self.shape.gates() {
            let Work::Ask(gate) = &graph.def(*step).work else { continue };
            if after.status(*step) != Status::Done || before.status(*step) == Status::Done {
                continue;
            }
            let name = graph.name(*step);
            let all = self.approvals.get(step).map_or(&[][..], Vec::as_slice);
            let logins: BTreeSet<&str> = all.iter().map(|it| it.0.as_str()).collect();
            keep!(logins.len() >= gate.quorum as usize, "I12: `{name}` opened by {logins:?} alone");
            for group in &gate.by {
                let of = all.iter().any(|it| it.1.contains(&group.value));
                keep!(of, "I12: `{name}` opened by nobody of {}", group.value);
            }
            // What the opening itself raises comes after it.
            let old = |hold: &Hold| before.holds().contains(hold);
            keep!(!after.holds().iter().any(old), "I6: `{name}` opened under a hold");
        }
        Ok(())
    }

    /// What the end means for the world.
    ///
    /// # Errors
    /// What it left that it must not, or lacks.
    pub fn judge_end(&self, run: &Run, world: &Reality) -> Kept {
        let graph = run.graph();
        let Some(outcome) = run.outcome() else { return Ok(()) };
        for step in graph.steps().filter(|step| acts(graph, *step) && !world.lied.contains(step)) {
            let truth = world.truth(step);
            let name = || graph.name(step);
            match outcome {
                Outcome::Completed if !run.is_out(step) => {
                    keep!(truth == Truth::Present, "completed without `{}`", name());
                }
                Outcome::Completed | Outcome::RolledBack if undoable(graph, step) => {
                    let stays = graph.phase(step) == Phase::Before && truth == Truth::Present;
                    let stays = stays && outcome == Outcome::RolledBack;
                    let clean = truth == Truth::Absent || stays;
                    keep!(clean, "I7: `{}` was left behind: {truth:?}", name());
                }
                Outcome::Stuck => {
                    keep!(self.may_be_stuck, "I16: stuck, and nobody aborted");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What goes out, or comes back, leaves a plan that is proved.
fn judge_out(before: &Run, after: &Run) -> Kept {
    let graph = after.graph();
    let changed = graph.steps().any(|step| before.is_out(step) != after.is_out(step));
    if changed && let Err(faults) = proof::prove_without(graph, &|step| after.is_out(step)) {
        let why = faults.into_iter().next().map(|fault| fault.what).unwrap_or_default();
        keep!(false, "I20: the plan without what is out is not proved: {why}");
    }
    Ok(())
}

/// The least that are up of every service, over all states of the whole plan.
fn least_up(graph: &Graph) -> Vec<usize> {
    let bounds = proof::prove(graph).map(|proof| proof.bounds).unwrap_or_default();
    let least = |name: &str| {
        let bound = bounds.iter().find(|it| it.name == name && it.sense == Sense::AtLeast);
        bound.map_or(0, |bound| bound.reached as usize)
    };
    graph.services().iter().map(|service| least(&service.name)).collect()
}

/// Asked twice it answers twice the same; what goes the wrong way is told to stop; all starts
/// together are allowed.
fn judge_commands(run: &Run, record: &Record) -> Kept {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    run.next(&mut first);
    run.next(&mut second);
    keep!(first == second, "I14: asked twice, it answers {first:?} and {second:?}");
    for job in run.running().filter(|job| !run.is_manual(*job)) {
        let finish = run.graph().def(job.step).finish_on_rollback;
        if job.way == Way::Do && run.goal(job.step) != Goal::Done && !finish {
            keep!(first.contains(&Command::Stop(job)), "I7: {job:?} goes the wrong way");
        }
    }
    judge_silence(run, &first, record)?;
    let mut ahead = run.clone();
    for command in first {
        if let Command::Start(job) = command {
            let record = Record { seq: ahead.seq() + 1, at: record.at, event: Event::Started(job) };
            if let Err(why) = ahead.apply(&record) {
                keep!(false, "I1: {job:?} is ordered together with what forbids it: {}", why.0);
            }
        }
    }
    Ok(())
}

/// Where no start is ordered, none could be.
fn judge_silence(run: &Run, commands: &[Command], record: &Record) -> Kept {
    let starts = |it: &Command| matches!(it, Command::Start(_) | Command::Close(_));
    if run.outcome().is_some() || commands.iter().any(starts) {
        return Ok(());
    }
    let mut ahead = run.clone();
    for step in run.graph().steps() {
        for way in [Way::Do, Way::Undo, Way::Check] {
            let job = Job { step, way, attempt: run.attempts(step, way) + 1 };
            let record = Record { seq: run.seq() + 1, at: record.at, event: Event::Started(job) };
            let idle = ahead.apply(&record).is_err();
            keep!(idle, "I16: {job:?} could start, and is not ordered");
        }
    }
    Ok(())
}
