//! Rules of the domain (4.2), in a plan with lines: what is copied is drained and has a restore
//! point, what reopens is verified, orders resume after the gate, nothing protected is drained.

use super::View;
use crate::action::Action;
use crate::event::{LineId, StepId};
use crate::graph::Effect;
use crate::plan::Kind;
use crate::text::fault::Fault;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Drain,
    Snapshot,
    Verify,
}

/// Faults by definition and rule: a fan-out over fifty lines is told once, with its lines.
type Found = BTreeMap<(usize, Rule), Vec<LineId>>;

/// Judges every rule.
pub(super) fn judge(view: &View<'_>, faults: &mut Vec<Fault>) {
    let lines = view.graph.line_count();
    if lines == 0 {
        return;
    }
    let concerns: Vec<Option<LineId>> = view.graph.steps().map(|step| view.line(step)).collect();
    let mut found = Found::new();
    for first in (0..lines).step_by(64) {
        order_of_lines(view, &concerns, first, (lines - first).min(64), &mut found);
    }
    for ((def, rule), lines) in found {
        faults.push(fault(view, def, rule, &lines));
    }
    resumes(view, &concerns, faults);
    drains(view, faults);
}

/// Up to 64 lines in one sweep: which of them are drained, copied, verified before each step.
fn order_of_lines(
    view: &View<'_>,
    concerns: &[Option<LineId>],
    first: usize,
    count: usize,
    found: &mut Found,
) {
    let graph = view.graph;
    let all = u64::MAX >> (64 - count);
    // A step without a line counts for every line.
    let of = |step: StepId| match concerns[step.index()] {
        Some(line) if (first..first + count).contains(&line.index()) => 1 << (line.index() - first),
        Some(_) => 0,
        None => all,
    };
    let of_kind = |step: StepId, kind: Kind| {
        if view.is_in(step) && graph.kind(step) == kind { of(step) } else { 0 }
    };
    let (mut alive, mut transferred) = (0, 0);
    for step in view.steps() {
        if concerns[step.index()].is_some() {
            alive |= of(step);
        }
        transferred |= of_kind(step, Kind::Transfer);
    }
    let drained = graph.behind(|step| of_kind(step, Kind::Drain));
    let snapped = graph.behind(|step| of_kind(step, Kind::Snapshot));
    let copied = graph.behind(|step| of_kind(step, Kind::Transfer));
    // A verify that comes before the copy says nothing about it.
    let verified =
        graph.behind(|step| of_kind(step, Kind::Verify) & (copied[step.index()] | !transferred));
    for step in view.steps() {
        // What has no line concerns those lines that still take part.
        let wants = if concerns[step.index()].is_some() { of(step) } else { alive };
        let mut note = |rule: Rule, missing: u64| {
            let lines = (0..count).filter(|bit| missing & (1 << bit) != 0);
            let lines: Vec<LineId> = lines.map(|bit| LineId((first + bit) as u32)).collect();
            if !lines.is_empty() {
                found.entry((graph.def_index(step), rule)).or_default().extend(lines);
            }
        };
        match graph.kind(step) {
            Kind::Transfer => {
                note(Rule::Drain, wants & !drained[step.index()]);
                note(Rule::Snapshot, wants & !snapped[step.index()]);
            }
            Kind::Reopen => note(Rule::Verify, wants & !verified[step.index()]),
            _ => {}
        }
    }
}

fn fault(view: &View<'_>, def: usize, rule: Rule, lines: &[LineId]) -> Fault {
    let name = &view.graph.plan().steps[def].name;
    let mut lines: Vec<LineId> = lines.to_vec();
    lines.sort_unstable();
    lines.dedup();
    let listed = lines.iter().map(|line| view.graph.line_name(*line)).collect::<Vec<_>>();
    let listed = crate::graph::listed(&listed);
    let (code, what, hint) = match rule {
        Rule::Drain => (
            "transfer-undrained",
            format!("transfer `{}` may begin before a drain of its line: {listed}", name.value),
            "what is still written to cannot be copied: let it need a step of kind `drain`, directly or through others",
        ),
        Rule::Snapshot => (
            "transfer-without-snapshot",
            format!("transfer `{}` may begin before a snapshot of its line: {listed}", name.value),
            "a rollback returns to the snapshot: let it need a step of kind `snapshot`, directly or through others",
        ),
        Rule::Verify => (
            "reopen-unverified",
            format!("reopen `{}` may begin before a verify of its line: {listed}", name.value),
            "let it need a step of kind `verify` that comes after the line's transfer",
        ),
    };
    Fault::error(code, name.span, what).hint(hint)
}

