//! From text to a plan: every fault in one go.

use super::scope::Scope;
use super::{Exclusive, Kind, Line, OnBreach, OnFailure, Plan, Protect, StepDef, Window, steps};
use crate::text::fault::{Fault, Severity};
use crate::text::reader::{Fields, Reader};
use crate::text::tree::{self, Node, Passing, Value};
use crate::text::{Span, Spanned, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Steps that run at once when `limits` does not say.
const DEFAULT_STEPS: u32 = 16;

/// Bytes of a fact: it is filled in wherever it is looked up.
const MAX_FACT: usize = 1000;

/// Words of other tools, at the top of a plan.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("version", "write `cutover: v1`"),
    ("jobs", "write `steps`"),
    ("tasks", "write `steps`"),
    ("on", "a run is begun by people: `cutover run PLAN`"),
    ("env", "say `env` in the step that needs it"),
    ("vars", "write `facts`"),
    ("variables", "write `facts`"),
    ("hosts", "hosts and addresses belong to the estate"),
    ("sites", "sites and addresses belong to the estate"),
    ("secrets", "secrets belong to the estate"),
];

/// The window, with the zones that its ends were written in.
pub(super) struct ZonedWindow {
    window: Window,
    pub(super) opens: ZonedDateTime,
    pub(super) closes: ZonedDateTime,
}

/// What is known of the window when the steps are read.
pub(super) enum Ends {
    /// The plan has none.
    None,
    /// It has one that could not be read: nothing that counts from it can be judged.
    Faulty,
    /// It has one.
    Known(ZonedWindow),
}

/// Reads a plan's text. `path` is for messages and for relative paths.
///
/// # Errors
/// Every fault of the file (a syntax fault stands alone).
pub fn read(path: &Path, text: &str) -> Result<(Plan, Vec<Fault>), Vec<Fault>> {
    match read_anyway(path, &Arc::from(text)) {
        (Some(plan), faults) if !is_fatal(&faults) => Ok((plan, faults)),
        (_, faults) => Err(faults),
    }
}

/// Reads a plan's text, and gives the plan in spite of errors when they are such that a graph of it
/// still says the truth: a wrong unit does not hide a cycle. Such a plan is only to be compiled for
/// its faults, never to be run.
pub fn read_anyway(path: &Path, text: &Arc<str>) -> (Option<Plan>, Vec<Fault>) {
    read_in_passing(path, text).unwrap_or_else(|| read_whole(path, text))
}

/// Reads a plan from the whole tree of its text.
pub(super) fn read_whole(path: &Path, text: &Arc<str>) -> (Option<Plan>, Vec<Fault>) {
    let root = match tree::parse(text) {
        Ok(root) => root,
        Err(fault) => return (None, vec![fault]),
    };
    let mut scope = Scope::new(text, path);
    let plan = read_root(&root, None, &mut scope, path, text);
    let plan = plan.filter(|_| scope.sound);
    (plan, scope.reader.into_faults())
}

/// Reads a plan without ever holding the tree of its steps, when they stand last and nothing is
/// wrong: then the answer is that of [`read_whole`]. What is wrong is told by that alone.
pub(super) fn read_in_passing(path: &Path, text: &Arc<str>) -> Option<(Option<Plan>, Vec<Fault>)> {
    let (root, mut steps) = tree::pass(text, "steps")?;
    let mut scope = Scope::new(text, path);
    let plan = read_root(&root, Some(&mut steps), &mut scope, path, text)?;
    let good = scope.reader.errors() == 0 && scope.sound;
    good.then(|| (Some(plan), scope.reader.into_faults()))
}

/// The fields of the file, when it is a plan at all.
fn plan_fields<'n>(root: &'n Node<'_>, reader: &mut Reader) -> Option<Fields<'n>> {
    let Value::Map(_) = root.value else {
        let what = format!("a plan is a map of fields, not {}", root.sort());
        let fault = Fault::error("not-a-plan", root.span, what);
        reader.report(fault.hint("begin with `cutover: v1`, `name:` and `steps:`"));
        return None;
    };
    let mut fields = reader.fields(root, "a plan")?;
    if let (None, Some(entry)) = (fields.entry("cutover"), fields.entry("estate")) {
        let fault = Fault::error("not-a-plan", entry.key.span, "this is an estate, not a plan");
        reader.report(fault.hint("it goes with a plan: `cutover check PLAN --estate FILE`"));
        return None;
    }
    fields.header("cutover", reader).then_some(fields)
}

