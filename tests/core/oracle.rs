//! The invariants, judged from the journal and the world: plain loops over everything, nothing
//! incremental, and the core is asked only for the states that it claims.

use crate::world::{Truth, World, acts, undoable};
use cutover::event::{Answer, HoldId, Seq};
use cutover::event::{Event, Job, ProviderId, Record, Request, StepId, Verdict, Way};
use cutover::graph::{Effect, Graph};
use cutover::plan::{Kind, Phase, Work};
use cutover::run::{Command, Goal, Hold, HoldCause, Run, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Its own small fold of what the invariants need.
#[derive(Clone)]
pub(crate) struct Oracle {
    verdicts: Vec<(Verdict, Seq)>,
    last_event: Vec<Seq>,
    clear: Vec<bool>,
    /// Who has approved each gate since it was last undone.
    approvals: Vec<Vec<(String, Vec<String>)>>,
    attempts: Vec<[u32; 3]>,
    /// Persons' holds, and the records that raised them.
    persons: BTreeMap<HoldId, Seq>,
    /// Newest record by which a person, or `on_breach`, wanted something undone.
    ordered: Seq,
    seen: BTreeSet<(StepId, Way, u32)>,
    pub(crate) may_be_stuck: bool,
}

impl Oracle {
    pub(crate) fn new(graph: &Graph) -> Self {
        Self {
            verdicts: vec![(Verdict::Unknown, 0); graph.providers().len()],
            last_event: vec![0; graph.providers().len()],
            clear: vec![true; graph.line_count()],
            approvals: vec![Vec::new(); graph.len()],
            attempts: vec![[0; 3]; graph.len()],
            persons: BTreeMap::new(),
            ordered: 0,
            seen: BTreeSet::new(),
            may_be_stuck: false,
        }
    }

    /// Judges a record that the core took in; `before` is the run as it was.
    pub(crate) fn judge(&mut self, before: &Run, record: &Record, after: &Run, world: &World) {
        match &record.event {
            Event::Started(job) => self.judge_start(before, *job),
            Event::Ended(job, _) => {
                assert_eq!(before.status(job.step), Status::Running(*job), "I3");
            }
            Event::Closed(_) => {
                let rest = after.running().all(|job| after.is_manual(job));
                assert!(rest, "closed with attempts under way");
            }
            _ => {}
        }
        self.fold(before, record, after);
        self.judge_state(after, world);
        self.judge_gates(before, after);
    }

    fn fold(&mut self, before: &Run, record: &Record, after: &Run) {
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
            Event::Requested(who, Request::Approve { step, .. }) => {
                self.approvals[step.index()].push((who.login.clone(), who.groups.clone()));
            }
            Event::Requested(who, Request::Disapprove { step, .. }) => {
                self.approvals[step.index()].retain(|it| it.0 != who.login);
            }
            Event::Requested(_, Request::Abort { .. }) => self.may_be_stuck = true,
            Event::Requested(_, Request::Rollback { .. } | Request::Retry { .. }) => {
                self.ordered = seq;
            }
            Event::Requested(
                _,
                Request::Answer { answer: Answer::Rollback | Answer::RollbackLine, .. },
            ) => self.ordered = seq,
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
        for step in graph.steps() {
            if before.status(step) == Status::Done && after.status(step) == Status::Clean {
                self.approvals[step.index()].clear();
            }
        }
    }

    fn judge_start(&mut self, before: &Run, job: Job) {
        let graph = before.graph();
        let name = graph.name(job.step);
        let count = &mut self.attempts[job.step.index()][job.way as usize];
        assert_eq!(job.attempt, *count + 1, "I3: attempts of `{name}` go up by one");
        *count = job.attempt;
        assert!(self.seen.insert((job.step, job.way, job.attempt)), "I3: never reused");
        if !before.holds().is_empty() {
            assert_ne!(job.way, Way::Do, "I6: a do under a hold");
            assert!(self.ordered > 0, "I6: an undo under a hold that nobody ordered");
            let since = before.holds().iter().filter_map(|hold| self.persons.get(&hold.id));
            let newest = since.max().copied().unwrap_or(0);
            assert!(self.ordered > newest, "I6: a person's hold is newer than the order");
        }
        let status = before.status(job.step);
        match job.way {
            Way::Do => {
                assert_ne!(status, Status::Done, "I4: `{name}` is done");
                assert!(!before.is_out(job.step) && before.goal(job.step) == Goal::Done);
                if status == Status::Doubt(Way::Do) {
                    let repeats = graph.def(job.step).idempotent;
                    assert!(repeats, "I5: `{name}` was repeated by a guess");
                }
                self.judge_lane(graph, job.step);
            }
            Way::Undo => {
                assert!(!graph.is_point_of_no_return(job.step), "I15: `{name}`");
                for other in dependents(graph, job.step) {
                    let it = before.status(other);
                    assert_eq!(it, Status::Clean, "I7: {} still stands", graph.name(other));
                }
            }
            Way::Check => {}
        }
        if job.way != Way::Check {
            self.judge_floor(before, job);
        }
    }

    fn judge_lane(&self, graph: &Graph, step: StepId) {
        if !matches!(graph.kind(step), Kind::Verify | Kind::Reopen) {
            return;
        }
        let clear = match graph.line(step) {
            Some(line) => self.clear[line.index()],
            None => self.clear.iter().all(|clear| *clear),
        };
        assert!(clear, "I11: {} with a revocation unconfirmed", graph.name(step));
    }

    /// I19, as design.md says it.
    fn judge_floor(&self, before: &Run, job: Job) {
        let graph = before.graph();
        let half = |step: StepId| !matches!(before.status(step), Status::Clean | Status::Done);
        let fresh = |it: ProviderId| {
            let (verdict, as_of) = &self.verdicts[it.index()];
            (*as_of >= self.last_event[it.index()]).then_some(verdict)
        };
        let sent_to = |it: ProviderId| {
            let mut net = i32::from(graph.providers()[it.index()].serving_at_start);
            for (step, effect) in touching(graph, it) {
                match effect {
                    Effect::Loses if before.status(step) != Status::Clean => net -= 1,
                    Effect::Gains if before.status(step) == Status::Done => net += 1,
                    _ => {}
                }
            }
            net > 0
        };
        let mine = graph.effects(job.step);
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
                    && touching(graph, **it).iter().all(|(step, _)| !half(*step))
                    && fresh(**it).is_some_and(Verdict::serves)
            };
            let left = service.providers.iter().filter(stands).count();
            let wanted = graph.plan().protect[service.protect as usize].at_least as usize;
            let name = graph.name(job.step);
            assert!(left >= wanted, "I19: {:?} of `{name}` leaves {left}", job.way);
        }
    }

    fn judge_state(&self, run: &Run, world: &World) {
        let graph = run.graph();
        for step in graph.steps() {
            let name = graph.name(step);
            let status = run.status(step);
            if acts(graph, step) && status == Status::Done {
                assert_eq!(world.truth(step), Truth::Present, "`{name}` is not done");
            }
            if undoable(graph, step) && status == Status::Clean {
                assert_eq!(world.truth(step), Truth::Absent, "`{name}` is not clean");
            }
            if run.is_out(step) {
                assert_eq!(status, Status::Clean, "`{name}` is out, and begun");
            }
            if status != Status::Clean {
                for need in needs(run, step) {
                    let it = run.status(need);
                    assert_eq!(it, Status::Done, "I18: `{name}` needs {}", graph.name(need));
                }
            }
        }
        let mut used = vec![0; graph.limit_count()];
        for job in run.running().filter(|job| !run.is_manual(*job)) {
            for limit in graph.limits(job.step) {
                used[limit.0 as usize] += 1;
                assert!(used[limit.0 as usize] <= graph.limit(*limit), "I1: a limit");
            }
        }
        assert!(world.holders(graph) <= 1, "I9: two writers");
        self.judge_commands(run);
    }

    /// Asked twice it answers twice the same; what goes the wrong way is told to stop; all starts
    /// together are allowed.
    fn judge_commands(&self, run: &Run) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        run.next(&mut first);
        run.next(&mut second);
        assert_eq!(first, second);
        for job in run.running().filter(|job| !run.is_manual(*job)) {
            let finish = run.graph().def(job.step).finish_on_rollback;
            if job.way == Way::Do && run.goal(job.step) != Goal::Done && !finish {
                assert!(first.contains(&Command::Stop(job)), "{job:?} goes the wrong way");
            }
        }
        let mut ahead = run.clone();
        for command in first {
            if let Command::Start(job) = command {
                let event = Event::Started(job);
                let record = Record { seq: ahead.seq() + 1, at: crate::tale::noon(), event };
                ahead.apply(&record).expect("starts ordered together are allowed together");
            }
        }
    }

    fn judge_gates(&self, before: &Run, after: &Run) {
        let graph = after.graph();
        for step in graph.steps() {
            let Work::Ask(gate) = &graph.def(step).work else { continue };
            if after.status(step) != Status::Done || before.status(step) == Status::Done {
                continue;
            }
            let all = &self.approvals[step.index()];
            let logins: BTreeSet<&str> = all.iter().map(|it| it.0.as_str()).collect();
            assert!(logins.len() >= gate.quorum as usize, "I12: a quorum of different people");
            for group in &gate.by {
                assert!(all.iter().any(|it| it.1.contains(&group.value)), "I12: of each group");
            }
            // What the opening itself raises comes after it.
            let old = |hold: &&Hold| before.holds().contains(hold);
            assert!(!after.holds().iter().any(|it| old(&it)), "I6: a gate opened under a hold");
        }
    }

    /// What the end means for the world.
    pub(crate) fn judge_end(&self, run: &Run, world: &World) {
        use cutover::event::Outcome;
        let graph = run.graph();
        let outcome = run.outcome().expect("ended");
        for step in graph.steps().filter(|step| acts(graph, *step)) {
            let name = graph.name(step);
            let truth = world.truth(step);
            match outcome {
                Outcome::Completed if !run.is_out(step) => {
                    assert_eq!(truth, Truth::Present, "completed without `{name}`");
                }
                Outcome::Completed | Outcome::RolledBack if undoable(graph, step) => {
                    let stays = graph.phase(step) == Phase::Before && truth == Truth::Present;
                    let stays = stays && outcome == Outcome::RolledBack;
                    assert!(truth == Truth::Absent || stays, "`{name}` was left behind: {truth:?}");
                }
                Outcome::Stuck => assert!(self.may_be_stuck, "stuck, and nobody aborted"),
                _ => {}
            }
        }
    }
}

fn touching(graph: &Graph, provider: ProviderId) -> Vec<(StepId, Effect)> {
    let effect = |step: StepId| {
        let found = graph.effects(step).iter().find(|(it, _)| *it == provider);
        found.map(|(_, effect)| (step, *effect))
    };
    graph.steps().filter_map(effect).collect()
}

/// What the step needs, through others; what is out hands its needs on.
fn needs(run: &Run, step: StepId) -> BTreeSet<StepId> {
    let graph = run.graph();
    let mut all = BTreeSet::new();
    let mut work: Vec<StepId> = graph.needs(step).to_vec();
    let mut seen = BTreeSet::new();
    while let Some(need) = work.pop() {
        if seen.insert(need) {
            work.extend(graph.needs(need));
            if !run.is_out(need) {
                all.insert(need);
            }
        }
    }
    all
}

fn dependents(graph: &Graph, step: StepId) -> BTreeSet<StepId> {
    let mut all = BTreeSet::new();
    let mut work: Vec<StepId> = graph.dependents(step).to_vec();
    while let Some(next) = work.pop() {
        if all.insert(next) {
            work.extend(graph.dependents(next));
        }
    }
    all
}
