//! The command line: the binary itself, whole answers and exit codes.

#[path = "cli/author.rs"]
mod author;
#[path = "cli/https.rs"]
mod https;
#[cfg(feature = "lab")]
#[path = "cli/preflight.rs"]
mod preflight;
#[expect(dead_code, reason = "each test binary uses a part of it")]
mod space;

use space::{Space, eventually};
use std::fs;
use std::time::Duration;

const FIRST: &str = include_str!("../plans/first.yaml");
const SECOND: Duration = Duration::from_secs(1);

fn me() -> String {
    let output = std::process::Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_first_taste_runs_and_its_journal_verifies() {
    let space = Space::new();
    space.write("first.yaml", FIRST);
    let said = space.run(&["run", "first.yaml", "--run", "r"]).exits(0);
    assert_eq!(said.stdout.lines().next(), Some("r"), "the run's directory is printed first");
    space.run(&["journal", "verify", "r"]).exits(0);
    let report = space.run(&["report", "r"]).exits(0).json();
    assert_eq!(report["outcome"], "completed");
    assert_eq!(report["steps"]["done"], 3);
    space.run(&["resume", "r"]).exits(0);
}

#[test]
fn outputs_reach_the_steps_that_need_them() {
    let space = Space::new();
    space.write("first.yaml", FIRST);
    space.run(&["run", "first.yaml", "--run", "r"]).exits(0).says("boxes=42");
    let attempts = walk(&space.file("r/attempts"));
    assert!(attempts.contains("42 boxes have arrived"), "{attempts}");
}

/// Every readable file below a directory, one after the other.
fn walk(dir: &std::path::Path) -> String {
    let mut out = String::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            queue.extend(
                fs::read_dir(&path).expect("readable").map(|entry| entry.expect("entry").path()),
            );
        } else {
            out.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
    out
}

#[test]
fn what_cannot_be_used_is_said_with_its_place_and_exit_2() {
    let space = Space::new();
    space.run(&[]).exits(2);
    space.run(&["frobnicate"]).exits(2);
    space.run(&["check", "absent.yaml"]).exits(2).says("absent.yaml");
    space.run(&["check", "."]).exits(2);
    space.write("empty.yaml", "");
    space.run(&["check", "empty.yaml"]).exits(2).says("empty.yaml");
    fs::write(space.file("bytes.yaml"), [0xff, 0xfe, 0, 1, 2]).expect("written");
    space.run(&["check", "bytes.yaml"]).exits(2).says("bytes.yaml");
    space.write("typo.yaml", "cutover: v1\nname: x\nsteps:\n  a:\n    run: [true]\n    ned: [b]\n");
    space.run(&["check", "typo.yaml"]).exits(2).says("typo.yaml:6:5").says("needs");
    space.run(&["run", "typo.yaml"]).exits(2).says("typo.yaml:6:5");
    assert!(!space.file("runs").exists(), "a refused plan leaves nothing behind");
    space.run(&["status", "nowhere"]).exits(2).says("nowhere");
    space.run(&["status"]).exits(2).says("runs");
    space.run(&["hold", "nowhere"]).exits(2).says("nowhere");
}

#[test]
fn a_failure_rolls_back_in_reverse_and_exits_with_3() {
    let space = Space::new();
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: back
on_failure: rollback
steps:
  a: { run: [sh, -c, "echo do-a >> log"], undo: { run: [sh, -c, "echo undo-a >> log"] } }
  b: { needs: [a], run: [sh, -c, "echo do-b >> log"], undo: { run: [sh, -c, "echo undo-b >> log"] } }
  c: { needs: [b], run: [sh, -c, "echo do-c >> log; exit 7"], undo: { run: [sh, -c, "echo undo-c >> log"] } }
  d: { needs: [c], run: [sh, -c, "echo do-d >> log"], undo: { run: [sh, -c, "echo undo-d >> log"] } }
"#,
    );
    space.run(&["run", "p.yaml", "--run", "r"]).exits(3);
    let log = space.read("log");
    let done: Vec<_> = log.lines().collect();
    assert_eq!(done, ["do-a", "do-b", "do-c", "undo-c", "undo-b", "undo-a"]);
    let report = space.run(&["report", "r"]).exits(0).json();
    assert_eq!(report["outcome"], "rolled_back");
    space.run(&["resume", "r"]).exits(3);
}

