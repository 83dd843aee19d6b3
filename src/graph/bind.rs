//! Every name looked up in the estate: sites, hosts, routes, databases, roles, providers, channels,
//! groups. Without an estate only the form of names is judged.

use super::fill::{fill_names, has_output};
use super::names::{Names, own_effect, split_provider, split_role};
use super::shape::Shape;
use super::{listed, suggest, walk};
use crate::action::Action;
use crate::estate::{Estate, Issuers, Site};
use crate::event::StepId;
use crate::plan::template::Template;
use crate::plan::{Plan, StepDef, Work};
use crate::text::fault::{Fault, Severity};
use crate::text::{Span, Spanned};
use std::collections::{BTreeMap, BTreeSet};

/// After so many errors the rest is not looked at, and so many warnings are told: a step of a million
/// instances may have a different one in each.
const MAX_TOLD: usize = 1000;

/// Looks up every name.
pub(super) fn check(
    plan: &Plan,
    shape: &Shape,
    names: &Names,
    estate: Option<&Estate>,
    faults: &mut Vec<Fault>,
) {
    let bearing = bearing(plan, names, estate);
    let told = BTreeSet::new();
    let mut binder = Binder { plan, shape, estate, bearing, told, errors: 0, faults };
    binder.declared();
    for (def, span) in plan.steps.iter().zip(&shape.spans) {
        binder.people(def);
        for action in walk::actions(def) {
            // What depends on no variable is the same for every instance.
            let varies = walk::texts(action).iter().any(|text| varies(text));
            for step in span.ids().take(if varies { usize::MAX } else { 1 }) {
                if binder.errors >= MAX_TOLD {
                    return;
                }
                binder.action(def, step, action);
            }
        }
        if let Some(effects) = &def.effects {
            for text in effects.loses.iter().chain(&effects.gains).chain(&effects.disturbs) {
                for step in span.ids().take(if varies(text) { usize::MAX } else { 1 }) {
                    if binder.errors >= MAX_TOLD {
                        return;
                    }
                    binder.effect(def, step, text);
                }
            }
        }
    }
}

fn varies(text: &Template) -> bool {
    use crate::plan::template::Piece;
    text.pieces.iter().any(|piece| !matches!(piece, Piece::Text(_) | Piece::PlanFact(_)))
}

/// `SITE/HOST` to the providers of protected services that it bears.
fn bearing(plan: &Plan, names: &Names, estate: Option<&Estate>) -> BTreeMap<String, Vec<String>> {
    let mut bearing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(estate) = estate else {
        for provider in &names.providers {
            if let Some((_, place)) = provider.base.split_once('@') {
                let bears = bearing.entry(place.to_owned()).or_default();
                if !bears.contains(&provider.base) {
                    bears.push(provider.base.clone());
                }
            }
        }
        return bearing;
    };
    for (site_name, site) in &estate.sites {
        for protect in &plan.protect {
            let service = &protect.service.value;
            let providers = site.services.get(service).into_iter().flat_map(|it| &it.providers);
            for (name, provider) in providers {
                let host = provider.host.as_ref().unwrap_or(name);
                let bears = bearing.entry(format!("{site_name}/{host}")).or_default();
                bears.push(format!("{service}@{site_name}/{name}"));
            }
        }
    }
    bearing
}

struct Binder<'p> {
    plan: &'p Plan,
    shape: &'p Shape,
    estate: Option<&'p Estate>,
    bearing: BTreeMap<String, Vec<String>>,
    told: BTreeSet<(Span, String)>,
    errors: usize,
    faults: &'p mut Vec<Fault>,
}

impl<'p> Binder<'p> {
    fn error(&mut self, code: &'static str, span: Span, what: String, hint: String) {
        self.tell(Fault::error(code, span, what).hint(hint));
    }

    /// A definition of a hundred instances has its fault told once.
    fn tell(&mut self, fault: Fault) {
        let is_error = fault.severity == Severity::Error;
        if !is_error && self.told.len() >= MAX_TOLD {
            return;
        }
        self.errors += usize::from(is_error);
        if self.told.insert((fault.span.unwrap_or_default(), fault.what.clone())) {
            self.faults.push(fault);
        }
    }

