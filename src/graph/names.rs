//! Providers, services and roles, and what each step does to them.

use super::fill::{fill_names, has_output};
use super::rows::Rows;
use super::shape::Shape;
use super::{Effect, ProviderInfo, RoleId, RoleInfo, ServiceId, ServiceInfo, near, suggest};
use crate::action::Action;
use crate::estate::Estate;
use crate::event::{LineId, ProviderId, StepId};
use crate::plan::template::Template;
use crate::plan::{Plan, Work};
use crate::text::Span;
use crate::text::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) providers: Vec<ProviderInfo>,
    pub(super) provider_ids: BTreeMap<String, ProviderId>,
    pub(super) services: Vec<ServiceInfo>,
    pub(super) roles: Vec<RoleInfo>,
    pub(super) effects: Rows<(ProviderId, Effect)>,
    pub(super) role_effects: Rows<(RoleId, Effect)>,
}

/// A name of something with an effect, resolved but for lines.
#[derive(Clone, Copy)]
enum Target {
    /// Place in `protect`, place among its providers.
    Provider(usize, usize),
    /// Place in `exclusive`, place among its sites.
    Role(usize, usize),
}

/// One effect of one step, before lines are known to fan out.
struct Raw {
    step: StepId,
    target: Target,
    line: Option<LineId>,
    effect: Effect,
    span: Span,
    /// By the meaning of the action itself, not by the plan's word.
    own: bool,
}

struct Builder<'p> {
    plan: &'p Plan,
    estate: Option<&'p Estate>,
    shape: &'p Shape,
    protects: BTreeMap<&'p str, usize>,
    exclusives: BTreeMap<&'p str, usize>,
    /// By `protect`: base name and whether it serves at the start.
    bases: Vec<Vec<(String, bool)>>,
    base_ids: BTreeMap<String, (usize, usize)>,
    /// By `exclusive`: sites.
    sites: Vec<Vec<String>>,
    raw: Vec<Raw>,
    /// Effects that these make, lines fanned out.
    effects: usize,
    told: BTreeSet<(usize, String)>,
    faults: &'p mut Vec<Fault>,
}

/// Builds the tables.
pub(super) fn build(
    plan: &Plan,
    shape: &Shape,
    estate: Option<&Estate>,
    faults: &mut Vec<Fault>,
) -> Names {
    let mut builder = Builder {
        plan,
        estate,
        shape,
        protects: BTreeMap::new(),
        exclusives: BTreeMap::new(),
        bases: vec![Vec::new(); plan.protect.len()],
        base_ids: BTreeMap::new(),
        sites: vec![Vec::new(); plan.exclusive.len()],
        raw: Vec::new(),
        effects: 0,
        told: BTreeSet::new(),
        faults,
    };
    builder.declared(estate);
    for step in (0..shape.len() as u32).map(StepId) {
        if builder.told.len() >= MAX_TOLD || builder.effects > MAX_EFFECTS {
            break;
        }
        builder.step(step);
    }
    if builder.is_too_large() {
        return Names::default();
    }
    builder.finish()
}

/// After so many errors the rest is not looked at.
const MAX_TOLD: usize = 1000;
/// Providers and roles, of all lines together.
const MAX_THINGS: usize = 1_000_000;
/// Effects of all steps on them.
const MAX_EFFECTS: usize = 2_000_000;

/// The effect that an action has by its meaning: on what, of which line, which.
pub(super) fn own_effect(
    action: &Action<Template>,
) -> Option<(&Template, Option<&Template>, Effect)> {
    match action {
        Action::ProviderEnable(it) => Some((&it.provider, it.line.as_ref(), Effect::Gains)),
        Action::ProviderDisable(it) => Some((&it.provider, it.line.as_ref(), Effect::Loses)),
        Action::RolePromote(it) => Some((&it.role, None, Effect::Gains)),
        Action::RoleFence(it) => Some((&it.role, None, Effect::Loses)),
        _ => None,
    }
}

/// `SERVICE@SITE/NAME` in its three parts.
pub(super) fn split_provider(name: &str) -> Option<(&str, &str, &str)> {
    let (service, place) = name.split_once('@')?;
    let (site, host) = place.split_once('/')?;
    let whole = !service.is_empty() && !site.is_empty() && !host.is_empty();
    (whole && !host.contains('/')).then_some((service, site, host))
}

