//! Nothing that a file can hold may be more than a fault.

#[path = "../../fuzz/fixture.rs"]
mod fixture;

use super::grown::{Chance, random};
use super::{endure, judge, render};
use cutover::guard::stranger;
use cutover::plan;
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PLANS: [&str; 3] = [
    include_str!("../../plans/2019-04-06.yaml"),
    include_str!("../../plans/first.yaml"),
    include_str!("estate.yaml"),
];
/// What one small text may cost. Unoptimised the dearest takes a tenth of it; what grows with the
/// square takes minutes.
const AT_MOST: Duration = Duration::from_secs(20);

/// Does it, and fails when it was too much work. The work of this thread, not the time: a machine
/// that is busy with other things does not make a text a bomb.
pub(crate) fn bounded<T>(what: impl FnOnce() -> String, work: impl FnOnce() -> T) -> T {
    let worked = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = worked();
    let out = work();
    let took = worked() - before;
    assert!(took < AT_MOST, "{took:?} of work: {}", what());
    out
}

/// How a plan begins.
pub(crate) const HEAD: &str = "cutover: v1\nname: x\n";

/// As many lines.
pub(crate) fn many(number: usize, line: impl Fn(usize) -> String) -> String {
    (0..number).map(line).collect()
}

/// Reads the text both ways, and shows what is wrong with it.
fn endure(text: &str) {
    endure::plan(text);
    endure::estate(text);
}

/// A cut of a plan, put elsewhere in it.
fn mutated() -> impl Strategy<Value = String> {
    let cut = (any::<prop::sample::Index>(), 0_usize..60, any::<prop::sample::Index>(), 0_u8..5);
    let noise = prop::sample::select(vec![
        "\t",
        "[",
        "}",
        ": ",
        "- ",
        "&a ",
        "*a",
        "!x ",
        "|\n",
        "\"",
        "'",
        "${{",
        "}}",
        "#",
        "\u{0}",
        "\u{1b}",
        "\u{feff}",
        "\r\n",
        "é",
        "---\n",
        "? ",
        "<<: ",
        "~",
        "9999999999999999999999",
    ]);
    (0..PLANS.len(), prop::collection::vec((cut, noise), 1..6)).prop_map(|(which, changes)| {
        let mut text: Vec<char> = PLANS[which].chars().collect();
        for ((from, length, to, what), noise) in changes {
            let from = from.index(text.len() + 1);
            let end = (from + length).min(text.len());
            let part: Vec<char> = text[from..end].to_vec();
            match what {
                0 => drop(text.drain(from..end)),
                1 => drop(text.splice(from..from, noise.chars())),
                _ => {
                    let to = to.index(text.len() + 1);
                    drop(text.splice(to..to, part));
                }
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_endured(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        endure(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_of_yaml_signs_is_endured(text in "(cutover: v1\n)?[a-c:\\-\\[\\]{}&*!|>'\"#%@`,? \n\t~0-9]{0,200}") {
        endure(&text);
    }

    #[test]
    fn mutated_plans_are_endured(text in mutated()) {
        endure(&text);
    }
}

#[test]
fn the_good_plans_are_good() {
    for path in ["plans/2019-04-06.yaml", "plans/first.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(&path).expect("readable");
        if let Err(faults) = judge(&path, &text) {
            panic!("{}", render(&faults, &path, &text));
        }
    }
}

#[test]
fn bombs_end_soon() {
    let head = HEAD;
    let bombs = [
        // A small file that would fan out to a hundred million values.
        format!(
            "{head}lines:\n{}steps:\n{}",
            many(10_000, |n| format!("  l{n}: {{}}\n")),
            many(10_000, |n| format!(
                "  s{n}: {{ for_each: {{ line: all }}, run: [a], undo: {{ none: x }} }}\n"
            ))
        ),
        // Ten thousand names, each of them misspelt.
        format!(
            "{head}steps:\n{}",
            many(10_000, |n| format!("  s{n}: {{ needs: [t{n}], run: [a] }}\n"))
        ),
        // One text with a hundred thousand look-ups.
        format!("{head}steps:\n  a: {{ run: [a, \"{}\"] }}\n", "${{ x }}".repeat(100_000)),
        // A hundred thousand fields that there are not.
        format!("{head}{}", many(100_000, |n| format!("f{n}: 1\n"))),
        format!("{head}steps: {}", "{a: ".repeat(100_000)),
        format!("{head}steps: \"{}\"", "\\x41".repeat(100_000)),
    ];
    for bomb in bombs {
        bounded(
            || bomb[..200].to_owned(),
            || {
                let (read, faults) = plan::read_anyway(Path::new("p.yaml"), &bomb.as_str().into());
                assert!(!faults.is_empty() && faults.len() <= 1000);
                drop((read, render(&faults, Path::new("p.yaml"), &bomb)));
            },
        );
    }
}

/// What fuzzing has found worth keeping for one of its targets.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("readable"));
    files.map(|file| read(file.expect("an entry").path())).collect()
}

/// How many of a target's corpus hold, of how many.
fn held(target: &str, endure: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let corpus = corpus(target);
    let held = corpus
        .iter()
        .filter(|(path, bytes)| bounded(|| path.display().to_string(), || endure(bytes)));
    (held.count(), corpus.len())
}

/// The fuzz targets' own function over what they have found. That one holds shows that the corpus
/// reaches what lies behind the reader.
#[test]
fn the_corpus_is_endured() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let plans = held("plan", |bytes| endure::plan(&text(bytes)));
    let estates = held("estate", |bytes| endure::estate(&text(bytes)));
    let grown = held("grown", |bytes| endure::plan(&random::plan(Chance::of_bytes(bytes))));
    for (good, of) in [plans, estates, grown] {
        assert!(good >= 1 && of >= 20, "{good} of {of} hold");
    }
}

/// Answers, likewise: none of them may be believed, as none is signed, but those that a fixture holds.
#[test]
fn the_corpus_of_answers_is_endured() {
    let before = include_bytes!("../data/revocation/crl-5.der");
    let ocsp = held("ocsp", |bytes| {
        fixture::with(|issuer, serial| stranger::ocsp(bytes, issuer, serial, fixture::MADE_AT))
            .is_empty()
    });
    let crl = held("crl", |bytes| {
        let judged =
            |issuer: &_, serial: &_| stranger::crl(bytes, before, issuer, serial, fixture::MADE_AT);
        fixture::with(judged).is_empty()
    });
    for (good, of) in [ocsp, crl] {
        assert!(of >= 20 && good < 5, "{good} of {of} are believed");
    }
}
