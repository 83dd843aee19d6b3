//! Lines, hashes and places: what both journals of a run are made of.
//!
//! A record is one line of JSON. Its `hash` is the SHA-256 of the line's own bytes up to the `hash`
//! field; those bytes hold `prev`, the hash of the record before, so that every record seals all
//! that came earlier. `sha256sum` can check it: `printf %s "${line%,\"hash\"*}" | sha256sum`.
//!
//! Not known here: what a record says, and where runs live.

use super::plain::{self, Minute, Plain};
use crate::event::Seq;
use jiff::Timestamp;
use memchr::memchr;
use ring::digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Longest line that is read: a header holds plan and estate, all else is small.
const LONGEST: usize = 64 << 20;
/// What stands between the hashed bytes and the hash.
pub(super) const BEFORE_HASH: &[u8] = b",\"hash\":\"";
/// What stands after the hash, the newline aside.
pub(super) const AFTER_HASH: &[u8] = b"\"}";
/// What a runner lays behind its records, to overwrite: an empty line, so that readers of lines go on.
pub const PADDING: u8 = b'\n';
/// How every record begins. Within a record's strings the quotes are escaped, so this is found
/// nowhere else.
pub(super) const BEGIN: &[u8] = b"{\"seq\":";

/// A SHA-256 as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 64]);

impl Hash {
    /// What the first record names as the one before it.
    pub const NONE: Self = Self([b'0'; 64]);

    fn of(bytes: &[u8]) -> Self {
        let mut hex = [0; 64];
        for (at, byte) in digest::digest(&digest::SHA256, bytes).as_ref().iter().enumerate() {
            hex[2 * at] = b"0123456789abcdef"[usize::from(byte >> 4)];
            hex[2 * at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        Self(hex)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("BUG: hex digits are ASCII")
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The newest record of a chain: what the next one must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 before the first.
    pub seq: Seq,
    /// Its hash.
    pub hash: Hash,
    /// Its epoch.
    pub epoch: u64,
    /// What it called durable.
    pub synced: Seq,
}

impl Head {
    /// Before the first record.
    pub const NONE: Self = Self { seq: 0, hash: Hash::NONE, epoch: 0, synced: 0 };

    /// Adds the line of the next record to `lines` and becomes it. `synced` is the highest number
    /// that is durable now.
    pub fn push<E: Serialize>(
        &mut self,
        lines: &mut Vec<u8>,
        at: Timestamp,
        epoch: u64,
        synced: Seq,
        event: &E,
    ) {
        let start = lines.len();
        let seq = self.seq + 1;
        let line = Out { seq, at, epoch, synced, event, prev: self.hash.as_str() };
        serde_json::to_writer(&mut *lines, &line)
            .expect("BUG: events have text keys and a Vec takes every byte");
        lines.pop(); // the closing brace: the hash stands before it
        let hash = Hash::of(&lines[start..]);
        lines.extend_from_slice(BEFORE_HASH);
        lines.extend_from_slice(&hash.0);
        lines.extend_from_slice(AFTER_HASH);
        lines.push(b'\n');
        *self = Self { seq, hash, epoch, synced };
    }
}

#[derive(Serialize)]
struct Out<'a, E> {
    seq: Seq,
    at: Timestamp,
    epoch: u64,
    synced: Seq,
    event: &'a E,
    prev: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "E: Deserialize<'de>"))]
struct In<'a, E> {
    seq: Seq,
    at: Timestamp,
    epoch: u64,
    synced: Seq,
    event: E,
    prev: &'a str,
    hash: &'a str,
}

/// A record as it stands in its file.
#[derive(Debug)]
pub struct Line<E> {
    /// Its number.
    pub seq: Seq,
    /// When it was appended.
    pub at: Timestamp,
    /// Of which runner.
    pub epoch: u64,
    /// What it says.
    pub event: E,
    /// Its line in the file, from 1.
    pub line: u64,
    /// Offset of its first byte.
    pub byte: u64,
}

/// A place where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Line of the file, from 1.
    pub line: u64,
    /// Offset in the file of the first byte of the damaged record.
    pub byte: u64,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, byte {}: {}", self.line, self.byte, self.why)
    }
}

