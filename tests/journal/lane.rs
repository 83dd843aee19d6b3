//! The emergency lane's file: durable before acknowledged, many writers, torn tails.

use cutover::event::Person;
use cutover::journal::JournalError;
use cutover::journal::rundir::RunDir;
use cutover::lane::file::{self, LaneFile};
use cutover::revocation::{Certificate, Order, Reason, Said};
use jiff::Timestamp;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn order(serial: u32) -> Said {
    Said::Accepted(Order {
        certificate: Certificate::new("geotrust", &format!("{serial:08x}")).expect("a serial"),
        reason: Reason::KeyCompromise,
        received_at: Timestamp::from_second(i64::from(serial)).expect("a time"),
        compromised_at: None,
        by: Person { login: "kim".into(), uid: 7, groups: Vec::new() },
    })
}

fn run() -> (tempfile::TempDir, RunDir) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = RunDir::new(temp.path());
    (temp, dir)
}

fn append(lane: &mut LaneFile, serial: u32) {
    let entries = lane.append(Timestamp::UNIX_EPOCH, |_| vec![order(serial)]).expect("durable");
    assert_eq!(entries.len(), 1);
}

#[test]
fn two_writers_see_each_other_and_chain_on() {
    let (_temp, dir) = run();
    let mut one = LaneFile::open(&dir).expect("opened");
    let mut other = LaneFile::open(&dir).expect("opened");
    for serial in 0..20 {
        append(if serial % 2 == 0 { &mut one } else { &mut other }, serial);
    }
    one.poll().expect("read");
    assert_eq!(one.lane(), other.lane());
    assert_eq!(one.lane().revocations().count(), 20);
    let verified = file::verify(&dir).expect("read").expect("there");
    assert_eq!((verified.records, verified.flaw), (21, None), "`begun` and twenty orders");
    let mode = fs::metadata(dir.revocations()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn threads_that_append_at_once_lose_nothing() {
    let (_temp, dir) = run();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dir = &dir;
            scope.spawn(move || {
                let mut lane = LaneFile::open(dir).expect("opened");
                for turn in 0..25 {
                    append(&mut lane, thread * 100 + turn);
                }
            });
        }
    });
    let (entries, lane) = file::read(&dir).expect("read");
    assert_eq!((entries.len(), lane.revocations().count()), (101, 100));
}

#[test]
fn a_decision_is_taken_on_what_everyone_has_written() {
    let (_temp, dir) = run();
    let mut one = LaneFile::open(&dir).expect("opened");
    let mut other = LaneFile::open(&dir).expect("opened");
    append(&mut one, 1);
    let entries = other
        .append(Timestamp::UNIX_EPOCH, |lane| {
            assert_eq!(lane.revocations().count(), 1, "the other's order is known");
            Vec::new()
        })
        .expect("read");
    assert!(entries.is_empty());
}

#[test]
fn while_it_is_held_no_order_is_written() {
    let (_temp, dir) = run();
    let mut lane = LaneFile::open(&dir).expect("opened");
    append(&mut lane, 1);
    let held = lane.try_hold().expect("asked").expect("free");
    assert!(LaneFile::open(&dir).expect("opened").try_hold().expect("asked").is_none());
    std::thread::scope(|scope| {
        let (begun, wait) = std::sync::mpsc::channel();
        let writer = scope.spawn({
            let dir = &dir;
            move || {
                let mut lane = LaneFile::open(dir).expect("opened");
                begun.send(()).expect("heard");
                append(&mut lane, 2);
            }
        });
        wait.recv().expect("begun");
        let before = fs::metadata(dir.revocations()).expect("there").len();
        assert_eq!(lane.poll().expect("read").len(), 0);
        assert!(!writer.is_finished(), "it waits");
        assert_eq!(fs::metadata(dir.revocations()).expect("there").len(), before);
        drop(held);
        writer.join().expect("written");
    });
    assert_eq!(lane.poll().expect("read").len(), 1);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_by_the_next_writer_and_kept_aside() {
    let (_temp, dir) = run();
    let mut lane = LaneFile::open(&dir).expect("opened");
    append(&mut lane, 1);
    let whole = fs::metadata(dir.revocations()).expect("there").len();
    append(&mut lane, 2);
    let bytes = fs::read(dir.revocations()).expect("read");
    for cut in whole + 1..bytes.len() as u64 {
        let (_temp, torn) = run();
        fs::write(torn.revocations(), &bytes[..cut as usize]).expect("written");
        let flaw = file::verify(&torn).expect("read").expect("there").flaw.expect("torn");
        assert_eq!((flaw.line, flaw.byte), (3, whole));
        let mut lane = LaneFile::open(&torn).expect("a torn tail is no damage");
        assert_eq!(lane.lane().revocations().count(), 1);
        append(&mut lane, 3);
        let verified = file::verify(&torn).expect("read").expect("there");
        assert_eq!((verified.records, verified.flaw), (3, None));
        let kept = fs::read_dir(torn.path())
            .expect("listed")
            .map(|entry| entry.expect("listed").path())
            .find(|path| path.to_string_lossy().contains("torn-"))
            .expect("kept aside");
        assert_eq!(fs::read(kept).expect("read"), bytes[whole as usize..cut as usize]);
    }
}

#[test]
fn a_flipped_bit_in_what_was_durable_is_refused_with_its_line() {
    let (_temp, dir) = run();
    let mut lane = LaneFile::open(&dir).expect("opened");
    (1..5).for_each(|serial| append(&mut lane, serial));
    let bytes = fs::read(dir.revocations()).expect("read");
    let mut line = 1;
    let last = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
    for at in (0..last).filter(|at| at % 7 == 0 || bytes[*at] == b'\n') {
        line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let (_temp, flipped) = run();
        let mut broken = bytes.clone();
        broken[at] ^= 4;
        fs::write(flipped.revocations(), &broken).expect("written");
        match LaneFile::open(&flipped) {
            Err(JournalError::Damaged { damage, .. }) => assert_eq!(damage.line, line, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(fs::read(flipped.revocations()).expect("read"), broken, "nothing was touched");
    }
    assert!(line > 3);
}

#[test]
fn a_lane_that_does_not_begin_or_is_of_another_format_is_refused() {
    use cutover::journal::chain::Head;
    let write = |said: &[Said]| {
        let (temp, dir) = run();
        let mut lines = Vec::new();
        let mut head = Head::NONE;
        for said in said {
            head.push(&mut lines, Timestamp::UNIX_EPOCH, 0, 0, said);
        }
        fs::write(dir.revocations(), &lines).expect("written");
        (temp, LaneFile::open(&dir).expect_err("refused"))
    };
    let begun = |format| Said::Begun { format, run: "r".into() };
    assert!(matches!(write(&[order(1)]).1, JournalError::Damaged { .. }));
    assert!(matches!(write(&[begun(1), begun(1)]).1, JournalError::Damaged { .. }));
    assert!(matches!(write(&[begun(2)]).1, JournalError::Foreign { .. }));
}

#[test]
fn a_run_without_a_lane_has_no_orders() {
    let (_temp, dir) = run();
    assert_eq!(file::verify(&dir).expect("asked"), None);
    assert_eq!(file::read(&dir).expect("asked").0.len(), 0);
    assert!(!dir.revocations().exists(), "reading makes nothing");
}
