//! What people ask: the judgement of a request, and what it changes once admitted.

use super::facts;
use super::rollback::{By, Scope, listed};
use super::state::{Out, Slot};
use super::{Goal, HoldCause, Refusal, Run, Status};
use crate::action::Action;
use crate::action::manual::Manual;
use crate::event::{
    Answer, Back, HoldId, Job, LineId, Outcome, Outputs, Person, ProviderId, QuestionId, Request,
    StepId, Way,
};
use crate::failure::Failure;
use crate::plan::Gate;
use crate::plan::template::Template;
use jiff::Timestamp;

type Verdict = Result<(), Refusal>;

fn refuse(why: impl Into<String>) -> Verdict {
    Err(Refusal { why: why.into(), hint: None })
}

fn refuse_hint(why: impl Into<String>, hint: impl Into<String>) -> Verdict {
    Err(Refusal { why: why.into(), hint: Some(hint.into()) })
}

fn scope_of(back: &Back) -> Scope {
    match back {
        Back::Run { before_too } => Scope::Run { before_too: *before_too },
        Back::Line(line) => Scope::Line(*line),
        Back::To(name) => Scope::To(name.clone()),
    }
}

impl Run {
    /// Whether a request can be had now.
    pub(super) fn judge_request(&self, who: &Person, request: &Request) -> Verdict {
        if !self.state.begun {
            return refuse("the run has not begun");
        }
        if let Some(outcome) = self.state.outcome {
            let how = match outcome {
                Outcome::Completed => "completed",
                Outcome::RolledBack => "rolled back",
                Outcome::Stuck => "aborted",
            };
            return refuse(format!("the run has ended: {how}"));
        }
        if self.state.aborting {
            return refuse("the run is being aborted");
        }
        match request {
            Request::Hold { .. } | Request::Abort { .. } | Request::Interrupt => Ok(()),
            Request::Release { hold } => self.judge_release(*hold),
            Request::Approve { step, .. } => self.judge_approve(who, *step),
            Request::Disapprove { step, .. } => self.gate_for(who, *step).map(|_| ()),
            Request::Answer { question, answer, .. } => self.judge_answer(*question, *answer),
            Request::Claim { step } => self.judge_claim(who, *step),
            Request::Finish { step, evidence } => self.judge_finish(who, *step, evidence),
            Request::Fail { step, .. } => self.hands_on(who, *step).map(|_| ()),
            Request::Retry { step } => self.judge_retry(*step),
            Request::Skip { step, .. } => self.judge_skip(*step),
            Request::Rollback { back, .. } => self.judge_rollback(back),
        }
    }

    fn known(&self, step: StepId) -> Verdict {
        if step.index() < self.state.steps.len() { Ok(()) } else { refuse("no such step") }
    }

    fn judge_release(&self, hold: Option<HoldId>) -> Verdict {
        let Some(id) = hold else {
            if self.state.holds.is_empty() {
                return refuse("the run is not held");
            }
            let each = self.state.holds.iter().map(|hold| self.releasable(&hold.cause));
            let mut first = Ok(());
            for verdict in each {
                match verdict {
                    Ok(()) => return Ok(()),
                    refusal => first = first.and(refusal),
                }
            }
            return first;
        };
        match self.state.holds.iter().find(|hold| hold.id == id) {
            Some(hold) => self.releasable(&hold.cause),
            None => refuse(format!("there is no hold {id}")),
        }
    }

    fn releasable(&self, cause: &HoldCause) -> Verdict {
        match cause {
            HoldCause::Person { .. } => Ok(()),
            HoldCause::Breach(provider) => match self.still_breached(self.service_of(*provider)) {
                Some(why) => {
                    refuse_hint(why, "release when the guard calls it normal, or roll back")
                }
                None => Ok(()),
            },
            HoldCause::Question(id) => refuse_hint(
                format!("question {id} holds the run"),
                format!("answer it: `cutover answer RUN {id} ...`"),
            ),
        }
    }

