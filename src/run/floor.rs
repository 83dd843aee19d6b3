//! The live floor, exclusive roles, and breaches.
//!
//! A proof speaks of the plan; here speaks the guard. Verdicts are per provider and count only when
//! they are newer than the provider's last event; `touch` resets them, so a stored verdict that is
//! not unknown is fresh.

use super::ready::Taken;
use super::rollback::{By, Scope};
use super::state::{Patience, Slot};
use super::{Cause, HoldCause, Run, Status};
use crate::event::{ProviderId, Seq, StepId, Verdict, Way};
use crate::graph::{Effect, RoleId, ServiceId};
use crate::plan::OnBreach;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::iter;

impl Run {
    /// The providers that an attempt takes from those who serve: a first do what it loses or
    /// disturbs, the undo of a done step what it gained or disturbs, anything on a half-done step
    /// every provider that the step touches. A check takes none.
    fn takes(&self, id: StepId, way: Way) -> Vec<ProviderId> {
        let step = self.step(id);
        let half = step.half_done();
        let sent_to = |provider: &ProviderId| self.state.providers[provider.index()].net > 0;
        self.graph
            .effects(id)
            .iter()
            .filter(|(provider, effect)| match way {
                Way::Check => false,
                _ if half => true,
                Way::Do => *effect != Effect::Gains && sent_to(provider),
                Way::Undo => *effect != Effect::Loses && sent_to(provider),
            })
            .map(|(provider, _)| *provider)
            .collect()
    }

    /// Called down by the guard since its last event: nothing is taken by taking it.
    fn is_free(&self, provider: ProviderId) -> bool {
        self.state.providers[provider.index()].verdict.calls_down()
    }

    /// Down though no half-done step touches it: not the run's doing, and an undo does not heal it.
    pub(super) fn is_down_by_itself(&self, provider: ProviderId) -> bool {
        self.state.providers[provider.index()].half == 0 && self.is_free(provider)
    }

    fn at_least(&self, service: ServiceId) -> usize {
        let protect = self.graph.services()[service.0 as usize].protect as usize;
        self.graph.plan().protect.get(protect).map_or(0, |it| it.at_least as usize)
    }

    /// How many providers of a service stand: up in the plan, touched by no half-done step, and normal
    /// by a fresh verdict; `gone` aside, which names each once.
    fn standing(&self, service: ServiceId, gone: impl Iterator<Item = ProviderId>) -> usize {
        let stands = |it: &ProviderId| self.state.providers[it.index()].counts.standing > 0;
        let mine = |it: &ProviderId| self.service_of(*it) == service;
        self.state.counts[service.0 as usize].standing - gone.filter(stands).filter(mine).count()
    }

    /// Counts the providers that have changed anew; their takers, and who takes from a service near
    /// its floor, are to be judged.
    fn recount(&mut self) {
        if self.state.moved.is_empty() && self.state.moved_roles.is_empty() {
            return;
        }
        let mut were: BTreeMap<ServiceId, usize> = BTreeMap::new();
        for provider in std::mem::take(&mut self.state.moved) {
            self.state.stirred.extend(&self.facts.touching[provider.index()]);
            let service = self.service_of(provider);
            let now = self.counts_as(provider);
            let was = std::mem::replace(&mut self.state.providers[provider.index()].counts, now);
            let all = &mut self.state.counts[service.0 as usize];
            were.entry(service).or_insert(all.standing);
            all.shift(was, now);
        }
        for (service, was) in were {
            let (steps, most) = &self.facts.takers[service.0 as usize];
            let floor = self.at_least(service);
            let is = self.state.counts[service.0 as usize].standing;
            // Whoever takes is let, before and after; or nobody is.
            let same = was == is || was.min(is) >= floor + most || was.max(is) < floor;
            if !same {
                self.state.stirred.extend(steps);
            }
        }
        for role in std::mem::take(&mut self.state.moved_roles) {
            self.state.stirred.extend(&self.facts.contending[role.0 as usize]);
        }
    }

