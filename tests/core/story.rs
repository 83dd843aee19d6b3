//! Random stories: everything may happen at any moment, and an end is always reached.

use crate::tale::{Tale, person};
use crate::world::{Dice, World, graph};
use cutover::action::Action;
use cutover::event::{
    Answer, Ending, Event, Job, LineId, Options, Outcome, Person, ProviderId, Request, StepId,
    Timer, Way,
};
use cutover::graph::Graph;
use cutover::plan::Work;
use cutover::run::{Command, Goal, Hold, HoldCause, Run, Status};
use cutover::runner::sim::{Oracle, done, has_check, undoable, wish};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct Sim<'a> {
    tale: Tale,
    world: World,
    oracle: Oracle,
    dice: Dice<'a>,
    /// Attempts that are over, to be answered for once more.
    over: Vec<Job>,
    /// What happened at least once.
    met: BTreeSet<&'static str>,
}

/// Pieces of the text of each question.
const QUESTIONS: [&str; 10] = [
    "failed for good",
    "nobody knows",
    "the undo of",
    "the time of",
    "the window has closed",
    "waits in vain",
    "nothing has begun",
    "nothing of line",
    "is refused",
    "said no",
];

/// What some stories among a thousand must have met, else they prove little.
const CORNERS: [&str; 22] = [
    "effects",
    "skipped where something is protected",
    "undo",
    "undo under a hold",
    "undo in doubt repeated",
    "check of a doubt",
    "check of a person's word",
    "repeated as idempotent",
    "withdrawn",
    "completed",
    "completed with steps out",
    "rolled back",
    "aborted",
    "came back",
    "wanted again after an undo",
    "line out",
    "back at a checkpoint",
    "breach",
    "rolled back on breach",
    "gate",
    "by hand",
    "point of no return",
];

fn people() -> [Person; 3] {
    [person("mara", &["release"]), person("jo", &["release"]), person("kim", &["security"])]
}

impl<'a> Sim<'a> {
    fn new(graph: Arc<Graph>, choices: &'a [u16]) -> Self {
        let mut dice = Dice::new(choices);
        let rehearsal = dice.one_in(4);
        let world = World::new(&graph);
        let oracle = Oracle::new(&graph);
        let tale = Tale::with(graph, Options { rehearsal, ..Options::default() });
        Self { tale, world, oracle, dice, over: Vec::new(), met: BTreeSet::new() }
    }

    fn run(&self) -> &Run {
        &self.tale.run
    }

    fn graph(&self) -> Arc<Graph> {
        Arc::clone(self.run().graph())
    }

    /// One record: taken in, then judged. The world has already changed.
    fn event(&mut self, event: Event) {
        let before = self.run().clone();
        self.tale.event(event);
        self.world.follow(&self.tale.run);
        let record = self.tale.journal.last().expect("just written");
        let kept = self.oracle.judge(&before, record, &self.tale.run, &self.world);
        kept.unwrap_or_else(|violation| panic!("{violation}"));
        crate::proved::judge(&before, record, &self.tale.run);
        crate::silence::judge(&self.tale.run);
        self.meet(&before);
    }

