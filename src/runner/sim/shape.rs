//! What of a graph the oracle asks for again and again, worked out once: what a step needs through
//! others, who touches a provider, which steps are gates.

use crate::event::{ProviderId, StepId};
use crate::graph::{Effect, Graph};
use crate::plan::Work;

/// A set of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    pub(super) fn new(steps: usize) -> Self {
        Self(vec![0; steps.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, step: StepId) {
        self.0[step.index() / 64] |= 1 << (step.index() % 64);
    }

    fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, its)| *mine |= its);
    }

    /// The first step of this set that is not in the other.
    pub(super) fn first_not_in(&self, other: &Self) -> Option<StepId> {
        let mut places = (0_u32..).zip(self.0.iter().zip(&other.0));
        places.find_map(|(at, (mine, its))| {
            let left = mine & !its;
            (left != 0).then(|| StepId(at * 64 + left.trailing_zeros()))
        })
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = StepId> {
        (0_u32..).zip(&self.0).flat_map(|(at, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| StepId(at * 64 + bit))
        })
    }
}

/// A graph, seen from the oracle.
#[derive(Debug)]
pub(super) struct Shape {
    needs: Vec<Set>,
    dependents: Vec<Set>,
    touching: Vec<Vec<(StepId, Effect)>>,
    role_effects: Vec<Vec<(StepId, Effect)>>,
    gates: Vec<StepId>,
    /// The dearest questions are asked after every so many records of a large plan.
    pub(super) stride: u64,
}

impl Shape {
    pub(super) fn new(graph: &Graph) -> Self {
        let len = graph.len();
        let mut needs = vec![Set::new(len); len];
        let mut dependents = vec![Set::new(len); len];
        for step in graph.topological() {
            let mut all = Set::new(len);
            for need in graph.needs(*step) {
                all.insert(*need);
                all.join(&needs[need.index()]);
            }
            for need in all.steps() {
                dependents[need.index()].insert(*step);
            }
            needs[step.index()] = all;
        }
        let mut touching = vec![Vec::new(); graph.providers().len()];
        for step in graph.steps() {
            for (provider, effect) in graph.effects(step) {
                touching[provider.index()].push((step, *effect));
            }
        }
        let mut role_effects = vec![Vec::new(); graph.roles().len()];
        for step in graph.steps() {
            for (role, effect) in graph.role_effects(step) {
                role_effects[role.0 as usize].push((step, *effect));
            }
        }
        let is_gate = |step: &StepId| matches!(graph.def(*step).work, Work::Ask(_));
        let gates = graph.steps().filter(is_gate).collect();
        Self { needs, dependents, touching, role_effects, gates, stride: 1 + len as u64 / 16 }
    }

    /// Directly or through others.
    pub(super) fn needs(&self, step: StepId) -> &Set {
        &self.needs[step.index()]
    }

    /// Directly or through others.
    pub(super) fn dependents(&self, step: StepId) -> &Set {
        &self.dependents[step.index()]
    }

    pub(super) fn touching(&self, provider: ProviderId) -> &[(StepId, Effect)] {
        &self.touching[provider.index()]
    }

    /// By role, in the order of the graph.
    pub(super) fn role_effects(&self) -> &[Vec<(StepId, Effect)>] {
        &self.role_effects
    }

    pub(super) fn gates(&self) -> &[StepId] {
        &self.gates
    }
}
