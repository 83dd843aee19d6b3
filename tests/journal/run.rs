//! From a directory to the run: resumed, followed, verified, and refused when it is not what was
//! written.

use crate::common::{PLAN, begin, drive, flush, fresh, graph, header, mara, now, say, well};
use cutover::event::{Ending, Event, Job, Outcome, Record, Request, StepId, Way};
use cutover::failure::Failure;
use cutover::journal::chain::Head;
use cutover::journal::codec::Wire;
use cutover::journal::replay::{self, Follow};
use cutover::journal::rundir::RunDir;
use cutover::journal::{Journal, JournalError};
use cutover::run::Status;
use jiff::Timestamp;
use std::fs;
use std::path::Path;

/// A finished run's journal: its bytes, and where each line begins.
fn story() -> (Vec<u8>, Vec<usize>) {
    let (_temp, dir) = fresh();
    let (mut journal, mut run) = begin(&dir);
    flush(&mut journal).expect("durable");
    drive(&mut journal, &mut run, &well);
    assert_eq!(run.outcome(), Some(Outcome::Completed));
    drop(journal);
    let bytes = fs::read(dir.journal()).expect("read");
    let starts = starts(&bytes);
    assert_eq!(starts.len(), 9, "begun, opened, three starts and ends, closed");
    (bytes, starts)
}

fn starts(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let mut starts: Vec<usize> = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
    starts.pop();
    starts
}

/// A run directory with this journal and nothing else.
fn with(bytes: &[u8]) -> (tempfile::TempDir, RunDir) {
    let (temp, dir) = fresh();
    fs::create_dir(dir.path()).expect("made");
    fs::write(dir.journal(), bytes).expect("written");
    (temp, dir)
}

fn damage(error: JournalError) -> (u64, u64, String) {
    match error {
        JournalError::Damaged { damage, .. } => (damage.line, damage.byte, damage.why),
        other => panic!("not damaged: {other:?}"),
    }
}

/// Reads, verifies and resumes: all three must find the same damage and touch nothing.
fn refused(bytes: &[u8]) -> (u64, u64, String) {
    let (_temp, dir) = with(bytes);
    let flaw = replay::verify(&dir).expect("readable").flaw.expect("a flaw");
    let found = damage(replay::read(&dir).expect_err("refused"));
    assert_eq!((found.0, found.1), (flaw.line, flaw.byte));
    assert_eq!(damage(Journal::resume(&dir, "jo", now()).expect_err("refused")), found);
    assert_eq!(fs::read(dir.journal()).expect("read"), bytes, "nothing was touched");
    found
}

#[test]
fn a_finished_run_is_read_verified_and_not_taken_up_again() {
    let (bytes, _) = story();
    let (_temp, dir) = with(&bytes);
    let verified = replay::verify(&dir).expect("readable");
    assert_eq!((verified.records, verified.flaw), (9, None));
    assert_eq!(verified.bytes, bytes.len() as u64);
    assert!(
        String::from_utf8_lossy(&bytes).trim_end().ends_with(&format!("{}\"}}", verified.head))
    );
    let resumed = Journal::resume(&dir, "jo", now()).expect("read");
    assert!(resumed.journal.is_none() && resumed.opened.is_none() && resumed.cut.is_none());
    assert_eq!(resumed.replayed.run.outcome(), Some(Outcome::Completed));
    assert_eq!(fs::read(dir.journal()).expect("read"), bytes, "nothing was added");
    let boxes = resumed.replayed.run.outputs(StepId(1)).expect("done");
    assert_eq!(boxes.get("boxes").map(String::as_str), Some("42"));
    let counts = replay::read(&dir).expect("readable").history.step_counts(&resumed.replayed.run);
    assert_eq!((counts.total, counts.done, counts.undone, counts.failed), (3, 3, 0, 0));
}

