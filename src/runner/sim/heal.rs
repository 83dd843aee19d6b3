//! The end of a simulated run: all faults are healed, people answer, and an end is reached within a
//! bound (I16). No command, attempt, timer or question left is a run that hangs for ever.
//!
//! Not known here: what went wrong before.

use super::oracle::{Kept, keep};
use super::play::Play;
use crate::event::{Answer, Job, LineId, Request, StepId, Timer};
use crate::run::Command;
use crate::runner::inbox::Letter;
use std::sync::atomic::Ordering;

impl Play<'_> {
    /// Brings the run to its end.
    pub(super) fn heal(&mut self) -> Kept {
        self.say(|| "      all faults heal, people answer".to_owned());
        self.world.dead.fill(false);
        self.world.lying.fill(false);
        self.wait = true;
        let bound = 200 + 60 * self.graph.len();
        for _ in 0..bound {
            let open = self.looping.is_some() || self.disk.durable < self.run.seq();
            if self.run.outcome().is_some() && !open {
                return Ok(());
            }
            if self.looping.is_none() {
                self.resume()?;
                continue;
            }
            self.settle()?;
            if self.looping.is_some() {
                self.heal_one()?;
            }
        }
        keep!(false, "I16: no end within {bound} turns\n{}", self.states());
        Ok(())
    }

    /// What is on its way arrives.
    fn settle(&mut self) -> Kept {
        loop {
            self.flow()?;
            let idle = |it: &crate::runner::Loop<_>| {
                let log: &super::disk::SimLog = &it.log;
                log.queue.is_empty() && it.inbox.is_empty()
            };
            if self.looping.as_ref().is_none_or(idle) {
                return Ok(());
            }
        }
    }

    fn heal_one(&mut self) -> Kept {
        self.now.fetch_add(1, Ordering::Relaxed);
        for line in (0_u32..).take(self.graph.line_count()).map(LineId) {
            if !self.run.revocations_clear(line) {
                let as_of = self.run.seq();
                self.send(Letter::Revocations { line, clear: true, as_of });
            }
        }
        self.look()?;
        self.settle()?;
        let jobs: Vec<Job> = self.jobs.keys().copied().collect();
        if !jobs.is_empty() {
            for job in jobs {
                let ending = if self.told.contains(&job) {
                    self.world.end_stopped(job)
                } else {
                    self.world.end_well(job)
                };
                self.ends(job, ending);
            }
            return Ok(());
        }
        let due = self.commands().into_iter().find_map(|command| match command {
            Command::Wake(Timer::Closes | Timer::Floor(_), _) => None,
            Command::Wake(timer, at) => Some((timer, at)),
            _ => None,
        });
        if let Some((timer, at)) = due {
            self.now.fetch_max(at.as_second() + 1, Ordering::Relaxed);
            return self.due(timer);
        }
        if self.looping.is_none() || self.run.outcome().is_some() || self.people_heal() {
            return Ok(());
        }
        keep!(false, "I16: nothing is ordered, runs, or is asked\n{}", self.states());
        Ok(())
    }

    fn people_heal(&mut self) -> bool {
        for question in self.run.questions() {
            let wanted = question.answers.iter().filter(|it| **it != Answer::Hold).copied();
            // What goes forward stands first; without it, back.
            let mut honest = wanted.filter(|it| self.world.is_honest(&self.run, &question, *it));
            if let Some(answer) = honest.next() {
                let question = question.id;
                let what = Request::Answer { question, answer, note: String::new() };
                return self.asks_now(what);
            }
        }
        if !self.run.holds().is_empty() && self.asks_now(Request::Release { hold: None }) {
            return true;
        }
        let steps: Vec<StepId> = self.run.open_for_approval().chain(self.by_hand()).collect();
        steps.into_iter().any(|step| self.help_with(step, 0))
    }

    /// Asks what will be admitted.
    fn asks_now(&mut self, what: Request) -> bool {
        self.run.admit(&self.people[0], what.clone()).is_ok() && self.ask(0, what).is_ok()
    }

    /// Where every step stands that is not done or clean, and why the run does not go on.
    fn states(&self) -> String {
        let graph = &self.graph;
        let line = |step: StepId| {
            let (status, goal) = (self.run.status(step), self.run.goal(step));
            let (out, waits) = (self.run.is_out(step), self.run.waits_for(step));
            format!("      {} {status:?} {goal:?} out {out} {waits:?}\n", graph.name(step))
        };
        let settled = |step: &StepId| self.run.waits_for(*step).is_empty();
        let lines: String = graph.steps().filter(|step| !settled(step)).map(line).collect();
        format!(
            "      holds {:?}\n      questions {:?}\n{lines}",
            self.run.holds(),
            self.run.questions()
        )
    }
}
