//! What a text of a step may look up, and the reading of texts with look-ups in them.

use super::Line;
use super::template::{Cut, Piece, Template, cut};
use crate::text::Span;
use crate::text::fault::Fault;
use crate::text::reader::Reader;
use crate::text::tree::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// An output that a text of a step looks up. That the step exists and prints it is checked when all
/// steps are read; that it is needed, by the graph.
pub(crate) struct OutputUse {
    pub(crate) step: String,
    pub(crate) output: String,
    pub(crate) span: Span,
}

/// The place where a step is being read: its faults go here, and its look-ups are judged here.
pub(crate) struct Scope<'p> {
    pub(crate) reader: Reader,
    /// The whole file, to point at a look-up inside a text.
    pub(crate) source: &'p str,
    /// Where relative paths start.
    pub(crate) directory: &'p Path,
    /// The plan's lines by name.
    pub(crate) lines: BTreeMap<String, Line>,
    /// The plan's facts.
    pub(crate) facts: BTreeMap<String, String>,
    /// The variables of the step that is being read, with their values.
    pub(crate) variables: Vec<(String, Vec<String>)>,
    /// Facts that every line of that step was found to have.
    of_all_lines: BTreeSet<String>,
    /// Every output that was looked up so far.
    pub(crate) outputs: Vec<OutputUse>,
    /// The plan says no `lines` at all; false as well when what it says could not be read.
    pub(crate) no_lines: bool,
    /// Values that `for_each` may still have, over all steps.
    pub(crate) values_left: usize,
    /// Whether a graph of what was read so far would say the truth, errors or not.
    pub(crate) sound: bool,
}

/// Values of `for_each` in all steps together: a small file must not become a large plan.
const MAX_VALUES: usize = 2_000_000;

/// Bytes of a text that names something, as it is written.
const MAX_NAME: usize = 300;
/// Look-ups in a text that names something.
const MAX_LOOK_UPS: usize = 8;

/// What may be looked up in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    /// Only what is known before the run: names of sites, providers, databases.
    Fixed,
    /// Outputs of earlier steps too.
    All,
}

impl<'p> Scope<'p> {
    pub(crate) fn new(source: &'p str, path: &'p Path) -> Self {
        Self {
            reader: Reader::default(),
            source,
            directory: path.parent().unwrap_or(Path::new("")),
            lines: BTreeMap::new(),
            facts: BTreeMap::new(),
            variables: Vec::new(),
            of_all_lines: BTreeSet::new(),
            outputs: Vec::new(),
            no_lines: false,
            values_left: MAX_VALUES,
            sound: true,
        }
    }

    /// Counts values of a `for_each`; false when there are too many of them in the plan.
    pub(crate) fn count_values(&mut self, number: usize, span: Span) -> bool {
        match self.values_left.checked_sub(number) {
            Some(left) => {
                self.values_left = left;
                true
            }
            None => {
                let what = format!("the steps are over more than {MAX_VALUES} values in all");
                self.reader.error("too-many-values", span, what);
                false
            }
        }
    }

    /// A text that names something; what is looked up in it is known before the run.
    pub(crate) fn fixed(&mut self, node: &Node<'_>, what: &str) -> Option<Template> {
        let text = self.reader.text(node, what)?;
        // It is filled for every instance of the step, to be looked up.
        if text.len() > MAX_NAME || text.matches("${{").count() > MAX_LOOK_UPS {
            let long = format!(
                "{what} is longer than {MAX_NAME} bytes, or has more than {MAX_LOOK_UPS} look-ups"
            );
            self.reader.error("too-long", node.span, long);
            return None;
        }
        self.template(node, what, Looks::Fixed)
    }

    /// A text that is filled when the step begins. It may be empty when it is quoted.
    pub(crate) fn filled(&mut self, node: &Node<'_>, what: &str) -> Option<Template> {
        self.template(node, what, Looks::All)
    }

