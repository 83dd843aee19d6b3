//! What the simulated world does: attempts answer, the guard and the emergency lane have their word,
//! things break, the clock is set.
//!
//! Not known here: what the core makes of it.

use super::dice::Dice;
use super::oracle::{Kept, keep};
use super::play::{Play, providers};
use super::swarm::Act;
use super::{Mutant, done};
use crate::event::{
    Ending, Event, Job, LineId, ProviderId, Record, Seq, StepId, Timer, Verdict, Way,
};
use crate::failure::Failure;
use crate::graph::Graph;
use crate::runner::inbox::{Letter, Signal};
use jiff::SignedDuration;
use std::sync::atomic::Ordering;

impl Play<'_> {
    pub(super) fn end(&mut self, dice: &mut Dice<'_>) -> Kept {
        let jobs: Vec<Job> = self.jobs.keys().copied().collect();
        let Some(job) = dice.pick(&jobs) else { return self.flow() };
        if self.hung.contains(&job) && !self.told.contains(&job) && !dice.one_in(4) {
            return self.flow();
        }
        let ending = if self.hung.contains(&job) {
            self.end_of_hung(job, dice)
        } else if self.told.contains(&job) && dice.roll(4) > 0 {
            self.world.end_stopped(job)
        } else if self.swarm.fails(dice) {
            self.strike("an attempt fails");
            self.world.end_somehow(job, dice)
        } else {
            self.world.end_well(job)
        };
        self.ends(job, ending);
        Ok(())
    }

    /// An attempt never answers by itself: it is ended, as it was told, or by its timeout.
    pub(super) fn hangs(&mut self, dice: &mut Dice<'_>) -> Kept {
        let jobs: Vec<Job> = self.jobs.keys().copied().collect();
        let Some(job) = dice.pick(&jobs) else { return Ok(()) };
        if self.hung.insert(job) {
            self.strike("an attempt hangs");
        }
        Ok(())
    }

    pub(super) fn end_of_hung(&mut self, job: Job, dice: &mut Dice<'_>) -> Ending {
        if self.told.contains(&job) {
            return self.world.end_stopped(job);
        }
        self.world.abandon(job, dice);
        Ending::Failed(Failure::timed_out("too long"))
    }

    /// An attempt answers; the loop has yet to hear it.
    pub(super) fn ends(&mut self, job: Job, ending: Ending) {
        let Some(voice) = self.jobs.remove(&job) else { return };
        let name = self.graph.name(job.step);
        self.say(|| format!("      {:?} of `{name}`, attempt {}, answers", job.way, job.attempt));
        self.told.remove(&job);
        self.hung.remove(&job);
        self.over.push(job);
        voice.end(with_outputs(&self.graph, job, ending));
    }

    pub(super) fn check_lies(&mut self, dice: &mut Dice<'_>) -> Kept {
        let checks: Vec<Job> =
            self.jobs.keys().filter(|job| job.way == Way::Check).copied().collect();
        if let Some(job) = dice.pick(&checks) {
            self.strike("a check lies");
            let ending = self.world.end_with_a_lie(job);
            self.ends(job, ending);
        }
        Ok(())
    }

    pub(super) fn timer(&mut self, dice: &mut Dice<'_>) -> Kept {
        let Some((timer, at)) = self.looping.as_ref().and_then(|it| it.wake) else {
            return self.flow();
        };
        let early = matches!(timer, Timer::Closes | Timer::Floor(_));
        if early && (self.swarm.quiet || !dice.one_in(4)) {
            return Ok(());
        }
        self.now.fetch_max(at.as_second() + 1, Ordering::Relaxed);
        self.due(timer)
    }

    /// A moment has come.
    pub(super) fn due(&mut self, timer: Timer) -> Kept {
        self.call(|looping| looping.append(Event::Due { timer, jumped: false }).map(drop))?;
        self.pump()
    }

    /// The guard has looked at everything, and says what has changed.
    pub(super) fn look(&mut self) -> Kept {
        let as_of = self.run.seq();
        for provider in providers(&self.graph) {
            self.word(provider, as_of);
        }
        self.flow()
    }

    pub(super) fn word(&mut self, provider: ProviderId, as_of: Seq) {
        let verdict = self.world.verdict_of(provider);
        self.send(Letter::Verdict { provider, verdict, as_of, why: String::new() });
    }

    pub(super) fn late_word(&mut self, dice: &mut Dice<'_>) -> Kept {
        let all: Vec<ProviderId> = providers(&self.graph).collect();
        let late = dice.roll(6) as Seq;
        if let Some(provider) = dice.pick(&all) {
            self.strike("a verdict comes late");
            // Asked before what happened since: it may say what was so then, or is so now.
            let verdict =
                if dice.roll(2) == 0 { Verdict::Normal } else { self.world.verdict_of(provider) };
            let verdict = if self.world.answers(provider) { Verdict::Normal } else { verdict };
            let as_of = self.run.seq().saturating_sub(late);
            self.send(Letter::Verdict { provider, verdict, as_of, why: String::new() });
        }
        Ok(())
    }

    pub(super) fn breaks(&mut self, act: Act, dice: &mut Dice<'_>) -> Kept {
        let all: Vec<ProviderId> = providers(&self.graph).collect();
        let Some(provider) = dice.pick(&all) else { return Ok(()) };
        let name = self.graph.providers()[provider.index()].name.clone();
        let (what, wrong) = match act {
            Act::Breaks => ("a provider breaks", &mut self.world.dead),
            _ => ("a provider answers falsely", &mut self.world.lying),
        };
        let wrong = &mut wrong[provider.index()];
        *wrong = !*wrong;
        let now = *wrong;
        if now {
            self.strike(what);
        }
        self.say(|| format!("      `{name}`: {what}: {now}"));
        let as_of = self.run.seq();
        self.word(provider, as_of);
        Ok(())
    }

    pub(super) fn clock_jumps(&mut self, dice: &mut Dice<'_>) -> Kept {
        let by = [3_600, -3_600, 7_200, -60][dice.roll(4)];
        self.now.fetch_add(by, Ordering::Relaxed);
        self.strike("the clock jumps");
        self.say(|| format!("      the clock jumps by {by} s"));
        self.call(|looping| looping.asleep(SignedDuration::from_secs(by)))?;
        self.pump()
    }

    pub(super) fn revocation(&mut self, dice: &mut Dice<'_>) -> Kept {
        let lines = self.graph.line_count();
        if lines == 0 {
            return Ok(());
        }
        let line = LineId(u32::try_from(dice.roll(lines)).expect("BUG: ids are 32 bits"));
        let (clear, as_of) = (dice.roll(2) == 1, self.run.seq());
        self.post("a word of the emergency lane", Letter::Revocations { line, clear, as_of })
    }

    /// What cannot happen is not taken in: late and foreign ends, starts out of turn.
    pub(super) fn intrude(&mut self, dice: &mut Dice<'_>) -> Kept {
        self.strike("a late answer");
        let step =
            StepId(u32::try_from(dice.roll(self.graph.len())).expect("BUG: ids are 32 bits"));
        let job = Job { step, way: Way::Undo, attempt: 1_000_000 };
        keep!(!self.is_taken(Event::Started(job)), "I3: attempts leave out numbers");
        let ended = Event::Ended(job, Ending::Stopped);
        keep!(!self.is_taken(ended), "I3: what never began has ended");
        let Some(job) = dice.pick(&self.over) else { return Ok(()) };
        // Answered, and not heard yet, it is running for the core.
        let heard = !self.run.running().any(|it| it == job);
        let late = heard && self.is_taken(Event::Ended(job, done()));
        keep!(!late, "I3: a late answer is taken in: {job:?}");
        keep!(!self.is_taken(Event::Started(job)), "I3: an attempt is started again: {job:?}");
        if self.sim.mutant == Some(Mutant::LateAnswerTaken) {
            let newer = self.jobs.keys().find(|it| it.step == job.step && it.way == job.way);
            if let Some(newer) = newer.copied() {
                self.send(Letter::Ended(newer, done()));
            }
        }
        Ok(())
    }

    /// Whether the core would take an event in now.
    pub(super) fn is_taken(&self, event: Event) -> bool {
        let at = self.records.last().map(|record| record.at).unwrap_or_default();
        let record = Record { seq: self.run.seq() + 1, at, event };
        self.run.clone().apply(&record).is_ok()
    }

    pub(super) fn signal(&mut self, dice: &mut Dice<'_>) -> Kept {
        let signal = if dice.roll(2) == 0 { Signal::Interrupt } else { Signal::Terminate };
        self.post("a signal", Letter::Signal(signal))
    }
}

/// A deed that is done has said all that the plan reads from it.
fn with_outputs(graph: &Graph, job: Job, ending: Ending) -> Ending {
    match ending {
        Ending::Done(_) if job.way == Way::Do => {
            let names = graph.def(job.step).outputs.iter().map(|it| it.name.clone());
            Ending::Done(names.map(|name| (name, "1".to_owned())).collect())
        }
        other => other,
    }
}
