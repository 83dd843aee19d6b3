//! What people do by mistake: start a run twice, by other paths, from another view of the disk; edit
//! the plan while it runs; answer at once; approve what is over; move and copy what they should not.

use crate::space::{Said, Space, eventually};
use crate::tools::{
    MINUTE, RUN, began, count, lines, program, records, skipped, space, waiting_then_c, was_killed,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

#[track_caller]
fn all_once(space: &Space) {
    let log = lines(space, "log");
    assert_eq!(count(&log), BTreeMap::from([("a", 1), ("b", 1), ("c", 1)]), "{log:?}");
}

/// Killed when the record is durable; the run can be taken up.
fn killed_at(space: &Space, record: u32) {
    let fault = format!("runner=kill@{record}");
    let mut run = space.command(&RUN);
    let output = run.args(["--fault", &fault]).output().expect("it starts");
    assert!(was_killed(&output), "{output:?}");
}

#[test]
fn a_run_is_not_started_twice_by_whatever_path_or_view_of_the_disk() {
    let space = space(&waiting_then_c());
    let going = space.start(&RUN);
    began(&space);
    symlink(space.file("r"), space.file("linked")).expect("linked");
    symlink(space.path(), space.file("above")).expect("linked");
    let whole = space.file("r").display().to_string();
    let pid = going.pid().to_string();
    for path in ["r", "./r", "r/../r", &whole, "linked", "above/r"] {
        space.run(&["resume", path]).exits(2).says(&pid).says("is being run by");
        let again = space.run(&["run", "p.yaml", "--run", path]);
        assert_eq!(again.code, 2, "{path}: {again:?}");
    }
    let elsewhere = |namespaces: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces).arg("--").current_dir(space.path());
        unshare
    };
    for (namespaces, said) in
        [(&["-m"][..], pid.as_str()), (&["-m", "-p", "-f", "--mount-proc"], "is being run by")]
    {
        // A container or a bare change of root may allow none.
        if !elsewhere(namespaces).arg("true").output().is_ok_and(|it| it.status.success()) {
            skipped("no other namespaces can be made here (it takes root and `unshare`)");
            continue;
        }
        let mut other = elsewhere(namespaces);
        let other = other.arg(program()).args(["resume", "r"]).output().expect("it starts");
        Said::of(&other).exits(2).says(said);
    }
    space.write("go", "");
    going.end().exits(0);
    all_once(&space);
}

/// Both at the same moment, many times: one of them has the run.
#[test]
fn two_who_start_at_once_are_one_runner() {
    for round in 0..10 {
        let space = space(&waiting_then_c());
        space.write("go", "");
        let start = || {
            let mut run = space.command(&RUN);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        };
        let both = [start(), start()];
        let mut codes =
            both.map(|child| Said::of(&child.wait_with_output().expect("it ends")).code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 2], "round {round}");
        all_once(&space);
    }
    for round in 0..10 {
        let space = space(&waiting_then_c());
        space.write("go", "");
        killed_at(&space, 4);
        let start = || {
            let mut resume = space.command(&["resume", "r"]);
            resume.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        };
        let both = [start(), start()];
        let codes = both.map(|child| Said::of(&child.wait_with_output().expect("it ends")).code);
        // The second one may come when all is over.
        assert!(codes.contains(&0) && codes.iter().all(|code| [0, 2].contains(code)), "{round}");
        all_once(&space);
    }
}

#[test]
fn a_plan_that_is_edited_in_mid_run_changes_nothing_and_that_is_said() {
    let space = space(&waiting_then_c());
    space.write("estate.yaml", "estate: v1\nname: e\nsites: {}\n");
    let mut run = space.command(&RUN);
    let args = ["--estate", "estate.yaml", "--fault", "runner=kill@4"];
    assert!(was_killed(&run.args(args).output().expect("it starts")));
    space.write("p.yaml", &waiting_then_c().replace("echo c", "echo other"));
    space.write("estate.yaml", "no estate at all");
    space.write("go", "");
    let said = space.run(&["resume", "r"]).exits(0);
    let said = said.says("p.yaml` was changed since the run began");
    said.says("estate.yaml` was changed").says("the copy in its journal");
    all_once(&space);
    // A plan that is gone is not needed, and not spoken of.
    fs::remove_file(space.file("p.yaml")).expect("removed");
    let said = space.run(&["resume", "r"]).exits(0);
    assert!(!said.stderr.contains("p.yaml"), "{}", said.stderr);
}

/// One step fails; a person says what is to happen.
const ASKS: &str = r#"
cutover: v1
name: asks
steps:
  a:
    run: [sh, -c, "echo a >> log; test -e well"]
    undo: { run: [sh, -c, "echo undo-a >> log; touch undoing; while test ! -e go; do sleep 0.02; done"] }
  b: { needs: [a], run: [sh, -c, "echo b >> log"], undo: { run: [sh, -c, "echo undo-b >> log"] } }
"#;

