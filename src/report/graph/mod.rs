//! A graph as text for people, as `dot` for Graphviz, as a Mermaid block, and as a picture of its own
//! in SVG. Not known here: states of a run.

mod dot;
mod layout;
mod mermaid;
mod picture;
mod svg;
#[cfg(test)]
mod tests;

pub use picture::Style;

use super::board::{counted, span};
use crate::action::Undo;
use crate::graph::{Effect, Graph};
use crate::plan::{Phase, Serial, StepDef, Work};
use crate::proof::window::Outlook;
use picture::Picture;
use std::fmt::Write as _;

/// A picture in SVG, laid out here; with what is known of its time the critical path is bold.
pub fn svg(graph: &Graph, outlook: Option<&Outlook>, style: Style) -> String {
    let mut picture = Picture::of(graph, outlook, style);
    if let Some(outlook) = outlook {
        picture.facts.push(format!("ends after {}", span(outlook.ends)));
    }
    svg::svg(&picture)
}

/// The text of a Mermaid block.
pub fn mermaid(graph: &Graph, outlook: Option<&Outlook>, style: Style) -> String {
    mermaid::mermaid(&Picture::of(graph, outlook, style))
}

/// The text of a file for Graphviz.
pub fn dot(graph: &Graph, outlook: Option<&Outlook>, style: Style) -> String {
    dot::dot(&Picture::of(graph, outlook, style))
}

/// What is to be said of a picture that could not be drawn as asked.
pub fn note(graph: &Graph, style: Style) -> Option<String> {
    Picture::of(graph, None, style).note
}

/// What hangs on what, definition by definition, in the order in which they can begin. The number
/// before a name is its layer: what is in one layer waits only for layers above it. At the end the
/// critical path, if something is known of its time.
pub fn text(graph: &Graph, outlook: Option<&Outlook>) -> String {
    let plan = graph.plan();
    let mut text = plain(&plan.name);
    if let Some(change) = &plan.change {
        push(&mut text, &format!(" ({})", plain(change)));
    }
    push(
        &mut text,
        &format!(
            "\n{} in {}, {}\n",
            counted(graph.len(), "step"),
            counted(plan.steps.len(), "definition"),
            counted(graph.edge_count(), "edge")
        ),
    );
    if !plan.lines.is_empty() {
        let lines: Vec<&str> = plan.lines.iter().map(|line| line.name.value.as_str()).collect();
        push(&mut text, &format!("lines: {}\n", lines.join(", ")));
    }
    let mut order: Vec<(Phase, u32, usize)> = layers(graph)
        .into_iter()
        .enumerate()
        .map(|(def, layer)| (plan.steps[def].phase, layer, def))
        .collect();
    order.sort_unstable();
    let mut phase = None;
    for (of, layer, def) in order {
        if phase.replace(of) != Some(of) {
            push(&mut text, &format!("\nphase {}\n", phase_name(of)));
        }
        definition(graph, def, layer, &mut text);
    }
    if let Some(outlook) = outlook.filter(|outlook| !outlook.critical_path.is_empty()) {
        push(&mut text, &format!("\ncritical path, ends after {}\n", span(outlook.ends)));
        for step in &outlook.critical_path {
            let planned = outlook.schedule.get(step.index());
            let took =
                planned.map_or_else(String::new, |it| span(it.ends.saturating_sub(it.begins)));
            push(&mut text, &format!("  {took:>8}  {}\n", graph.name(*step)));
        }
    }
    text
}

/// Layer of each definition: the longest way to its last instance, counted in definitions (a chain
/// of `serial` is one).
fn layers(graph: &Graph) -> Vec<u32> {
    let mut depths = vec![1_u32; graph.len()];
    let mut layers = vec![1_u32; graph.plan().steps.len()];
    for step in graph.topological() {
        let def = graph.def_index(*step);
        for needed in graph.needs(*step) {
            let further = u32::from(graph.def_index(*needed) != def);
            let depth = depths[needed.index()] + further;
            depths[step.index()] = depths[step.index()].max(depth);
        }
        layers[def] = layers[def].max(depths[step.index()]);
    }
    layers
}

fn definition(graph: &Graph, index: usize, layer: u32, text: &mut String) {
    let def = &graph.plan().steps[index];
    push(text, &format!("{layer:>4}  {}{}  {}", def.name.value, fan(def), def.kind.name()));
    if graph.instances(index).any(|step| graph.is_point_of_no_return(step)) {
        push(text, "  POINT OF NO RETURN");
    }
    text.push('\n');
    let mut row = |word: &str, what: &str| {
        if !what.is_empty() {
            push(text, &format!("        {word:<11}{what}\n"));
        }
    };
    let needs: Vec<String> =
        def.needs
            .iter()
            .map(|need| {
                if need.all { format!("all {}", need.step.value) } else { need.step.value.clone() }
            })
            .collect();
    row("needs", &needs.join(", "));
    row(
        "serial",
        &match &def.serial {
            Serial::No => String::new(),
            Serial::All => "one after the other".into(),
            Serial::Along(variable) => format!("one after the other along {variable}"),
        },
    );
    for (word, effect) in
        [("loses", Effect::Loses), ("gains", Effect::Gains), ("disturbs", Effect::Disturbs)]
    {
        row(word, &effects(graph, index, effect).join(", "));
    }
    if let Some(not_before) = def.not_before {
        row("not before", &not_before.to_string());
    }
    if let Work::Ask(gate) = &def.work {
        let by: Vec<&str> = gate.by.iter().map(|group| group.value.as_str()).collect();
        row("approve", &format!("{} of {}", gate.quorum, by.join(", ")));
    }
    if let Work::Act { undo: Undo::Nothing(reason), .. } = &def.work {
        row("undo", &format!("none: {}", plain(reason)));
    }
    row("checkpoint", def.checkpoint.as_ref().map_or("", |name| &name.value));
}

/// `[line x6, host x2]`
fn fan(def: &StepDef) -> String {
    if def.over.is_empty() {
        return String::new();
    }
    let over: Vec<String> = def
        .over
        .iter()
        .map(|over| format!("{} x{}", over.variable.value, over.values.len()))
        .collect();
    format!("[{}]", over.join(", "))
}

/// What the instances of a definition do to providers and roles, without lines.
fn effects(graph: &Graph, def: usize, wanted: Effect) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for step in graph.instances(def) {
        let providers = graph.effects(step).iter().filter(|(_, effect)| *effect == wanted);
        providers.for_each(|(provider, _)| add(&graph.providers()[provider.index()].base));
        for (role, effect) in graph.role_effects(step) {
            if *effect == wanted {
                let name = &graph.roles()[role.index()].name;
                add(name.split('/').next().unwrap_or(name));
            }
        }
    }
    names
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::Window => "window",
        Phase::After => "after",
    }
}

/// A text of the plan without what a terminal would obey, or what XML cannot hold.
fn plain(text: &str) -> String {
    let held = |c: char| if matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c };
    super::lines::printable(text).chars().map(held).collect()
}

fn push(text: &mut String, more: &str) {
    write!(text, "{more}").expect("BUG: a string takes every write");
}
