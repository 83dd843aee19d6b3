//! Protection over all states (4.4): in no state that the plan can reach are too few providers of a
//! protected service up, or too many holders of an exclusive role there.
//!
//! `loses` counts from begin, `gains` from end, `disturbs` from begin to end: each effect is a weight
//! on an event, and the least sum over all states is one minimum cut (`closure`). For `exclusive` the
//! signs are turned and `gains` counts from begin, `loses` from end: the most holders at once.
//!
//! Not known here: failures and doubt. The runner keeps the invariant that every begun step has all
//! the steps that it needs done, so that its states are exactly the down-closed sets.

use super::closure::{Jobs, State};
use crate::event::StepId;
use crate::graph::{Effect, Graph};
use crate::text::Span;
use crate::text::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// What was proved of one service or role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// `ocsp[geotrust]`, `writer[geotrust]`
    pub name: String,
    /// A floor (`at_least`) or a ceiling (`at_most`).
    pub sense: Sense,
    /// The floor or ceiling of the plan.
    pub limit: u32,
    /// How many providers or sites there are.
    pub of: u32,
    /// The least up, or the most holders, over all reachable states.
    pub reached: u32,
    /// Whether some state really reaches it; else it is a safe bound (unordered `disturbs`).
    pub exact: bool,
    /// Steps that have begun and not ended in the tightest state, by name.
    pub tightest: Vec<String>,
}

/// Which way a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Never fewer.
    AtLeast,
    /// Never more.
    AtMost,
}

/// Proves every floor and ceiling of the plan without the steps that are out (they hand their needs
/// on).
///
/// # Errors
/// Each bound that some reachable state breaks, with the steps that lead there and what would cure
/// it; and effects on one provider whose order is left open.
pub(super) fn prove(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Result<Vec<Bound>, Vec<Fault>> {
    let mut bounds = Vec::new();
    let mut faults = Vec::new();
    for subject in subjects(graph, out) {
        match prove_one(graph, &subject) {
            Ok(bound) => bounds.push(bound),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(bounds) } else { Err(faults) }
}

/// A service or role with everything that acts on it.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) sense: Sense,
    pub(super) limit: u32,
    /// Where the plan says so.
    pub(super) span: Span,
    /// Providers, or sites of a role.
    pub(super) things: Vec<Thing>,
}

/// A provider, or a site of a role, and the effects on it.
pub(super) struct Thing {
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) effects: Vec<(StepId, Effect)>,
}

fn subjects(graph: &Graph, out: &dyn Fn(StepId) -> bool) -> Vec<Subject> {
    let mut by_provider: Vec<Vec<(StepId, Effect)>> = vec![Vec::new(); graph.providers().len()];
    let mut by_role: Vec<Vec<(StepId, Effect)>> = vec![Vec::new(); graph.roles().len()];
    for &step in graph.topological().iter().filter(|step| !out(**step)) {
        for &(provider, effect) in graph.effects(step) {
            by_provider[provider.index()].push((step, effect));
        }
        for &(role, effect) in graph.role_effects(step) {
            by_role[role.0 as usize].push((step, effect));
        }
    }
    let plan = graph.plan();
    let mut found = Vec::new();
    for service in graph.services() {
        let protect = &plan.protect[service.protect as usize];
        let serves = |id: &crate::event::ProviderId| graph.providers()[id.index()].serving_at_start;
        if protect.providers.is_none() && !service.providers.iter().any(serves) {
            continue; // the estate will say who serves; the graph has warned of it
        }
        let things = service.providers.iter().map(|&provider| {
            let info = &graph.providers()[provider.index()];
            let effects = std::mem::take(&mut by_provider[provider.index()]);
            Thing { name: info.name.clone(), up: info.serving_at_start, effects }
        });
        found.push(Subject {
            name: service.name.clone(),
            sense: Sense::AtLeast,
            limit: protect.at_least,
            span: protect.service.span,
            things: things.collect(),
        });
    }
    let mut roles: BTreeMap<(u32, Option<crate::event::LineId>), Vec<Thing>> = BTreeMap::new();
    for (role, effects) in graph.roles().iter().zip(by_role) {
        let thing = Thing { name: role.name.clone(), up: role.held_at_start, effects };
        roles.entry((role.exclusive, role.line)).or_default().push(thing);
    }
    for ((exclusive, line), things) in roles {
        let exclusive = &plan.exclusive[exclusive as usize];
        let name = match line {
            Some(line) => format!("{}[{}]", exclusive.role.value, graph.line_name(line)),
            None => exclusive.role.value.clone(),
        };
        found.push(Subject {
            name,
            sense: Sense::AtMost,
            limit: exclusive.at_most,
            span: exclusive.role.span,
            things,
        });
    }
    found
}

