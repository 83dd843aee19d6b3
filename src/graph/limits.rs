//! Limits: in all, of a kind, of a named resource.

use super::{LimitId, suggest};
use crate::action::Action;
use crate::plan::{Kind, Plan, StepDef, Work};
use crate::text::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// How many at once in all, when the plan does not say.
const STEPS: u32 = 16;

/// The table, and what each definition takes of it.
#[derive(Debug)]
pub(super) struct Limits {
    /// Name and number; `steps` is the first.
    pub(super) table: Vec<(String, u32)>,
    /// By definition.
    pub(super) of_def: Vec<Vec<LimitId>>,
}

/// Builds the table.
pub(super) fn build(plan: &Plan, faults: &mut Vec<Fault>) -> Limits {
    let steps = plan.limits.get("steps").map_or(STEPS, |limit| limit.value);
    let mut table = vec![("steps".to_owned(), steps)];
    let mut ids = BTreeMap::from([("steps", LimitId(0))]);
    for (name, limit) in &plan.limits {
        if limit.value == 0 {
            let what = format!("the limit `{name}` is 0: what takes of it could never start");
            faults.push(Fault::error("limit-zero", limit.span, what));
        }
        if name != "steps" {
            ids.insert(name, LimitId(table.len() as u32));
            table.push((name.clone(), limit.value));
        }
    }
    let mut used: BTreeSet<LimitId> = BTreeSet::from([LimitId(0)]);
    let mut of_def = Vec::with_capacity(plan.steps.len());
    for def in &plan.steps {
        let mut taken = BTreeSet::new();
        for name in &def.uses {
            match ids.get(name.value.as_str()) {
                Some(id) => drop(taken.insert(*id)),
                None => faults.push(unknown(plan, def, name)),
            }
        }
        if takes_none(def) {
            taken.clear();
        } else {
            taken.insert(LimitId(0));
            taken.extend(ids.get(def.kind.name()));
        }
        used.extend(&taken);
        of_def.push(taken.into_iter().collect());
    }
    for (name, limit) in &plan.limits {
        if ids.get(name.as_str()).is_some_and(|id| !used.contains(id)) {
            faults.push(unused(name, limit.span));
        }
    }
    Limits { table, of_def }
}

/// Gates and manual steps are people's time: nothing of ours is taken up.
fn takes_none(def: &StepDef) -> bool {
    matches!(&def.work, Work::Ask(_) | Work::Act { act: Action::Manual(_), .. })
}

fn unknown(plan: &Plan, def: &StepDef, name: &crate::text::Spanned<String>) -> Fault {
    let what = format!("step `{}` uses unknown limit `{}`", def.name.value, name.value);
    let known = plan.limits.keys().map(String::as_str);
    Fault::error("unknown-limit", name.span, what).hint(suggest(&name.value, known, "limits"))
}

fn unused(name: &str, span: crate::text::Span) -> Fault {
    let what = format!("no step takes of the limit `{name}`");
    let kinds = Kind::ALL.iter().map(|(kind, _)| *kind);
    let fault = Fault::warning("unused-limit", span, what);
    match super::near(name, kinds) {
        Some(near) if near != name => fault.hint(format!("did you mean the kind `{near}`?")),
        _ => fault.hint("a limit is of a kind, or named in a step's `uses`"),
    }
}