    /// The services whose floor an attempt must respect.
    pub(super) fn floor_services(
        &self,
        id: StepId,
        way: Way,
        taken: &Taken,
    ) -> Vec<(ServiceId, Vec<ProviderId>)> {
        let mut services: BTreeMap<ServiceId, Vec<ProviderId>> = BTreeMap::new();
        for provider in self.takes(id, way) {
            let service = self.graph.providers()[provider.index()].service;
            services.entry(service).or_default().push(provider);
        }
        // A start chosen before resets what the guard held of its providers.
        let free = |it: &ProviderId| self.is_free(*it) && !taken.providers.contains(it);
        services.retain(|_, mine| mine.iter().any(|provider| !free(provider)));
        services.into_iter().collect()
    }

    /// Whether enough normal providers are left when this attempt begins, beside the starts already
    /// chosen.
    pub(super) fn floor_allows(&self, id: StepId, way: Way, taken: &Taken) -> bool {
        !self.fact(id).taker
            || self.floor_services(id, way, taken).iter().all(|(service, mine)| {
                let others = taken.providers.iter().filter(|it| !mine.contains(it));
                let gone = mine.iter().chain(others).copied();
                self.standing(*service, gone) >= self.at_least(*service)
            })
    }

    /// The same, asked of an attempt that has started already.
    pub(super) fn floor_still_allows(&self, id: StepId) -> bool {
        let Some(services) = self.state.floored.get(&id) else { return true };
        services.iter().all(|it| self.standing(*it, iter::empty()) >= self.at_least(*it))
    }

    /// Whether no event that may still come of itself would let the attempt begin: enough would be
    /// missing even if every unknown verdict turned out well and every attempt under way ended.
    fn floor_is_short(&self, id: StepId, way: Way) -> bool {
        self.floor_services(id, way, &Self::nothing_taken()).iter().any(|(service, mine)| {
            let providers = &self.graph.services()[service.0 as usize].providers;
            let hoped = providers.iter().filter(|provider| {
                let it = &self.state.providers[provider.index()];
                let may_serve = it.verdict == Verdict::Unknown || it.verdict.serves();
                let may_stand = (self.up(**provider) && it.half == 0) || it.running > 0;
                !mine.contains(*provider) && may_stand && may_serve
            });
            hoped.count() < self.at_least(*service)
        })
    }

    /// Roles that an attempt may come to hold beside who holds now.
    pub(super) fn roles_given(&self, id: StepId, way: Way) -> Vec<RoleId> {
        let status = self.step(id).status;
        let adds = |effect: &Effect| match way {
            Way::Do => *effect == Effect::Gains && status == Status::Clean,
            Way::Undo => *effect == Effect::Loses && status == Status::Done,
            Way::Check => false,
        };
        let effects = self.graph.role_effects(id).iter();
        effects.filter(|(_, effect)| adds(effect)).map(|(role, _)| *role).collect()
    }

    /// Whether no role would have more holders than it may; who is in doubt counts as holding.
    pub(super) fn roles_allow(&self, id: StepId, way: Way, taken: &Taken) -> bool {
        !self.fact(id).taker
            || self.roles_given(id, way).iter().all(|role| {
                let (rivals, most) = &self.facts.rivals[role.0 as usize];
                let holds = |it: &&RoleId| {
                    self.state.roles[it.0 as usize] > 0 || *it == role || taken.roles.contains(it)
                };
                rivals.iter().filter(holds).count() <= *most as usize
            })
    }

