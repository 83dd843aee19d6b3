//! `cutover check`: what is proved of a plan before anything runs.

use super::args::Check;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use super::read::{Loaded, problem, rendered, strict, try_load};
use crate::load::FileFaults;
use crate::proof::protection::{Bound, Sense};
use crate::proof::window::{self, Learned, Outlook, Times};
use crate::text::fault::{Fault, Located, Severity, locate};
use serde::Serialize;
use std::fmt::Write as _;

pub(super) fn main(args: &Check) -> Result<Exit, Problem> {
    let learned = super::learn::learn(&args.learn)?;
    let mut judged = try_load(&args.plan, args.estate.as_deref())?;
    if args.strict {
        judged = judged.and_then(strict);
    }
    if args.json {
        let (exit, text) = match judged {
            Ok(mut loaded) => {
                let outlook = outlook(&mut loaded, &learned, args.seed);
                (Exit::Done, json(Some((&loaded, outlook.as_ref())), &loaded.faults)?)
            }
            Err(faults) => (Exit::Wrong, json(None, &faults.files)?),
        };
        out(&format!("{text}\n"));
        return Ok(exit);
    }
    let mut loaded = judged.map_err(|faults| problem(&faults))?;
    let outlook = outlook(&mut loaded, &learned, args.seed);
    super::err(&rendered(&loaded.faults));
    out(&page(&loaded, outlook.as_ref()));
    Ok(Exit::Done)
}

/// What can be told of the plan's time; its warnings stand with those of the plan from here on.
fn outlook(loaded: &mut Loaded, learned: &Learned, seed: u64) -> Option<Outlook> {
    let times = Times::new(&loaded.graph, learned);
    let options = window::Options { seed, ..window::Options::default() };
    let outlook = window::judge(&loaded.graph, &times, &options)?;
    add_faults(loaded, outlook.warnings.clone());
    Some(outlook)
}

fn add_faults(loaded: &mut Loaded, faults: Vec<Fault>) {
    if faults.is_empty() {
        return;
    }
    let path = &loaded.plan_path;
    let file = match loaded.faults.iter_mut().position(|file| file.path == *path) {
        Some(at) => &mut loaded.faults[at],
        None => {
            let text = loaded.plan_text.as_str().into();
            let file = FileFaults { path: path.clone(), text, faults: Vec::new() };
            loaded.faults.insert(0, file);
            &mut loaded.faults[0]
        }
    };
    file.faults.extend(faults);
    crate::text::fault::sort(&mut file.faults);
}

/// The page that is shown in a change review.
fn page(loaded: &Loaded, outlook: Option<&Outlook>) -> String {
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
        let _ = writeln!(
            text,
            "  {:<11} {lines} lines, each drained, copied and verified before it reopens",
            "domain"
        );
    }
    let undoable = graph.steps().filter(|&step| !graph.is_point_of_no_return(step)).count();
    let barred = match graph.len() - undoable {
        0 => "no point of no return".to_owned(),
        1 => "1 point of no return".to_owned(),
        many => format!("{many} points of no return"),
    };
    let _ = writeln!(text, "  {:<11} {undoable} steps can be undone; {barred}", "rollback");
    bounds(&mut text, &loaded.proof.bounds);
    if let Some(outlook) = outlook {
        text.push_str(&crate::report::outlook::text(graph, outlook));
    }
    let rollbacks: Vec<_> =
        loaded.proof.line_rollbacks.iter().filter(|line| !line.also.is_empty()).collect();
    for group in rollbacks.chunk_by(|one, other| one.also == other.also) {
        let names: Vec<&str> = group.iter().map(|line| line.line.as_str()).collect();
        let each = if names.len() > 1 { "each of " } else { "" };
        let _ = writeln!(
            text,
            "\n  a rollback of {each}{} alone also undoes, if begun: {}",
            names.join(", "),
            group.first().map_or_else(String::new, |line| line.also.join(", "))
        );
    }
    let _ = writeln!(text, "\nproved: the plan can be run");
    text
}

/// One line for each service and role; lines that have the same bound share one.
fn bounds(text: &mut String, bounds: &[Bound]) {
    let base = |bound: &Bound| bound.name.split('[').next().unwrap_or_default().to_owned();
    let alike = |one: &Bound, other: &Bound| {
        base(one) == base(other)
            && (one.sense, one.limit, one.of, one.reached, one.exact)
                == (other.sense, other.limit, other.of, other.reached, other.exact)
    };
    for group in bounds.chunk_by(alike) {
        let [first, ..] = group else { continue };
        let each = if group.len() > 1 {
            format!(", for each of {} lines", group.len())
        } else {
            String::new()
        };
        let name = if group.len() > 1 { base(first) } else { first.name.clone() };
        let sense = match first.sense {
            Sense::AtLeast => format!("at least {} of {} up", first.reached, first.of),
            Sense::AtMost => format!("at most {} of {} sites hold it", first.reached, first.of),
        };
        let tightest = match first.tightest.as_slice() {
            [] => String::new(),
            steps => format!("; tightest: {} under way", ticked(steps)),
        };
        let safe = if first.exact { "" } else { " (a safe bound)" };
        let _ =
            writeln!(text, "  {name:<11} {sense} in every reachable state{safe}{each}{tightest}");
    }
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
    outlook: Option<crate::report::outlook::Json>,
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

fn json(
    loaded: Option<(&Loaded, Option<&Outlook>)>,
    files: &[FileFaults],
) -> Result<String, Problem> {
    let outlook = loaded
        .and_then(|(loaded, outlook)| Some(crate::report::outlook::json(&loaded.graph, outlook?)));
    let loaded = loaded.map(|(loaded, _)| loaded);
    let faults: Vec<Located> =
        files.iter().flat_map(|file| locate(&file.faults, &file.path, &file.text)).collect();
    let ok = files.iter().flat_map(|file| &file.faults).all(|f| f.severity != Severity::Error);
    let proof = loaded.map(|loaded| &loaded.proof);
    let bounds = proof.map_or(&[][..], |proof| &proof.bounds);
    let lines = proof.map_or(&[][..], |proof| &proof.line_rollbacks);
    let json = Json {
        ok,
        steps: loaded.map(|loaded| loaded.graph.len()),
        needs: loaded
            .map(|loaded| loaded.graph.steps().map(|step| loaded.graph.needs(step).len()).sum()),
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
        outlook,
        faults,
    };
    Ok(serde_json::to_string_pretty(&json).map_err(anyhow::Error::from)?)
}
