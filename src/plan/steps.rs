//! `steps`: each definition with its deed, its way back and its conditions.

use super::read::{Ends, read_on_failure};
use super::scope::{Scope, shape};
use super::template::Template;
use super::{Kind, Need, Output, Phase, Retry, Serial, StepDef, Work, fan, work};
use crate::action::{Action, Effects, Row, Undo};
use crate::text::fault::Fault;
use crate::text::reader::Fields;
use crate::text::tree::{Entry, Node, Passing, Value};
use crate::text::{Span, Spanned, time};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// Words of other tools, in a step.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("if", "there is no condition: a variant is another plan, proved on its own"),
    ("when", "there is no condition: a variant is another plan, proved on its own"),
    ("depends_on", "write `needs`"),
    ("depends", "write `needs`"),
    ("requires", "write `needs`"),
    ("after", "write `needs`"),
    ("name", "the key above is the step's name"),
    ("matrix", "write `for_each`"),
    ("strategy", "write `for_each`"),
    ("loop", "write `for_each`"),
    ("with_items", "write `for_each`"),
    ("parallel", "steps are parallel unless `needs`, `serial` or `limits` say otherwise"),
    ("serial", "it stands inside `for_each`"),
    ("retries", "write `retry: { attempts: 3 }`"),
    ("shell", "write `script`"),
    ("command", "write `run`"),
    ("cmd", "write `run`"),
    ("rollback", "write `undo`"),
    ("host", "write `at: SITE/HOST`"),
    ("on", "write `at: SITE/HOST`"),
    ("effect", "write `effects`"),
    ("gate", "write `approve: { by:, ask: }`"),
    ("action", "write `do: { ACTION: { ... } }`"),
    ("uses_limit", "write `uses`"),
];

/// Reads every step, in written order.
pub(super) fn read(node: &Node<'_>, scope: &mut Scope<'_>, ends: &Ends) -> Vec<StepDef> {
    if matches!(node.value, Value::Null) {
        scope.reader.report(
            Fault::error(
                "empty-value",
                node.span,
                "`steps` is empty: a plan has at least one step",
            )
            .hint(
                "write it like `steps: { move: { run: [echo, moved], undo: { none: \"...\" } } }`",
            ),
        );
        return Vec::new();
    }
    let entries = scope.reader.entries(node, "`steps`").unwrap_or_default();
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        scope.reader.error(
            "empty-value",
            node.span,
            "`steps` is empty: a plan has at least one step",
        );
    }
    let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.key.value).collect();
    let steps: Vec<StepDef> =
        entries.iter().filter_map(|entry| read_step(entry, scope, ends)).collect();
    check_all(&steps, &names, scope);
    steps
}

/// Reads every step while the text goes by; none as soon as anything is wrong.
pub(super) fn read_passing(
    entries: &mut Passing<'_>,
    scope: &mut Scope<'_>,
    ends: &Ends,
) -> Option<Vec<StepDef>> {
    let mut steps = Vec::new();
    while let Some(entry) = entries.entry().ok()? {
        steps.push(read_step(&entry, scope, ends).filter(|_| scope.reader.errors() == 0)?);
    }
    let names: BTreeSet<&str> = steps.iter().map(|step| step.name.value.as_str()).collect();
    if steps.is_empty() || names.len() < steps.len() {
        return None;
    }
    check_all(&steps, &names, scope);
    Some(steps)
}

/// What can be judged only when all steps are read.
fn check_all(steps: &[StepDef], names: &BTreeSet<&str>, scope: &mut Scope<'_>) {
    check_needs(steps, names, scope);
    check_checkpoints(steps, scope);
    check_outputs(steps, names, scope);
}

fn read_step(entry: &Entry<'_>, scope: &mut Scope<'_>, ends: &Ends) -> Option<StepDef> {
    // A graph of a plan says the truth only when it has every step with its instances and effects.
    let step = read_fields(entry, scope, ends);
    scope.sound &= step.is_some();
    step
}

