//! The least weight of a down-closed set of events, by one minimum cut.
//!
//! A job is two events, begin and end. An end needs its begin; a begin needs the ends of the jobs
//! before it. A set of events that holds, with each event, all that it needs is a state that the run
//! can be in, forwards or backwards. Each event has a weight; the least sum over all states is a
//! minimum-weight closure (Picard, "Maximal closure of a graph", 1976): exact and polynomial.
//!
//! Not known here: steps, providers.

use super::flow::Network;

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

impl State {
    /// Nothing has begun.
    pub(super) fn start(jobs: usize) -> Self {
        Self { begun: vec![false; jobs], ended: vec![false; jobs] }
    }
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
        let weighs = |job: usize| self.begin[job] != 0 || self.end[job] != 0;
        if !(0..jobs).any(|job| self.begin[job] < 0 || self.end[job] < 0) {
            return (0, State::start(jobs));
        }
        // A job without weight is there for its order only: one node is enough for it.
        let mut nodes = 0;
        let mut place = Vec::with_capacity(jobs);
        for job in 0..jobs {
            place.push(nodes);
            nodes += if weighs(job) { 2 } else { 1 };
        }
        let begin = |job: usize| place[job];
        let end = |job: usize| if weighs(job) { place[job] + 1 } else { place[job] };
        let (source, sink) = (nodes, nodes + 1);
        let mut arcs: Vec<(u32, u32, u64)> = Vec::with_capacity(4 * jobs);
        // More than all weights together can never be cut.
        let all = self.begin.iter().chain(&self.end).map(|weight| weight.unsigned_abs());
        let never: u64 = all.sum::<u64>() + 1;
        for job in 0..jobs {
            for (node, weight) in [(begin(job), self.begin[job]), (end(job), self.end[job])] {
                match weight {
                    0 => {}
                    1.. => arcs.push((node, sink, weight.unsigned_abs())),
                    _ => arcs.push((source, node, weight.unsigned_abs())),
                }
            }
            if weighs(job) {
                arcs.push((end(job), begin(job), never));
            }
            let before = self.before[job].iter();
            arcs.extend(before.map(|&other| (begin(job), end(other as usize), never)));
        }
        let mut network = Network::new(nodes as usize + 2, &arcs);
        network.saturate(source, sink);
        let held = network.reached(source);
        let state = State {
            begun: (0..jobs).map(|job| held[begin(job) as usize]).collect(),
            ended: (0..jobs).map(|job| held[end(job) as usize]).collect(),
        };
        (self.weight(&state), state)
    }
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
