//! Signals, frozen processes, lost terminals, clocks that jump.

use crate::space::{Going, Space, eventually};
use crate::tools::{
    MINUTE, RUN, began, count, has, lines, skipped, space, waiting_then_c, with_clock,
};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

#[track_caller]
fn all_once(space: &Space, what: &str) {
    let log = lines(space, "log");
    assert_eq!(count(&log), BTreeMap::from([("a", 1), ("b", 1), ("c", 1)]), "{what}: {log:?}");
    space.run(&["journal", "verify", "r"]).exits(0);
}

/// Sends the signals while `b` runs. Each is seen before the next is sent.
fn struck(signals: &[(Signal, &str)]) -> (Space, Going) {
    let space = space(&waiting_then_c());
    let going = space.start(&RUN);
    began(&space);
    let log = space.file("stderr.log");
    for (signal, said) in signals {
        going.signal(*signal);
        eventually(said, MINUTE, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains(said).then_some(())
        });
    }
    (space, going)
}

const ONCE: &str = "what runs is finished";
const TWICE: &str = "interrupted again: what runs is ended";

#[test]
fn one_interrupt_lets_what_runs_finish_and_the_run_can_be_taken_up() {
    let (space, going) = struck(&[(Signal::INT, ONCE)]);
    space.write("go", "");
    going.end().exits(5).says("cutover resume r");
    assert_eq!(lines(&space, "log"), ["a", "b"]);
    space.run(&["resume", "r"]).exits(0);
    all_once(&space, "one interrupt");
}

#[test]
fn a_second_interrupt_and_a_termination_end_what_runs() {
    let twice = [(Signal::INT, ONCE), (Signal::INT, TWICE)];
    let killed = [(Signal::TERM, TWICE)];
    let both = [(Signal::INT, ONCE), (Signal::TERM, TWICE)];
    for signals in [&twice[..], &killed, &both] {
        let (space, going) = struck(signals);
        going.end().exits(5).says("cutover resume r");
        assert_eq!(lines(&space, "log"), ["a"], "`b` was ended: {signals:?}");
        space.write("go", "");
        let said = space.run(&["resume", "r"]);
        // `b` was ended half-done: its check says that it is not done, so it is done again.
        assert_eq!(said.code, 0, "{signals:?}: {said:?}");
        all_once(&space, &format!("{signals:?}"));
    }
}

#[test]
fn more_signals_than_two_are_no_more_than_two() {
    let (space, going) = struck(&[(Signal::INT, ONCE), (Signal::INT, TWICE)]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // It may have ended by now.
        let pid = i32::try_from(going.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process(pid.expect("a pid"), signal);
    }
    going.end().exits(5);
    space.write("go", "");
    space.run(&["resume", "r"]).exits(0);
    all_once(&space, "many");
}

#[test]
fn a_hangup_stops_nothing_however_often() {
    let said = "the terminal is gone; the run goes on";
    let (space, going) = struck(&[(Signal::HUP, said), (Signal::HUP, said)]);
    space.write("go", "");
    going.end().exits(0);
    all_once(&space, "hangup");
}

#[test]
fn a_frozen_runner_keeps_its_run_and_goes_on_when_it_thaws() {
    let space = space(&waiting_then_c());
    let going = space.start(&RUN);
    began(&space);
    going.signal(Signal::STOP);
    let pid = going.pid().to_string();
    space.run(&["resume", "r"]).exits(2).says(&pid);
    space.write("go", "");
    eventually("`b` ends", MINUTE, || lines(&space, "log").contains(&"b".into()).then_some(()));
    space.run(&["status", "r"]).exits(0);
    assert_eq!(lines(&space, "log"), ["a", "b"], "nothing starts while it is frozen");
    going.signal(Signal::CONT);
    going.end().exits(0);
    all_once(&space, "frozen");
}

/// Its terminal goes away: it is hung up on, and every write to it fails.
#[test]
fn a_lost_terminal_does_not_stop_a_run() {
    if !has("script") {
        return skipped("there is no `script` to have a terminal of");
    }
    let space = space(&waiting_then_c());
    let program = crate::tools::program();
    let line = format!("'{}' {}", program.to_string_lossy(), RUN.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-f", "-c", &line, "/dev/null"]).current_dir(space.path());
    let terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut terminal = terminal.expect("`script` starts");
    began(&space);
    // The screen draws bars by then, four times a second.
    eventually("the run is there", MINUTE, || {
        (space.run(&["hold", "r", "--reason", "a look"]).code == 0).then_some(())
    });
    terminal.kill().expect("it is killed");
    terminal.wait().expect("it is gone");
    space.run(&["release", "r"]).exits(0);
    space.write("go", "");
    eventually("the run is closed", MINUTE, || {
        let status = space.run(&["status", "r", "--json"]).json();
        (status["outcome"] == "completed").then_some(())
    });
    eventually("its runner is gone", MINUTE, || {
        (space.run(&["resume", "r"]).code == 0).then_some(())
    });
    all_once(&space, "terminal");
}

#[test]
fn readers_that_go_away_end_nothing() {
    let space = space(&waiting_then_c());
    space.write("go", "");
    let mut run = space.command(&RUN);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    all_once(&space, "pipes");
}

/// The wall clock is an hour wrong from the middle of a step on.
#[test]
fn a_clock_that_jumps_is_said_and_changes_nothing() {
    for (by, said) in [("3600", "jumped forward"), ("-3600", "jumped back")] {
        let space = space(&waiting_then_c());
        let Some(run) = with_clock(&space, &space.file("clock"), &RUN) else { return };
        let going = space.go(run);
        began(&space);
        // In one piece: half a number is another jump.
        space.write("clock.new", by);
        std::fs::rename(space.file("clock.new"), space.file("clock")).expect("renamed");
        space.write("go", "");
        going.end().exits(0).says(said);
        all_once(&space, said);
        // Taken up by another hour: a backoff or a timer that was waited for is none to wait for.
        space.run(&["resume", "r"]).exits(0);
    }
}
