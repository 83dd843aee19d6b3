//! Graphs without YAML, for tests of whatever takes a graph.
//!
//! ```
//! use cutover::graph::testing::PlanBuilder;
//! let graph = PlanBuilder::new()
//!     .lines(["geotrust", "thawte"])
//!     .step("snapshot", |step| step.each("line", ["geotrust", "thawte"]))
//!     .step("transfer", |step| step.each("line", ["geotrust", "thawte"]).needs(["snapshot"]))
//!     .graph();
//! assert_eq!(graph.needs(graph.find("transfer[thawte]").expect("there")).len(), 1);
//! ```

use super::{Faults, Graph};
use crate::action::{Action, Check, Effects, Undo, manual, notify, process};
use crate::estate::Estate;
use crate::plan::template::{Piece, Template};
use crate::plan::{
    Exclusive, Gate, Kind, Line, Need, OnBreach, OnFailure, Output, Over, Phase, Plan, Protect,
    Retry, Serial, StepDef, Window, Work,
};
use crate::text::{Span, Spanned};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A plan in the making. Every item gets a place of its own, so that faults tell them apart.
#[derive(Clone, Debug)]
pub struct PlanBuilder {
    plan: Plan,
    place: u32,
}

/// A step in the making: by default a task that runs `true` and is undone by `true`, with no check.
#[derive(Clone, Debug)]
pub struct StepBuilder {
    def: StepDef,
    place: u32,
}

impl Default for PlanBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A text with `${{ variable }}` look-ups in it, enough for tests.
pub fn template(text: &str) -> Template {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        let end = rest[start..].find("}}").map_or(rest.len(), |end| start + end);
        if start > 0 {
            pieces.push(Piece::Text(rest[..start].to_owned()));
        }
        pieces.push(look_up(rest[start + 3..end].trim()));
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Template { pieces, span: Span::default() }
}

fn look_up(name: &str) -> Piece {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["line", fact] => Piece::LineFact((*fact).to_owned()),
        ["plan", fact] => Piece::PlanFact((*fact).to_owned()),
        ["steps", step, "outputs", output] => {
            Piece::Output { step: (*step).to_owned(), output: (*output).to_owned() }
        }
        _ => Piece::Variable(name.to_owned()),
    }
}

fn run(argv: &[&str]) -> Action<Template> {
    let argv = argv.iter().map(|word| template(word)).collect();
    Action::Run(process::Run { argv, at: None, env: BTreeMap::new() })
}

fn spanned<T>(place: &mut u32, value: T) -> Spanned<T> {
    *place += 1;
    Spanned { value, span: Span { start: *place, end: *place + 1 } }
}

impl PlanBuilder {
    /// An empty plan: no window, no lines, nothing protected, `on_failure: hold`.
    pub fn new() -> Self {
        let plan = Plan {
            name: "test".into(),
            change: None,
            window: None,
            zones: Vec::new(),
            lines: Vec::new(),
            protect: Vec::new(),
            exclusive: Vec::new(),
            limits: BTreeMap::new(),
            on_failure: OnFailure::Hold,
            steps: Vec::new(),
            facts: BTreeMap::from([("plan.name".into(), "test".into())]),
            path: PathBuf::from("test.yaml"),
            source: Arc::from(""),
        };
        Self { plan, place: 0 }
    }

