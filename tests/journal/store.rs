//! The file and its writer: locks, batches, full and read-only disks, second writers, kills.

use crate::common::{Tmpfs, create, flush, fresh, graph, header, now, start};
use cutover::journal::chain::{Head, Scanner};
use cutover::journal::codec::Wire;
use cutover::journal::lock::{self, RunLock};
use cutover::journal::rundir::RunDir;
use cutover::journal::store::BALLAST;
use cutover::journal::{Journal, JournalError};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

/// The newest record in the file, read by its chain alone.
fn head(dir: &RunDir) -> Head {
    let mut scanner = Scanner::new(File::open(dir.journal()).expect("there")).expect("opened");
    while let Some(line) = scanner.next::<Wire<'_>>().expect("intact") {
        drop(line);
    }
    scanner.head()
}

#[test]
fn a_second_runner_is_refused_and_told_who_runs_it() {
    let (_temp, dir) = fresh();
    let journal = create(&dir);
    let refused = RunLock::take(&dir, "jo").expect_err("held");
    let JournalError::Held { holder: Some(holder), .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((holder.pid, holder.epoch), (std::process::id(), 1));
    assert_eq!(holder.person, "mara");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())));
    assert!(refused.hint().is_some());
    assert_eq!(lock::holder(&dir).expect("asked").as_ref(), Some(&**holder));
    let graph = graph();
    let again = Journal::create(&dir, &graph, header(&graph), now());
    assert!(matches!(again, Err(JournalError::Held { .. })));
    drop(journal);
    // The lock is gone with its holder, whatever the file says.
    assert_eq!(lock::holder(&dir).expect("asked"), None);
    RunLock::take(&dir, "jo").expect("free");
    let again = Journal::create(&dir, &graph, header(&graph), now());
    assert!(matches!(again, Err(JournalError::Exists { .. })));
}

#[test]
fn who_only_looks_or_records_a_request_refuses_nobody() {
    let (_temp, dir) = fresh();
    drop(create(&dir));
    let (taken, held) = std::sync::mpsc::channel();
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let theirs = dir.clone();
    let other = std::thread::spawn(move || {
        let lock = RunLock::take(&theirs, "mara").expect("free");
        taken.send(()).expect("heard");
        wait.recv().expect("told");
        std::thread::sleep(std::time::Duration::from_millis(60));
        drop(lock);
    });
    held.recv().expect("taken");
    let_go.send(()).expect("heard");
    RunLock::take(&dir, "jo").expect("free in a moment");
    other.join().expect("ended");
}

#[test]
fn nobody_else_can_read_a_run() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    flush(&mut journal).expect("durable");
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(dir.path().to_owned()), 0o700);
    for file in [dir.journal(), dir.lock(), dir.ballast()] {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
    assert_eq!(fs::metadata(dir.ballast()).expect("there").len(), BALLAST as u64);
    assert!(!dir.path().join("journal.jsonl.new").exists());
}