#[test]
fn of_two_answers_to_one_question_the_first_counts_and_the_other_is_told() {
    let space = space(ASKS);
    let mut going = space.start(&["run", "p.yaml", "--run", "r", "--wait"]);
    going.until("starts    a");
    let question = eventually("a question", MINUTE, || {
        let status = space.run(&["status", "r", "--json"]).json();
        status["questions"][0]["question"].as_u64().map(|number| number.to_string())
    });
    space.write("well", "");
    let answer = || {
        let mut answer = space.command(&["answer", "r", &question, "retry"]);
        answer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let both =
        [answer(), answer()].map(|child| Said::of(&child.wait_with_output().expect("it ends")));
    let [mut first, mut second] = both;
    if first.code != 0 {
        std::mem::swap(&mut first, &mut second);
    }
    first.exits(0).says("recorded as");
    let second = second.exits(2);
    assert!(second.stderr.contains(&question), "{second:?}");
    going.end().exits(0);
    assert_eq!(lines(&space, "log"), ["a", "a", "b"]);
    let answers = records(&space, "r");
    let answers =
        answers.iter().filter(|it| !it["event"]["requested"]["request"]["answer"].is_null());
    assert_eq!(answers.count(), 1);
}

#[test]
fn an_abort_in_a_rollback_ends_it_as_stuck_and_undoes_no_more() {
    let space = space(ASKS);
    space.write("well", "");
    let plan = ASKS.replace(
        "b: { needs: [a], run: [sh, -c, \"echo b >> log\"]",
        "b: { needs: [a], run: [sh, -c, \"echo b >> log; exit 1\"], on_failure: rollback",
    );
    space.write("p.yaml", &plan);
    let going = space.start(&["run", "p.yaml", "--run", "r"]);
    eventually("the undo of `a`", MINUTE, || space.file("undoing").exists().then_some(()));
    space.run(&["abort", "r", "--reason", "enough"]).exits(0);
    going.end().exits(4);
    space.run(&["status", "r"]).exits(0).says("stuck");
    for late in [&["release", "r"][..], &["rollback", "r"], &["retry", "r", "a"], &["abort", "r"]] {
        let said = space.run(late);
        assert_eq!(said.code, 2, "{late:?}: {said:?}");
        assert!(said.stderr.contains("ended"), "{late:?}: {said:?}");
    }
    space.run(&["resume", "r"]).exits(4);
    assert_eq!(lines(&space, "log"), ["a", "b", "undo-b", "undo-a"]);
    space.run(&["journal", "verify", "r"]).exits(0).says("sealed");
}

#[test]
fn who_approves_after_an_abort_is_refused_and_told_why() {
    let me = Said::of(&Command::new("id").arg("-un").output().expect("`id`")).stdout;
    let space = space(
        "cutover: v1\nname: gate\nsteps:\n  go: { approve: { by: [ops], quorum: 1, ask: \"Go?\" } }\n  b: { needs: [go], run: [sh, -c, \"echo b >> log\"], undo: { none: nothing } }\n",
    );
    let me = me.trim();
    space.write(
        "estate.yaml",
        &format!("estate: v1\nname: e\nsites: {{}}\npeople: {{ ops: [{me}] }}\n"),
    );
    let mut going = space.start(&["run", "p.yaml", "--estate", "estate.yaml", "--run", "r"]);
    going.until("opened");
    eventually("it listens", MINUTE, || {
        (space.run(&["abort", "r", "--reason", "not today"]).code == 0).then_some(())
    });
    going.end().exits(4);
    space.run(&["approve", "r", "go"]).exits(2).says("ended");
    space.run(&["resume", "r"]).exits(4);
    space.run(&["approve", "r", "go"]).exits(2).says("ended");
    assert_eq!(lines(&space, "log"), [""; 0]);
}

#[test]
fn a_moved_run_goes_on_and_a_copied_one_asks() {
    let space = space(&waiting_then_c());
    space.write("go", "");
    killed_at(&space, 4);
    fs::rename(space.file("r"), space.file("moved")).expect("moved");
    let copy = Command::new("cp").args(["-a", "moved", "copy"]).current_dir(space.path()).status();
    assert!(copy.expect("`cp`").success());
    let before = fs::read(space.file("copy/journal.jsonl")).expect("a journal");
    let moved = space.file("r").display().to_string();
    // The lock in both says where it was run last: `r`, which is gone.
    let said = space.run(&["resume", "copy"]).exits(2).says("is a copy of").says(&moved);
    assert!(said.stderr.contains("remove `"), "{}", said.stderr);
    space.run(&["hold", "copy"]).exits(2).says("is a copy of");
    assert_eq!(fs::read(space.file("copy/journal.jsonl")).expect("a journal"), before);
    assert_eq!(lines(&space, "log"), ["a"]);
    space.run(&["resume", "moved"]).exits(0);
    all_once(&space);
    // Now the original is there, and over: the copy would do it all again.
    space.run(&["resume", "copy"]).exits(2).says("is a copy of");
    all_once(&space);
    space.run(&["status", "copy"]).exits(0);
}

/// A journal that a newer program wrote is not read halfway; those of every older one are.
#[test]
fn journals_of_other_versions_are_read_or_refused_as_a_whole() {
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    let mut seen = BTreeMap::from([("old", 0), ("newer", 0)]);
    for entry in fs::read_dir(kept).expect("kept journals") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let space = Space::in_memory();
        fs::create_dir(space.file("r")).expect("made");
        fs::copy(&path, space.file("r/journal.jsonl")).expect("copied");
        let bytes = fs::read(&path).expect("kept");
        let newer = name.starts_with("newer-");
        for command in [
            &["resume", "r"][..],
            &["status", "r"],
            &["journal", "verify", "r"],
            &["report", "r"],
            &["hold", "r"],
        ] {
            let said = space.run(command);
            if newer {
                assert_eq!(said.code, 2, "{name} {command:?}: {said:?}");
                assert!(said.stderr.contains("journal.jsonl"), "{name} {command:?}: {said:?}");
            } else if command[0] != "hold" {
                // All of them are over: an end has its exit code.
                assert!([0, 3, 4].contains(&said.code), "{name} {command:?}: {said:?}");
            }
            let now = fs::read(space.file("r/journal.jsonl")).expect("a journal");
            assert_eq!(now, bytes, "{name} {command:?} wrote");
        }
        *seen.entry(if newer { "newer" } else { "old" }).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count >= 2), "{seen:?}");
}