    /// What the plan says outside of steps.
    fn declared(&mut self) {
        let Some(estate) = self.estate else { return };
        let plan = self.plan;
        for protect in &plan.protect {
            for provider in protect.providers.iter().flatten() {
                if split_provider(&provider.value).is_some() {
                    self.provider("the plan", &provider.value, provider.span);
                }
            }
            self.issuers(estate, protect);
        }
        for exclusive in &plan.exclusive {
            if let Some(holder) = &exclusive.holder {
                let name = format!("{}@{}", exclusive.role.value, holder.value);
                self.role("the plan", &name, holder.span);
            }
        }
    }

    fn issuers(&mut self, estate: &Estate, protect: &crate::plan::Protect) {
        let service = &protect.service.value;
        let mut found = false;
        for (site, it) in &estate.sites {
            let Some(bound) = it.services.get(service) else { continue };
            found = true;
            let Issuers::ByLine(by_line) = &bound.issuers else { continue };
            let lines = self.plan.lines.iter().map(|line| line.name.value.as_str());
            let without: Vec<&str> = lines.filter(|line| !by_line.contains_key(*line)).collect();
            if protect.per_line && !without.is_empty() {
                let what = format!(
                    "`{service}` is protected per line, and site `{site}` names no issuer for {}",
                    listed(&without)
                );
                let hint = "the guard could not ask: add them to the estate's `issuers`".into();
                self.error("no-issuer", protect.service.span, what, hint);
            }
        }
        if !found {
            let known: BTreeSet<&str> = estate
                .sites
                .values()
                .flat_map(|site| site.services.keys())
                .map(String::as_str)
                .collect();
            let what = format!("no site of the estate has the protected service `{service}`");
            let hint = suggest(service, known.into_iter(), "services");
            self.error("unknown-service", protect.service.span, what, hint);
        }
    }

    fn people(&mut self, def: &StepDef) {
        match &def.work {
            Work::Ask(gate) => {
                let by: Vec<(&str, Span)> =
                    gate.by.iter().map(|group| (group.value.as_str(), group.span)).collect();
                self.groups(def, &by, gate.quorum);
            }
            Work::Act { .. } => {
                for action in walk::actions(def) {
                    if let Action::Manual(manual) = action {
                        let by: Vec<(&str, Span)> = manual
                            .by
                            .iter()
                            .map(|group| (group.as_str(), manual.how.span))
                            .collect();
                        self.groups(def, &by, manual.people);
                    }
                }
            }
        }
    }

    /// Groups exist, and are large enough for as many different people as are asked for.
    fn groups(&mut self, def: &StepDef, by: &[(&str, Span)], wanted: u32) {
        let Some(estate) = self.estate else { return };
        let mut people: BTreeSet<&str> = BTreeSet::new();
        let mut complete = true;
        for (group, span) in by {
            match estate.people.get(*group) {
                Some(members) => {
                    people.extend(members.iter().map(String::as_str));
                    if members.is_empty() {
                        let what = format!(
                            "step `{}` asks group `{group}`, in which the estate has nobody",
                            def.name.value
                        );
                        self.error(
                            "too-few-people",
                            *span,
                            what,
                            "name somebody in `people`".into(),
                        );
                        complete = false;
                    }
                }
                None => {
                    let what = format!("step `{}` asks unknown group `{group}`", def.name.value);
                    let known = estate.people.keys().map(String::as_str);
                    self.error("unknown-group", *span, what, suggest(group, known, "groups"));
                    complete = false;
                }
            }
        }
        if by.is_empty() {
            people.extend(estate.people.values().flatten().map(String::as_str));
            complete &= !people.is_empty(); // anyone on the machine, then
        }
        if complete && (people.len() as u64) < u64::from(wanted) {
            let what = format!(
                "step `{}` asks for {wanted} different people, and its groups have {}: it could never end",
                def.name.value,
                people.len()
            );
            let hint = "ask for fewer, or name more people in the estate's `people`".into();
            self.error(
                "too-few-people",
                by.first().map_or(def.name.span, |(_, span)| *span),
                what,
                hint,
            );
        }
    }

    fn fill(&self, step: StepId, text: &Template) -> Option<String> {
        if has_output(text) {
            return None; // known only when it is printed; the executor says then
        }
        fill_names(self.plan, self.shape, step, text).ok()
    }

