//! Typed reading of a tree: fields, names, numbers, times. Collects every fault instead of stopping
//! at the first. Not known here: which fields there are; the callers name them.

use super::fault::{Fault, Severity};
use super::near::{did_you_mean, foreign, listed, near};
use super::time::{self, NoTime};
use super::tree::{Entry, Node, Value};
use super::{Span, Spanned};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// More errors, and more warnings, than this are counted, not kept: a hostile file must not become a
/// hostile answer.
const MAX_FAULTS: usize = 1000;
/// Misspelt names get a suggestion until so many known names were looked at.
const MAX_LOOKS: usize = 500_000;

/// Collects the faults of one file.
#[derive(Debug, Default)]
pub struct Reader {
    faults: Vec<Fault>,
    /// Known names that suggestions looked at.
    looks: usize,
    errors: usize,
    others: usize,
    /// What maps of fields were asked for, by their names.
    #[cfg(test)]
    asked: BTreeMap<String, std::collections::BTreeSet<String>>,
}

/// The fields of a map, taken one by one; what is left over is unknown.
#[derive(Debug)]
pub struct Fields<'n> {
    entries: &'n [Entry<'n>],
    what: &'static str,
    span: Span,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl Reader {
    /// Keeps a fault. Warnings never crowd out an error: a file with one stays unusable.
    pub fn report(&mut self, fault: Fault) {
        let so_many = match fault.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning | Severity::Note => &mut self.others,
        };
        *so_many += 1;
        if *so_many <= MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Keeps an error.
    pub fn error(&mut self, code: &'static str, span: Span, what: impl Into<String>) {
        self.report(Fault::error(code, span, what));
    }

    /// Errors reported so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The fields that were asked for, by the map's name without its backticks.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeMap<String, std::collections::BTreeSet<String>> {
        self.asked.clone()
    }

    /// The faults, in written order.
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults;
        super::fault::sort(&mut faults);
        faults
    }

    /// An error on a name that is not known, with what was probably meant, else what there is.
    pub fn unknown<'c>(
        &mut self,
        code: &'static str,
        span: Span,
        what: impl Into<String>,
        name: &str,
        known: impl Iterator<Item = &'c str> + Clone,
    ) {
        let mut fault = Fault::error(code, span, what);
        fault.hint = self.suggest(name, known);
        self.report(fault);
    }

    /// What a name that is not known was probably meant to be, else what there is. Nothing more
    /// is said after a few hundred of them: each costs a look at every known name.
    pub fn suggest<'c>(
        &mut self,
        name: &str,
        known: impl Iterator<Item = &'c str> + Clone,
    ) -> Option<String> {
        if self.looks > MAX_LOOKS {
            return None;
        }
        self.looks += known.clone().count();
        let names = listed(known.clone());
        let few = if known.clone().nth(1).is_some() { "there are" } else { "there is only" };
        let meant = did_you_mean(name, known)
            .or_else(|| (!names.is_empty()).then(|| format!("{few} {names}")));
        match (foreign(name), meant) {
            (Some(foreign), Some(meant)) => {
                let between = if meant.ends_with('?') { " " } else { "; " };
                Some(format!("{meant}{between}{foreign}"))
            }
            (foreign, meant) => foreign.or(meant),
        }
    }

    fn expected(&mut self, node: &Node<'_>, what: &str, wanted: &str) {
        let fault = match &node.value {
            Value::Null => Fault::error("empty-value", node.span, format!("{what} is empty"))
                .hint(format!("it must be {wanted}")),
            _ => {
                let what = format!("{what} must be {wanted}, not {}", node.sort());
                Fault::error("wrong-type", node.span, what)
            }
        };
        self.report(fault);
    }

    /// The entries of a map whose keys are names of the file's own (`steps`, `lines`), each key
    /// once; the later of two equal ones is reported and left out.
    pub fn entries<'n>(&mut self, node: &'n Node<'_>, what: &str) -> Option<Vec<&'n Entry<'n>>> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, what, "a map");
            return None;
        };
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let name: &str = &entry.key.value;
            match seen.get(name) {
                Some(first) => self.report(duplicate(name, entry.key.span, *first)),
                None => {
                    seen.insert(name, entry.key.span);
                    kept.push(entry);
                }
            }
        }
        Some(kept)
    }

    /// The fields of a map. `what` names it with its article (`a step`).
    pub fn fields<'n>(&mut self, node: &'n Node<'_>, what: &'static str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, what, "a map");
            return None;
        };
        let known = Vec::with_capacity(32);
        Some(Fields { entries, what, span: node.span, known, missing: Vec::new() })
    }

    /// Text, quoted or not, that is not empty.
    pub fn text<'n>(&mut self, node: &'n Node<'_>, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if text.contains('\0') => {
                // No argument, file name or header can carry it: what stood behind it would be lost.
                let fault = Fault::error("bad-text", node.span, format!("{what} holds a NUL"));
                self.report(fault.hint("leave the `\\0` out"));
                None
            }
            Value::Scalar { text, .. } if !text.is_empty() => Some(text),
            Value::Scalar { .. } => {
                self.error("empty-value", node.span, format!("{what} is empty"));
                None
            }
            _ => {
                self.expected(node, what, "text");
                None
            }
        }
    }

    /// Text with its place.
    pub fn spanned(&mut self, node: &Node<'_>, what: &str) -> Option<Spanned<String>> {
        let text = self.text(node, what)?;
        Some(Spanned { value: text.to_owned(), span: node.span })
    }

    /// A name: letters, digits, `-`, `_`, `.`; it becomes part of step names and of file names.
    pub fn name(&mut self, text: &str, span: Span, what: &str) -> Option<Spanned<String>> {
        if let Err(why) = check_name(text) {
            self.report(
                Fault::error("bad-name", span, format!("{what} `{text}` {why}"))
                    .hint("names are made of letters, digits, `-`, `_` and `.`"),
            );
            return None;
        }
        Some(Spanned { value: text.to_owned(), span })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node<'_>, what: &str) -> Option<bool> {
        let text = self.text(node, what)?;
        let plain = matches!(node.value, Value::Scalar { plain: true, .. });
        match text {
            "true" if plain => Some(true),
            "false" if plain => Some(false),
            _ => {
                let what = format!("{what} must be `true` or `false`, not `{text}`");
                let meant = match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => Some("write `true`"),
                    "no" | "off" | "n" | "false" => Some("write `false`"),
                    _ => None,
                };
                let mut fault = Fault::error("wrong-type", node.span, what);
                fault.hint = meant.map(str::to_owned);
                self.report(fault);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(
        &mut self,
        node: &Node<'_>,
        what: &str,
        within: RangeInclusive<u32>,
    ) -> Option<u32> {
        let text = self.text(node, what)?;
        let plain = matches!(node.value, Value::Scalar { plain: true, .. });
        let digits = plain && text.bytes().all(|byte| byte.is_ascii_digit());
        // A leading zero is octal to some readers of YAML and decimal to others.
        let clear = text.len() == 1 || !text.starts_with('0');
        match text.parse::<u32>() {
            Ok(number) if digits && clear && within.contains(&number) => Some(number),
            _ => {
                let (low, high) = (within.start(), within.end());
                let bounds = if *high == u32::MAX {
                    format!("a whole number from {low}")
                } else {
                    format!("a whole number from {low} to {high}")
                };
                let what = format!("{what} must be {bounds}, not `{text}`");
                let mut fault = Fault::error("wrong-type", node.span, what);
                if !plain && text.parse::<u32>().is_ok() {
                    fault.hint = Some("leave the quotes out".to_owned());
                }
                self.report(fault);
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, node: &Node<'_>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names = words.iter().map(|(word, _)| *word);
        self.unknown("unknown-value", node.span, format!("{what} cannot be `{text}`"), text, names);
        None
    }

    /// A list.
    pub fn list<'n>(&mut self, node: &'n Node<'n>, what: &str) -> Option<&'n [Node<'n>]> {
        match &node.value {
            Value::List(nodes) => Some(nodes),
            Value::Scalar { text, .. } => {
                let fault = Fault::error("wrong-type", node.span, format!("{what} must be a list"));
                let simple = text.len() < 60 && !text.contains(['\n', '[', '{']);
                self.report(if simple { fault.hint(format!("write `[{text}]`")) } else { fault });
                None
            }
            _ => {
                self.expected(node, what, "a list");
                None
            }
        }
    }

    /// A list of texts, not empty, each once.
    pub fn texts(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<Spanned<String>>> {
        let nodes = self.list(node, what)?;
        if nodes.is_empty() {
            self.error("empty-value", node.span, format!("{what} is an empty list"));
            return None;
        }
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            let text = self.text(node, what)?;
            match seen.get(text) {
                Some(first) => self.report(duplicate(text, node.span, *first)),
                None => {
                    seen.insert(text, node.span);
                    out.push(Spanned { value: text.to_owned(), span: node.span });
                }
            }
        }
        Some(out)
    }

    /// A duration with its unit.
    pub fn duration(&mut self, node: &Node<'_>, what: &str) -> Option<SignedDuration> {
        let text = self.text(node, what)?;
        self.time(node.span, what, time::duration(text))
    }

    /// A range of durations, or one duration for both ends.
    pub fn range(
        &mut self,
        node: &Node<'_>,
        what: &str,
    ) -> Option<(SignedDuration, SignedDuration)> {
        let text = self.text(node, what)?;
        self.time(node.span, what, time::range(text))
    }

    /// A time that was parsed, or its fault.
    pub fn time<T>(&mut self, span: Span, what: &str, parsed: Result<T, NoTime>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(NoTime { what: why, hint }) => {
                let mut fault = Fault::error("bad-time", span, format!("{what}: {why}"));
                fault.hint = hint;
                self.report(fault);
                None
            }
        }
    }
}

/// Whether a text is a name: letters, digits, `-`, `_`, `.`, and neither a path nor an option.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && check_name(text).is_ok()
}

/// Why a text is no name, when it is not.
fn check_name(text: &str) -> Result<(), String> {
    if text.len() > 100 {
        return Err("is longer than 100 characters".to_owned());
    }
    if text.starts_with(['-', '.']) {
        return Err("must begin with a letter or a digit".to_owned());
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(' ') => Err("holds a space".to_owned()),
        Some(other) if other.is_ascii() => Err(format!("holds `{other}`")),
        // It may look like a letter of ours, or like nothing at all.
        Some(other) => Err(format!("holds `{other}` (U+{:04X})", u32::from(other))),
        None => Ok(()),
    }
}

/// Whether every field is known and none written twice; told without a set, as most maps are small.
fn all_good(entries: &[Entry<'_>], known: &[&str]) -> bool {
    entries.len() <= known.len()
        && entries.iter().enumerate().all(|(place, entry)| {
            let name: &str = &entry.key.value;
            known.contains(&name) && entries[..place].iter().all(|other| other.key.value != name)
        })
}

fn duplicate(name: &str, again: Span, first: Span) -> Fault {
    Fault::error("duplicate-key", again, format!("`{name}` is written twice"))
        .also(first, "first here")
}

impl<'n> Fields<'n> {
    /// Where the map stands.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The field, when it was written. Its name is known from here on.
    pub fn entry(&mut self, name: &'static str) -> Option<&'n Entry<'n>> {
        self.known.push(name);
        self.entries.iter().find(|entry| entry.key.value == name)
    }

    /// The field's value, when it was written.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node<'n>> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// The field's value; missing, it is an error when the map is [finished](Self::finish).
    pub fn need(&mut self, name: &'static str) -> Option<&'n Node<'n>> {
        let found = self.take(name);
        if found.is_none() {
            self.missing.push(name);
        }
        found
    }

    /// Whether the file says `WORD: v1`. If not, it is no such file, and nothing more can be said.
    pub fn header(&mut self, word: &'static str, reader: &mut Reader) -> bool {
        let Some(node) = self.take(word) else {
            let start = Span { end: self.span.start, ..self.span };
            let what = format!("the file does not say `{word}: v1`");
            reader.report(
                Fault::error("no-header", start, what).hint(format!("begin with `{word}: v1`")),
            );
            return false;
        };
        match reader.text(node, &format!("`{word}`")) {
            Some("v1") => true,
            Some(version) => {
                let what = format!("`{word}: {version}` is a form that this program does not know");
                let hint = format!("write `{word}: v1`");
                reader.report(Fault::error("version", node.span, what).hint(hint));
                false
            }
            None => false,
        }
    }

    /// Reports every field that nobody asked for, every field that is written twice, and every
    /// field that is needed and missing. `other` explains words of other tools that people try.
    pub fn finish(self, reader: &mut Reader, other: &[(&str, &str)]) {
        #[cfg(test)]
        reader
            .asked
            .entry(self.what.trim_matches('`').to_owned())
            .or_default()
            .extend(self.known.iter().map(|name| (*name).to_owned()));
        let mut missing = self.missing;
        if missing.is_empty() && all_good(self.entries, &self.known) {
            return;
        }
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for entry in self.entries {
            let (name, span): (&str, Span) = (&entry.key.value, entry.key.span);
            if let Some(first) = seen.insert(name, span) {
                reader.report(duplicate(name, span, first));
            } else if !self.known.contains(&name) {
                let what = format!("{} has no field `{name}`", self.what);
                if let Some((_, hint)) = other.iter().find(|(word, _)| *word == name) {
                    reader.report(Fault::error("unknown-field", span, what).hint(*hint));
                    missing.retain(|missing| !hint.contains(&format!("`{missing}`")));
                } else {
                    let known = self.known.iter().copied();
                    reader.unknown("unknown-field", span, what, name, known);
                    // A slip in a needed field's name is one fault, not two.
                    let meant = near(name, missing.iter().copied());
                    missing.retain(|missing| Some(*missing) != meant);
                }
            }
        }
        for name in missing {
            let what = format!("{} needs `{name}`", self.what);
            reader.error("missing-field", self.span, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn codes(reader: Reader) -> Vec<&'static str> {
        reader.into_faults().iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn every_fault_is_collected() {
        let root = tree::parse("needz: 1\non: yes\nn: 08\nd: 40\nd: 1h\nl: x\n").expect("yaml");
        let mut reader = Reader::default();
        let mut fields = reader.fields(&root, "a thing").expect("a map");
        let on = fields.take("on").and_then(|node| reader.boolean(node, "`on`"));
        let n = fields.take("n").and_then(|node| reader.number(node, "`n`", 0..=10));
        let d = fields.take("d").and_then(|node| reader.duration(node, "`d`"));
        let l = fields.take("l").map(|node| reader.texts(node, "`l`"));
        fields.need("needs");
        fields.finish(&mut reader, &[]);
        assert_eq!((on, n, d, l), (None, None, None, Some(None)));
        let mut seen = codes(reader);
        seen.sort_unstable();
        let mut want = vec![
            "unknown-field",
            "wrong-type",
            "wrong-type",
            "bad-time",
            "duplicate-key",
            "wrong-type",
        ];
        want.sort_unstable();
        assert_eq!(seen, want);
    }

    #[test]
    fn faults_of_a_hostile_file_are_bounded() {
        let text: String = (0..5000).map(|n| format!("k{n}: 1\n")).collect();
        let root = tree::parse(&text).expect("yaml");
        let mut reader = Reader::default();
        let fields = reader.fields(&root, "a thing").expect("a map");
        fields.finish(&mut reader, &[]);
        assert_eq!(reader.errors(), 5000);
        assert_eq!(reader.into_faults().len(), MAX_FAULTS);
    }

    #[test]
    fn names_become_names_of_files() {
        for bad in ["a/b", "..", "-x", "a b", "a,b", "a[b]", "é", "a\u{1b}"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("ocsp-1.mv_2").is_ok());
    }
}
