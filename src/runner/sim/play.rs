//! One simulated run: the real loop's turns, a world that answers them, and the oracle over both.
//!
//! Not known here: which act comes next (`swarm`), how a dead runner is followed by the next
//! (`recover`), how a run is brought to its end (`heal`).

use super::dice::Dice;
use super::disk::{Disk, SimLog};
use super::oracle::{Kept, Oracle, keep};
use super::reality::{Reality, undoable};
use super::stage::{Orders, Stage};
use super::swarm::{Act, Swarm};
use super::table::{Look, Phase, Table};
use super::wish::cast;
use super::{Simulation, Tally, Told};
use crate::event::{
    Ending, Event, Job, Outcome, Person, ProviderId, Record, Request, Seq, StepId, Way,
};
use crate::graph::Graph;
use crate::run::{Command, Goal, Run};
use crate::runner::inbox::{Answered, Letter};
use crate::runner::{Exit, Loop, Stop, Voice};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::oneshot;

/// Records since the last state kept for a crash, before the next is kept.
const KEPT_EVERY: Seq = 40;

/// Turns until the reaction to a fault is looked at.
const REACTS_IN: u32 = 4;

pub(super) struct Play<'s> {
    pub(super) sim: &'s Simulation,
    pub(super) graph: Arc<Graph>,
    pub(super) people: Vec<Person>,
    pub(super) swarm: Swarm,
    pub(super) rehearsal: bool,
    pub(super) wait: bool,
    turns: usize,
    /// Seconds since 1970.
    pub(super) now: Arc<AtomicI64>,
    pub(super) disk: Disk,
    pub(super) stage: Arc<Stage>,
    /// The runner, while one lives.
    pub(super) looping: Option<Loop<SimLog>>,
    /// The fold of all records so far, and the oracle's.
    pub(super) run: Run,
    pub(super) oracle: Oracle,
    /// Both as they were at a record that is durable.
    pub(super) kept: (Run, Oracle),
    /// The journal, as it was told to the writer.
    pub(super) records: Vec<Record>,
    pub(super) world: Reality,
    /// Deeds under way.
    pub(super) jobs: BTreeMap<Job, Voice>,
    /// Those that were told to end.
    pub(super) told: BTreeSet<Job>,
    /// Deeds ever begun, by the number of their record.
    pub(super) begun: BTreeMap<Job, Seq>,
    /// Attempts that are over, to be answered for once more.
    pub(super) over: Vec<Job>,
    pub(super) asked: Vec<oneshot::Receiver<Answered>>,
    pub(super) met: Tally,
    table: Table,
    /// Faults whose reaction is not seen yet: how it stood then, and the turns left.
    struck: Vec<(&'static str, Look, u32)>,
    /// Attempts that never answer by themselves.
    pub(super) hung: BTreeSet<Job>,
    /// Runners that are gone.
    pub(super) left: u32,
    /// Hash of the newest record, when the run has ended.
    pub(super) head: String,
    story: Option<Vec<String>>,
}

impl<'s> Play<'s> {
    pub(super) fn new(sim: &'s Simulation, dice: &mut Dice<'_>) -> Self {
        let graph = Arc::clone(&sim.graph);
        let swarm = Swarm::new(dice, graph.len());
        let rehearsal = dice.one_in(4);
        let wait = dice.roll(2) == 0;
        let window = graph.plan().window.as_ref();
        let opens = window.map_or(1_554_552_000, |window| window.opens.as_second());
        let late = if swarm.quiet { 0 } else { dice.roll(4) };
        let begins = opens + [-8 * 86_400, -3_600, 60, 4 * 3_600][late];
        let turns = if dice.roll(8) == 0 { 0 } else { dice.roll(40 + 6 * graph.len()) };
        let run = Run::new(Arc::clone(&graph));
        let oracle = sim.oracle.clone();
        Self {
            sim,
            people: cast(&graph),
            swarm,
            rehearsal,
            wait,
            turns,
            now: Arc::new(AtomicI64::new(begins)),
            disk: Disk::new(sim.mutant),
            stage: Arc::default(),
            looping: None,
            kept: (run.clone(), oracle.clone()),
            run,
            oracle,
            records: Vec::new(),
            world: Reality::new(&graph),
            jobs: BTreeMap::new(),
            told: BTreeSet::new(),
            begun: BTreeMap::new(),
            over: Vec::new(),
            asked: Vec::new(),
            met: Tally::new(),
            table: Table::default(),
            struck: Vec::new(),
            hung: BTreeSet::new(),
            left: 0,
            head: String::new(),
            story: None,
            graph,
        }
    }

