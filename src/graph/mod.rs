//! The graph: every step instance, what it needs, what it takes. Read-only once compiled.
//!
//! Not known here: the states of steps, clocks, how anything is carried out. All tables are dense
//! and indexed by id; needs and dependents are compressed sparse rows, so that an event costs what
//! the edges it touches cost.

mod bind;
mod expand;

use crate::estate::Estate;
use crate::event::{LineId, Outputs, ProviderId, StepId};
use crate::plan::{Kind, OnFailure, Phase, Plan, StepDef};
use crate::text::fault::Fault;
use std::sync::Arc;

/// A limit: `steps`, a kind's, or a named resource's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);

/// A role and site, per line where the plan says so (`writer@from/geotrust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u32);

/// A protected service, with `per: line` one for each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

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
    // GRAPH helper: the tables.
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
        let _ = estate;
        let _ = plan;
        todo!()
    }

    /// The plan it came from.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
    /// Warnings and notes of the compilation.
    pub fn warnings(&self) -> &[Fault] {
        todo!()
    }
    /// Number of steps.
    pub fn len(&self) -> usize {
        todo!()
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
        let _ = step;
        todo!()
    }
    /// The step of that full name.
    pub fn find(&self, name: &str) -> Option<StepId> {
        let _ = name;
        todo!()
    }
    /// The steps that a name in a command means: a full name, or every instance of a bare one.
    /// Empty when there is none; the caller suggests with `near`.
    pub fn named(&self, name: &str) -> Vec<StepId> {
        let _ = name;
        todo!()
    }
    /// The definition.
    pub fn def(&self, step: StepId) -> &StepDef {
        let _ = step;
        todo!()
    }
    /// Place of the definition in the plan's `steps`.
    pub fn def_index(&self, step: StepId) -> usize {
        let _ = step;
        todo!()
    }
    /// Variable and value of each `for_each` variable of the step, in written order.
    pub fn bindings(&self, step: StepId) -> impl Iterator<Item = (&str, &str)> {
        let _ = step;
        std::iter::empty()
    }
    /// Its product line.
    pub fn line(&self, step: StepId) -> Option<LineId> {
        let _ = step;
        todo!()
    }
    /// A line's name.
    pub fn line_name(&self, line: LineId) -> &str {
        let _ = line;
        todo!()
    }
    /// The line of that name.
    pub fn find_line(&self, name: &str) -> Option<LineId> {
        let _ = name;
        todo!()
    }
    /// Number of lines.
    pub fn line_count(&self) -> usize {
        todo!()
    }
    /// What the step needs directly: written needs and serial edges, each once, ascending. Phase
    /// edges are included: a later phase's sources need the sinks of the earlier one; where that
    /// would square, they go through every step of the phase by a virtual rule, see [`Graph::phase_gate`].
    pub fn needs(&self, step: StepId) -> &[StepId] {
        let _ = step;
        todo!()
    }
    /// Who needs the step directly.
    pub fn dependents(&self, step: StepId) -> &[StepId] {
        let _ = step;
        todo!()
    }
    /// Every step once, needs before dependents.
    pub fn topological(&self) -> &[StepId] {
        todo!()
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
        let _ = step;
        todo!()
    }
    /// Limits that the step takes one of: `steps`, its kind's if limited, its `uses`. Gates and
    /// manual steps take none.
    pub fn limits(&self, step: StepId) -> &[LimitId] {
        let _ = step;
        todo!()
    }
    /// How many of a limit at once.
    pub fn limit(&self, limit: LimitId) -> u32 {
        let _ = limit;
        todo!()
    }
    /// The limit's name, for `waits_for`.
    pub fn limit_name(&self, limit: LimitId) -> &str {
        let _ = limit;
        todo!()
    }
    /// Number of limits.
    pub fn limit_count(&self) -> usize {
        todo!()
    }
    /// Providers.
    pub fn providers(&self) -> &[ProviderInfo] {
        todo!()
    }
    /// The provider of that full name (`ocsp@to/ocsp-1[geotrust]`).
    pub fn find_provider(&self, name: &str) -> Option<ProviderId> {
        let _ = name;
        todo!()
    }
    /// Protected services (of lines).
    pub fn services(&self) -> &[ServiceInfo] {
        todo!()
    }
    /// Roles at sites.
    pub fn roles(&self) -> &[RoleInfo] {
        todo!()
    }
    /// What the step does to providers.
    pub fn effects(&self, step: StepId) -> &[(ProviderId, Effect)] {
        let _ = step;
        todo!()
    }
    /// What the step does to roles.
    pub fn role_effects(&self, step: StepId) -> &[(RoleId, Effect)] {
        let _ = step;
        todo!()
    }
    /// Whether a rollback over the step, once begun, is not offered: `point_of_no_return`, or a
    /// `reopen` in a plan with lines.
    pub fn is_point_of_no_return(&self, step: StepId) -> bool {
        let _ = step;
        todo!()
    }
    /// The steps that carry the checkpoint of that name.
    pub fn checkpoint(&self, name: &str) -> Option<&[StepId]> {
        let _ = name;
        todo!()
    }
    /// Names of all checkpoints.
    pub fn checkpoints(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    /// Hex SHA-256 over everything a journal relies on: step names, needs, effects, limits, policies.
    pub fn digest(&self) -> String {
        todo!()
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
        let _ = (step, template, outputs);
        todo!()
    }
}
