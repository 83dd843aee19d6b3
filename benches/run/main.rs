//! `cargo bench --bench run [-- w1 w2 w4 w5 w8 large]`: what a durable step costs, beside a bare loop
//! of spawns and the peers that are installed, in one table.
//!
//! Ratios are the figures, as a machine changes its speed from minute to minute: a row's rate over the
//! mean of a bare loop (`/bin/true`, two in flight, no record, no graph) run just before and just after
//! it; three interleaved rounds, all three told and their median. Whole commands are timed, load and
//! check included. Syncs are counted by `strace -c -f` in a run of their own: a fast figure must be a
//! durable one. Work that needs no process goes through the library, in a process of its own, and is
//! set against the group commit that the same disk reaches at the same number of records a sync.
//! Everything lies under `target/`, on a real disk, and nothing is deleted before the end: ext4 passes
//! over every inode that was deleted in the last minutes when it makes a file, so that a run just after
//! the deletion of another was seen to take twice as long. Run it on a machine that does nothing else,
//! and some minutes after the last time.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod inside;
mod machine;
mod plans;

use machine::{Bare, Took};
use plans::Shape;
use std::path::Path;
use std::process::Command;

const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if args.first().is_some_and(|arg| arg == "inside") {
        return inside::main(&args[1..]);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let dir = place.path();
    println!("{}", machine::describe(dir));
    if wanted("w1") {
        processes(dir, "W1: 1,000 x /bin/true, 10 chains, 2 in flight", Shape::Chains);
    }
    if wanted("w2") {
        processes(
            dir,
            "W2: 10,000 x /bin/true, 100 layers, 3 needs each, 2 in flight",
            Shape::Layers,
        );
    }
    if wanted("w8") {
        watched(dir);
    }
    if wanted("w4") {
        in_process(dir);
    }
    if wanted("w5") {
        replayed(dir);
    }
    if wanted("large") {
        large(dir);
    }
}

/// W1 and W2: a process a step, beside the peers.
fn processes(dir: &Path, title: &str, shape: Shape) {
    println!("\n{title}");
    println!(
        "{:<12} {:>8} {:>9} {:>9} | ratio to bare in {ROUNDS} rounds, median",
        "", "steps/s", "peak MiB", "syncs"
    );
    let steps = shape.steps();
    let bare_runs = (steps / 2).clamp(500, 2_000);
    let mut peers = plans::peers(dir, shape);
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
    let mut bare = Vec::new();
    for _ in 0..ROUNDS {
        for (at, peer) in peers.iter_mut().enumerate() {
            let before = Bare::run(bare_runs);
            let took = machine::timed(peer.command());
            let after = Bare::run(bare_runs);
            let rate = steps as f64 / took.seconds;
            rates[at].push(rate);
            ratios[at].push(rate / before.mean(after));
            bare.extend([before.0, after.0]);
        }
    }
    println!("{:<12} {:>8.0}", "bare", median(&bare));
    for (at, peer) in peers.iter_mut().enumerate() {
        let peak = machine::peak(peer.command());
        let syncs = peer.durable().then(|| machine::syncs(peer.command()));
        println!(
            "{:<12} {:>8.0} {:>9.0} {:>9} | {}, {:.2}{}",
            peer.name,
            median(&rates[at]),
            peak,
            match syncs {
                None => "none".to_owned(),
                Some(None) => "no strace".to_owned(),
                Some(Some(syncs)) => syncs.to_string(),
            },
            listed(&ratios[at]),
            median(&ratios[at]),
            peer.remark,
        );
    }
    for absent in plans::absent(shape) {
        println!("{absent:<12} not installed here: left out");
    }
    if let (Some(ours), Some(ninja)) =
        (of(&peers, &ratios, "cutover"), of(&peers, &ratios, "ninja"))
    {
        println!("cutover is {:.2} times ninja", ours / ninja);
    }
    if let Some((first, last)) = peers.iter().find_map(plans::Peer::first_and_last) {
        println!("first 1,000 ends in {first:.2} s, last in {last:.2} s: {:.2}", last / first);
    }
}

fn of(peers: &[plans::Peer], ratios: &[Vec<f64>], name: &str) -> Option<f64> {
    let at = peers.iter().position(|peer| peer.name == name)?;
    Some(median(&ratios[at]))
}

