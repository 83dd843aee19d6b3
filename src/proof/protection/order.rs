//! Which of the steps that act on one service another one needs.
//!
//! For few steps the whole relation is written down, a bit for each pair. For many it would grow with
//! their square: then the graph itself is the order, and what else is asked is answered by sweeps
//! along it, 64 questions in each.

use crate::event::StepId;
use crate::graph::Graph;

/// Up to so many steps the relation is written down: 2 MiB of bits.
pub(super) const FEW: usize = 4096;

/// The order of some steps of a graph. A job is a place among [`Order::steps`].
pub(super) struct Order<'g> {
    graph: &'g Graph,
    /// Needs before dependents.
    steps: Vec<StepId>,
    /// A row for each job: the bits of those that it needs. None when there are many: then the steps
    /// are all steps of the graph, most of them without an effect.
    rows: Option<Rows>,
    /// The steps once more, by id, each with its job.
    places: Vec<(StepId, u32)>,
}

struct Rows {
    words: usize,
    bits: Vec<u64>,
}

/// The order of each of several sets of steps (ascending by id), in as few sweeps as will do: small
/// sets share one.
pub(super) fn orders<'g>(graph: &'g Graph, sets: &[Vec<StepId>], few: usize) -> Vec<Order<'g>> {
    let mut position = vec![0; graph.len()];
    for (at, step) in graph.topological().iter().enumerate() {
        position[step.index()] = index(at);
    }
    let mut orders: Vec<Order<'g>> =
        sets.iter().map(|set| Order::unwritten(graph, set, &position, few)).collect();
    let mut carried = vec![0_u64; graph.len()];
    let mut first = 0;
    while first < orders.len() {
        // As many whole sets as have 64 steps between them; a larger one alone, word by word.
        let mut end = first;
        let mut taken = 0;
        while let Some(order) = orders.get(end)
            && (end == first || taken + order.wanted() <= 64)
        {
            taken += order.wanted();
            end += 1;
        }
        write(graph, &mut orders[first..end], &mut carried);
        first = end;
    }
    orders
}

