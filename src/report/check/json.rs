//! `check --json`: every field of the page under a stable name. Durations are seconds, shares 0 to 1,
//! instants RFC 3339.

use super::Page;
use crate::proof::States;
use crate::proof::protection::{Bound, Sense};
use crate::report::outlook;
use crate::text::fault::Located;
use serde::Serialize;

/// The document. What was not proved, because the plan is faulty, is null or empty.
#[derive(Default, Serialize)]
pub struct Json {
    ok: bool,
    plan: Option<String>,
    change: Option<String>,
    steps: Option<usize>,
    definitions: Option<usize>,
    needs: Option<usize>,
    lines: Vec<String>,
    undoable: Option<usize>,
    points_of_no_return: Vec<String>,
    checkpoints: Vec<String>,
    states: Option<JsonStates>,
    bounds: Vec<JsonBound>,
    lines_alone: Vec<String>,
    line_rollbacks: Vec<JsonLine>,
    outlook: Option<outlook::Json>,
    faults: Vec<Located>,
}

/// One of the two: a count, as digits (it may be larger than a number of JSON), or a power.
#[derive(Debug, Serialize)]
struct JsonStates {
    exactly: Option<String>,
    more_than_3_to_the: Option<u32>,
}

#[derive(Debug, Serialize)]
struct JsonBound {
    name: String,
    at_least: Option<u32>,
    at_most: Option<u32>,
    of: u32,
    at_start: u32,
    reached: u32,
    exact: bool,
    tightest: Vec<String>,
    after: Vec<String>,
    steps: u32,
}

#[derive(Debug, Serialize)]
struct JsonLine {
    line: String,
    also: Vec<String>,
}

impl Json {
    /// Of a plan that was proved, with warnings, or of one that was not.
    pub fn of(page: Option<&Page<'_>>, ok: bool, faults: Vec<Located>) -> Self {
        let Some(page) = page else { return Self { ok, faults, ..Self::default() } };
        let graph = page.graph;
        let plan = graph.plan();
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let undoable = graph.steps().filter(|&step| !graph.is_point_of_no_return(step)).count();
        Self {
            ok,
            plan: Some(plan.name.clone()),
            change: plan.change.clone(),
            steps: Some(graph.len()),
            definitions: Some(plan.steps.len()),
            needs: Some(graph.edge_count()),
            lines: plan.lines.iter().map(|line| line.name.value.clone()).collect(),
            undoable: Some(undoable),
            points_of_no_return: owned(page.points_of_no_return()),
            checkpoints: owned(graph.checkpoints().collect()),
            states: Some(JsonStates::of(page.proof.states)),
            lines_alone: page.proof.lines_alone.clone(),
            bounds: page.proof.bounds.iter().map(JsonBound::of).collect(),
            line_rollbacks: page
                .proof
                .line_rollbacks
                .iter()
                .map(|line| JsonLine { line: line.line.clone(), also: line.also.clone() })
                .collect(),
            outlook: page.outlook.map(|it| outlook::json(graph, it)),
            faults,
        }
    }

    /// The document as text.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("BUG: a page has string keys only")
    }
}

impl JsonStates {
    fn of(states: States) -> Self {
        match states {
            States::Exactly(count) => {
                Self { exactly: Some(count.to_string()), more_than_3_to_the: None }
            }
            States::MoreThan(power) => Self { exactly: None, more_than_3_to_the: Some(power) },
        }
    }
}

impl JsonBound {
    fn of(bound: &Bound) -> Self {
        Self {
            name: bound.name.clone(),
            at_least: (bound.sense == Sense::AtLeast).then_some(bound.limit),
            at_most: (bound.sense == Sense::AtMost).then_some(bound.limit),
            of: bound.of,
            at_start: bound.at_start,
            reached: bound.reached,
            exact: bound.exact,
            tightest: bound.tightest.clone(),
            after: bound.after.clone(),
            steps: bound.steps,
        }
    }
}
