//! Holds and questions: what only people can settle.
//!
//! Ids are the number of the record that raised them, or the next free number when one record
//! raises several, so that they are unique and the same at every replay. A question that holds the
//! run and its hold have the same id.

use super::rollback::{By, Scope};
use super::state::{Patience, Slot};
use super::{Goal, Hold, HoldCause, Question, Run, Status};
use crate::event::{Answer, LineId, QuestionId, Seq, StepId, Way};
use jiff::Timestamp;

/// Why people are asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    /// A step failed for good.
    Failed,
    /// Nothing can tell whether a step was done.
    Doubt,
    /// An undo failed for good.
    FailedUndo,
    /// The step's time was over when the run began.
    Late,
    /// The window has closed.
    Overrun,
    /// The step waits for the live floor in vain.
    Floor,
    /// There is nothing that this rollback would undo.
    NothingToUndo(Scope),
    /// A rollback that the plan wants cannot be had: a point of no return has begun, or too few would
    /// be up on the way.
    NoWayBack {
        /// What wants it.
        why: String,
        /// Why it is not offered.
        refused: String,
    },
    /// A line is undone, but the plan without it does not prove.
    LineUnproved {
        /// Which line.
        line: LineId,
        /// The order that undid it.
        order: u32,
        /// What does not prove.
        why: String,
    },
    /// Somebody said no to a gate.
    Disapproved {
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
}

/// An open question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) id: QuestionId,
    pub(super) step: Option<StepId>,
    pub(super) why: Why,
}

impl Run {
    fn fresh_id(&mut self) -> Seq {
        self.state.last_id = self.state.seq.max(self.state.last_id + 1);
        self.state.last_id
    }

    /// Adds a hold.
    pub(super) fn hold(&mut self, cause: HoldCause) {
        let id = self.fresh_id();
        self.state.holds.push(Hold { id, cause });
    }

    /// Asks, and holds the run meanwhile; a failed undo holds only what it needs.
    pub(super) fn raise(&mut self, step: Option<StepId>, why: Why) {
        let id = self.fresh_id();
        if why != Why::FailedUndo {
            self.state.holds.push(Hold { id, cause: HoldCause::Question(id) });
        }
        self.state.questions.push(Asked { id, step, why });
    }

    /// Closes a question and ends its hold.
    pub(super) fn close_question(&mut self, id: QuestionId) {
        self.state.questions.retain(|asked| asked.id != id);
        self.state.holds.retain(|hold| hold.cause != HoldCause::Question(id));
    }

    /// Closes what was asked about a step.
    pub(super) fn close_questions_of(&mut self, step: StepId) {
        let ids: Vec<_> = self.asked_about(step).map(|asked| asked.id).collect();
        for id in ids {
            self.close_question(id);
        }
        self.state.ask_later.remove(&step);
        self.state.to_ask.remove(&step);
    }

    pub(super) fn asked_about(&self, step: StepId) -> impl Iterator<Item = &Asked> {
        self.state.questions.iter().filter(move |asked| asked.step == Some(step))
    }

    /// After new goals: questions about going forward with what is to be undone are void.
    pub(super) fn drop_overtaken_questions(&mut self) {
        let whole = self.whole_rollback().is_some();
        let void = |asked: &&Asked| {
            asked.why != Why::FailedUndo
                && (whole || asked.step.is_some_and(|step| self.step(step).goal != Goal::Done))
        };
        let ids: Vec<_> = self.state.questions.iter().filter(void).map(|asked| asked.id).collect();
        for id in ids {
            self.close_question(id);
        }
    }

    /// Asks what has gathered while the event was taken in.
    pub(super) fn ask(&mut self) {
        if self.state.aborting || self.state.outcome.is_some() {
            return;
        }
        for step in std::mem::take(&mut self.state.to_ask) {
            if self.asked_about(step).next().is_some() {
                continue;
            }
            if let Some(why) = self.what_to_ask(step) {
                self.raise(Some(step), why);
            }
        }
        let overrun = |asked: &Asked| asked.why == Why::Overrun;
        let late = !self.state.parked_overrun.is_empty() && !self.state.overrun_ok;
        let persons = |hold: &Hold| matches!(hold.cause, HoldCause::Person { .. });
        if late
            && !self.state.holds.iter().any(persons)
            && !self.state.questions.iter().any(overrun)
        {
            self.raise(None, Why::Overrun);
        }
    }

    fn what_to_ask(&self, id: StepId) -> Option<Why> {
        let step = self.step(id);
        match step.status {
            Status::Failed(Way::Undo) if !step.claimed => Some(Why::FailedUndo),
            _ if step.patience == Patience::Asked => Some(Why::Floor),
            _ if step.goal != Goal::Done => None,
            Status::Failed(Way::Do) => Some(Why::Failed),
            Status::Doubt(Way::Do) if step.slot == Slot::None => Some(Why::Doubt),
            Status::Clean if step.slot == Slot::Late => Some(Why::Late),
            _ => None,
        }
    }