fn read_root(
    root: &Node<'_>,
    passing: Option<&mut Passing<'_>>,
    scope: &mut Scope<'_>,
    path: &Path,
    text: &Arc<str>,
) -> Option<Plan> {
    let mut fields = plan_fields(root, &mut scope.reader)?;
    let name = fields.need("name").and_then(|n| plain(n, "`name`", &mut scope.reader));
    let change = fields.take("change").and_then(|n| plain(n, "`change`", &mut scope.reader));
    let window = match fields.take("window") {
        None => Ends::None,
        Some(node) => read_window(node, &mut scope.reader).map_or(Ends::Faulty, Ends::Known),
    };
    let zones = fields.take("zones").map(|node| read_zones(node, &mut scope.reader));
    let zones = zones.unwrap_or_else(|| vec![TimeZone::UTC]);
    let before = scope.reader.errors();
    let lines = fields.take("lines").map(|node| read_lines(node, &mut scope.reader));
    scope.no_lines = lines.is_none();
    let lines = lines.unwrap_or_default();
    scope.lines = lines.iter().map(|line| (line.name.value.clone(), line.clone())).collect();
    let protect = fields.take("protect").map(|node| read_protect(node, &mut scope.reader));
    let protect = protect.unwrap_or_default();
    let exclusive = fields.take("exclusive").map(|node| read_exclusive(node, &mut scope.reader));
    let exclusive = exclusive.unwrap_or_default();
    if scope.no_lines {
        check_lines_meant(&protect, &exclusive, &mut scope.reader);
    }
    scope.sound = scope.reader.errors() == before;
    scope.facts = facts(name.as_ref(), change.as_ref(), &window, &zones);
    if let Some(node) = fields.take("facts") {
        read_facts(node, scope);
    }
    let limits = fields.take("limits").map(|node| read_limits(node, &mut scope.reader));
    let mut limits = limits.unwrap_or_default();
    let on_failure = fields.take("on_failure");
    let on_failure = on_failure.and_then(|node| read_on_failure(node, &mut scope.reader));
    let steps = fields.need("steps");
    fields.finish(&mut scope.reader, OTHER_WORDS);
    let steps = match passing {
        Some(_) if scope.reader.errors() > 0 => return None,
        Some(passing) => steps::read_passing(passing, scope, &window)?,
        None => steps.map(|node| steps::read(node, scope, &window)).unwrap_or_default(),
    };
    scope.sound &= !steps.is_empty();
    check_limits(&limits, &steps, scope);
    limits
        .entry("steps".to_owned())
        .or_insert(Spanned { value: DEFAULT_STEPS, span: Span::default() });
    Some(Plan {
        name: name.map(|name| name.value).unwrap_or_default(),
        change: change.map(|change| change.value),
        window: match window {
            Ends::Known(window) => Some(window.window),
            Ends::None | Ends::Faulty => None,
        },
        zones,
        lines,
        protect,
        exclusive,
        limits,
        on_failure: on_failure.unwrap_or_default(),
        steps,
        facts: std::mem::take(&mut scope.facts),
        path: path.to_owned(),
        source: Arc::clone(text),
    })
}