    fn action(&mut self, def: &'p StepDef, step: StepId, action: &'p Action<Template>) {
        let who = format!("step `{}`", def.name.value);
        match action {
            Action::Run(it) => self.at(def, step, it.at.as_ref()),
            Action::Script(it) => self.at(def, step, it.at.as_ref()),
            Action::EdgeClose(it) => self.routes(&who, step, &it.site, &it.line, &it.routes),
            Action::EdgeOpen(it) => self.routes(&who, step, &it.site, &it.line, &it.routes),
            Action::DatabaseSnapshot(it) | Action::DatabaseDropSnapshot(it) => {
                self.database(&who, step, &it.site, &it.database);
            }
            Action::DatabaseTransfer(it) | Action::DatabaseDiscard(it) => {
                self.database(&who, step, &it.from, &it.database);
                self.database(&who, step, &it.to, &it.database);
                self.apart(&who, step, &it.from, &it.to);
            }
            Action::DatabaseVerify(it) => {
                self.database(&who, step, &it.from, &it.database);
                self.database(&who, step, &it.to, &it.database);
                self.apart(&who, step, &it.from, &it.to);
            }
            Action::OrdersPause(it) => self.orders(&who, step, &it.site, &it.line),
            Action::OrdersResume(it) => self.orders(&who, step, &it.site, &it.line),
            Action::ProviderEnable(it) | Action::ProviderDisable(it) => {
                if let Some(name) = self.fill(step, &it.provider) {
                    self.switched(&who, &name, it.provider.span);
                }
            }
            Action::RoleFence(it) | Action::RolePromote(it) => {
                if let Some(name) = self.fill(step, &it.role) {
                    self.role(&who, &name, it.role.span);
                }
            }
            Action::Notify(it) => self.channels(&who, step, &it.to),
            Action::Http(_) | Action::Manual(_) => {}
        }
    }

    fn effect(&mut self, def: &StepDef, step: StepId, text: &Template) {
        let Some(name) = self.fill(step, text) else { return };
        let name = name.split_once('[').map_or(name.as_str(), |(base, _)| base);
        let who = format!("step `{}`", def.name.value);
        let service = name.split('@').next().unwrap_or_default();
        if self.plan.exclusive.iter().any(|exclusive| exclusive.role.value == service) {
            self.role(&who, name, text.span);
        } else {
            self.provider(&who, name, text.span);
        }
    }

