//! The graph: every step instance, what it needs, what it takes. Read-only once compiled.
//!
//! Not known here: the states of steps, clocks, how anything is carried out. All tables are dense
//! and indexed by id; needs and dependents are compressed sparse rows, so that an event costs what
//! the edges it touches cost.

mod bind;
mod derived;
mod digest;
mod expand;
mod fill;
mod limits;
mod names;
mod order;
mod reach;
mod rows;
mod shape;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod walk;

use crate::action::{Action, database::Method};
use crate::estate::Estate;
use crate::event::{LineId, Outputs, ProviderId, StepId};
use crate::plan::{Kind, OnFailure, Phase, Plan, StepDef, Work};
use crate::text::fault::{Fault, Severity};
use crate::text::near::near;
use rows::Rows;
use shape::Shape;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// More steps than this are refused: ids and tables stay small.
const MAX_STEPS: u64 = 1_000_000;
/// More edges than this are refused, with the need that makes them.
const MAX_EDGES: u64 = 2_000_000;

/// A limit: `steps`, a kind's, or a named resource's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);

/// A role and site, per line where the plan says so (`writer@from/geotrust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u32);

/// A protected service, with `per: line` one for each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl RoleId {
    /// The position in [`Graph::roles`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ServiceId {
    /// The position in [`Graph::services`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl LimitId {
    /// The position in the table of limits.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a step does to a provider or role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Down from begin.
    Loses,
    /// Up from end.
    Gains,
    /// Down from begin to end.
    Disturbs,
}

/// A provider as the plan sees it.
#[derive(Clone, Debug)]
pub struct ProviderInfo {
    /// `ocsp@to/ocsp-1[geotrust]`
    pub name: String,
    /// The same without the line: `ocsp@to/ocsp-1`.
    pub base: String,
    /// The service (and line) that it counts for.
    pub service: ServiceId,
    /// Its line, with `per: line`.
    pub line: Option<LineId>,
    /// Whether clients are sent there when the run begins.
    pub serving_at_start: bool,
}

/// A protected service (of a line).
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    /// `ocsp[geotrust]`, or `seal`.
    pub name: String,
    /// Place in `Plan::protect`.
    pub protect: u32,
    /// Its line, with `per: line`.
    pub line: Option<LineId>,
    /// Its providers.
    pub providers: Vec<ProviderId>,
}

/// A role at a site.
#[derive(Clone, Debug)]
pub struct RoleInfo {
    /// `writer@from/geotrust`
    pub name: String,
    /// Place in `Plan::exclusive`.
    pub exclusive: u32,
    /// Its line, with `per: line`.
    pub line: Option<LineId>,
    /// Whether this site holds it when the run begins.
    pub held_at_start: bool,
}

/// The compiled graph. Everything in it is immutable.
#[derive(Debug)]
pub struct Graph {
    plan: Arc<Plan>,
    shape: Shape,
    needs: Rows<StepId>,
    dependents: Rows<StepId>,
    topological: Vec<StepId>,
    names: names::Names,
    limits: limits::Limits,
    checkpoints: BTreeMap<String, Vec<StepId>>,
    /// By line: its data flows back after a switch (every transfer of it replicates).
    flows_back: Vec<bool>,
    looked_up: Vec<fill::LookUp>,
    warnings: Vec<Fault>,
    digest: OnceLock<String>,
}

/// A list of faults that is not empty of errors.
pub type Faults = Vec<Fault>;