    /// Judges the services that this event touched.
    pub(super) fn judge_breaches(&mut self) {
        self.recount();
        for service in std::mem::take(&mut self.state.touched) {
            let Some(provider) = self.breach_of(service) else {
                self.state.breached_now.remove(&service);
                continue;
            };
            if !self.state.breached_now.insert(service) {
                continue;
            }
            if !self.state.breached.contains(&service) {
                self.state.breached.push(service);
            }
            if self.state.aborting {
                continue;
            }
            let known = self.state.holds.iter().any(|hold| match hold.cause {
                HoldCause::Breach(it) => self.service_of(it) == service,
                _ => false,
            });
            if !known {
                self.hold(HoldCause::Breach(provider));
            }
            let protect = self.graph.services()[service.0 as usize].protect as usize;
            let policy = self.graph.plan().protect.get(protect).map(|it| it.on_breach);
            if policy == Some(OnBreach::Rollback) {
                let name = self.graph.services()[service.0 as usize].name.clone();
                let why = format!("`{name}` is breached");
                self.order_or_ask(Scope::Run { before_too: false }, By::Breach, None, &why);
            }
        }
    }

    pub(super) fn service_of(&self, provider: ProviderId) -> ServiceId {
        self.graph.providers()[provider.index()].service
    }

    /// The provider to name when a service is breached.
    fn breach_of(&self, service: ServiceId) -> Option<ProviderId> {
        let providers = &self.graph.services()[service.0 as usize].providers;
        let counts = self.state.counts[service.0 as usize];
        if counts.lying == 0 && counts.not_down >= self.at_least(service) {
            return None;
        }
        let verdict = |it: &ProviderId| &self.state.providers[it.index()].verdict;
        // A provider that is disturbed counts as absent; its lies count: clients are sent there.
        let sent_to = |it: &&ProviderId| self.state.providers[it.index()].net > 0;
        let lying = |it: &&ProviderId| matches!(verdict(it), Verdict::Lying(_));
        if let Some(liar) = providers.iter().filter(sent_to).find(lying) {
            return Some(*liar);
        }
        let up = |it: &&ProviderId| self.up(**it);
        let counted = |it: &&ProviderId| self.state.providers[it.index()].half == 0;
        let mut bad = None;
        let mut stand = 0;
        for provider in providers.iter().filter(up).filter(counted) {
            if matches!(verdict(provider), Verdict::Down(_) | Verdict::Lying(_)) {
                bad = bad.or(Some(*provider));
            } else {
                stand += 1;
            }
        }
        bad.filter(|_| stand < self.at_least(service))
    }

    /// Why a breach hold of this service cannot be released yet.
    pub(super) fn still_breached(&self, service: ServiceId) -> Option<String> {
        let info = &self.graph.services()[service.0 as usize];
        if self.state.breached_now.contains(&service) {
            return Some(format!("`{}` is still breached", info.name));
        }
        let unknown = info.providers.iter().find(|provider| {
            let it = &self.state.providers[provider.index()];
            self.up(**provider) && it.half == 0 && it.verdict == Verdict::Unknown
        })?;
        if self.standing(service, iter::empty()) >= self.at_least(service) {
            return None;
        }
        let name = &self.graph.providers()[unknown.index()].name;
        Some(format!("no verdict yet on `{name}` of the breached `{}`", info.name))
    }

    /// Bars the ready takers that may not start now, keeps the patience of those that wait for the
    /// floor, and asks where waiting is no use. Judged are those whose answer the event can have
    /// changed: who takes what it touched, and under a hold, after it or where nothing runs, who is
    /// barred.
    pub(super) fn watch_floor(&mut self, at: Timestamp) {
        self.recount();
        let held = !self.state.holds.is_empty();
        let was_held = std::mem::replace(&mut self.state.was_held, held);
        let all = held || was_held || self.state.running.is_empty();
        if self.state.stirred.is_empty() && !all {
            return;
        }
        let mut judged = std::mem::take(&mut self.state.stirred);
        if all {
            judged.extend(&self.state.barred);
        }
        judged.retain(|id| self.due_way(*id).is_some());
        let taken = Self::nothing_taken();
        for id in &judged {
            let Some(way) = self.due_way(*id) else { continue };
            let floor = self.floor_allows(*id, way, &taken);
            self.bar(*id, !floor || !self.roles_allow(*id, way, &taken));
        }
        let mut still = None;
        for id in judged {
            let Some(way) = self.due_way(id) else { continue };
            if !self.step(id).barred {
                self.set_patience(id, Patience::Fresh);
            } else if !self.stopped_by_hold(id, way) {
                self.wait_for_floor(id, way, at, &mut still);
            }
        }
    }

