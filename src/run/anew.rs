//! What the core keeps as it changes, counted anew: tests ask after every event whether it is the same.
//!
//! A count that is kept is only as right as every place that has to move it; this looks at everything
//! and moves nothing. It costs what the whole run costs, and no runner asks it.

use super::state::{Counts, Slot};
use super::{Run, Status};
use crate::event::ProviderId;
use crate::graph::ServiceId;

impl Run {
    /// The first thing kept that is not what a look at the whole run finds; nothing when all is
    /// right, or when the run is aborted or closed and keeps no more.
    pub fn amiss(&self) -> Option<String> {
        let state = &self.state;
        if state.aborting || state.outcome.is_some() {
            return None;
        }
        if !(state.stirred.is_empty() && state.moved.is_empty() && state.moved_roles.is_empty()) {
            return Some("an event was taken in, and what it moved is not judged".to_owned());
        }
        self.counts_amiss().or_else(|| self.bars_amiss()).or_else(|| self.slots_amiss())
    }

    fn counts_amiss(&self) -> Option<String> {
        let state = &self.state;
        for at in 0..self.graph.services().len() {
            let service = ServiceId(at as u32);
            let info = &self.graph.services()[at];
            let mut all = Counts::default();
            for provider in &info.providers {
                let one = self.counts_as(*provider);
                if one != state.providers[provider.index()].counts {
                    let name = &self.graph.providers()[provider.index()].name;
                    return Some(format!("`{name}` is {one:?}, and was left as something else"));
                }
                all.shift(Counts::default(), one);
            }
            if all != self.counts_of(service) {
                return Some(format!("`{}` is {all:?}, and was left otherwise", info.name));
            }
        }
        None
    }

    /// Who is barred is who may not start; who waits asks people in time.
    fn bars_amiss(&self) -> Option<String> {
        let taken = Self::nothing_taken();
        for id in self.graph.steps().filter(|it| self.fact(*it).taker) {
            let (step, name) = (self.step(id), self.graph.name(id));
            let Some(way) = self.due_way(id) else {
                if step.barred || self.state.barred.contains(&id) {
                    return Some(format!("`{name}` is barred where nothing of it is due"));
                }
                continue;
            };
            let floor = self.floor_allows(id, way, &taken);
            let may = floor && self.roles_allow(id, way, &taken);
            if step.barred == may || self.state.barred.contains(&id) == may {
                return Some(format!("`{name}` may {way:?}: {may}, barred: {}", step.barred));
            }
            let waits = step.patience != super::state::Patience::Fresh;
            if waits == may && !self.stopped_by_hold(id, way) {
                return Some(format!("`{name}` may {way:?}: {may}, waits: {waits}"));
            }
        }
        None
    }

    /// Every step stands in the one queue that its slot names.
    fn slots_amiss(&self) -> Option<String> {
        let state = &self.state;
        for id in self.graph.steps() {
            let (step, fact) = (self.step(id), self.fact(id));
            let class = fact.class as usize;
            let free = !step.barred;
            let right = state.go[class].contains(&fact.do_rank) == (step.slot == Slot::Go && free)
                && state.back[class].contains(&fact.undo_rank) == (step.slot == Slot::Back && free)
                && state.running.contains(&id) == matches!(step.status, Status::Running(_));
            if !right || step.slot != self.slot_for(id) {
                return Some(format!(
                    "`{}` is not where {:?} belongs",
                    self.graph.name(id),
                    step.slot
                ));
            }
        }
        None
    }

    fn counts_of(&self, service: ServiceId) -> Counts {
        self.state.counts[service.0 as usize]
    }

    /// As what its service counts a provider now.
    pub(super) fn counts_as(&self, provider: ProviderId) -> Counts {
        let it = &self.state.providers[provider.index()];
        let whole = self.up(provider) && it.half == 0;
        let lies = matches!(it.verdict, crate::event::Verdict::Lying(_));
        Counts {
            standing: usize::from(whole && it.verdict.serves()),
            not_down: usize::from(
                whole && !lies && !matches!(it.verdict, crate::event::Verdict::Down(_)),
            ),
            lying: usize::from(it.net > 0 && lies),
        }
    }
}