fn read_fields(entry: &Entry<'_>, scope: &mut Scope<'_>, ends: &Ends) -> Option<StepDef> {
    let name = step_name(entry, scope);
    let mut fields = scope.reader.fields(&entry.value, "a step")?;
    let before = scope.reader.errors();
    let (over, serial) = match fields.take("for_each") {
        Some(node) => fan::read(node, scope),
        None => (Vec::new(), Serial::No),
    };
    scope.enter(fan::bound(&over));
    let words = [("before", Phase::Before), ("window", Phase::Window), ("after", Phase::After)];
    let phase = fields.take("phase").and_then(|n| scope.reader.word(n, "`phase`", &words));
    let effects = fields.take("effects").and_then(|node| read_effects(node, scope));
    scope.sound &= scope.reader.errors() == before;
    let needs = fields.take("needs").map(|node| read_needs(node, scope)).unwrap_or_default();
    let not_before = fields.take("not_before").and_then(|node| read_moment(node, ends, scope));
    let uses = fields.take("uses").and_then(|n| scope.reader.texts(n, "`uses`"));
    let work = work::read(&mut fields, entry.key.span, scope);
    let before = scope.reader.errors();
    let kind = read_kind(&mut fields, work.as_ref(), scope);
    let point_of_no_return = flag(&mut fields, "point_of_no_return", scope);
    scope.sound &= scope.reader.errors() == before;
    let estimate = fields.take("estimate").and_then(|n| scope.reader.range(n, "`estimate`"));
    let timeout = read_timeout(&mut fields, work.as_ref(), scope);
    let retry = fields.take("retry").map(|node| read_retry(node, scope)).unwrap_or_default();
    let idempotent = flag(&mut fields, "idempotent", scope);
    let on_failure = fields.take("on_failure").and_then(|n| read_on_failure(n, &mut scope.reader));
    let finish = fields.take("on_rollback");
    let finish = finish.and_then(|node| {
        scope.reader.word(node, "`on_rollback`", &[("finish", true), ("end", false)])
    });
    let checkpoint = fields.take("checkpoint").and_then(|node| {
        let text = scope.reader.text(node, "`checkpoint`")?;
        scope.reader.name(text, node.span, "the checkpoint")
    });
    let outputs = fields.take("outputs").map(|node| read_outputs(node, scope)).unwrap_or_default();
    if let Some(work) = &work {
        check_fields(&entry.value, work, effects.as_ref(), scope);
    }
    fields.finish(&mut scope.reader, OTHER_WORDS);
    Some(StepDef {
        name: name?,
        kind,
        work: work?,
        over,
        serial,
        needs,
        phase: phase.unwrap_or_default(),
        not_before,
        uses: uses.unwrap_or_default(),
        effects,
        estimate,
        timeout,
        retry,
        idempotent,
        on_failure,
        finish_on_rollback: finish.unwrap_or(false),
        checkpoint,
        point_of_no_return,
        outputs,
        span: entry.key.span,
    })
}

fn step_name(entry: &Entry<'_>, scope: &mut Scope<'_>) -> Option<Spanned<String>> {
    let text: &str = &entry.key.value;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !begins || !text.chars().all(good) || text.len() > 100 {
        let proposal: String =
            text.to_lowercase().chars().map(|c| if good(c) { c } else { '-' }).collect();
        let proposal = proposal.trim_matches('-');
        let what = format!("`{text}` is not a name of a step");
        let mut hint = "names are made of `a` to `z`, `0` to `9` and `-`".to_owned();
        if !proposal.is_empty() && proposal.len() <= 100 {
            hint = format!("{hint}: write `{proposal}`");
        }
        scope.reader.report(Fault::error("bad-name", entry.key.span, what).hint(hint));
        return None;
    }
    Some(Spanned { value: text.to_owned(), span: entry.key.span })
}

/// `not_before`
fn read_moment(node: &Node<'_>, ends: &Ends, scope: &mut Scope<'_>) -> Option<Timestamp> {
    let text = scope.reader.text(node, "`not_before`")?;
    let window = match ends {
        Ends::None => None,
        Ends::Known(window) => Some((&window.opens, &window.closes)),
        Ends::Faulty => return None,
    };
    scope.reader.time(node.span, "`not_before`", time::moment(text, window))
}