#[test]
fn a_directory_that_was_there_is_closed_to_others_and_links_are_not_followed() {
    let (_temp, dir) = fresh();
    fs::create_dir(dir.path()).expect("made");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
    drop(create(&dir));
    let mode = fs::metadata(dir.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let graph = graph();
    let (temp, dir) = fresh();
    symlink(temp.path().join("elsewhere"), dir.path()).expect("linked");
    let refused = Journal::create(&dir, &graph, header(&graph), now());
    assert!(matches!(refused, Err(JournalError::Unfit { .. })), "{refused:?}");

    let (temp, dir) = fresh();
    fs::create_dir(dir.path()).expect("made");
    fs::write(temp.path().join("victim"), "kept").expect("written");
    symlink(temp.path().join("victim"), dir.lock()).expect("linked");
    let refused = Journal::create(&dir, &graph, header(&graph), now());
    assert!(matches!(refused, Err(JournalError::Io { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(temp.path().join("victim")).expect("read"), "kept");
}

#[test]
fn a_flood_of_records_shares_its_syncs() {
    const RECORDS: u32 = 20_000;
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    for attempt in 1..=RECORDS {
        let record = journal.append(now(), start(attempt));
        assert_eq!(record.seq, u64::from(attempt) + 2);
    }
    flush(&mut journal).expect("durable");
    assert_eq!(journal.durable(), u64::from(RECORDS) + 2);
    drop(journal);
    assert_eq!(head(&dir).seq, u64::from(RECORDS) + 2);
    let text = fs::read_to_string(dir.journal()).expect("read");
    let mut synced: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("\"synced\":").nth(1)?.split(',').next())
        .collect();
    synced.dedup();
    assert!(synced.len() < RECORDS as usize / 20, "{} syncs", synced.len());
}

#[test]
fn what_was_appended_is_durable_when_the_journal_is_dropped() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    (1..=100).for_each(|attempt| drop(journal.append(now(), start(attempt))));
    drop(journal);
    assert_eq!(head(&dir).seq, 102);
}

#[test]
fn a_second_writer_is_seen_by_the_length_and_ends_it() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    flush(&mut journal).expect("durable");
    let mut stranger = OpenOptions::new().append(true).open(dir.journal()).expect("opened");
    stranger.write_all(b"a stranger was here\n").expect("written");
    let before = fs::read(dir.journal()).expect("read");
    journal.append(now(), start(1));
    let lost = flush(&mut journal).expect_err("lost");
    assert!(lost.to_string().contains("someone else writes it"), "{lost}");
    // It is final: nothing is tried again, nothing is written any more.
    journal.append(now(), start(2));
    assert_eq!(flush(&mut journal).expect_err("still lost"), lost);
    assert_eq!(journal.durable(), 2);
    drop(journal);
    assert_eq!(fs::read(dir.journal()).expect("read"), before);
}

#[test]
fn a_second_writer_in_the_padding_is_seen_too() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    flush(&mut journal).expect("durable");
    let text = fs::read(dir.journal()).expect("read");
    let end = text.iter().rposition(|byte| *byte != b'\n').expect("records") + 2;
    assert!(text.len() > end, "it is padded ahead");
    let mut stranger = OpenOptions::new().write(true).open(dir.journal()).expect("opened");
    stranger.seek(SeekFrom::Start(end as u64)).expect("there");
    stranger.write_all(b"{").expect("written");
    journal.append(now(), start(1));
    let lost = flush(&mut journal).expect_err("lost");
    assert!(lost.to_string().contains("someone else writes it"), "{lost}");
}

#[test]
fn padding_is_cut_at_the_end_and_by_who_resumes() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    // Past several pieces of it.
    for attempt in 1..=2_000 {
        journal.append(now(), start(attempt));
        if attempt % 100 == 0 {
            flush(&mut journal).expect("durable");
        }
    }
    flush(&mut journal).expect("durable");
    let running = fs::read(dir.journal()).expect("read");
    assert_eq!(head(&dir).seq, 2_002, "read while it is padded");
    drop(journal);
    let ended = fs::read(dir.journal()).expect("read");
    assert!(running.len() > ended.len() && running.starts_with(&ended));
    assert!(running[ended.len()..].iter().all(|byte| *byte == b'\n'));
    assert!(ended.ends_with(b"\"}\n"));
}

#[test]
fn a_removed_journal_ends_it() {
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    flush(&mut journal).expect("durable");
    fs::remove_file(dir.journal()).expect("removed");
    journal.append(now(), start(1));
    let lost = flush(&mut journal).expect_err("lost");
    assert!(lost.to_string().contains("was removed"), "{lost}");
}