    /// The gate, if it waits for approvals and this person is of its groups.
    fn gate_for(&self, who: &Person, step: StepId) -> Result<&Gate, Refusal> {
        self.known(step)?;
        let name = self.graph.name(step);
        let Some(gate) = facts::gate(self.graph.def(step)) else {
            return Err(Refusal { why: format!("`{name}` is not a gate"), hint: None });
        };
        let it = self.step(step);
        let why = if it.status == Status::Done {
            Some(format!("`{name}` is approved already"))
        } else if it.out != Out::No {
            Some(format!("`{name}` is out"))
        } else if it.goal != Goal::Done {
            Some(format!("`{name}` is being rolled back"))
        } else if it.slot != Slot::Gate {
            let waits = self.waits_for(step).into_iter().find_map(|cause| match cause {
                super::Cause::Step(need) => Some(self.graph.name(need)),
                _ => None,
            });
            let waits = waits.map(|it| format!(": it waits for `{it}`")).unwrap_or_default();
            Some(format!("`{name}` is not reached yet{waits}"))
        } else if !is_member(who, gate.by.iter().map(|group| group.value.as_str())) {
            let groups: Vec<_> = gate.by.iter().map(|group| group.value.as_str()).collect();
            Some(format!("{} is in none of `{name}`'s groups: {}", who.login, groups.join(", ")))
        } else {
            None
        };
        match why {
            Some(why) => Err(Refusal { why, hint: None }),
            None => Ok(gate),
        }
    }

    fn judge_approve(&self, who: &Person, step: StepId) -> Verdict {
        self.gate_for(who, step)?;
        let approvals = self.state.approvals.get(&step);
        if approvals.is_some_and(|all| all.iter().any(|person| person.login == who.login)) {
            let name = self.graph.name(step);
            return refuse_hint(
                format!("{} has approved `{name}` already", who.login),
                "a quorum counts different people",
            );
        }
        Ok(())
    }

    fn judge_answer(&self, id: QuestionId, answer: Answer) -> Verdict {
        let Some(asked) = self.state.questions.iter().find(|asked| asked.id == id) else {
            return match self.state.answered.get(&id) {
                Some((who, was)) => {
                    refuse(format!("{who} has answered question {id} already: {}", was.word()))
                }
                None => refuse(format!("there is no open question {id}")),
            };
        };
        let offers = self.offers(asked);
        if offers.contains(&answer) {
            return match (answer, asked.step) {
                (Answer::Skip, Some(step)) => self.judge_skip(step),
                _ => Ok(()),
            };
        }
        if let (super::questions::Why::FailedUndo, Answer::Done) = (&asked.why, answer) {
            return refuse_hint(
                "neither a check nor the guard can agree that it is undone",
                "repair what keeps its undo from working, and answer `retry`",
            );
        }
        let offers: Vec<_> = offers.into_iter().map(Answer::word).collect();
        refuse_hint(
            format!("question {id} cannot be answered with `{}`", answer.word()),
            format!("it can be answered with {}", offers.join(", ")),
        )
    }

    /// The manual action under way at a step, if this person may do it.
    fn hands_on(&self, who: &Person, step: StepId) -> Result<(Job, &Manual<Template>), Refusal> {
        self.known(step)?;
        let name = self.graph.name(step);
        let none = |why: String| Refusal { why, hint: None };
        let Status::Running(job) = self.step(step).status else {
            return Err(none(format!("`{name}` does not wait for anybody now")));
        };
        let Some(Action::Manual(manual)) = facts::action(self.graph.def(step), job.way) else {
            return Err(none(format!("`{name}` is not done by people")));
        };
        if !is_member(who, manual.by.iter().map(String::as_str)) {
            return Err(none(format!(
                "{} is in none of `{name}`'s groups: {}",
                who.login,
                manual.by.join(", ")
            )));
        }
        Ok((job, manual))
    }

    fn judge_claim(&self, who: &Person, step: StepId) -> Verdict {
        self.hands_on(who, step)?;
        let hands = self.state.hands.get(&step);
        if hands.is_some_and(|hands| hands.claims.contains(&who.login)) {
            return refuse(format!("{} has claimed it already", who.login));
        }
        Ok(())
    }