    /// Product lines without facts.
    #[must_use]
    pub fn lines<'a>(mut self, lines: impl IntoIterator<Item = &'a str>) -> Self {
        for line in lines {
            let name = spanned(&mut self.place, line.to_owned());
            self.plan.lines.push(Line { name, facts: BTreeMap::new() });
        }
        self
    }

    /// A fact of the last line.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        if let Some(line) = self.plan.lines.last_mut() {
            line.facts.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// A protected service and who serves it at the start.
    #[must_use]
    pub fn protect<'a>(
        mut self,
        service: &str,
        per_line: bool,
        at_least: u32,
        providers: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let service = spanned(&mut self.place, service.to_owned());
        let providers = providers.into_iter().map(str::to_owned);
        let providers = providers.map(|name| spanned(&mut self.place, name)).collect();
        let providers = Some(providers);
        let on_breach = OnBreach::Hold;
        self.plan.protect.push(Protect { service, per_line, at_least, on_breach, providers });
        self
    }

    /// What a breach of the last protected service does.
    #[must_use]
    pub fn on_breach(mut self, on_breach: OnBreach) -> Self {
        if let Some(protect) = self.plan.protect.last_mut() {
            protect.on_breach = on_breach;
        }
        self
    }

    /// The estate says who serves the last protected service at the start.
    #[must_use]
    pub fn served_by_estate(mut self) -> Self {
        if let Some(protect) = self.plan.protect.last_mut() {
            protect.providers = None;
        }
        self
    }

    /// An exclusive role, held by one site at most.
    #[must_use]
    pub fn exclusive(mut self, role: &str, per_line: bool, holder: Option<&str>) -> Self {
        let role = spanned(&mut self.place, role.to_owned());
        let holder = holder.map(|site| spanned(&mut self.place, site.to_owned()));
        self.plan.exclusive.push(Exclusive { role, per_line, at_most: 1, holder });
        self
    }

    /// A limit.
    #[must_use]
    pub fn limit(mut self, name: &str, at_once: u32) -> Self {
        let limit = spanned(&mut self.place, at_once);
        self.plan.limits.insert(name.to_owned(), limit);
        self
    }

    /// What a failure for good does.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.plan.on_failure = on_failure;
        self
    }

    /// The window, in UTC, without reserve.
    #[must_use]
    pub fn window(mut self, opens: Timestamp, closes: Timestamp) -> Self {
        let span = spanned(&mut self.place, ()).span;
        let reserve = SignedDuration::ZERO;
        self.plan.window = Some(Window { opens, closes, reserve, zone: TimeZone::UTC, span });
        self
    }

    /// A step.
    #[must_use]
    pub fn step(mut self, name: &str, make: impl FnOnce(StepBuilder) -> StepBuilder) -> Self {
        let name = spanned(&mut self.place, name.to_owned());
        let made = make(StepBuilder { def: empty(name), place: self.place });
        self.place = made.place;
        self.plan.steps.push(made.def);
        self
    }

    /// The plan.
    pub fn plan(self) -> Arc<Plan> {
        Arc::new(self.plan)
    }

    /// The plan compiled without an estate.
    ///
    /// # Errors
    /// As [`Graph::compile`].
    pub fn compile(self) -> Result<Graph, Faults> {
        Graph::compile(self.plan(), None)
    }

    /// The plan compiled for an estate.
    ///
    /// # Errors
    /// As [`Graph::compile`].
    pub fn compile_for(self, estate: &Estate) -> Result<Graph, Faults> {
        Graph::compile(self.plan(), Some(estate))
    }

    /// The plan compiled without an estate.
    ///
    /// # Panics
    /// When it does not compile: the test is wrong.
    pub fn graph(self) -> Arc<Graph> {
        match self.compile() {
            Ok(graph) => Arc::new(graph),
            Err(faults) => panic!("the test's plan does not compile: {faults:#?}"),
        }
    }
}

fn empty(name: Spanned<String>) -> StepDef {
    let span = name.span;
    StepDef {
        name,
        kind: Kind::Task,
        work: Work::Act {
            act: run(&["true"]),
            undo: Undo::By(Box::new(run(&["true"]))),
            check: Check::Nothing,
        },
        over: Vec::new(),
        serial: Serial::No,
        needs: Vec::new(),
        phase: Phase::Window,
        not_before: None,
        uses: Vec::new(),
        effects: None,
        estimate: None,
        timeout: Some(SignedDuration::from_hours(1)),
        retry: Retry::default(),
        idempotent: false,
        on_failure: None,
        finish_on_rollback: false,
        checkpoint: None,
        point_of_no_return: false,
        outputs: Vec::new(),
        span,
    }
}

