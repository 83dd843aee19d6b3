//! Everything before the point of no return can be undone (4.3).
//!
//! An undo runs when every begun step that needs its step is undone, while all that its step needs
//! is still done. What it counts on must therefore lie before its step, or be taken away only by
//! steps that lie after it.

use super::View;
use crate::action::{Action, Undo};
use crate::event::{LineId, StepId};
use crate::graph::{Effect, RoleId};
use crate::plan::Work;
use crate::plan::template::Template;
use crate::proof::LineRollback;
use crate::text::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// The role without which no order is issued.
const WRITER: &str = "writer";

/// Judges every step before the point of no return.
pub(super) fn judge(view: &View<'_>, faults: &mut Vec<Fault>) {
    let reached = view.graph.behind(|step| u64::from(view.is_point_of_no_return(step)));
    let is_before = |step: &StepId| {
        view.is_in(*step) && reached[step.index()] == 0 && !view.is_point_of_no_return(*step)
    };
    let before: Vec<StepId> = view.graph.steps().filter(is_before).collect();
    let mut last = None;
    for step in &before {
        // Instances stand together, and one fault tells them all.
        let def = view.graph.def_index(*step);
        if last != Some(def)
            && let Some(fault) = has_undo(view, *step)
        {
            faults.push(fault);
            last = Some(def);
        }
    }
    let writers = writers(view);
    orders_come_back(view, &before, &writers, faults);
    copies_stay(view, &before, &writers, faults);
}

fn has_undo(view: &View<'_>, step: StepId) -> Option<Fault> {
    let graph = view.graph;
    let def = graph.def(step);
    let Work::Act { act, undo, .. } = &def.work else { return None };
    let name = &def.name;
    match undo {
        // Sent is sent, and read is read.
        Undo::Missing if matches!(act, Action::Notify(_) | Action::DatabaseVerify(_)) => None,
        Undo::Missing => {
            let has_point = graph.steps().any(|step| view.is_point_of_no_return(step));
            let where_it_stands = if has_point {
                "comes before the point of no return"
            } else {
                "has no point of no return before it"
            };
            let what = format!("step `{}` {where_it_stands} and says no undo", name.value);
            Some(Fault::error("missing-undo", name.span, what).hint(
                "`undo: { run: [...] }`, or `undo: { none: REASON }` if it leaves nothing behind",
            ))
        }
        Undo::Nothing(reason) => {
            let provider = graph.effects(step).first();
            let provider = provider.map(|(id, _)| graph.providers()[id.index()].name.as_str());
            let role = graph.role_effects(step).first();
            let role = role.map(|(id, _)| graph.roles()[id.index()].name.as_str());
            let taken = provider.or(role)?;
            let what = format!(
                "step `{}` has an effect on `{taken}` and nothing to undo (`{}`): a rollback would leave it so",
                name.value,
                reason.escape_debug()
            );
            let hint = "`undo: { none: ... }` is for steps without effects: say how it is undone";
            Some(Fault::error("undo-none-with-effects", name.span, what).hint(hint))
        }
        Undo::By(undo) => undo_of_effects(view, step, undo),
    }
}

/// An undo that switches something must be the way back of that very effect.
fn undo_of_effects(view: &View<'_>, step: StepId, undo: &Action<Template>) -> Option<Fault> {
    let graph = view.graph;
    let (text, undone) = match undo {
        Action::ProviderEnable(it) => (&it.provider, Effect::Loses),
        Action::ProviderDisable(it) => (&it.provider, Effect::Gains),
        Action::RolePromote(it) => (&it.role, Effect::Loses),
        Action::RoleFence(it) => (&it.role, Effect::Gains),
        _ => return None,
    };
    let name = graph.fill(step, text, &|_| None).ok()?;
    let service = name.split('@').next().unwrap_or_default();
    let plan = graph.plan();
    let matters = plan.protect.iter().any(|protect| protect.service.value == service)
        || plan.exclusive.iter().any(|exclusive| exclusive.role.value == service);
    let is_it = |other: &str| {
        other
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('[') || rest.starts_with('/'))
    };
    let provider = graph
        .effects(step)
        .iter()
        .any(|(id, effect)| *effect == undone && is_it(&graph.providers()[id.index()].name));
    let role = graph
        .role_effects(step)
        .iter()
        .any(|(id, effect)| *effect == undone && is_it(&graph.roles()[id.index()].name));
    if !matters || provider || role {
        return None;
    }
    let def = graph.def(step);
    let verb = if undone == Effect::Loses { "gives back" } else { "takes away" };
    let what = format!(
        "the undo of step `{}` {verb} `{name}`, which the step's effects do not say",
        def.name.value
    );
    let word = if undone == Effect::Loses { "loses" } else { "gains" };
    let hint = format!("effects cover the undo too: `effects: {{ {word}: [\"{name}\"] }}`");
    Some(Fault::error("undo-outside-effects", def.name.span, what).hint(hint))
}

