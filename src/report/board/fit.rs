//! Rows that fit: what is too wide is broken between words or leaves out what can be spared, what is
//! too high is folded and counted. Not known here: a run.

use super::counted;
use console::measure_text_width as width_of;

const BETWEEN: &str = " · ";

/// A row of facts, the first of them the one that must be read.
pub(super) struct Segments {
    all: Vec<(String, bool)>,
}

impl Segments {
    pub(super) fn new(first: String) -> Self {
        Self { all: vec![(first, false)] }
    }

    pub(super) fn push(&mut self, text: String) {
        self.all.push((text, false));
    }

    /// A fact that a narrow screen goes without before it goes without others.
    pub(super) fn spare(&mut self, text: String) {
        self.all.push((text, true));
    }

    pub(super) fn extend(&mut self, text: Option<String>) {
        self.all.extend(text.map(|text| (text, false)));
    }

    /// As many lines as are wanted, broken between facts.
    pub(super) fn lines(self, width: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for (text, _) in self.all {
            match lines.last_mut() {
                Some(line) if width_of(line) + width_of(&text) + 3 <= width => {
                    line.push_str(BETWEEN);
                    line.push_str(&text);
                }
                _ => lines.push(text),
            }
        }
        lines
    }

    /// One line: facts that do not fit are left out, from the end, those that can be spared first.
    pub(super) fn cut(mut self, width: usize) -> String {
        while self.all.len() > 1 && self.wide() > width {
            let spare = self.all.iter().rposition(|(_, spare)| *spare);
            self.all.remove(spare.unwrap_or(self.all.len() - 1));
        }
        let texts: Vec<String> = self.all.into_iter().map(|(text, _)| text).collect();
        texts.join(BETWEEN)
    }

    fn wide(&self) -> usize {
        let texts: usize = self.all.iter().map(|(text, _)| width_of(text)).sum();
        texts + 3 * (self.all.len() - 1)
    }
}

/// Columns of the widest name, within bounds.
pub(super) fn columns<'a>(
    names: impl Iterator<Item = &'a str>,
    least: usize,
    most: usize,
) -> usize {
    names.map(width_of).max().unwrap_or(0).clamp(least, most)
}

/// Breaks a text between words; lines after the first are indented. A word that is wider than a line
/// is broken where the line ends.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let width = width.max(indent + 8);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let wide = width_of(word.trim_end_matches(' '));
        if used + wide > width && used > indent {
            let line = lines.last_mut().expect("BUG: a text has a line");
            line.truncate(line.trim_end().len());
            lines.push(" ".repeat(indent));
            used = indent;
        }
        for c in word.chars() {
            let one = width_of(c.encode_utf8(&mut [0; 4]));
            if used + one > width && c != ' ' {
                lines.push(" ".repeat(indent));
                used = indent;
            }
            lines.last_mut().expect("BUG: a text has a line").push(c);
            used += one;
        }
    }
    lines
}

/// Rows of one sort, and how few of them still tell something.
pub(super) struct Part {
    rows: Vec<(String, usize)>,
    least: usize,
    what: &'static str,
    tail: &'static str,
}

impl Part {
    /// Each row stands for one thing: `what` in the singular, and what is said after its number.
    pub(super) fn new(
        rows: Vec<String>,
        least: usize,
        what: &'static str,
        tail: &'static str,
    ) -> Self {
        Self::weighed(rows.into_iter().map(|row| (row, 1)).collect(), least, what, tail)
    }

    /// Rows with the number of things that each stands for.
    pub(super) fn weighed(
        rows: Vec<(String, usize)>,
        least: usize,
        what: &'static str,
        tail: &'static str,
    ) -> Self {
        Self { rows, least, what, tail }
    }

    fn high(&self) -> usize {
        if self.rows.is_empty() { 0 } else { self.rows.len() + 1 }
    }

    /// Down to so many rows, the last of them counting what is not shown.
    pub(super) fn fold(&mut self, rows: usize) {
        let rows = rows.max(self.least).max(1);
        if self.rows.len() <= rows {
            return;
        }
        let hidden: usize = self.rows.drain(rows - 1..).map(|(_, things)| things).sum();
        let text = format!("        and {} more {}", hidden, plural(self.what, hidden));
        self.rows.push((text + self.tail, hidden));
    }
}

fn plural(what: &str, count: usize) -> String {
    let counted = counted(count, what);
    counted.split_once(' ').map_or_else(String::new, |(_, word)| word.to_owned())
}

/// All of it in no more than `height` rows: later parts are folded first.
pub(super) fn stacked<const N: usize>(
    head: Vec<String>,
    mut parts: [Part; N],
    height: usize,
) -> Vec<String> {
    let high = |parts: &[Part; N]| head.len() + parts.iter().map(Part::high).sum::<usize>();
    for at in (0..N).rev() {
        let over = high(&parts).saturating_sub(height);
        if over > 0 {
            let rows = parts[at].rows.len().saturating_sub(over);
            parts[at].fold(rows);
        }
    }
    // Air is the last thing to be given up.
    let air = high(&parts) <= height;
    let mut out = head;
    for part in parts.into_iter().filter(|part| !part.rows.is_empty()) {
        if air {
            out.push(String::new());
        }
        out.extend(part.rows.into_iter().map(|(row, _)| row));
    }
    out.truncate(height);
    out
}
