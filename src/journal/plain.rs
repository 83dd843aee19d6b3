//! Records as this program writes them, read without a general parser of JSON: the fields in our own
//! order, nothing between them.
//!
//! What is read here is read as the general parser would read it, or not at all: a line in any other
//! form (spaces, escapes, other numbers, a field more) is left to that parser, whose word on it counts.
//! So nothing is accepted here that is refused there. Hashes and places are not judged here.

use super::chain::{AFTER_HASH, BEFORE_HASH, BEGIN};
use super::codec::{Wire, WireEnding, WireTimer};
use crate::event::{Outputs, Seq, Way};
use jiff::Timestamp;
use std::borrow::Cow;

/// What stands between an event and the hash before it.
const BEFORE_PREV: &[u8] = b",\"prev\":\"";
const HEX: usize = 64;
/// From the first quote to the minute of an instant.
const TO_MINUTE: usize = "2019-04-06T08:30".len();

/// A line of our own form, its event not read yet.
pub(super) struct Plain<'a> {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) epoch: u64,
    pub(super) synced: Seq,
    pub(super) event: &'a [u8],
    pub(super) prev: &'a [u8],
    pub(super) hash: &'a [u8],
}

/// The minute of the instant that was read last: the next one mostly lies in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Minute {
    text: [u8; TO_MINUTE],
    begins: i64,
}

/// Reads a line (without its newline) whose last field is the hash.
pub(super) fn line<'a>(line: &'a [u8], minute: &mut Minute) -> Option<Plain<'a>> {
    let rest = line.strip_suffix(AFTER_HASH)?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
    let rest = rest.strip_suffix(BEFORE_HASH)?.strip_suffix(b"\"")?;
    let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(HEX)?)?;
    let mut rest = Rest(rest.strip_suffix(BEFORE_PREV)?);
    rest.word(BEGIN)?;
    let seq = rest.number()?;
    rest.word(b",\"at\":\"")?;
    let at = minute.instant(rest.text()?)?;
    rest.word(b",\"epoch\":")?;
    let epoch = rest.number()?;
    rest.word(b",\"synced\":")?;
    let synced = rest.number()?;
    rest.word(b",\"event\":")?;
    Some(Plain { seq, at, epoch, synced, event: rest.0, prev, hash })
}

/// Reads the events that a long journal is made of: starts, ends, backoffs that are over.
pub(super) fn event(bytes: &[u8]) -> Option<Wire<'_>> {
    let mut rest = Rest(bytes);
    rest.word(b"{\"")?;
    match rest.text()? {
        "started" => {
            let (step, way, attempt) = rest.job()?;
            rest.end(b"}}")?;
            Some(Wire::Started { step, way, attempt })
        }
        "ended" => {
            let (step, way, attempt) = rest.job()?;
            rest.word(b",\"ending\":")?;
            let ending = match rest.0.strip_suffix(b"}}")? {
                b"{\"done\":{}}" => WireEnding::Done { outputs: Outputs::new() },
                other => serde_json::from_slice(other).ok()?,
            };
            Some(Wire::Ended { step, way, attempt, ending })
        }
        "due" => {
            rest.word(b":{\"timer\":{\"retry\":{\"step\":\"")?;
            let step = Cow::Borrowed(rest.text()?);
            let way = rest.way()?;
            rest.word(b"}}")?;
            let jumped = rest.word(b",\"jumped\":true").is_some();
            rest.end(b"}}")?;
            Some(Wire::Due { timer: WireTimer::Retry { step, way }, jumped })
        }
        _ => None,
    }
}

