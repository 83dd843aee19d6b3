//! What does not fit into the window, and what nothing is known of. All of it rests on estimates:
//! nothing here makes a plan unusable.

use super::times::{Origin, Times};
use super::{InWindow, Outlook};
use crate::graph::Graph;
use crate::plan::{Phase, Window};
use crate::text::fault::{Fault, Severity};
use crate::text::time::span;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// How many names a message lists before it only counts.
const NAMES: usize = 5;

pub(super) fn of(graph: &Graph, times: &Times, outlook: &Outlook) -> Vec<Fault> {
    let mut out = Vec::new();
    if let (Some(plan), Some(fit)) = (&graph.plan().window, &outlook.window) {
        too_long(plan, outlook, fit, &mut out);
        no_way_back(graph, plan, fit, &mut out);
    }
    unknown(graph, times, &mut out);
    out
}

fn too_long(plan: &Window, outlook: &Outlook, fit: &InWindow, out: &mut Vec<Fault>) {
    let deadline = fit.deadline.duration_since(fit.opens);
    let end = fit.end.map_or(outlook.ends, |end| end.p90);
    if end <= deadline {
        return;
    }
    let clock =
        |at: SignedDuration| clock(fit.opens.checked_add(at).unwrap_or(fit.opens), &plan.zone);
    let what = if outlook.ends > deadline {
        let expected = clock(outlook.ends);
        format!(
            "the plan is expected to end at {expected}, {} after the window less its reserve",
            span(outlook.ends - deadline)
        )
    } else {
        format!(
            "in one execution of ten the plan ends at {} or later, {} after the window less its \
             reserve",
            clock(end),
            span(end - deadline)
        )
    };
    out.push(
        Fault::warning("window-too-short", plan.span, what)
            .hint("open earlier, or make what lies on the critical path shorter"),
    );
}

fn no_way_back(graph: &Graph, plan: &Window, fit: &InWindow, out: &mut Vec<Fault>) {
    let Some(first) = fit.no_way_back().next() else { return };
    let worst = fit.no_way_back().min_by_key(|at| at.margin).unwrap_or(first);
    let others = match fit.no_way_back().count() - 1 {
        0 => String::new(),
        1 => ", and so from the next one".to_owned(),
        more => format!(", and so from {more} more"),
    };
    let what = format!(
        "a rollback begun behind `{}` may not end inside the window: it takes {}, so it has to begin \
         by {}{others}",
        graph.name(first.step),
        span(first.rollback),
        clock(first.by, &plan.zone),
    );
    let hint = format!(
        "the worst is `{}`, {} too late: put a point of no return before it, or open earlier",
        graph.name(worst.step),
        span(worst.margin.abs())
    );
    out.push(Fault::warning("no-way-back", graph.def(first.step).name.span, what).hint(hint));
}

fn unknown(graph: &Graph, times: &Times, out: &mut Vec<Fault>) {
    let mut names = Vec::new();
    let mut first = None;
    for (at, def) in graph.plan().steps.iter().enumerate() {
        let mut origins = graph.instances(at).map(|step| times.origins()[step.index()]);
        if def.phase == Phase::Window && origins.any(|origin| origin == Origin::Unknown) {
            first.get_or_insert(def.name.span);
            names.push(format!("`{}`", def.name.value));
        }
    }
    let Some(span) = first else { return };
    let listed = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!("no duration is known of {listed}{more}: counted as nothing");
    let note = Fault::warning("no-estimate", span, what).hint("say `estimate: 5m..10m`");
    out.push(Fault { severity: Severity::Note, ..note });
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string()
}
