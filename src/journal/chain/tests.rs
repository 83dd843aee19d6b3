//! Chains cut, torn, flipped and padded anywhere.

use super::*;
use std::io::Write;

fn lines(events: &[&str], synced: &[Seq]) -> Vec<u8> {
    let mut head = Head::NONE;
    let mut out = Vec::new();
    for (event, synced) in events.iter().zip(synced) {
        head.push(&mut out, Timestamp::UNIX_EPOCH, 1, *synced, event);
    }
    out
}

fn scan(bytes: &[u8]) -> (Vec<String>, Option<Flaw>) {
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(bytes).expect("written");
    let mut scanner = Scanner::new(file).expect("opened");
    let mut read = Vec::new();
    loop {
        match scanner.next::<String>() {
            Ok(Some(line)) => read.push(line.event),
            Ok(None) => return (read, None),
            Err(flaw) => return (read, Some(flaw)),
        }
    }
}

#[test]
fn the_hash_can_be_checked_with_sha256sum() {
    let bytes = lines(&["a"], &[0]);
    let text = String::from_utf8(bytes).expect("text");
    let zeros = "0".repeat(64);
    let body = format!(
        "{{\"seq\":1,\"at\":\"1970-01-01T00:00:00Z\",\"epoch\":1,\"synced\":0,\"event\":\"a\",\"prev\":\"{zeros}\""
    );
    assert!(text.starts_with(&body), "{text}");
    // printf %s BODY | sha256sum
    let hash = "6c9bdde429b3409e9ff24336059b735ce5c50f6557361fe6e6d20028ffbdee88";
    assert_eq!(&text[body.len()..], format!(",\"hash\":\"{hash}\"}}\n"));
}