impl Graph {
    /// Expands and binds a plan. Names are looked up in the estate when there is one (`check` needs
    /// none: then names of sites and hosts are taken as they are).
    ///
    /// # Errors
    /// Every fault found, in written order; warnings of a graph that compiles are in
    /// [`Graph::warnings`]. Cycles are found here too (section 4.1), shown as the path.
    pub fn compile(plan: Arc<Plan>, estate: Option<&Estate>) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        if plan.steps.is_empty() {
            faults.push(Fault::error(
                "no-steps",
                crate::text::Span::default(),
                "the plan has no step",
            ));
            return Err(faults);
        }
        let shape = Shape::of(&plan, &mut faults);
        let needs = expand::needs(&plan, &shape, &mut faults);
        let dependents = needs.transposed(shape.len());
        let topological = order::topological(&needs, &dependents, shape.len());
        if topological.len() < shape.len() {
            let name = |step| full_name(&plan, &shape, step);
            let def_of = |step| shape.def_index(step);
            let found = order::cycles(&plan, &needs, &topological, shape.len(), &name, &def_of);
            faults.extend(found);
        }
        let limits = limits::build(&plan, &mut faults);
        let looked_up = fill::check(&plan, &shape, &mut faults);
        if topological.len() == shape.len() {
            fill::are_needed(&plan, &shape, &needs, &topological, &looked_up, &mut faults);
        }
        let names = names::build(&plan, &shape, estate, &mut faults);
        let checkpoints = checkpoints(&plan, &shape, &mut faults);
        bind::check(&plan, &shape, &names, estate, &mut faults);
        let flows_back = flows_back(&plan, &shape);
        faults.sort_by_key(|fault| fault.span);
        let graph = Self {
            plan,
            shape,
            needs,
            dependents,
            topological,
            names,
            limits,
            checkpoints,
            flows_back,
            looked_up,
            warnings: Vec::new(),
            digest: OnceLock::new(),
        };
        if faults.iter().any(|fault| fault.severity == Severity::Error) {
            return Err(faults);
        }
        Ok(Self { warnings: faults, ..graph })
    }

    /// The plan it came from.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
    /// Warnings and notes of the compilation.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.shape.len()
    }
    /// Whether there is no step (never: a plan has at least one).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Every step, in written order.
    pub fn steps(&self) -> impl Iterator<Item = StepId> + Clone + use<> {
        (0..self.len() as u32).map(StepId)
    }
    /// `transfer[geotrust]`
    pub fn name(&self, step: StepId) -> String {
        full_name(&self.plan, &self.shape, step)
    }
    /// The step of that full name.
    pub fn find(&self, name: &str) -> Option<StepId> {
        let (def, values) = match name.split_once('[') {
            Some((def, values)) => (def, values.strip_suffix(']')?),
            None => (name, ""),
        };
        let span = &self.shape.spans[*self.shape.by_name.get(def)? as usize];
        if span.digits.is_empty() {
            return (!name.contains('[')).then_some(StepId(span.first));
        }
        let mut id = span.first;
        let mut values = values.split(',');
        for digit in &span.digits {
            id += digit.stride * digit.places.get(values.next()?)?;
        }
        values.next().is_none().then_some(StepId(id))
    }
    /// The steps that a name in a command means: a full name, or every instance of a bare one.
    /// Empty when there is none; the caller suggests with `near`.
    pub fn named(&self, name: &str) -> Vec<StepId> {
        match self.shape.by_name.get(name) {
            Some(def) => self.shape.spans[*def as usize].ids().collect(),
            None => self.find(name).into_iter().collect(),
        }
    }
    /// Every instance of a definition, by its place in the plan's `steps`.
    pub fn instances(&self, def: usize) -> impl Iterator<Item = StepId> + Clone + use<> {
        let (first, size) =
            self.shape.spans.get(def).map_or((0, 0), |span| (span.first, span.size));
        (first..first + size).map(StepId)
    }
    /// The definition.
    pub fn def(&self, step: StepId) -> &StepDef {
        &self.plan.steps[self.shape.def_index(step)]
    }
    /// Place of the definition in the plan's `steps`.
    pub fn def_index(&self, step: StepId) -> usize {
        self.shape.def_index(step)
    }
    /// Variable and value of each `for_each` variable of the step, in written order.
    pub fn bindings(&self, step: StepId) -> impl Iterator<Item = (&str, &str)> {
        let places = self.shape.values(step);
        self.def(step)
            .over
            .iter()
            .zip(places)
            .map(|(over, place)| (over.variable.value.as_str(), over.values[place].as_str()))
    }
    /// Its product line.
    pub fn line(&self, step: StepId) -> Option<LineId> {
        self.shape.line(step)
    }
    /// A line's name.
    pub fn line_name(&self, line: LineId) -> &str {
        &self.plan.lines[line.index()].name.value
    }
    /// The line of that name.
    pub fn find_line(&self, name: &str) -> Option<LineId> {
        self.shape.lines.get(name).copied()
    }
    /// Number of lines.
    pub fn line_count(&self) -> usize {
        self.plan.lines.len()
    }
    /// What the step needs directly: written needs and serial edges, each once, ascending. Phase
    /// edges are included: the steps of a phase that need none of it need those of the phase
    /// before that none of it needs, so that all of a phase lies behind all of the one before.
    pub fn needs(&self, step: StepId) -> &[StepId] {
        self.needs.row(step.index())
    }
    /// Who needs the step directly, ascending.
    pub fn dependents(&self, step: StepId) -> &[StepId] {
        self.dependents.row(step.index())
    }
    /// Number of edges.
    pub fn edge_count(&self) -> usize {
        self.needs.items()
    }
    /// Every step once, needs before dependents.
    pub fn topological(&self) -> &[StepId] {
        &self.topological
    }
    /// Shorthand for the definition's kind.
    pub fn kind(&self, step: StepId) -> Kind {
        self.def(step).kind
    }
    /// Shorthand for the definition's phase.
    pub fn phase(&self, step: StepId) -> Phase {
        self.def(step).phase
    }
    /// What a failure for good of this step does (plan's default, notices hold, no line: whole run).
    pub fn on_failure(&self, step: StepId) -> OnFailure {
        let def = self.def(step);
        let default = if def.kind == Kind::Notify { OnFailure::Hold } else { self.plan.on_failure };
        match def.on_failure.unwrap_or(default) {
            OnFailure::RollbackLine if self.line(step).is_none() => OnFailure::Rollback,
            policy => policy,
        }
    }
    /// Limits that the step takes one of: `steps`, its kind's if limited, its `uses`. Gates and
    /// manual steps take none.
    pub fn limits(&self, step: StepId) -> &[LimitId] {
        &self.limits.of_def[self.shape.def_index(step)]
    }
    /// How many of a limit at once.
    pub fn limit(&self, limit: LimitId) -> u32 {
        self.limits.table[limit.index()].1
    }
    /// The limit's name, for `waits_for`.
    pub fn limit_name(&self, limit: LimitId) -> &str {
        &self.limits.table[limit.index()].0
    }
    /// Number of limits.
    pub fn limit_count(&self) -> usize {
        self.limits.table.len()
    }
    /// Providers.
    pub fn providers(&self) -> &[ProviderInfo] {
        &self.names.providers
    }
    /// The provider of that full name (`ocsp@to/ocsp-1[geotrust]`).
    pub fn find_provider(&self, name: &str) -> Option<ProviderId> {
        self.names.provider_ids.get(name).copied()
    }
    /// Protected services (of lines).
    pub fn services(&self) -> &[ServiceInfo] {
        &self.names.services
    }
    /// Roles at sites.
    pub fn roles(&self) -> &[RoleInfo] {
        &self.names.roles
    }
    /// What the step does to providers, ascending, each once.
    pub fn effects(&self, step: StepId) -> &[(ProviderId, Effect)] {
        self.names.effects.row(step.index())
    }
    /// What the step does to roles, ascending, each once.
    pub fn role_effects(&self, step: StepId) -> &[(RoleId, Effect)] {
        self.names.role_effects.row(step.index())
    }
    /// Whether a rollback over the step, once begun, is not offered: `point_of_no_return`, or a
    /// `reopen` in a plan with lines whose data does not flow back.
    pub fn is_point_of_no_return(&self, step: StepId) -> bool {
        let def = self.def(step);
        if def.point_of_no_return {
            return true;
        }
        let flows_back = match self.line(step) {
            Some(line) => self.flows_back[line.index()],
            None => self.flows_back.iter().all(|flows| *flows),
        };
        def.kind == Kind::Reopen && !self.plan.lines.is_empty() && !flows_back
    }
    /// The steps that carry the checkpoint of that name.
    pub fn checkpoint(&self, name: &str) -> Option<&[StepId]> {
        self.checkpoints.get(name).map(Vec::as_slice)
    }
    /// Names of all checkpoints.
    pub fn checkpoints(&self) -> impl Iterator<Item = &str> {
        self.checkpoints.keys().map(String::as_str)
    }
    /// Hex SHA-256 over everything a journal relies on: step names, needs, effects, limits, policies.
    pub fn digest(&self) -> String {
        self.digest.get_or_init(|| digest::of(self)).clone()
    }

    /// The texts of the step's action filled: what an executor is handed. `outputs` finds the
    /// journaled outputs of a step.
    ///
    /// # Errors
    /// The look-up that found nothing (an output that the step did not print).
    pub fn fill<'a>(
        &self,
        step: StepId,
        template: &crate::plan::template::Template,
        outputs: &dyn Fn(StepId) -> Option<&'a Outputs>,
    ) -> Result<String, String> {
        fill::fill(&self.plan, &self.shape, step, template, outputs)
    }

    /// What makes the plan need an estate, said in a word: a site, host or service that it names;
    /// none when it names nothing of the kind.
    pub fn needs_estate(&self) -> Option<String> {
        bind::needs_estate(&self.plan)
    }
}