#[test]
fn a_failure_that_holds_exits_with_4_and_goes_on_after_an_answer() {
    let space = Space::new();
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: hold
steps:
  a: { run: [sh, -c, "test -e ready && echo a >> log"], undo: { none: nothing } }
  b: { needs: [a], run: [sh, -c, "echo b >> log"], undo: { none: nothing } }
"#,
    );
    space.run(&["run", "p.yaml", "--run", "r"]).exits(4).says("a");
    space.run(&["resume", "r"]).exits(4);
    space.write("ready", "");
    let mut going = space.start(&["resume", "r", "--wait"]);
    going.until("opened it");
    eventually("the socket answers", 10 * SECOND, || {
        (space.run(&["retry", "r", "a"]).code == 0).then_some(())
    });
    going.end().exits(0);
    assert_eq!(space.read("log"), "a\nb\n");
}

#[test]
fn a_step_that_was_skipped_stays_out_when_the_run_is_taken_up_again() {
    let space = Space::new();
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: skip
steps:
  a: { run: [sh, -c, "test -e ready && echo a >> log"], undo: { none: nothing } }
  b: { needs: [a], run: [sh, -c, "echo build 7; echo b >> log"], outputs: { n: "build ([0-9]+)" }, undo: { none: nothing } }
  c: { needs: [b], run: [sh, -c, "echo c >> log"], undo: { none: nothing } }
  d: { needs: [b], run: [echo, "${{ steps.b.outputs.n }}"], undo: { none: nothing } }
"#,
    );
    space.run(&["run", "p.yaml", "--run", "r"]).exits(4).says("a");
    // Nobody runs it now: what people ask is recorded all the same.
    space.run(&["skip", "r", "a", "--reason", "no"]).exits(2).says("has begun");
    space.run(&["skip", "r", "b", "--reason", "no"]).exits(2).says("looks up an output of `b`");
    space.run(&["skip", "r", "d", "--reason", "not today"]).exits(0);
    space.run(&["skip", "r", "b", "--reason", "not today"]).exits(0);
    space.run(&["skip", "r", "b", "--reason", "again"]).exits(2).says("out already");
    space.write("ready", "");
    space.run(&["retry", "r", "a"]).exits(0).says("`cutover resume` acts on it");
    space.run(&["resume", "r"]).exits(0);
    assert_eq!(space.read("log"), "a\nc\n");
    space.run(&["journal", "verify", "r"]).exits(0);
}

#[test]
fn a_killed_runner_resumes_and_no_finished_step_runs_twice() {
    let space = Space::new();
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: kill
steps:
  a: { run: [sh, -c, "echo a >> log"], undo: { none: nothing } }
  b:
    needs: [a]
    run: [sh, -c, "echo b >> log; while test ! -e go; do sleep 0.05; done"]
    check: { run: [test, -e, go] }
    undo: { none: nothing }
  c: { needs: [b], run: [sh, -c, "echo c >> log"], undo: { none: nothing } }
"#,
    );
    let mut going = space.start(&["run", "p.yaml", "--run", "r"]);
    going.until("starts    b");
    eventually("b acts", 10 * SECOND, || {
        fs::read_to_string(space.file("log")).is_ok_and(|log| log.contains('b')).then_some(())
    });
    going.signal(rustix::process::Signal::KILL);
    going.end();
    space.write("go", "");
    space.run(&["resume", "r"]).exits(0).says("c");
    assert_eq!(space.read("log"), "a\nb\nc\n", "b's check said done, so it was not repeated");
    space.run(&["journal", "verify", "r"]).exits(0);
}

#[test]
fn a_second_runner_is_refused_while_the_first_lives() {
    let space = Space::new();
    space.write(
        "p.yaml",
        "cutover: v1\nname: two\nsteps:\n  a:\n    run: [sh, -c, 'while test ! -e go; do sleep 0.05; done']\n    undo: { none: nothing }\n",
    );
    let mut going = space.start(&["run", "p.yaml", "--run", "r"]);
    going.until("starts    a");
    let pid = going.pid().to_string();
    space.run(&["resume", "r"]).exits(2).says(&pid);
    space.run(&["run", "p.yaml", "--run", "r"]).exits(2);
    space.write("go", "");
    going.end().exits(0);
}

