//! What people do in a simulated run: ask, answer, approve, end what is theirs to end.
//!
//! Not known here: who may; the core admits or refuses.

use super::dice::Dice;
use super::oracle::Kept;
use super::play::Play;
use super::wish::wish;
use crate::event::{Answer, Back, Request, StepId};
use crate::runner::inbox::{Asked, Letter};
use tokio::sync::oneshot;

impl Play<'_> {
    pub(super) fn ask(&mut self, who: usize, what: Request) -> Kept {
        let who = self.people[who].clone();
        self.say(|| format!("      {} asks: {what:?}", who.login));
        let (reply, answer) = oneshot::channel();
        self.asked.push(answer);
        self.send(Letter::Asked(Asked { who, what, reply }));
        Ok(())
    }

    pub(super) fn help(&mut self, dice: &mut Dice<'_>) -> Kept {
        let steps = self.run.open_for_approval().chain(self.by_hand());
        let steps: Vec<StepId> = steps.collect();
        let Some(step) = dice.pick(&steps) else { return self.flow() };
        let from = dice.roll(self.people.len());
        self.help_with(step, from);
        Ok(())
    }

    /// Steps that people do, under way.
    pub(super) fn by_hand(&self) -> impl Iterator<Item = StepId> {
        self.run.running().filter(|job| self.run.is_manual(*job)).map(|job| job.step)
    }

    /// The first who may (counted from some person on) ends a step by hand, or approves a gate.
    pub(super) fn help_with(&mut self, step: StepId, from: usize) -> bool {
        for who in 0..self.people.len() {
            let who = (who + from) % self.people.len();
            let finish = Request::Finish { step, evidence: "seen".into() };
            let approve = Request::Approve { step, note: String::new() };
            for what in [finish, approve] {
                if self.run.admit(&self.people[who], what.clone()).is_ok() {
                    return self.ask(who, what).is_ok();
                }
            }
        }
        false
    }

    pub(super) fn answer(&mut self, dice: &mut Dice<'_>) -> Kept {
        let who = dice.roll(self.people.len());
        let questions = self.run.questions();
        if questions.is_empty() {
            return if self.run.holds().is_empty() {
                Ok(())
            } else {
                self.ask(who, Request::Release { hold: None })
            };
        }
        let question = &questions[dice.roll(questions.len())];
        let Some(answer) = dice.pick(&question.answers) else { return Ok(()) };
        if self.world.is_honest(&self.run, question, answer) {
            let question = question.id;
            let answers = Request::Answer { question, answer, note: String::new() };
            self.ask(who, answers.clone())?;
            // Two people press Enter at the same time.
            if dice.one_in(4) {
                self.strike("two answer at once");
                let other = if answer == Answer::Hold {
                    answers
                } else {
                    Request::Answer { question, answer: Answer::Hold, note: String::new() }
                };
                self.ask(who, other)?;
            }
        }
        Ok(())
    }

    /// Somebody asks for anything.
    pub(super) fn wishes(&mut self, dice: &mut Dice<'_>) -> Kept {
        let who = dice.roll(self.people.len());
        let Some(what) = wish(&self.graph, dice) else { return Ok(()) };
        self.strike(wish_word(&what));
        self.ask(who, what)
    }

    /// The same person approves again.
    pub(super) fn twice(&mut self, dice: &mut Dice<'_>) -> Kept {
        let gates: Vec<StepId> = self.run.open_for_approval().collect();
        let Some(step) = dice.pick(&gates) else { return Ok(()) };
        self.strike("one person approves twice");
        let approve = || Request::Approve { step, note: String::new() };
        self.ask(0, approve())?;
        self.ask(0, approve())
    }
}

/// Wishes that stand in the table of faults, each by itself.
fn wish_word(what: &Request) -> &'static str {
    match what {
        Request::Hold { .. } => "somebody holds",
        Request::Rollback { back: Back::Run { .. }, .. } => "somebody wants all back",
        Request::Rollback { back: Back::Line(_), .. } => "somebody wants a line back",
        Request::Rollback { back: Back::To(_), .. } => "somebody wants back to a checkpoint",
        Request::Retry { .. } => "somebody retries",
        Request::Skip { .. } => "somebody skips",
        Request::Disapprove { .. } => "somebody says no",
        Request::Abort { .. } => "somebody aborts",
        Request::Interrupt => "somebody interrupts",
        _ => "somebody asks",
    }
}