/// Why a scan stopped before the end of its file.
#[derive(Debug)]
pub enum Flaw {
    /// Bytes that a crash can leave behind: no later intact record calls them durable. They may be
    /// cut off, and reading may go on here when more has been written.
    Torn(Damage),
    /// Any other damage: bytes that were durable are not what they were, or an intact record stands
    /// where it cannot.
    Damaged(Damage),
    /// The file could not be read.
    Io(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a chain is read from: a file, or the bytes that a simulated disk holds.
pub trait Source: Read + Seek {
    /// How long it is now.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for io::Cursor<&[u8]> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.get_ref().len() as u64)
    }
}

/// Reads a chain line by line, in bounded memory.
#[derive(Debug)]
pub struct Scanner<F: Source = File> {
    reader: BufReader<F>,
    buffer: Vec<u8>,
    /// Offset of the next line.
    offset: u64,
    /// Lines read.
    lines: u64,
    head: Head,
    minute: Minute,
}

impl<F: Source> Scanner<F> {
    /// Reads from the file's beginning.
    ///
    /// # Errors
    /// When the file cannot be sought.
    pub fn new(mut file: F) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        let (buffer, head, minute) = (Vec::new(), Head::NONE, Minute::default());
        Ok(Self { reader, buffer, offset: 0, lines: 0, head, minute })
    }

    /// The newest intact record.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Offset one past the newest intact record.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the file now.
    ///
    /// # Errors
    /// When the file cannot be asked.
    pub fn file_len(&self) -> io::Result<u64> {
        self.reader.get_ref().length()
    }

    /// The next record; none at the end of the file, or where only padding follows. May be asked again
    /// after `None` and after [`Flaw::Torn`]: it goes on where the last intact record ended.
    ///
    /// # Errors
    /// Where and why the chain does not hold.
    pub fn next<'s, E: Deserialize<'s>>(&'s mut self) -> Result<Option<Line<E>>, Flaw> {
        self.next_by(|_| None)
    }

    /// The same, for events that `quick` reads where it can, in the same way as their parser would.
    pub(super) fn next_by<'s, E: Deserialize<'s>>(
        &'s mut self,
        quick: impl FnOnce(&'s [u8]) -> Option<E>,
    ) -> Result<Option<Line<E>>, Flaw> {
        let (line, byte) = (self.lines + 1, self.offset);
        let Some(hash) = self.fill_intact(line, byte)? else { return Ok(None) };
        let length = self.buffer.len() as u64;
        let damaged = |why: String, byte: u64| Flaw::Damaged(Damage { line, byte, why });
        let text = &self.buffer[..self.buffer.len() - 1];
        let (envelope, at, event) = match quickly(text, &self.head, &mut self.minute, quick) {
            Some(read) => read,
            None => {
                let record: In<'s, E> = serde_json::from_slice(text).map_err(|error| {
                    let column = (error.column() as u64).saturating_sub(1);
                    let why = error.to_string();
                    let why = why.split(" at line ").next().unwrap_or(&why);
                    damaged(format!("not a record of this format: {why}"), byte + column)
                })?;
                let In { seq, at, epoch, synced, event, prev, hash } = record;
                let (prev, hash) = (prev.as_bytes(), hash.as_bytes());
                (Envelope { seq, epoch, synced, prev, hash }, at, event)
            }
        };
        if envelope.hash != hash.0 {
            return Err(damaged("its last field is not its hash".to_owned(), byte));
        }
        envelope.follows(&self.head).map_err(|why| damaged(why, byte))?;
        let Envelope { seq, epoch, synced, .. } = envelope;
        self.head = Head { seq, hash, epoch, synced };
        self.offset += length;
        self.lines = line;
        Ok(Some(Line { seq, at, epoch, event, line, byte }))
    }

    /// Reads the next line into the buffer and answers its hash; none where nothing follows yet.
    fn fill_intact(&mut self, line: u64, byte: u64) -> Result<Option<Hash>, Flaw> {
        let mut again = false;
        loop {
            if !self.fill()? {
                if self.file_len()? < self.offset {
                    let why = "the file is shorter than what was read from it".to_owned();
                    return Err(Flaw::Damaged(Damage { line, byte, why }));
                }
                return Ok(None);
            }
            if self.buffer == [PADDING] && self.skip_padding()? {
                self.reader.seek(SeekFrom::Start(self.offset))?;
                return Ok(None);
            }
            if let Some(hash) = intact(&self.buffer) {
                return Ok(Some(hash));
            }
            match self.torn_or_damaged(line, byte)? {
                // Somebody writes while we read, and what we read first was older than what we read
                // last. A record that is called durable is there at a second look.
                Flaw::Damaged(_) if !again => again = true,
                flaw => return Err(flaw),
            }
        }
    }

    /// Reads one line into the buffer, newline included; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        loop {
            let bytes = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let bytes = &bytes[..bytes.len().min(LONGEST - self.buffer.len())];
            let newline = memchr(b'\n', bytes);
            let count = newline.map_or(bytes.len(), |at| at + 1);
            self.buffer.extend_from_slice(&bytes[..count]);
            self.reader.consume(count);
            if newline.is_some() || count == 0 {
                return Ok(!self.buffer.is_empty());
            }
        }
    }

    /// Skips padding; true when nothing else follows to the end of the file.
    fn skip_padding(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(true);
            }
            let (all, empty) = (bytes.len(), bytes.iter().position(|byte| *byte != PADDING));
            self.reader.consume(empty.unwrap_or(all));
            if empty.is_some() {
                return Ok(false);
            }
        }
    }

    /// The line in the buffer is not intact: whether a crash can have left it so. A block that never
    /// reached the disk shows the padding that it was to overwrite.
    fn torn_or_damaged(&mut self, line: u64, byte: u64) -> io::Result<Flaw> {
        let why = match self.buffer.as_slice() {
            [PADDING] => "the record that belongs here is missing, though more follows",
            [.., b'\n'] => "the bytes of this record do not match their hash",
            _ => "the file ends in the middle of this record",
        };
        let damage = Damage { line, byte, why: why.to_owned() };
        let wanted = self.head.seq + 1;
        let mut called_durable = false;
        loop {
            // A damaged newline, or a hole that ends where a record begins, glues an intact record
            // to the end of a damaged one.
            let start = last_begin(&self.buffer);
            called_durable |= start
                .and_then(|start| synced_by(&self.buffer[start..]))
                .is_some_and(|synced| synced >= wanted);
            if called_durable || self.skip_padding()? || !self.fill()? {
                break;
            }
        }
        self.reader.seek(SeekFrom::Start(self.offset))?;
        Ok(if called_durable { Flaw::Damaged(damage) } else { Flaw::Torn(damage) })
    }

    /// The file, for whoever cuts or keeps aside.
    pub fn into_file(self) -> F {
        self.reader.into_inner()
    }
}