fn flag(fields: &mut Fields<'_>, name: &'static str, scope: &mut Scope<'_>) -> bool {
    let node = fields.take(name);
    node.and_then(|node| scope.reader.boolean(node, &format!("`{name}`"))).unwrap_or(false)
}

fn read_needs(node: &Node<'_>, scope: &mut Scope<'_>) -> Vec<Need> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        // One need may stand without brackets, as elsewhere.
        Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(node),
        Value::Null => {
            scope.reader.list(node, "`needs`");
            return Vec::new();
        }
    };
    let mut needs: Vec<Need> = Vec::new();
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for node in nodes {
        let need = match &node.value {
            Value::Map(_) => scope.reader.fields(node, "a need").and_then(|mut fields| {
                let all = fields.need("all");
                fields.finish(
                    &mut scope.reader,
                    &[("any", "a need wants the paired instances, or all of them")],
                );
                let step = scope.reader.spanned(all?, "`all`")?;
                Some(Need { step, all: true })
            }),
            _ => scope.reader.spanned(node, "a need").map(|step| Need { step, all: false }),
        };
        let Some(need) = need else { continue };
        let (name, span) = (&need.step.value, need.step.span);
        if name.contains("${{") {
            scope.reader.report(
                Fault::error("template", span, "nothing is looked up in `needs`")
                    .hint("steps over the same variables pair up by themselves"),
            );
        } else if let Some((base, _)) = name.split_once('[') {
            scope.reader.report(
                Fault::error(
                    "bad-need",
                    span,
                    format!("`{name}` is one instance; a need names the step"),
                )
                .hint(format!("write `{base}`: steps over the same variables pair up")),
            );
        } else if let Some(first) = seen.get(name) {
            scope.reader.report(
                Fault::error("duplicate-value", span, format!("`{name}` is needed twice"))
                    .also(*first, "first here"),
            );
        } else {
            seen.insert(name.clone(), span);
            needs.push(need);
        }
    }
    needs.shrink_to_fit();
    needs
}

fn read_kind(fields: &mut Fields<'_>, work: Option<&Work>, scope: &mut Scope<'_>) -> Kind {
    let node = fields.take("kind");
    let said = node.and_then(|node| scope.reader.word(node, "`kind`", &Kind::ALL));
    let implied = match work {
        None => return said.unwrap_or(Kind::Task),
        Some(Work::Ask(_)) => Kind::Gate,
        Some(Work::Act { act, .. }) => Row::of(act.name()).map_or(Kind::Task, |row| row.kind),
    };
    let (Some(kind), Some(node)) = (said, node) else { return implied };
    let (is_gate, asks) = (kind == Kind::Gate, implied == Kind::Gate);
    if is_gate != asks {
        let what = if asks { "a step with `approve` is a gate" } else { "a gate says `approve`" };
        scope.reader.error("bad-kind", node.span, what);
    } else if let Some(Work::Act { act, .. }) = work
        && act.is_built_in()
        && matches!(implied, Kind::Snapshot | Kind::Transfer | Kind::Verify | Kind::Reopen)
        && kind != implied
    {
        // The rules of the domain hang on the kind: calling a transfer a task would dodge them.
        let what = format!("`{}` is a {}, not a {}", act.name(), implied.name(), kind.name());
        scope.reader.report(
            Fault::warning("odd-kind", node.span, what)
                .hint("leave `kind` out: the action implies it"),
        );
    }
    kind
}

fn read_timeout(
    fields: &mut Fields<'_>,
    work: Option<&Work>,
    scope: &mut Scope<'_>,
) -> Option<SignedDuration> {
    let entry = fields.entry("timeout");
    let waits = match work {
        Some(Work::Ask(_)) => true,
        Some(Work::Act { act, .. }) => act.is_manual(),
        None => false,
    };
    let Some(entry) = entry else { return (!waits).then_some(DEFAULT_TIMEOUT) };
    let timeout = scope.reader.duration(&entry.value, "`timeout`")?;
    if waits {
        scope.reader.report(
            Fault::error("odd-field", entry.key.span, "people have no timeout")
                .hint("leave it out; `estimate` says how long it may take"),
        );
        return None;
    }
    if timeout.is_zero() {
        scope.reader.error("bad-time", entry.value.span, "`timeout`: nothing ends in no time");
        return None;
    }
    Some(timeout)
}

