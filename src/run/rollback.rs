//! Rollbacks: changed goals, and nothing else.
//!
//! An order gives steps the goal `Undone` (they stay undone) or `Redo` (undone, then done again);
//! the queues do the rest. An order is complete when all of its steps are clean.

use super::questions::Why;
use super::state::{Out, Step};
use super::{Goal, HoldCause, Run, Status};
use crate::event::{LineId, Seq, StepId, Way};
use crate::plan::{OnFailure, Phase};
use crate::proof::{self, present::Stand};
use crate::text::fault::{Fault, Severity};
use std::collections::BTreeSet;

/// What an order undoes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scope {
    /// Every begun step; done ones of phase before only with `before_too`.
    Run {
        /// Done steps of phase before as well.
        before_too: bool,
    },
    /// A line and what hangs on it.
    Line(LineId),
    /// What was begun or done since a checkpoint was reached.
    To(String),
    /// One done step that a person wants done again.
    Again(StepId),
}

/// Who ordered it: that decides under which holds it acts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum By {
    /// A person; acts under every hold but a person's later one.
    Person(String),
    /// A guard's `on_breach`; acts like a person's.
    Breach,
    /// A step's `on_failure`; acts under none.
    Policy,
}

/// A rollback that was ordered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) scope: Scope,
    pub(super) by: By,
    /// The newest hold or question when it was ordered: holds with greater ids are later ones.
    pub(super) mark: Seq,
    /// The steps that it undoes, for what follows when all are clean.
    pub(super) members: Vec<StepId>,
    /// So many of the members are known to be clean.
    pub(super) cursor: usize,
    /// Nothing more follows from it.
    pub(super) complete: bool,
}

/// Faults of a proof in one sentence.
pub(super) fn listed(faults: Vec<Fault>) -> String {
    let errors = faults.into_iter().filter(|fault| fault.severity == Severity::Error);
    errors.map(|fault| fault.what).collect::<Vec<_>>().join("; ")
}

impl Run {
    /// The order in force that rolls the whole run back.
    pub(super) fn whole_rollback(&self) -> Option<&Order> {
        self.state.orders.iter().rev().find(|order| matches!(order.scope, Scope::Run { .. }))
    }

    /// A `rollback --to` is under way: nothing goes forward.
    pub(super) fn goes_to_checkpoint(&self) -> bool {
        self.state
            .orders
            .last()
            .is_some_and(|order| !order.complete && matches!(order.scope, Scope::To(_)))
    }

    /// Whether a hold stops what the order wants.
    pub(super) fn order_is_held(&self, order: &Order) -> bool {
        self.state.holds.iter().any(|hold| match order.by {
            By::Policy => true,
            By::Person(_) | By::Breach => {
                matches!(hold.cause, HoldCause::Person { .. }) && hold.id > order.mark
            }
        })
    }

    /// Whether a line is being rolled back, or is undone and could not go out.
    pub(super) fn goes_back(&self, line: LineId) -> bool {
        let mine = Scope::Line(line);
        self.state.orders.iter().any(|order| !order.complete && order.scope == mine)
            || self.undone_not_out(line).next().is_some()
    }

    /// The steps of a line that an order wants undone for good, and that are not out.
    fn undone_not_out(&self, line: LineId) -> impl Iterator<Item = StepId> {
        let mine = self.facts.lines[line.index()].iter().copied();
        mine.filter(|it| self.step(*it).out == Out::No && self.step(*it).goal == Goal::Undone)
    }

    /// Whether any order acts now. A complete one may: a step keeps the order of a person when a
    /// policy rolls the whole run back after it.
    pub(super) fn some_order_acts(&self) -> bool {
        self.state.orders.iter().any(|order| !self.order_is_held(order))
    }

    /// Whether a hold keeps this way of the step from starting.
    pub(super) fn stopped_by_hold(&self, id: StepId, way: Way) -> bool {
        if self.state.holds.is_empty() {
            return false;
        }
        let step = self.step(id);
        if step.goal == Goal::Done || way == Way::Do {
            return true;
        }
        self.state.orders.get(step.order as usize).is_none_or(|order| self.order_is_held(order))
    }