#[test]
fn a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_record() {
    let (bytes, starts) = story();
    for cut in starts[1]..bytes.len() {
        let (_temp, dir) = with(&bytes[..cut]);
        let whole = starts.iter().filter(|start| **start <= cut).count() - 1;
        let torn = !starts.contains(&cut);
        let mut follow = Follow::open(&dir).expect("readable");
        let mut read = 0;
        while follow.next().expect("intact").is_some() {
            read += 1;
        }
        assert_eq!(read, whole, "cut at {cut}");
        assert_eq!(follow.torn().map(|torn| torn.line), torn.then_some(whole as u64 + 1));
        let flaw = replay::verify(&dir).expect("readable").flaw;
        assert_eq!(flaw.map(|flaw| flaw.line), torn.then_some(whole as u64 + 1));
        assert_eq!(fs::metadata(dir.journal()).expect("there").len(), cut as u64);
    }
    for cut in 0..starts[1] {
        // The first record gets its name when it is durable: a crash never tears it.
        let (_temp, dir) = with(&bytes[..cut]);
        assert_eq!(damage(replay::read(&dir).expect_err("refused")).0, 1);
    }
}

#[test]
fn a_torn_tail_is_cut_kept_aside_said_and_gone_on_from() {
    let (bytes, starts) = story();
    for cut in (starts[2]..bytes.len()).step_by(97).chain([starts[4], bytes.len() - 1]) {
        let (_temp, dir) = with(&bytes[..cut]);
        let whole = starts.iter().rfind(|start| **start <= cut).copied().expect("some");
        let resumed = Journal::resume(&dir, "jo", now()).expect("resumed");
        let torn = &bytes[whole..cut];
        assert_eq!(resumed.cut.as_ref().map_or(0, |cut| cut.bytes), torn.len() as u64);
        if let Some(cut) = &resumed.cut {
            assert_eq!(fs::read(&cut.kept).expect("kept"), torn);
            assert_eq!(cut.damage.byte, whole as u64);
        }
        let opened = resumed.opened.expect("said");
        let Event::Opened { epoch, cut: said, .. } = opened.event else { panic!("{opened:?}") };
        assert_eq!((epoch, said), (2, torn.len() as u64));
        drop(resumed.journal);
        let replayed = replay::read(&dir).expect("readable");
        assert_eq!(replayed.head.seq, opened.seq);
        assert_eq!(replay::verify(&dir).expect("readable").flaw, None);
        assert_eq!(replayed.history.openings().len(), 2);
    }
}

#[test]
fn a_tail_torn_in_padding_is_cut_and_the_padding_is_no_damage() {
    let (bytes, starts) = story();
    for cut in (starts[2]..bytes.len()).step_by(97).chain([starts[4], starts[5] - 1]) {
        let mut padded = bytes[..cut].to_vec();
        padded.resize(cut + (70 << 10), b'\n');
        let (_temp, dir) = with(&padded);
        // The newline that a record lacks is one of the padding.
        let whole = starts.iter().rfind(|start| **start <= cut + 1).copied().expect("some");
        let flaw = replay::verify(&dir).expect("readable").flaw;
        assert_eq!(flaw.map(|flaw| flaw.byte), (whole < cut).then_some(whole as u64));
        let resumed = Journal::resume(&dir, "jo", now()).expect("resumed");
        let kept = resumed.cut.as_ref().map(|cut| fs::read(&cut.kept).expect("kept"));
        let torn = (whole < cut).then(|| [&bytes[whole..cut], b"\n"].concat());
        assert_eq!(kept, torn, "cut at {cut}");
        let opened = resumed.opened.expect("said");
        drop(resumed.journal);
        assert_eq!(replay::read(&dir).expect("readable").head.seq, opened.seq);
        assert_eq!(replay::verify(&dir).expect("readable").flaw, None);
    }
}

#[test]
fn a_flipped_bit_is_refused_with_its_line_or_cut_where_nothing_calls_it_durable() {
    let (bytes, starts) = story();
    let last = *starts.last().expect("some");
    for at in (0..bytes.len()).filter(|at| at % 29 == 0 || starts.contains(&(at + 1))) {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        let line = starts.iter().filter(|start| **start <= at).count();
        if at < last {
            let (found, byte, why) = refused(&broken);
            assert_eq!((found, byte), (line as u64, starts[line - 1] as u64), "byte {at}: {why}");
        } else {
            let (_temp, dir) = with(&broken);
            let resumed = Journal::resume(&dir, "jo", now()).expect("resumed");
            assert_eq!(resumed.cut.map(|cut| cut.bytes), Some((bytes.len() - last) as u64));
        }
    }
}