    /// Notes what the newest record did that a suite of stories must have met.
    fn meet(&mut self, before: &Run) {
        let record = self.tale.journal.last().expect("just written");
        let after = &self.tale.run;
        let mut met = Vec::new();
        match &record.event {
            Event::Started(job) if job.way == Way::Undo => {
                met.push(if before.holds().is_empty() { "undo" } else { "undo under a hold" });
                if before.status(job.step) == Status::Doubt(Way::Undo) {
                    met.push("undo in doubt repeated");
                }
            }
            Event::Started(job) if job.way == Way::Check => {
                met.push(match before.goal(job.step) {
                    Goal::Done => "check of a doubt",
                    _ => "check of a person's word",
                });
            }
            Event::Started(job) if before.status(job.step) == Status::Doubt(Way::Do) => {
                met.push("repeated as idempotent");
            }
            Event::Ended(_, Ending::Withdrawn) => met.push("withdrawn"),
            Event::Closed(Outcome::Completed)
                if after.graph().steps().any(|it| after.is_out(it)) =>
            {
                met.push("completed with steps out");
            }
            Event::Closed(Outcome::Completed) => met.push("completed"),
            Event::Closed(Outcome::RolledBack) => met.push("rolled back"),
            Event::Closed(Outcome::Stuck) => met.push("aborted"),
            _ => {}
        }
        for step in after.graph().steps() {
            if before.is_out(step) && !after.is_out(step) {
                met.push("came back");
            }
            if before.goal(step) == Goal::Redo && after.goal(step) == Goal::Done {
                met.push("wanted again after an undo");
            }
        }
        if before.lines_out().count() < after.lines_out().count() {
            met.push("line out");
        }
        let told = |hold: &Hold| match &hold.cause {
            HoldCause::Person { reason, .. } => reason.contains("checkpoint"),
            _ => false,
        };
        if after.holds().iter().any(told) {
            met.push("back at a checkpoint");
        }
        if before.breached().len() < after.breached().len() {
            met.push(if after.is_rolling_back() { "rolled back on breach" } else { "breach" });
        }
        if let Event::Requested(_, Request::Skip { .. }) = &record.event
            && !after.graph().plan().protect.is_empty()
        {
            met.push("skipped where something is protected");
        }
        for question in after.questions() {
            met.extend(QUESTIONS.iter().find(|it| question.text.contains(**it)));
        }
        self.met.extend(met);
    }

    fn request(&mut self, who: &Person, what: Request) -> bool {
        match self.run().admit(who, what.clone()) {
            Ok(event) => {
                self.by_hand(who, &what);
                self.event(event);
                true
            }
            Err(refusal) => {
                assert!(!refusal.why.is_empty());
                let event = Event::Requested(who.clone(), what);
                assert!(!self.tale.would_take(event), "refused, but taken in at replay");
                false
            }
        }
    }

    /// What a person's request says of the world is true.
    fn by_hand(&mut self, who: &Person, what: &Request) {
        let Request::Finish { step, .. } = what else { return };
        let record = self.tale.record(Event::Requested(who.clone(), what.clone()));
        let mut ahead = self.run().clone();
        ahead.apply(&record).expect("admitted");
        self.world.by_hand(&ahead, *step);
    }

    fn starts(&self) -> Vec<Job> {
        let start = |command| match command {
            Command::Start(job) => Some(job),
            _ => None,
        };
        self.tale.commands().into_iter().filter_map(start).collect()
    }

    fn start(&mut self, job: Job) {
        if !self.run().is_manual(job) {
            self.world.jobs.insert(job.step, job);
        }
        self.event(Event::Started(job));
        if !self.run().is_manual(job) && !self.run().may_begin(job) {
            self.end(job, Ending::Withdrawn);
        }
    }

    fn end(&mut self, job: Job, ending: Ending) {
        self.world.jobs.remove(&job.step);
        self.over.push(job);
        self.event(Event::Ended(job, ending));
    }

    /// Some ending of an attempt under way, true to what it left.
    fn end_somehow(&mut self, job: Job) {
        let ending = self.world.end_somehow(job, &mut self.dice);
        self.end(job, ending);
    }

    fn crash(&mut self) {
        self.tale.replays();
        for job in self.world.jobs.clone().into_values() {
            self.world.abandon(job, &mut self.dice);
        }
        let opened = self.tale.journal.iter();
        let opened = opened.filter(|it| matches!(it.event, Event::Opened { .. })).count();
        self.event(Event::Opened { epoch: opened as u64 + 1, boot: "b".into(), pid: 1, cut: 0 });
    }

    fn some_step(&mut self) -> StepId {
        let len = self.graph().len();
        StepId(self.dice.roll(len) as u32)
    }

    fn look_at(&mut self, provider: ProviderId, as_of: u64) {
        let verdict = self.world.verdict_of(provider);
        self.event(Event::Verdict { provider, verdict, as_of });
    }

