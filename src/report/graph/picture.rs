//! What is drawn of a graph, whatever draws it: boxes and lines, folded to definitions or with every
//! instance. Not known here: where a box goes, and how it looks.

use super::{counted, phase_name, plain};
use crate::action::Action;
use crate::event::StepId;
use crate::graph::{Effect, Graph};
use crate::plan::{Kind, Phase, Work};
use crate::proof::window::Outlook;
use std::collections::{BTreeMap, BTreeSet};

/// More boxes than this are legible to nobody, and are put together.
const MOST: usize = 400;

/// How it is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Every instance of a fan-out by itself, instead of one box for all of them.
    pub expand: bool,
}

/// A graph as boxes and lines, in an order in which they can begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) name: String,
    /// `109 steps in 25 definitions`, ...
    pub(super) facts: Vec<String>,
    pub(super) boxes: Vec<Drawn>,
    pub(super) links: Vec<Link>,
    /// What a reader must know of how it was drawn.
    pub(super) note: Option<String>,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) name: String,
    /// `6 lines x 2 hosts`, `serial`
    pub(super) fan: Vec<String>,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    /// Each provider or role once, without lines.
    pub(super) effects: Vec<(Effect, String)>,
    /// Who approves.
    pub(super) gate: Option<String>,
    pub(super) checkpoint: Option<String>,
    pub(super) point_of_no_return: bool,
    /// On the critical path.
    pub(super) critical: bool,
}

/// A need: `to` hangs on `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// One of them waits for the other on the critical path.
    pub(super) critical: bool,
    /// Made by phases, which the bands tell already.
    pub(super) phases: bool,
}

impl Picture {
    pub(super) fn of(graph: &Graph, outlook: Option<&Outlook>, style: Style) -> Self {
        let critical = outlook.map_or(&[][..], |outlook| &outlook.critical_path);
        let on_path: BTreeSet<StepId> = critical.iter().copied().collect();
        let hops: BTreeSet<(StepId, StepId)> =
            critical.windows(2).map(|pair| (pair[0], pair[1])).collect();
        // The place of each box: the turn of its first step.
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let key = |step: StepId| if style.expand { step.index() } else { graph.def_index(step) };
        let mut order: Vec<StepId> = graph.topological().to_vec();
        order.sort_by_key(|&step| graph.phase(step));
        let mut boxes: Vec<Drawn> = Vec::new();
        for &step in &order {
            let next = places.len();
            let place = *places.entry(key(step)).or_insert(next);
            if place == next {
                boxes.push(drawn(graph, step, style));
            }
            let it = &mut boxes[place];
            it.critical |= on_path.contains(&step);
            it.point_of_no_return |= graph.is_point_of_no_return(step);
            effects(graph, step, &mut it.effects);
        }
        let mut links: BTreeMap<(usize, usize), (bool, bool)> = BTreeMap::new();
        for step in graph.steps() {
            for &need in graph.needs(step) {
                let (from, to) = (places[&key(need)], places[&key(step)]);
                if from != to {
                    let phases = graph.phase(need) != graph.phase(step);
                    let link = links.entry((from, to)).or_insert((false, true));
                    link.0 |= hops.contains(&(need, step));
                    link.1 &= phases;
                }
            }
        }
        let links = links.into_iter().map(|((from, to), (critical, phases))| Link {
            from,
            to,
            critical,
            phases,
        });
        let plan = graph.plan();
        let mut name = plain(&plan.name);
        if let Some(change) = &plan.change {
            name.push_str(&format!(" · {}", plain(change)));
        }
        let mut facts = vec![format!(
            "{} in {}",
            counted(graph.len(), "step"),
            counted(plan.steps.len(), "definition")
        )];
        if !plan.lines.is_empty() {
            facts.push(counted(plan.lines.len(), "line"));
        }
        Self { name, facts, boxes, links: links.collect(), note: None }.sorted().grouped()
    }

    /// Brings what hangs on something after it, also where the first instance of a fan-out came
    /// before; what is in a circle (folded definitions can be) keeps its order.
    fn sorted(self) -> Self {
        let mut waits = vec![0_usize; self.boxes.len()];
        let mut down = vec![Vec::new(); self.boxes.len()];
        for link in &self.links {
            waits[link.to] += 1;
            down[link.from].push(link.to);
        }
        let mut left: BTreeSet<usize> = (0..self.boxes.len()).collect();
        let mut free: BTreeSet<usize> = left.iter().copied().filter(|&at| waits[at] == 0).collect();
        let mut order = Vec::with_capacity(self.boxes.len());
        while let Some(next) = free.pop_first().or_else(|| left.first().copied()) {
            left.remove(&next);
            order.push(next);
            for &to in &down[next] {
                waits[to] = waits[to].saturating_sub(1);
                if waits[to] == 0 && left.contains(&to) {
                    free.insert(to);
                }
            }
        }
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        let mut links: Vec<Link> = self
            .links
            .iter()
            .map(|link| Link { from: place[link.from], to: place[link.to], ..*link })
            .collect();
        links.sort_unstable();
        let boxes = order.iter().map(|&old| self.boxes[old].clone()).collect();
        Self { boxes, links, ..self }
    }

