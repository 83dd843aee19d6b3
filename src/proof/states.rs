//! How many states a plan can reach: of each step whether it never began, has begun, or has ended,
//! where whoever begins has all that it needs ended.
//!
//! Steps that nothing connects multiply their numbers, steps of which all of one part wait for all of
//! another add them, and a knot that is neither is split at one of its steps: where that never began,
//! is under way, or has ended. Beyond a budget a safe number is said instead: steps that do not need
//! each other, k of them, have more than 3^k states with the rest.

use crate::event::StepId;
use crate::graph::Graph;
use std::collections::BTreeMap;
use std::fmt;

/// Of more steps the number is not counted: the relation would be large, and the number without use.
const STEPS: usize = 1000;
/// So many parts are looked at before the count is given up.
const PARTS: u32 = 3000;

/// How many states a plan can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    /// Counted.
    Exactly(u128),
    /// More than 3 to the power of this: so many steps may stand side by side.
    MoreThan(u32),
}

impl Default for States {
    fn default() -> Self {
        Self::Exactly(1)
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoreThan(steps) => write!(f, "more than 3^{steps}"),
            Self::Exactly(count) => {
                let digits = count.to_string();
                for (place, digit) in digits.chars().enumerate() {
                    if place > 0 && (digits.len() - place).is_multiple_of(3) {
                        f.write_str(",")?;
                    }
                    write!(f, "{digit}")?;
                }
                Ok(())
            }
        }
    }
}

/// Counts them, or says a number that they are more than.
pub(super) fn count(graph: &Graph) -> States {
    let counted = (graph.len() <= STEPS).then(|| {
        let mut counter = Counter::of(graph);
        let all = (0..graph.len()).fold(vec![0; graph.len().div_ceil(64)], with);
        counter.states(all)
    });
    match counted.flatten() {
        Some(count) => States::Exactly(count),
        None => States::MoreThan(side_by_side(graph)),
    }
}

/// Steps at one depth do not need each other: the most of them at any.
fn side_by_side(graph: &Graph) -> u32 {
    let mut depth = vec![0_usize; graph.len()];
    let mut wide = vec![0_u32; graph.len() + 1];
    for &StepId(step) in graph.topological() {
        let needs = graph.needs(StepId(step)).iter();
        let here = needs.map(|need| depth[need.index()] + 1).max().unwrap_or(0);
        depth[step as usize] = here;
        wide[here] += 1;
    }
    wide.into_iter().max().unwrap_or(0)
}

type Set = Vec<u64>;

fn with(mut set: Set, at: usize) -> Set {
    set[at / 64] |= 1 << (at % 64);
    set
}

fn has(set: &Set, at: usize) -> bool {
    set[at / 64] >> (at % 64) & 1 == 1
}

fn less(set: &Set, other: &Set) -> Set {
    set.iter().zip(other).map(|(a, b)| a & !b).collect()
}