#[test]
fn a_changed_journal_is_refused_with_its_line_and_a_torn_tail_is_cut() {
    let space = Space::new();
    space.write("first.yaml", FIRST);
    space.run(&["run", "first.yaml", "--run", "r"]).exits(0);
    let whole = fs::read(space.file("r/journal.jsonl")).expect("a journal");
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();

    let mut flipped = whole.clone();
    let at = lines[0].len() + lines[1].len() + lines[2].len() / 2;
    flipped[at] ^= 1;
    fs::write(space.file("r/journal.jsonl"), &flipped).expect("written");
    space.run(&["journal", "verify", "r"]).exits(2).says(":3");
    space.run(&["resume", "r"]).exits(2).says(":3");

    let torn = &whole[..whole.len() - lines[lines.len() - 1].len() / 2];
    fs::write(space.file("r/journal.jsonl"), torn).expect("written");
    space.run(&["journal", "verify", "r"]).exits(2);
    space.run(&["resume", "r"]).exits(0).says("torn");
    space.run(&["journal", "verify", "r"]).exits(0);
}

#[test]
fn the_first_interrupt_lets_running_steps_finish() {
    let space = Space::new();
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: interrupt
steps:
  a: { run: [sh, -c, "while test ! -e go; do sleep 0.05; done; echo a >> log"], undo: { none: nothing } }
  b: { needs: [a], run: [sh, -c, "echo b >> log"], undo: { none: nothing } }
"#,
    );
    let mut going = space.start(&["run", "p.yaml", "--run", "r"]);
    going.until("starts    a");
    going.signal(rustix::process::Signal::INT);
    going.until("holds the run");
    space.write("go", "");
    going.end().exits(5);
    assert_eq!(space.read("log"), "a\n");
    space.run(&["resume", "r"]).exits(0);
    assert_eq!(space.read("log"), "a\nb\n");
}

#[test]
fn gates_and_manual_steps_wait_for_people_of_their_groups() {
    let space = Space::new();
    space.write(
        "estate.yaml",
        &format!(
            "estate: v1\nname: desk\nsites: {{}}\npeople:\n  ops: [{me}]\n  others: [nobody-at-all]\n",
            me = me()
        ),
    );
    space.write(
        "p.yaml",
        r#"
cutover: v1
name: people
steps:
  a: { do: { manual: { by: [ops], how: "Turn the key.", evidence: required } }, undo: { none: nothing } }
  go: { needs: [a], approve: { by: [ops], quorum: 1, ask: "Go?" } }
  b: { needs: [go], run: [sh, -c, "echo b >> log"], undo: { none: nothing } }
"#,
    );
    let mut going = space.start(&["run", "p.yaml", "--estate", "estate.yaml", "--run", "r"]);
    going.until("starts    a");
    space.run(&["approve", "r", "go"]).exits(2).says("go");
    space.run(&["claim", "r", "a"]).exits(0);
    space.run(&["done", "r", "a"]).exits(2).says("evidence");
    space.run(&["done", "r", "a", "--evidence", "photo 7"]).exits(0);
    going.until("has done a");
    space.run(&["approve", "r", "go", "--note", "all green"]).exits(0);
    space.run(&["approve", "r", "go"]);
    going.end().exits(0);
    assert_eq!(space.read("log"), "b\n");
    let shown = space.run(&["journal", "show", "r"]).exits(0);
    assert!(shown.stdout.contains(&format!("{} ", me())), "{}", shown.stdout);
}

