//! `cutover simulate`: many runs of a plan in a simulated world, and the shortest story of the first
//! that breaks an invariant.

use super::args::Simulate;
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use crate::runner::sim::{Broken, Of, Runs, Simulation, Story, Tale};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

pub(super) fn main(args: &Simulate) -> Result<Exit, Problem> {
    if let Some(file) = &args.story {
        return tell_again(file);
    }
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
    let _ = writeln!(text, "\n{}\n{} cells hit", summary.table, summary.table.hit());
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
    super::out(&story(args, &runs, &broken)?);
    Ok(Exit::Unexpected)
}

/// The shortest story found that breaks the same.
fn story(args: &Simulate, runs: &Runs, broken: &Broken) -> Result<String, Problem> {
    let simulation = runs.simulation(broken.seed);
    let short = simulation.shrink(broken);
    let (before, after) = (broken.story.turns.len(), short.story.turns.len());
    let mut text = format!("\nthe shortest story found ({after} turns of {before}):\n\n");
    text.push_str(&told(&simulation, &short.story));
    let plan = args.plan.as_ref().map(|plan| plan.display().to_string());
    let shown = plan.as_ref().map(|plan| format!(" {plan}")).unwrap_or_default();
    let _ = writeln!(text, "again: cutover simulate{shown} --seed {} --runs 1", broken.seed);
    if let Some(file) = &args.keep {
        let of = plan.map_or(Of::Small(broken.seed), Of::File);
        let kept = format!("# {}\n{}", short.violation, Tale { of, story: short.story });
        std::fs::write(file, kept)
            .map_err(|error| Problem::wrong(format!("writing `{}`: {error}", file.display())))?;
        let _ = writeln!(text, "or: cutover simulate --story {}", file.display());
    }
    Ok(text)
}

fn told(simulation: &Simulation, story: &Story) -> String {
    let (lines, violation) = simulation.tell(story);
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    if let Some(violation) = violation {
        let _ = writeln!(text, "\nbroken: {violation}");
    }
    text
}

/// A story that was kept.
fn tell_again(file: &Path) -> Result<Exit, Problem> {
    let wrong = |what: String| Problem::wrong(format!("`{}`: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let tale: Tale = text.parse().map_err(wrong)?;
    let simulation = match &tale.of {
        Of::Small(seed) => Runs::small().simulation(*seed).into_owned(),
        Of::File(plan) => Simulation::new(load(plan.as_ref(), None)?.graph),
    };
    let broken = simulation.tell(&tale.story).1.is_some();
    super::out(&told(&simulation, &tale.story));
    Ok(if broken { Exit::Unexpected } else { Exit::Done })
}