    fn guard(&mut self) {
        let count = self.graph().providers().len();
        if count == 0 {
            return;
        }
        let at = self.dice.roll(count);
        match self.dice.roll(8) {
            0 => self.world.dead[at] = !self.world.dead[at],
            1 if self.dice.roll(4) == 0 => self.world.lying[at] = !self.world.lying[at],
            2 => {
                let late = self.dice.roll(4) as u64;
                let as_of = self.run().seq().saturating_sub(late);
                self.look_at(ProviderId(at as u32), as_of);
            }
            _ => {
                for at in 0..count {
                    let as_of = self.run().seq();
                    self.look_at(ProviderId(at as u32), as_of);
                }
            }
        }
    }

    fn lane(&mut self) {
        let lines = self.graph().line_count();
        if lines > 0 {
            let line = LineId(self.dice.roll(lines) as u32);
            let as_of = self.run().seq();
            let clear = self.dice.roll(2) == 0;
            self.event(Event::Revocations { line, clear, as_of });
        }
    }

    fn timer(&mut self) {
        let wakes: Vec<Timer> = self
            .tale
            .commands()
            .into_iter()
            .filter_map(|command| match command {
                Command::Wake(timer, _) => Some(timer),
                _ => None,
            })
            .collect();
        if let Some(timer) = self.dice.pick(&wakes) {
            self.event(Event::Due { timer, jumped: false });
        }
    }

    fn answer(&mut self) {
        let questions = self.run().questions();
        if questions.is_empty() {
            return;
        }
        let question = &questions[self.dice.roll(questions.len())];
        let Some(answer) = self.dice.pick(&question.answers) else { return };
        if self.world.is_honest(self.run(), question, answer) {
            let who = &people()[self.dice.roll(3)];
            let question = question.id;
            let what = Request::Answer { question, answer, note: String::new() };
            // Whether the plan without a late step proves is asked when that is wanted.
            let admitted = self.request(who, what.clone());
            assert!(admitted || answer == Answer::Skip, "an offered answer is admitted");
            assert!(self.run().admit(who, what).is_err(), "a question is answered once");
        }
    }

    fn person(&mut self) {
        let who = people()[self.dice.roll(3)].clone();
        let Some(what) = wish(&self.graph(), &mut self.dice) else { return };
        self.request(&who, what);
    }

    /// What cannot happen is not taken in: late and foreign ends, starts out of turn.
    fn intrude(&mut self) {
        if let Some(job) = self.dice.pick(&self.over) {
            assert!(!self.tale.would_take(Event::Ended(job, done())), "late: {job:?}");
            assert!(!self.tale.would_take(Event::Started(job)), "again: {job:?}");
        }
        let step = self.some_step();
        let job = Job { step, way: Way::Undo, attempt: 1000 };
        assert!(!self.tale.would_take(Event::Started(job)));
        assert!(!self.tale.would_take(Event::Ended(job, Ending::Stopped)));
    }

    fn turn(&mut self) {
        match self.dice.roll(24) {
            0..=7 => {
                let starts = self.starts();
                if let Some(job) = self.dice.pick(&starts) {
                    self.start(job);
                }
            }
            8..=13 => {
                let jobs: Vec<Job> = self.world.jobs.values().copied().collect();
                if let Some(job) = self.dice.pick(&jobs) {
                    self.end_somehow(job);
                }
            }
            14 if self.dice.one_in(2) => self.crash(),
            15 | 16 => self.timer(),
            17 | 18 => self.guard(),
            19 if self.dice.one_in(3) => self.lane(),
            20 => self.answer(),
            21 | 22 => self.person(),
            _ => self.intrude(),
        }
        if let Some(Command::Close(outcome)) = self.tale.commands().first()
            && self.dice.one_in(3)
        {
            self.event(Event::Closed(*outcome));
        }
    }

    /// Faults are healed, people answer: an end within a bound.
    fn heal(&mut self) {
        self.world.dead.fill(false);
        self.world.lying.fill(false);
        let bound = 200 + 60 * self.graph().len();
        for _ in 0..bound {
            if self.run().outcome().is_some() {
                return;
            }
            if !self.heal_one() {
                panic!(
                    "stuck: nothing is ordered, runs, or is asked\nholds {:#?}\n{}",
                    self.run().holds(),
                    self.states()
                );
            }
        }
        panic!("no end within {bound} turns\n{:#?}\n{}", self.run().questions(), self.states());
    }