/// Writes the relation of sets that have 64 steps between them, or of one that has more.
fn write(graph: &Graph, orders: &mut [Order<'_>], carried: &mut [u64]) {
    let wanted: usize = orders.iter().map(Order::wanted).sum();
    for word in 0..wanted.div_ceil(64) {
        let mut bit = 0;
        let mut marked = Vec::new();
        for order in orders.iter().filter(|order| order.wanted() > 0) {
            for step in order.steps.iter().skip(word * 64).take(64) {
                carried[step.index()] |= 1 << bit;
                marked.push(*step);
                bit += 1;
            }
        }
        let behind = graph.behind(|step| carried[step.index()]);
        marked.iter().for_each(|step| carried[step.index()] = 0);
        let mut bit = 0;
        for order in orders.iter_mut() {
            let Some(rows) = &mut order.rows else { continue };
            let here = order.steps.len().saturating_sub(word * 64).min(64);
            if here == 0 {
                continue;
            }
            let mask = u64::MAX >> (64 - here);
            for (job, step) in order.steps.iter().enumerate() {
                rows.bits[job * rows.words + word] = behind[step.index()] >> bit & mask;
            }
            bit += here;
        }
    }
}

impl<'g> Order<'g> {
    /// The order of these steps (ascending by id).
    pub(super) fn of(graph: &'g Graph, steps: &[StepId]) -> Self {
        let mut orders = orders(graph, &[steps.to_vec()], FEW);
        orders.pop().expect("BUG: an order for each set")
    }

    fn unwritten(graph: &'g Graph, set: &[StepId], position: &[u32], few: usize) -> Self {
        let is_few = set.len() <= few;
        let mut steps = if is_few { set.to_vec() } else { graph.topological().to_vec() };
        if is_few {
            steps.sort_by_key(|step| position[step.index()]);
        }
        let words = steps.len().div_ceil(64);
        let rows = is_few.then(|| Rows { words, bits: vec![0; steps.len() * words] });
        let mut places: Vec<_> = steps.iter().copied().zip(0..).collect();
        places.sort_unstable();
        Self { graph, steps, rows, places }
    }

    /// How many steps wait to have their relation written down.
    fn wanted(&self) -> usize {
        if self.rows.is_some() { self.steps.len() } else { 0 }
    }

    /// The step of each job.
    pub(super) fn steps(&self) -> &[StepId] {
        &self.steps
    }

    /// The job of a step that is one.
    pub(super) fn find(&self, step: StepId) -> Option<usize> {
        let place = self.places.binary_search_by_key(&step, |(step, _)| *step).ok()?;
        Some(self.places[place].1 as usize)
    }

    /// The job of a step with an effect.
    pub(super) fn job(&self, step: StepId) -> usize {
        self.find(step).expect("BUG: a step with an effect is a job")
    }

    /// Whether `later` needs `earlier`, directly or through others.
    pub(super) fn is(&self, earlier: usize, later: usize) -> bool {
        match &self.rows {
            Some(rows) => rows.has(earlier, later),
            None => self.graph.ordered(&[(self.steps[earlier], self.steps[later])])[0],
        }
    }

    /// For each job those whose end its begin needs; what others of them imply is left out.
    pub(super) fn before(&self) -> Vec<Vec<u32>> {
        let jobs = 0..self.steps.len();
        match &self.rows {
            Some(rows) => jobs.map(|job| rows.nearest(rows.row(job).to_vec(), true)).collect(),
            None => jobs
                .map(|job| {
                    let needs = self.graph.needs(self.steps[job]).iter();
                    needs.map(|need| self.places[need.index()].1).collect()
                })
                .collect(),
        }
    }

    /// Cuts a list of jobs, ascending, where all that come before are needed by all that come after:
    /// the lengths of the pieces. Two of a piece of one are never unordered; of a longer piece each
    /// is unordered with some other of it.
    pub(super) fn pieces(&self, jobs: &[usize]) -> Vec<usize> {
        let pairs: Vec<_> =
            jobs.windows(2).map(|two| (self.steps[two[0]], self.steps[two[1]])).collect();
        let is_chain = match &self.rows {
            Some(rows) => jobs.windows(2).all(|two| rows.has(two[0], two[1])),
            None => self.graph.ordered(&pairs).into_iter().all(|ordered| ordered),
        };
        if is_chain {
            return vec![1; jobs.len()];
        }
        let reaches = self.reaches(jobs);
        let mut pieces = Vec::new();
        let mut after = jobs.len();
        let mut least = usize::MAX;
        // From the last: a cut stands before `at` when all from there on need all before it.
        for at in (0..jobs.len()).rev() {
            least = least.min(reaches[at]);
            if least >= at {
                pieces.push(after - at);
                after = at;
            }
        }
        pieces.reverse();
        pieces
    }

    /// For each of the jobs how many of them, from the first on without a gap, it needs.
    fn reaches(&self, jobs: &[usize]) -> Vec<usize> {
        let mut reaches = vec![0; jobs.len()];
        for first in (0..jobs.len()).step_by(64) {
            let chunk = &jobs[first..(first + 64).min(jobs.len())];
            let all = u64::MAX >> (64 - chunk.len());
            let behind = self.needed_of(chunk);
            for (at, reach) in reaches.iter_mut().enumerate().filter(|(_, reach)| **reach == first)
            {
                let missing = !behind(jobs[at]) & all;
                *reach += (missing.trailing_zeros() as usize).min(chunk.len());
            }
        }
        reaches
    }

    /// For any job, which of at most 64 others it needs, by their places there.
    fn needed_of<'a>(&'a self, chunk: &'a [usize]) -> Box<dyn Fn(usize) -> u64 + 'a> {
        match &self.rows {
            Some(rows) => Box::new(move |job| {
                let bits = chunk.iter().enumerate();
                bits.fold(0, |mask, (bit, other)| mask | u64::from(rows.has(*other, job)) << bit)
            }),
            None => {
                let mut carried = vec![0_u64; self.graph.len()];
                for (bit, job) in chunk.iter().enumerate() {
                    carried[self.steps[*job].index()] = 1 << bit;
                }
                let behind = self.graph.behind(|step| carried[step.index()]);
                Box::new(move |job| behind[self.steps[job].index()])
            }
        }
    }

    /// Which jobs need all of these.
    pub(super) fn after_all(&self, members: &[usize]) -> Vec<bool> {
        let mut after = vec![true; self.steps.len()];
        for chunk in members.chunks(64) {
            let all = u64::MAX >> (64 - chunk.len());
            let behind = self.needed_of(chunk);
            for (job, after) in after.iter_mut().enumerate().filter(|(_, after)| **after) {
                *after = behind(job) == all;
            }
        }
        after
    }

    /// Which jobs all of these need.
    pub(super) fn before_all(&self, members: &[usize]) -> Vec<bool> {
        if let Some(rows) = &self.rows {
            let needed = |job| members.iter().all(|member| rows.has(job, *member));
            return (0..self.steps.len()).map(needed).collect();
        }
        let mut before = vec![true; self.steps.len()];
        for chunk in members.chunks(64) {
            let all = u64::MAX >> (64 - chunk.len());
            let mut masks = vec![0_u64; self.steps.len()];
            let mut own = vec![0_u64; self.steps.len()];
            chunk.iter().enumerate().for_each(|(bit, job)| own[*job] = 1 << bit);
            // Against the order: what needs a step hands its bits down.
            for job in (0..self.steps.len()).rev() {
                let down = masks[job] | own[job];
                for need in self.graph.needs(self.steps[job]) {
                    masks[self.places[need.index()].1 as usize] |= down;
                }
            }
            before.iter_mut().zip(masks).for_each(|(before, mask)| *before &= mask == all);
        }
        before
    }

    /// Of marked jobs those that no other marked one needs: the last of them.
    pub(super) fn last_of(&self, marked: &[bool]) -> Vec<u32> {
        match &self.rows {
            Some(rows) => rows.nearest(rows.mask(marked), true),
            None => {
                let is_needed = |job: &usize| {
                    let dependents = self.graph.dependents(self.steps[*job]).iter();
                    dependents.map(|it| self.places[it.index()].1).any(|it| marked[it as usize])
                };
                let last = (0..marked.len()).filter(|job| marked[*job] && !is_needed(job));
                last.map(index).collect()
            }
        }
    }

    /// Of marked jobs those that need no other marked one: the first of them.
    pub(super) fn first_of(&self, marked: &[bool]) -> Vec<u32> {
        match &self.rows {
            Some(rows) => rows.nearest(rows.mask(marked), false),
            None => {
                let needs = |job: &usize| {
                    let needs = self.graph.needs(self.steps[*job]).iter();
                    needs.map(|it| self.places[it.index()].1).any(|it| marked[it as usize])
                };
                (0..marked.len()).filter(|job| marked[*job] && !needs(job)).map(index).collect()
            }
        }
    }
}

impl Rows {
    fn has(&self, earlier: usize, later: usize) -> bool {
        self.bits[later * self.words + earlier / 64] >> (earlier % 64) & 1 == 1
    }

    fn row(&self, job: usize) -> &[u64] {
        &self.bits[job * self.words..(job + 1) * self.words]
    }

    fn mask(&self, marked: &[bool]) -> Vec<u64> {
        let mut mask = vec![0; self.words];
        for job in (0..marked.len()).filter(|job| marked[*job]) {
            mask[job / 64] |= 1 << (job % 64);
        }
        mask
    }

    /// Of a set of jobs the last (or the first) ones, ascending.
    fn nearest(&self, mut set: Vec<u64>, last: bool) -> Vec<u32> {
        let mut found = Vec::new();
        let members = |set: &[u64]| -> Vec<usize> {
            (0..set.len() * 64).filter(|job| set[job / 64] >> (job % 64) & 1 == 1).collect()
        };
        if last {
            // Whoever comes last is kept, and takes all that it needs out.
            for job in members(&set).into_iter().rev() {
                if set[job / 64] >> (job % 64) & 1 == 1 {
                    found.push(index(job));
                    set.iter_mut().zip(self.row(job)).for_each(|(set, needs)| *set &= !needs);
                }
            }
            found.reverse();
        } else {
            let needs_none =
                |job: &usize| self.row(*job).iter().zip(&set).all(|(needs, set)| needs & set == 0);
            found.extend(members(&set).into_iter().filter(needs_none).map(index));
        }
        found
    }
}

pub(super) fn index(job: usize) -> u32 {
    u32::try_from(job).expect("BUG: more jobs than steps")
}