    /// What may be answered now.
    pub(super) fn offers(&self, asked: &Asked) -> Vec<Answer> {
        let back = self.offers_back(asked.step);
        let with = |mut first: Vec<Answer>, back: Vec<Answer>| {
            first.extend(back);
            first.push(Answer::Hold);
            first
        };
        match &asked.why {
            Why::Failed => with(vec![Answer::Retry], back),
            Why::Doubt => {
                let mut first = vec![Answer::Done, Answer::NotDone];
                if asked.step.is_some_and(|step| self.fact(step).has_check) {
                    first.push(Answer::Retry);
                }
                with(first, back)
            }
            Why::FailedUndo => {
                let agrees = |step| self.fact(step).has_check || self.guard_agrees_undone(step);
                match asked.step {
                    Some(step) if agrees(step) => vec![Answer::Retry, Answer::Done],
                    _ => vec![Answer::Retry],
                }
            }
            Why::Late => {
                let mut first = vec![Answer::Go];
                if asked.step.is_some_and(|step| self.may_skip(step).is_ok()) {
                    first.push(Answer::Skip);
                }
                with(first, back)
            }
            Why::Overrun | Why::Disapproved { .. } => with(vec![Answer::Go], back),
            Why::Floor => with(vec![Answer::Retry], back),
            Why::NothingToUndo(Scope::Line(_)) => {
                vec![Answer::RollbackLine, Answer::Go, Answer::Hold]
            }
            Why::NothingToUndo(_) => vec![Answer::Rollback, Answer::Go, Answer::Hold],
            Why::NoWayBack { .. } => match asked.step {
                Some(_) => with(vec![Answer::Retry], back),
                None => with(vec![Answer::Go], back),
            },
            Why::LineUnproved { .. } => with(vec![Answer::Retry], back),
        }
    }

    /// The rollbacks that would be admitted.
    fn offers_back(&self, step: Option<StepId>) -> Vec<Answer> {
        let mut back = Vec::new();
        if self.whole_rollback().is_some() {
            return back;
        }
        let some = |scope: Scope| self.plan_order(&scope).is_ok_and(|set| !set.is_empty());
        if some(Scope::Run { before_too: false }) {
            back.push(Answer::Rollback);
        }
        if let Some(line) = step.and_then(|step| self.graph.line(step))
            && some(Scope::Line(line))
        {
            back.push(Answer::RollbackLine);
        }
        back
    }

    /// Takes an admitted answer in.
    pub(super) fn take_answer(&mut self, who: &str, id: QuestionId, answer: Answer, at: Timestamp) {
        let found = self.state.questions.iter().find(|asked| asked.id == id).cloned();
        let Some(asked) = found else { return };
        self.state.answered.insert(id, (who.to_owned(), answer));
        if asked.why == Why::FailedUndo {
            return self.answer_failed_undo(&asked, answer);
        }
        self.close_question(id);
        let by = By::Person(who.to_owned());
        match answer {
            Answer::Rollback => self.answered_rollback(&asked, by),
            Answer::RollbackLine => {
                let line = match (&asked.why, asked.step) {
                    (Why::NothingToUndo(Scope::Line(line)), _) => Some(*line),
                    (_, Some(step)) => self.graph.line(step),
                    _ => None,
                };
                if let Some(line) = line {
                    let set = self.plan_order(&Scope::Line(line)).unwrap_or_default();
                    self.order(Scope::Line(line), by, set);
                }
            }
            Answer::Hold => {
                let reason = format!("stays held: {}", self.text(&asked));
                self.hold(HoldCause::Person { who: who.to_owned(), reason });
                self.state.ask_later.extend(asked.step);
                if let Why::LineUnproved { order, .. } = asked.why {
                    self.state.lines_later.insert(order);
                }
            }
            _ => self.answered_forward(&asked, answer, at),
        }
    }

    fn answered_rollback(&mut self, asked: &Asked, by: By) {
        let before_too = match asked.why {
            Why::NothingToUndo(Scope::Run { before_too }) => before_too,
            _ => false,
        };
        let scope = Scope::Run { before_too };
        let set = self.plan_order(&scope).unwrap_or_default();
        self.order(scope, by, set);
    }

    fn answered_forward(&mut self, asked: &Asked, answer: Answer, at: Timestamp) {
        match (&asked.why, asked.step) {
            (Why::Overrun, _) => {
                self.state.overrun_ok = true;
                for step in self.state.parked_overrun.clone() {
                    self.reconsider(step);
                }
            }
            (Why::LineUnproved { line, order, .. }, _) => {
                for step in self.facts.lines[line.index()].clone() {
                    if self.step(step).out == super::state::Out::No {
                        self.change(step, |it| it.goal = Goal::Done);
                    }
                }
                self.forward_again(*order as usize);
            }
            (Why::Late, Some(step)) if answer == Answer::Skip => {
                self.set_out(step, super::state::Out::Skipped);
            }
            (Why::Late, Some(step)) => self.change(step, |it| it.late_ok = true),
            (Why::Floor, Some(step)) => {
                let back = self.step(step).slot == Slot::Back;
                if !back {
                    let until = self.fact(step).patience.and_then(|it| at.checked_add(it).ok());
                    self.set_patience(step, Patience::Until(until));
                    self.state.stirred.insert(step);
                }
            }
            (Why::Doubt, Some(step)) => self.settle_doubt(step, answer),
            (Why::Failed | Why::NoWayBack { .. }, Some(step)) => self.try_again(step),
            _ => {}
        }
    }

