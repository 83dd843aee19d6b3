//! Plans grown from a seed: large ones for `benches/check.rs`, random ones for `tests/plans.rs`.
//!
//! The same seed gives the same text on every machine.

pub(crate) mod large;
pub(crate) mod random;

/// SplitMix64, by its published constants: one seed, one plan, even after an update of every crate.
pub(crate) struct Chance {
    state: u64,
    /// Bytes that decide instead, as long as there are any.
    bytes: Vec<u8>,
}

impl Chance {
    /// A source that gives the same numbers for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, bytes: Vec::new() }
    }

    /// A source that follows the bytes, one for each choice, the last one first: a fuzzer that
    /// changes one of them changes one choice.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self { state: 0, bytes: bytes.to_vec() }
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        if let Some(byte) = self.bytes.pop() {
            return byte.into();
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True once in `of` times.
    pub(crate) fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of a few.
    pub(crate) fn pick<'c, T: ?Sized>(&mut self, of: &[&'c T]) -> &'c T {
        of[self.below(of.len())]
    }
}