    /// The begun steps that an order of this scope would undo, or why it is not offered.
    pub(super) fn plan_order(&self, scope: &Scope) -> Result<Vec<StepId>, String> {
        let set = match scope {
            Scope::Run { before_too } => {
                let wanted = |step: &StepId| self.undone_by_run(*step, *before_too);
                self.graph.steps().filter(wanted).collect()
            }
            Scope::Line(line) => self.line_closure(*line),
            Scope::To(name) => self.since_checkpoint(name)?,
            Scope::Again(step) => vec![*step],
        };
        match set.iter().find(|step| self.fact(**step).no_return) {
            Some(step) => Err(format!(
                "`{}` has begun, a point of no return: no rollback over it is offered",
                self.graph.name(*step)
            )),
            None => Ok(set),
        }
    }

    /// Begun, and not a done step of phase before that stays.
    fn undone_by_run(&self, id: StepId, before_too: bool) -> bool {
        let step = self.step(id);
        let stays = self.fact(id).phase == Phase::Before
            && step.status == Status::Done
            && step.goal == Goal::Done
            && !before_too;
        step.begun() && !stays
    }

    /// Every begun step of the line, and every begun one that needs one of the line's, directly or
    /// through others, out ones included.
    fn line_closure(&self, line: LineId) -> Vec<StepId> {
        let mut seen = vec![false; self.graph.len()];
        let mut work: Vec<StepId> = self.facts.lines[line.index()].clone();
        for step in &work {
            seen[step.index()] = true;
        }
        while let Some(step) = work.pop() {
            for next in self.graph.dependents(step) {
                if !std::mem::replace(&mut seen[next.index()], true) {
                    work.push(*next);
                }
            }
        }
        self.graph.steps().filter(|it| seen[it.index()] && self.step(*it).begun()).collect()
    }

    /// Every begun step that was not done when the checkpoint was reached, or was undone or run
    /// again since.
    fn since_checkpoint(&self, name: &str) -> Result<Vec<StepId>, String> {
        let at = self.facts.checkpoints.iter().position(|(it, _)| it == name);
        let Some(at) = at else { return Err(format!("no checkpoint is named `{name}`")) };
        let carriers = self.graph.checkpoint(name).unwrap_or(&[]);
        let (_, Some(reached)) = self.state.checkpoints[at] else {
            return Err(format!("checkpoint `{name}` is not reached, or was undone since"));
        };
        if !carriers.iter().any(|step| self.step(*step).status == Status::Done) {
            return Err(format!("every step of checkpoint `{name}` is out"));
        }
        let kept = |step: &Step| step.status == Status::Done && step.done_at <= reached;
        let since = |it: &StepId| self.step(*it).begun() && !kept(self.step(*it));
        Ok(self.graph.steps().filter(since).collect())
    }

    /// Orders a rollback; where it is not offered, or has nothing to undo, holds and asks.
    pub(super) fn order_or_ask(&mut self, scope: Scope, by: By, step: Option<StepId>, why: &str) {
        if matches!(scope, Scope::Line(_)) && self.whole_rollback().is_some() {
            return;
        }
        match self.plan_order(&scope) {
            Err(refused) => self.ask_for_way_back(step, why, refused),
            Ok(set) if set.is_empty() && !matches!(scope, Scope::To(_)) => {
                let known = |asked: &super::questions::Asked| matches!(&asked.why, Why::NothingToUndo(it) if *it == scope);
                let under_way =
                    matches!(scope, Scope::Run { .. }) && self.whole_rollback().is_some();
                if under_way || self.state.questions.iter().any(known) {
                    let mark = self.state.last_id;
                    if let Some(order) = self.state.orders.last_mut().filter(|_| under_way) {
                        order.by = by;
                        order.mark = mark;
                    }
                    return;
                }
                self.raise(step, Why::NothingToUndo(scope));
            }
            Ok(set) => match self.prove_back(&by, &set) {
                Ok(()) => self.order(scope, by, set),
                Err(refused) => self.ask_for_way_back(step, why, refused),
            },
        }
    }