#[test]
fn lines_doubled_swapped_taken_out_or_put_in_are_refused_with_their_place() {
    let (bytes, starts) = story();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let made =
        |order: &[usize]| order.iter().flat_map(|at| lines[*at].to_vec()).collect::<Vec<_>>();
    for (what, order, line) in [
        ("doubled", vec![0, 1, 2, 2, 3, 4, 5, 6, 7, 8], 4),
        ("doubled at the end", vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 8], 10),
        ("swapped", vec![0, 1, 3, 2, 4, 5, 6, 7, 8], 3),
        ("swapped at the end", vec![0, 1, 2, 3, 4, 5, 6, 8, 7], 8),
        ("taken out", vec![0, 1, 2, 4, 5, 6, 7, 8], 4),
        ("headless", vec![1, 2], 1),
        ("begun twice", vec![0, 0], 2),
    ] {
        assert_eq!(refused(&made(&order)).0, line, "{what}");
    }
    // A record of another run, intact in itself.
    let other = {
        let (_temp, dir) = fresh();
        let graph = graph();
        let header = cutover::event::Header { run: "another".into(), ..header(&graph) };
        drop(Journal::create(&dir, &graph, header, now()).expect("a new run"));
        fs::read(dir.journal()).expect("read")
    };
    let foreign = other.split_inclusive(|byte| *byte == b'\n').nth(1).expect("opened");
    let mut mixed = bytes[..starts[1]].to_vec();
    mixed.extend_from_slice(foreign);
    let (line, _, why) = refused(&mixed);
    assert!(line == 2 && why.contains("does not hang on"), "{why}");
}

#[test]
fn a_hole_in_what_was_durable_is_refused() {
    let (bytes, starts) = story();
    for (from, to) in
        [(starts[2], starts[3]), (starts[2] + 5, starts[4] - 9), (starts[1], starts[2])]
    {
        let mut holed = bytes.clone();
        holed[from..to].fill(0);
        let line = starts.iter().filter(|start| **start <= from).count() as u64;
        assert_eq!(refused(&holed).0, line);
    }
}

/// Intact lines, chained as this program chains, that say what it never would.
fn forged(events: &[(u64, Event)]) -> Vec<u8> {
    let graph = graph();
    let mut head = Head::NONE;
    let mut lines = Vec::new();
    for (epoch, event) in events {
        let synced = head.seq;
        head.push(&mut lines, now(), *epoch, synced, &Wire::of(event, &*graph));
    }
    lines
}

fn begun() -> (u64, Event) {
    (0, Event::Begun(Box::new(header(&graph()))))
}

fn opened(epoch: u64) -> (u64, Event) {
    (epoch, Event::Opened { epoch, boot: "b".into(), pid: 1, cut: 0 })
}

#[test]
fn records_that_cannot_have_happened_are_refused_with_their_place() {
    let job = Job { step: StepId(2), way: Way::Do, attempt: 1 };
    for (what, events, line) in [
        (
            "an end without a start",
            vec![begun(), opened(1), (1, Event::Ended(job, Ending::Stopped))],
            3,
        ),
        ("an undue start", vec![begun(), opened(1), (1, Event::Started(job))], 3),
        ("an epoch left out", vec![begun(), opened(2)], 2),
        ("an epoch twice", vec![begun(), opened(1), opened(1)], 3),
        ("another's epoch", vec![begun(), opened(1), (2, Event::Closed(Outcome::Stuck))], 3),
    ] {
        let (found, _, why) = refused(&forged(&events));
        assert_eq!(found, line, "{what}: {why}");
    }
}

