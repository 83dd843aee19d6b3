//! `for_each`: the variables of a step and their values.

use super::scope::Scope;
use super::{Line, Over, Serial};
use crate::text::fault::Fault;
use crate::text::tree::{Entry, Node, Value};
use crate::text::{Span, Spanned};
use std::collections::{BTreeMap, BTreeSet};

/// Variables of one step at most; each multiplies its instances.
const MAX_VARIABLES: usize = 4;

/// Reads `for_each` and `serial`.
pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>) -> (Vec<Over>, Serial) {
    let mut over: Vec<Over> = Vec::new();
    let mut serial = None;
    let entries = scope.reader.entries(node, "`for_each`").unwrap_or_default();
    let only_serial = entries.iter().all(|entry| entry.key.value == "serial");
    for entry in entries {
        let name: &str = &entry.key.value;
        match name {
            "serial" => serial = Some(&entry.value),
            "all" | "where" => {
                scope.reader.report(
                    Fault::error(
                        "bad-for-each",
                        entry.key.span,
                        format!("`for_each` has no variable `{name}`"),
                    )
                    .hint("write it like `for_each: { line: all }`"),
                );
            }
            "plan" | "steps" | "env" | "not" | "none" => {
                let what = format!("a variable cannot be called `{name}`");
                scope.reader.error("bad-name", entry.key.span, what);
            }
            _ => {
                if let Some(variable) = scope.reader.name(name, entry.key.span, "the variable") {
                    if variable.value.contains('.') {
                        scope.reader.error("bad-name", variable.span, "a variable holds no dot");
                    }
                    let values = values(entry, scope).unwrap_or_default();
                    over.push(Over { variable, values });
                }
            }
        }
    }
    if only_serial && matches!(&node.value, Value::Map(_)) {
        scope.reader.error("bad-for-each", node.span, "`for_each` names no variable");
    }
    if over.len() > MAX_VARIABLES {
        let what = format!("`for_each` has more than {MAX_VARIABLES} variables");
        scope.reader.error("bad-for-each", node.span, what);
        over.truncate(MAX_VARIABLES);
    }
    let serial = serial.and_then(|node| read_serial(node, &over, scope)).unwrap_or_default();
    (over, serial)
}

fn read_serial(node: &Node<'_>, over: &[Over], scope: &mut Scope<'_>) -> Option<Serial> {
    let text = scope.reader.text(node, "`serial`")?;
    match text {
        "true" => Some(Serial::All),
        "false" => Some(Serial::No),
        name if over.iter().any(|over| over.variable.value == name) => {
            Some(Serial::Along(name.to_owned()))
        }
        name => {
            let known = over.iter().map(|over| over.variable.value.as_str()).chain(["true"]);
            let what = format!("`serial` names no variable of the step: `{name}`");
            scope.reader.unknown("bad-for-each", node.span, what, name, known);
            None
        }
    }
}

fn values(entry: &Entry<'_>, scope: &mut Scope<'_>) -> Option<Vec<String>> {
    let node = &entry.value;
    let is_line = entry.key.value == "line";
    match &node.value {
        Value::List(nodes) => listed_values(nodes, node.span, is_line, scope),
        _ if !is_line => {
            let what = format!("the values of `{}`", entry.key.value);
            scope.reader.list(node, &what);
            None
        }
        Value::Scalar { text, .. } if text == "all" => {
            if scope.lines.is_empty() {
                no_lines(node.span, scope);
                return None;
            }
            if !scope.count_values(scope.lines.len(), node.span) {
                return None;
            }
            Some(written_lines(scope).iter().map(|line| line.name.value.clone()).collect())
        }
        Value::Map(_) => read_where(node, scope),
        _ => {
            scope.reader.report(
                Fault::error(
                    "wrong-type",
                    node.span,
                    "`line` must be `all`, a list of lines, or `{ where: ... }`",
                )
                .hint("write `line: all`"),
            );
            None
        }
    }
}

fn no_lines(span: Span, scope: &mut Scope<'_>) {
    if !scope.no_lines {
        // They are there and faulty: that is the fault to mend.
        return;
    }
    scope.reader.report(
        Fault::error("no-lines", span, "the plan has no `lines`")
            .hint("say `lines:` at the top of the plan"),
    );
}

/// The plan's lines in written order.
fn written_lines<'s>(scope: &'s Scope<'_>) -> Vec<&'s Line> {
    let mut lines: Vec<&Line> = scope.lines.values().collect();
    lines.sort_by_key(|line| line.name.span);
    lines
}

