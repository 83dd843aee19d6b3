//! `cutover simulate`: many runs of a plan in a simulated world, and the shortest story of the first
//! that breaks an invariant.

use super::args::Simulate;
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use crate::runner::sim::Simulation;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn main(args: &Simulate) -> Result<Exit, Problem> {
    let loaded = load(&args.plan, None)?;
    super::err(&loaded.warnings);
    let simulation = Simulation::new(Arc::clone(&loaded.graph));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let begun = Instant::now();
    let summary = simulation.runs(args.seed, args.runs, threads);
    let took = begun.elapsed();
    let (first, last) = (args.seed, args.seed.wrapping_add(args.runs.saturating_sub(1)));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} runs of {} ({} steps), seeds {first} to {last}, {} records",
        summary.runs,
        loaded.graph.plan().name,
        loaded.graph.len(),
        summary.records
    );
    for (what, often) in &summary.met {
        let _ = writeln!(text, "  {what:<32} {often}");
    }
    let _ = writeln!(text, "journals {}", summary.digest);
    let each = took.as_secs_f64() * 1e3 / (summary.runs.max(1)) as f64;
    super::err(&format!("{:.1} s, {each:.2} ms a run\n", took.as_secs_f64()));
    let Some(broken) = summary.broken else {
        let _ = writeln!(text, "every invariant was kept");
        super::out(&text);
        return Ok(Exit::Done);
    };
    let _ = writeln!(text, "\nseed {} breaks {}", broken.seed, broken.violation);
    super::out(&text);
    let short = simulation.shrink(&broken);
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
    let _ = writeln!(
        text,
        "again: cutover simulate {} --seed {} --runs 1",
        args.plan.display(),
        broken.seed
    );
    super::out(&text);
    Ok(Exit::Unexpected)
}