#[test]
fn a_journal_for_another_program_is_refused_and_says_why() {
    let refused = |header: cutover::event::Header| {
        let (_temp, dir) = with(&forged(&[(0, Event::Begun(Box::new(header)))]));
        match Journal::resume(&dir, "jo", now()).expect_err("refused") {
            JournalError::Foreign { why, .. } => why,
            other => panic!("{other:?}"),
        }
    };
    let graph = graph();
    let good = || header(&graph);
    let why = refused(cutover::event::Header { format: 2, ..good() });
    assert!(why.contains("format 2") && why.contains("format 1"), "{why}");
    let why = refused(cutover::event::Header { graph: "beef".into(), ..good() });
    assert!(why.contains("graph beef") && why.contains(&graph.digest()), "{why}");
    let why = refused(cutover::event::Header { plan: "steps: 7".into(), ..good() });
    assert!(why.contains("plan"), "{why}");
    let plan = PLAN.replace("needs: [pack], ", "");
    assert!(refused(cutover::event::Header { plan, ..good() }).contains("this program makes"));
}

#[test]
fn a_crash_leaves_doubt_and_a_second_runner_goes_on() {
    let (_temp, dir) = fresh();
    let (mut journal, mut run) = begin(&dir);
    drive(&mut journal, &mut run, &|graph, job| {
        (graph.name(job.step) == "pack").then(|| Ending::Done(Default::default()))
    });
    assert!(matches!(run.status(StepId(1)), Status::Running(_)));
    drop(journal);
    let resumed = Journal::resume(&dir, "jo", now()).expect("resumed");
    let mut journal = resumed.journal.expect("open");
    assert_eq!(journal.epoch(), 2);
    let held = Journal::resume(&dir, "kim", now()).expect_err("held");
    let JournalError::Held { holder: Some(holder), .. } = held else { panic!("{held:?}") };
    assert_eq!((holder.person.as_str(), holder.epoch), ("jo", 2));
    let mut replayed = resumed.replayed;
    assert_eq!(replayed.run.status(StepId(0)), Status::Done);
    assert_eq!(replayed.run.status(StepId(1)), Status::Doubt(Way::Do));
    // A person settles it, and it goes on to its end.
    let question = replayed.run.questions().first().expect("asked").id;
    let answer =
        Request::Answer { question, answer: cutover::event::Answer::Done, note: "I looked".into() };
    let event = replayed.run.admit(&mara(), answer).expect("admitted");
    say(&mut journal, &mut replayed.run, event);
    drive(&mut journal, &mut replayed.run, &well);
    assert_eq!(replayed.run.outcome(), Some(Outcome::Completed));
    drop(journal);
    let replayed = replay::read(&dir).expect("readable");
    let attempt = replayed.history.step(StepId(1)).attempts.last().expect("one");
    assert_eq!(attempt.end, Some(cutover::history::End::InDoubt));
    assert_eq!(replayed.history.openings()[1].in_doubt, 1);
    let decision = replayed.history.decisions().first().expect("one");
    assert_eq!((decision.what, decision.by.login.as_str()), ("answer", "mara"));
    assert_eq!((decision.choice.as_deref(), decision.words.as_str()), (Some("done"), "I looked"));
    assert!(replayed.history.step(StepId(1)).done.is_some());
}

#[test]
fn a_watcher_follows_a_living_runner_and_never_cuts() {
    let (_temp, dir) = fresh();
    let (mut journal, mut run) = begin(&dir);
    flush(&mut journal).expect("durable");
    let mut follow = Follow::open(&dir).expect("readable");
    let mut seen = Vec::new();
    let mut poll = |seen: &mut Vec<_>| {
        while let Some(record) = follow.next().expect("intact") {
            seen.push(record);
        }
    };
    poll(&mut seen);
    assert_eq!(seen.len(), 2);
    let said = drive(&mut journal, &mut run, &well);
    poll(&mut seen);
    assert_eq!(seen[2..], said[..]);
    assert_eq!(follow.replayed.run.outcome(), Some(Outcome::Completed));
}