fn read_window(node: &Node<'_>, reader: &mut Reader) -> Option<ZonedWindow> {
    let mut fields = reader.fields(node, "`window`")?;
    let end = |name: &'static str, fields: &mut Fields<'_>, reader: &mut Reader| {
        let node = fields.need(name)?;
        let text = reader.text(node, &format!("`{name}`"))?;
        let at = reader.time(node.span, &format!("`{name}`"), time::instant(text))?;
        Some((at, node.span))
    };
    let opens = end("opens", &mut fields, reader);
    let closes = end("closes", &mut fields, reader);
    let reserve =
        fields.take("reserve").map(|node| (reader.duration(node, "`reserve`"), node.span));
    fields.finish(
        reader,
        &[
            ("zone", "each time carries its own zone"),
            ("timezone", "each time carries its own zone"),
        ],
    );
    let ((opens, opens_span), (closes, closes_span)) = (opens?, closes?);
    if closes.timestamp() <= opens.timestamp() {
        reader.report(
            Fault::error("window", closes_span, "the window closes before it opens")
                .also(opens_span, "it opens here"),
        );
        return None;
    }
    let reserve = match reserve {
        None => SignedDuration::ZERO,
        Some((reserve, span)) => {
            let reserve = reserve?;
            if reserve >= closes.timestamp().duration_since(opens.timestamp()) {
                reader.error("window", span, "the reserve is as long as the window itself");
                return None;
            }
            reserve
        }
    };
    let window = Window {
        opens: opens.timestamp(),
        closes: closes.timestamp(),
        reserve,
        zone: opens.time_zone().clone(),
        span: node.span,
    };
    Some(ZonedWindow { window, opens, closes })
}

fn read_zones(node: &Node<'_>, reader: &mut Reader) -> Vec<TimeZone> {
    let names = reader.texts(node, "`zones`").unwrap_or_default();
    names.iter().filter_map(|name| reader.time(name.span, "`zones`", time::zone(name))).collect()
}

fn read_lines(node: &Node<'_>, reader: &mut Reader) -> Vec<Line> {
    let mut lines = Vec::new();
    let entries = reader.entries(node, "`lines`").unwrap_or_default();
    if entries.is_empty() && matches!(node.value, Value::Map(_)) {
        reader.error("empty-value", node.span, "`lines` names no line");
    }
    for entry in entries {
        let name = reader.name(&entry.key.value, entry.key.span, "the line");
        let facts = match &entry.value.value {
            Value::Null => BTreeMap::new(),
            _ => read_line_facts(&entry.value, reader),
        };
        if let Some(name) = name {
            if name.value == "all" || name.value == "none" {
                reader.error(
                    "bad-name",
                    name.span,
                    format!("a line cannot be called `{}`", name.value),
                );
            }
            lines.push(Line { name, facts });
        }
    }
    lines
}

fn read_line_facts(node: &Node<'_>, reader: &mut Reader) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for entry in reader.entries(node, "the facts of a line").unwrap_or_default() {
        let name = reader.name(&entry.key.value, entry.key.span, "the fact");
        let value = plain(&entry.value, &format!("`{}`", entry.key.value), reader);
        if let (Some(name), Some(value)) = (name, value) {
            if name.value == "not" {
                reader.error(
                    "bad-name",
                    name.span,
                    "a fact cannot be called `not`: `where` uses the word",
                );
            }
            facts.insert(name.value, value.value);
        }
    }
    facts
}

/// A text that is a fact itself: look-ups end in facts, they do not go on from there.
fn plain(node: &Node<'_>, what: &str, reader: &mut Reader) -> Option<Spanned<String>> {
    let text = reader.spanned(node, what)?;
    if text.value.contains("${{") {
        let fault = Fault::error("template", node.span, format!("nothing is looked up in {what}"));
        reader.report(fault.hint("look-ups fill the arguments of steps and `env`"));
        return None;
    }
    if text.value.len() > MAX_FACT {
        reader.error("too-long", node.span, format!("{what} is longer than {MAX_FACT} bytes"));
        return None;
    }
    Some(text)
}

/// The facts that every plan has.
fn facts(
    name: Option<&Spanned<String>>,
    change: Option<&Spanned<String>>,
    window: &Ends,
    zones: &[TimeZone],
) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    // What could not be read is a fault already; the look-ups of it are none.
    facts.insert("name".to_owned(), name.map(|name| name.value.clone()).unwrap_or_default());
    if let Some(change) = change {
        facts.insert("change".to_owned(), change.value.clone());
    }
    let zone = zones.first().cloned().unwrap_or(TimeZone::UTC);
    let (opens, closes) = match window {
        Ends::None => return facts,
        Ends::Faulty => (String::new(), String::new()),
        Ends::Known(ZonedWindow { window, .. }) => {
            let show = |at: Timestamp| {
                at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
            };
            (show(window.opens), show(window.closes))
        }
    };
    facts.insert("opens".to_owned(), opens);
    facts.insert("closes".to_owned(), closes);
    facts
}

