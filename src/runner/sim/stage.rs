//! Where deeds are done in a simulated run: it takes jobs and hands them on, and does nothing.
//!
//! Not known here: what a job does.

use crate::event::Ending;
use crate::event::Job;
use crate::failure::Failure;
use crate::run::Run;
use crate::runner::deed::{self, Prepared};
use crate::runner::{Voice, World};
use std::sync::{Mutex, PoisonError};

/// What the loop asked of the world since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) begun: Vec<(Job, Voice)>,
    pub(super) stops: Vec<Job>,
}

/// The simulated world, from the loop's side.
#[derive(Debug, Default)]
pub(super) struct Stage {
    orders: Mutex<Orders>,
}

impl Stage {
    pub(super) fn orders(&self) -> Orders {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl World for Stage {
    fn begin(&self, job: Job, run: &Run, voice: Voice) {
        // As the real one: a deed whose texts cannot be filled was not begun.
        match deed::prepare(run, job) {
            Err(why) => voice.end(Ending::Failed(Failure::last(why))),
            Ok(Prepared::Settled(ending)) => voice.end(ending),
            Ok(Prepared::Deed(_)) => {
                let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                orders.begun.push((job, voice));
            }
        }
    }

    fn stop(&self, job: Job) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).stops.push(job);
    }
}