    pub(super) fn listen(&mut self) {
        self.story = Some(Vec::new());
    }

    pub(super) fn heard(&mut self) -> Vec<String> {
        self.story.take().unwrap_or_default()
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    pub(super) fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, fault: &'static str) {
        self.meet(fault);
        self.struck.push((fault, self.look_at_run(), REACTS_IN));
    }

    fn look_at_run(&self) -> Look {
        let run = &self.run;
        let wanted_back = |step: &StepId| run.goal(*step) != Goal::Done || run.is_out(*step);
        let back = self.graph.steps().filter(wanted_back).count();
        let under_way = |step: StepId| run.goal(step) != Goal::Done && !run.is_out(step);
        let (doubts, holds) = (self.oracle.doubts(), run.holds().len());
        let phase = match () {
            () if run.is_rolling_back() => Phase::Back,
            () if self.graph.steps().any(under_way) => Phase::PartlyBack,
            () if holds > 0 => Phase::Held,
            () if doubts > 0 => Phase::InDoubt,
            () if !self.oracle.is_open() => Phase::BeforeTheWindow,
            () => Phase::Forward,
        };
        let ended = run.outcome().is_some();
        Look { phase, ended, left: self.left, back, doubts, holds }
    }

    /// Looks what the faults of some turns ago, or all of them, have led to.
    fn see_reactions(&mut self, all: bool) {
        if self.struck.is_empty() {
            return;
        }
        let now = self.look_at_run();
        for (fault, then, turns) in std::mem::take(&mut self.struck) {
            if all || turns == 0 || now.ended {
                self.table.count(fault, then.phase, then.reaction(&now));
            } else {
                self.struck.push((fault, then, turns - 1));
            }
        }
    }

    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    pub(super) fn told(self) -> Told {
        let outcome = self.run.outcome().unwrap_or(Outcome::Stuck);
        let head = self.records.len() as Seq;
        let mut met = self.met;
        *met.entry(match outcome {
            Outcome::Completed if self.run.lines_out().next().is_some() => {
                "end: partly rolled back"
            }
            Outcome::Completed => "end: completed",
            Outcome::RolledBack => "end: rolled back",
            Outcome::Stuck => "end: aborted",
        })
        .or_default() += 1;
        Told { outcome, records: head, head: self.head, met, table: self.table }
    }

    /// The whole run: `turn` makes one turn after the other, then all faults heal.
    pub(super) fn tell(&mut self, mut turn: impl FnMut(&mut Self, usize) -> Option<Kept>) -> Kept {
        self.begin()?;
        let mut count = 0;
        while self.run.outcome().is_none() {
            let Some(kept) = turn(self, count) else { break };
            kept?;
            self.see_reactions(false);
            count += 1;
        }
        self.see_reactions(true);
        self.heal()?;
        self.say(|| "the run has ended".to_owned());
        self.oracle.judge_end(&self.run, &self.world)?;
        if self.swarm.quiet {
            let outcome = self.run.outcome();
            keep!(outcome == Some(Outcome::Completed), "I16: nothing went wrong, and {outcome:?}");
        }
        self.judge_journal()
    }

