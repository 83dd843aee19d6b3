//! A set of small numbers that gives its least at once: bits in words, and over them a bit for each
//! word that is not empty, up to a single word. Adding, taking and finding touch a word of each level
//! (three for 100,000 numbers), where a heap walks and a tree asks the allocator.

/// A set of numbers below a bound.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The numbers themselves first, one word last.
    levels: Vec<Vec<u64>>,
}

impl Ready {
    /// An empty set for numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = bound;
        loop {
            words = words.div_ceil(64).max(1);
            levels.push(vec![0; words]);
            if words == 1 {
                return Self { levels };
            }
        }
    }

    pub(super) fn insert(&mut self, number: u32) {
        let mut at = number as usize;
        for level in &mut self.levels {
            let word = &mut level[at >> 6];
            let was = *word;
            *word |= 1 << (at & 63);
            if was != 0 {
                return;
            }
            at >>= 6;
        }
    }

    pub(super) fn remove(&mut self, number: u32) {
        let mut at = number as usize;
        for level in &mut self.levels {
            let word = &mut level[at >> 6];
            *word &= !(1 << (at & 63));
            if *word != 0 {
                return;
            }
            at >>= 6;
        }
    }

    /// The least number in the set.
    pub(super) fn first(&self) -> Option<u32> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = level[at];
            if word == 0 {
                return None;
            }
            at = (at << 6) | word.trailing_zeros() as usize;
        }
        Some(at as u32)
    }

    /// Empties it; costs what is in it.
    pub(super) fn clear(&mut self) {
        while let Some(number) = self.first() {
            self.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_that_knows_its_least(
            bound in prop_oneof![Just(1_usize), Just(64), Just(65), Just(4097), Just(300_000)],
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let (mut ready, mut set) = (Ready::new(bound), BTreeSet::new());
            for (number, add) in changes {
                let number = number.index(bound) as u32;
                if add {
                    ready.insert(number);
                    set.insert(number);
                } else {
                    ready.remove(number);
                    set.remove(&number);
                }
                prop_assert_eq!(ready.first(), set.first().copied());
            }
            while let Some(first) = set.pop_first() {
                prop_assert_eq!(ready.first(), Some(first));
                ready.remove(first);
            }
            prop_assert_eq!(ready.first(), None);
            ready.insert(bound as u32 - 1);
            ready.clear();
            prop_assert_eq!(ready.first(), None);
        }
    }
}