    /// Puts boxes together by depth, kind and phase until they can be read.
    fn grouped(self) -> Self {
        if self.boxes.len() <= MOST {
            return self;
        }
        let mut depth = vec![0_usize; self.boxes.len()];
        for link in self.links.iter().filter(|link| link.from < link.to) {
            depth[link.to] = depth[link.to].max(depth[link.from] + 1);
        }
        let deepest = depth.iter().max().map_or(1, |most| most + 1);
        let key = |at: usize, layers: usize| {
            (self.boxes[at].phase, depth[at] * layers / deepest, self.boxes[at].kind.name())
        };
        let mut layers = deepest;
        let keys = |layers: usize| -> BTreeSet<_> {
            (0..self.boxes.len()).map(|at| key(at, layers)).collect()
        };
        let mut groups = keys(layers);
        while groups.len() > MOST && layers > 1 {
            layers = (layers / 2).max(1);
            groups = keys(layers);
        }
        let places: BTreeMap<_, usize> = groups.into_iter().zip(0..).collect();
        let mut boxes: Vec<Option<(Drawn, usize)>> = vec![None; places.len()];
        for (at, it) in self.boxes.iter().enumerate() {
            match &mut boxes[places[&key(at, layers)]] {
                Some((group, count)) => {
                    *count += 1;
                    group.critical |= it.critical;
                    group.point_of_no_return |= it.point_of_no_return;
                    for effect in &it.effects {
                        if group.effects.len() < 64 && !group.effects.contains(effect) {
                            group.effects.push(effect.clone());
                        }
                    }
                }
                empty => *empty = Some((it.clone(), 1)),
            }
        }
        let mut links: BTreeMap<(usize, usize), (bool, bool)> = BTreeMap::new();
        for link in &self.links {
            let (from, to) = (places[&key(link.from, layers)], places[&key(link.to, layers)]);
            if from != to {
                let entry = links.entry((from, to)).or_insert((false, true));
                *entry = (entry.0 | link.critical, entry.1 & link.phases);
            }
        }
        let note = format!(
            "{} boxes are too many to be read: they are drawn as {} groups by depth and kind; the format `text` names all",
            self.boxes.len(),
            boxes.len()
        );
        let boxes = boxes.into_iter().flatten().map(|(mut group, count)| {
            if count > 1 {
                group.name = format!("{count} of kind {}", group.kind.name());
                group.fan.clear();
                group.gate = None;
                group.checkpoint = None;
            }
            group
        });
        let links = links.into_iter().map(|((from, to), (critical, phases))| Link {
            from,
            to,
            critical,
            phases,
        });
        Self { boxes: boxes.collect(), links: links.collect(), note: Some(note), ..self }
    }

    /// Phases that have boxes, with their boxes.
    pub(super) fn phases(&self) -> impl Iterator<Item = (&'static str, Vec<usize>)> {
        let all = [Phase::Before, Phase::Window, Phase::After];
        let members = |phase: Phase| {
            (0..self.boxes.len()).filter(|&at| self.boxes[at].phase == phase).collect::<Vec<_>>()
        };
        let phases = all.into_iter().map(move |phase| (phase_name(phase), members(phase)));
        phases.filter(|(_, members)| !members.is_empty())
    }

    /// The box that everything after the point of no return needs, if it is one box: not one that a
    /// point of no return is before.
    pub(super) fn wall(&self) -> Option<usize> {
        let mut after = vec![false; self.boxes.len()];
        for link in self.links.iter().filter(|link| link.from < link.to) {
            after[link.to] |= after[link.from] || self.boxes[link.from].point_of_no_return;
        }
        let first = |at: &usize| self.boxes[*at].point_of_no_return && !after[*at];
        let mut walls = (0..self.boxes.len()).filter(first);
        walls.next().filter(|_| walls.next().is_none())
    }
}

fn drawn(graph: &Graph, step: StepId, style: Style) -> Drawn {
    let def = graph.def(step);
    let mut fan = Vec::new();
    if !style.expand && !def.over.is_empty() {
        let over = def.over.iter().map(|over| counted(over.values.len(), &over.variable.value));
        fan.push(over.collect::<Vec<_>>().join(" x "));
        match &def.serial {
            crate::plan::Serial::No => {}
            crate::plan::Serial::All => fan.push("one after the other".to_owned()),
            crate::plan::Serial::Along(name) => fan.push(format!("one {name} after the other")),
        }
    }
    if let Work::Act { act: Action::Manual(manual), .. } = &def.work {
        let by = manual.by.join(", ");
        fan.push(plain(&format!("by hand of {by}")));
    }
    let gate = match &def.work {
        Work::Ask(gate) => {
            let by: Vec<&str> = gate.by.iter().map(|group| group.value.as_str()).collect();
            Some(plain(&format!("{} of {}", gate.quorum, by.join(", "))))
        }
        Work::Act { .. } => None,
    };
    Drawn {
        name: plain(&if style.expand { graph.name(step) } else { def.name.value.clone() }),
        fan,
        kind: graph.kind(step),
        phase: graph.phase(step),
        effects: Vec::new(),
        gate,
        checkpoint: def.checkpoint.as_ref().map(|name| plain(&name.value)),
        point_of_no_return: false,
        critical: false,
    }
}

fn effects(graph: &Graph, step: StepId, into: &mut Vec<(Effect, String)>) {
    let providers = graph.effects(step).iter();
    let providers =
        providers.map(|(id, effect)| (*effect, graph.providers()[id.index()].base.as_str()));
    let roles = graph.role_effects(step).iter();
    let roles = roles.map(|(id, effect)| {
        let name = graph.roles()[id.index()].name.as_str();
        (*effect, name.split('/').next().unwrap_or(name))
    });
    for (effect, name) in providers.chain(roles) {
        if !into.iter().any(|known| known.0 == effect && known.1 == name) {
            into.push((effect, plain(name)));
        }
    }
}

/// The sign before the name of what is taken, given or disturbed.
pub(super) fn sign(effect: Effect) -> &'static str {
    match effect {
        Effect::Loses => "−",
        Effect::Gains => "+",
        Effect::Disturbs => "~",
    }
}

/// The word for it.
pub(super) fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Loses => "loses",
        Effect::Gains => "gains",
        Effect::Disturbs => "disturbs",
    }
}