/// `ROLE@SITE/LINE` or `ROLE@SITE` in its parts.
pub(super) fn split_role(name: &str) -> Option<(&str, &str, Option<&str>)> {
    let (role, place) = name.split_once('@')?;
    let (site, line) = match place.split_once('/') {
        Some((site, line)) => (site, Some(line)),
        None => (place, None),
    };
    let whole = !role.is_empty() && !site.is_empty() && line != Some("");
    (whole && !line.is_some_and(|line| line.contains('/'))).then_some((role, site, line))
}

impl<'p> Builder<'p> {
    fn error(&mut self, code: &'static str, span: Span, what: String, hint: Option<String>) {
        // A definition of a hundred instances has its fault told once.
        if self.told.insert((span.start as usize, what.clone())) {
            let mut fault = Fault::error(code, span, what);
            fault.hint = hint;
            self.faults.push(fault);
        }
    }

    fn declared(&mut self, estate: Option<&Estate>) {
        for (index, protect) in self.plan.protect.iter().enumerate() {
            let name = &protect.service;
            if self.protects.insert(&name.value, index).is_some() {
                let what = format!("service `{}` is protected twice", name.value);
                self.error("duplicate-name", name.span, what, None);
            }
            if protect.per_line && self.plan.lines.is_empty() {
                let what =
                    format!("`{}` is protected per line, and the plan has no lines", name.value);
                self.error("no-lines", name.span, what, Some("add `lines:`".into()));
            }
            self.serving(index, estate);
        }
        for (index, exclusive) in self.plan.exclusive.iter().enumerate() {
            let name = &exclusive.role;
            let doubled = self.exclusives.insert(&name.value, index).is_some();
            if doubled || self.protects.contains_key(name.value.as_str()) {
                let what =
                    format!("`{}` is named twice under `protect` and `exclusive`", name.value);
                self.error("duplicate-name", name.span, what, None);
            }
            if exclusive.per_line && self.plan.lines.is_empty() {
                let what =
                    format!("`{}` is exclusive per line, and the plan has no lines", name.value);
                self.error("no-lines", name.span, what, Some("add `lines:`".into()));
            }
            if let Some(holder) = &exclusive.holder {
                self.sites[index].push(holder.value.clone());
            }
        }
    }

    /// Who serves a protected service at the start: as the plan says, else the estate: all of its
    /// providers at the site `from`, or at every site when that has none.
    fn serving(&mut self, index: usize, estate: Option<&Estate>) {
        let protect = &self.plan.protect[index];
        if let Some(listed) = &protect.providers {
            for provider in listed {
                let name = &provider.value;
                match split_provider(name) {
                    Some((service, ..)) if service == protect.service.value => {
                        if self.base_ids.contains_key(name) {
                            let what = format!("provider `{name}` is listed twice");
                            self.error("duplicate-name", provider.span, what, None);
                        } else {
                            self.base(index, name, true);
                        }
                    }
                    Some((service, ..)) => {
                        let what = format!(
                            "provider `{name}` of service `{service}` is listed under `{}`",
                            protect.service.value
                        );
                        self.error("wrong-service", provider.span, what, None);
                    }
                    None => self.malformed(name, provider.span, "SERVICE@SITE/NAME"),
                }
            }
            return;
        }
        if estate.is_none() {
            let what = format!(
                "who serves `{}` at the start is not known without `providers:` or an estate",
                protect.service.value
            );
            let fault = Fault::warning("start-unknown", protect.service.span, what)
                .hint("list them under `providers:`, or check with `--estate`");
            self.faults.push(fault);
        }
        let service = &protect.service.value;
        let at = |from_only: bool| -> Vec<String> {
            let sites = estate.into_iter().flat_map(|estate| &estate.sites);
            sites
                .filter(|(site, _)| !from_only || site.as_str() == "from")
                .filter_map(|(site, it)| it.services.get(service).map(|found| (site, found)))
                .flat_map(|(site, found)| {
                    found.providers.keys().map(move |name| format!("{service}@{site}/{name}"))
                })
                .collect()
        };
        let mut found = at(true);
        if found.is_empty() {
            found = at(false);
        }
        for name in found {
            self.base(index, &name, true);
        }
    }

    fn malformed(&mut self, name: &str, span: Span, form: &str) {
        let what = format!("`{name}` is not of the form `{form}`");
        self.error("bad-name", span, what, None);
    }