    fn judge_finish(&self, who: &Person, step: StepId, evidence: &str) -> Verdict {
        let (job, manual) = self.hands_on(who, step)?;
        let name = self.graph.name(step);
        if manual.evidence_required && evidence.trim().is_empty() {
            return refuse_hint(
                format!("`{name}` wants evidence"),
                "say what shows that it is done: `--evidence TEXT`",
            );
        }
        let hands = self.state.hands.get(&step);
        if hands.is_some_and(|hands| hands.finished.contains(&who.login)) {
            return refuse_hint(
                format!("{} has said so already", who.login),
                format!("`{name}` wants {} different people", manual.people),
            );
        }
        let said = hands.map_or(0, |hands| hands.finished.len());
        if said + 1 < manual.people.max(1) as usize {
            return Ok(());
        }
        let not_yet = |provider: &ProviderId| !self.verdict(*provider).0.serves();
        match self.given_back(step, job.way).into_iter().find(not_yet) {
            Some(provider) => refuse_hint(
                format!(
                    "`{name}` gives `{}` back, which the guard does not call normal yet",
                    self.graph.providers()[provider.index()].name
                ),
                "say so again when `cutover status` shows it normal, or `cutover fail`",
            ),
            None => Ok(()),
        }
    }

    fn judge_retry(&self, id: StepId) -> Verdict {
        self.known(id)?;
        let step = self.step(id);
        let name = self.graph.name(id);
        if step.out != Out::No {
            return self.may_come_back(id);
        }
        match step.status {
            Status::Failed(Way::Do | Way::Check) | Status::Doubt(Way::Do)
                if step.goal == Goal::Done =>
            {
                Ok(())
            }
            Status::Waiting(_) if step.goal == Goal::Done => Ok(()),
            Status::Failed(Way::Undo) if !step.claimed => Ok(()),
            Status::Waiting(Way::Undo) => Ok(()),
            Status::Running(_) => refuse(format!("`{name}` is running")),
            Status::Done if step.goal == Goal::Done => {
                if step.weight > 0 {
                    let by = self.graph.dependents(id).iter().find(|it| self.step(**it).weighs);
                    let by = by.map(|it| self.graph.name(*it)).unwrap_or_default();
                    return refuse_hint(
                        format!("`{name}` is done, and `{by}` that needs it has begun"),
                        "a done step runs again only after everything that needs it is undone",
                    );
                }
                match self.plan_order(&Scope::Again(id)) {
                    Err(why) => refuse(why),
                    Ok(_) if self.goes_to_checkpoint() => refuse("a rollback is under way"),
                    Ok(_) => Ok(()),
                }
            }
            Status::Clean if step.goal == Goal::Done => {
                refuse(format!("`{name}` has not been tried yet"))
            }
            Status::Clean if self.unproved_line(id).is_some() => Ok(()),
            _ => refuse(format!("`{name}` is being rolled back")),
        }
    }

    /// The open question about the step's line, undone but not out.
    fn unproved_line(&self, id: StepId) -> Option<QuestionId> {
        let mine = self.graph.line(id)?;
        let asked = self.state.questions.iter().find(|asked| match asked.why {
            super::questions::Why::LineUnproved { line, .. } => line == mine,
            _ => false,
        })?;
        Some(asked.id)
    }

    /// What comes back together with an out step: its line, or itself.
    fn comes_back(&self, id: StepId) -> Vec<StepId> {
        match (self.step(id).out, self.graph.line(id)) {
            (Out::Line, Some(line)) => {
                let mine = self.facts.lines[line.index()].iter();
                mine.filter(|it| self.step(**it).out == Out::Line).copied().collect()
            }
            _ => vec![id],
        }
    }

    fn may_come_back(&self, id: StepId) -> Verdict {
        let name = self.graph.name(id);
        if self.whole_rollback().is_some() || self.goes_to_checkpoint() {
            return refuse("a rollback is under way");
        }
        if let Some(line) = self.graph.line(id)
            && self.goes_back(line)
        {
            let line = self.graph.line_name(line);
            return refuse_hint(
                format!("line `{line}` is being rolled back, and no step of it starts meanwhile"),
                format!("`retry` `{name}` when that has ended"),
            );
        }
        if let Some(line) = self.graph.line(id)
            && self.step(id).out == Out::Skipped
            && self.facts.lines[line.index()].iter().any(|it| self.step(*it).out == Out::Line)
        {
            let line = self.graph.line_name(line);
            return refuse_hint(
                format!("`{name}` was skipped, and its line `{line}` is out since"),
                "`retry` another step of the line first: what was rolled back comes back together",
            );
        }
        let back = self.comes_back(id);
        if let Some(step) = back.iter().find(|it| self.step(**it).weight > 0) {
            return refuse_hint(
                format!("a begun step needs `{}`", self.graph.name(*step)),
                format!("`{name}` comes back only when nothing begun needs it"),
            );
        }
        let stays = |step: StepId| self.step(step).out != Out::No && !back.contains(&step);
        match crate::proof::prove_without(&self.graph, &stays) {
            Ok(()) => Ok(()),
            Err(faults) => {
                let why = listed(faults);
                refuse(format!("the plan with `{name}` again does not prove: {why}"))
            }
        }
    }

