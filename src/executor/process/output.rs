//! What a command writes: streamed to a file, kept within bounds however much comes.
//!
//! The first and the last half mebibyte are kept, the middle is counted. A file that cannot be
//! written only warns: a full disk must not change what a step does.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes kept from the beginning, and as many from the end.
pub(crate) const HALF: usize = 512 << 10;
/// Longest line of a command that a message quotes, in characters.
const QUOTED: usize = 300;

/// Takes one stream of a command.
#[derive(Debug)]
pub(crate) struct Sink {
    name: &'static str,
    file: Option<File>,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

/// What is left of a stream after its end.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: u64,
}

impl Sink {
    /// Writes to `directory/name`; without a file when that cannot be made.
    pub(crate) fn new(directory: &Path, name: &'static str) -> Self {
        let path = directory.join(name);
        let file = match File::create(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!("{}: {error}; the output is not kept", path.display());
                None
            }
        };
        Self { name, file, head: Vec::new(), tail: VecDeque::new(), left_out: 0 }
    }

    /// Reads until the end of the stream or an error, both of which end the stream only.
    pub(crate) async fn pump(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!("reading {}: {error}", self.name);
                    return;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HALF - self.head.len()));
        self.head.extend_from_slice(first);
        self.write(first);
        // Of a piece larger than the whole tail only the end can stay.
        let (skipped, rest) = rest.split_at(rest.len().saturating_sub(HALF));
        self.left_out += skipped.len() as u64;
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(HALF);
        self.tail.drain(..excess);
        self.left_out += excess as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            tracing::warn!("writing {}: {error}; the rest is not kept", self.name);
            self.file = None;
        }
    }

    /// Writes the end of the stream, and hands out what was kept.
    pub(crate) fn finish(mut self) -> Kept {
        let tail: Vec<u8> = std::mem::take(&mut self.tail).into();
        if self.left_out > 0 {
            self.write(format!("\n[... {} bytes left out ...]\n", self.left_out).as_bytes());
        }
        self.write(&tail);
        Kept { head: self.head, tail, left_out: self.left_out }
    }
}

impl Kept {
    /// The kept text; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        if self.left_out > 0 {
            // Nothing may match across the hole.
            let (head, tail) =
                (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail));
            return format!("{head}\n\0\n{tail}");
        }
        let whole: Cow<'_, [u8]> = if self.tail.is_empty() {
            Cow::Borrowed(&self.head)
        } else {
            Cow::Owned([self.head.as_slice(), &self.tail].concat())
        };
        String::from_utf8_lossy(&whole).into_owned()
    }

    /// The last line that says something, fit for a message: no control characters, not too long.
    pub(crate) fn last_line(&self) -> Option<String> {
        let bytes = if self.tail.is_empty() { &self.head } else { &self.tail };
        let end = &bytes[bytes.len().saturating_sub(16 << 10)..];
        let text = String::from_utf8_lossy(end);
        let line = text.lines().rev().map(printable).find(|line| !line.is_empty())?;
        Some(line)
    }
}

/// A line without what could move a terminal's cursor.
fn printable(line: &str) -> String {
    let clean: String = line.trim().chars().filter(|c| !c.is_control()).take(QUOTED + 1).collect();
    match clean.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("{}...", &clean[..cut]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[&[u8]]) -> (Kept, Vec<u8>) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut sink = Sink::new(directory.path(), "stdout");
        for piece in pieces {
            sink.take(piece);
        }
        let kept = sink.finish();
        let file = std::fs::read(directory.path().join("stdout")).expect("the file");
        (kept, file)
    }

    #[test]
    fn little_is_kept_whole() {
        let (kept, file) = kept(&[b"one\n", b"two\0\n"]);
        assert_eq!(file, b"one\ntwo\0\n");
        assert_eq!(kept.text(), "one\ntwo\0\n");
        assert_eq!(kept.last_line().as_deref(), Some("two"));
    }

    #[test]
    fn exactly_both_halves_lose_nothing() {
        let bytes = vec![b'x'; 2 * HALF];
        let (kept, file) = kept(&[&bytes]);
        assert_eq!(file.len(), 2 * HALF);
        assert_eq!(kept.left_out, 0);
        assert_eq!(kept.text().len(), 2 * HALF);
    }

    #[test]
    fn of_much_the_beginning_and_the_end_stay() {
        let middle = vec![b'm'; 3 * HALF];
        let (kept, file) = kept(&[b"begin ", &middle, b"\nthe end\n"]);
        assert!(file.starts_with(b"begin m"));
        assert!(file.ends_with(b"m\nthe end\n"));
        assert!(file.len() < 2 * HALF + 100, "{}", file.len());
        let total = b"begin ".len() + middle.len() + b"\nthe end\n".len();
        assert_eq!(kept.left_out as usize, total - 2 * HALF);
        assert_eq!(kept.last_line().as_deref(), Some("the end"));
    }

    #[test]
    fn a_quoted_line_cannot_steer_a_terminal() {
        let (kept, _) = kept(&["fine\n\u{1b}[2Jboo\u{7}m\r\n\n \n".as_bytes()]);
        assert_eq!(kept.last_line().as_deref(), Some("[2Jboom"));
        let long = "ä".repeat(1000);
        let (kept, _) = super::tests::kept(&[long.as_bytes()]);
        assert_eq!(kept.last_line().map(|line| line.chars().count()), Some(QUOTED + 3));
    }
}
