//! Compressed sparse rows: for each step a slice, without an allocation for each.

use crate::event::StepId;

/// For each row a slice of `T`.
#[derive(Debug)]
pub(super) struct Rows<T> {
    starts: Vec<u32>,
    items: Vec<T>,
}

/// No row at all.
impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T> Rows<T> {
    /// No row yet, with room for `rows`.
    pub(super) fn with_capacity(rows: usize) -> Self {
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        Self { starts, items: Vec::new() }
    }

    /// Adds an item to the row that is being filled.
    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// Ends the row that is being filled.
    pub(super) fn end_row(&mut self) {
        let end =
            u32::try_from(self.items.len()).expect("BUG: the limit on edges is far below 2^32");
        self.starts.push(end);
    }

    /// Number of items in all rows.
    pub(super) fn items(&self) -> usize {
        self.items.len()
    }

    /// The row of a step; empty when there is none.
    pub(super) fn row(&self, index: usize) -> &[T] {
        match (self.starts.get(index), self.starts.get(index + 1)) {
            (Some(&start), Some(&end)) => &self.items[start as usize..end as usize],
            _ => &[],
        }
    }
}

impl Rows<StepId> {
    /// The same edges seen from their other end; each row ascends.
    pub(super) fn transposed(&self, rows: usize) -> Self {
        let mut starts = vec![0_u32; rows + 1];
        for to in &self.items {
            starts[to.index() + 1] += 1;
        }
        for index in 0..rows {
            starts[index + 1] += starts[index];
        }
        let mut fill = starts.clone();
        let mut items = vec![StepId(0); self.items.len()];
        for from in 0..rows {
            for to in self.row(from) {
                let place = &mut fill[to.index()];
                items[*place as usize] = StepId(from as u32);
                *place += 1;
            }
        }
        Self { starts, items }
    }
}