    fn states(&self) -> String {
        let graph = self.graph();
        let line = |step: StepId| {
            let (status, goal) = (self.run().status(step), self.run().goal(step));
            let (out, waits) = (self.run().is_out(step), self.run().waits_for(step));
            format!("{} {status:?} {goal:?} out {out} {waits:?}\n", graph.name(step))
        };
        graph.steps().map(line).collect()
    }

    fn heal_one(&mut self) -> bool {
        for line in 0..self.graph().line_count() {
            let line = LineId(line as u32);
            if !self.run().revocations_clear(line) {
                let as_of = self.run().seq();
                self.event(Event::Revocations { line, clear: true, as_of });
                return true;
            }
        }
        for provider in 0..self.graph().providers().len() {
            let provider = ProviderId(provider as u32);
            if !self.run().verdict(provider).0.serves() {
                let as_of = self.run().seq();
                self.look_at(provider, as_of);
                return true;
            }
        }
        if let Some(command) = self
            .tale
            .commands()
            .into_iter()
            .find(|it| !matches!(it, Command::Wake(Timer::Closes | Timer::Floor(_), _)))
        {
            match command {
                Command::Start(job) => self.start(job),
                Command::Stop(job) => {
                    let ending = self.world.end_stopped(job);
                    self.end(job, ending);
                }
                Command::Close(outcome) => self.event(Event::Closed(outcome)),
                Command::Wake(timer, _) => self.event(Event::Due { timer, jumped: false }),
            }
            return true;
        }
        if let Some(job) = self.world.jobs.values().next().copied() {
            self.end_well(job);
            return true;
        }
        self.people_heal()
    }

    fn end_well(&mut self, job: Job) {
        let ending = self.world.end_well(job);
        self.end(job, ending);
    }

    fn people_heal(&mut self) -> bool {
        for question in self.run().questions() {
            let wanted = question.answers.iter().filter(|it| **it != Answer::Hold).copied();
            // What goes forward stands first; without it, back.
            let mut wanted =
                wanted.filter(|answer| self.world.is_honest(self.run(), &question, *answer));
            if let Some(answer) = wanted.next() {
                let question = question.id;
                let what = Request::Answer { question, answer, note: String::new() };
                return self.request(&people()[0], what);
            }
        }
        if !self.run().holds().is_empty()
            && self.request(&people()[0], Request::Release { hold: None })
        {
            return true;
        }
        for step in self.graph().steps() {
            for who in people() {
                let finish = Request::Finish { step, evidence: "seen".into() };
                let approve = Request::Approve { step, note: String::new() };
                if self.run().admit(&who, finish.clone()).is_ok() {
                    return self.request(&who, finish);
                }
                if self.run().admit(&who, approve.clone()).is_ok() {
                    return self.request(&who, approve);
                }
            }
        }
        false
    }
}

/// `CORE_STORY=1` tells the story of every failure on the way to the smallest.
impl Drop for Sim<'_> {
    #[expect(clippy::print_stderr, reason = "the story is for who reads the failure")]
    fn drop(&mut self) {
        if !std::thread::panicking() || std::env::var_os("CORE_STORY").is_none() {
            return;
        }
        let graph = self.graph();
        for step in graph.steps() {
            let needs: Vec<String> = graph.needs(step).iter().map(|it| graph.name(*it)).collect();
            let def = graph.def(step);
            eprintln!(
                "STORY {step:?} {} needs {needs:?} {:?} {:?} retry {} check {} idem {} undo {} pnr {} cp {} finish {} effects {:?} {:?}",
                graph.name(step),
                def.phase,
                graph.on_failure(step),
                def.retry.attempts,
                has_check(&graph, step),
                def.idempotent,
                undoable(&graph, step),
                graph.is_point_of_no_return(step),
                def.checkpoint.is_some(),
                def.finish_on_rollback,
                graph.effects(step),
                graph.role_effects(step),
            );
        }
        for record in &self.tale.journal[1..] {
            eprintln!("STORY {} {:?}", record.seq, record.event);
        }
        eprintln!("STORY {}STORY {:?}\nSTORY END", self.states(), self.run().holds());
    }
}

