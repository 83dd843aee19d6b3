//! What the core asks of the graph at every event, laid out by step once.
//!
//! Not known here: the states of steps.

use crate::action::{Action, Check, Undo};
use crate::event::{StepId, Way};
use crate::graph::{Graph, LimitId, RoleId, ServiceId};
use crate::plan::template::Template;
use crate::plan::{Gate, Kind, OnFailure, Phase, StepDef, Work};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What never changes of a step.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// Steps that take the same limits share a queue.
    pub(super) class: u16,
    /// Place in the order of doing: the longest way to the end goes first.
    pub(super) do_rank: u32,
    /// Place in the order of undoing: the longest way to the beginning goes first.
    pub(super) undo_rank: u32,
    /// When it may start.
    pub(super) phase: Phase,
    /// Not before this moment, unshifted.
    pub(super) not_before: Option<Timestamp>,
    /// It has effects on providers or roles.
    pub(super) taker: bool,
    /// People approve it; nothing is ever started.
    pub(super) gate: bool,
    /// Its deed is done by people.
    pub(super) manual_do: bool,
    /// Its undo is done by people.
    pub(super) manual_undo: bool,
    /// Something carries its undo out.
    pub(super) undoable: bool,
    /// Something can tell whether it is done.
    pub(super) has_check: bool,
    /// May be repeated without asking.
    pub(super) idempotent: bool,
    /// A rollback waits for it.
    pub(super) finish_on_rollback: bool,
    /// Does not start while a revocation is unconfirmed.
    pub(super) confirmed: bool,
    /// Does not start after the window has closed, unasked.
    pub(super) bounded: bool,
    /// A rollback over it is not offered once it has begun.
    pub(super) no_return: bool,
    /// Attempts at most.
    pub(super) attempts: u32,
    /// Pauses between attempts, first and longest.
    pub(super) backoff: (SignedDuration, SignedDuration),
    /// How long it may wait for the live floor.
    pub(super) patience: Option<SignedDuration>,
    /// What a failure for good does.
    pub(super) on_failure: OnFailure,
    /// The checkpoint it carries.
    pub(super) checkpoint: Option<u16>,
}

/// The facts of all steps, and of limits and roles.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) steps: Vec<Fact>,
    /// Limits of each class.
    pub(super) classes: Vec<Vec<LimitId>>,
    /// Whether people do or undo the steps of the class: they take no slot of its limits.
    pub(super) by_hand: Vec<bool>,
    /// Step at each place of the order of doing.
    pub(super) by_do_rank: Vec<StepId>,
    /// Step at each place of the order of undoing.
    pub(super) by_undo_rank: Vec<StepId>,
    /// Names of checkpoints and how many steps carry each.
    pub(super) checkpoints: Vec<(String, u32)>,
    /// Steps that wait for revocations, gates aside.
    pub(super) confirmed: Vec<StepId>,
    /// Steps of each line.
    pub(super) lines: Vec<Vec<StepId>>,
    /// For each role, the roles that exclude each other (itself included) and how many may hold.
    pub(super) rivals: Vec<(Vec<RoleId>, u32)>,
    /// For each provider, the steps that touch it.
    pub(super) touching: Vec<Vec<StepId>>,
    /// For each service, the steps that touch it, and how many of its providers one of them touches
    /// at most.
    pub(super) takers: Vec<(Vec<StepId>, usize)>,
    /// For each role, the steps with effects on one of its rivals.
    pub(super) contending: Vec<Vec<StepId>>,
}

/// What carries a way of a step out; nothing for gates and what has no undo or check.
pub(crate) fn action(def: &StepDef, way: Way) -> Option<&Action<Template>> {
    match (&def.work, way) {
        (Work::Act { act, .. }, Way::Do) => Some(act),
        (Work::Act { undo: Undo::By(undo), .. }, Way::Undo) => Some(undo),
        (Work::Act { check: Check::By(check), .. }, Way::Check) => Some(check),
        _ => None,
    }
}

/// The gate that a step is.
pub(super) fn gate(def: &StepDef) -> Option<&Gate> {
    match &def.work {
        Work::Ask(gate) => Some(gate),
        Work::Act { .. } => None,
    }
}

fn is_manual(def: &StepDef, way: Way) -> bool {
    matches!(action(def, way), Some(Action::Manual(_)))
}

impl Facts {
    /// Lays the graph out.
    pub(super) fn new(graph: &Graph) -> Self {
        let mut classes: BTreeMap<(Vec<LimitId>, bool), u16> = BTreeMap::new();
        let mut lists = Vec::new();
        let mut by_hand = Vec::new();
        let names: Vec<String> = graph.checkpoints().map(str::to_owned).collect();
        let mut carried: BTreeMap<StepId, u16> = BTreeMap::new();
        let mut checkpoints = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let carriers = graph.checkpoint(&name).unwrap_or(&[]);
            carried.extend(carriers.iter().map(|step| (*step, at as u16)));
            checkpoints.push((name, carriers.len() as u32));
        }
        let (by_do_rank, by_undo_rank) = orders(graph);
        let mut steps = Vec::with_capacity(graph.len());
        let mut lines = vec![Vec::new(); graph.line_count()];
        for step in graph.steps() {
            let def = graph.def(step);
            let hands = is_manual(def, Way::Do) || is_manual(def, Way::Undo);
            let next = classes.len() as u16;
            let key = (graph.limits(step).to_vec(), hands);
            let class = *classes.entry(key).or_insert_with_key(|(limits, hands)| {
                lists.push(limits.clone());
                by_hand.push(*hands);
                next
            });
            if let Some(line) = graph.line(step) {
                lines[line.index()].push(step);
            }
            steps.push(fact(graph, step, class, carried.get(&step).copied()));
        }
        for (rank, step) in by_do_rank.iter().enumerate() {
            steps[step.index()].do_rank = rank as u32;
        }
        for (rank, step) in by_undo_rank.iter().enumerate() {
            steps[step.index()].undo_rank = rank as u32;
        }
        let confirmed =
            graph.steps().filter(|step| steps[step.index()].confirmed).collect::<Vec<_>>();
        let rivals = rivals(graph);
        let contending = contending(graph, &rivals);
        let (touching, takers) = (touching(graph), takers(graph));
        Self {
            steps,
            classes: lists,
            by_hand,
            by_do_rank,
            by_undo_rank,
            checkpoints,
            confirmed,
            lines,
            rivals,
            touching,
            takers,
            contending,
        }
    }
}