    /// One turn of chance.
    pub(super) fn turn(&mut self, dice: &mut Dice<'_>) -> Kept {
        self.now.fetch_add(1, Ordering::Relaxed);
        if self.looping.is_none() {
            return self.resume();
        }
        let act = self.swarm.act(dice);
        match act {
            Act::Flow => self.flow(),
            Act::Sync => {
                let most = 1 + dice.roll(4);
                self.sync(most)?;
                self.pump()
            }
            Act::Deliver => {
                let most = 1 + dice.roll(3);
                self.deliver(most)
            }
            Act::End => self.end(dice),
            Act::Timer => self.timer(dice),
            Act::Look => self.look(),
            Act::Help => self.help(dice),
            Act::Answer => self.answer(dice),
            Act::Wish => self.wishes(dice),
            Act::Twice => self.twice(dice),
            Act::Abort if dice.one_in(6) => {
                self.strike("somebody aborts");
                self.ask(0, Request::Abort { reason: "why not".into() })
            }
            Act::Abort => Ok(()),
            Act::Crash => self.crash(dice),
            Act::Signal => self.signal(dice),
            Act::DiskFails => self.disk_fails(dice),
            Act::Damage => self.damage(dice),
            Act::Stale => self.stale(dice),
            Act::Breaks | Act::Falsifies => self.breaks(act, dice),
            Act::Silent => self.post("guard silent", Letter::Silent),
            Act::LateWord => self.late_word(dice),
            Act::ClockJumps => self.clock_jumps(dice),
            Act::Revocation => self.revocation(dice),
            Act::Intrude => self.intrude(dice),
            Act::CheckLies => self.check_lies(dice),
            Act::Hangs => self.hangs(dice),
        }
    }

    /// Calls the loop, and judges all that it did.
    pub(super) fn call(
        &mut self,
        what: impl FnOnce(&mut Loop<SimLog>) -> Result<(), Stop>,
    ) -> Kept {
        let Some(looping) = self.looping.as_mut() else { return Ok(()) };
        let done = what(looping);
        let fresh = std::mem::take(&mut looping.log.fresh);
        let Orders { begun, stops } = self.stage.orders();
        for (job, voice) in begun {
            self.begins(job, voice)?;
        }
        self.told.extend(stops);
        for record in fresh {
            self.observe(record)?;
        }
        if let Err(Stop::Bug(bug)) = done {
            keep!(false, "{bug}");
        }
        if let Some(looping) = &self.looping {
            keep!(looping.run == self.run, "I14: the fold of the journal is not the live state");
        }
        self.hear_answers()
    }

    /// A deed begins: only what is durably recorded, and once.
    fn begins(&mut self, job: Job, voice: Voice) -> Kept {
        let started = self.records.iter().rev().find(|it| it.event == Event::Started(job));
        let seq = started.map_or(0, |record| record.seq);
        let name = self.graph.name(job.step);
        keep!(seq > 0, "I2: {:?} of `{name}` begins without a record", job.way);
        let durable = self.disk.durable;
        keep!(
            seq <= durable,
            "I2: record {seq} is not durable (that is {durable}), and its deed begins: {:?} of `{name}`",
            job.way
        );
        let again = self.begun.insert(job, seq);
        keep!(
            again.is_none(),
            "I3: {:?} of `{name}`, attempt {}, begins twice",
            job.way,
            job.attempt
        );
        self.say(|| format!("      {:?} of `{name}` begins, attempt {}", job.way, job.attempt));
        self.world.jobs.insert(job.step, job);
        self.jobs.insert(job, voice);
        self.oracle.judge_begin(&self.run, job)?;
        self.oracle.judge_world(&self.graph, &self.world)
    }

    /// One record: folded and judged. The world has already changed.
    pub(super) fn observe(&mut self, record: Record) -> Kept {
        let before = self.run.clone();
        self.say_record(&record);
        if let Err(why) = self.run.apply(&record) {
            keep!(false, "I14: record {} was taken in live only: {}", record.seq, why.0);
        }
        match &record.event {
            Event::Requested(_, Request::Finish { step, .. }) => {
                self.world.by_hand(&self.run, *step);
            }
            // Nobody was told to begin.
            Event::Ended(job, Ending::Withdrawn) if self.run.is_manual(*job) => {
                self.world.by_hand(&self.run, job.step);
            }
            _ => {}
        }
        self.world.follow(&self.run);
        self.oracle.judge(&before, &record, &self.run, &self.world)?;
        self.records.push(record);
        Ok(())
    }