/// A line of our own form that hangs on `head`; none when only the general parser can say what it is.
fn quickly<'s, E: Deserialize<'s>>(
    text: &'s [u8],
    head: &Head,
    minute: &mut Minute,
    quick: impl FnOnce(&'s [u8]) -> Option<E>,
) -> Option<(Envelope<'s>, Timestamp, E)> {
    let Plain { seq, at, epoch, synced, event, prev, hash } = plain::line(text, minute)?;
    if prev != head.hash.0 {
        return None;
    }
    let event = quick(event).or_else(|| serde_json::from_slice(event).ok())?;
    Some((Envelope { seq, epoch, synced, prev, hash }, at, event))
}

struct Envelope<'a> {
    seq: Seq,
    epoch: u64,
    synced: Seq,
    prev: &'a [u8],
    hash: &'a [u8],
}

impl Envelope<'_> {
    /// An intact record in the wrong place was never left by a crash: a journal of another run, a
    /// doubled line, a line taken out.
    fn follows(&self, head: &Head) -> Result<(), String> {
        let Self { seq, epoch, synced, prev, hash: _ } = self;
        if *seq != head.seq + 1 {
            return Err(format!("record {seq} stands where record {} belongs", head.seq + 1));
        }
        if *prev != head.hash.0 {
            return Err(format!("record {seq} does not hang on record {}", head.seq));
        }
        if *epoch < head.epoch {
            return Err(format!("record {seq} of epoch {epoch} follows epoch {}", head.epoch));
        }
        if *synced >= *seq || *synced < head.synced {
            return Err(format!("record {seq} calls record {synced} durable, which cannot be"));
        }
        Ok(())
    }
}

/// The hash of an intact line (newline included): it stands where it belongs and matches.
fn intact(line: &[u8]) -> Option<Hash> {
    let body = line.strip_suffix(b"\n")?.strip_suffix(AFTER_HASH)?;
    let (body, hash) = body.split_at_checked(body.len().checked_sub(64)?)?;
    let body = body.strip_suffix(BEFORE_HASH)?;
    let found = Hash::of(body);
    (found.0 == hash).then_some(found)
}

/// What an intact line calls durable.
fn synced_by(line: &[u8]) -> Option<Seq> {
    intact(line)?;
    let record: In<'_, IgnoredAny> = serde_json::from_slice(line).ok()?;
    Some(record.synced)
}

/// Where the last record on this line begins.
fn last_begin(line: &[u8]) -> Option<usize> {
    (0..line.len().saturating_sub(BEGIN.len())).rev().find(|at| line[*at..].starts_with(BEGIN))
}

#[cfg(test)]
mod tests;
