//! A set of small numbers that gives its least at once: bits in words, and over them a bit for each
//! word that is not empty, up to a single word. Adding, taking and finding touch a word of each level
//! at most (three for 100,000 numbers), where a heap walks and a tree asks the allocator.

/// A set of numbers below a bound.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The numbers themselves.
    words: Vec<u64>,
    /// Which words are not empty, and so on, until one word is left; none over a single word.
    over: Vec<Vec<u64>>,
    /// The least of them, or [`NONE`].
    least: u32,
}

/// Above every number.
const NONE: u32 = u32::MAX;

impl Ready {
    /// An empty set for numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        let words = vec![0; bound.div_ceil(64).max(1)];
        let mut over = Vec::new();
        let mut length = words.len();
        while length > 1 {
            length = length.div_ceil(64);
            over.push(vec![0; length]);
        }
        Self { words, over, least: NONE }
    }

    pub(super) fn insert(&mut self, number: u32) {
        self.least = self.least.min(number);
        let mut at = number as usize;
        let word = &mut self.words[at >> 6];
        let mut was = *word;
        *word |= 1 << (at & 63);
        for level in &mut self.over {
            if was != 0 {
                return;
            }
            at >>= 6;
            let word = &mut level[at >> 6];
            was = *word;
            *word |= 1 << (at & 63);
        }
    }

    pub(super) fn remove(&mut self, number: u32) {
        let mut at = number as usize;
        let word = &mut self.words[at >> 6];
        *word &= !(1 << (at & 63));
        let mut is = *word;
        if is != 0 {
            if self.least == number {
                // Nothing below it in its word: the next is the least one there.
                self.least = (number & !63) | is.trailing_zeros();
            }
            return;
        }
        for level in &mut self.over {
            at >>= 6;
            let word = &mut level[at >> 6];
            *word &= !(1 << (at & 63));
            is = *word;
            if is != 0 {
                break;
            }
        }
        if self.least == number {
            self.least = self.found();
        }
    }

    /// The least number, looked for from the top.
    fn found(&self) -> u32 {
        let mut at = 0;
        for level in self.over.iter().rev().chain([&self.words]) {
            let word = level[at];
            if word == 0 {
                return NONE;
            }
            at = (at << 6) | word.trailing_zeros() as usize;
        }
        at as u32
    }

    /// The least number in the set.
    pub(super) fn first(&self) -> Option<u32> {
        (self.least != NONE).then_some(self.least)
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