fn prove_one(graph: &Graph, subject: &Subject) -> Result<Bound, Vec<Fault>> {
    let model = Model::of(graph, subject)?;
    let (least, state) = model.jobs.least();
    let start: i64 = subject.things.iter().map(|thing| i64::from(thing.up)).sum();
    let sign = match subject.sense {
        Sense::AtLeast => 1,
        Sense::AtMost => -1,
    };
    let reached = start + sign * least;
    let broken = match subject.sense {
        Sense::AtLeast => reached < i64::from(subject.limit),
        Sense::AtMost => reached > i64::from(subject.limit),
    };
    if broken {
        return Err(vec![model.breach(graph, subject, start, &state)]);
    }
    Ok(Bound {
        name: subject.name.clone(),
        sense: subject.sense,
        limit: subject.limit,
        of: u32::try_from(subject.things.len()).unwrap_or(u32::MAX),
        reached: u32::try_from(reached.max(0)).unwrap_or(u32::MAX),
        exact: model.exact,
        tightest: model.under_way(&state).map(|step| graph.name(step)).collect(),
    })
}

/// The events that matter to one subject: the steps with an effect on it, and its outages that
/// several unordered steps share.
pub(super) struct Model {
    pub(super) jobs: Jobs,
    /// The step of each job that is one; groups have none.
    pub(super) steps: Vec<StepId>,
    rows: BTreeMap<StepId, usize>,
    exact: bool,
}

impl Model {
    pub(super) fn of(graph: &Graph, subject: &Subject) -> Result<Self, Vec<Fault>> {
        let steps: BTreeSet<StepId> =
            subject.things.iter().flat_map(|thing| &thing.effects).map(|(step, _)| *step).collect();
        let mut steps: Vec<StepId> = steps.into_iter().collect();
        let position = positions(graph);
        steps.sort_by_key(|step| position[step.index()]);
        let above = Above::of(graph, &steps);
        let mut jobs = Jobs::default();
        for job in 0..steps.len() {
            jobs.push((0..job).filter(|&other| above.is(other, job)).map(index).collect());
        }
        let rows = steps.iter().enumerate().map(|(row, &step)| (step, row)).collect();
        let mut model = Self { jobs, steps, rows, exact: true };
        let mut faults = Vec::new();
        let mut groups: Vec<(Vec<usize>, u32)> = Vec::new();
        for thing in &subject.things {
            match model.units(graph, thing, &above) {
                Ok(units) => model.weigh(graph, subject, thing, units, &mut groups, &mut faults),
                Err(fault) => faults.push(fault),
            }
        }
        model.tie(&above, &groups);
        if faults.is_empty() { Ok(model) } else { Err(faults) }
    }

    /// The effects on a thing in the order in which they happen: single ones, and groups of
    /// `disturbs` that are linked while two of them are unordered.
    fn units(
        &self,
        graph: &Graph,
        thing: &Thing,
        above: &Above,
    ) -> Result<Vec<(Vec<usize>, Effect)>, Fault> {
        let mut effects: Vec<(usize, Effect)> =
            thing.effects.iter().map(|&(step, effect)| (self.job_of(step), effect)).collect();
        effects.sort_by_key(|(job, _)| *job);
        let mut units: Vec<(Vec<usize>, Effect)> = Vec::new();
        for &(job, effect) in &effects {
            let loose: Vec<usize> = effects
                .iter()
                .filter(|(other, _)| *other < job && !above.is(*other, job))
                .map(|(other, _)| *other)
                .collect();
            let mixed = effects.iter().find(|(other, kind)| {
                loose.contains(other) && !(*kind == Effect::Disturbs && effect == Effect::Disturbs)
            });
            if let Some((other, _)) = mixed {
                return Err(self.unordered(graph, thing, *other, job));
            }
            // Everything from the first unit that holds an unordered one belongs together.
            let first = units
                .iter()
                .position(|(members, _)| members.iter().any(|member| loose.contains(member)));
            match first {
                Some(first) => {
                    let mut members: Vec<usize> =
                        units.drain(first..).flat_map(|(members, _)| members).collect();
                    members.push(job);
                    units.push((members, Effect::Disturbs));
                }
                None => units.push((vec![job], effect)),
            }
        }
        Ok(units)
    }