#[test]
fn a_full_disk_ends_it_and_frees_the_ballast() {
    let Some(disk) = Tmpfs::new(1400) else { return };
    let dir = RunDir::new(disk.0.path().join("run"));
    let mut journal = create(&dir);
    assert!(journal.has_ballast());
    flush(&mut journal).expect("durable");
    let filler = disk.0.path().join("filler");
    drop(fs::write(&filler, vec![1; 2 << 20]).expect_err("full"));
    let mut appended = 0;
    let lost = loop {
        appended += 1;
        journal.append(now(), start(appended));
        if let Err(lost) = flush(&mut journal) {
            break lost;
        }
        assert!(appended < 100_000, "it never filled");
    };
    assert!(lost.to_string().contains("ballast was freed"), "{lost}");
    let durable = journal.durable();
    drop(journal);
    assert!(!dir.ballast().exists());
    // All that was called durable is there; what is behind it is torn, if anything.
    let mut scanner = Scanner::new(File::open(dir.journal()).expect("there")).expect("opened");
    let mut read = 0;
    while let Ok(Some(line)) = scanner.next::<Wire<'_>>() {
        read = line.seq;
    }
    assert_eq!(read, durable);
}

/// What a person asks is still taken where the reserve does not fit; nothing is started.
#[test]
fn a_run_is_not_taken_up_where_its_reserve_does_not_fit_but_a_hold_is() {
    use cutover::event::Request;
    use cutover::runner::{self, Answered, ResumeOptions, StartError};
    let Some(disk) = Tmpfs::new(1400) else { return };
    let dir = RunDir::new(disk.0.path().join("run"));
    drop(create(&dir));
    fs::remove_file(dir.ballast()).expect("it was freed");
    fs::write(disk.0.path().join("filler"), vec![1; 900 << 10]).expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = ResumeOptions {
            run_dir: dir.clone(),
            by: crate::common::mara(),
            wait: false,
            exit_between: false,
            signals: false,
        };
        match runner::resume(options) {
            Err(StartError::Refused(why)) => assert!(why.contains("is full"), "{why}"),
            other => panic!("{other:?}"),
        }
        let hold = Request::Hold { reason: "no room".into() };
        let taken = runner::record(&dir, &crate::common::mara(), vec![hold]).await;
        assert!(matches!(taken.expect("taken")[..], [Answered::Recorded(_)]));
    });
}

#[test]
fn an_order_to_revoke_is_written_on_a_full_disk() {
    use cutover::event::Person;
    use cutover::lane::file::LaneFile;
    use cutover::revocation::{Certificate, Order, Reason, Said};
    let Some(disk) = Tmpfs::new(1400) else { return };
    let dir = RunDir::new(disk.0.path().join("run"));
    let mut journal = create(&dir);
    // Its padding lies before the disk is full: it would give back what it could not lay.
    flush(&mut journal).expect("durable");
    let mut lane = LaneFile::open(&dir).expect("opened");
    drop(fs::write(disk.0.path().join("filler"), vec![1; 2 << 20]).expect_err("full"));
    let order = Order {
        certificate: Certificate::new("geotrust", "0a").expect("a serial"),
        reason: Reason::KeyCompromise,
        received_at: now(),
        compromised_at: None,
        by: Person { login: "kim".into(), uid: 7, groups: Vec::new() },
    };
    lane.append(now(), |_| vec![Said::Accepted(order)]).expect("the ballast makes room");
    assert!(!dir.ballast().exists());
    assert_eq!(cutover::lane::file::read(&dir).expect("read").1.revocations().count(), 1);
}

#[test]
fn a_read_only_disk_is_refused_before_any_deed() {
    let Some(disk) = Tmpfs::new(4096) else { return };
    let dir = RunDir::new(disk.0.path().join("run"));
    disk.remount("ro");
    let graph = graph();
    let refused = Journal::create(&dir, &graph, header(&graph), now()).expect_err("refused");
    assert!(matches!(refused, JournalError::Io { .. }), "{refused:?}");
    assert!(refused.to_string().to_lowercase().contains("read-only"), "{refused}");
}