#[test]
fn a_copy_is_refused_while_its_original_is_there_and_a_moved_run_goes_on() {
    let (temp, dir) = fresh();
    drop(begin(&dir));
    let copy = RunDir::new(temp.path().join("copy"));
    fs::create_dir(copy.path()).expect("made");
    for file in ["journal.jsonl", "lock"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).expect("copied");
    }
    let before = fs::read(copy.journal()).expect("read");
    let refused = Journal::resume(&copy, "jo", now()).expect_err("refused");
    assert!(matches!(refused, JournalError::Copied { .. }), "{refused:?}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("lock")));
    assert_eq!(fs::read(copy.journal()).expect("read"), before);
    let refused = Journal::resume(&copy, "jo", now()).expect_err("still refused");
    assert!(matches!(refused, JournalError::Copied { .. }), "{refused:?}");
    // As the hint says.
    fs::remove_file(copy.lock()).expect("removed");
    assert!(Journal::resume(&copy, "jo", now()).is_ok());
    let moved = RunDir::new(temp.path().join("moved"));
    fs::rename(dir.path(), moved.path()).expect("moved");
    assert!(Journal::resume(&moved, "jo", now()).is_ok());
    // Written anew in its place (an editor, a restore): there is only one.
    let bytes = fs::read(moved.journal()).expect("read");
    fs::remove_file(moved.journal()).expect("removed");
    fs::write(moved.journal(), bytes).expect("written");
    assert!(Journal::resume(&moved, "jo", now()).is_ok());
}

#[test]
fn where_no_run_is_there_nothing_is_made() {
    let temp = tempfile::tempdir().expect("a directory");
    for dir in [RunDir::new(temp.path()), RunDir::new(temp.path().join("none"))] {
        for error in [
            replay::read(&dir).expect_err("no run"),
            replay::verify(&dir).expect_err("no run"),
            Journal::resume(&dir, "jo", now()).expect_err("no run"),
        ] {
            assert!(matches!(error, JournalError::Absent { .. }), "{error:?}");
        }
    }
    assert_eq!(fs::read_dir(temp.path()).expect("listed").count(), 0);
}

/// A run that was held, released, failed, and was rolled back by a person: those three records.
fn rolled_back(dir: &RunDir) -> [Record; 3] {
    let (mut journal, mut run) = begin(dir);
    let hold = run.admit(&mara(), Request::Hold { reason: "lunch".into() }).expect("admitted");
    let held = say(&mut journal, &mut run, hold);
    let release = run.admit(&mara(), Request::Release { hold: None }).expect("admitted");
    let released = say(&mut journal, &mut run, release);
    drive(&mut journal, &mut run, &|graph, job| match graph.name(job.step).as_str() {
        "move" if job.way == Way::Do => Some(Ending::Failed(Failure::last("the lift is broken"))),
        _ => well(graph, job),
    });
    let back = cutover::event::Back::Run { before_too: false };
    let rollback = Request::Rollback { back, reason: "back to the old house".into() };
    let event = run.admit(&mara(), rollback).expect("admitted");
    let turned = say(&mut journal, &mut run, event);
    drive(&mut journal, &mut run, &well);
    assert_eq!(run.outcome(), Some(Outcome::RolledBack));
    [held, released, turned]
}

#[test]
fn reports_find_attempts_holds_turns_and_persons() {
    let (_temp, dir) = fresh();
    let [held, released, turned] = rolled_back(&dir);
    let replayed = replay::read(&dir).expect("readable");
    let history = &replayed.history;
    let counts = history.step_counts(&replayed.run);
    assert_eq!((counts.total, counts.done, counts.undone, counts.failed), (3, 0, 2, 1));
    let moved = &history.step(StepId(1)).attempts;
    assert_eq!(moved.iter().map(|attempt| attempt.way).collect::<Vec<_>>(), [Way::Do, Way::Undo]);
    assert_eq!(moved[0].why.as_deref(), Some("the lift is broken"));
    assert!(moved[0].ended.is_some_and(|ended| ended > moved[0].started));
    assert_eq!(history.step(StepId(2)).attempts, []);
    let span = &history.holds()[0];
    assert_eq!((span.kind, span.cause.as_str()), ("person", "mara: lunch"));
    assert_eq!((span.from, span.until), (held.at, Some(released.at)));
    assert!(history.holds().iter().any(|span| span.kind == "question"));
    assert!(history.holds().iter().all(|span| span.until.is_some()), "{:?}", history.holds());
    let turn = &history.turns()[0];
    assert_eq!((turn.seq, turn.by.as_deref()), (turned.seq, Some("mara")));
    assert_eq!(history.turns().len(), 1);
    let whats: Vec<&str> = history.decisions().iter().map(|decision| decision.what).collect();
    assert_eq!(whats, ["hold", "release", "rollback"]);
    assert_eq!(history.closed().map(|(_, outcome)| outcome), Some(Outcome::RolledBack));
    assert!(history.window_used_s(&replayed.graph) > 0);
    serde_json::to_string(history.steps()).expect("a report can hold it");
}

