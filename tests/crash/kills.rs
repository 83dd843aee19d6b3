//! Killed at every write and every sync of the journal: before it, in its middle, behind it. Exact
//! places, not moments: the process is killed by the call itself.

use crate::space::{Said, Space};
use crate::tools::{Rule, count, lines, space, under, was_killed};
use std::collections::BTreeMap;
use std::process::Output;
use std::thread;

/// Two branches, an output, a retry, a hand-over; every deed can be asked for, and leaves a line each
/// time that it is done.
const FORWARD: &str = r#"
cutover: v1
name: forward
steps:
  a:
    run: [sh, -c, "echo a >> log"]
    check: { run: [sh, -c, "grep -qsx a log || exit 1"] }
    undo: { none: nothing }
  b:
    needs: [a]
    run: [sh, -c, "echo b >> log; echo build 42"]
    check: { run: [sh, -c, "grep -qsx b log || exit 1; echo build 42"] }
    outputs: { build: "build ([0-9]+)" }
    undo: { none: nothing }
  c:
    needs: [a]
    run: [sh, -c, "test -e tried || { touch tried; exit 1; }; echo c >> log"]
    check: { run: [sh, -c, "grep -qsx c log || exit 1"] }
    retry: { attempts: 3, backoff: 1ms..2ms }
    undo: { none: nothing }
  d:
    needs: [b, c]
    run: [sh, -c, "echo d-${{ steps.b.outputs.build }} >> log"]
    check: { run: [sh, -c, "grep -qsx d-42 log || exit 1"] }
    undo: { none: nothing }
"#;

/// The last step fails: everything goes back. What is done is a file each.
const BACK: &str = r#"
cutover: v1
name: back
on_failure: rollback
steps:
  a:
    run: [sh, -c, "echo a >> log; touch a"]
    check: { run: [test, -e, a] }
    undo: { run: [sh, -c, "test ! -e b && test ! -e c && rm -f a"] }
  b:
    needs: [a]
    run: [sh, -c, "echo b >> log; touch b"]
    check: { run: [test, -e, b] }
    undo: { run: [rm, -f, b] }
  c:
    needs: [a]
    run: [sh, -c, "echo c >> log; touch c"]
    check: { run: [test, -e, c] }
    undo: { run: [rm, -f, c] }
  d:
    needs: [b, c]
    run: [sh, -c, "echo d >> log; exit 7"]
    check: { run: [sh, -c, "exit 1"] }
    undo: { run: [rm, -f, d] }
"#;

/// Where a call on the journal is struck.
const STRIKES: [(&str, &str); 6] = [
    ("pad", "kill-before"),
    ("pad", "kill-half"),
    ("write", "kill-before"),
    ("write", "kill-half"),
    ("sync", "kill-before"),
    ("sync", "kill-after"),
];

/// Runs under a rule. None where there is no shim.
fn struck(space: &Space, rule: &Rule, args: &[&str]) -> Option<Output> {
    Some(under(space, rule, args)?.output().expect("it starts"))
}

/// Runs to its end in a process that is killed at one place, or at one in each of several.
/// Answers how often it was killed and what the last process said; none where there is no shim.
fn killed_at(space: &Space, rules: &[Rule]) -> Option<(usize, Said)> {
    let mut kills = 0;
    for rule in rules {
        let has_begun = space.file("r/journal.jsonl").exists();
        let args: &[&str] =
            if has_begun { &["resume", "r"] } else { &["run", "p.yaml", "--run", "r"] };
        let output = struck(space, rule, args)?;
        if !was_killed(&output) {
            return Some((kills, Said::of(&output)));
        }
        kills += 1;
    }
    // Killed before the first record had its name: nothing was begun.
    let said = if space.file("r/journal.jsonl").exists() {
        space.run(&["resume", "r"])
    } else {
        space.run(&["run", "p.yaml", "--run", "r"])
    };
    Some((kills, said))
}

#[track_caller]
fn went_forward(space: &Space, said: Said, at: &[Rule]) {
    if said.code != 0 {
        panic!("{at:?}: exit {}\n{}\n{}", said.code, said.stdout, said.stderr);
    }
    let log = lines(space, "log");
    let once = BTreeMap::from([("a", 1), ("b", 1), ("c", 1), ("d-42", 1)]);
    assert_eq!(count(&log), once, "{at:?}: {log:?}");
    space.run(&["journal", "verify", "r"]).exits(0);
    space.run(&["resume", "r"]).exits(0);
    assert_eq!(lines(space, "log"), log, "a finished run does nothing");
}