/// W8: W2 with five watchers in other processes, against W2 without.
fn watched(dir: &Path) {
    println!("\nW8: W2 while 5 `cutover watch` follow it");
    let mut alone = plans::ours(dir, Shape::Layers);
    let (mut ratios, mut watched_rates) = (Vec::new(), Vec::new());
    let steps = Shape::Layers.steps() as f64;
    for _ in 0..ROUNDS {
        let before = steps / machine::timed(alone.command()).seconds;
        let (command, run) = alone.command_and_run();
        let took = machine::timed_with(command, || {
            let watch = || {
                let mut watch = Command::new(env!("CARGO_BIN_EXE_cutover"));
                watch.arg("watch").arg(&run);
                watch
            };
            machine::once_there(&run.join("journal.jsonl"));
            (0..5).map(|_| machine::silent(watch())).collect()
        });
        let after = steps / machine::timed(alone.command()).seconds;
        watched_rates.push(steps / took.seconds);
        ratios.push(steps / took.seconds / (before + after) * 2.0);
    }
    println!(
        "{:.0} steps/s; of the rate without: {}, {:.3}",
        median(&watched_rates),
        listed(&ratios),
        median(&ratios)
    );
}

/// W4: durable steps that need no process, against the group commit of the same disk.
fn in_process(dir: &Path) {
    println!("\nW4: 100,000 in-process steps, durable, up to 256 in flight");
    println!(
        "{:>9} {:>7} {:>10} | {:>12} {:>6}",
        "steps/s", "syncs", "a sync", "group commit", "ratio"
    );
    let steps = 100_000;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let run = plans::fresh(dir);
        let told = inside::child(&["w4", &steps.to_string(), &run.display().to_string()]);
        let rate = f64::from(steps) / told[0];
        let fresh = plans::fresh(dir);
        let counted = ["w4", &steps.to_string(), &fresh.display().to_string()].map(str::to_owned);
        let syncs = machine::syncs(inside::command(&counted));
        // Two records a step.
        let batch = syncs.map_or(256.0, |syncs| 2.0 * f64::from(steps) / syncs as f64);
        let bound = machine::group_commit(dir, batch as usize, 200) / 2.0;
        ratios.push(rate / bound);
        println!(
            "{rate:>9.0} {:>7} {batch:>10.0} | {bound:>12.0} {:>6.2}",
            syncs.map_or("-".to_owned(), |syncs| syncs.to_string()),
            rate / bound
        );
    }
    println!("{}, {:.2} of the group-commit bound", listed(&ratios), median(&ratios));
}

/// W5: a journal read back: chain checked, every record judged and folded.
fn replayed(dir: &Path) {
    println!("\nW5: resume of a journal, one core: chain checked, every record folded");
    println!(
        "{:>8} {:>10} {:>10} | {:>9} {:>12} {:>9}",
        "steps", "records", "MiB", "compile s", "records/s", "peak MiB"
    );
    for (steps, attempts) in [(10_000, 4), (10_000, 34), (100_000, 4)] {
        let run = plans::fresh(dir);
        let words = [steps.to_string(), attempts.to_string(), run.display().to_string()];
        let written = inside::child(&["journal", &words[0], &words[1], &words[2]]);
        let mut rates = Vec::new();
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            told = inside::child(&["replay", &words[2]]);
            rates.push(told[1] / told[2]);
        }
        println!(
            "{steps:>8} {:>10.0} {:>10.0} | {:>9.2} {:>12.0} {:>9.0}   {}",
            told[1],
            written[0] / f64::from(1 << 20),
            told[0],
            median(&rates),
            told[3],
            listed_whole(&rates),
        );
    }
}

/// A plan of 100,000 steps: begun, killed in the middle, taken up again.
fn large(dir: &Path) {
    println!("\n100,000 steps in process: load, run, killed in the middle, taken up again");
    let run = plans::fresh(dir);
    let words = ["100000".to_owned(), run.display().to_string()];
    let (took, peak) = inside::killed(&["killed", &words[0], &words[1]]);
    println!("load and half of the run, until the kill: {:.2} s, {peak:.0} MiB", took.seconds);
    let told = inside::child(&["resume", &words[1]]);
    println!(
        "resume: {:.0} records read back in {:.2} s, run to its end in {:.2} s, {:.0} MiB",
        told[0], told[1], told[2], told[3]
    );
    let told = inside::child(&["w4", &words[0], &plans::fresh(dir).display().to_string()]);
    let of = |took: f64| Took { seconds: took }.seconds;
    println!("the whole without a kill: {:.2} s", of(told[0]));
}

/// The middle one.
fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn listed(all: &[f64]) -> String {
    all.iter().map(|one| format!("{one:.2}")).collect::<Vec<_>>().join(" ")
}

fn listed_whole(all: &[f64]) -> String {
    all.iter().map(|one| format!("{one:.0}")).collect::<Vec<_>>().join(" ")
}
