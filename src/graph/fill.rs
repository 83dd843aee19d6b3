//! Texts filled: variables, facts of lines and of the plan, outputs of steps that are needed.

use super::shape::Shape;
use super::{Graph, listed, suggest, walk};
use crate::action::Action;
use crate::event::{Outputs, StepId};
use crate::plan::template::{Piece, Template};
use crate::plan::{Plan, StepDef, Work};
use crate::text::Span;
use crate::text::fault::Fault;
use std::collections::BTreeSet;

/// The step looked at, the step that looks, and where.
pub(super) type LookUp = (StepId, StepId, Span);

/// Finds the outputs of a step, if it has any.
pub(super) type Outs<'f, 'a> = &'f dyn Fn(StepId) -> Option<&'a Outputs>;

/// Fills a text for a step.
pub(super) fn fill(
    plan: &Plan,
    shape: &Shape,
    step: StepId,
    template: &Template,
    outputs: Outs<'_, '_>,
) -> Result<String, String> {
    let def = &plan.steps[shape.def_index(step)];
    let mut filled = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable(name) => filled.push_str(variable(def, shape, step, name)?),
            Piece::LineFact(name) => filled.push_str(line_fact(plan, shape, step, name)?),
            Piece::PlanFact(name) => filled.push_str(plan_fact(plan, name)?),
            Piece::Output { step: other, output } => {
                let source = paired(plan, shape, step, other)?;
                let value = outputs(source).and_then(|outputs| outputs.get(output));
                filled.push_str(
                    value.ok_or_else(|| {
                        format!("step `{other}` has printed no output `{output}`")
                    })?,
                );
            }
        }
    }
    Ok(filled)
}

/// Fills a text that may hold no output: names of things, effects.
pub(super) fn fill_names(
    plan: &Plan,
    shape: &Shape,
    step: StepId,
    template: &Template,
) -> Result<String, String> {
    fill(plan, shape, step, template, &|_| None)
}

/// Whether a text depends on what a step will have printed.
pub(super) fn has_output(template: &Template) -> bool {
    template.pieces.iter().any(|piece| matches!(piece, Piece::Output { .. }))
}

fn variable<'p>(
    def: &'p StepDef,
    shape: &Shape,
    step: StepId,
    name: &str,
) -> Result<&'p str, String> {
    let mut places = def.over.iter().zip(shape.values(step));
    places
        .find(|(over, _)| over.variable.value == name)
        .map(|(over, place)| over.values[place].as_str())
        .ok_or_else(|| format!("step `{}` has no variable `{name}`", def.name.value))
}

fn line_fact<'p>(
    plan: &'p Plan,
    shape: &Shape,
    step: StepId,
    name: &str,
) -> Result<&'p str, String> {
    let line = shape.line(step).map(|line| &plan.lines[line.index()]);
    let line =
        line.ok_or_else(|| format!("`line.{name}` of a step without the variable `line`"))?;
    line.facts
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| format!("line `{}` says no `{name}`", line.name.value))
}

fn plan_fact<'p>(plan: &'p Plan, name: &str) -> Result<&'p str, String> {
    let fact = plan.facts.get(name).or_else(|| plan.facts.get(&format!("plan.{name}")));
    fact.map(String::as_str).ok_or_else(|| format!("the plan says no `{name}`"))
}

/// The one instance of `other` that shares every value with `step`.
pub(super) fn paired(
    plan: &Plan,
    shape: &Shape,
    step: StepId,
    other: &str,
) -> Result<StepId, String> {
    let target = shape.by_name.get(other).ok_or_else(|| format!("there is no step `{other}`"))?;
    let (theirs, target) = (&shape.spans[*target as usize], &plan.steps[*target as usize]);
    let def = &plan.steps[shape.def_index(step)];
    let mut id = theirs.first;
    for (over, digit) in target.over.iter().zip(&theirs.digits) {
        let value = variable(def, shape, step, &over.variable.value).map_err(|_| {
            format!(
                "step `{other}` fans out over `{}`, step `{}` does not: which instance is meant cannot be said",
                over.variable.value, def.name.value
            )
        })?;
        let place = digit.places.get(value);
        id += digit.stride
            * place.ok_or_else(|| format!("step `{other}` has no instance for `{value}`"))?;
    }
    Ok(StepId(id))
}

/// Output names of the built-in actions, beside what a plan catches by pattern.
fn own_outputs(def: &StepDef) -> &'static [&'static str] {
    match &def.work {
        Work::Act { act: Action::DatabaseVerify(_), .. } => {
            &["rows_source", "rows_target", "differences"]
        }
        Work::Act { act: Action::DatabaseTransfer(_), .. } => &["rows", "bytes", "digest"],
        _ => &[],
    }
}

/// Outputs that all steps together look up, each step counted once for each that it looks at.
const MAX_LOOK_UPS: usize = 2_000_000;