    fn job_of(&self, step: StepId) -> usize {
        let job = self.rows.get(&step);
        *job.expect("BUG: a step with an effect is a job")
    }

    fn unordered(&self, graph: &Graph, thing: &Thing, one: usize, other: usize) -> Fault {
        let (one, other) = (self.steps[one], self.steps[other]);
        Fault::error(
            "unordered-effects",
            graph.def(other).span,
            format!(
                "`{}` and `{}` both act on `{}`, and nothing says which comes first",
                graph.name(one),
                graph.name(other),
                thing.name
            ),
        )
        .also(graph.def(one).span, "the other one")
        .hint(format!(
            "let one need the other, or the same gate, so that `{}` is up or down for sure",
            thing.name
        ))
    }

    /// Puts the weights of a thing's effects on the events.
    fn weigh(
        &mut self,
        graph: &Graph,
        subject: &Subject,
        thing: &Thing,
        units: Vec<(Vec<usize>, Effect)>,
        groups: &mut Vec<(Vec<usize>, u32)>,
        faults: &mut Vec<Fault>,
    ) {
        let mut up = thing.up;
        for (members, effect) in units {
            let job = members[0];
            match effect {
                Effect::Loses | Effect::Gains if up == (effect == Effect::Gains) => {
                    faults.push(self.twice(graph, thing, job, effect));
                }
                Effect::Loses => {
                    match subject.sense {
                        Sense::AtLeast => self.jobs.begin[job] -= 1,
                        // Turned signs: a holder that leaves counts until the end.
                        Sense::AtMost => self.jobs.end[job] += 1,
                    }
                    up = false;
                }
                Effect::Gains => {
                    match subject.sense {
                        Sense::AtLeast => self.jobs.end[job] += 1,
                        Sense::AtMost => self.jobs.begin[job] -= 1,
                    }
                    up = true;
                }
                // A `disturbs` on what is down changes nothing; on a role it means nothing.
                Effect::Disturbs if !up || subject.sense == Sense::AtMost => {}
                Effect::Disturbs if members.len() == 1 => {
                    self.jobs.begin[job] -= 1;
                    self.jobs.end[job] += 1;
                }
                Effect::Disturbs => {
                    let outage = self.jobs.push(Vec::new());
                    self.jobs.begin[outage as usize] -= 1;
                    self.jobs.end[outage as usize] += 1;
                    self.exact = false;
                    groups.push((members, outage));
                }
            }
        }
    }

    fn twice(&self, graph: &Graph, thing: &Thing, job: usize, effect: Effect) -> Fault {
        let step = self.steps[job];
        let (verb, state) = match effect {
            Effect::Gains => ("gains", "up"),
            _ => ("loses", "down"),
        };
        Fault::error(
            "effect-twice",
            graph.def(step).span,
            format!("`{}` {verb} `{}`, which is {state} already", graph.name(step), thing.name),
        )
        .hint(match effect {
            Effect::Gains => "name it under `disturbs`, or let an earlier step lose it",
            _ => "let an earlier step gain it, or leave the effect out",
        })
    }

    /// Orders the outages that several steps share: each needs what all its members need, and
    /// whatever needs them all needs it.
    fn tie(&mut self, above: &Above, groups: &[(Vec<usize>, u32)]) {
        for (members, outage) in groups {
            let before = (0..self.steps.len())
                .filter(|&other| members.iter().all(|&member| above.is(other, member)));
            self.jobs.before[*outage as usize] = before.map(index).collect();
            for job in 0..self.steps.len() {
                if members.iter().all(|&member| above.is(member, job)) {
                    self.jobs.before[job].push(*outage);
                }
            }
            for (others, other_outage) in groups {
                let after = others
                    .iter()
                    .all(|&other| members.iter().all(|&member| above.is(member, other)));
                if after && other_outage != outage {
                    self.jobs.before[*other_outage as usize].push(*outage);
                }
            }
        }
    }

