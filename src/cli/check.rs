//! `cutover check`: what is proved of a plan before anything runs.

use super::args::Check;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use super::read::{Loaded, load, try_load};
use crate::load::FileFaults;
use crate::proof::protection::Sense;
use crate::text::fault::{Located, Severity, locate};
use serde::Serialize;
use std::fmt::Write as _;

pub(super) fn main(args: &Check) -> Result<Exit, Problem> {
    if args.json {
        let (exit, text) = match try_load(&args.plan, args.estate.as_deref())? {
            Ok(loaded) => (Exit::Done, json(Some(&loaded), &loaded.faults)?),
            Err(faults) => (Exit::Wrong, json(None, &faults.files)?),
        };
        out(&format!("{text}\n"));
        return Ok(exit);
    }
    let loaded = load(&args.plan, args.estate.as_deref())?;
    super::err(&loaded.warnings);
    out(&page(&loaded));
    Ok(Exit::Done)
}

/// The page that is shown in a change review.
fn page(loaded: &Loaded) -> String {
    let graph = &loaded.graph;
    let plan = graph.plan();
    let mut text = String::new();
    let change = plan.change.as_ref().map_or_else(String::new, |change| format!(" · {change}"));
    let _ = writeln!(text, "{}{change}", plan.name);
    let needs: usize = graph.steps().map(|step| graph.needs(step).len()).sum();
    let lines = graph.line_count();
    let _ = writeln!(
        text,
        "\n  {:<11} {} steps of {} definitions, {needs} needs, no cycle",
        "graph",
        graph.len(),
        plan.steps.len()
    );
    if lines > 0 {
        let _ = writeln!(text, "  {:<11} {lines} lines, each drained, copied and verified before it reopens", "domain");
    }
    let undoable = graph.steps().filter(|&step| !graph.is_point_of_no_return(step)).count();
    let _ = writeln!(
        text,
        "  {:<11} {undoable} steps can be undone; {} are points of no return",
        "rollback",
        graph.len() - undoable
    );
    for bound in &loaded.proof.bounds {
        let sense = match bound.sense {
            Sense::AtLeast => format!(
                "at least {} of {} in every reachable state",
                bound.reached, bound.of
            ),
            Sense::AtMost => format!(
                "at most {} of {} sites hold it in every reachable state",
                bound.reached, bound.of
            ),
        };
        let tightest = match bound.tightest.as_slice() {
            [] => String::new(),
            steps => format!("; tightest: {} under way", ticked(steps)),
        };
        let safe = if bound.exact { "" } else { " (a safe bound)" };
        let _ = writeln!(text, "  {:<11} {sense}{safe}{tightest}", bound.name);
    }
    for line in &loaded.proof.line_rollbacks {
        if !line.also.is_empty() {
            let _ = writeln!(
                text,
                "  a rollback of line {} alone also undoes, if begun: {}",
                line.line,
                line.also.join(", ")
            );
        }
    }
    let _ = writeln!(text, "\nproved: the plan can be run");
    text
}

fn ticked(steps: &[String]) -> String {
    let ticked: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
    ticked.join(", ")
}

#[derive(Serialize)]
struct Json {
    ok: bool,
    steps: Option<usize>,
    needs: Option<usize>,
    bounds: Vec<JsonBound>,
    line_rollbacks: Vec<JsonLine>,
    faults: Vec<Located>,
}

#[derive(Serialize)]
struct JsonBound {
    name: String,
    at_least: Option<u32>,
    at_most: Option<u32>,
    of: u32,
    reached: u32,
    exact: bool,
    tightest: Vec<String>,
}

#[derive(Serialize)]
struct JsonLine {
    line: String,
    also: Vec<String>,
}

fn json(loaded: Option<&Loaded>, files: &[FileFaults]) -> Result<String, Problem> {
    let faults: Vec<Located> =
        files.iter().flat_map(|file| locate(&file.faults, &file.path, &file.text)).collect();
    let ok = files.iter().flat_map(|file| &file.faults).all(|f| f.severity != Severity::Error);
    let proof = loaded.map(|loaded| &loaded.proof);
    let bounds = proof.map_or(&[][..], |proof| &proof.bounds);
    let lines = proof.map_or(&[][..], |proof| &proof.line_rollbacks);
    let json = Json {
        ok,
        steps: loaded.map(|loaded| loaded.graph.len()),
        needs: loaded.map(|loaded| {
            loaded.graph.steps().map(|step| loaded.graph.needs(step).len()).sum()
        }),
        bounds: bounds
            .iter()
            .map(|bound| JsonBound {
                name: bound.name.clone(),
                at_least: (bound.sense == Sense::AtLeast).then_some(bound.limit),
                at_most: (bound.sense == Sense::AtMost).then_some(bound.limit),
                of: bound.of,
                reached: bound.reached,
                exact: bound.exact,
                tightest: bound.tightest.clone(),
            })
            .collect(),
        line_rollbacks: lines
            .iter()
            .map(|line| JsonLine { line: line.line.clone(), also: line.also.clone() })
            .collect(),
        faults,
    };
    Ok(serde_json::to_string_pretty(&json).map_err(anyhow::Error::from)?)
}
