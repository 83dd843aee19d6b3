//! The simulator itself: the day's plan and random small ones keep every invariant, a seed is a run,
//! and what is put in by hand around the core is found, by a short story.
//!
//! `CORE_RUNS` asks for more runs.

use crate::world::graph;
use cutover::graph::Graph;
use cutover::runner::sim::{Dice, Mutant, Simulation, Tally};
use std::path::Path;
use std::sync::Arc;

/// What must have happened in some runs of the day, else they prove little.
const MET: [&str; 24] = [
    "a check lies",
    "a crash",
    "a dead runner writes on",
    "a late answer",
    "a provider answers falsely",
    "a provider breaks",
    "a signal",
    "a torn tail cut",
    "a verdict comes late",
    "a word of the emergency lane",
    "an attempt fails",
    "an undurable record lost",
    "end: completed",
    "end: rolled back",
    "exit: closed",
    "exit: interrupted",
    "exit: needs a person",
    "guard silent",
    "old damage",
    "one person approves twice",
    "the clock jumps",
    "the disk fails",
    "two answer at once",
    "end: aborted",
];

fn runs(default: u64) -> u64 {
    std::env::var("CORE_RUNS").ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

fn day() -> Simulation {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/2019-04-06.yaml");
    let text = std::fs::read_to_string(&path).expect("the day's plan");
    let loaded = cutover::load::load(&path, &text, None).unwrap_or_else(|it| panic!("{it:#?}"));
    Simulation::new(loaded.graph)
}

/// A random plan that is proved.
fn small(number: u64) -> Option<Arc<Graph>> {
    let mut dice = Dice::seeded(number);
    let choices: Vec<u16> = (0..120).map(|_| dice.roll(65_535) as u16).collect();
    graph(&choices)
}

#[track_caller]
fn keeps(simulation: &Simulation, first: u64, runs: u64) -> Tally {
    let summary = simulation.runs(first, runs, 2);
    if let Some(broken) = summary.broken {
        let short = simulation.shrink(&broken);
        let (story, violation) = simulation.tell(&short.story);
        let story = story.join("\n");
        panic!("seed {} breaks {}\n{story}\n{violation:?}", broken.seed, broken.violation);
    }
    summary.met
}

#[test]
fn runs_of_small_plans_keep_every_invariant_and_end() {
    let mut met = Tally::new();
    for number in 0..runs(500) {
        let Some(graph) = small(number) else { continue };
        for (what, often) in keeps(&Simulation::new(graph), number * 7, 2) {
            *met.entry(what).or_default() += often;
        }
    }
    let rare: Vec<_> =
        MET.iter().filter(|it| met.get(**it).is_none_or(|often| *often < 2)).collect();
    assert!(rare.is_empty(), "hardly met: {rare:?} of {met:#?}");
}

#[test]
fn runs_of_the_day_keep_every_invariant_and_end() {
    let met = keeps(&day(), 1, runs(16));
    assert!(met["a crash"] > 0, "{met:#?}");
}

#[test]
fn a_seed_is_a_run_in_however_many_threads() {
    let day = day();
    let (one, two) = (day.runs(5, 4, 1), day.runs(5, 4, 2));
    assert_eq!((one.digest, one.met), (two.digest, two.met));
    assert_ne!(day.runs(9, 4, 1).digest, day.runs(5, 4, 1).digest);
}

/// Reliability.md section 6: each is found within ten thousand runs of small plans.
#[test]
fn what_is_put_in_around_the_core_is_found_and_told_shortly() {
    use Mutant::*;
    let all = [
        DeedBeforeSync,
        SyncErrorIgnored,
        SyncRetried,
        TornTailKept,
        OldDamageCut,
        LateAnswerTaken,
        EpochUnchecked,
    ];
    for mutant in all {
        let found = (0..10_000).filter_map(|number| small(number).map(|graph| (number, graph)));
        let broken = found.into_iter().find_map(|(number, graph)| {
            let simulation = Simulation::new(graph).with(mutant);
            let broken = simulation.run(number * 7).err()?;
            Some((simulation, broken))
        });
        let Some((simulation, broken)) = broken else { panic!("{mutant:?} is not found") };
        let short = simulation.shrink(&broken);
        assert!(
            simulation.tell(&short.story).1.is_some(),
            "{mutant:?}: shortened, it breaks nothing"
        );
        let turns = short.story.turns.len();
        assert!(turns <= 20, "{mutant:?}: {turns} turns are no short story");
    }
}
