//! `cutover simulate`: many runs of a plan in a simulated world, and the shortest story of the first
//! that breaks an invariant.

use super::args::Simulate;
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use crate::runner::sim::{Broken, Runs};
use std::fmt::Write as _;
use std::time::Instant;

pub(super) fn main(args: &Simulate) -> Result<Exit, Problem> {
    let (runs, what) = match &args.plan {
        Some(plan) => {
            let loaded = load(plan, None)?;
            super::err(&loaded.warnings);
            let what = format!("{} ({} steps)", loaded.graph.plan().name, loaded.graph.len());
            (Runs::of(loaded.graph), what)
        }
        None => (Runs::small(), "random small plans".to_owned()),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let begun = Instant::now();
    let summary = runs.make(args.seed, args.runs, threads);
    let took = begun.elapsed().as_secs_f64();
    let (first, last) = (args.seed, args.seed.wrapping_add(args.runs.saturating_sub(1)));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} runs of {what}, seeds {first} to {last}, {} records",
        summary.runs, summary.records
    );
    for (what, often) in &summary.met {
        let _ = writeln!(text, "  {what:<32} {often}");
    }
    let _ = writeln!(text, "journals {}", summary.digest);
    let each = took * 1e3 / (summary.runs.max(1)) as f64;
    super::err(&format!("{took:.1} s, {each:.2} ms a run, {threads} threads\n"));
    let Some(broken) = summary.broken else {
        let _ = writeln!(text, "every invariant was kept");
        super::out(&text);
        return Ok(Exit::Done);
    };
    let _ = writeln!(text, "\nseed {} breaks {}", broken.seed, broken.violation);
    super::out(&text);
    super::out(&story(args, &runs, &broken));
    Ok(Exit::Unexpected)
}

/// The shortest story found that breaks the same.
fn story(args: &Simulate, runs: &Runs, broken: &Broken) -> String {
    let simulation = runs.simulation(broken.seed);
    let short = simulation.shrink(broken);
    let (story, violation) = simulation.tell(&short.story);
    let mut text = String::new();
    let (before, after) = (broken.story.turns.len(), short.story.turns.len());
    let _ = writeln!(text, "\nthe shortest story found ({after} turns of {before}):\n");
    for line in story {
        let _ = writeln!(text, "{line}");
    }
    if let Some(violation) = violation {
        let _ = writeln!(text, "\nbroken: {violation}");
    }
    let plan = args.plan.as_ref().map(|plan| format!(" {}", plan.display())).unwrap_or_default();
    let _ = writeln!(text, "again: cutover simulate{plan} --seed {} --runs 1", broken.seed);
    text
}