    /// Steps that have begun and not ended.
    fn under_way<'a>(&'a self, state: &'a State) -> impl Iterator<Item = StepId> + 'a {
        self.steps
            .iter()
            .enumerate()
            .filter(|(job, _)| state.begun[*job] && !state.ended[*job])
            .map(|(_, step)| *step)
    }

    fn breach(&self, graph: &Graph, subject: &Subject, start: i64, state: &State) -> Fault {
        let state = self.shrunk(subject, start, state);
        let reached = start
            + match subject.sense {
                Sense::AtLeast => self.jobs.weight(&state),
                Sense::AtMost => -self.jobs.weight(&state),
            };
        let names = |steps: Vec<StepId>| {
            let names: Vec<_> =
                steps.iter().map(|&step| format!("`{}`", graph.name(step))).collect();
            names.join(", ")
        };
        let ended: Vec<StepId> = (0..self.steps.len())
            .filter(|&job| state.ended[job])
            .map(|job| self.steps[job])
            .collect();
        let going: Vec<StepId> = self.under_way(&state).collect();
        let after =
            if ended.is_empty() { String::new() } else { format!(" after {} ended", names(ended)) };
        let what = match subject.sense {
            Sense::AtLeast => format!(
                "`{}` can be down to {reached} of {}, fewer than {}: while {} {} under way{after}",
                subject.name,
                subject.things.len(),
                subject.limit,
                names(going.clone()),
                if going.len() == 1 { "is" } else { "are" },
            ),
            Sense::AtMost => format!(
                "`{}` can have {reached} holders at once, more than {}: while {} {} under way{after}",
                subject.name,
                subject.limit,
                names(going.clone()),
                if going.len() == 1 { "is" } else { "are" },
            ),
        };
        let code = match subject.sense {
            Sense::AtLeast => "floor",
            Sense::AtMost => "ceiling",
        };
        let mut fault = Fault::error(code, subject.span, what);
        for &step in &going {
            fault = fault.also(graph.def(step).span, format!("`{}`", graph.name(step)));
        }
        match self.cure(graph, subject, start, &state) {
            Some(cure) => fault.hint(cure),
            None => fault.hint(match subject.sense {
                Sense::AtLeast => "bring another provider up before these steps begin",
                Sense::AtMost => "let the old holder be fenced before the new one is promoted",
            }),
        }
    }

    /// The state with events left out that are not needed to break the bound, latest first.
    fn shrunk(&self, subject: &Subject, start: i64, state: &State) -> State {
        let mut state = state.clone();
        let breaks = |state: &State| {
            let weight = self.jobs.weight(state);
            match subject.sense {
                Sense::AtLeast => start + weight < i64::from(subject.limit),
                Sense::AtMost => start - weight > i64::from(subject.limit),
            }
        };
        loop {
            let mut shrunk = false;
            for job in (0..self.jobs.len()).rev() {
                let needed = (0..self.jobs.len()).any(|other| {
                    state.begun[other] && self.jobs.before[other].contains(&index(job))
                });
                let mut without = state.clone();
                if state.ended[job] && !needed {
                    without.ended[job] = false;
                } else if state.begun[job] && !state.ended[job] {
                    without.begun[job] = false;
                } else {
                    continue;
                }
                if breaks(&without) {
                    state = without;
                    shrunk = true;
                }
            }
            if !shrunk {
                return state;
            }
        }
    }