/// One story from its choices: some for the plan, the rest for what happens.
fn tell(plan: &[u16], choices: &[u16]) -> BTreeSet<&'static str> {
    let Some(graph) = graph(plan) else { return BTreeSet::new() };
    let taken = graph.steps().any(|step| !graph.effects(step).is_empty());
    let mut sim = Sim::new(graph, choices);
    sim.met.insert("a plan");
    if taken {
        sim.met.insert("effects");
    }
    while !sim.dice.is_empty() && sim.run().outcome().is_none() {
        sim.turn();
    }
    sim.heal();
    let kept = sim.oracle.judge_end(&sim.tale.run, &sim.world);
    kept.unwrap_or_else(|violation| panic!("{violation}"));
    sim.tale.replays();
    let graph = sim.graph();
    for step in graph.steps() {
        if sim.run().status(step) != Status::Done {
            continue;
        }
        let def = graph.def(step);
        match &def.work {
            Work::Ask(_) => sim.met.insert("gate"),
            Work::Act { act: Action::Manual(_), .. } => sim.met.insert("by hand"),
            Work::Act { .. } if def.point_of_no_return => sim.met.insert("point of no return"),
            Work::Act { .. } => false,
        };
    }
    std::mem::take(&mut sim.met)
}

/// How many stories; `CORE_CASES` asks for more.
fn cases(default: u32) -> u32 {
    std::env::var("CORE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// The stories say everything: each corner is met by several of a fixed thousand.
#[test]
fn the_stories_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let choices = |most| prop::collection::vec(any::<u16>(), 0..most);
    let mut met: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..1500 {
        let plan = choices(120).new_tree(&mut runner).expect("choices").current();
        let rest = choices(240).new_tree(&mut runner).expect("choices").current();
        for corner in tell(&plan, &rest) {
            *met.entry(corner).or_default() += 1;
        }
    }
    assert!(met["a plan"] > 1400, "hardly a plan is proved: {met:#?}");
    let rare = CORNERS.iter().chain(&QUESTIONS).filter(|it| met.get(**it).is_none_or(|n| *n < 3));
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "hardly met: {rare:?} of {met:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(3000),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_story_keeps_the_invariants_and_ends(
        plan in prop::collection::vec(any::<u16>(), 0..120),
        choices in prop::collection::vec(any::<u16>(), 0..240),
    ) {
        tell(&plan, &choices);
    }
}

/// A person wanted a step done again, a policy rolled the run back meanwhile, a breach held it: the
/// undo that the person had ordered could start, and was not.
#[test]
fn a_story_that_left_an_undo_standing_aside() {
    let plan = [
        665, 5, 1, 5537, 3648, 0, 5720, 0, 9264, 0, 15, 27487, 30512, 0, 0, 444, 7674, 328, 3444,
        3054, 0, 0, 1512,
    ];
    let choices = [
        0, 16601, 0, 72, 5400, 15815, 0, 22311, 43824, 1320, 0, 32688, 0, 36296, 1260, 4600, 47925,
        0, 1742, 21150, 30806, 5144, 0, 0, 33713, 0, 35, 33920, 0, 44534, 0, 0, 9120, 0, 10823, 0,
        0, 31880, 0, 15155, 0, 27329, 21409, 52824, 54785, 0, 1, 97,
    ];
    tell(&plan, &choices);
}

/// A person's order followed a rollback to a checkpoint: the steps that it let go on were looked at in
/// a queue of before.
#[test]
fn a_story_that_kept_steps_back_after_a_rollback_to_a_checkpoint() {
    let plan = [0, 30054, 7, 1075, 0, 0, 24054, 22952, 6109, 1072];
    let choices = [
        0, 10320, 14717, 86, 17714, 0, 12512, 0, 1216, 46208, 31004, 32, 3737, 0, 5339, 15254, 0,
        0, 0, 44057, 0, 483, 2537, 0, 46065, 0, 25464, 11366, 44576, 0, 4088, 12333, 0, 0, 45289,
        54771, 0, 33569, 0, 12971, 8033, 0, 0, 384, 26013, 0, 0, 12836, 11984, 38652, 0, 0, 0, 0,
        0, 0, 9830, 0, 0, 0, 14232, 23372, 0,
    ];
    tell(&plan, &choices);
}