fn read_retry(node: &Node<'_>, scope: &mut Scope<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(mut fields) = scope.reader.fields(node, "`retry`") else { return retry };
    let attempts = fields.need("attempts");
    if let Some(attempts) = attempts.and_then(|n| scope.reader.number(n, "`attempts`", 1..=1000)) {
        retry.attempts = attempts;
    }
    if let Some(backoff) = fields.take("backoff").and_then(|n| scope.reader.range(n, "`backoff`")) {
        retry.backoff = backoff;
    }
    fields
        .finish(&mut scope.reader, &[("delay", "write `backoff`"), ("times", "write `attempts`")]);
    retry
}

fn read_outputs(node: &Node<'_>, scope: &mut Scope<'_>) -> Vec<Output> {
    let mut outputs = Vec::new();
    for entry in scope.reader.entries(node, "`outputs`").unwrap_or_default() {
        let name = scope.reader.name(&entry.key.value, entry.key.span, "the output");
        let what = format!("the pattern of `{}`", entry.key.value);
        let Some(pattern) = scope.reader.text(&entry.value, &what) else { continue };
        let span = entry.value.span;
        match regex_lite::Regex::new(pattern) {
            Err(error) => {
                scope.reader.error("bad-pattern", span, format!("{what} is no pattern: {error}"));
            }
            Ok(regex) if regex.captures_len() != 2 => {
                let groups = regex.captures_len() - 1;
                scope.reader.report(
                    Fault::error(
                        "bad-pattern",
                        span,
                        format!("{what} must have one group, not {groups}"),
                    )
                    .hint("put what is to be caught in `( )`, and `(?: )` around the rest"),
                );
            }
            Ok(_) => {
                if let Some(name) = name {
                    if name.value.contains('.') {
                        scope.reader.error(
                            "bad-name",
                            name.span,
                            "the name of an output holds no dot",
                        );
                    }
                    outputs.push(Output { name: name.value, pattern: pattern.to_owned() });
                }
            }
        }
    }
    outputs
}

/// `effects: { loses:, gains:, disturbs: }`; `{}` says that there are none.
fn read_effects(node: &Node<'_>, scope: &mut Scope<'_>) -> Option<Spanned<Effects<Template>>> {
    let mut fields = scope.reader.fields(node, "`effects`")?;
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mut effects = Effects { loses: Vec::new(), gains: Vec::new(), disturbs: Vec::new() };
    let lists = [
        ("loses", &mut effects.loses),
        ("gains", &mut effects.gains),
        ("disturbs", &mut effects.disturbs),
    ];
    for (word, list) in lists {
        let Some(node) = fields.take(word) else { continue };
        for name in scope.fixed_list(node, &format!("`{word}`")).unwrap_or_default() {
            let written = name.to_string();
            if crate::action::role::split(&shape(&name)).is_none() {
                scope.reader.report(
                    Fault::error(
                        "bad-name",
                        name.span,
                        format!("`{written}` is neither a provider nor a role"),
                    )
                    .hint("write it like `ocsp@to/ocsp-1`, or `writer@from/geotrust`"),
                );
            } else if let Some(first) = seen.get(&written) {
                scope.reader.report(
                    Fault::error(
                        "named-twice",
                        name.span,
                        format!("`effects` names `{written}` twice"),
                    )
                    .also(*first, "first here")
                    .hint("a step takes it, gives it, or disturbs it"),
                );
            } else {
                seen.insert(written, name.span);
                list.push(name);
            }
        }
    }
    fields.finish(&mut scope.reader, &[]);
    Some(Spanned { value: effects, span: node.span })
}

