//! From a story that breaks an invariant to a short one that breaks it too: turns are left out, by
//! halves and down to single ones, and what is chosen in the rest becomes the first possibility.
//!
//! Not known here: what a choice means.

use super::{Broken, Simulation, Story, Violation};

/// Stories told at most on the way.
const TRIES: usize = 4_000;

struct Shrink<'s> {
    sim: &'s Simulation,
    code: String,
    best: Broken,
    tries: usize,
}

/// `I6` of `I6: a do under a hold`.
fn code(violation: &Violation) -> String {
    violation.0.split([':', ' ']).next().unwrap_or_default().to_owned()
}

pub(super) fn shrink(sim: &Simulation, broken: &Broken) -> Broken {
    let code = code(&broken.violation);
    let mut shrink = Shrink { sim, code, best: broken.clone(), tries: 0 };
    loop {
        let before = shrink.best.story.clone();
        shrink.leave_turns_out();
        shrink.choose_the_first();
        if shrink.best.story == before || shrink.tries >= TRIES {
            return shrink.best;
        }
    }
}

impl Shrink<'_> {
    /// Keeps a story that breaks the same.
    fn keep(&mut self, story: Story) -> bool {
        if story == self.best.story || self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        match self.sim.tell(&story) {
            (_, Some(violation)) if code(&violation) == self.code => {
                self.best = Broken { story, violation, ..self.best };
                true
            }
            _ => false,
        }
    }

    fn leave_turns_out(&mut self) {
        let mut many = self.best.story.turns.len();
        while many > 0 {
            // From the end on: what comes after the breach goes first.
            let mut end = self.best.story.turns.len();
            while end > 0 {
                let start = end.saturating_sub(many);
                let mut story = self.best.story.clone();
                story.turns.drain(start..end);
                self.keep(story);
                end = start.min(self.best.story.turns.len());
            }
            many /= 2;
        }
    }

    fn choose_the_first(&mut self) {
        for at in 0..self.best.story.setup.len() {
            let mut story = self.best.story.clone();
            story.setup[at] = 0;
            self.keep(story);
        }
        for turn in 0..self.best.story.turns.len() {
            for at in (0..self.best.story.turns[turn].len()).rev() {
                let mut story = self.best.story.clone();
                let Some(choice) = story.turns.get_mut(turn).and_then(|it| it.get_mut(at)) else {
                    continue;
                };
                *choice = 0;
                self.keep(story);
            }
        }
    }
}