/// Judges every look-up of the plan, and collects (needed, needing, where) of those of outputs,
/// which must be needs, directly or through others.
pub(super) fn check(plan: &Plan, shape: &Shape, faults: &mut Vec<Fault>) -> Vec<LookUp> {
    let mut wanted = Vec::new();
    for (def, span) in plan.steps.iter().zip(&shape.spans) {
        let mut looked_at: BTreeSet<&str> = BTreeSet::new();
        for text in walk::texts_of(def) {
            let before = faults.len();
            // A text may look the same up ten thousand times.
            let mut known: Vec<&Piece> = Vec::new();
            for piece in &text.pieces {
                if matches!(piece, Piece::Text(_)) || known.contains(&piece) {
                    continue;
                }
                check_piece(plan, shape, def, text, piece, faults);
                if known.len() < 8 {
                    known.push(piece);
                }
            }
            if faults.len() > before {
                continue;
            }
            for piece in &text.pieces {
                let Piece::Output { step: other, .. } = piece else { continue };
                if !looked_at.insert(other.as_str()) {
                    continue;
                }
                if wanted.len() + span.size as usize > MAX_LOOK_UPS {
                    let what = format!("more than {MAX_LOOK_UPS} outputs are looked up in all");
                    faults.push(Fault::error("too-many-look-ups", text.span, what));
                    return wanted;
                }
                for id in span.ids() {
                    match paired(plan, shape, id, other) {
                        Ok(source) => wanted.push((source, id, text.span)),
                        Err(why) => {
                            let what = format!("a look-up of step `{}`: {why}", def.name.value);
                            faults.push(Fault::error("unknown-output", text.span, what));
                            break;
                        }
                    }
                }
            }
        }
    }
    wanted
}

/// A value can be looked up only where it is sure to be there.
pub(super) fn are_needed(
    plan: &Plan,
    shape: &Shape,
    needs: &super::rows::Rows<StepId>,
    topological: &[StepId],
    looked_up: &[LookUp],
    faults: &mut Vec<Fault>,
) {
    let pairs: Vec<(StepId, StepId)> = looked_up.iter().map(|(from, by, _)| (*from, *by)).collect();
    let needed = super::reach::ordered(needs, topological, &pairs);
    let mut told = BTreeSet::new();
    for ((from, by, span), needed) in looked_up.iter().zip(needed) {
        let (from, by) = (shape.def_index(*from), shape.def_index(*by));
        if needed || !told.insert((from, by, *span)) {
            continue;
        }
        let (from, by) = (&plan.steps[from].name.value, &plan.steps[by].name.value);
        let what = if from == by {
            format!("step `{by}` looks up an output of its own, which is not there yet")
        } else {
            format!("step `{by}` looks up an output of `{from}`, which it does not need")
        };
        let fault = Fault::error("output-not-needed", *span, what)
            .hint("look up only what a need, direct or through others, has printed");
        faults.push(fault);
    }
}

fn check_piece(
    plan: &Plan,
    shape: &Shape,
    def: &StepDef,
    text: &Template,
    piece: &Piece,
    faults: &mut Vec<Fault>,
) {
    let name = &def.name.value;
    match piece {
        Piece::Text(_) => {}
        Piece::Variable(variable) => {
            if !def.over.iter().any(|over| over.variable.value == *variable) {
                let what =
                    format!("step `{name}` looks up `{variable}`, a variable that it has not");
                let known = def.over.iter().map(|over| over.variable.value.as_str());
                let fault = Fault::error("unknown-variable", text.span, what);
                faults.push(fault.hint(suggest(variable, known, "variables of the step")));
            }
        }
        Piece::LineFact(fact) => check_line_fact(plan, shape, def, text, fact, faults),
        Piece::PlanFact(fact) => {
            if plan_fact(plan, fact).is_err() {
                let what =
                    format!("step `{name}` looks up `plan.{fact}`, which the plan does not say");
                let known = plan.facts.keys().map(|key| key.strip_prefix("plan.").unwrap_or(key));
                let fault = Fault::error("unknown-fact", text.span, what);
                faults.push(fault.hint(suggest(fact, known, "facts of the plan")));
            }
        }
        Piece::Output { step, output } => {
            let Some(&target) = shape.by_name.get(step) else {
                let what = format!("step `{name}` looks up an output of unknown step `{step}`");
                let known = plan.steps.iter().map(|step| step.name.value.as_str());
                let fault = Fault::error("unknown-step", text.span, what);
                faults.push(fault.hint(suggest(step, known, "steps")));
                return;
            };
            let target = &plan.steps[target as usize];
            let own = own_outputs(target).iter().copied();
            let known: Vec<&str> =
                own.chain(target.outputs.iter().map(|output| output.name.as_str())).collect();
            if !known.contains(&output.as_str()) {
                let what =
                    format!("step `{name}` looks up `{output}`, which `{step}` does not say");
                let fault = Fault::error("unknown-output", text.span, what);
                faults.push(fault.hint(suggest(output, known.into_iter(), "outputs of the step")));
            }
        }
    }
}

fn check_line_fact(
    plan: &Plan,
    shape: &Shape,
    def: &StepDef,
    text: &Template,
    fact: &str,
    faults: &mut Vec<Fault>,
) {
    let name = &def.name.value;
    let Some(over) = def.over.iter().find(|over| over.variable.value == "line") else {
        let what = format!("step `{name}` looks up `line.{fact}` without the variable `line`");
        faults.push(Fault::error("unknown-variable", text.span, what));
        return;
    };
    let lines = over.values.iter().filter_map(|value| shape.lines.get(value));
    let without: Vec<&str> = lines
        .map(|line| &plan.lines[line.index()])
        .filter(|line| !line.facts.contains_key(fact))
        .map(|line| line.name.value.as_str())
        .collect();
    if !without.is_empty() {
        let what = format!(
            "step `{name}` looks up `line.{fact}`, which is not said of {}",
            listed(&without)
        );
        let known = plan.lines.iter().flat_map(|line| line.facts.keys()).map(String::as_str);
        let fault = Fault::error("unknown-fact", text.span, what);
        faults.push(fault.hint(suggest(fact, known, "facts of lines")));
    }
}

impl Graph {
    /// Every look-up of an output: the step looked at, and the step that looks.
    pub(crate) fn look_ups(&self) -> &[LookUp] {
        &self.looked_up
    }
}