    /// One more need that would keep the bound, if there is one between two of these steps.
    fn cure(&self, graph: &Graph, subject: &Subject, start: i64, state: &State) -> Option<String> {
        const TRIES: usize = 400;
        let mut tries = 0;
        // The steps that are under way together first: an order between them is what is missing.
        let mut order: Vec<usize> = (0..self.steps.len()).collect();
        order.sort_by_key(|&job| !state.begun[job] || state.ended[job]);
        for &later in &order {
            for &earlier in order.iter().filter(|&&earlier| earlier != later) {
                if self.jobs.before[later].contains(&index(earlier))
                    || self.jobs.before[earlier].contains(&index(later))
                {
                    continue;
                }
                tries += 1;
                if tries > TRIES {
                    return None;
                }
                let mut jobs = self.jobs.clone();
                // Whatever comes after `later` comes after `earlier` as well, by closure.
                jobs.before[later].push(index(earlier));
                let (least, _) = jobs.least();
                let kept = match subject.sense {
                    Sense::AtLeast => start + least >= i64::from(subject.limit),
                    Sense::AtMost => start - least <= i64::from(subject.limit),
                };
                if kept {
                    let (one, other) = (self.steps[later], self.steps[earlier]);
                    return Some(if graph.def_index(one) == graph.def_index(other) {
                        format!(
                            "`serial: true` in `for_each` of `{}` would keep it",
                            graph.def(one).name.value
                        )
                    } else {
                        format!(
                            "it would be kept if `{}` needed `{}`",
                            graph.name(one),
                            graph.name(other)
                        )
                    });
                }
            }
        }
        None
    }
}

fn index(job: usize) -> u32 {
    u32::try_from(job).expect("BUG: more jobs than steps")
}

fn positions(graph: &Graph) -> Vec<u32> {
    let mut position = vec![0; graph.len()];
    for (at, step) in graph.topological().iter().enumerate() {
        position[step.index()] = index(at);
    }
    position
}

/// Which of a few steps another one needs, directly or through others: one pass over the graph for
/// each 64 of them.
struct Above {
    count: usize,
    /// Row per step: the bits of those that it needs.
    bits: Vec<u64>,
}

impl Above {
    fn of(graph: &Graph, steps: &[StepId]) -> Self {
        const NONE: u32 = u32::MAX;
        let words = steps.len().div_ceil(64);
        let mut bits = vec![0; steps.len() * words];
        let mut mask = vec![0u64; graph.len()];
        let mut row_of = vec![NONE; graph.len()];
        for (row, step) in steps.iter().enumerate() {
            row_of[step.index()] = index(row);
        }
        for word in 0..words {
            for &step in graph.topological() {
                let all = graph.needs(step).iter().fold(0, |all, need| all | mask[need.index()]);
                mask[step.index()] = all;
                let row = row_of[step.index()];
                if row == NONE {
                    continue;
                }
                let row = row as usize;
                // A step's own bit is for those who need it, not for itself.
                bits[row * words + word] = all;
                if row / 64 == word {
                    mask[step.index()] |= 1 << (row % 64);
                }
            }
        }
        Self { count: words, bits }
    }

    /// Whether `job` needs `other`.
    fn is(&self, other: usize, job: usize) -> bool {
        self.bits[job * self.count + other / 64] >> (other % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::PlanBuilder;
    use proptest::prelude::*;

    fn nobody(_: StepId) -> bool {
        false
    }

    fn two_hosts(serial: bool) -> std::sync::Arc<Graph> {
        PlanBuilder::new()
            .protect("ocsp", false, 1, ["ocsp@to/one", "ocsp@to/two"])
            .step("upgrade", |step| {
                let step = step.each("host", ["one", "two"]).disturbs(["ocsp@to/${{ host }}"]);
                if serial { step.serial() } else { step }
            })
            .graph()
    }

    #[test]
    fn serial_is_what_keeps_the_floor() {
        let kept = prove(&two_hosts(true), &nobody).expect("kept");
        assert_eq!((kept[0].reached, kept[0].of, kept[0].exact), (1, 2, true));
        let broken = prove(&two_hosts(false), &nobody).expect_err("broken");
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].code, "floor");
        assert!(broken[0].what.contains("`upgrade[one]`, `upgrade[two]`"), "{}", broken[0].what);
        assert!(broken[0].hint.as_ref().is_some_and(|hint| hint.contains("serial")));
    }

    #[test]
    fn the_old_one_must_not_leave_before_the_new_one_is_there() {
        let plan = |needs: &[&str]| {
            PlanBuilder::new()
                .protect("crl", false, 1, ["crl@from/a"])
                .step("enable", |step| step.gains(["crl@to/b"]))
                .step("disable", |step| step.needs(needs.to_vec()).loses(["crl@from/a"]))
                .graph()
        };
        assert_eq!(prove(&plan(&["enable"]), &nobody).expect("kept")[0].reached, 1);
        let broken = prove(&plan(&[]), &nobody).expect_err("broken");
        assert_eq!(
            broken[0].hint.as_deref(),
            Some("it would be kept if `disable` needed `enable`")
        );
    }