    /// A rollback that is wanted is not ordered: people are asked, once.
    fn ask_for_way_back(&mut self, step: Option<StepId>, why: &str, refused: String) {
        let why = Why::NoWayBack { why: why.to_owned(), refused };
        if !self.state.questions.iter().any(|it| it.step == step && it.why == why) {
            self.raise(step, why);
        }
    }

    /// Before a rollback that no person ordered: that the states from the present one downwards keep
    /// what is up now, as far as the floor wants it, without the providers that are down by
    /// themselves. What other orders undo at the same time goes down with it.
    fn prove_back(&self, by: &By, set: &[StepId]) -> Result<(), String> {
        if matches!(by, By::Person(_)) {
            return Ok(());
        }
        let mut back = vec![false; self.graph.len()];
        for step in set {
            back[step.index()] = true;
        }
        let present = proof::present::Present {
            stands: &|step| match self.step(step).status {
                Status::Clean => Stand::Clean,
                Status::Done => Stand::Done,
                _ => Stand::Half,
            },
            goes_back: &|step| back[step.index()] || self.step(step).goal != Goal::Done,
            is_down: &|provider| self.is_down_by_itself(provider),
        };
        proof::present::prove_back(&self.graph, &present).map_err(listed)
    }

    /// Gives the steps of `set`, and what must not start meanwhile, their new goals.
    pub(super) fn order(&mut self, scope: Scope, by: By, set: Vec<StepId>) {
        let to_checkpoint = self.goes_to_checkpoint();
        let index = self.state.orders.len() as u32;
        let policy = by == By::Policy;
        if let Scope::Run { .. } = scope {
            for order in &mut self.state.orders {
                order.complete = true;
            }
        }
        let mut members = set;
        if let Scope::Line(line) = scope {
            let mine = self.facts.lines[line.index()].iter();
            members.extend(mine.filter(|it| !self.step(**it).begun()));
        }
        let goals: Vec<(StepId, Goal)> = match &scope {
            Scope::Run { before_too } => self
                .graph
                .steps()
                .filter(|it| !self.step(*it).begun() || self.undone_by_run(*it, *before_too))
                .map(|it| (it, Goal::Undone))
                .collect(),
            Scope::Line(line) => members
                .iter()
                .map(|it| match self.graph.line(*it) {
                    Some(mine) if mine == *line => (*it, Goal::Undone),
                    _ if self.step(*it).goal == Goal::Undone => (*it, Goal::Undone),
                    _ => (*it, Goal::Redo),
                })
                .collect(),
            _ => members.iter().map(|it| (*it, Goal::Redo)).collect(),
        };
        let mark = self.state.last_id;
        let order = Order { scope, by, mark, members, cursor: 0, complete: false };
        self.state.orders.push(order);
        for (step, goal) in goals {
            self.turn_back(step, goal, index, policy);
        }
        // One that goes to a checkpoint lets nothing forward, as long as no other follows it.
        if self.goes_to_checkpoint() != to_checkpoint {
            self.reconsider_all();
        }
        self.drop_overtaken_questions();
    }

    /// One step's part of an order.
    fn turn_back(&mut self, id: StepId, goal: Goal, index: u32, policy: bool) {
        let step = self.step(id);
        let keep_order = policy
            && step.goal != Goal::Done
            && self.state.orders.get(step.order as usize).is_some_and(|it| it.by != By::Policy);
        let status = match step.status {
            Status::Waiting(Way::Do) => Status::Partial,
            Status::Waiting(Way::Check) => Status::Doubt(Way::Do),
            // Nobody else would end it: no executor has it.
            Status::Running(job)
                if job.way == Way::Do && self.manual(job) && !self.fact(id).finish_on_rollback =>
            {
                Status::Partial
            }
            status => status,
        };
        let first = step.goal == Goal::Done;
        if status != step.status {
            self.set_status(id, status);
        }
        self.change(id, |step| {
            step.goal = goal;
            if !keep_order {
                step.order = index;
            }
            if first {
                step.fails[Way::Undo as usize] = 0;
            }
        });
        self.set_patience(id, super::state::Patience::Fresh);
        self.state.ask_later.remove(&id);
        self.state.to_ask.remove(&id);
    }