impl StepBuilder {
    /// Another variable, whose values turn faster than those before.
    #[must_use]
    pub fn each<'a>(mut self, variable: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let variable = spanned(&mut self.place, variable.to_owned());
        let values = values.into_iter().map(str::to_owned).collect();
        self.def.over.push(Over { variable, values });
        self
    }

    /// Needs, paired by name.
    #[must_use]
    pub fn needs<'a>(mut self, steps: impl IntoIterator<Item = &'a str>) -> Self {
        for step in steps {
            let step = spanned(&mut self.place, step.to_owned());
            self.def.needs.push(Need { step, all: false });
        }
        self
    }

    /// `{ all: NAME }`
    #[must_use]
    pub fn needs_all(mut self, step: &str) -> Self {
        let step = spanned(&mut self.place, step.to_owned());
        self.def.needs.push(Need { step, all: true });
        self
    }

    /// `serial: true`
    #[must_use]
    pub fn serial(mut self) -> Self {
        self.def.serial = Serial::All;
        self
    }

    /// `serial: VARIABLE`
    #[must_use]
    pub fn serial_along(mut self, variable: &str) -> Self {
        self.def.serial = Serial::Along(variable.to_owned());
        self
    }

    /// What it means.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.def.kind = kind;
        self
    }

    /// When it may start.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.def.phase = phase;
        self
    }

    /// Not before this moment.
    #[must_use]
    pub fn not_before(mut self, moment: Timestamp) -> Self {
        self.def.not_before = Some(moment);
        self
    }

    /// Its deed.
    #[must_use]
    pub fn act(mut self, deed: Action<Template>) -> Self {
        if let Work::Act { act, .. } = &mut self.def.work {
            *act = deed;
        }
        self
    }

    /// Its deed, as a command.
    #[must_use]
    pub fn run(self, argv: &[&str]) -> Self {
        self.act(run(argv))
    }

    /// Its undo.
    #[must_use]
    pub fn undo(mut self, way_back: Undo<Template>) -> Self {
        if let Work::Act { undo, .. } = &mut self.def.work {
            *undo = way_back;
        }
        self
    }

    /// `undo: { none: REASON }`
    #[must_use]
    pub fn no_undo(self) -> Self {
        self.undo(Undo::Nothing("nothing is left behind".into()))
    }

    /// No `undo:` at all.
    #[must_use]
    pub fn missing_undo(self) -> Self {
        self.undo(Undo::Missing)
    }

    /// A check by command.
    #[must_use]
    pub fn check(mut self, argv: &[&str]) -> Self {
        if let Work::Act { check, .. } = &mut self.def.work {
            *check = Check::By(Box::new(run(argv)));
        }
        self
    }

    /// A check that the action brings along.
    #[must_use]
    pub fn checks_itself(mut self) -> Self {
        if let Work::Act { check, .. } = &mut self.def.work {
            *check = Check::BuiltIn;
        }
        self
    }

    /// A gate of these groups.
    #[must_use]
    pub fn gate<'a>(mut self, by: impl IntoIterator<Item = &'a str>, quorum: u32) -> Self {
        let by = by.into_iter().map(|group| spanned(&mut self.place, group.to_owned())).collect();
        self.def.work = Work::Ask(Gate { by, quorum, ask: template("Go?") });
        self.def.kind = Kind::Gate;
        self.def.timeout = None;
        self
    }

    /// A manual step of these groups, undone by hand too.
    #[must_use]
    pub fn manual<'a>(mut self, by: impl IntoIterator<Item = &'a str>, people: u32) -> Self {
        let by: Vec<String> = by.into_iter().map(str::to_owned).collect();
        let deed = |how: &str, people| {
            let (by, how) = (by.clone(), template(how));
            Action::Manual(manual::Manual { by, people, how, evidence_required: false })
        };
        self.def.work = Work::Act {
            act: deed("do it", people),
            undo: Undo::By(Box::new(deed("undo it", 1))),
            check: Check::Nothing,
        };
        self.def.timeout = None;
        self
    }

    /// A notice to these channels.
    #[must_use]
    pub fn notify<'a>(mut self, to: impl IntoIterator<Item = &'a str>) -> Self {
        let to = to.into_iter().map(template).collect();
        self.def.work = Work::Act {
            act: Action::Notify(notify::Notify { notice: PathBuf::from("notice.md"), to }),
            undo: Undo::Nothing("a notice cannot be unsent".into()),
            check: Check::BuiltIn,
        };
        self.def.kind = Kind::Notify;
        self
    }

    fn effects(mut self, add: impl FnOnce(&mut Effects<Template>, &mut u32)) -> Self {
        let place = &mut self.place;
        let span = self.def.span;
        let empty = || Spanned { value: Effects::default(), span };
        add(&mut self.def.effects.get_or_insert_with(empty).value, place);
        self
    }

    /// Written effects: down from its begin.
    #[must_use]
    pub fn loses<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.effects(|effects, place| effects.loses.extend(placed(names, place)))
    }

    /// Written effects: up from its end.
    #[must_use]
    pub fn gains<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.effects(|effects, place| effects.gains.extend(placed(names, place)))
    }

    /// Written effects: down from begin to end.
    #[must_use]
    pub fn disturbs<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.effects(|effects, place| effects.disturbs.extend(placed(names, place)))
    }

    /// `effects: {}`
    #[must_use]
    pub fn no_effects(self) -> Self {
        self.effects(|_, _| {})
    }

    /// Named resources that it takes one of.
    #[must_use]
    pub fn uses<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            let name = spanned(&mut self.place, name.to_owned());
            self.def.uses.push(name);
        }
        self
    }

    /// At most so many attempts, with this pause before the second.
    #[must_use]
    pub fn attempts(mut self, attempts: u32, backoff: SignedDuration) -> Self {
        self.def.retry = Retry { attempts, backoff: (backoff, backoff) };
        self
    }

    /// May be repeated without asking whether it is done.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.def.idempotent = true;
        self
    }

    /// What a failure for good does.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.def.on_failure = Some(on_failure);
        self
    }

    /// A rollback waits for it.
    #[must_use]
    pub fn finish_on_rollback(mut self) -> Self {
        self.def.finish_on_rollback = true;
        self
    }

    /// A name that `rollback --to` comes back to.
    #[must_use]
    pub fn checkpoint(mut self, name: &str) -> Self {
        self.def.checkpoint = Some(spanned(&mut self.place, name.to_owned()));
        self
    }

    /// From its begin no rollback over it is offered.
    #[must_use]
    pub fn point_of_no_return(mut self) -> Self {
        self.def.point_of_no_return = true;
        self
    }

    /// How long it is expected to take.
    #[must_use]
    pub fn estimate(self, time: SignedDuration) -> Self {
        self.estimate_between(time, time)
    }

    /// How long it is expected to take, as a range.
    #[must_use]
    pub fn estimate_between(mut self, least: SignedDuration, most: SignedDuration) -> Self {
        self.def.estimate = Some((least, most));
        self
    }

    /// After it an attempt is ended.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<SignedDuration>) -> Self {
        self.def.timeout = timeout;
        self
    }

    /// A value caught from its stdout.
    #[must_use]
    pub fn output(mut self, name: &str, pattern: &str) -> Self {
        self.def.outputs.push(Output { name: name.to_owned(), pattern: pattern.to_owned() });
        self
    }
}

fn placed<'a>(names: impl IntoIterator<Item = &'a str>, place: &mut u32) -> Vec<Template> {
    let place_one = |name: &str| {
        *place += 1;
        Template { span: Span { start: *place, end: *place + 1 }, ..template(name) }
    };
    names.into_iter().map(place_one).collect()
}