/// Who takes and who gives each writer's role.
struct Writers {
    by_name: BTreeMap<String, RoleId>,
    losers: BTreeMap<RoleId, Vec<StepId>>,
    gainers: BTreeMap<RoleId, Vec<StepId>>,
}

impl Writers {
    /// The writer's role of a site and line, if the plan knows it.
    fn find(&self, site: &str, line: &str) -> Option<RoleId> {
        let name = |name: String| self.by_name.get(&name).copied();
        name(format!("{WRITER}@{site}/{line}")).or_else(|| name(format!("{WRITER}@{site}")))
    }

    fn of(map: &BTreeMap<RoleId, Vec<StepId>>, role: RoleId) -> &[StepId] {
        map.get(&role).map_or(&[], Vec::as_slice)
    }
}

fn writers(view: &View<'_>) -> Writers {
    let graph = view.graph;
    let mut writers =
        Writers { by_name: BTreeMap::new(), losers: BTreeMap::new(), gainers: BTreeMap::new() };
    for (index, role) in graph.roles().iter().enumerate() {
        if graph.plan().exclusive[role.exclusive as usize].role.value == WRITER {
            writers.by_name.insert(role.name.clone(), RoleId(index as u32));
        }
    }
    for step in view.steps() {
        for (role, effect) in graph.role_effects(step) {
            match effect {
                Effect::Loses => writers.losers.entry(*role).or_default().push(step),
                Effect::Gains => writers.gainers.entry(*role).or_default().push(step),
                Effect::Disturbs => {}
            }
        }
    }
    writers
}

/// The undo of a pause issues the orders that have waited: its site must hold the writer then.
fn orders_come_back(
    view: &View<'_>,
    before: &[StepId],
    writers: &Writers,
    faults: &mut Vec<Fault>,
) {
    let graph = view.graph;
    let mut asked: Vec<Asked> = Vec::new();
    for step in before {
        let Work::Act { undo: Undo::By(undo), .. } = &graph.def(*step).work else { continue };
        let Action::OrdersResume(resume) = &**undo else { continue };
        let fill = |text| graph.fill(*step, text, &|_| None).ok();
        let (Some(site), Some(line)) = (fill(&resume.site), fill(&resume.line)) else { continue };
        let Some(role) = writers.find(&site, &line) else { continue };
        let losers = Writers::of(&writers.losers, role);
        asked.extend(losers.iter().map(|loser| (*step, *loser, role, Effect::Loses)));
        let gainers = Writers::of(&writers.gainers, role);
        asked.extend(gainers.iter().map(|gainer| (*step, *gainer, role, Effect::Gains)));
    }
    // What lies after the pause is undone before its undo.
    let after: Vec<(StepId, StepId)> = asked.iter().map(|(step, it, ..)| (*step, *it)).collect();
    let is_after = graph.ordered(&after);
    let open: Vec<Asked> = asked
        .into_iter()
        .zip(is_after)
        .filter(|(_, after)| !after)
        .map(|(asked, _)| asked)
        .collect();
    let mut told = BTreeSet::new();
    for ((step, other, role, effect), holds) in open.iter().zip(hold_again(view, &open, writers)) {
        if !holds && told.insert((graph.def_index(*step), graph.def_index(*other))) {
            faults.push(nobody_issues(view, *step, *other, *role, *effect));
        }
    }
}

/// The step whose undo issues orders; another step; what that does to the writer's role.
type Asked = (StepId, StepId, RoleId, Effect);

/// Whether, in spite of the other step, the role is held when the undo runs: what gives it lies
/// before the step and is still done.
fn hold_again(view: &View<'_>, open: &[Asked], writers: &Writers) -> Vec<bool> {
    let mut pairs: Vec<(StepId, StepId)> = Vec::new();
    let mut ranges = Vec::with_capacity(open.len());
    for (step, other, role, effect) in open {
        let start = pairs.len();
        if *effect == Effect::Gains {
            pairs.extend([(*other, *step), (*other, *step)]);
        } else {
            let gainers = Writers::of(&writers.gainers, *role);
            pairs.extend(gainers.iter().flat_map(|it| [(*other, *it), (*it, *step)]));
        }
        ranges.push(start..pairs.len());
    }
    let ordered = view.graph.ordered(&pairs);
    let holds =
        |range: std::ops::Range<usize>| ordered[range].chunks(2).any(|both| both == [true, true]);
    ranges.into_iter().map(holds).collect()
}

