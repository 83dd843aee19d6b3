//! What a step does: exactly one deed, its undo and its check.

use super::scope::Scope;
use super::template::Template;
use super::{Gate, Work};
use crate::action::process::{Beside, read_at, read_env};
use crate::action::{Action, Check, Row, TABLE, Undo};
use crate::text::Span;
use crate::text::fault::Fault;
use crate::text::reader::Fields;
use crate::text::tree::{Entry, Node, Value};

/// What the step does: exactly one of `do`, `run`, `script`, `approve`.
pub(super) fn read(fields: &mut Fields<'_>, key: Span, scope: &mut Scope<'_>) -> Option<Work> {
    let mut found: Option<(&'static str, &Entry<'_>)> = None;
    let mut many = false;
    for word in ["do", "run", "script", "approve"] {
        let Some(entry) = fields.entry(word) else { continue };
        match found {
            None => found = Some((word, entry)),
            Some((first, before)) => {
                many = true;
                scope.reader.report(
                    Fault::error(
                        "two-deeds",
                        entry.key.span,
                        format!("a step says `{first}` or `{word}`, not both"),
                    )
                    .also(before.key.span, "the other one")
                    .hint("make two steps of it"),
                );
            }
        }
    }
    let at_entry = fields.entry("at");
    let at = at_entry.map(|entry| read_at(&entry.value, scope));
    let env = fields.take("env").map(|node| read_env(node, scope)).unwrap_or_default();
    let undo = fields.take("undo");
    let check = fields.take("check");
    let beside = Beside { at: at.clone().flatten(), env };
    let Some((word, entry)) = found else {
        scope.reader.report(
            Fault::error(
                "no-deed",
                key,
                "the step says none of `do`, `run`, `script` and `approve`",
            )
            .hint("a step that people do is `do: { manual: { how: ... } }`"),
        );
        return None;
    };
    if word == "approve" {
        return read_gate(&entry.value, scope).filter(|_| !many).map(Work::Ask);
    }
    let act = match word {
        "do" => read_do(&entry.value, beside.clone(), scope),
        word => Action::read(word, &entry.value, beside.clone(), scope),
    };
    // Undo and check are read even when the deed is faulty: every fault in one go.
    let undo = undo.map(|node| read_undo(node, &beside, scope));
    let check = check.map(|node| read_check(node, &beside, scope));
    let act = act?;
    let undo = match undo {
        None => act.undo(),
        Some(undo) => undo?,
    };
    let check = match check {
        None => act.check(),
        Some(check) => Check::By(Box::new(check?)),
    };
    (!many && at.is_none_or(|at| at.is_some())).then_some(Work::Act { act, undo, check })
}

/// `do: { ACTION: { ... } }`
fn read_do(node: &Node<'_>, beside: Beside, scope: &mut Scope<'_>) -> Option<Action<Template>> {
    if let Value::Scalar { text, .. } = &node.value {
        let hint = match Row::of(text) {
            Some(row) => format!("write `do: {{ {}: {{ ... }} }}`", row.name),
            None => {
                "write it like `do: { edge.close: { ... } }`; a command goes under `run`".to_owned()
            }
        };
        scope.reader.report(
            Fault::error("wrong-type", node.span, "`do` must be a map with one action").hint(hint),
        );
        return None;
    }
    let entries = scope.reader.entries(node, "`do`")?;
    let [entry] = entries.as_slice() else {
        let what = match entries.first() {
            None => "`do` names no action",
            Some(_) => "`do` names more than one action",
        };
        scope
            .reader
            .report(Fault::error("one-action", node.span, what).hint("a step does one thing"));
        return None;
    };
    let name: &str = &entry.key.value;
    match Row::of(name) {
        Some(row) => Action::read(row.name, &entry.value, beside, scope),
        None => {
            let what = format!("there is no action `{name}`");
            let names = TABLE.iter().map(|row| row.name);
            scope.reader.unknown("unknown-action", entry.key.span, what, name, names);
            None
        }
    }
}