    fn site(&mut self, who: &str, site: &str, span: Span) -> Option<&'p Site> {
        let estate = self.estate?;
        let found = estate.sites.get(site).map(|site| &site.value);
        if found.is_none() {
            let known = estate.sites.keys().map(String::as_str);
            let hint = suggest(site, known, "sites");
            self.error("unknown-site", span, format!("{who} names unknown site `{site}`"), hint);
        }
        found
    }

    fn known_line(&mut self, who: &str, step: StepId, line: &Template) {
        let Some(name) = self.fill(step, line) else { return };
        if !self.plan.lines.is_empty() && !self.shape.lines.contains_key(&name) {
            let known = self.plan.lines.iter().map(|line| line.name.value.as_str());
            let hint = suggest(&name, known, "lines");
            self.error(
                "unknown-line",
                line.span,
                format!("{who} names unknown line `{name}`"),
                hint,
            );
        }
    }

    fn at(&mut self, def: &StepDef, step: StepId, at: Option<&Template>) {
        let Some(at) = at else { return };
        let Some(place) = self.fill(step, at) else { return };
        let name = &def.name.value;
        let parts = place
            .split_once('/')
            .filter(|(site, host)| !site.is_empty() && !host.is_empty() && !host.contains('/'));
        let Some((site, host)) = parts else {
            let what =
                format!("step `{name}` runs at `{place}`, which is not of the form `SITE/HOST`");
            self.error("bad-name", at.span, what, "`at: to/ocsp-1`".into());
            return;
        };
        if let Some(found) = self.site(&format!("step `{name}`"), site, at.span)
            && !found.hosts.contains_key(host)
        {
            let what = format!("step `{name}` runs on `{host}`, a host that site `{site}` has not");
            let hint = suggest(host, found.hosts.keys().map(String::as_str), "hosts");
            self.error("unknown-host", at.span, what, hint);
        }
        let own = matches!(&def.work, Work::Act { act, .. } if own_effect(act).is_some());
        if def.effects.is_some() || own {
            return;
        }
        let Some(bears) = self.bearing.get(&place) else {
            if self.estate.is_none() && !self.plan.protect.is_empty() {
                self.tell(unknown_host(name, &place, at.span));
            }
            return;
        };
        let bears: Vec<&str> = bears.iter().map(String::as_str).collect();
        let what = format!(
            "step `{name}` runs on `{place}`, which bears {}, and does not say what it does to it",
            listed(&bears)
        );
        let mut fault = Fault::error("effects-unsaid", at.span, what).hint(format!(
            "`effects: {{ disturbs: [\"{}\"] }}` if it is down meanwhile, `effects: {{}}` if not",
            bears.first().copied().unwrap_or_default()
        ));
        if self.estate.is_none() {
            fault.severity = Severity::Warning; // the host's name alone says so
        }
        self.tell(fault);
    }

    fn routes(
        &mut self,
        who: &str,
        step: StepId,
        site: &Template,
        line: &Template,
        routes: &'p [Template],
    ) {
        self.known_line(who, step, line);
        let Some(name) = self.fill(step, site) else { return };
        let Some(found) = self.site(who, &name, site.span) else { return };
        let Some(edge) = &found.edge else {
            let what = format!("{who} turns to the edge of site `{name}`, which has none");
            self.error("unknown-edge", site.span, what, "add `edge:` to the estate's site".into());
            return;
        };
        for route in routes {
            let Some(route_name) = self.fill(step, route) else { continue };
            let Some(path) = edge.routes.get(&route_name) else {
                let what =
                    format!("{who} names route `{route_name}`, which the edge of `{name}` has not");
                let hint = suggest(&route_name, edge.routes.keys().map(String::as_str), "routes");
                self.error("unknown-route", route.span, what, hint);
                continue;
            };
            // `/{line}` would take `/{line}/ocsp` with it.
            let under = |other: &str| {
                let rest = other.strip_prefix(path.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some((service, _)) = edge.protected.iter().find(|(_, path)| under(path)) {
                let what = format!(
                    "{who} closes or opens route `{route_name}` of `{name}`, under which protected `{service}` answers"
                );
                let hint = "a protected path stays open: give it a path of its own".into();
                self.error("protected-route", route.span, what, hint);
            }
        }
    }

    fn database(&mut self, who: &str, step: StepId, site: &Template, database: &Template) {
        let Some(site_name) = self.fill(step, site) else { return };
        let Some(found) = self.site(who, &site_name, site.span) else { return };
        let Some(name) = self.fill(step, database) else { return };
        if !found.databases.contains_key(&name) {
            let what = format!("{who} names database `{name}`, which site `{site_name}` has not");
            let hint = suggest(&name, found.databases.keys().map(String::as_str), "databases");
            self.error("unknown-database", database.span, what, hint);
        }
    }

    fn apart(&mut self, who: &str, step: StepId, from: &Template, to: &Template) {
        if let (Some(source), Some(target)) = (self.fill(step, from), self.fill(step, to))
            && source == target
        {
            let what = format!("{who} goes from `{source}` to `{target}`, the same site");
            self.error("same-site", to.span, what, "source and target are two sites".into());
        }
    }

    fn orders(&mut self, who: &str, step: StepId, site: &Template, line: &Template) {
        self.known_line(who, step, line);
        let Some(name) = self.fill(step, site) else { return };
        let Some(found) = self.site(who, &name, site.span) else { return };
        if found.orders.is_none() {
            let what = format!("{who} turns to the order queue of site `{name}`, which has none");
            let hint = "add `orders: { table: NAME }` to the estate's site".into();
            self.error("unknown-orders", site.span, what, hint);
            return;
        }
        self.database(who, step, site, line);
    }

    fn channels(&mut self, who: &str, step: StepId, to: &[Template]) {
        let Some(estate) = self.estate else { return };
        for channel in to {
            let Some(name) = self.fill(step, channel) else { continue };
            if !estate.channels.contains_key(&name) {
                let what = format!("{who} names unknown channel `{name}`");
                let hint = suggest(&name, estate.channels.keys().map(String::as_str), "channels");
                self.error("unknown-channel", channel.span, what, hint);
            }
        }
    }

    /// A provider that is switched needs a switch; any other need only exist.
    fn switched(&mut self, who: &str, name: &str, span: Span) {
        let Some(found) = self.provider(who, name, span) else { return };
        if found.switch.is_none() {
            let what = format!("{who} switches `{name}`, and the estate does not say how");
            let hint = "give it `admin:`, or `enable`, `disable` and `is_enabled`".into();
            self.error("no-switch", span, what, hint);
        }
    }

    fn provider(
        &mut self,
        who: &str,
        name: &str,
        span: Span,
    ) -> Option<&'p crate::estate::Provider> {
        let Some((service, site, host)) = split_provider(name) else {
            let what =
                format!("{who} names `{name}`, which is not of the form `SERVICE@SITE/NAME`");
            self.error("bad-name", span, what, "`ocsp@to/ocsp-1`".into());
            return None;
        };
        let found = self.site(who, site, span)?;
        let Some(bound) = found.services.get(service) else {
            let what = format!("{who} names `{name}`: site `{site}` has no service `{service}`");
            let hint = suggest(service, found.services.keys().map(String::as_str), "services");
            self.error("unknown-service", span, what, hint);
            return None;
        };
        let provider: Option<&Spanned<_>> = bound.providers.get(host);
        if provider.is_none() {
            let what = format!("{who} names `{name}`: `{service}` at `{site}` has no `{host}`");
            let hint = suggest(host, bound.providers.keys().map(String::as_str), "providers");
            self.error("unknown-provider", span, what, hint);
        }
        provider.map(|provider| &provider.value)
    }

    fn role(&mut self, who: &str, name: &str, span: Span) {
        let Some((role, site, line)) = split_role(name) else {
            let what = format!("{who} names `{name}`, which is not of the form `ROLE@SITE/LINE`");
            self.error("bad-name", span, what, "`writer@to/geotrust`".into());
            return;
        };
        if let Some(line) = line
            && !self.shape.lines.contains_key(line)
        {
            let known = self.plan.lines.iter().map(|line| line.name.value.as_str());
            let hint = suggest(line, known, "lines");
            self.error("unknown-line", span, format!("{who} names unknown line `{line}`"), hint);
        }
        let Some(found) = self.site(who, site, span) else { return };
        if !found.roles.contains_key(role) {
            let what = format!("{who} names `{name}`: site `{site}` has no role `{role}`");
            let hint = suggest(role, found.roles.keys().map(String::as_str), "roles");
            self.error("unknown-role", span, what, hint);
        }
    }
}

