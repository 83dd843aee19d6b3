//! A fault of a plan or an estate, and how it is printed.

use super::Span;
use serde::Serialize;
use std::path::Path;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used: exit 2.
    Error,
    /// Worth a look; the exit code stays.
    Warning,
    /// Said once, for the record.
    Note,
}

/// One fault: what, where, why, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad.
    pub severity: Severity,
    /// Stable kebab-case name of the rule, for scripts (`unknown-field`, `cycle`, ...).
    pub code: &'static str,
    /// What and why, lower case, one sentence, names in backticks.
    pub what: String,
    /// Where, when it stands somewhere.
    pub span: Option<Span>,
    /// Other places that belong to it, each with a word.
    pub others: Vec<(Span, String)>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Fault {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            what: what.into(),
            span: Some(span),
            others: Vec::new(),
            hint: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, what) }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With another place that belongs to it.
    #[must_use]
    pub fn also(mut self, span: Span, what: impl Into<String>) -> Self {
        self.others.push((span, what.into()));
        self
    }
}

/// A place for people: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A fault with its places worked out, for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Located {
    /// `error`, `warning` or `note`.
    pub severity: &'static str,
    /// Stable name of the rule.
    pub code: &'static str,
    /// What and why.
    pub message: String,
    /// The file, as named by the caller.
    pub file: String,
    /// Where it begins.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// One past its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Place>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
}

/// Another place that belongs to a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// A word on it.
    pub message: String,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The faults in written order, each rule once per place. Aliases repeat nodes, and their faults.
pub fn sort(faults: &mut Vec<Fault>) {
    faults.sort_by(|a, b| {
        let key = |fault: &Fault| (fault.span.is_none(), fault.span, fault.severity);
        key(a).cmp(&key(b)).then_with(|| a.code.cmp(b.code)).then_with(|| a.what.cmp(&b.what))
    });
    faults.dedup();
}

/// The faults with line and column, for `--json`.
pub fn locate(faults: &[Fault], path: &Path, source: &str) -> Vec<Located> {
    let text = Text::new(source);
    let one = |fault: &Fault| Located {
        severity: fault.severity.name(),
        code: fault.code,
        message: fault.what.clone(),
        file: path.display().to_string(),
        place: fault.span.map(|span| text.place(span.start)),
        end: fault.span.map(|span| text.place(span.end)),
        hint: fault.hint.clone(),
        others: fault
            .others
            .iter()
            .map(|(span, what)| Other { place: text.place(span.start), message: what.clone() })
            .collect(),
    };
    faults.iter().map(one).collect()
}