fn listed_values(
    nodes: &[Node<'_>],
    span: Span,
    is_line: bool,
    scope: &mut Scope<'_>,
) -> Option<Vec<String>> {
    if !scope.count_values(nodes.len(), span) {
        return None;
    }
    if nodes.is_empty() {
        scope.reader.error("empty-value", span, "a step over no values would never be");
        return None;
    }
    if is_line && scope.lines.is_empty() {
        no_lines(span, scope);
        return None;
    }
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    let mut out = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(text) = scope.reader.text(node, "a value of `for_each`") else { continue };
        if text.contains("${{") {
            scope.reader.report(
                Fault::error("template", node.span, "nothing is looked up in `for_each`")
                    .hint("write the values out"),
            );
            continue;
        }
        let Some(name) = scope.reader.name(text, node.span, "the value") else { continue };
        if is_line && !scope.lines.contains_key(&name.value) {
            let what = format!("the plan has no line `{}`", name.value);
            let known = scope.lines.keys().map(String::as_str);
            scope.reader.unknown("unknown-line", name.span, what, &name.value, known);
            continue;
        }
        match seen.get(text) {
            Some(first) => scope.reader.report(
                Fault::error("duplicate-value", node.span, format!("`{text}` is written twice"))
                    .also(*first, "first here"),
            ),
            None => {
                seen.insert(text, node.span);
                out.push(name.value);
            }
        }
    }
    Some(out)
}

/// `{ where: { FACT: VALUE } }` or `{ where: { not: { FACT: VALUE } } }`.
fn read_where(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Vec<String>> {
    if scope.lines.is_empty() {
        no_lines(node.span, scope);
        return None;
    }
    if !scope.count_values(scope.lines.len(), node.span) {
        return None;
    }
    let mut fields = scope.reader.fields(node, "the choice of lines")?;
    let condition = fields.need("where");
    fields.finish(&mut scope.reader, &[("not", "write `{ where: { not: { ... } } }`")]);
    let condition = condition?;
    let entries = scope.reader.entries(condition, "`where`")?;
    let (negated, entries) = match entries.as_slice() {
        [only] if only.key.value == "not" => (true, scope.reader.entries(&only.value, "`not`")?),
        _ => (false, entries),
    };
    if entries.is_empty() {
        scope.reader.report(
            Fault::error("bad-where", condition.span, "`where` says nothing")
                .hint("write it like `{ where: { orders: paused } }`, or `line: all`"),
        );
        return None;
    }
    let mut wanted: Vec<(String, String)> = Vec::new();
    for entry in entries {
        wanted.push(condition_on(entry, scope)?);
    }
    let holds = |line: &Line| {
        wanted.iter().all(|(fact, value)| line.facts.get(fact).is_some_and(|has| has == value))
    };
    let chosen: Vec<String> = written_lines(scope)
        .into_iter()
        .filter(|line| holds(line) != negated)
        .map(|line| line.name.value.clone())
        .collect();
    if chosen.is_empty() {
        scope.reader.report(
            Fault::error("bad-where", condition.span, "`where` leaves no line")
                .hint("a step over no lines would never be; leave it out"),
        );
        return None;
    }
    Some(chosen)
}

/// One condition, whose fact and value some line must have: else it is a slip of the hand.
fn condition_on(entry: &Entry<'_>, scope: &mut Scope<'_>) -> Option<(String, String)> {
    let fact: &str = &entry.key.value;
    if fact == "not" {
        scope.reader.report(
            Fault::error("bad-where", entry.key.span, "`not` stands alone in `where`")
                .hint("write `{ where: { not: { ... } } }`"),
        );
        return None;
    }
    let value = scope.reader.text(&entry.value, &format!("`{fact}`"))?.to_owned();
    let of_fact: BTreeSet<&str> =
        scope.lines.values().filter_map(|line| line.facts.get(fact).map(String::as_str)).collect();
    if of_fact.contains(value.as_str()) {
        return Some((fact.to_owned(), value));
    }
    let facts: BTreeSet<&str> =
        scope.lines.values().flat_map(|line| line.facts.keys().map(String::as_str)).collect();
    let (span, what, name, known) = if of_fact.is_empty() {
        (entry.key.span, format!("no line has a fact `{fact}`"), fact, &facts)
    } else {
        let what = format!("no line has `{fact}: {value}`");
        (entry.value.span, what, value.as_str(), &of_fact)
    };
    scope.reader.unknown("bad-where", span, what, name, known.iter().copied());
    None
}

/// The variables and their values, as look-ups are judged by them.
pub(super) fn bound(over: &[Over]) -> Vec<(String, Vec<String>)> {
    over.iter()
        .map(|Over { variable: Spanned { value, .. }, values }| {
            // Only lines have facts: other values are not looked at again.
            (value.clone(), if value == "line" { values.clone() } else { Vec::new() })
        })
        .collect()
}
