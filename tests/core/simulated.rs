//! The simulator itself: the day's plan and random small ones keep every invariant, a seed is a run,
//! what is put in by hand around the core is found, by a short story, and stories that were kept are
//! told again.
//!
//! `CORE_RUNS` asks for more runs.

use cutover::graph::Graph;
use cutover::runner::sim::{Mutant, Of, Phase, Reaction, Runs, Simulation, Summary, Tale};
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// Faults that must have struck a run on its way, and what one of them must have led to.
const STRUCK: [(&str, Reaction); 14] = [
    ("a crash", Reaction::Leaves),
    ("a dead runner writes on", Reaction::Leaves),
    ("a provider answers falsely", Reaction::Holds),
    ("a provider breaks", Reaction::Holds),
    ("a signal", Reaction::Leaves),
    ("an attempt fails", Reaction::TurnsBack),
    ("an attempt fails", Reaction::Holds),
    ("an attempt hangs", Reaction::GoesOn),
    ("guard silent", Reaction::Holds),
    ("somebody aborts", Reaction::Ends),
    ("somebody holds", Reaction::Holds),
    ("somebody wants all back", Reaction::TurnsBack),
    ("the clock jumps", Reaction::GoesOn),
    ("the disk fails", Reaction::Leaves),
];

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn plan(path: &str) -> Arc<Graph> {
    let path = file(path);
    let text = std::fs::read_to_string(&path).expect("a plan");
    let loaded = cutover::load::load(&path, &text, None).unwrap_or_else(|it| panic!("{it:#?}"));
    loaded.graph
}

fn day() -> Runs {
    Runs::of(plan("plans/2019-04-06.yaml"))
}

#[track_caller]
fn keeps(runs: &Runs, first: u64, count: u64) -> Summary {
    let summary = runs.make(first, count, 2);
    if let Some(broken) = &summary.broken {
        let simulation = runs.simulation(broken.seed);
        let short = simulation.shrink(broken);
        let (story, violation) = simulation.tell(&short.story);
        let story = story.join("\n");
        panic!("seed {} breaks {}\n{story}\n{violation:?}", broken.seed, broken.violation);
    }
    summary
}

#[test]
fn runs_of_small_plans_keep_every_invariant_and_end() {
    let summary = keeps(&Runs::small(), 1, runs(1000));
    let met = &summary.met;
    let rare: Vec<_> = MET.iter().filter(|it| met.get(**it).is_none_or(|it| *it < 2)).collect();
    assert!(rare.is_empty(), "hardly met: {rare:?} of {met:#?}");
    let table = &summary.table;
    for (fault, reaction) in STRUCK {
        assert!(table.met(fault, Phase::Forward) > 0, "{fault} struck nobody\n{table}");
        assert!(table.led_to(fault, reaction) > 0, "{fault} never led to {reaction:?}\n{table}");
    }
    // In so few runs hardly any is struck in doubt, or on its way back in part.
    let rare = [Phase::InDoubt, Phase::PartlyBack];
    let many = summary.runs >= 20_000;
    for phase in Phase::ALL.into_iter().filter(|it| many || !rare.contains(it)) {
        assert!(table.met("a crash", phase) > 0, "no crash {phase:?}\n{table}");
    }
    assert!(table.hit() >= 250, "{} cells only\n{table}", table.hit());
}

#[test]
fn runs_of_the_day_keep_every_invariant_and_end() {
    let met = keeps(&day(), 1, runs(16)).met;
    assert!(met["a crash"] > 0, "{met:#?}");
}

#[test]
fn a_seed_is_a_run_in_however_many_threads() {
    let day = day();
    let (one, two) = (day.make(5, 4, 1), day.make(5, 4, 2));
    assert_eq!((one.digest, one.met, one.table), (two.digest, two.met, two.table));
    assert_ne!(day.make(9, 4, 1).digest, day.make(5, 4, 1).digest);
}

#[test]
fn what_is_printed_for_a_seed_is_the_same_to_the_byte() {
    let say = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.args(["simulate", "plans/2019-04-06.yaml", "--seed", "7", "--runs", "3"]);
        let said = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("text")
    };
    let first = say();
    assert_eq!(first, say());
    assert!(first.contains("every invariant was kept"), "{first}");
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
        let runs = Runs::small().with(mutant);
        let broken = runs.make(1, 10_000, 2).broken;
        let broken = broken.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        let simulation = runs.simulation(broken.seed);
        let short = simulation.shrink(&broken);
        assert!(
            simulation.tell(&short.story).1.is_some(),
            "{mutant:?}: shortened, it breaks nothing"
        );
        let turns = short.story.turns.len();
        assert!(turns <= 20, "{mutant:?}: {turns} turns are no short story");
    }
}

/// What once broke an invariant (or breaks it with a fault put in) keeps all of them now.
#[test]
fn stories_that_were_kept_are_told_again_and_break_nothing() {
    let kept = std::fs::read_dir(file("tests/seeds")).expect("kept stories");
    let mut count = 0;
    for entry in kept {
        let path = entry.expect("a story").path();
        let text = std::fs::read_to_string(&path).expect("a story");
        let tale: Tale = text.parse().unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let simulation = match &tale.of {
            Of::Small(seed) => Runs::small().simulation(*seed).into_owned(),
            Of::File(name) => Simulation::new(plan(name)),
        };
        let (lines, violation) = simulation.tell(&tale.story);
        assert_eq!(violation, None, "{}\n{}", path.display(), lines.join("\n"));
        assert!(lines.len() > 4, "{}: nothing happens", path.display());
        let shown = tale.to_string();
        assert_eq!(shown.parse(), Ok(tale), "{}", path.display());
        count += 1;
    }
    assert!(count >= 17, "{count} stories are kept");
}
