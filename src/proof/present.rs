//! The way back, proved from where a run stands (section 6 of the design): before an automatic
//! rollback, the states from the present one downwards.
//!
//! The begun steps that go back are undone in any order that their needs allow, so the states are the
//! down-closed sets below the present one: the same minimum cut as for the whole plan, over fewer
//! events. What never begun cannot lie in one of them, and what stays done stands still below them.
//! A provider that is down though no half-done step touches it serves in none of them, also where an
//! undo would send clients to it again; the plan does not know of it, the guard does.
//!
//! Not known here: verdicts, and who orders a rollback. Exclusive roles are not asked again: these
//! are states of the plan, in which the first proof has counted the holders.

use super::closure::State;
use super::once_for_all_lines;
use super::protection::subject::Thing;
use super::protection::{Model, Sense, Subject};
use crate::event::{ProviderId, StepId};
use crate::graph::{Effect, Graph, ServiceInfo};
use crate::text::fault::Fault;

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Never started, or wholly undone.
    Clean,
    /// Begun and not done.
    Half,
    /// Done.
    Done,
}

/// Where a run stands, and what of it goes back. Every begun step has all that it needs done.
pub struct Present<'a> {
    /// How far each step has come.
    pub stands: &'a dyn Fn(StepId) -> Stand,
    /// Whether a begun step is to be undone.
    pub goes_back: &'a dyn Fn(StepId) -> bool,
    /// Whether a provider is down though no half-done step touches it.
    pub is_down: &'a dyn Fn(ProviderId) -> bool,
}

/// Proves that in no state of the way back fewer providers of a service are up than the smaller of
/// its `at_least` and those up at present. Costs a look at every edge for each 64 begun steps that
/// touch a service.
///
/// # Errors
/// For each service that would have fewer, the undos that lead there.
pub fn prove_back(graph: &Graph, present: &Present<'_>) -> Result<(), Vec<Fault>> {
    let begun = begun_effects(graph, present);
    let mut faults = Vec::new();
    for service in graph.services() {
        if let Err(found) = prove_service(graph, present, service, &begun) {
            faults.extend(found);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(once_for_all_lines(graph, faults)) }
}

/// For each provider the effects of begun steps on it, in an order in which they can have happened.
fn begun_effects(graph: &Graph, present: &Present<'_>) -> Vec<Vec<(StepId, Effect)>> {
    let mut begun = vec![Vec::new(); graph.providers().len()];
    for &step in graph.topological() {
        let effects = graph.effects(step);
        if effects.is_empty() || (present.stands)(step) == Stand::Clean {
            continue;
        }
        for &(provider, effect) in effects {
            begun[provider.index()].push((step, effect));
        }
    }
    begun
}

fn prove_service(
    graph: &Graph,
    present: &Present<'_>,
    service: &ServiceInfo,
    begun: &[Vec<(StepId, Effect)>],
) -> Result<(), Vec<Fault>> {
    let of = |provider: &ProviderId| &begun[provider.index()];
    let goes_back = |(step, _): &(StepId, Effect)| (present.goes_back)(*step);
    if !service.providers.iter().any(|provider| of(provider).iter().any(goes_back)) {
        return Ok(()); // no undo touches it
    }
    let mut now = 0;
    let mut things = Vec::new();
    for provider in &service.providers {
        let info = &graph.providers()[provider.index()];
        let (back, stays): (Vec<_>, Vec<_>) = of(provider).iter().partition(|it| goes_back(it));
        let name = info.name.clone();
        let is_down = (present.is_down)(*provider);
        let at_start = info.serving_at_start;
        now += u32::from(!is_down && is_up(present, at_start, of(provider)));
        things.push(
            if is_down || stays.iter().any(|(step, effect)| disturbs_now(present, *step, *effect)) {
                // It serves in none of the states. Who touches it only keeps its place in the order.
                let back = back.into_iter().map(|(step, _)| (step, Effect::Disturbs)).collect();
                Thing { name, up: false, effects: back }
            } else {
                Thing { name, up: is_up(present, at_start, &stays), effects: back }
            },
        );
    }
    let protect = &graph.plan().protect[service.protect as usize];
    let limit = protect.at_least.min(now);
    if limit == 0 {
        return Ok(());
    }
    let span = protect.service.span;
    let subject =
        Subject { name: service.name.clone(), sense: Sense::AtLeast, limit, span, things };
    let model = Model::of(graph, &subject)?;
    let (least, state) = model.jobs.least();
    let start: i64 = subject.things.iter().map(|thing| i64::from(thing.up)).sum();
    if start + least >= i64::from(limit) {
        return Ok(());
    }
    let way = Way { graph, present, subject: &subject, model: &model, start };
    Err(vec![way.fault(service, way.least_undone(state))])
}

fn disturbs_now(present: &Present<'_>, step: StepId, effect: Effect) -> bool {
    effect == Effect::Disturbs && (present.stands)(step) == Stand::Half
}

/// Whether clients are sent to a provider and nothing disturbs it, after these effects.
fn is_up(present: &Present<'_>, at_start: bool, effects: &[(StepId, Effect)]) -> bool {
    let mut sent_to = at_start;
    let mut disturbed = false;
    for &(step, effect) in effects {
        match effect {
            Effect::Loses => sent_to = false,
            Effect::Gains => sent_to |= (present.stands)(step) == Stand::Done,
            Effect::Disturbs => disturbed |= disturbs_now(present, step, effect),
        }
    }
    sent_to && !disturbed
}

/// The states below the present one, of one service.
struct Way<'a> {
    graph: &'a Graph,
    present: &'a Present<'a>,
    subject: &'a Subject,
    model: &'a Model,
    start: i64,
}

