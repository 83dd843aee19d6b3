//! Services and roles, with everything that acts on each.

use super::Sense;
use crate::event::{LineId, StepId};
use crate::graph::{Effect, Graph};
use crate::text::Span;
use std::collections::BTreeMap;

/// A service or role with everything that acts on it.
pub(in crate::proof) struct Subject {
    pub(in crate::proof) name: String,
    pub(in crate::proof) sense: Sense,
    pub(in crate::proof) limit: u32,
    /// Where the plan says so.
    pub(in crate::proof) span: Span,
    /// Providers, or sites of a role.
    pub(in crate::proof) things: Vec<Thing>,
}

impl Subject {
    /// The steps that act on it, ascending.
    pub(super) fn steps(&self) -> Vec<StepId> {
        let effects = self.things.iter().flat_map(|thing| &thing.effects);
        let mut steps: Vec<StepId> = effects.map(|(step, _)| *step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// The same without steps that are out.
    pub(super) fn without(&self, is_out: &dyn Fn(StepId) -> bool) -> Self {
        let things = self.things.iter().map(|thing| {
            let effects = thing.effects.iter().filter(|(step, _)| !is_out(*step)).copied();
            Thing { name: thing.name.clone(), up: thing.up, effects: effects.collect() }
        });
        let name = self.name.clone();
        Self {
            name,
            sense: self.sense,
            limit: self.limit,
            span: self.span,
            things: things.collect(),
        }
    }

    /// How many are up, or hold it, when nothing has begun.
    pub(super) fn at_start(&self) -> i64 {
        self.things.iter().map(|thing| i64::from(thing.up)).sum()
    }

    /// What is left of it when the weights of a state sum up to this.
    pub(super) fn count(&self, weight: i64) -> i64 {
        match self.sense {
            Sense::AtLeast => self.at_start() + weight,
            // Turned signs.
            Sense::AtMost => self.at_start() - weight,
        }
    }

    /// Whether so many break the bound.
    pub(super) fn breaks(&self, count: i64) -> bool {
        match self.sense {
            Sense::AtLeast => count < i64::from(self.limit),
            Sense::AtMost => count > i64::from(self.limit),
        }
    }
}

/// A provider, or a site of a role, and the effects on it.
pub(in crate::proof) struct Thing {
    pub(in crate::proof) name: String,
    pub(in crate::proof) up: bool,
    pub(in crate::proof) effects: Vec<(StepId, Effect)>,
}

pub(super) fn subjects(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Vec<Subject> {
    let mut by_provider: Vec<Vec<(StepId, Effect)>> = vec![Vec::new(); graph.providers().len()];
    let mut by_role: Vec<Vec<(StepId, Effect)>> = vec![Vec::new(); graph.roles().len()];
    for &step in graph.topological().iter().filter(|step| !out(**step)) {
        for &(provider, effect) in graph.effects(step) {
            by_provider[provider.index()].push((step, effect));
        }
        for &(role, effect) in graph.role_effects(step) {
            by_role[role.0 as usize].push((step, effect));
        }
    }
    let plan = graph.plan();
    let mut found = Vec::new();
    for service in graph.services() {
        let protect = &plan.protect[service.protect as usize];
        let serves = |id: &crate::event::ProviderId| graph.providers()[id.index()].serving_at_start;
        if protect.providers.is_none() && !service.providers.iter().any(serves) {
            continue; // the estate will say who serves; the graph has warned of it
        }
        let things = service.providers.iter().map(|&provider| {
            let info = &graph.providers()[provider.index()];
            let effects = std::mem::take(&mut by_provider[provider.index()]);
            Thing { name: info.name.clone(), up: info.serving_at_start, effects }
        });
        found.push(Subject {
            name: service.name.clone(),
            sense: Sense::AtLeast,
            limit: protect.at_least,
            span: protect.service.span,
            things: things.collect(),
        });
    }
    let mut roles: BTreeMap<(u32, Option<LineId>), Vec<Thing>> = BTreeMap::new();
    for (role, effects) in graph.roles().iter().zip(by_role) {
        let thing = Thing { name: role.name.clone(), up: role.held_at_start, effects };
        roles.entry((role.exclusive, role.line)).or_default().push(thing);
    }
    for ((exclusive, line), things) in roles {
        let exclusive = &plan.exclusive[exclusive as usize];
        let name = match line {
            Some(line) => format!("{}[{}]", exclusive.role.value, graph.line_name(line)),
            None => exclusive.role.value.clone(),
        };
        found.push(Subject {
            name,
            sense: Sense::AtMost,
            limit: exclusive.at_most,
            span: exclusive.role.span,
            things,
        });
    }
    found
}