/// The action among the fields of `undo` or `check`, with its own `at` and `env`; `at` is inherited.
fn action_in(
    fields: &mut Fields<'_>,
    names: &[&'static str],
    step: &Beside,
    what: &str,
    scope: &mut Scope<'_>,
) -> Option<Action<Template>> {
    let mut found: Vec<(&'static str, &Entry<'_>)> = Vec::new();
    for name in names {
        found.extend(fields.entry(name).map(|entry| (*name, entry)));
    }
    let at = fields.take("at").map(|node| read_at(node, scope));
    let env = fields.take("env").map(|node| read_env(node, scope)).unwrap_or_default();
    let beside = Beside { at: at.unwrap_or_else(|| step.at.clone()), env };
    match found.as_slice() {
        [(name, entry)] => Action::read(name, &entry.value, beside, scope),
        [] => {
            let fault = Fault::error("no-deed", fields.span(), format!("{what} does not say how"));
            scope.reader.report(
                fault.hint(format!(
                    "write it like `{{ {}: [...] }}`",
                    names.first().unwrap_or(&"run")
                )),
            );
            None
        }
        [(first, _), (second, entry), ..] => {
            let what = format!("{what} says `{first}` or `{second}`, not both");
            scope.reader.error("two-deeds", entry.key.span, what);
            None
        }
    }
}

fn read_undo(node: &Node<'_>, step: &Beside, scope: &mut Scope<'_>) -> Option<Undo<Template>> {
    if let Value::Scalar { text, .. } = &node.value {
        let hint = if text == "none" {
            "say why: `undo: { none: \"nothing stays behind\" }`"
        } else {
            "write it like `undo: { run: [...] }`, or `undo: { none: REASON }`"
        };
        scope
            .reader
            .report(Fault::error("wrong-type", node.span, "`undo` must be a map").hint(hint));
        return None;
    }
    let mut fields = scope.reader.fields(node, "`undo`")?;
    if let Some(none) = fields.take("none") {
        let reason = scope.reader.text(none, "the reason of `none`");
        fields.finish(&mut scope.reader, &[]);
        return reason.map(|reason| Undo::Nothing(reason.to_owned()));
    }
    let names: Vec<&'static str> = TABLE.iter().map(|row| row.name).collect();
    let action = action_in(&mut fields, &names, step, "`undo`", scope);
    fields.finish(
        &mut scope.reader,
        &[("do", "write the action itself: `undo: { edge.open: { ... } }`")],
    );
    action.map(|action| Undo::By(Box::new(action)))
}

fn read_check(node: &Node<'_>, step: &Beside, scope: &mut Scope<'_>) -> Option<Action<Template>> {
    let mut fields = scope.reader.fields(node, "`check`")?;
    let action = action_in(&mut fields, &["run", "script", "http"], step, "`check`", scope);
    fields.finish(
        &mut scope.reader,
        &[(
            "manual",
            "a check is asked by the program, not of people; a doubt is, when there is none",
        )],
    );
    action
}

fn read_gate(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Gate> {
    let mut fields = scope.reader.fields(node, "`approve`")?;
    let by = fields.need("by").and_then(|n| scope.reader.texts(n, "`by`"));
    let quorum = fields.take("quorum").map(|n| scope.reader.number(n, "`quorum`", 1..=100));
    let ask = fields.need("ask").and_then(|node| {
        scope.reader.text(node, "`ask`")?;
        scope.filled(node, "`ask`")
    });
    fields.finish(&mut scope.reader, &[("people", "write `quorum`"), ("question", "write `ask`")]);
    let by = by?;
    let quorum = match quorum {
        None => u32::try_from(by.len()).unwrap_or(1),
        Some(quorum) => quorum?,
    };
    Some(Gate { by, quorum, ask: ask? })
}