    /// A list of names, not empty, each once.
    pub(crate) fn fixed_list(&mut self, node: &Node<'_>, what: &str) -> Option<Vec<Template>> {
        let nodes = self.reader.list(node, what)?;
        if nodes.is_empty() {
            self.reader.error("empty-value", node.span, format!("{what} is an empty list"));
            return None;
        }
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            let template = self.fixed(node, &format!("a name in {what}"))?;
            let written = template.to_string();
            match seen.get(&written) {
                Some(first) => self.reader.report(
                    Fault::error(
                        "named-twice",
                        node.span,
                        format!("{what} names `{written}` twice"),
                    )
                    .also(*first, "first here"),
                ),
                None => {
                    seen.insert(written, node.span);
                    out.push(template);
                }
            }
        }
        Some(out)
    }

    fn template(&mut self, node: &Node<'_>, what: &str, looks: Looks) -> Option<Template> {
        let text = match &node.value {
            Value::Scalar { text, .. } => text,
            _ => {
                self.reader.text(node, what)?;
                return None;
            }
        };
        if text.contains('\0') {
            self.reader.text(node, what)?;
        }
        if !text.contains("${{") {
            let literal = || vec![Piece::Text(text.clone().into_owned())];
            let pieces = if text.is_empty() { Vec::new() } else { literal() };
            return Some(Template { pieces, span: node.span });
        }
        let mut pieces = Vec::new();
        let mut good = true;
        // Look-ups are found in the file in their order: none is searched for from the start.
        let mut rest = node.span;
        for part in cut(text) {
            match part {
                Cut::Text(text) => pieces.push(Piece::Text(text.to_owned())),
                Cut::Open(raw) => {
                    let span = self.inside(rest, node.span, raw);
                    self.reader.error("template", span, "this `${{` has no `}}`");
                    good = false;
                }
                Cut::Look { inner, raw } => {
                    let span = self.inside(rest, node.span, raw);
                    rest.start = if span == node.span { rest.end } else { span.end };
                    match self.look(inner, span, looks) {
                        Ok(piece) => pieces.push(piece),
                        Err(fault) => {
                            self.reader.report(*fault);
                            good = false;
                        }
                    }
                }
            }
        }
        // With a faulty look-up among its arguments a step still stands in the graph.
        (good || looks == Looks::All).then_some(Template { pieces, span: node.span })
    }

    /// The place of a part of a text, searched for in `rest`; the whole text, when it does not
    /// stand in the file as it is.
    pub(crate) fn inside(&self, rest: Span, span: Span, part: &str) -> Span {
        let (start, end) = (rest.start as usize, rest.end as usize);
        let found = self.source.get(start..end).and_then(|written| written.find(part));
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        match found {
            Some(at) => Span { start: narrow(start + at), end: narrow(start + at + part.len()) },
            None => span,
        }
    }

    fn look(&mut self, inner: &str, span: Span, looks: Looks) -> Result<Piece, Box<Fault>> {
        let fault = |what: String| Box::new(Fault::error("template", span, what));
        if inner.is_empty() {
            return Err(fault("nothing is looked up here".to_owned()));
        }
        let odd = |c: &char| !(c.is_alphanumeric() || "-_.".contains(*c));
        let visible = inner.chars().filter(|c| !c.is_whitespace()).find(odd);
        if let Some(odd) = visible.or_else(|| inner.chars().find(odd)) {
            let what = format!("`${{{{ }}}}` only looks values up; it knows no `{odd}`");
            return Err(Box::new(
                fault(what)
                    .hint("a variant is another plan, or another step with its own `for_each`"),
            ));
        }
        match inner.split('.').collect::<Vec<_>>().as_slice() {
            [name] => self.variable(name, span),
            ["line", fact] => self.line_fact(fact, span),
            ["plan", fact] if self.facts.contains_key(*fact) => {
                Ok(Piece::PlanFact((*fact).to_owned()))
            }
            ["plan", fact] => {
                let what = format!("the plan has no fact `{fact}`");
                self.reader.unknown("unknown-fact", span, what, fact, self.facts.keys().map(String::as_str));
                Ok(Piece::PlanFact((*fact).to_owned()))
            }
            ["steps", step, "outputs", output] => {
                if looks == Looks::Fixed {
                    let what = format!("the output `{output}` is not known before the run");
                    return Err(Box::new(fault(what).hint(
                        "outputs fill arguments and `env`; names of sites, hosts, providers, lines and databases are fixed",
                    )));
                }
                let (step, output) = ((*step).to_owned(), (*output).to_owned());
                self.outputs.push(OutputUse { step: step.clone(), output: output.clone(), span });
                Ok(Piece::Output { step, output })
            }
            ["steps", ..] => Err(Box::new(
                fault(format!("`{inner}` is no output"))
                    .hint("write it like `${{ steps.upgrade-ocsp.outputs.build }}`"),
            )),
            [root, ..] => Err(Box::new(fault(format!("nothing can be looked up under `{root}`")).hint(
                match *root {
                    "env" | "secrets" => "secrets and addresses belong to the estate, never to a plan",
                    "matrix" | "item" => "a variable of `for_each` is written alone: `${{ host }}`",
                    _ => "there are the step's variables, `line.FACT`, `plan.FACT` and `steps.STEP.outputs.NAME`",
                },
            ))),
            [] => Err(fault("nothing is looked up here".to_owned())),
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> Result<Piece, Box<Fault>> {
        if self.variables.iter().any(|(variable, _)| variable == name) {
            return Ok(Piece::Variable(name.to_owned()));
        }
        let what = format!("the step has no variable `{name}`");
        let names: Vec<String> = self.variables.iter().map(|(name, _)| name.clone()).collect();
        let mut fault = Fault::error("unknown-variable", span, what);
        fault.hint = match crate::text::near::near(name, names.iter().map(String::as_str)) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if names.is_empty() => Some(match name {
                "line" => "say `for_each: { line: all }`".to_owned(),
                _ => format!("say `for_each: {{ {name}: [...] }}`"),
            }),
            None => Some(format!(
                "there are {}",
                crate::text::near::listed(names.iter().map(String::as_str))
            )),
        };
        Err(Box::new(fault))
    }

    fn line_fact(&mut self, fact: &str, span: Span) -> Result<Piece, Box<Fault>> {
        if self.of_all_lines.contains(fact) {
            return Ok(Piece::LineFact(fact.to_owned()));
        }
        let Some((_, values)) = self.variables.iter().find(|(name, _)| name == "line") else {
            let fault = Fault::error("unknown-variable", span, "the step has no variable `line`")
                .hint("say `for_each: { line: all }`");
            return Err(Box::new(fault));
        };
        let without = values.iter().find(|line| {
            self.lines.get(line.as_str()).is_some_and(|line| !line.facts.contains_key(fact))
        });
        if let Some(without) = without {
            let what = format!("the line `{without}` has no fact `{fact}`");
            let hint = "give it the fact, or leave the line out with `where`";
            return Err(Box::new(Fault::error("unknown-fact", span, what).hint(hint)));
        }
        self.of_all_lines.insert(fact.to_owned());
        Ok(Piece::LineFact(fact.to_owned()))
    }

    /// Begins to read a step over these variables.
    pub(crate) fn enter(&mut self, variables: Vec<(String, Vec<String>)>) {
        self.variables = variables;
        self.of_all_lines.clear();
    }

    /// A path of the file, joined to the file's directory.
    pub(crate) fn path(&mut self, node: &Node<'_>, what: &str) -> Option<PathBuf> {
        let text = self.reader.text(node, what)?;
        if text.contains("${{") {
            let span = self.inside(node.span, node.span, "${{");
            self.reader.error(
                "template",
                span,
                format!("{what} is a fixed path; nothing is looked up in it"),
            );
            return None;
        }
        Some(self.directory.join(text))
    }
}

/// The text of a template with an `x` for each look-up: enough to judge its form.
pub(crate) fn shape(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        _ => "x".to_owned(),
    };
    template.pieces.iter().map(piece).collect()
}