/// The writer of the next test: appends for ever and says what is durable.
#[test]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os("CUTOVER_TEST_JOURNAL") else { return };
    let mut journal = create(&RunDir::new(path));
    let mut out = std::io::stdout();
    for attempt in 1.. {
        journal.append(now(), start(attempt));
        if attempt % 3 == 0 {
            flush(&mut journal).expect("durable");
            writeln!(out, "durable {}", journal.durable()).expect("heard");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed() {
    for acks in [1, 7, 40] {
        let (_temp, dir) = fresh();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "store::child_that_is_killed", "--nocapture"])
            .env("CUTOVER_TEST_JOURNAL", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut durable = 0;
        for _ in 0..acks {
            let line = told.find(|line| line.as_ref().is_ok_and(|line| line.contains("durable ")));
            let line = line.expect("told").expect("text");
            let number = line.split("durable ").nth(1).expect("a number");
            durable = number.trim().parse::<u64>().expect("a number");
        }
        child.kill().expect("killed");
        for line in told.map_while(Result::ok) {
            if let Some(number) = line.split("durable ").nth(1) {
                durable = number.trim().parse().unwrap_or(durable);
            }
        }
        child.wait().expect("reaped");
        let mut scanner = Scanner::new(File::open(dir.journal()).expect("there")).expect("opened");
        let mut read = 0;
        while let Ok(Some(line)) = scanner.next::<Wire<'_>>() {
            read = line.seq;
        }
        assert!(read >= durable && durable > 2, "{durable} acknowledged, {read} there");
        RunLock::take(&dir, "jo").expect("the lock died with its holder");
    }
}

#[test]
fn a_journal_in_memory_is_durable_at_once() {
    let mut journal = Journal::memory(2, 1);
    assert_eq!(journal.append(now(), start(1)).seq, 3);
    flush(&mut journal).expect("durable");
    assert_eq!((journal.durable(), journal.epoch()), (3, 1));
}

#[test]
fn runs_are_named_by_their_time_and_the_newest_is_found() {
    let temp = tempfile::tempdir().expect("a directory");
    let runs = temp.path().join("runs");
    assert_eq!(RunDir::newest(&runs).expect("asked"), None);
    let graph = graph();
    let later = now() + jiff::SignedDuration::from_secs(60);
    let first = RunDir::fresh(&runs, now()).expect("made");
    let other = RunDir::fresh(&runs, now()).expect("made");
    assert_ne!(first, other);
    assert!(first.name().starts_with("20190406T153000Z-"), "{}", first.name());
    assert_eq!(RunDir::newest(&runs).expect("asked"), None, "no run is in them yet");
    // Sorted by when they began, not by a name that a person chose.
    let named = RunDir::new(runs.join("a-rehearsal"));
    drop(Journal::create(&named, &graph, header(&graph), later).expect("a new run"));
    drop(Journal::create(&first, &graph, header(&graph), now()).expect("a new run"));
    assert_eq!(RunDir::newest(&runs).expect("asked"), Some(named));
}

/// `cargo test --release --test journal figure -- --ignored --nocapture`
#[test]
#[ignore = "a figure, not a judgement"]
#[expect(clippy::print_stdout, reason = "the figure is for who asks for it")]
fn figure_of_a_flood_and_of_single_records() {
    const FLOOD: u32 = 200_000;
    const SINGLE: u32 = 200;
    let (_temp, dir) = fresh();
    let mut journal = create(&dir);
    let begin = std::time::Instant::now();
    (1..=FLOOD).for_each(|attempt| drop(journal.append(now(), start(attempt))));
    flush(&mut journal).expect("durable");
    let flood = begin.elapsed();
    let begin = std::time::Instant::now();
    for attempt in 1..=SINGLE {
        journal.append(now(), start(FLOOD + attempt));
        flush(&mut journal).expect("durable");
    }
    let single = begin.elapsed() / SINGLE;
    let rate = f64::from(FLOOD) / flood.as_secs_f64();
    println!("{rate:.0} records/s durable in a flood, {single:?} for one by itself");
}