fn read_facts(node: &Node<'_>, scope: &mut Scope<'_>) {
    for entry in scope.reader.entries(node, "`facts`").unwrap_or_default() {
        let name = scope.reader.name(&entry.key.value, entry.key.span, "the fact");
        let value = plain(&entry.value, &format!("`{}`", entry.key.value), &mut scope.reader);
        let (Some(name), Some(value)) = (name, value) else { continue };
        if matches!(&*name.value, "name" | "change" | "opens" | "closes")
            || name.value.contains('.')
        {
            let what = format!("a fact cannot be called `{}`", name.value);
            scope.reader.report(
                Fault::error("bad-name", name.span, what)
                    .hint("`name`, `change`, `opens` and `closes` are facts of every plan; a name holds no dot"),
            );
        } else {
            scope.facts.insert(name.value, value.value);
        }
    }
}

fn read_per_line(fields: &mut Fields<'_>, reader: &mut Reader) -> bool {
    fields
        .take("per")
        .and_then(|node| reader.word(node, "`per`", &[("line", true)]))
        .unwrap_or(false)
}

fn read_protect(node: &Node<'_>, reader: &mut Reader) -> Vec<Protect> {
    let mut out = Vec::new();
    for entry in reader.entries(node, "`protect`").unwrap_or_default() {
        let service = reader.name(&entry.key.value, entry.key.span, "the service");
        let Some(mut fields) = reader.fields(&entry.value, "a protected service") else { continue };
        let per_line = read_per_line(&mut fields, reader);
        let at_least =
            fields.take("at_least").and_then(|n| reader.number(n, "`at_least`", 1..=1000));
        let words = [("hold", OnBreach::Hold), ("rollback", OnBreach::Rollback)];
        let on_breach =
            fields.take("on_breach").and_then(|n| reader.word(n, "`on_breach`", &words));
        let providers = fields.take("providers").map(|n| (reader.texts(n, "`providers`"), n.span));
        fields.finish(reader, &[("at_most", "`at_most` is for roles, under `exclusive`")]);
        let Some(service) = service else { continue };
        let at_least = at_least.unwrap_or(1);
        if let Some((Some(providers), span)) = &providers {
            check_providers(&service, providers, reader);
            if providers.len() < at_least as usize {
                let (there, name) = (providers.len(), &service.value);
                let what = format!(
                    "`{name}` has {there} to begin with and must never have fewer than {at_least}"
                );
                reader.error("too-few", *span, what);
            }
        }
        out.push(Protect {
            service,
            per_line,
            at_least,
            on_breach: on_breach.unwrap_or_default(),
            providers: providers.and_then(|(providers, _)| providers),
        });
    }
    out
}

fn check_providers(service: &str, providers: &[Spanned<String>], reader: &mut Reader) {
    for provider in providers {
        let text = &provider.value;
        match crate::action::provider::split(text) {
            None => reader.report(
                Fault::error("bad-name", provider.span, format!("`{text}` is not a provider"))
                    .hint(format!("write it like `{service}@from/{service}-1`")),
            ),
            Some((other, ..)) if other != service => {
                let what = format!("`{text}` is a provider of `{other}`, not of `{service}`");
                reader.error("bad-name", provider.span, what);
            }
            Some(_) => {}
        }
    }
}

fn read_exclusive(node: &Node<'_>, reader: &mut Reader) -> Vec<Exclusive> {
    let mut out = Vec::new();
    for entry in reader.entries(node, "`exclusive`").unwrap_or_default() {
        let role = reader.name(&entry.key.value, entry.key.span, "the role");
        let Some(mut fields) = reader.fields(&entry.value, "an exclusive role") else { continue };
        let per_line = read_per_line(&mut fields, reader);
        let at_most = fields.take("at_most").and_then(|n| reader.number(n, "`at_most`", 1..=1000));
        let holder = fields.take("holder").and_then(|n| reader.spanned(n, "`holder`"));
        fields.finish(reader, &[("at_least", "`at_least` is for services, under `protect`")]);
        if let Some(role) = role {
            out.push(Exclusive { role, per_line, at_most: at_most.unwrap_or(1), holder });
        }
    }
    out
}