fn fact(graph: &Graph, step: StepId, class: u16, checkpoint: Option<u16>) -> Fact {
    let def = graph.def(step);
    let no_return = graph.is_point_of_no_return(step);
    let gate = gate(def).is_some();
    let kind = def.kind;
    let resumes = matches!(action(def, Way::Do), Some(Action::OrdersResume(_)));
    let manual_do = is_manual(def, Way::Do);
    let has_check = match &def.work {
        Work::Act { check: Check::BuiltIn, .. } => !manual_do,
        Work::Act { check: Check::By(by), .. } => !matches!(**by, Action::Manual(_)),
        _ => false,
    };
    Fact {
        class,
        do_rank: 0,
        undo_rank: 0,
        phase: def.phase,
        not_before: def.not_before,
        taker: !graph.effects(step).is_empty() || !graph.role_effects(step).is_empty(),
        gate,
        manual_do,
        manual_undo: is_manual(def, Way::Undo),
        undoable: action(def, Way::Undo).is_some(),
        has_check,
        idempotent: def.idempotent,
        finish_on_rollback: def.finish_on_rollback,
        confirmed: matches!(kind, Kind::Verify | Kind::Reopen) || (gate && no_return),
        bounded: def.phase == Phase::Window && kind != Kind::Reopen && !resumes,
        no_return,
        attempts: def.retry.attempts.max(1),
        backoff: def.retry.backoff,
        patience: def.timeout,
        on_failure: match graph.on_failure(step) {
            OnFailure::RollbackLine if graph.line(step).is_none() => OnFailure::Rollback,
            policy => policy,
        },
        checkpoint,
    }
}

/// Steps by the longest way to the end, and by the longest way to the beginning, in seconds of
/// their estimates (a second when there is none); ties in written order.
pub(crate) fn orders(graph: &Graph) -> (Vec<StepId>, Vec<StepId>) {
    let cost = |step: StepId| graph.def(step).estimate.map_or(1, |(_, most)| most.as_secs().max(1));
    let mut tail = vec![0i64; graph.len()];
    for step in graph.topological().iter().rev() {
        let after = graph.dependents(*step).iter().map(|next| tail[next.index()]).max();
        tail[step.index()] = cost(*step).saturating_add(after.unwrap_or(0));
    }
    let mut head = vec![0i64; graph.len()];
    for step in graph.topological() {
        let before = graph.needs(*step).iter().map(|need| head[need.index()]).max();
        head[step.index()] = cost(*step).saturating_add(before.unwrap_or(0));
    }
    let mut by_tail: Vec<StepId> = graph.steps().collect();
    let mut by_head = by_tail.clone();
    by_tail.sort_by_key(|step| (-tail[step.index()], *step));
    by_head.sort_by_key(|step| (-head[step.index()], *step));
    (by_tail, by_head)
}

fn rivals(graph: &Graph) -> Vec<(Vec<RoleId>, u32)> {
    let roles = graph.roles();
    roles
        .iter()
        .map(|role| {
            let same = (0u32..)
                .zip(roles)
                .filter(|(_, other)| other.exclusive == role.exclusive && other.line == role.line)
                .map(|(at, _)| RoleId(at))
                .collect();
            let most = graph.plan().exclusive.get(role.exclusive as usize);
            (same, most.map_or(u32::MAX, |exclusive| exclusive.at_most))
        })
        .collect()
}

/// Who touches each provider.
fn touching(graph: &Graph) -> Vec<Vec<StepId>> {
    let mut touching = vec![Vec::new(); graph.providers().len()];
    for step in graph.steps() {
        for (provider, _) in graph.effects(step) {
            touching[provider.index()].push(step);
        }
    }
    touching
}

/// Who touches each service, and how many of its providers one step touches at most.
fn takers(graph: &Graph) -> Vec<(Vec<StepId>, usize)> {
    let mut takers = vec![(Vec::new(), 0); graph.services().len()];
    for step in graph.steps() {
        let mut counts: BTreeMap<ServiceId, usize> = BTreeMap::new();
        for (provider, _) in graph.effects(step) {
            *counts.entry(graph.providers()[provider.index()].service).or_default() += 1;
        }
        for (service, count) in counts {
            let (steps, most) = &mut takers[service.0 as usize];
            steps.push(step);
            *most = count.max(*most);
        }
    }
    takers
}

/// Whose right to begin hangs on who holds each role.
fn contending(graph: &Graph, rivals: &[(Vec<RoleId>, u32)]) -> Vec<Vec<StepId>> {
    let mut on: Vec<Vec<StepId>> = vec![Vec::new(); graph.roles().len()];
    for step in graph.steps() {
        for (role, _) in graph.role_effects(step) {
            on[role.0 as usize].push(step);
        }
    }
    let all = |(same, _): &(Vec<RoleId>, u32)| {
        same.iter().flat_map(|role| on[role.0 as usize].iter().copied()).collect()
    };
    rivals.iter().map(all).collect()
}
