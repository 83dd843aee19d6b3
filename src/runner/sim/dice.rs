//! Choices, one after the other: drawn from a seed, or told.
//!
//! Not known here: what is chosen. Every choice is kept, so that a story can be told again, and
//! shortened.

use fastrand::Rng;
use std::borrow::Cow;

/// Choices, one after the other; when those told are used up, always the first possibility (or, with
/// a seed, a drawn one).
#[derive(Clone, Debug)]
pub struct Dice<'a> {
    choices: Cow<'a, [u16]>,
    at: usize,
    seed: Option<Rng>,
}

impl<'a> Dice<'a> {
    /// Choices that are told.
    pub fn new(choices: &'a [u16]) -> Self {
        Self { choices: Cow::Borrowed(choices), at: 0, seed: None }
    }

    /// Choices that are drawn.
    pub fn seeded(seed: u64) -> Dice<'static> {
        let seed = Some(Rng::with_seed(seed));
        Dice { choices: Cow::Owned(Vec::new()), at: 0, seed }
    }

    /// Whether all that was told is used up.
    pub fn is_empty(&self) -> bool {
        self.at >= self.choices.len()
    }

    /// The next choice as it is.
    pub(super) fn word(&mut self) -> u16 {
        if self.at == self.choices.len()
            && let Some(seed) = &mut self.seed
        {
            self.choices.to_mut().push(seed.u16(..));
        }
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        choice
    }

    /// One of so many possibilities, from 0.
    pub fn roll(&mut self, sides: usize) -> usize {
        usize::from(self.word()) % sides.max(1)
    }

    /// Whether the last of so many possibilities is chosen.
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }

    /// One of these; none of none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.roll(from.len())])
    }

    /// What was chosen since the last time that this was asked.
    pub(super) fn taken(&mut self) -> Vec<u16> {
        let taken = self.choices.iter().take(self.at).copied().collect();
        self.choices = Cow::Owned(self.choices.iter().skip(self.at).copied().collect());
        self.at = 0;
        taken
    }
}
