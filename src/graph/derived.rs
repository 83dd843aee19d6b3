//! Effects that nobody writes down because they follow from the estate: who closes a route under
//! which a protected provider answers takes that provider away, and who opens it gives it back.

use super::fill::fill_names;
use super::shape::Shape;
use crate::action::{Action, edge};
use crate::estate::Estate;
use crate::event::StepId;
use crate::graph::Effect;
use crate::plan::Plan;
use crate::plan::template::Template;
use crate::text::Span;
use std::collections::BTreeMap;

/// What an action does to one provider (`SERVICE@SITE/NAME`) of its line.
pub(super) struct Derived {
    pub(super) provider: String,
    /// As filled; the effect concerns this line.
    pub(super) line: String,
    pub(super) effect: Effect,
    pub(super) span: Span,
}

/// What follows from a step's action, each provider once.
pub(super) fn effects(
    plan: &Plan,
    shape: &Shape,
    estate: &Estate,
    step: StepId,
    action: &Action<Template>,
) -> Vec<Derived> {
    let fill = |text: &Template| fill_names(plan, shape, step, text).ok();
    let (site, line, routes, effect) = match action {
        Action::EdgeClose(edge::Close { site, line, routes, .. }) => {
            (site, line, routes, Effect::Loses)
        }
        Action::EdgeOpen(edge::Open { site, line, routes, .. }) => {
            (site, line, routes, Effect::Gains)
        }
        _ => return Vec::new(),
    };
    let (Some(site), Some(line)) = (fill(site), fill(line)) else { return Vec::new() };
    let edge = estate.sites.get(&site).and_then(|site| site.value.edge.as_ref());
    let Some(edge) = edge.map(|edge| &edge.value) else { return Vec::new() };
    let mut found = BTreeMap::new();
    for route in routes {
        let path = fill(route).and_then(|route| edge.routes.get(&route));
        let Some(path) = path else { continue };
        let url = format!("{}{path}", edge.url.trim_end_matches('/')).replace("{line}", &line);
        for (provider, its) in providers(plan, estate) {
            if is_under(&its.replace("{line}", &line), url.trim_end_matches('/')) {
                found.entry(provider).or_insert(route.span);
            }
        }
    }
    let derived = found.into_iter().map(|(provider, span)| {
        let line = line.clone();
        Derived { provider, line, effect, span }
    });
    derived.collect()
}

/// Every provider of a protected service, with its URL.
fn providers<'e>(plan: &'e Plan, estate: &'e Estate) -> impl Iterator<Item = (String, &'e str)> {
    estate.sites.iter().flat_map(move |(site, its)| {
        let services = plan.protect.iter().filter_map(move |protect| {
            let service = &protect.service.value;
            its.value.services.get(service).map(|bound| (service, bound))
        });
        services.flat_map(move |(service, bound)| {
            let providers = bound.value.providers.iter();
            providers.map(move |(name, provider)| {
                (format!("{service}@{site}/{name}"), provider.value.url.as_str())
            })
        })
    })
}

fn is_under(url: &str, route: &str) -> bool {
    url.strip_prefix(route)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'))
}