    #[test]
    fn never_two_writers() {
        let plan = |needs: &[&str]| {
            PlanBuilder::new()
                .exclusive("writer", false, Some("from"))
                .step("fence", |step| step.loses(["writer@from"]))
                .step("promote", |step| step.needs(needs.to_vec()).gains(["writer@to"]))
                .graph()
        };
        assert_eq!(prove(&plan(&["fence"]), &nobody).expect("kept")[0].reached, 1);
        assert_eq!(prove(&plan(&[]), &nobody).expect_err("broken")[0].code, "ceiling");
    }

    #[test]
    fn what_is_out_hands_its_needs_on_and_takes_its_effects_along() {
        let graph = PlanBuilder::new()
            .protect("crl", false, 1, ["crl@from/a"])
            .step("enable", |step| step.gains(["crl@to/b"]))
            .step("disable", |step| step.needs(["enable"]).loses(["crl@from/a"]))
            .graph();
        let enable = graph.find("enable").expect("there");
        assert_eq!(prove(&graph, &|step| step == enable).expect_err("broken")[0].code, "floor");
        let disable = graph.find("disable").expect("there");
        assert_eq!(prove(&graph, &|step| step == disable).expect("kept")[0].reached, 1);
    }

    /// The least up over all down-closed sets of begins and ends, one by one.
    fn enumerated(graph: &Graph) -> i64 {
        let count = graph.len();
        let mut least = i64::MAX;
        for bits in 0..1u32 << (2 * count) {
            let begun = |step: StepId| bits >> (2 * step.0) & 1 == 1;
            let ended = |step: StepId| bits >> (2 * step.0 + 1) & 1 == 1;
            let closed = graph.steps().all(|step| {
                (!ended(step) || begun(step))
                    && (!begun(step) || graph.needs(step).iter().all(|&need| ended(need)))
            });
            if !closed {
                continue;
            }
            let up = graph.providers().iter().enumerate().map(|(index, provider)| {
                let mut up = provider.serving_at_start;
                let mut disturbed = false;
                for &step in graph.topological() {
                    for (id, effect) in graph.effects(step) {
                        match effect {
                            _ if id.index() != index => {}
                            Effect::Loses if begun(step) => up = false,
                            Effect::Gains if ended(step) => up = true,
                            Effect::Disturbs if begun(step) && !ended(step) => disturbed = true,
                            _ => {}
                        }
                    }
                }
                i64::from(up && !disturbed)
            });
            least = least.min(up.sum());
        }
        least
    }

    proptest! {
        #[test]
        fn the_proof_finds_what_enumeration_finds(
            edges in proptest::collection::vec(any::<bool>(), 36),
            effects in proptest::collection::vec((0usize..4, 0usize..3), 6),
        ) {
            const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
            const PROVIDERS: [&str; 3] = ["s@x/p", "s@x/q", "s@x/r"];
            // A floor of 0 never breaks, so that the bound itself is what comes back.
            let mut plan = PlanBuilder::new().protect("s", false, 0, ["s@x/p", "s@x/q"]);
            for step in 0..6 {
                plan = plan.step(NAMES[step], |mut made| {
                    let needs = (0..step).filter(|need| edges[step * 6 + need]);
                    made = made.needs(needs.map(|need| NAMES[need]));
                    let (kind, provider) = effects[step];
                    let provider = [PROVIDERS[provider]];
                    match kind {
                        0 => made.loses(provider),
                        1 => made.gains(provider),
                        2 => made.disturbs(provider),
                        _ => made,
                    }
                });
            }
            let Ok(graph) = plan.compile() else { return Ok(()) };
            let Ok(bounds) = prove(&graph, &nobody) else { return Ok(()) };
            let least = enumerated(&graph);
            if bounds[0].exact {
                prop_assert_eq!(i64::from(bounds[0].reached), least);
            } else {
                prop_assert!(i64::from(bounds[0].reached) <= least);
            }
        }
    }
}