#[test]
fn a_chain_cut_anywhere_keeps_its_whole_records() {
    let bytes = lines(&["a", "b", "c"], &[0, 1, 2]);
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    for cut in 0..=bytes.len() {
        let (read, flaw) = scan(&bytes[..cut]);
        assert_eq!(read.len(), ends.iter().filter(|end| **end <= cut).count(), "cut at {cut}");
        match flaw {
            None => assert!(cut == 0 || ends.contains(&cut)),
            Some(Flaw::Torn(damage)) => {
                assert_eq!(damage.line, read.len() as u64 + 1);
                assert!(!ends.contains(&cut));
            }
            Some(other) => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_cut_only_in_the_tail_that_was_not_durable() {
    // a and b durable before c was written; c and d in one batch.
    let bytes = lines(&["a", "b", "c", "d"], &[0, 1, 2, 2]);
    let mut starts = vec![0];
    starts.extend(bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let record = starts.iter().filter(|start| **start <= at).count();
            let (read, flaw) = scan(&broken);
            assert_eq!(read.len(), record - 1, "byte {at} bit {bit}");
            match (record, flaw) {
                (1 | 2, Some(Flaw::Damaged(damage))) => {
                    assert_eq!(damage.line, record as u64);
                    assert_eq!(damage.byte, starts[record - 1] as u64);
                }
                (3 | 4, Some(Flaw::Torn(damage))) => assert_eq!(damage.line, record as u64),
                (_, other) => panic!("byte {at} bit {bit} of record {record}: {other:?}"),
            }
        }
    }
}

#[test]
fn intact_records_in_the_wrong_place_are_refused_even_at_the_end() {
    let bytes = lines(&["a", "b", "c"], &[0, 1, 2]);
    let all: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (what, order, line) in [
        ("doubled", vec![0, 1, 2, 2], 4),
        ("swapped", vec![0, 2, 1], 2),
        ("missing", vec![0, 2], 2),
        ("first missing", vec![1, 2], 1),
    ] {
        let moved: Vec<u8> = order.iter().flat_map(|at| all[*at].to_vec()).collect();
        match scan(&moved).1 {
            Some(Flaw::Damaged(damage)) => assert_eq!(damage.line, line, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_hole_before_an_intact_record_of_the_same_batch_is_a_torn_tail() {
    let bytes = lines(&["a", "b", "c", "d"], &[0, 1, 1, 1]);
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    for end in [ends[1] - 10, ends[1], ends[1] + 40] {
        let mut holed = bytes.clone();
        holed[ends[0]..end].fill(0);
        let (read, flaw) = scan(&holed);
        assert_eq!(read, ["a"]);
        assert!(matches!(flaw, Some(Flaw::Torn(_))), "{flaw:?}");
    }
    // The same hole, but the last record calls the holed one durable.
    let bytes = lines(&["a", "b", "c"], &[0, 1, 2]);
    let mut holed = bytes.clone();
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    holed[ends[0]..ends[1]].fill(0); // swallows the newline: `c` is glued to the hole
    assert!(matches!(scan(&holed).1, Some(Flaw::Damaged(_))));
}

#[test]
fn a_reader_goes_on_when_a_torn_line_is_completed() {
    let bytes = lines(&["a", "b"], &[0, 1]);
    let (first, rest) = bytes.split_at(bytes.len() - 7);
    let named = tempfile::NamedTempFile::new().expect("temp file");
    let mut writer = named.reopen().expect("opened");
    writer.write_all(first).expect("written");
    let mut scanner = Scanner::new(named.reopen().expect("opened")).expect("scanner");
    assert_eq!(scanner.next::<String>().expect("intact").map(|line| line.event), Some("a".into()));
    assert!(matches!(scanner.next::<String>(), Err(Flaw::Torn(_))));
    writer.write_all(rest).expect("written");
    assert_eq!(scanner.next::<String>().expect("intact").map(|line| line.event), Some("b".into()));
    assert!(matches!(scanner.next::<String>(), Ok(None)));
    assert_eq!(scanner.offset(), bytes.len() as u64);
}

fn ends(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).collect()
}

#[test]
fn padding_is_the_end_wherever_the_last_write_broke_off() {
    let bytes = lines(&["a", "b", "c"], &[0, 1, 2]);
    let ends = ends(&bytes);
    for cut in 0..=bytes.len() {
        let mut file = bytes[..cut].to_vec();
        // More than one look of the reader.
        file.resize(cut + (300 << 10), PADDING);
        let (read, flaw) = scan(&file);
        // A newline that is missing is one of the padding.
        let whole = ends.iter().filter(|end| **end <= cut + 1).count();
        assert_eq!(read.len(), whole, "cut at {cut}");
        let at_end = cut == 0 || ends.contains(&cut) || ends.contains(&(cut + 1));
        match flaw {
            None => assert!(at_end, "cut at {cut}"),
            Some(Flaw::Torn(_)) => assert!(!at_end, "cut at {cut}"),
            Some(flaw) => panic!("cut at {cut}: {flaw:?}"),
        }
    }
}

#[test]
fn padding_before_a_record_is_a_tear_unless_that_record_calls_what_is_missing_durable() {
    // Two batches: `a`; `b` and `c`.
    let bytes = lines(&["a", "b", "c"], &[0, 1, 1]);
    let ends = ends(&bytes);
    for from in 0..ends[1] - 1 {
        let mut file = bytes.clone();
        file[from..ends[1]].fill(PADDING);
        file.resize(bytes.len() + 5000, PADDING);
        let (read, flaw) = scan(&file);
        let keeps_a = from >= ends[0] - 1;
        assert_eq!(read.len(), usize::from(keeps_a), "from {from}");
        match flaw {
            Some(Flaw::Torn(_)) => assert!(keeps_a, "from {from}"),
            Some(Flaw::Damaged(_)) => assert!(!keeps_a, "from {from}"),
            other => panic!("from {from}: {other:?}"),
        }
    }
}

/// A file that somebody writes while it is read: up to a byte it is seen as it was, until the
/// reader looks again.
struct Late {
    was: io::Cursor<Vec<u8>>,
    is: Vec<u8>,
    until: u64,
    seeks: u32,
}

impl Read for Late {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let at = self.was.position();
        if self.seeks < 2 && at < self.until {
            let most = usize::try_from(self.until - at).unwrap_or(0).min(out.len());
            return self.was.read(&mut out[..most]);
        }
        let mut rest = &self.is[usize::try_from(at).unwrap_or(0)..];
        let read = rest.read(out)?;
        self.was.set_position(at + read as u64);
        Ok(read)
    }
}

impl Seek for Late {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.seeks += 1;
        self.was.seek(to)
    }
}

impl Source for Late {
    fn length(&self) -> io::Result<u64> {
        Ok(self.is.len() as u64)
    }
}

#[test]
fn what_was_written_while_it_was_read_is_no_damage() {
    let mut is = lines(&["a", "b", "c", "d"], &[0, 1, 2, 3]);
    let ends = ends(&is);
    let mut was = is[..ends[0]].to_vec();
    is.resize(is.len() + 100, PADDING);
    was.resize(is.len(), PADDING);
    for until in ends[0]..ends[3] {
        let was = io::Cursor::new(was.clone());
        let late = Late { was, is: is.clone(), until: until as u64, seeks: 0 };
        let mut scanner = Scanner::new(late).expect("opened");
        let mut read = 0;
        loop {
            match scanner.next::<String>() {
                Ok(Some(_)) => read += 1,
                Ok(None) if read == 4 => break,
                Ok(None) | Err(Flaw::Torn(_)) => {}
                Err(flaw) => panic!("until {until}: {flaw:?}"),
            }
        }
    }
}
