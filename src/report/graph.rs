//! A graph as text for people, and as `dot` for Graphviz. Not known here: states of a run.

use crate::action::Undo;
use crate::event::StepId;
use crate::graph::{Effect, Graph};
use crate::plan::{Kind, Phase, Serial, StepDef, Work};
use std::fmt::Write as _;

/// What hangs on what, definition by definition, in the order in which they can begin. The number
/// before a name is its layer: what is in one layer waits only for layers above it.
pub fn text(graph: &Graph) -> String {
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

/// Every step and every edge, for `dot -Tsvg`. Edges that only phases make are dashed.
pub fn dot(graph: &Graph) -> String {
    let mut dot = String::from("digraph plan {\n");
    push(&mut dot, &format!("  label = {};\n", quoted(&graph.plan().name)));
    push(&mut dot, "  rankdir = LR;\n  node [shape = box, fontname = \"sans-serif\"];\n");
    for phase in [Phase::Before, Phase::Window, Phase::After] {
        let mut steps = graph.steps().filter(|step| graph.phase(*step) == phase).peekable();
        if steps.peek().is_none() {
            continue;
        }
        let name = phase_name(phase);
        push(&mut dot, &format!("  subgraph cluster_{name} {{\n    label = {};\n", quoted(name)));
        for step in steps {
            push(&mut dot, &format!("    s{} [{}];\n", step.0, node(graph, step)));
        }
        push(&mut dot, "  }\n");
    }
    for step in graph.steps() {
        for needed in graph.needs(step) {
            let phases = graph.phase(*needed) != graph.phase(step);
            let style = if phases { " [style = dashed]" } else { "" };
            push(&mut dot, &format!("  s{} -> s{}{style};\n", needed.0, step.0));
        }
    }
    dot.push_str("}\n");
    dot
}

fn node(graph: &Graph, step: StepId) -> String {
    let kind = graph.kind(step);
    let mut label = format!("{}\n{}", graph.name(step), kind.name());
    let effects = graph
        .effects(step)
        .iter()
        .map(|(provider, effect)| (graph.providers()[provider.index()].name.as_str(), *effect));
    let roles = graph
        .role_effects(step)
        .iter()
        .map(|(role, effect)| (graph.roles()[role.index()].name.as_str(), *effect));
    // A step that concerns every line of a large plan would not fit a page.
    const SHOWN: usize = 4;
    let all: Vec<(&str, Effect)> = effects.chain(roles).collect();
    for (name, effect) in all.iter().take(SHOWN) {
        let sign = match effect {
            Effect::Loses => '-',
            Effect::Gains => '+',
            Effect::Disturbs => '~',
        };
        push(&mut label, &format!("\n{sign} {name}"));
    }
    if all.len() > SHOWN {
        push(&mut label, &format!("\n{} more", all.len() - SHOWN));
    }
    if let Some(checkpoint) = &graph.def(step).checkpoint {
        push(&mut label, &format!("\ncheckpoint {}", checkpoint.value));
    }
    let mut node = format!("label = {}", quoted(&label));
    match kind {
        Kind::Gate => push(&mut node, ", shape = diamond"),
        Kind::Notify => push(&mut node, ", shape = note"),
        _ => {}
    }
    if graph.is_point_of_no_return(step) {
        push(&mut node, ", peripheries = 2, xlabel = \"point of no return\"");
    }
    node
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::Window => "window",
        Phase::After => "after",
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A text of the plan without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A string of the dot language; `\n` starts a new line in a label.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn push(text: &mut String, more: &str) {
    write!(text, "{more}").expect("BUG: a string takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::PlanBuilder;
    use std::sync::Arc;

    fn small() -> Arc<Graph> {
        let lines = ["a", "b"];
        PlanBuilder::new()
            .lines(lines)
            .protect("ocsp", true, 1, ["ocsp@from/o"])
            .step("notice", |s| s.phase(Phase::Before).notify(["customers"]))
            .step("copy", |s| s.each("line", lines).kind(Kind::Transfer).checkpoint("copied"))
            .step("enable", |s| {
                s.each("line", lines).kind(Kind::Switch).gains(["ocsp@to/o"]).needs(["copy"])
            })
            .step("upgrade", |s| {
                s.kind(Kind::Upgrade)
                    .each("host", ["o"])
                    .serial()
                    .disturbs(["ocsp@from/${{ host }}"])
                    .needs_all("enable")
            })
            .step("go", |s| {
                s.gate(["bosses", "security"], 2).needs(["upgrade"]).point_of_no_return()
            })
            .step("clean", |s| s.phase(Phase::After).no_undo())
            .graph()
    }

    #[test]
    fn as_text() {
        insta::assert_snapshot!(text(&small()), @r"
        test
        8 steps in 6 definitions, 8 edges
        lines: a, b

        phase before
           1  notice  notify
                undo       none: a notice cannot be unsent

        phase window
           2  copy[line x2]  transfer
                checkpoint copied
           3  enable[line x2]  switch
                needs      copy
                gains      ocsp@to/o
           4  upgrade[host x1]  upgrade
                needs      all enable
                serial     one after the other
                disturbs   ocsp@from/o
           5  go  gate  POINT OF NO RETURN
                needs      upgrade
                approve    2 of bosses, security

        phase after
           6  clean  task
                undo       none: nothing is left behind
        ");
    }

    #[test]
    fn as_dot() {
        insta::assert_snapshot!(dot(&small()), @r#"
        digraph plan {
          label = "test";
          rankdir = LR;
          node [shape = box, fontname = "sans-serif"];
          subgraph cluster_before {
            label = "before";
            s0 [label = "notice\nnotify", shape = note];
          }
          subgraph cluster_window {
            label = "window";
            s1 [label = "copy[a]\ntransfer\ncheckpoint copied"];
            s2 [label = "copy[b]\ntransfer\ncheckpoint copied"];
            s3 [label = "enable[a]\nswitch\n+ ocsp@to/o[a]"];
            s4 [label = "enable[b]\nswitch\n+ ocsp@to/o[b]"];
            s5 [label = "upgrade[o]\nupgrade\n~ ocsp@from/o[a]\n~ ocsp@from/o[b]"];
            s6 [label = "go\ngate", shape = diamond, peripheries = 2, xlabel = "point of no return"];
          }
          subgraph cluster_after {
            label = "after";
            s7 [label = "clean\ntask"];
          }
          s0 -> s1 [style = dashed];
          s0 -> s2 [style = dashed];
          s1 -> s3;
          s2 -> s4;
          s3 -> s5;
          s4 -> s5;
          s5 -> s6;
          s6 -> s7 [style = dashed];
        }
        "#);
    }

    #[test]
    fn a_hostile_name_stays_inside_its_quotes() {
        assert_eq!(quoted("a\"];\\\n\u{1b}[2J"), "\"a\\\"];\\\\\\n [2J\"");
    }
}