impl Minute {
    /// An instant in UTC, to the second or finer.
    fn instant(&mut self, text: &str) -> Option<Timestamp> {
        let (minute, rest) = text.as_bytes().split_at_checked(TO_MINUTE)?;
        let [b':', tens @ b'0'..=b'5', ones @ b'0'..=b'9', fraction @ .., b'Z'] = rest else {
            return None;
        };
        let second = i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
        if minute != self.text {
            let whole: Timestamp = text.parse().ok()?;
            let begins = whole.as_second().checked_sub(second)?;
            // Before 1970 a fraction counts backwards; other ways to write a minute are seldom.
            if begins < 0 || minute[10] != b'T' || minute[13] != b':' {
                return Some(whole);
            }
            *self = Self { text: minute.try_into().ok()?, begins };
        }
        let nanosecond = match fraction {
            [] => 0,
            [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
                let mut value = 0;
                for digit in digits {
                    value = value * 10 + i32::from(digit.is_ascii_digit().then_some(digit - b'0')?);
                }
                value * 10_i32.pow(9 - u32::try_from(digits.len()).ok()?)
            }
            _ => return None,
        };
        Timestamp::new(self.begins.checked_add(second)?, nanosecond).ok()
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    fn end(&self, word: &[u8]) -> Option<()> {
        (self.0 == word).then_some(())
    }

    /// A number without sign, leading zeros or fraction.
    fn number(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.0.get(count) {
            value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            count += 1;
        }
        if count == 0 || (count > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[count..];
        Some(value)
    }

    /// A string up to its closing quote, which is read too; none that holds an escape.
    fn text(&mut self) -> Option<&'a str> {
        let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        let end = self.0.iter().position(special)?;
        let text = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = self.0[end..].strip_prefix(b"\"")?;
        Some(text)
    }

    fn way(&mut self) -> Option<Way> {
        self.word(b",\"way\":\"")?;
        match self.text()? {
            "do" => Some(Way::Do),
            "undo" => Some(Way::Undo),
            "check" => Some(Way::Check),
            _ => None,
        }
    }

    fn job(&mut self) -> Option<(Cow<'a, str>, Way, u32)> {
        self.word(b":{\"step\":\"")?;
        let step = Cow::Borrowed(self.text()?);
        let way = self.way()?;
        self.word(b",\"attempt\":")?;
        let attempt = u32::try_from(self.number()?).ok()?;
        Some((step, way, attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Head;
    use super::*;
    use serde::Deserialize;

    /// A whole line, as the general parser reads it.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole<'a> {
        seq: Seq,
        at: Timestamp,
        epoch: u64,
        synced: Seq,
        #[serde(borrow)]
        event: Wire<'a>,
        prev: &'a str,
        hash: &'a str,
    }

    const EVENTS: [&str; 8] = [
        r#"{"started":{"step":"transfer[geotrust]","way":"do","attempt":1}}"#,
        r#"{"ended":{"step":"s1","way":"undo","attempt":12,"ending":{"done":{}}}}"#,
        r#"{"ended":{"step":"ä","way":"check","attempt":2,"ending":"not-done"}}"#,
        r#"{"ended":{"step":"s","way":"do","attempt":1,"ending":{"done":{"outputs":{"a":"b"}}}}}"#,
        r#"{"ended":{"step":"s","way":"do","attempt":1,"ending":{"failed":{"kind":"transient","chain":["`a` ended"]}}}}"#,
        r#"{"due":{"timer":{"retry":{"step":"s","way":"do"}}}}"#,
        r#"{"due":{"timer":{"retry":{"step":"s","way":"do"}},"jumped":true}}"#,
        r#"{"closed":"completed"}"#,
    ];

    fn written(event: &str, at: &str) -> Vec<u8> {
        let event: Wire<'_> = serde_json::from_str(event).expect("an event");
        let mut lines = Vec::new();
        let mut head = Head { seq: 41, epoch: 3, ..Head::NONE };
        head.push(&mut lines, at.parse().expect("an instant"), 3, 40, &event);
        lines.pop();
        lines
    }

    /// Whatever is read here, the general parser reads in the same way; says whether it was read.
    fn agree(bytes: &[u8]) -> bool {
        let shown = || String::from_utf8_lossy(bytes);
        for mut minute in [Minute::default(), known()] {
            let Some(mine) = line(bytes, &mut minute) else { return false };
            let Some(event) = event(mine.event) else { return false };
            // Where they are used both were compared with digits.
            if !mine.prev.iter().chain(mine.hash).all(u8::is_ascii_hexdigit) {
                return false;
            }
            let whole: Whole<'_> = serde_json::from_slice(bytes)
                .unwrap_or_else(|error| panic!("{}: refused: {error}", shown()));
            assert_eq!(
                (mine.seq, mine.at, mine.epoch, mine.synced),
                (whole.seq, whole.at, whole.epoch, whole.synced),
                "{}",
                shown()
            );
            assert_eq!((mine.prev, mine.hash), (whole.prev.as_bytes(), whole.hash.as_bytes()));
            assert_eq!(format!("{event:?}"), format!("{:?}", whole.event), "{}", shown());
        }
        true
    }

    /// The minute of the lines is the one read last.
    fn known() -> Minute {
        let mut minute = Minute::default();
        minute.instant("2019-04-06T15:30:00Z").expect("an instant");
        minute
    }

    #[test]
    fn what_is_written_is_read() {
        let (last, all) = EVENTS.split_last().expect("some");
        for at in ["2019-04-06T15:30:59Z", "2019-04-06T15:30:00.000000001Z", "1970-01-01T00:00:00Z"]
        {
            for event in all {
                assert!(agree(&written(event, at)), "{event}");
            }
        }
        // Others are left to the general parser.
        assert!(!agree(&written(last, "2019-04-06T15:30:59Z")));
    }

    #[test]
    fn instants_before_1970_are_the_general_parsers() {
        for text in ["1969-12-31T23:59:59.5Z", "1969-12-31T23:59:00Z", "0001-01-01T00:00:00.25Z"] {
            let mut minute = Minute::default();
            for _ in 0..2 {
                assert_eq!(minute.instant(text), text.parse().ok(), "{text}");
            }
        }
        for text in ["2019-02-30T00:00:00Z", "2019-04-06T24:00:00Z", "2019-04-06T15:30:60Z"] {
            assert_eq!(Minute::default().instant(text), None, "{text}");
            assert_eq!(known().instant(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_accepted_that_the_general_parser_refuses_or_reads_otherwise() {
        let bytes: Vec<u8> = (0..=b'0').chain(*b"19:\\\"{}[],eE+-.TZtzu\x7f\xc3\xa4\xff").collect();
        let mut read = 0;
        for event in EVENTS {
            let line = written(event, "2019-04-06T15:30:07.25Z");
            for at in 0..line.len() {
                for byte in &bytes {
                    let mut other = line.clone();
                    other[at] = *byte;
                    read += usize::from(agree(&other));
                    let mut longer = line.clone();
                    longer.insert(at, *byte);
                    read += usize::from(agree(&longer));
                }
                let mut shorter = line.clone();
                shorter.remove(at);
                read += usize::from(agree(&shorter));
            }
        }
        // Other digits and letters of names, mostly; without them the test would show nothing.
        assert!(read > 5_000, "only {read} of the altered lines were read at all");
    }
}