#[test]
fn status_and_graph_are_readable() {
    let space = Space::new();
    space.write("first.yaml", FIRST);
    space.run(&["run", "first.yaml", "--run", "r"]).exits(0);
    space.run(&["status", "r"]).exits(0).says("completed");
    let status = space.run(&["status", "r", "--json"]).exits(0).json();
    assert_eq!(status["outcome"], "completed");
    space.run(&["watch", "r"]).exits(0).says("closed");
    space.run(&["graph", "first.yaml"]).exits(0).says("greet");
    space.run(&["graph", "first.yaml", "--format", "dot"]).exits(0).says("digraph");
    space.run(&["graph", "first.yaml", "--format", "mermaid"]).exits(0).says("flowchart TB");
    let svg = space.run(&["graph", "first.yaml", "--format", "svg", "--expand"]).exits(0);
    assert!(svg.stdout.starts_with("<svg ") && svg.stdout.ends_with("</svg>\n"));
    let json = space.run(&["check", "first.yaml", "--json"]).exits(0).json();
    assert_eq!((&json["ok"], &json["definitions"]), (&true.into(), &3.into()));
    space.run(&["completions", "bash"]).exits(0).says("cutover");
    space.run(&["man"]).exits(0).says("cutover");
}

#[test]
fn the_plan_in_the_readme_is_proved() {
    let space = Space::new();
    let readme = include_str!("../README.md");
    let begin = readme.find("cutover: v1").expect("a plan");
    let end = begin + readme[begin..].find("```").expect("its end");
    space.write("plan.yaml", &readme[begin..end]);
    let said = space.run(&["check", "plan.yaml"]).exits(0).says("proved");
    assert_eq!(said.stderr, "", "not even a warning");
}

#[test]
fn the_plan_of_the_day_is_proved_without_a_warning_and_not_without_serial() {
    let space = Space::new();
    let plan = include_str!("../plans/2019-04-06.yaml");
    space.write("plan.yaml", plan);
    let said = space.run(&["check", "plan.yaml"]).exits(0).says("for each of 6 lines");
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    let without = plan.replace(", serial: true }", " }");
    assert_ne!(without, plan);
    space.write("plan.yaml", &without);
    let said = space.run(&["check", "plan.yaml"]).exits(2);
    said.says("`upgrade-ocsp[ocsp-1]`, `upgrade-ocsp[ocsp-2]` are under way").says("serial: true");
}

#[test]
fn check_takes_durations_and_failures_from_earlier_runs() {
    let space = Space::new();
    let steps = r#"
on_failure: rollback
steps:
  a: { run: [true], undo: { none: nothing }, estimate: 1m }
  b: { needs: [a], run: [false], undo: { none: nothing }, estimate: 1m }
  c: { needs: [b], run: [true], undo: { none: nothing }, estimate: 5m..9m }
"#;
    space.write("p.yaml", &format!("cutover: v1\nname: p{steps}"));
    space.run(&["run", "p.yaml", "--run", "r"]).exits(3);
    let window = "window: { opens: \"2030-01-01T08:00[UTC]\", closes: \"2030-01-01T09:00[UTC]\" }";
    space.write("plan.yaml", &format!("cutover: v1\nname: plan\n{window}{steps}"));

    let json = space.run(&["check", "plan.yaml", "--json"]).exits(0).json();
    let outlook = &json["outlook"];
    assert_eq!(outlook["window"]["completed"], 10_000, "an estimate never fails: {outlook}");
    assert_eq!(
        (&outlook["window"]["measured"], &outlook["expected_s"]),
        (&false.into(), &540.into())
    );

    let json = space.run(&["check", "plan.yaml", "--json", "--learn", "r"]).exits(0).json();
    let outlook = &json["outlook"];
    // `b` failed in the only attempt that was seen.
    assert_eq!(outlook["window"]["rolled_back"], 10_000, "{outlook}");
    let sources = &outlook["sources"];
    assert_eq!((&sources["measured"], &sources["estimated"]), (&1.into(), &2.into()), "{sources}");
    assert_eq!(
        (&sources["runs"][0]["run"], &sources["runs"][0]["durations"]),
        (&"r".into(), &1.into())
    );

    space.run(&["check", "plan.yaml", "--learn", "r"]).exits(0).says("1 from `r`").says("odds");
    space.run(&["check", "plan.yaml", "--learn", "r", "./r"]).exits(2).says("named twice");
    space.run(&["check", "plan.yaml", "--learn", "nowhere"]).exits(2).says("nowhere");
}