/// Journals of every format stay here and must replay for ever.
#[test]
fn kept_journals_replay() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    for (name, records, outcome) in [
        ("format-1-completed", 9, Outcome::Completed),
        ("format-1-rolled-back", 14, Outcome::RolledBack),
    ] {
        let bytes = fs::read(kept.join(name).with_extension("jsonl")).expect("kept");
        let (_temp, dir) = with(&bytes);
        let replayed = replay::read(&dir).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((replayed.head.seq, replayed.run.outcome()), (records, Some(outcome)), "{name}");
        assert_eq!(replay::verify(&dir).expect("readable").flaw, None, "{name}");
    }
}

/// Keeps what this program writes, for a format that has no journal here yet.
#[test]
#[ignore = "writes into tests/journals: only for a new format, before it is in anyone's hands"]
fn keep_journals() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    fs::create_dir_all(&kept).expect("made");
    let write = |name: &str, bytes: &[u8]| {
        let path = kept.join(name).with_extension("jsonl");
        assert!(!path.exists(), "{} is kept for ever", path.display());
        fs::write(path, bytes).expect("written");
    };
    write("format-1-completed", &story().0);
    let (_temp, dir) = fresh();
    rolled_back(&dir);
    write("format-1-rolled-back", &fs::read(dir.journal()).expect("read"));
}

#[test]
fn a_clock_that_jumps_back_spoils_nothing() {
    let (_temp, dir) = fresh();
    let (mut journal, mut run) = begin(&dir);
    let record = journal.append(
        Timestamp::UNIX_EPOCH,
        Event::Started(Job { step: StepId(0), way: Way::Do, attempt: 1 }),
    );
    run.apply(&record).expect("it can happen");
    drop(journal);
    assert_eq!(replay::read(&dir).expect("readable").head.seq, 3);
}

#[test]
fn a_journal_that_has_forgotten_a_begun_attempt_is_refused_with_its_place() {
    let (_temp, dir) = fresh();
    let (mut journal, mut run) = begin(&dir);
    let job = Job { step: StepId(0), way: Way::Do, attempt: 1 };
    say(&mut journal, &mut run, Event::Started(job));
    flush(&mut journal).expect("durable");
    drop(journal);
    let name = run.graph().name(StepId(0));
    fs::create_dir_all(dir.attempt(&name, Way::Do, 1)).expect("made");
    drop(Journal::resume(&dir, "jo", now()).expect("the attempt is known"));
    // Cut behind a whole record, and in the middle of the start: neither was left by a crash.
    let bytes = fs::read(dir.journal()).expect("read");
    let starts = starts(&bytes);
    for len in [starts[2], starts[2] + 20] {
        fs::write(dir.journal(), &bytes[..len]).expect("written");
        let (line, byte, why) = damage(Journal::resume(&dir, "jo", now()).expect_err("refused"));
        assert_eq!((line, byte), (3, starts[2] as u64));
        assert!(why.contains("was begun, and its record is gone"), "{why}");
        assert_eq!(fs::read(dir.journal()).expect("read"), &bytes[..len], "nothing was cut");
    }
    // A second attempt that was never recorded, of a step that is known.
    fs::write(dir.journal(), &bytes).expect("written");
    fs::create_dir_all(dir.attempt(&name, Way::Undo, 1)).expect("made");
    assert!(Journal::resume(&dir, "jo", now()).is_err());
}