    fn base(&mut self, protect: usize, name: &str, serving: bool) -> usize {
        if let Some((_, base)) = self.base_ids.get(name) {
            return *base;
        }
        let base = self.bases[protect].len();
        self.bases[protect].push((name.to_owned(), serving));
        self.base_ids.insert(name.to_owned(), (protect, base));
        base
    }

    fn step(&mut self, step: StepId) {
        let plan = self.plan;
        let def = &plan.steps[self.shape.def_index(step)];
        if let Work::Act { act, .. } = &def.work
            && let Some((name, line, effect)) = own_effect(act)
        {
            self.effect(step, name, line, effect, true);
        }
        if let (Work::Act { act, .. }, Some(estate)) = (&def.work, self.estate) {
            for it in super::derived::effects(plan, self.shape, estate, step, act) {
                let line = Some(it.line);
                self.effect_on(step, &it.provider, line, (it.effect, true), it.span);
            }
        }
        if let Some(effects) = &def.effects {
            let kinds = [
                (&effects.loses, Effect::Loses),
                (&effects.gains, Effect::Gains),
                (&effects.disturbs, Effect::Disturbs),
            ];
            for (names, effect) in kinds {
                for name in names {
                    self.effect(step, name, None, effect, false);
                }
            }
        }
    }

    fn effect(
        &mut self,
        step: StepId,
        template: &Template,
        line: Option<&Template>,
        effect: Effect,
        own: bool,
    ) {
        let span = template.span;
        if has_output(template) {
            let what = "an effect cannot depend on what a step prints".to_owned();
            self.error("output-in-effect", span, what, None);
            return;
        }
        let Ok(name) = fill_names(self.plan, self.shape, step, template) else {
            return; // told by the check of look-ups
        };
        let line = line.and_then(|line| fill_names(self.plan, self.shape, step, line).ok());
        self.effect_on(step, &name, line, (effect, own), span);
    }

