//! Where the instances of a definition stand: ids in written order, the last variable fastest.

use super::MAX_STEPS;
use crate::event::{LineId, StepId};
use crate::plan::{Plan, StepDef};
use crate::text::fault::Fault;
use std::collections::BTreeMap;

/// One variable of a definition, as a digit of the instance's number.
#[derive(Debug)]
pub(super) struct Digit {
    /// Number of values.
    pub(super) size: u32,
    /// How far apart neighbours along this variable are.
    pub(super) stride: u32,
    /// Value to its place; for look-ups only, never walked.
    pub(super) places: BTreeMap<String, u32>,
}

/// The instances of one definition.
#[derive(Debug)]
pub(super) struct Span {
    /// Id of the first instance.
    pub(super) first: u32,
    /// Number of instances.
    pub(super) size: u32,
    /// Its variables, in written order.
    pub(super) digits: Vec<Digit>,
    /// Which digit is `line`, and the line of each of its values.
    pub(super) line: Option<(usize, Vec<LineId>)>,
}

impl Span {
    /// Ids of all instances.
    pub(super) fn ids(&self) -> impl Iterator<Item = StepId> + Clone + use<> {
        (self.first..self.first + self.size).map(StepId)
    }
}

/// Every definition's instances.
#[derive(Debug)]
pub(super) struct Shape {
    /// By definition.
    pub(super) spans: Vec<Span>,
    /// Definition name to its place; for look-ups only.
    pub(super) by_name: BTreeMap<String, u32>,
    /// Line name to its place; for look-ups only.
    pub(super) lines: BTreeMap<String, LineId>,
    def_of: Vec<u32>,
}

impl Shape {
    /// Lays the instances of every definition out.
    pub(super) fn of(plan: &Plan, faults: &mut Vec<Fault>) -> Self {
        let mut lines = BTreeMap::new();
        for (index, line) in plan.lines.iter().enumerate() {
            if lines.insert(line.name.value.clone(), LineId(index as u32)).is_some() {
                let what = format!("line `{}` stands twice", line.name.value);
                faults.push(Fault::error("duplicate-name", line.name.span, what));
            }
        }
        let mut shape = Self {
            spans: Vec::with_capacity(plan.steps.len()),
            by_name: BTreeMap::new(),
            lines,
            def_of: Vec::new(),
        };
        for (index, def) in plan.steps.iter().enumerate() {
            let first = shape.def_of.len() as u32;
            let span = shape.span(plan, def, first, faults);
            shape.def_of.resize(shape.def_of.len() + span.size as usize, index as u32);
            shape.spans.push(span);
            if shape.by_name.insert(def.name.value.clone(), index as u32).is_some() {
                let what = format!("step `{}` stands twice", def.name.value);
                faults.push(Fault::error("duplicate-name", def.name.span, what));
            }
        }
        shape
    }

    fn span(&self, plan: &Plan, def: &StepDef, first: u32, faults: &mut Vec<Fault>) -> Span {
        let mut total: u64 = 1;
        for over in &def.over {
            total = total.saturating_mul(over.values.len() as u64);
        }
        if total.saturating_add(u64::from(first)) > MAX_STEPS {
            let what = format!(
                "step `{}` makes {total} steps; more than {MAX_STEPS} in one plan are refused",
                def.name.value
            );
            let fault = Fault::error("too-many-steps", def.name.span, what)
                .hint("fan out over fewer values, or make several plans of it");
            faults.push(fault);
            return Span { first, size: 0, digits: Vec::new(), line: None };
        }
        let mut stride = total as u32;
        let mut digits = Vec::with_capacity(def.over.len());
        let mut line = None;
        for (index, over) in def.over.iter().enumerate() {
            if over.values.is_empty() {
                let what = format!(
                    "`for_each` of step `{}` leaves no value for `{}`",
                    def.name.value, over.variable.value
                );
                let fault = Fault::error("empty-for-each", over.variable.span, what).hint(
                    "a step without instances does nothing: take it out, or widen its `where`",
                );
                faults.push(fault);
                return Span { first, size: 0, digits: Vec::new(), line: None };
            }
            let size = over.values.len() as u32;
            stride /= size;
            if over.variable.value == "line" {
                line = Some((index, self.lines_of(plan, def, over, faults)));
            }
            digits.push(Digit { size, stride, places: places(def, over, faults) });
        }
        Span { first, size: total as u32, digits, line }
    }

    fn lines_of(
        &self,
        plan: &Plan,
        def: &StepDef,
        over: &crate::plan::Over,
        faults: &mut Vec<Fault>,
    ) -> Vec<LineId> {
        let mut found = Vec::with_capacity(over.values.len());
        for value in &over.values {
            if let Some(line) = self.lines.get(value) {
                found.push(*line);
                continue;
            }
            let what = format!("step `{}` fans out over unknown line `{value}`", def.name.value);
            let known = plan.lines.iter().map(|line| line.name.value.as_str());
            let fault = Fault::error("unknown-line", over.variable.span, what)
                .hint(super::suggest(value, known, "lines"));
            faults.push(fault);
            found.push(LineId(0));
        }
        found
    }

    /// Number of instances of all definitions.
    pub(super) fn len(&self) -> usize {
        self.def_of.len()
    }

    /// The definition of a step.
    pub(super) fn def_index(&self, step: StepId) -> usize {
        self.def_of[step.index()] as usize
    }

    /// Place of the step's value of each variable, in written order.
    pub(super) fn values(&self, step: StepId) -> impl Iterator<Item = usize> {
        let span = &self.spans[self.def_index(step)];
        let offset = step.0 - span.first;
        span.digits.iter().map(move |digit| ((offset / digit.stride) % digit.size) as usize)
    }

    /// The line of a step.
    pub(super) fn line(&self, step: StepId) -> Option<LineId> {
        let span = &self.spans[self.def_index(step)];
        let (digit, lines) = span.line.as_ref()?;
        let digit = &span.digits[*digit];
        lines.get((((step.0 - span.first) / digit.stride) % digit.size) as usize).copied()
    }
}

fn places(
    def: &StepDef,
    over: &crate::plan::Over,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, u32> {
    let mut places = BTreeMap::new();
    for (place, value) in over.values.iter().enumerate() {
        let name = &over.variable.value;
        if places.insert(value.clone(), place as u32).is_some() {
            let what = format!(
                "`for_each` of step `{}` names `{value}` twice for `{name}`",
                def.name.value
            );
            faults.push(Fault::error("duplicate-value", over.variable.span, what));
        }
        // A step's full name must be read back from a command line and a journal.
        let stray = |c: char| matches!(c, ',' | '[' | ']') || c.is_whitespace() || c.is_control();
        if value.is_empty() || value.contains(stray) {
            let what = format!(
                "`for_each` of step `{}` has the value `{}` for `{name}`, which cannot stand in a step's name",
                def.name.value,
                value.escape_debug()
            );
            let fault = Fault::error("bad-value", over.variable.span, what)
                .hint("a value is not empty and holds no comma, bracket or blank");
            faults.push(fault);
        }
    }
    places
}
