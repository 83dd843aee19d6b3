//! The texts of a step and of its actions, in written order.

use crate::action::{Action, Check, Undo};
use crate::plan::template::Template;
use crate::plan::{StepDef, Work};
use std::collections::BTreeMap;

/// Every text of an action that may hold a look-up.
pub(super) fn texts(action: &Action<Template>) -> Vec<&Template> {
    match action {
        Action::Run(run) => run.argv.iter().chain(&run.at).chain(run.env.values()).collect(),
        Action::Script(script) => script.at.iter().chain(script.env.values()).collect(),
        Action::Http(http) => std::iter::once(&http.url)
            .chain(values(&http.headers))
            .chain(&http.body)
            .chain(&http.contains)
            .collect(),
        Action::EdgeClose(close) => {
            [&close.site, &close.line].into_iter().chain(&close.routes).collect()
        }
        Action::EdgeOpen(open) => {
            [&open.site, &open.line].into_iter().chain(&open.routes).collect()
        }
        Action::DatabaseSnapshot(it) | Action::DatabaseDropSnapshot(it) => {
            vec![&it.site, &it.database]
        }
        Action::DatabaseTransfer(it) | Action::DatabaseDiscard(it) => {
            vec![&it.from, &it.to, &it.database]
        }
        Action::DatabaseVerify(it) => vec![&it.from, &it.to, &it.database],
        Action::OrdersPause(it) => vec![&it.site, &it.line],
        Action::OrdersResume(it) => vec![&it.site, &it.line],
        Action::ProviderEnable(it) | Action::ProviderDisable(it) => {
            std::iter::once(&it.provider).chain(&it.line).collect()
        }
        Action::RoleFence(it) | Action::RolePromote(it) => vec![&it.role],
        Action::Notify(it) => it.to.iter().collect(),
        Action::Manual(it) => vec![&it.how],
    }
}

fn values(map: &BTreeMap<String, Template>) -> impl Iterator<Item = &Template> {
    map.values()
}

/// The actions of a step: its deed, its undo, its check.
pub(super) fn actions(def: &StepDef) -> Vec<&Action<Template>> {
    let mut actions = Vec::new();
    if let Work::Act { act, undo, check } = &def.work {
        actions.push(act);
        if let Undo::By(undo) = undo {
            actions.push(undo);
        }
        if let Check::By(check) = check {
            actions.push(check);
        }
    }
    actions
}

/// Every text of a step, effects included.
pub(super) fn texts_of(def: &StepDef) -> Vec<&Template> {
    let mut all: Vec<&Template> = actions(def).into_iter().flat_map(texts).collect();
    if let Work::Ask(gate) = &def.work {
        all.push(&gate.ask);
    }
    if let Some(effects) = &def.effects {
        all.extend(effects.loses.iter().chain(&effects.gains).chain(&effects.disturbs));
    }
    all
}
