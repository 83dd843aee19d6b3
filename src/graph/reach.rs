//! Who lies behind whom: 64 questions in one sweep along the topological order.

use super::Graph;
use super::rows::Rows;
use crate::event::StepId;

impl Graph {
    /// For each step the union of what its needs, direct or through others, carry: bits that
    /// `carries` gives each step. Costs one look at every edge.
    pub(crate) fn behind(&self, carries: impl Fn(StepId) -> u64) -> Vec<u64> {
        let mut masks = vec![0_u64; self.len()];
        for step in &self.topological {
            let needs = self.needs(*step).iter();
            masks[step.index()] =
                needs.fold(0, |mask, needed| mask | masks[needed.index()] | carries(*needed));
        }
        masks
    }

    /// For each pair whether the second needs the first, directly or through others.
    pub(crate) fn ordered(&self, pairs: &[(StepId, StepId)]) -> Vec<bool> {
        ordered(&self.needs, &self.topological, pairs)
    }
}

/// For each pair whether the second needs the first, directly or through others.
pub(super) fn ordered(
    needs: &Rows<StepId>,
    topological: &[StepId],
    pairs: &[(StepId, StepId)],
) -> Vec<bool> {
    let mut answers: Vec<bool> = Vec::with_capacity(pairs.len());
    let mut open: Vec<usize> = Vec::new();
    for (index, (earlier, later)) in pairs.iter().enumerate() {
        let direct = needs.row(later.index()).binary_search(earlier).is_ok();
        answers.push(direct);
        if !direct && earlier != later {
            open.push(index);
        }
    }
    if open.is_empty() {
        return answers;
    }
    let mut place = vec![0_u32; topological.len()];
    topological.iter().enumerate().for_each(|(at, step)| place[step.index()] = at as u32);
    open.sort_by_key(|index| place[pairs[*index].0.index()]);
    let mut masks = vec![0_u64; topological.len()];
    let mut bits = vec![0_u64; topological.len()];
    let mut rest = open.as_slice();
    while let Some(first) = rest.first() {
        // As many pairs as have 64 different first steps between them.
        let start = place[pairs[*first].0.index()] as usize;
        let (mut taken, mut sources, mut end) = (0, Vec::new(), start);
        for index in rest {
            let (earlier, later) = pairs[*index];
            if sources.last() != Some(&earlier) {
                if sources.len() == 64 {
                    break;
                }
                bits[earlier.index()] = 1 << sources.len();
                sources.push(earlier);
            }
            end = end.max(place[later.index()] as usize);
            taken += 1;
        }
        for step in &topological[start..=end] {
            let mut mask = 0;
            for needed in needs.row(step.index()) {
                if place[needed.index()] as usize >= start {
                    mask |= masks[needed.index()] | bits[needed.index()];
                }
            }
            masks[step.index()] = mask;
        }
        for index in &rest[..taken] {
            let (earlier, later) = pairs[*index];
            answers[*index] = masks[later.index()] & bits[earlier.index()] != 0
                && place[later.index()] as usize > start;
        }
        sources.iter().for_each(|source| bits[source.index()] = 0);
        topological[start..=end].iter().for_each(|step| masks[step.index()] = 0);
        rest = &rest[taken..];
    }
    answers
}