    /// Whether a step is one that can be left out; what it costs to prove the rest is not spent.
    pub(super) fn may_skip(&self, id: StepId) -> Verdict {
        self.known(id)?;
        let step = self.step(id);
        let name = self.graph.name(id);
        if step.out != Out::No {
            return refuse(format!("`{name}` is out already"));
        }
        if step.status != Status::Clean {
            return refuse_hint(
                format!("`{name}` has begun: only a step that never started is skipped"),
                "roll it back first",
            );
        }
        if step.goal != Goal::Done || self.goes_to_checkpoint() {
            return refuse(format!("`{name}` is being rolled back"));
        }
        if self.fact(id).gate {
            return refuse_hint(
                format!("`{name}` is a gate: people approve it, nobody skips it"),
                "`approve` it, or `approve --no`",
            );
        }
        Ok(())
    }

    /// Whether a step can be left out: the plan without it, and without all that is out, still proves.
    fn judge_skip(&self, id: StepId) -> Verdict {
        self.may_skip(id)?;
        let name = self.graph.name(id);
        match self.prove_out(|it| it == id) {
            Ok(()) => Ok(()),
            Err(why) => refuse_hint(
                format!("the plan without `{name}` does not prove: {why}"),
                "leave it in, skip first what hangs on it, or roll back",
            ),
        }
    }

    fn judge_rollback(&self, back: &Back) -> Verdict {
        let scope = scope_of(back);
        match (&scope, self.whole_rollback()) {
            (Scope::Run { before_too }, Some(order)) => {
                let more = *before_too && !matches!(order.scope, Scope::Run { before_too: true });
                let acts = order.by != By::Policy && !self.order_is_held(order);
                if !more && acts {
                    return refuse("the run is being rolled back already");
                }
            }
            (_, Some(_)) => return refuse("the whole run is being rolled back"),
            (Scope::Line(line), None) => return self.judge_line_rollback(*line, &scope),
            (Scope::To(_), None) if self.state.orders.iter().any(|order| !order.complete) => {
                return refuse("another rollback is under way");
            }
            _ => {}
        }
        match self.plan_order(&scope) {
            Ok(_) => Ok(()),
            Err(why) => refuse(why),
        }
    }

    fn judge_line_rollback(&self, line: LineId, scope: &Scope) -> Verdict {
        if line.index() >= self.facts.lines.len() {
            return refuse("no such line");
        }
        let name = self.graph.line_name(line);
        let mine = &self.facts.lines[line.index()];
        if mine.iter().any(|step| self.step(*step).out == Out::Line) {
            return refuse(format!("line `{name}` is out already"));
        }
        if self.goes_to_checkpoint() {
            return refuse("another rollback is under way");
        }
        let open = self.state.orders.iter().rev().find(|it| !it.complete && it.scope == *scope);
        if let Some(order) = open
            && order.by != By::Policy
            && !self.order_is_held(order)
        {
            return refuse(format!("line `{name}` is being rolled back already"));
        }
        match self.plan_order(scope) {
            Ok(_) => Ok(()),
            Err(why) => refuse(why),
        }
    }