#[track_caller]
fn went_back(space: &Space, said: Said, at: &[Rule]) {
    if said.code != 3 {
        panic!("{at:?}: exit {}\n{}\n{}", said.code, said.stdout, said.stderr);
    }
    for done in ["a", "b", "c", "d"] {
        assert!(!space.file(done).exists(), "{at:?}: `{done}` was not undone");
    }
    let log = lines(space, "log");
    // `d` fails, and what it does may be asked for again after doubt; the others end well.
    for done in ["a", "b", "c"] {
        assert_eq!(count(&log).get(done), Some(&1), "{at:?}: {log:?}");
    }
    space.run(&["journal", "verify", "r"]).exits(0);
    space.run(&["resume", "r"]).exits(3);
}

type Judge = fn(&Space, Said, &[Rule]);

/// Every call in turn, until a run has come to its end before it.
fn at_every_call(plan: &str, judge: Judge, op: &'static str, does: &str) -> u64 {
    for at in 1.. {
        let (space, rules) = (space(plan), [Rule::journal(op, at, does)]);
        let Some((kills, said)) = killed_at(&space, &rules) else { return 0 };
        judge(&space, said, &rules);
        if kills == 0 {
            return at - 1;
        }
        assert!(at < 500, "it never ends");
    }
    0
}

#[expect(clippy::print_stderr, reason = "how many kills there were is a result")]
fn at_every_call_of(plan: &str, judge: Judge) {
    let struck: Vec<u64> = thread::scope(|scope| {
        let strike = |(op, does)| scope.spawn(move || at_every_call(plan, judge, op, does));
        let threads: Vec<_> = STRIKES.into_iter().map(strike).collect();
        threads.into_iter().map(|thread| thread.join().expect("it holds")).collect()
    });
    eprintln!("killed and taken up again: {struck:?} times at {STRIKES:?}");
    // Padding is laid once in a run so small.
    let least = STRIKES.map(|(op, _)| if op == "pad" { 1 } else { 6 });
    assert!(struck.iter().zip(least).all(|(count, least)| *count == 0 || *count >= least));
}

#[test]
fn killed_at_every_write_and_sync_of_the_journal_a_run_comes_to_its_end_and_does_nothing_twice() {
    at_every_call_of(FORWARD, went_forward);
}

#[test]
fn killed_at_every_write_and_sync_of_the_journal_a_rollback_comes_to_its_end() {
    at_every_call_of(BACK, went_back);
}

/// The one who takes up is killed as well: at each of its own writes and syncs, after a kill in the
/// middle of the run; then once more.
#[test]
fn whoever_takes_a_run_up_may_be_killed_too() {
    let all = std::env::var("CUTOVER_KILLS").is_ok_and(|value| value == "all");
    for (plan, judge) in [(FORWARD, went_forward as Judge), (BACK, went_back as Judge)] {
        let firsts: &[u64] = if all { &[2, 3, 4, 5, 6, 7, 8, 9] } else { &[3, 6] };
        for (first, (op, does)) in firsts.iter().flat_map(|at| STRIKES.map(|how| (*at, how))) {
            for second in 1..if all { 10 } else { 4 } {
                let space = space(plan);
                let rules = [
                    Rule::journal("sync", first, "kill-before"),
                    Rule::journal(op, second, does),
                    Rule::journal("sync", 1, "kill-before"),
                ];
                let Some((_, said)) = killed_at(&space, &rules) else { return };
                judge(&space, said, &rules);
            }
        }
    }
}

/// `runner=kill@N`: each record of the run, by the program's own hand.
#[test]
fn killed_when_each_record_is_durable_a_run_comes_to_its_end() {
    for (plan, judge) in [(FORWARD, went_forward as Judge), (BACK, went_back as Judge)] {
        for record in 1.. {
            let space = space(plan);
            let fault = format!("runner=kill@{record}");
            let mut run = space.command(&["run", "p.yaml", "--run", "r", "--fault", &fault]);
            let output = run.output().expect("it starts");
            let killed = was_killed(&output);
            let said = if killed { space.run(&["resume", "r"]) } else { Said::of(&output) };
            judge(&space, said, &[]);
            if !killed {
                assert!(record > 12, "{record} records");
                break;
            }
        }
    }
}