/// The faults as people read them: `FILE:LINE:COLUMN: error: what`, the place itself, a hint; at the
/// end how many there are. Empty without faults.
///
/// Control characters of a file are never printed: a plan must not drive its reader's terminal.
pub fn render(faults: &[Fault], path: &Path, source: &str) -> String {
    let text = Text::new(source);
    let file = harmless(&path.display().to_string());
    let mut out = String::new();
    for fault in shown(faults) {
        render_one(&mut out, fault, &file, &text);
    }
    let hidden = faults.len().saturating_sub(MAX_SHOWN);
    if hidden > 0 {
        out.push_str(&format!("... and {hidden} more\n\n"));
    }
    let count = |severity| faults.iter().filter(|fault| fault.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 1 {
        let mut parts = Vec::new();
        for (number, word) in [(errors, "error"), (warnings, "warning")] {
            match number {
                0 => {}
                1 => parts.push(format!("1 {word}")),
                _ => parts.push(format!("{number} {word}s")),
            }
        }
        out.push_str(&format!("{} in {file}\n", parts.join(" and ")));
    }
    out
}

/// The code of a fault whose line must not be shown.
pub const INLINE_SECRET: &str = "inline-secret";
/// More faults than this help nobody.
const MAX_SHOWN: usize = 100;
/// Characters of a line that are shown.
const WIDTH: usize = 110;

/// The first faults, in written order. Where there are too many, warnings do not hide an error.
fn shown(faults: &[Fault]) -> Vec<&Fault> {
    let of = |error: bool| {
        faults.iter().filter(move |fault| (fault.severity == Severity::Error) == error)
    };
    if faults.len() <= MAX_SHOWN {
        return faults.iter().collect();
    }
    of(true).chain(of(false)).take(MAX_SHOWN).collect()
}

fn render_one(out: &mut String, fault: &Fault, file: &str, text: &Text<'_>) {
    let (severity, what) = (fault.severity.name(), harmless(&fault.what));
    match fault.span {
        None => out.push_str(&format!("{file}: {severity}: {what}\n")),
        Some(span) => {
            let Place { line, column } = text.place(span.start);
            out.push_str(&format!("{file}:{line}:{column}: {severity}: {what}\n"));
            let widest = fault.others.iter().map(|(span, _)| text.place(span.start).line);
            let gutter = widest.chain([line]).max().unwrap_or(1).to_string().len();
            // A line that holds a password is not repeated in a terminal or a log.
            if fault.code != INLINE_SECRET && !text.source.trim().is_empty() {
                text.snippet(out, span, gutter, '^', "");
            }
            for (span, word) in &fault.others {
                text.snippet(out, *span, gutter, '-', &harmless(word));
            }
        }
    }
    if let Some(hint) = &fault.hint {
        out.push_str(&format!("  hint: {}\n", harmless(hint)));
    }
    out.push('\n');
}

/// The text without characters that a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that a terminal obeys, and those that it does not show: a name with one of them would
/// look like another.
fn obeyed(c: char) -> bool {
    let unseen =
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    let turning =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || unseen || turning
}

/// A source text with its line starts.
struct Text<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

impl<'s> Text<'s> {
    fn new(source: &'s str) -> Self {
        let newlines = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { source, starts }
    }

    /// Index of the line that holds the byte, and the byte on a character boundary.
    fn at(&self, byte: u32) -> (usize, usize) {
        let byte = self.source.floor_char_boundary((byte as usize).min(self.source.len()));
        (self.starts.partition_point(|start| *start <= byte).saturating_sub(1), byte)
    }

    fn line(&self, index: usize) -> &'s str {
        let start = self.starts.get(index).copied().unwrap_or(self.source.len());
        let end = self.starts.get(index + 1).copied().unwrap_or(self.source.len());
        self.source.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }

    fn place(&self, byte: u32) -> Place {
        let (index, byte) = self.at(byte);
        let column = self.source[self.starts[index]..byte].chars().count() + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { line: narrow(index + 1), column: narrow(column) }
    }

    /// The line of a span with a mark under it, cropped around the mark.
    fn snippet(&self, out: &mut String, span: Span, gutter: usize, mark: char, word: &str) {
        let (index, start) = self.at(span.start);
        let (_, end) = self.at(span.end.max(span.start));
        let line = self.line(index);
        let first = self.starts[index];
        let from = self.source[first..start].chars().count();
        let stop = end.clamp(start, first + line.len().max(start - first));
        let length = self.source[start..stop].chars().count().max(1);
        let skip = if from + length.min(20) > WIDTH { from.saturating_sub(30) } else { 0 };
        let shown: String = line.chars().skip(skip).take(WIDTH).collect();
        let cut_left = if skip > 0 { "..." } else { "" };
        let cut_right = if line.chars().count() > skip + WIDTH { "..." } else { "" };
        let shown = harmless(&shown.replace('\t', " "));
        let pad = " ".repeat(from - skip + cut_left.len());
        let marks: String =
            std::iter::repeat_n(mark, length.min(WIDTH - (from - skip).min(WIDTH - 1))).collect();
        let number = index + 1;
        out.push_str(&format!("  {number:>gutter$} | {cut_left}{}{cut_right}\n", shown.trim_end()));
        let gap = if word.is_empty() { "" } else { " " };
        out.push_str(&format!("  {:>gutter$} | {pad}{marks}{gap}{word}\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(source: &str, part: &str) -> Span {
        let start = source.find(part).expect("part of the source");
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }

    #[test]
    fn a_fault_shows_its_place() {
        let source = "steps:\n  ä: { neds: [b] }\n";
        let fault =
            Fault::error("unknown-field", span(source, "neds"), "a step has no field `neds`")
                .hint("did you mean `needs`?");
        let want = "\
plan.yaml:2:8: error: a step has no field `neds`
  2 |   ä: { neds: [b] }
    |        ^^^^
  hint: did you mean `needs`?

";
        assert_eq!(render(std::slice::from_ref(&fault), Path::new("plan.yaml"), source), want);
        let located = locate(&[fault], Path::new("plan.yaml"), source);
        assert_eq!(located[0].place, Some(Place { line: 2, column: 8 }));
        let json = serde_json::to_value(&located[0]).expect("json");
        assert_eq!(
            (&json["line"], &json["column"], &json["end"]["column"]),
            (&2.into(), &8.into(), &12.into())
        );
    }

    #[test]
    fn other_places_follow() {
        let source = "a: 1\na: 2\n";
        let first = Span { start: 0, end: 1 };
        let second = Span { start: 5, end: 6 };
        let fault =
            Fault::error("duplicate-key", second, "`a` is written twice").also(first, "first here");
        let out = render(&[fault.clone(), fault], Path::new("p"), source);
        assert!(out.contains("  1 | a: 1\n    | - first here\n"), "{out}");
        assert!(out.ends_with("2 errors in p\n"), "{out}");
    }

    #[test]
    fn nothing_of_a_file_drives_the_terminal() {
        let source = "a: \u{1b}[2J\u{202e}x\n";
        let fault = Fault::error("x", Span { start: 0, end: 99 }, "bad `\u{1b}]0;owned\u{7}`");
        let out = render(&[fault], Path::new("\u{1b}[1m"), source);
        assert!(!out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{out:?}");
    }

    #[test]
    fn any_span_of_any_text_can_be_shown() {
        for source in ["", "\n", "é", "a\r\nb", &"x".repeat(500)] {
            for start in 0..(source.len() as u32 + 3).min(520) {
                for end in [0, start, start + 1, start + 400, u32::MAX] {
                    let fault = Fault::error("x", Span { start, end }, "x");
                    let out = render(std::slice::from_ref(&fault), Path::new("p"), source);
                    assert!(out.lines().all(|line| line.chars().count() < 140), "{out}");
                    let _ = locate(&[fault], Path::new("p"), source);
                }
            }
        }
    }
}