fn full_name(plan: &Plan, shape: &Shape, step: StepId) -> String {
    let def = &plan.steps[shape.def_index(step)];
    let mut name = def.name.value.clone();
    for (index, (over, place)) in def.over.iter().zip(shape.values(step)).enumerate() {
        name.push(if index == 0 { '[' } else { ',' });
        name.push_str(&over.values[place]);
    }
    if !def.over.is_empty() {
        name.push(']');
    }
    name
}

fn checkpoints(
    plan: &Plan,
    shape: &Shape,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Vec<StepId>> {
    let mut checkpoints: BTreeMap<String, Vec<StepId>> = BTreeMap::new();
    for (def, span) in plan.steps.iter().zip(&shape.spans) {
        let Some(name) = &def.checkpoint else { continue };
        if checkpoints.insert(name.value.clone(), span.ids().collect()).is_some() {
            let what = format!("checkpoint `{}` stands at two steps", name.value);
            let fault = Fault::error("duplicate-name", name.span, what)
                .hint("a checkpoint is reached when one step's last instance has ended");
            faults.push(fault);
        }
    }
    checkpoints
}

fn flows_back(plan: &Plan, shape: &Shape) -> Vec<bool> {
    let mut transfers = vec![(0_u32, 0_u32); plan.lines.len()];
    for (def, span) in plan.steps.iter().zip(&shape.spans) {
        if def.kind != Kind::Transfer {
            continue;
        }
        let replicates = matches!(
            &def.work,
            Work::Act { act: Action::DatabaseTransfer(it), .. } if it.method == Method::Replicate
        );
        let mut count = |line: usize| {
            transfers[line].0 += 1;
            transfers[line].1 += u32::from(replicates);
        };
        match &span.line {
            Some((_, lines)) => lines.iter().for_each(|line| {
                if line.index() < plan.lines.len() {
                    count(line.index());
                }
            }),
            None => (0..plan.lines.len()).for_each(count),
        }
    }
    transfers.iter().map(|(all, replicating)| *all > 0 && all == replicating).collect()
}

/// What was probably meant, else what there is.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.collect();
    match near(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", listed(&known)),
    }
}

/// Names in backticks, at most five of them.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join(", ")
}