fn nobody_issues(
    view: &View<'_>,
    step: StepId,
    other: StepId,
    role: RoleId,
    effect: Effect,
) -> Fault {
    let graph = view.graph;
    let (name, other_name) = (graph.name(step), graph.name(other));
    let role = &graph.roles()[role.index()].name;
    let (what, hint) = match effect {
        Effect::Loses => (
            format!(
                "the undo of `{name}` issues orders, and `{other_name}` may still have taken `{role}`: nobody would issue them"
            ),
            format!("let `{other_name}` need `{name}`: what is needed is undone later"),
        ),
        _ => (
            format!(
                "the undo of `{name}` issues orders, and the undo of `{other_name}` may have taken `{role}` away before"
            ),
            format!("let `{name}` need `{other_name}`: what is needed is undone later"),
        ),
    };
    Fault::error("undo-needs-undone", graph.def(step).name.span, what)
        .also(graph.def(other).name.span, "the other step")
        .hint(hint)
}

/// The undo of a transfer drops the copy: nobody may write there any more.
fn copies_stay(view: &View<'_>, before: &[StepId], writers: &Writers, faults: &mut Vec<Fault>) {
    let graph = view.graph;
    let mut pairs: Vec<(StepId, StepId)> = Vec::new();
    for step in before {
        let Some(Action::DatabaseTransfer(transfer)) = view.act(*step) else { continue };
        let fill = |text| graph.fill(*step, text, &|_| None).ok();
        let (Some(site), Some(line)) = (fill(&transfer.to), fill(&transfer.database)) else {
            continue;
        };
        let Some(role) = writers.find(&site, &line) else { continue };
        let gainers = Writers::of(&writers.gainers, role);
        pairs.extend(gainers.iter().map(|gainer| (*step, *gainer)));
    }
    let mut told = BTreeSet::new();
    for ((step, gainer), is_after) in pairs.iter().zip(graph.ordered(&pairs)) {
        if is_after || !told.insert((graph.def_index(*step), graph.def_index(*gainer))) {
            continue;
        }
        let (name, gainer_name) = (graph.name(*step), graph.name(*gainer));
        let what = format!(
            "the undo of `{name}` drops its copy, and `{gainer_name}` may have given the writer to it"
        );
        let fault = Fault::error("undo-drops-live", graph.def(*step).name.span, what)
            .also(graph.def(*gainer).name.span, "the other step")
            .hint(format!("let `{gainer_name}` need `{name}`: what is needed is undone later"));
        faults.push(fault);
    }
}

/// For each line that takes part: the definitions of other lines, or of none, of which its rollback
/// undoes a step. What lies behind a point of no return of the set is not: once that has begun, the
/// rollback is refused.
pub(super) fn of_lines(view: &View<'_>) -> Vec<LineRollback> {
    let graph = view.graph;
    let mut has_steps = vec![false; graph.line_count()];
    view.steps()
        .filter_map(|step| graph.line(step))
        .for_each(|line| has_steps[line.index()] = true);
    let mut rollbacks = Vec::new();
    for first in (0..graph.line_count()).step_by(64) {
        let count = (graph.line_count() - first).min(64);
        let own = |step: StepId| match graph.line(step) {
            Some(line) if view.is_in(step) && (first..first + count).contains(&line.index()) => {
                1_u64 << (line.index() - first)
            }
            _ => 0,
        };
        let also = swept(view, &own);
        for (bit, has_steps) in has_steps[first..first + count].iter().enumerate() {
            if !has_steps {
                continue;
            }
            let line = LineId((first + bit) as u32);
            let names = also.iter().enumerate().filter(|(_, mask)| *mask & (1 << bit) != 0);
            rollbacks.push(LineRollback {
                line: graph.line_name(line).to_owned(),
                also: names.map(|(def, _)| graph.plan().steps[def].name.value.clone()).collect(),
            });
        }
    }
    rollbacks
}

/// For each definition the lines whose rollback undoes a foreign step of it.
fn swept(view: &View<'_>, own: &dyn Fn(StepId) -> u64) -> Vec<u64> {
    let graph = view.graph;
    let mut undone = vec![0_u64; graph.len()];
    let mut barred = vec![0_u64; graph.len()];
    let mut also = vec![0_u64; graph.plan().steps.len()];
    for step in graph.topological() {
        let (mut set, mut bars) = (own(*step), 0);
        for needed in graph.needs(*step) {
            set |= undone[needed.index()];
            bars |= barred[needed.index()];
        }
        if view.is_point_of_no_return(*step) {
            bars |= set;
        }
        undone[step.index()] = set | bars;
        barred[step.index()] = bars;
        if view.is_in(*step) {
            also[graph.def_index(*step)] |= set & !bars & !own(*step);
        }
    }
    also
}
