//! The least weight of a down-closed set of events, by one minimum cut.
//!
//! A job is two events, begin and end. An end needs its begin; a begin needs the ends of the jobs
//! before it. A set of events that holds, with each event, all that it needs is a state that the run
//! can be in, forwards or backwards. Each event has a weight; the least sum over all states is a
//! minimum-weight closure (Picard, "Maximal closure of a graph", 1976): exact and polynomial.
//!
//! Not known here: steps, providers.

use petgraph::algo::dinics;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// Jobs in a partial order, with the weight of each begin and end.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    /// For each job, the jobs whose end its begin needs.
    pub(super) before: Vec<Vec<u32>>,
    /// Weight of each begin.
    pub(super) begin: Vec<i64>,
    /// Weight of each end.
    pub(super) end: Vec<i64>,
}

/// A state: which jobs have begun, and which of them have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// By job.
    pub(super) begun: Vec<bool>,
    /// By job; never without `begun`.
    pub(super) ended: Vec<bool>,
}

impl Jobs {
    /// Another job, without weights.
    pub(super) fn push(&mut self, before: Vec<u32>) -> u32 {
        let id = u32::try_from(self.before.len()).expect("BUG: more jobs than steps");
        self.before.push(before);
        self.begin.push(0);
        self.end.push(0);
        id
    }

    /// Number of jobs.
    pub(super) fn len(&self) -> usize {
        self.before.len()
    }

    /// The sum of weights in a state.
    pub(super) fn weight(&self, state: &State) -> i64 {
        let sum = |weights: &[i64], held: &[bool]| -> i64 {
            weights.iter().zip(held).filter(|(_, held)| **held).map(|(weight, _)| weight).sum()
        };
        sum(&self.begin, &state.begun) + sum(&self.end, &state.ended)
    }

    /// The least weight that a state can have, and the smallest state that has it.
    pub(super) fn least(&self) -> (i64, State) {
        let jobs = self.len();
        let mut network: DiGraph<(), u64> = DiGraph::with_capacity(2 * jobs + 2, 4 * jobs);
        for _ in 0..2 * jobs + 2 {
            network.add_node(());
        }
        // Begin of job i is node 2i, its end 2i + 1.
        let node = |index: usize| NodeIndex::new(index);
        let (source, sink) = (node(2 * jobs), node(2 * jobs + 1));
        let weights = self.begin.iter().zip(&self.end).flat_map(|(begin, end)| [*begin, *end]);
        // More than all weights together can never be cut.
        let never: u64 = weights.clone().map(i64::unsigned_abs).sum::<u64>() + 1;
        let mut gain: u64 = 0;
        for (event, weight) in weights.enumerate() {
            if weight < 0 {
                gain += weight.unsigned_abs();
                network.add_edge(source, node(event), weight.unsigned_abs());
            } else if weight > 0 {
                network.add_edge(node(event), sink, weight.unsigned_abs());
            }
        }
        for (job, before) in self.before.iter().enumerate() {
            network.add_edge(node(2 * job + 1), node(2 * job), never);
            for &other in before {
                network.add_edge(node(2 * job), node(2 * other as usize + 1), never);
            }
        }
        if gain == 0 {
            return (0, State { begun: vec![false; jobs], ended: vec![false; jobs] });
        }
        let (cut, flows) = dinics(&network, source, sink);
        let held = reachable(&network, source, &flows);
        let state = State {
            begun: (0..jobs).map(|job| held[2 * job]).collect(),
            ended: (0..jobs).map(|job| held[2 * job + 1]).collect(),
        };
        debug_assert_eq!(self.weight(&state), cut as i64 - gain as i64);
        (self.weight(&state), state)
    }
}

/// What the source still reaches when every edge is less its flow.
fn reachable(network: &DiGraph<(), u64>, source: NodeIndex, flows: &[u64]) -> Vec<bool> {
    let mut held = vec![false; network.node_count()];
    held[source.index()] = true;
    let mut queue = vec![source];
    while let Some(at) = queue.pop() {
        for edge in network.edges(at) {
            if flows[edge.id().index()] < *edge.weight() && !held[edge.target().index()] {
                held[edge.target().index()] = true;
                queue.push(edge.target());
            }
        }
        for edge in network.edges_directed(at, petgraph::Incoming) {
            if flows[edge.id().index()] > 0 && !held[edge.source().index()] {
                held[edge.source().index()] = true;
                queue.push(edge.source());
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every state of a few jobs, one by one.
    fn enumerated(jobs: &Jobs) -> i64 {
        let count = jobs.len();
        let mut least = i64::MAX;
        for bits in 0..1u32 << (2 * count) {
            let held = |event: usize| bits >> event & 1 == 1;
            let begun: Vec<bool> = (0..count).map(|job| held(2 * job)).collect();
            let ended: Vec<bool> = (0..count).map(|job| held(2 * job + 1)).collect();
            let closed = (0..count).all(|job| {
                (!ended[job] || begun[job])
                    && (!begun[job] || jobs.before[job].iter().all(|&other| ended[other as usize]))
            });
            if closed {
                least = least.min(jobs.weight(&State { begun, ended }));
            }
        }
        least
    }

    fn any_jobs() -> impl Strategy<Value = Jobs> {
        (1usize..6).prop_flat_map(|count| {
            let edges = proptest::collection::vec(any::<bool>(), count * count);
            let weights = proptest::collection::vec(-2i64..=2, 2 * count);
            (Just(count), edges, weights).prop_map(|(count, edges, weights)| {
                let mut jobs = Jobs::default();
                for job in 0..count {
                    let before =
                        (0..job).filter(|other| edges[job * count + other]).map(|at| at as u32);
                    jobs.push(before.collect());
                }
                jobs.begin = weights[..count].to_vec();
                jobs.end = weights[count..].to_vec();
                jobs
            })
        })
    }

    proptest! {
        #[test]
        fn the_cut_finds_what_enumeration_finds(jobs in any_jobs()) {
            let (least, state) = jobs.least();
            prop_assert_eq!(least, enumerated(&jobs));
            prop_assert_eq!(jobs.weight(&state), least);
        }
    }
}
