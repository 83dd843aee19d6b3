//! A graph for Graphviz: `dot -Tsvg`.

use super::picture::{Drawn, Picture, sign};
use crate::plan::Kind;
use std::fmt::Write as _;

/// The text of a `.dot` file. Needs that only phases make are dashed.
pub(super) fn dot(picture: &Picture) -> String {
    let mut dot = String::from("digraph plan {\n");
    let _ = writeln!(dot, "  label = {};", quoted(&picture.name));
    dot.push_str("  rankdir = LR;\n  node [shape = box, fontname = \"sans-serif\"];\n");
    if let Some(note) = &picture.note {
        let _ = writeln!(dot, "  // {note}");
    }
    for (phase, members) in picture.phases() {
        let _ = writeln!(dot, "  subgraph cluster_{phase} {{\n    label = {};", quoted(phase));
        for at in members {
            let _ = writeln!(dot, "    s{at} [{}];", node(&picture.boxes[at]));
        }
        dot.push_str("  }\n");
    }
    for link in &picture.links {
        let style = match (link.phases, link.critical) {
            (true, _) => " [style = dashed]",
            (false, true) => " [penwidth = 3]",
            (false, false) => "",
        };
        let _ = writeln!(dot, "  s{} -> s{}{style};", link.from, link.to);
    }
    dot.push_str("}\n");
    dot
}

fn node(it: &Drawn) -> String {
    // A step that concerns every line of a large plan would not fit a page.
    const SHOWN: usize = 4;
    let mut label = format!("{}\n{}", it.name, it.kind.name());
    for fan in &it.fan {
        let _ = write!(label, "\n{fan}");
    }
    for (effect, name) in it.effects.iter().take(SHOWN) {
        let _ = write!(label, "\n{} {name}", sign(*effect));
    }
    if it.effects.len() > SHOWN {
        let _ = write!(label, "\n{} more", it.effects.len() - SHOWN);
    }
    if let Some(gate) = &it.gate {
        let _ = write!(label, "\napprove {gate}");
    }
    if let Some(checkpoint) = &it.checkpoint {
        let _ = write!(label, "\ncheckpoint {checkpoint}");
    }
    let mut node = format!("label = {}", quoted(&label));
    match it.kind {
        Kind::Gate => node.push_str(", shape = diamond"),
        Kind::Notify => node.push_str(", shape = note"),
        _ => {}
    }
    if it.critical {
        node.push_str(", penwidth = 3");
    }
    if it.point_of_no_return {
        node.push_str(", peripheries = 2, xlabel = \"point of no return\"");
    }
    node
}

/// A string of the dot language; `\n` starts a new line in a label.
pub(super) fn quoted(text: &str) -> String {
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