impl Way<'_> {
    fn reached(&self, state: &State) -> i64 {
        self.start + self.model.jobs.weight(state)
    }

    /// Whether a job has ended at present; an outage that several steps share ends with them.
    fn has_ended(&self, job: usize) -> bool {
        let step = self.model.steps.get(job);
        step.is_none_or(|step| (self.present.stands)(*step) == Stand::Done)
    }

    /// The state with as much put back as can be, first in the plan's order, while it stays short:
    /// what is undone in it is needed for that.
    fn least_undone(&self, mut state: State) -> State {
        let jobs = &self.model.jobs;
        let mut reached = self.reached(&state);
        let is_short = |reached: i64| reached < i64::from(self.subject.limit);
        loop {
            let mut grown = false;
            for job in 0..jobs.len() {
                let may_begin = jobs.before[job].iter().all(|it| state.ended[*it as usize]);
                if !state.begun[job] && may_begin && is_short(reached + jobs.begin[job]) {
                    state.begun[job] = true;
                    reached += jobs.begin[job];
                    grown = true;
                }
                let may_end = state.begun[job] && !state.ended[job] && self.has_ended(job);
                if may_end && is_short(reached + jobs.end[job]) {
                    state.ended[job] = true;
                    reached += jobs.end[job];
                    grown = true;
                }
            }
            if !grown {
                return state;
            }
        }
    }

    fn fault(&self, service: &ServiceInfo, state: State) -> Fault {
        let steps = &self.model.steps;
        let listed = |jobs: Vec<usize>| {
            let names: Vec<_> =
                jobs.into_iter().map(|job| format!("`{}`", self.graph.name(steps[job]))).collect();
            names.join(", ")
        };
        let going = |job: &usize| state.begun[*job] && !state.ended[*job];
        let undoing: Vec<_> =
            (0..steps.len()).filter(going).filter(|job| self.has_ended(*job)).collect();
        let half: Vec<_> =
            (0..steps.len()).filter(going).filter(|job| !self.has_ended(*job)).collect();
        // The last one of the plan's order is undone first.
        let undone: Vec<_> = (0..steps.len()).rev().filter(|job| !state.begun[*job]).collect();
        let mut parts = Vec::new();
        let verb = |count: usize, one: &'static str, many: &'static str| match count {
            1 => one,
            _ => many,
        };
        if !undone.is_empty() {
            let verb = verb(undone.len(), "was", "were");
            parts.push(format!("after {} {verb} undone", listed(undone)));
        }
        if !undoing.is_empty() {
            let verb = verb(undoing.len(), "is", "are");
            parts.push(format!("while {} {verb} being undone", listed(undoing)));
        }
        if !half.is_empty() {
            parts.push(format!("with {} half-done", listed(half)));
        }
        let down = service.providers.iter().filter(|provider| (self.present.is_down)(**provider));
        let down: Vec<_> = down
            .map(|provider| format!("`{}`", self.graph.providers()[provider.index()].name))
            .collect();
        let without = match down.len() {
            0 => String::new(),
            1 => format!(" ({} is down)", down[0]),
            _ => format!(" ({} are down)", down.join(", ")),
        };
        let what = format!(
            "`{}` would come down to {}, fewer than {}{without}: {}",
            self.subject.name,
            self.reached(&state).max(0),
            self.subject.limit,
            parts.join(", "),
        );
        Fault::error("floor-on-the-way-back", self.subject.span, what)
    }
}