/// `per: line` speaks of lines: a plan without any means something else.
fn check_lines_meant(protect: &[Protect], exclusive: &[Exclusive], reader: &mut Reader) {
    let named = protect.iter().filter(|p| p.per_line).map(|p| &p.service);
    for name in named.chain(exclusive.iter().filter(|e| e.per_line).map(|e| &e.role)) {
        let what = format!("`{}` counts per line, and the plan has no `lines`", name.value);
        reader.report(
            Fault::error("no-lines", name.span, what).hint("say `lines:`, or leave `per` out"),
        );
    }
}

fn read_limits(node: &Node<'_>, reader: &mut Reader) -> BTreeMap<String, Spanned<u32>> {
    let mut limits = BTreeMap::new();
    for entry in reader.entries(node, "`limits`").unwrap_or_default() {
        let name = reader.name(&entry.key.value, entry.key.span, "the limit");
        let what = format!("the limit `{}`", entry.key.value);
        let number = reader.number(&entry.value, &what, 1..=1_000_000);
        if let (Some(name), Some(value)) = (name, number) {
            limits.insert(name.value, Spanned { value, span: entry.key.span });
        }
    }
    limits
}

/// A resource that no step uses is a slip in a name, and so is one without a limit.
fn check_limits(limits: &BTreeMap<String, Spanned<u32>>, steps: &[StepDef], scope: &mut Scope<'_>) {
    let kind = |name: &str| Kind::ALL.iter().any(|(kind, _)| *kind == name);
    let used: BTreeSet<&str> =
        steps.iter().flat_map(|step| step.uses.iter().map(|name| name.value.as_str())).collect();
    let kinds = Kind::ALL.iter().map(|(kind, _)| *kind);
    for (name, limit) in limits.iter().filter(|_| scope.sound) {
        if name != "steps" && !kind(name) && !used.contains(name.as_str()) {
            let what = format!("no step uses `{name}`");
            let mut fault = Fault::warning("unused-limit", limit.span, what);
            fault.hint = scope.reader.suggest(name, used.iter().copied().chain(kinds.clone()));
            scope.reader.report(fault);
        }
    }
    let reader = &mut scope.reader;
    let named = || limits.keys().map(String::as_str).filter(|name| *name != "steps" && !kind(name));
    for name in steps.iter().flat_map(|step| &step.uses) {
        if name.value == "steps" || kind(name) {
            let what = format!("`{}` counts by itself", name.value);
            reader.report(Fault::error("bad-uses", name.span, what).hint("leave it out of `uses`"));
        } else if !limits.contains_key(&name.value) {
            let what = format!("`limits` does not say how many use `{}` at once", name.value);
            reader.unknown("unknown-limit", name.span, what, &name.value, named());
        }
    }
}

/// `on_failure`, of the plan or of a step.
pub(crate) fn read_on_failure(node: &Node<'_>, reader: &mut Reader) -> Option<OnFailure> {
    let words = [
        ("hold", OnFailure::Hold),
        ("rollback", OnFailure::Rollback),
        ("rollback-line", OnFailure::RollbackLine),
    ];
    reader.word(node, "`on_failure`", &words)
}

/// Whether any of the faults keeps the file from being used.
pub fn is_fatal(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}