    /// Takes an admitted request in.
    pub(super) fn take_request(&mut self, who: &Person, request: &Request, at: Timestamp) {
        let login = who.login.clone();
        match request {
            Request::Hold { reason } => {
                self.hold(HoldCause::Person { who: login, reason: reason.clone() });
            }
            Request::Interrupt => {
                self.hold(HoldCause::Person { who: login, reason: "interrupted".to_owned() });
                for step in self.state.running.clone() {
                    self.change(step, |it| it.stop = true);
                }
            }
            Request::Abort { .. } => self.state.aborting = true,
            Request::Release { hold } => self.release(*hold),
            Request::Approve { step, .. } => {
                self.state.approvals.entry(*step).or_default().push(who.clone());
            }
            Request::Disapprove { step, reason } => {
                if let Some(approvals) = self.state.approvals.get_mut(step) {
                    approvals.retain(|person| person.login != login);
                }
                let why = super::questions::Why::Disapproved { who: login, reason: reason.clone() };
                self.raise(Some(*step), why);
            }
            Request::Answer { question, answer, .. } => {
                self.take_answer(&login, *question, *answer, at);
            }
            Request::Claim { step } => {
                self.state.hands.entry(*step).or_default().claims.push(login);
            }
            Request::Finish { step, .. } => self.finished_by(login, *step),
            Request::Fail { step, reason } => self.failed_by(&login, *step, reason, at),
            Request::Retry { step } => self.take_retry(login, *step, at),
            Request::Skip { step, .. } => {
                self.close_questions_of(*step);
                self.set_out(*step, Out::Skipped);
            }
            Request::Rollback { back, reason } => {
                let why = format!("{login} asks for a rollback: {reason}");
                self.order_or_ask(scope_of(back), By::Person(login), None, &why);
            }
        }
    }

    fn release(&mut self, which: Option<HoldId>) {
        let ends: Vec<HoldId> = (self.state.holds.iter())
            .filter(|hold| which.is_none_or(|id| id == hold.id))
            .filter(|hold| self.releasable(&hold.cause).is_ok())
            .map(|hold| hold.id)
            .collect();
        self.state.holds.retain(|hold| !ends.contains(&hold.id));
        let persons = |hold: &super::Hold| matches!(hold.cause, HoldCause::Person { .. });
        if !self.state.holds.iter().any(persons) {
            let later = std::mem::take(&mut self.state.ask_later);
            self.state.to_ask.extend(later);
            let lines = std::mem::take(&mut self.state.lines_later);
            if self.whole_rollback().is_none() {
                // They are clean, and go out or are asked about as soon as this is taken in.
                for order in lines {
                    self.state.orders[order as usize].complete = false;
                }
            }
        }
    }

    fn finished_by(&mut self, login: String, step: StepId) {
        let Status::Running(job) = self.step(step).status else { return };
        let Some(Action::Manual(manual)) = facts::action(self.graph.def(step), job.way) else {
            return;
        };
        let wanted = manual.people.max(1) as usize;
        let hands = self.state.hands.entry(step).or_default();
        hands.finished.push(login);
        if hands.finished.len() < wanted {
            return;
        }
        match job.way {
            Way::Do => self.did(step, &Outputs::new()),
            _ => self.set_status(step, Status::Clean),
        }
        self.touch(step);
    }

    fn failed_by(&mut self, login: &str, step: StepId, reason: &str, at: Timestamp) {
        let Status::Running(job) = self.step(step).status else { return };
        let failure = Failure::last(format!("{login}: {reason}"));
        match job.way {
            Way::Do => self.did_not(step, &failure, at),
            _ => self.undo_failed(step, &failure, false, at),
        }
        self.touch(step);
    }

    fn take_retry(&mut self, login: String, id: StepId, at: Timestamp) {
        if self.step(id).out != Out::No {
            for step in self.comes_back(id) {
                self.set_out(step, Out::No);
            }
            return;
        }
        if let Some(question) = self.unproved_line(id) {
            self.take_answer(&login, question, Answer::Retry, at);
            return;
        }
        self.close_questions_of(id);
        match self.step(id).status {
            Status::Failed(Way::Undo) | Status::Waiting(Way::Undo) => self.retry_undo(id),
            Status::Doubt(_) => self.settle_doubt(id, Answer::Retry),
            Status::Waiting(Way::Check) => {
                self.change(id, |it| it.fails[Way::Check as usize] = 0);
                self.set_status(id, Status::Doubt(Way::Do));
            }
            Status::Done => self.order(Scope::Again(id), By::Person(login), vec![id]),
            Status::Waiting(_) => self.set_status(id, Status::Partial),
            _ => self.try_again(id),
        }
    }
}

fn is_member<'a>(who: &Person, mut groups: impl Iterator<Item = &'a str> + Clone) -> bool {
    groups.clone().next().is_none() || groups.any(|group| who.groups.iter().any(|it| it == group))
}