    fn say_record(&mut self, record: &Record) {
        let graph = Arc::clone(&self.graph);
        self.say(|| {
            use crate::journal::codec::Wire;
            let wire = match &record.event {
                Event::Begun(_) => "\"begun\"".to_owned(),
                event => serde_json::to_string(&Wire::of(event, &*graph))
                    .expect("BUG: events have text keys"),
            };
            format!("{:>5} {wire}", record.seq)
        });
    }

    /// Replies that were given rest on durable records only.
    fn hear_answers(&mut self) -> Kept {
        let durable = self.disk.durable;
        let mut wrong = None;
        self.asked.retain_mut(|reply| match reply.try_recv() {
            Ok(Answered::Recorded(seq)) => {
                if seq > durable {
                    wrong = Some(seq);
                }
                false
            }
            Ok(Answered::Refused(_)) | Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        keep!(wrong.is_none(), "I2: record {wrong:?} was acknowledged and is not durable");
        Ok(())
    }

    /// What the loop does between two letters.
    pub(super) fn pump(&mut self) -> Kept {
        self.call(Loop::release)?;
        self.call(Loop::turn)?;
        let Some(exit) = self.looping.as_ref().and_then(Loop::exit) else { return Ok(()) };
        self.say(|| format!("      the runner leaves: {exit:?}"));
        self.meet(match exit {
            Exit::Closed(_) => "exit: closed",
            Exit::NeedsPerson => "exit: needs a person",
            Exit::Interrupted { .. } => "exit: interrupted",
            Exit::JournalLost(_) => "exit: journal lost",
        });
        keep!(self.jobs.is_empty(), "I16: the runner leaves with deeds under way");
        self.die();
        Ok(())
    }

    /// So many records are written at once, and synced.
    pub(super) fn sync(&mut self, most: usize) -> Kept {
        let Some(looping) = self.looping.as_mut() else { return Ok(()) };
        if looping.log.queue.is_empty() {
            return Ok(());
        }
        let written = looping.log.write(&mut self.disk, &self.graph, most);
        keep!(written, "I10: two runners write one journal");
        self.disk.sync();
        looping.log.synced();
        if looping.log.queue.is_empty() && self.run.seq() >= self.kept.0.seq() + KEPT_EVERY {
            self.kept = (self.run.clone(), self.oracle.clone());
        }
        Ok(())
    }

    /// So many letters are taken.
    pub(super) fn deliver(&mut self, most: usize) -> Kept {
        for _ in 0..most {
            let Some(letter) = self.looping.as_mut().and_then(|it| it.inbox.try_recv().ok()) else {
                break;
            };
            self.call(|looping| looping.take(letter))?;
        }
        self.pump()
    }

    /// Everything that is under way in the process comes to its end.
    pub(super) fn flow(&mut self) -> Kept {
        self.sync(usize::MAX)?;
        self.deliver(usize::MAX)
    }

    pub(super) fn post(&mut self, what: &'static str, letter: Letter) -> Kept {
        self.strike(what);
        self.say(|| format!("      {what}"));
        self.send(letter);
        Ok(())
    }

    pub(super) fn send(&mut self, letter: Letter) {
        if let Some(looping) = &self.looping {
            // The loop holds the other end.
            drop(looping.to_inbox.send(letter));
        }
    }

    /// What the core would have done now.
    pub(super) fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        self.run.next(&mut commands);
        commands
    }

    /// After a crash: what people do by hand, and what nothing undoes, is as the journal says. They
    /// were not told of records that were lost, and nothing was undone for them.
    pub(super) fn people_agree(&mut self) {
        for step in self.graph.steps() {
            let by_hand = self.run.is_manual(Job { step, way: Way::Do, attempt: 1 });
            let mine = by_hand || !undoable(&self.graph, step);
            if mine && !self.world.lied.contains(&step) {
                self.world.by_hand(&self.run, step);
            }
        }
        self.world.follow(&self.run);
    }
}

pub(super) fn providers(graph: &Graph) -> impl Iterator<Item = ProviderId> + use<> {
    (0_u32..).take(graph.providers().len()).map(ProviderId)
}