/// What the reader asks of each map of fields, and the faults; for the schema's test.
#[cfg(test)]
pub(crate) fn asked(
    text: &str,
) -> (BTreeMap<String, std::collections::BTreeSet<String>>, Vec<Fault>) {
    let path = Path::new("plan.yaml");
    let mut scope = Scope::new(text, path);
    let root = tree::parse(text).expect("yaml");
    read_root(&root, None, &mut scope, path, &Arc::from(text));
    (scope.reader.asked(), scope.reader.into_faults())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, Check, Undo};
    use crate::plan::{Phase, Serial, Work};
    use crate::text::fault::render;

    fn good(text: &str) -> Plan {
        let path = Path::new("plans/test.yaml");
        match read(path, text) {
            Ok((plan, _)) => plan,
            Err(faults) => panic!("{}", render(&faults, path, text)),
        }
    }

    fn faults(text: &str) -> Vec<(&'static str, String)> {
        match read(Path::new("p.yaml"), text) {
            Ok(_) => panic!("must be refused:\n{text}"),
            Err(faults) => faults.into_iter().map(|fault| (fault.code, fault.what)).collect(),
        }
    }

    const THE_DAY: &str = include_str!("../../plans/2019-04-06.yaml");

    #[test]
    fn the_plan_of_the_day_is_read() {
        let plan = good(THE_DAY);
        assert_eq!(plan.lines.len(), 6);
        assert_eq!(plan.lines[0].facts["orders"], "paused");
        let window = plan.window.as_ref().expect("a window");
        assert_eq!(window.opens.to_string(), "2019-04-06T15:30:00Z");
        assert_eq!(plan.facts["opens"], "2019-04-06 15:30 UTC");
        assert_eq!(plan.limits["wan"].value, 2);
        assert_eq!((plan.protect.len(), plan.exclusive.len()), (3, 2));
        let step = |name: &str| plan.steps.iter().find(|s| s.name.value == name).expect("a step");
        let notice = step("final-notice");
        assert_eq!(notice.phase, Phase::Before);
        assert_eq!(notice.not_before.expect("a moment").to_string(), "2019-03-30T15:30:00Z");
        assert_eq!(
            step("pause-orders").over[0].values,
            ["geotrust", "rapidssl", "symantec", "thawte"]
        );
        assert_eq!(step("enable-ocsp").over.len(), 2);
        assert_eq!(step("upgrade-ocsp").serial, Serial::All);
        assert!(step("disable-old-ocsp").needs[0].all);
        let Work::Act { act, undo, check } = &step("upgrade-ocsp").work else { panic!("acts") };
        assert_eq!(act.at().map(ToString::to_string).as_deref(), Some("to/${{ host }}"));
        let (Undo::By(undo), Check::By(check)) = (undo, check) else { panic!("said") };
        // Undo and check run where the deed runs.
        assert_eq!((undo.at(), check.at()), (act.at(), act.at()));
        let Work::Act { act: Action::ProviderEnable(enable), .. } = &step("enable-ocsp").work
        else {
            panic!("enables")
        };
        assert_eq!(enable.line.as_ref().map(ToString::to_string).as_deref(), Some("${{ line }}"));
        let Work::Act { undo: Undo::By(undo), .. } = &step("transfer").work else { panic!("acts") };
        assert_eq!(undo.name(), "database.discard");
        assert_eq!(step("go-live").timeout, None);
        assert_eq!(step("key-ceremony").timeout, None);
        assert_eq!(step("snapshot").timeout.map(|t| t.as_secs()), Some(3600));
        let kinds: Vec<_> = ["close-ordering", "go-live", "verify", "reopen", "resume-orders"]
            .map(|name| step(name).kind.name())
            .into();
        assert_eq!(kinds, ["drain", "gate", "verify", "reopen", "task"]);
    }

    #[test]
    fn the_first_taste_is_read() {
        let plan = good(include_str!("../../plans/first.yaml"));
        assert_eq!(plan.steps.len(), 3);
        assert_eq!(plan.limits["steps"].value, 16);
        assert!(plan.window.is_none());
    }

    #[test]
    fn the_rarer_forms_are_read() {
        let plan = good(
            r#"
cutover: v1
name: rare
facts: { page: "https://status.example.com" }
lines: { a: { orders: paused }, b: {}, c: { orders: open } }
limits: { wan: 1 }
steps:
  one: { for_each: { line: { where: { not: { orders: paused } } } }, run: [echo], undo: { none: x } }
  two:
    for_each: { line: [c, a], host: [h1, h2], serial: host }
    needs: one
    uses: [wan]
    script: |
      copy "$FROM"
    env: { FROM: "${{ line.orders }} ${{ plan.page }} ${{ host }}", EMPTY: "" }
    at: "from/${{ host }}"
    undo: { script: "drop", at: to/h1, env: { WHAT: "${{ line }}" } }
    check: { http: { get: "http://127.0.0.1/", expect: { status: [200, 204], contains: ok } } }
    retry: { attempts: 3, backoff: 10s..2m }
    estimate: 5m..10m
    idempotent: true
    on_failure: rollback-line
    on_rollback: finish
    effects: { disturbs: ["seal@from/${{ host }}"] }
    outputs: { rows: "rows ([0-9]+)" }
  three:
    needs: [two]
    do: { manual: { how: "Look at ${{ steps.two.outputs.rows }}." } }
    undo: { manual: { how: "Look away." } }
"#,
        );
        let [one, two, three] = plan.steps.as_slice() else { panic!("three steps") };
        assert_eq!(one.over[0].values, ["b", "c"]);
        assert_eq!(two.over[0].values, ["c", "a"]);
        assert_eq!(two.serial, Serial::Along("host".into()));
        assert_eq!(two.needs[0].step.value, "one");
        assert_eq!(two.retry.attempts, 3);
        assert_eq!(two.retry.backoff.1.as_secs(), 120);
        assert_eq!(two.on_failure, Some(OnFailure::RollbackLine));
        assert!(two.idempotent && two.finish_on_rollback && !two.point_of_no_return);
        let Work::Act { act: Action::Script(script), undo, check } = &two.work else {
            panic!("a script")
        };
        assert_eq!(script.text, "copy \"$FROM\"\n");
        assert_eq!(
            script.env["FROM"].to_string(),
            "${{ line.orders }} ${{ plan.page }} ${{ host }}"
        );
        assert_eq!(script.env["EMPTY"].as_literal(), Some(""));
        let Undo::By(undo) = undo else { panic!("an undo") };
        // Its own place and values, not the deed's.
        assert_eq!(undo.at().and_then(|at| at.as_literal()), Some("to/h1"));
        let Check::By(check) = check else { panic!("a check") };
        assert!(matches!(&**check, Action::Http(http) if http.status == [200, 204]));
        assert_eq!(three.timeout, None);
    }

    #[test]
    fn a_plan_is_compiled_in_spite_of_faults_that_leave_its_graph_as_it_is() {
        let text = |first: &str| {
            format!(
                "cutover: v1\nname: x\nsteps:\n  a: {{ {first} }}\n  b: {{ run: [b], needs: [a] }}\n"
            )
        };
        let read = |first: &str| read_anyway(Path::new("p"), &Arc::from(text(first)));
        for sound in ["run: [a], timeout: 40", "run: [a], colour: red", "run: [a, \"${{ x }}\"]"] {
            let (plan, faults) = read(sound);
            assert!(plan.is_some() && is_fatal(&faults), "{sound}");
        }
        for unsound in
            ["run: a", "script: a, run: [b]", "run: [a], for_each: { h: [] }", "run: [a], phase: x"]
        {
            let (plan, faults) = read(unsound);
            assert!(plan.is_none() && is_fatal(&faults), "{unsound}");
        }
    }

    #[test]
    fn every_fault_comes_in_one_go() {
        let text = "\
cutover: v1
name: x
colour: red
window:
  opens: 2019-04-06T20:30[America/Los_Angeles]
  closes: 2019-04-06T08:30[America/Los_Angeles]
lines: { a: {}, b: { x: 1 } }
steps:
  one: { run: [echo], needs: [two], timeout: 1d }
  Two: { run: [a], script: b }
  three:
    for_each: { line: [c], host: [h] }
    run: [echo, \"${{ hots }}\", \"${{ line.x }}\", \"${{ steps.one.outputs.y }}\"]
    retry: 3
    point_of_no_return: yes
";
        let seen = faults(text);
        let codes: Vec<_> = seen.iter().map(|(code, _)| *code).collect();
        let want = [
            "unknown-field",
            "window",
            "unknown-step",
            "bad-time",
            "bad-name",
            "two-deeds",
            "unknown-line",
            "unknown-variable",
            "unknown-output",
            "wrong-type",
            "wrong-type",
        ];
        assert_eq!(codes, want, "{seen:#?}");
    }

    #[test]
    fn a_fault_of_one_step_is_no_fault_of_another() {
        let text = "\
cutover: v1
name: x
steps:
  one: { run: [a], undo: { none: x }, outputs: { o: \"(.)\" }, timeout: 5 }
  two: { run: [b, \"${{ steps.one.outputs.o }}\"], needs: [one], undo: { none: x } }
";
        assert_eq!(faults(text).len(), 1);
    }
}
