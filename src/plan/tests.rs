//! A plan that is read while its text goes by is the plan that its whole tree gives.

use super::Plan;
use super::read::{read_in_passing, read_whole};
use crate::text::fault::{Fault, Severity};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

const THE_DAY: &str = include_str!("../../plans/2019-04-06.yaml");
const FIRST: &str = include_str!("../../plans/first.yaml");

type Read = (Option<Plan>, Vec<Fault>);

fn both(text: &str) -> (Option<Read>, Read) {
    let (path, text) = (Path::new("plans/p.yaml"), Arc::from(text));
    (read_in_passing(path, &text), read_whole(path, &text))
}

/// What is read in passing must be the same; what is not must be wrong, or stand elsewhere.
fn agree(text: &str) -> bool {
    let (passing, whole) = both(text);
    match passing {
        Some(passing) => {
            assert_eq!(format!("{passing:?}"), format!("{whole:?}"));
            true
        }
        None => false,
    }
}

#[test]
fn good_plans_are_read_in_passing() {
    assert!(agree(THE_DAY) && agree(FIRST));
    let steps = "steps:\n  a: { run: [a], undo: { none: x } }\n";
    let head = "cutover: v1\nname: x\n";
    assert!(agree(&format!("{head}{steps}")) && agree(&format!("---\n{head}{steps}...\n")));
    assert!(agree("{ cutover: v1, name: x, steps: { a: { run: [a], undo: { none: x } } } }\n"));
    // A warning is no reason to read it twice.
    let limit = format!("{head}limits: {{ wan: 2 }}\n{steps}");
    assert!(agree(&limit) && !both(&limit).1.1.is_empty());
}

#[test]
fn what_is_wrong_or_follows_the_steps_is_read_whole() {
    let head = "cutover: v1\nname: x\n";
    let step = "  a: { run: [a], undo: { none: x } }\n";
    for text in [
        // Something follows.
        format!("cutover: v1\nsteps:\n{step}name: x\n"),
        format!("{head}steps:\n{step}limits: {{ wan: 1 }}\n"),
        format!("{head}steps: &s\n{step}"),
        // No steps, none of them, or twice.
        head.to_owned(),
        format!("{head}steps: {{}}\n"),
        format!("{head}steps:\n{step}{step}"),
        format!("{head}steps:\n{step}steps:\n{step}"),
        // Wrong above, inside, below.
        format!("cutover: v2\nname: x\nsteps:\n{step}"),
        format!("{head}steps:\n{step}  b: {{ runn: [b] }}\n"),
        format!("{head}steps:\n{step}]\n"),
        format!("{head}steps:\n{step}---\na: b\n"),
    ] {
        assert!(!agree(&text), "{text}");
    }
}

#[test]
fn warnings_do_not_crowd_out_an_error() {
    let mut text = String::from("cutover: v1\nname: x\nsteps:\n");
    for number in 0..1200 {
        let kind = if number % 2 == 0 { "task" } else { "upgrade" };
        text.push_str(&format!(
            "  s{number}: {{ kind: {kind}, do: {{ database.snapshot: {{ site: from, database: d }} }} }}\n"
        ));
    }
    text.push_str("  last: { run: [a], undo: { none: x }, timeout: 40 }\n");
    let (plan, faults) = both(&text).1;
    assert!(plan.is_some());
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
    assert_eq!((errors, faults.len()), (1, 1001));
    // Of so many the error is shown.
    let shown = crate::text::fault::render(&faults, Path::new("p.yaml"), &text);
    assert!(shown.contains("`40` has no unit"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Lines of the plan of the day taken out, doubled or moved.
    #[test]
    fn both_ways_agree(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..3), 0..4)) {
        let mut lines: Vec<&str> = THE_DAY.lines().collect();
        for (from, to, what) in changes {
            let line = lines[from.index(lines.len())];
            match what {
                0 => drop(lines.remove(from.index(lines.len()))),
                1 => lines.insert(to.index(lines.len()), line),
                _ => {
                    let line = lines.remove(from.index(lines.len()));
                    lines.insert(to.index(lines.len()), line);
                }
            }
        }
        agree(&(lines.join("\n") + "\n"));
    }
}