/// Orders of a line resume only after every gate that its reopen waits for.
fn resumes(view: &View<'_>, concerns: &[Option<LineId>], faults: &mut Vec<Fault>) {
    let graph = view.graph;
    let is_resume = |step: StepId| matches!(view.act(step), Some(Action::OrdersResume(_)));
    let resumes: Vec<StepId> = view.steps().filter(|step| is_resume(*step)).collect();
    if resumes.is_empty() {
        return;
    }
    let of_kind = |kind: Kind| -> Vec<StepId> {
        view.steps().filter(|step| graph.kind(*step) == kind).collect()
    };
    let (reopens, gates) = (of_kind(Kind::Reopen), of_kind(Kind::Gate));
    let mut told: BTreeMap<(usize, usize), ()> = BTreeMap::new();
    for chunk in gates.chunks(64) {
        let behind = graph.behind(|step| match chunk.binary_search(&step) {
            Ok(bit) if view.is_in(step) => 1 << bit,
            _ => 0,
        });
        // What the reopens of each line wait for; last, of those without a line.
        let mut wanted = vec![0_u64; graph.line_count() + 1];
        for reopen in &reopens {
            let place = concerns[reopen.index()].map_or(graph.line_count(), LineId::index);
            wanted[place] |= behind[reopen.index()];
        }
        for resume in &resumes {
            let mut wants = wanted[graph.line_count()];
            match concerns[resume.index()] {
                Some(line) => wants |= wanted[line.index()],
                None => wanted.iter().for_each(|wanted| wants |= wanted),
            }
            let missing = wants & !behind[resume.index()];
            for (_, gate) in chunk.iter().enumerate().filter(|(bit, _)| missing & (1 << bit) != 0) {
                let pair = (graph.def_index(*resume), graph.def_index(*gate));
                if told.insert(pair, ()).is_none() {
                    faults.push(resume_fault(view, *resume, *gate));
                }
            }
        }
    }
}

fn resume_fault(view: &View<'_>, resume: StepId, gate: StepId) -> Fault {
    let (resume_def, gate_def) = (view.graph.def(resume), view.graph.def(gate));
    let what = format!(
        "orders may resume at `{}` before `{}`, the gate that their line's reopen waits for",
        view.graph.name(resume),
        gate_def.name.value
    );
    Fault::error("resume-before-gate", resume_def.name.span, what)
        .also(gate_def.name.span, "the gate")
        .hint("let it need the reopen")
}

/// A drain takes nothing from a protected service.
fn drains(view: &View<'_>, faults: &mut Vec<Fault>) {
    let graph = view.graph;
    let mut last = None;
    for step in view.steps().filter(|step| graph.kind(*step) == Kind::Drain) {
        let def = graph.def_index(step);
        let takes = |(_, effect): &&(_, Effect)| matches!(effect, Effect::Loses | Effect::Disturbs);
        let drained = graph.effects(step).iter().find(takes).map(|(provider, _)| {
            let provider = &graph.providers()[provider.index()];
            provider.name.clone()
        });
        let Some(drained) = drained.or_else(|| protected_route(view, step)) else { continue };
        if last.replace(def) != Some(def) {
            let name = &graph.def(step).name;
            let what = format!("drain `{}` takes protected `{drained}` away", name.value);
            let fault = Fault::error("protected-drained", name.span, what)
                .hint("protected services answer through the whole move: they are switched, never drained");
            faults.push(fault);
        }
    }
}

/// A route that bears a protected service's name.
fn protected_route(view: &View<'_>, step: StepId) -> Option<String> {
    let Some(Action::EdgeClose(close)) = view.act(step) else { return None };
    close.routes.iter().find_map(|route| {
        let route = view.graph.fill(step, route, &|_| None).ok()?;
        let mut protected = view.graph.plan().protect.iter();
        protected.any(|protect| protect.service.value == route).then_some(route)
    })
}