    /// A person settles a doubt.
    pub(super) fn settle_doubt(&mut self, step: StepId, answer: Answer) {
        match answer {
            Answer::Done => self.set_status(step, Status::Done),
            Answer::Retry if self.fact(step).has_check => {
                self.change(step, |it| it.fails[Way::Check as usize] = 0);
            }
            _ => {
                self.change(step, |it| it.fails = [0; 3]);
                self.set_status(step, Status::Partial);
            }
        }
    }

    /// A person wants a failed step tried again.
    pub(super) fn try_again(&mut self, step: StepId) {
        self.change(step, |it| it.fails = [0; 3]);
        if self.step(step).status == Status::Failed(Way::Do) {
            self.set_status(step, Status::Partial);
        }
    }

    fn answer_failed_undo(&mut self, asked: &Asked, answer: Answer) {
        self.close_question(asked.id);
        let Some(step) = asked.step else { return };
        if answer == Answer::Retry {
            self.retry_undo(step);
        } else if self.fact(step).has_check {
            self.change(step, |it| it.claimed = true);
        } else {
            self.set_status(step, Status::Clean);
            self.touch(step);
        }
    }

    /// A failed undo is tried again.
    pub(super) fn retry_undo(&mut self, step: StepId) {
        self.change(step, |it| it.fails[Way::Undo as usize] = 0);
        self.set_status(step, Status::Partial);
    }

    /// The open questions, as people see them.
    pub(super) fn list_questions(&self) -> Vec<Question> {
        if self.state.aborting || self.state.outcome.is_some() {
            return Vec::new();
        }
        let show = |asked: &Asked| Question {
            id: asked.id,
            step: asked.step,
            text: self.text(asked),
            answers: self.offers(asked),
        };
        self.state.questions.iter().map(show).collect()
    }

    fn text(&self, asked: &Asked) -> String {
        let name = asked.step.map(|step| self.graph.name(step)).unwrap_or_default();
        let why = asked.step.and_then(|step| self.state.failures.get(&step));
        let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
        match &asked.why {
            Why::Failed => format!("`{name}` failed for good{why}"),
            Why::Doubt => format!("nobody knows whether `{name}` was done{why}"),
            Why::FailedUndo => {
                format!("the undo of `{name}` failed{why}; what it needs stays done until then")
            }
            Why::Late => {
                format!("the time of `{name}` was over when the run began: start it now, or not?")
            }
            Why::Overrun => "the window has closed and steps of it are left: go on?".to_owned(),
            Why::Floor => {
                let way = self.due_way(asked.step.unwrap_or(StepId(0))).unwrap_or(Way::Do);
                let causes = asked.step.map(|step| self.floor_causes(step, way));
                let whom = self.floor_text(causes.unwrap_or_default());
                format!("`{name}` waits in vain: it would {whom}")
            }
            Why::NothingToUndo(Scope::Line(line)) => format!(
                "nothing of line `{}` has begun: take it out, or go on?",
                self.graph.line_name(*line)
            ),
            Why::NothingToUndo(_) => {
                "nothing has begun that a rollback would undo: end the run, or go on?".to_owned()
            }
            Why::NoWayBack { why, refused } => {
                format!("{why}, and the rollback that follows is refused: {refused}")
            }
            Why::LineUnproved { line, why, .. } => format!(
                "line `{}` is undone, but the plan without it does not prove: {why}",
                self.graph.line_name(*line)
            ),
            Why::Disapproved { who, reason } => format!("{who} said no to `{name}`: {reason}"),
        }
    }

    fn floor_text(&self, causes: Vec<super::Cause>) -> String {
        let mut parts = Vec::new();
        for cause in causes {
            match cause {
                super::Cause::Floor { service, wanting } => {
                    let provider = |it: &crate::event::ProviderId| {
                        format!("`{}`", self.graph.providers()[it.index()].name)
                    };
                    let wanting: Vec<_> = wanting.iter().map(provider).collect();
                    let wanting = wanting.join(", ");
                    let text = format!("take the last of `{service}` (wanted back: {wanting})");
                    parts.push(text);
                }
                super::Cause::Limit(role) => {
                    parts.push(format!("make a second holder beside `{role}`"))
                }
                _ => {}
            }
        }
        parts.join(", and ")
    }
}