/// Fields that mean nothing on this kind of work.
fn check_fields(
    step: &Node<'_>,
    work: &Work,
    effects: Option<&Spanned<Effects<Template>>>,
    scope: &mut Scope<'_>,
) {
    let Value::Map(entries) = &step.value else { return };
    let idle: &[&str] = match work {
        Work::Ask(_) => &[
            "undo",
            "check",
            "effects",
            "retry",
            "idempotent",
            "outputs",
            "at",
            "env",
            "uses",
            "on_rollback",
        ],
        Work::Act { act: Action::Manual(_), .. } => {
            &["retry", "idempotent", "outputs", "at", "env", "uses", "check"]
        }
        Work::Act { act: Action::Run(_) | Action::Script(_), .. } => &[],
        Work::Act { .. } => &["outputs", "at", "env"],
    };
    for entry in entries.iter().filter(|entry| idle.contains(&&*entry.key.value)) {
        let (field, on) = (
            &entry.key.value,
            match work {
                Work::Ask(_) => "a gate".to_owned(),
                Work::Act { act, .. } => format!("`{}`", act.name()),
            },
        );
        let what = format!("`{field}` means nothing on {on}");
        scope.reader.report(Fault::error("odd-field", entry.key.span, what).hint("leave it out"));
    }
    let Work::Act { act, .. } = work else { return };
    let own_way_back = act.is_built_in()
        && !matches!(act, Action::Notify(_))
        && !matches!(act.undo(), Undo::Missing);
    for entry in entries.iter().filter(|entry| entry.key.value == "undo" && own_way_back) {
        let what = format!("`{}` knows its own undo", act.name());
        scope
            .reader
            .report(Fault::error("odd-field", entry.key.span, what).hint("leave `undo` out"));
    }
    if !act.effects().is_empty()
        && let Some(effects) = effects
    {
        let what = format!("`{}` knows its own effects", act.name());
        scope
            .reader
            .report(Fault::error("odd-field", effects.span, what).hint("leave `effects` out"));
    }
}

/// Needs that name no step. `names` are those of all steps, the faulty ones included. A cycle, and
/// whether the steps pair up, are the graph's to say.
fn check_needs(steps: &[StepDef], names: &BTreeSet<&str>, scope: &mut Scope<'_>) {
    for need in steps.iter().flat_map(|step| &step.needs) {
        let name = &need.step.value;
        if !names.contains(name.as_str()) {
            let what = format!("there is no step `{name}`");
            let names = names.iter().copied();
            scope.reader.unknown("unknown-step", need.step.span, what, name, names);
        }
    }
}

fn check_checkpoints(steps: &[StepDef], scope: &mut Scope<'_>) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for checkpoint in steps.iter().filter_map(|step| step.checkpoint.as_ref()) {
        if let Some(first) = seen.insert(&checkpoint.value, checkpoint.span) {
            let what = format!("the checkpoint `{}` is reached by two steps", checkpoint.value);
            scope.reader.report(
                Fault::error("duplicate-name", checkpoint.span, what).also(first, "first here"),
            );
        }
    }
}

/// What a step hands on: its `outputs`, and what its action prints by itself.
fn outputs_of(step: &StepDef) -> Vec<&str> {
    let own: &[&str] = match &step.work {
        Work::Act { act: Action::DatabaseTransfer(_), .. } => &["rows", "bytes", "digest"],
        Work::Act { act: Action::DatabaseVerify(_), .. } => {
            &["rows_source", "rows_target", "differences"]
        }
        _ => &[],
    };
    step.outputs.iter().map(|output| output.name.as_str()).chain(own.iter().copied()).collect()
}

/// Every output that is looked up is printed by some step. That it is needed is the graph's to say.
/// `names` are those of all steps, the faulty ones included.
fn check_outputs(steps: &[StepDef], names: &BTreeSet<&str>, scope: &mut Scope<'_>) {
    let by_name: BTreeMap<&str, &StepDef> =
        steps.iter().map(|step| (step.name.value.as_str(), step)).collect();
    for used in std::mem::take(&mut scope.outputs) {
        if !names.contains(used.step.as_str()) {
            let what = format!("there is no step `{}`", used.step);
            let names = names.iter().copied();
            scope.reader.unknown("unknown-step", used.span, what, &used.step, names);
        } else if let Some(step) = by_name.get(used.step.as_str()) {
            let outputs = outputs_of(step);
            if !outputs.contains(&used.output.as_str()) {
                let what = format!("`{}` has no output `{}`", used.step, used.output);
                let names = outputs.iter().copied();
                scope.reader.unknown("unknown-output", used.span, what, &used.output, names);
            }
        }
    }
}
