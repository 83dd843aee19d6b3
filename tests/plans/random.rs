//! Random plans and estates: `check` neither panics, nor hangs, nor takes more than a GiB.

use super::grown::{Chance, random};
use super::hostile::{HEAD, bounded, many};
use cutover::load::load;
use cutover::text::fault::render;
use std::path::Path;
use std::process::{Command, Stdio};

const ESTATE: &str = include_str!("estate.yaml");

/// In this process; how many held.
fn endured(seeds: std::ops::Range<u64>) -> usize {
    let (plan_path, estate_path) = (Path::new("p.yaml"), Path::new("e.yaml"));
    let mut held = 0;
    for seed in seeds {
        let plan = random::plan(Chance::new(seed));
        let estate = random::estate(ESTATE, Chance::new(seed));
        let with = (seed % 3 == 0).then_some((estate_path, estate.as_str()));
        match bounded(|| format!("seed {seed}:\n{plan}"), || load(plan_path, &plan, with)) {
            Ok(_) => held += 1,
            Err(faults) => {
                for file in faults.files {
                    let shown = render(&file.faults, &file.path, &file.text);
                    assert!(!shown.is_empty() && !shown.contains('\u{1b}'), "seed {seed}");
                }
            }
        }
    }
    held
}

#[test]
fn random_plans_are_endured() {
    let held = endured(0..1500);
    // A generator whose plans are all refused at their first line would show nothing.
    assert!(held > 100, "only {held} of the plans hold");
}

/// `cargo test --release --test plans many -- --ignored`
#[test]
#[ignore = "takes minutes"]
fn many_random_plans_are_endured() {
    endured(1_000_000..1_200_000);
}

/// `cutover check` of a file, with at most a GiB of address space and a minute of work; its exit
/// code, none when it was stopped at one of them.
fn checked(path: &Path) -> Option<i32> {
    Command::new("sh")
        .args(["-c", "ulimit -v 1048576 && ulimit -t 60 && exec \"$0\" check \"$1\""])
        .arg(env!("CARGO_BIN_EXE_cutover"))
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("sh starts")
        .code()
}

/// Small files that ask for much.
fn greedy() -> Vec<(&'static str, String)> {
    let head = HEAD;
    let values = |letter: &str, number: usize| -> String {
        let values: Vec<String> = (0..number).map(|n| format!("{letter}{n}")).collect();
        values.join(", ")
    };
    let fan = |text: &str| format!("{head}steps:\n{text}");
    let (thousand, a, b) = (values("a", 1000), values("a", 1500), values("b", 1500));
    vec![
        (
            "a thousand million instances",
            fan(&format!(
                "  s: {{ for_each: {{ x: [{thousand}], y: [{thousand}], z: [{thousand}] }}, run: [a], undo: {{ none: x }} }}\n"
            )),
        ),
        (
            "more than two million edges",
            fan(&format!(
                "  s: {{ for_each: {{ x: [{a}] }}, run: [a], undo: {{ none: x }} }}\n  t: {{ for_each: {{ y: [{b}] }}, needs: [s], run: [a], undo: {{ none: x }} }}\n"
            )),
        ),
        (
            "forty million providers",
            format!(
                "{head}lines:\n{}protect:\n{}steps:\n  s: {{ run: [a], undo: {{ none: x }} }}\n",
                many(20_000, |n| format!("  l{n}:\n")),
                many(1000, |n| format!(
                    "  p{n}: {{ per: line, providers: [p{n}@from/a, p{n}@from/b] }}\n"
                )),
            ),
        ),
        (
            "ten million effects",
            format!(
                "{head}lines:\n{}protect:\n  p: {{ per: line, providers: [p@from/a, p@from/b] }}\nsteps:\n{}",
                many(20_000, |n| format!("  l{n}:\n")),
                many(500, |n| format!(
                    "  s{n}: {{ run: [a], undo: {{ run: [b] }}, effects: {{ disturbs: [p@from/a] }} }}\n"
                )),
            ),
        ),
        (
            "names of hosts filled a million times, each of them unknown",
            fan(&format!(
                "  s: {{ for_each: {{ x: [{thousand}], y: [{thousand}] }}, run: [a], at: \"to/${{{{ x }}}}${{{{ y }}}}\", undo: {{ none: x }} }}\n"
            )),
        ),
        (
            "ten thousand look-ups in one text, of a hundred thousand instances",
            format!(
                "{head}lines:\n{}steps:\n  s: {{ for_each: {{ line: all, x: [{}] }}, run: [a, \"{}\"], undo: {{ none: x }} }}\n",
                many(1000, |n| format!("  l{n}: {{ f: g }}\n")),
                values("a", 100),
                "${{ line.f }}".repeat(10_000),
            ),
        ),
        (
            "twenty thousand needs, each misspelt",
            fan(&many(20_000, |n| {
                format!("  s{n}: {{ needs: [t{n}], run: [a], undo: {{ none: x }} }}\n")
            })),
        ),
        (
            "one knot of thirty thousand steps",
            fan(&many(30_000, |n| {
                format!(
                    "  s{n}: {{ needs: [s{}], run: [a], undo: {{ none: x }} }}\n",
                    (n + 1) % 30_000
                )
            })),
        ),
    ]
}

#[test]
fn small_files_that_ask_for_much_end_soon_and_small() {
    let dir = tempfile::tempdir().expect("a directory");
    for (what, text) in greedy() {
        let path = dir.path().join("greedy.yaml");
        std::fs::write(&path, text).expect("written");
        let exit = checked(&path);
        assert!(matches!(exit, Some(0 | 2)), "{what}: {exit:?}");
    }
    for seed in 0..20 {
        let path = dir.path().join("random.yaml");
        std::fs::write(&path, random::plan(Chance::new(seed))).expect("written");
        assert!(matches!(checked(&path), Some(0 | 2)), "seed {seed}");
    }
}