/// What is in a set, ascending.
fn members(set: &[u64]) -> Vec<usize> {
    let mut found = Vec::new();
    for (word, bits) in set.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            found.push(word * 64 + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
    found
}

/// Steps by their place in the topological order.
struct Counter {
    below: Vec<Set>,
    above: Vec<Set>,
    known: BTreeMap<Set, u128>,
    left: u32,
}

impl Counter {
    fn of(graph: &Graph) -> Self {
        let none = vec![0; graph.len().div_ceil(64)];
        let mut place = vec![0; graph.len()];
        let mut below = vec![none.clone(); graph.len()];
        let mut above = vec![none; graph.len()];
        for (at, step) in graph.topological().iter().enumerate() {
            place[step.index()] = at;
            for need in graph.needs(*step) {
                let need = place[need.index()];
                let (before, here) = below.split_at_mut(at);
                here[0].iter_mut().zip(&before[need]).for_each(|(a, b)| *a |= b);
                here[0][need / 64] |= 1 << (need % 64);
            }
            for need in members(&below[at]) {
                above[need][at / 64] |= 1 << (at % 64);
            }
        }
        Self { below, above, known: BTreeMap::new(), left: PARTS }
    }

    /// The states of some steps by themselves; none when there are too many to count.
    fn states(&mut self, set: Set) -> Option<u128> {
        let all = members(&set);
        match all.as_slice() {
            [] => return Some(1),
            [_] => return Some(3),
            _ => {}
        }
        if let Some(known) = self.known.get(&set) {
            return Some(*known);
        }
        self.left = self.left.checked_sub(1)?;
        let parts = self.apart(&set, &all);
        let count = if parts.len() > 1 {
            parts.into_iter().try_fold(1_u128, |all, part| all.checked_mul(self.states(part)?))?
        } else {
            let rows = self.in_turn(&set, &all);
            if rows.len() > 1 {
                // The end of one part is the start of the next.
                let sum = rows
                    .into_iter()
                    .try_fold(0_u128, |all, part| all.checked_add(self.states(part)? - 1))?;
                sum.checked_add(1)?
            } else {
                self.split(&set, &all)?
            }
        };
        self.known.insert(set, count);
        Some(count)
    }

    /// Parts that nothing connects.
    fn apart(&self, set: &Set, all: &[usize]) -> Vec<Set> {
        let mut parts = Vec::new();
        let mut open = set.clone();
        for &first in all {
            if !has(&open, first) {
                continue;
            }
            let mut part = vec![0; set.len()];
            let mut queue = vec![first];
            open = less(&open, &with(vec![0; set.len()], first));
            while let Some(at) = queue.pop() {
                part = with(part, at);
                let near = self.below[at].iter().zip(&self.above[at]).zip(&open);
                let near: Set = near.map(|((a, b), open)| (a | b) & open).collect();
                open = less(&open, &near);
                queue.extend(members(&near));
            }
            parts.push(part);
        }
        parts
    }

    /// Parts of which each waits for all of the one before.
    fn in_turn(&self, set: &Set, all: &[usize]) -> Vec<Set> {
        let none = || vec![0; set.len()];
        let mut parts = vec![none()];
        // From the last: one part ends before `at` when all from there on need all before it.
        let mut first_missing = usize::MAX;
        for (place, &at) in all.iter().enumerate().rev() {
            let missing = set.iter().zip(&self.below[at]).map(|(set, below)| set & !below);
            let here = missing.enumerate().find(|(_, missing)| *missing != 0);
            let here = here.map(|(word, bits)| word * 64 + bits.trailing_zeros() as usize);
            first_missing = first_missing.min(here.unwrap_or(at));
            if let Some(part) = parts.last_mut() {
                *part = with(std::mem::take(part), at);
            }
            if place > 0 && first_missing >= at {
                parts.push(none());
            }
        }
        parts
    }

    /// At the step that is ordered with most others.
    fn split(&mut self, set: &Set, all: &[usize]) -> Option<u128> {
        let ordered = |at: &usize| -> u32 {
            let near = self.below[*at].iter().zip(&self.above[*at]).zip(set);
            near.map(|((a, b), set)| ((a | b) & set).count_ones()).sum()
        };
        let at = *all.iter().max_by_key(|at| ordered(at))?;
        let itself = with(vec![0; set.len()], at);
        let never = less(&less(set, &self.above[at]), &itself);
        let ended = less(&less(set, &self.below[at]), &itself);
        let going = less(&never, &self.below[at]);
        let never = self.states(never)?;
        let going = self.states(going)?;
        never.checked_add(going)?.checked_add(self.states(ended)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::PlanBuilder;
    use proptest::prelude::*;

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    fn graph(steps: usize, edges: &[bool]) -> std::sync::Arc<Graph> {
        let plan = (0..steps).fold(PlanBuilder::new(), |plan, at| {
            let needs = (0..at).filter(|need| edges[at * 6 + need]).map(|need| NAMES[need]);
            plan.step(NAMES[at], |step| step.needs(needs.collect::<Vec<_>>()))
        });
        plan.graph()
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_all_states_one_by_one(
            steps in 1_usize..=6,
            edges in proptest::collection::vec(any::<bool>(), 36),
        ) {
            let graph = graph(steps, &edges);
            let mut found = 0;
            for mut code in 0..3_u32.pow(steps as u32) {
                let state: Vec<u32> = (0..steps).map(|_| (code % 3, code /= 3).0).collect();
                let holds = |step: StepId| {
                    state[step.index()] == 0
                        || graph.needs(step).iter().all(|need| state[need.index()] == 2)
                };
                found += u128::from(graph.steps().all(holds));
            }
            prop_assert_eq!(count(&graph), States::Exactly(found));
        }
    }

    #[test]
    fn what_is_too_much_to_count_is_more_than_it_has_side_by_side() {
        let names: Vec<String> = (0..100).map(|at| format!("s{at}")).collect();
        let wide = names.iter().fold(PlanBuilder::new(), |plan, name| plan.step(name, |step| step));
        assert_eq!(count(&wide.graph()), States::MoreThan(100));
        assert_eq!(States::MoreThan(100).to_string(), "more than 3^100");
        assert_eq!(States::Exactly(1_234_567).to_string(), "1,234,567");
    }
}