/// Without an estate nobody can tell whether a host bears a protected provider.
fn unknown_host(step: &str, place: &str, span: Span) -> Fault {
    let what = format!(
        "step `{step}` runs on `{place}` and says no effects: whether a protected provider stands there is not known without an estate"
    );
    Fault::warning("effects-unsaid", span, what)
        .hint("`effects: {}` if it takes nothing away, or check with `--estate`")
}

/// What makes a plan need an estate: the first thing of an estate that it names.
pub(super) fn needs_estate(plan: &Plan) -> Option<String> {
    if let Some(protect) = plan.protect.first() {
        return Some(format!("the plan protects `{}`", protect.service.value));
    }
    if let Some(exclusive) = plan.exclusive.first() {
        return Some(format!("the plan names the role `{}`", exclusive.role.value));
    }
    plan.steps.iter().find_map(|def| {
        let what = match &def.work {
            Work::Ask(gate) if !gate.by.is_empty() => Some("asks a group of people"),
            Work::Ask(_) => None,
            Work::Act { .. } => walk::actions(def).into_iter().find_map(names_estate),
        };
        what.map(|what| format!("step `{}` {what}", def.name.value))
    })
}

fn names_estate(action: &Action<Template>) -> Option<&'static str> {
    match action {
        Action::Run(it) => it.at.as_ref().map(|_| "runs on a host of a site"),
        Action::Script(it) => it.at.as_ref().map(|_| "runs on a host of a site"),
        Action::Manual(it) => (!it.by.is_empty()).then_some("asks a group of people"),
        Action::Http(_) => None,
        Action::Notify(_) => Some("sends to channels"),
        Action::EdgeClose(_) | Action::EdgeOpen(_) => Some("turns to the edge of a site"),
        Action::DatabaseSnapshot(_)
        | Action::DatabaseDropSnapshot(_)
        | Action::DatabaseTransfer(_)
        | Action::DatabaseDiscard(_)
        | Action::DatabaseVerify(_) => Some("names a database of a site"),
        Action::OrdersPause(_) | Action::OrdersResume(_) => Some("names the orders of a site"),
        Action::ProviderEnable(_) | Action::ProviderDisable(_) => Some("names a provider"),
        Action::RoleFence(_) | Action::RolePromote(_) => Some("names a role of a site"),
    }
}