    /// One step waits; `still` is whether nothing moves, once that was asked.
    fn wait_for_floor(&mut self, id: StepId, way: Way, at: Timestamp, still: &mut Option<bool>) {
        let back = self.step(id).slot == Slot::Back;
        let short = || {
            let floor = self.floor_allows(id, way, &Self::nothing_taken());
            floor || (back && self.floor_is_short(id, way))
        };
        let patience = self.step(id).patience;
        if patience == Patience::Asked {
            return;
        }
        if *still.get_or_insert_with(|| self.nothing_moves()) && short() {
            self.set_patience(id, Patience::Asked);
            self.state.to_ask.insert(id);
        } else if patience == Patience::Fresh {
            let patience = self.fact(id).patience.filter(|_| !back);
            let until = patience.and_then(|it| at.checked_add(it).ok());
            self.set_patience(id, Patience::Until(until));
        }
    }

    /// No attempt is under way, and none would be started.
    fn nothing_moves(&self) -> bool {
        let mut starts = Vec::new();
        if self.state.running.is_empty() {
            self.starts(&mut starts);
        }
        self.state.running.is_empty() && starts.is_empty()
    }

    pub(super) fn set_patience(&mut self, id: StepId, patience: Patience) {
        let was = std::mem::replace(&mut self.state.steps[id.index()].patience, patience);
        if was == patience {
            return;
        }
        if let Patience::Until(Some(at)) = was {
            self.state.floor.remove(&(at, id));
        }
        if let Patience::Until(Some(at)) = patience {
            self.state.floor.insert((at, id));
        }
    }

    /// What the floor wants before the step can start.
    pub(super) fn floor_causes(&self, id: StepId, way: Way) -> Vec<Cause> {
        let mut causes = Vec::new();
        for (service, mine) in self.floor_services(id, way, &Self::nothing_taken()) {
            let gone = |it: ProviderId| mine.contains(&it);
            if self.standing(service, mine.iter().copied()) >= self.at_least(service) {
                continue;
            }
            let info = &self.graph.services()[service.0 as usize];
            let mut wanting = Vec::new();
            for provider in info.providers.iter().filter(|it| !gone(**it)) {
                let it = &self.state.providers[provider.index()];
                if !self.up(*provider) || it.verdict.serves() && it.half == 0 {
                    continue;
                }
                if it.verdict == Verdict::Unknown && it.half == 0 {
                    causes.push(Cause::Verdict(*provider));
                } else {
                    wanting.push(*provider);
                }
            }
            causes.push(Cause::Floor { service: info.name.clone(), wanting });
        }
        if !self.roles_allow(id, way, &Self::nothing_taken()) {
            for role in self.roles_given(id, way) {
                causes.push(Cause::Limit(self.graph.roles()[role.0 as usize].name.clone()));
            }
        }
        causes
    }

    /// Whether the guard shows that an undo whose failure a person calls success gave back what the
    /// step had taken.
    pub(super) fn guard_agrees_undone(&self, id: StepId) -> bool {
        let mut any = false;
        for (provider, effect) in self.graph.effects(id) {
            if *effect == Effect::Gains {
                continue;
            }
            any = true;
            if !self.state.providers[provider.index()].verdict.serves() {
                return false;
            }
        }
        any
    }

    /// Takes a verdict in; one as of a record before the provider's last event judges what is gone.
    pub(super) fn take_verdict(&mut self, provider: ProviderId, verdict: Verdict, as_of: Seq) {
        let it = &mut self.state.providers[provider.index()];
        if as_of < it.last_event {
            return;
        }
        it.verdict = verdict;
        it.as_of = as_of;
        self.state.moved.insert(provider);
        let service = self.service_of(provider);
        self.state.touched.insert(service);
    }
}