    /// What follows when all steps of an order are clean.
    pub(super) fn finish_orders(&mut self) {
        for at in 0..self.state.orders.len() {
            if self.state.orders[at].complete || !self.all_clean(at) {
                continue;
            }
            match self.state.orders[at].scope.clone() {
                Scope::Run { .. } => {}
                Scope::Line(line) => self.line_is_clean(at, line),
                Scope::Again(_) => {
                    self.state.orders[at].complete = true;
                    self.forward_again(at);
                }
                Scope::To(name) => {
                    self.state.orders[at].complete = true;
                    let who = match &self.state.orders[at].by {
                        By::Person(who) => who.clone(),
                        _ => String::new(),
                    };
                    let reason = format!("rolled back to checkpoint `{name}`");
                    self.hold(HoldCause::Person { who, reason });
                    self.forward_again(at);
                    self.reconsider_all();
                }
            }
        }
    }

    fn all_clean(&mut self, at: usize) -> bool {
        let state = &mut self.state;
        let order = &mut state.orders[at];
        while let Some(member) = order.members.get(order.cursor) {
            if state.steps[member.index()].begun() {
                return false;
            }
            order.cursor += 1;
        }
        true
    }

    /// The line goes out, if the plan without all that is out proves; else people are asked.
    fn line_is_clean(&mut self, at: usize, line: LineId) {
        self.state.orders[at].complete = true;
        let undone: Vec<StepId> = self.undone_not_out(line).collect();
        if undone.is_empty() {
            // All of it is out, or it came back since: the plan is one that was proved then.
            return self.forward_again(at);
        }
        match self.prove_out(|it| self.graph.line(it) == Some(line)) {
            Ok(()) => {
                for step in undone {
                    self.set_out(step, Out::Line);
                }
                self.forward_again(at);
            }
            Err(why) => self.raise(None, Why::LineUnproved { line, order: at as u32, why }),
        }
    }

    /// Proves the plan without what is out now and what is named beside.
    pub(super) fn prove_out(&self, also: impl Fn(StepId) -> bool) -> Result<(), String> {
        let out = |step: StepId| self.step(step).out != Out::No || also(step);
        proof::prove_without(&self.graph, &out).map_err(listed)
    }

    /// What was undone only because of others is wanted done again, as soon as no other order that is
    /// under way wants it undone too.
    pub(super) fn forward_again(&mut self, at: usize) {
        let others = self.state.orders.iter().filter(|order| !order.complete);
        let wanted: BTreeSet<StepId> = others.flat_map(|it| it.members.iter().copied()).collect();
        for step in self.state.orders[at].members.clone() {
            let it = self.step(step);
            if it.goal == Goal::Redo && !it.begun() && !wanted.contains(&step) {
                self.change(step, |it| it.goal = Goal::Done);
            }
        }
    }

    pub(super) fn set_out(&mut self, id: StepId, out: Out) {
        self.change(id, |step| {
            step.out = out;
            step.goal = if out == Out::No { Goal::Done } else { Goal::Undone };
        });
    }

    /// What a failure for good does.
    pub(super) fn follow_policy(&mut self, id: StepId) {
        let persons = |hold: &super::Hold| matches!(hold.cause, HoldCause::Person { .. });
        let policy = self.fact(id).on_failure;
        if policy == OnFailure::Hold || self.state.holds.iter().any(persons) {
            // A person's hold beats the policy: it is asked about instead.
            self.state.to_ask.insert(id);
            return;
        }
        let scope = match (policy, self.graph.line(id)) {
            (OnFailure::RollbackLine, Some(line)) => Scope::Line(line),
            _ => Scope::Run { before_too: false },
        };
        let why = format!("`{}` failed", self.graph.name(id));
        self.order_or_ask(scope, By::Policy, Some(id), &why);
    }
}