    /// The same of what has its name already; `own` is whether the action itself means it.
    fn effect_on(
        &mut self,
        step: StepId,
        name: &str,
        line: Option<String>,
        (effect, own): (Effect, bool),
        span: Span,
    ) {
        let (base, bracket) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((base, line)) => (base.to_owned(), Some(line.to_owned())),
            None => (name.to_owned(), None),
        };
        let service = base.split('@').next().unwrap_or_default();
        if let Some(&protect) = self.protects.get(service) {
            if split_provider(&base).is_none() {
                return; // `bind` tells
            }
            let per_line = self.plan.protect[protect].per_line;
            let Ok(line) = self.line_of(step, bracket.or(line), per_line, span) else { return };
            let base = self.base(protect, &base, false);
            let target = Target::Provider(protect, base);
            self.keep(per_line, Raw { step, target, line, effect, span, own });
        } else if let Some(&exclusive) = self.exclusives.get(service) {
            let Some((_, site, written)) = split_role(&base) else {
                return; // `bind` tells
            };
            let per_line = self.plan.exclusive[exclusive].per_line;
            if !per_line && written.is_some() {
                let what =
                    format!("`{base}` names a line, but `{service}` is not exclusive per line");
                return self.error("not-per-line", span, what, Some("say `per: line`".into()));
            }
            if written.is_some_and(|line| !self.shape.lines.contains_key(line)) {
                return; // `bind` tells
            }
            let written = written.map(str::to_owned);
            let Ok(line) = self.line_of(step, written, per_line, span) else { return };
            let place = self.sites[exclusive].iter().position(|known| known == site);
            let place = place.unwrap_or_else(|| {
                self.sites[exclusive].push(site.to_owned());
                self.sites[exclusive].len() - 1
            });
            let target = Target::Role(exclusive, place);
            self.keep(per_line, Raw { step, target, line, effect, span, own });
        } else {
            self.stranger(&base, service.to_owned(), span, own);
        }
    }

    fn keep(&mut self, per_line: bool, raw: Raw) {
        let of_all = per_line && raw.line.is_none();
        self.effects += if of_all { self.plan.lines.len() } else { 1 };
        if self.effects > MAX_EFFECTS {
            let what = format!("the steps have more than {MAX_EFFECTS} effects in all");
            let hint = "let fewer steps say `effects`, or make several plans of it";
            return self.error("too-many-effects", raw.span, what, Some(hint.into()));
        }
        self.raw.push(raw);
    }

    /// Whether the tables would be large; a small file must not make them so.
    fn is_too_large(&mut self) -> bool {
        let plan = self.plan;
        let times = |per_line: bool| if per_line { plan.lines.len() } else { 1 };
        // Each service and role has a row of its own, beside those of its providers and sites.
        let services = plan.protect.iter().zip(&self.bases);
        let services = services.map(|(it, of)| (&it.service, times(it.per_line) * (1 + of.len())));
        let roles = plan.exclusive.iter().zip(&self.sites);
        let roles = roles.map(|(it, of)| (&it.role, times(it.per_line) * (1 + of.len())));
        let counted: Vec<_> = services.chain(roles).collect();
        let things: usize = counted.iter().map(|(_, number)| number).sum();
        let Some((largest, _)) = counted.iter().max_by_key(|(_, number)| *number) else {
            return false;
        };
        if things > MAX_THINGS {
            let what = format!(
                "services, providers and roles, one for each line, are {things} in all; more than {MAX_THINGS} are refused"
            );
            self.error("too-many-providers", largest.span, what, None);
        }
        things > MAX_THINGS
    }

    /// An effect on what is neither protected nor exclusive: written ones are mistakes; an action's
    /// own is nobody's business, unless it looks like a slip of the pen.
    fn stranger(&mut self, name: &str, service: String, span: Span, own: bool) {
        let known: Vec<&str> = self
            .protects
            .keys()
            .chain(self.exclusives.keys())
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if own && near(&service, known.iter().copied()).is_none() {
            return;
        }
        let what =
            format!("`{name}`: `{service}` is neither under `protect` nor under `exclusive`");
        let hint = suggest(&service, known.into_iter(), "protected services and exclusive roles");
        self.error("unknown-service", span, what, Some(hint));
    }

    /// The line that an effect concerns: as written, else the step's; none is every line.
    fn line_of(
        &mut self,
        step: StepId,
        written: Option<String>,
        per_line: bool,
        span: Span,
    ) -> Result<Option<LineId>, ()> {
        if let Some(written) = written {
            let Some(line) = self.shape.lines.get(&written).copied() else {
                let known = self.plan.lines.iter().map(|line| line.name.value.as_str());
                let hint = suggest(&written, known, "lines");
                self.error(
                    "unknown-line",
                    span,
                    format!("there is no line `{written}`"),
                    Some(hint),
                );
                return Err(());
            };
            return Ok(per_line.then_some(line));
        }
        Ok(self.shape.line(step).filter(|_| per_line))
    }

    fn finish(mut self) -> Names {
        let plan = self.plan;
        let mut names = Names {
            providers: Vec::new(),
            provider_ids: BTreeMap::new(),
            services: Vec::new(),
            roles: Vec::new(),
            effects: Rows::with_capacity(self.shape.len()),
            role_effects: Rows::with_capacity(self.shape.len()),
        };
        let lines_of = |per_line: bool| -> Vec<Option<LineId>> {
            if per_line {
                (0..plan.lines.len() as u32).map(|line| Some(LineId(line))).collect()
            } else {
                vec![None]
            }
        };
        let mut first_provider = Vec::new();
        for (index, protect) in plan.protect.iter().enumerate() {
            first_provider.push(names.providers.len());
            let lines = lines_of(protect.per_line);
            let first_service = names.services.len();
            for line in &lines {
                names.services.push(ServiceInfo {
                    name: of_line(plan, &protect.service.value, *line),
                    protect: index as u32,
                    line: *line,
                    providers: Vec::new(),
                });
            }
            for (base, serving) in &self.bases[index] {
                for (place, line) in lines.iter().enumerate() {
                    let id = ProviderId(names.providers.len() as u32);
                    let service = first_service + place;
                    names.services[service].providers.push(id);
                    let name = of_line(plan, base, *line);
                    names.provider_ids.insert(name.clone(), id);
                    names.providers.push(ProviderInfo {
                        name,
                        base: base.clone(),
                        service: ServiceId(service as u32),
                        line: *line,
                        serving_at_start: *serving,
                    });
                }
            }
        }
        let first_role = self.roles(&mut names, &lines_of);
        self.rows(&mut names, &first_provider, &first_role);
        names
    }

    fn roles(
        &self,
        names: &mut Names,
        lines_of: &dyn Fn(bool) -> Vec<Option<LineId>>,
    ) -> Vec<usize> {
        let mut first_role = Vec::new();
        for (index, exclusive) in self.plan.exclusive.iter().enumerate() {
            first_role.push(names.roles.len());
            for site in &self.sites[index] {
                for line in lines_of(exclusive.per_line) {
                    let role = &exclusive.role.value;
                    let name = match line {
                        Some(line) => {
                            format!("{role}@{site}/{}", self.plan.lines[line.index()].name.value)
                        }
                        None => format!("{role}@{site}"),
                    };
                    let held =
                        exclusive.holder.as_ref().is_some_and(|holder| holder.value == *site);
                    names.roles.push(RoleInfo {
                        name,
                        exclusive: index as u32,
                        line,
                        held_at_start: held,
                    });
                }
            }
        }
        first_role
    }

    fn rows(&mut self, names: &mut Names, first_provider: &[usize], first_role: &[usize]) {
        let plan = self.plan;
        let lines = plan.lines.len();
        let raw = std::mem::take(&mut self.raw);
        let mut next = raw.into_iter().peekable();
        let mut here: Vec<(ProviderId, Effect, bool, Span)> = Vec::new();
        let mut roles: Vec<(RoleId, Effect, bool, Span)> = Vec::new();
        for step in (0..self.shape.len() as u32).map(StepId) {
            while let Some(raw) = next.next_if(|raw| raw.step == step) {
                let (first, per_line) = match raw.target {
                    Target::Provider(protect, base) => {
                        let per_line = plan.protect[protect].per_line;
                        (
                            first_provider[protect] + base * if per_line { lines } else { 1 },
                            per_line,
                        )
                    }
                    Target::Role(exclusive, site) => {
                        let per_line = plan.exclusive[exclusive].per_line;
                        (first_role[exclusive] + site * if per_line { lines } else { 1 }, per_line)
                    }
                };
                let ids = match (per_line, raw.line) {
                    (false, _) => first..first + 1,
                    (true, Some(line)) => first + line.index()..first + line.index() + 1,
                    (true, None) => first..first + lines,
                };
                for id in ids {
                    match raw.target {
                        Target::Provider(..) => {
                            here.push((ProviderId(id as u32), raw.effect, raw.own, raw.span));
                        }
                        Target::Role(..) => {
                            roles.push((RoleId(id as u32), raw.effect, raw.own, raw.span));
                        }
                    }
                }
            }
            let name = |id: ProviderId| names.providers[id.index()].name.clone();
            for (id, effect) in self.once(step, &mut here, &name) {
                names.effects.push((id, effect));
            }
            names.effects.end_row();
            let name = |id: RoleId| names.roles[id.0 as usize].name.clone();
            for (id, effect) in self.once(step, &mut roles, &name) {
                names.role_effects.push((id, effect));
            }
            names.role_effects.end_row();
        }
    }

    /// Each thing once. That a plan repeats what its action does anyway is no fault.
    fn once<T: Copy + Ord>(
        &mut self,
        step: StepId,
        here: &mut Vec<(T, Effect, bool, Span)>,
        name: &dyn Fn(T) -> String,
    ) -> Vec<(T, Effect)> {
        here.sort_by_key(|(id, ..)| *id);
        let mut kept: Vec<(T, Effect, bool)> = Vec::with_capacity(here.len());
        for (id, effect, own, span) in here.drain(..) {
            match kept.last() {
                Some((last, was, was_own)) if *last == id => {
                    if *was != effect || *was_own == own {
                        let def = &self.plan.steps[self.shape.def_index(step)];
                        let what = format!(
                            "step `{}` names `{}` twice among its effects",
                            def.name.value,
                            name(id)
                        );
                        let hint =
                            "a step loses, gains or disturbs a thing, one of the three".into();
                        self.error("effect-twice", span, what, Some(hint));
                    }
                }
                _ => kept.push((id, effect, own)),
            }
        }
        kept.into_iter().map(|(id, effect, _)| (id, effect)).collect()
    }
}

fn of_line(plan: &Plan, name: &str, line: Option<LineId>) -> String {
    match line {
        Some(line) => format!("{name}[{}]", plan.lines[line.index()].name.value),
        None => name.to_owned(),
    }
}
