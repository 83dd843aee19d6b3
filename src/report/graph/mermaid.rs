//! A graph for Mermaid, which forges and wikis draw by themselves.

use super::picture::{Drawn, Picture, sign};
use crate::plan::Kind;
use std::fmt::Write as _;

/// The text of a `mermaid` block.
pub(super) fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("---\ntitle: ");
    let _ = writeln!(out, "\"{}\"\n---\nflowchart TB", quoted(&picture.name));
    if let Some(note) = &picture.note {
        let _ = writeln!(out, "  %% {note}");
    }
    let mut last: Option<&str> = None;
    for (phase, members) in picture.phases() {
        let _ = writeln!(out, "  subgraph {phase}_phase [\"phase {phase}\"]");
        for at in members {
            let _ = writeln!(out, "    {}", node(at, &picture.boxes[at]));
        }
        out.push_str("  end\n");
        if let Some(last) = last.replace(phase) {
            let _ = writeln!(out, "  {last}_phase -.-> {phase}_phase");
        }
    }
    for link in picture.links.iter().filter(|link| !link.phases) {
        let arrow = if link.critical { "==>" } else { "-->" };
        let _ = writeln!(out, "  n{} {arrow} n{}", link.from, link.to);
    }
    class(&mut out, picture, "critical", "stroke-width:4px", |it| it.critical);
    class(
        &mut out,
        picture,
        "wall",
        "stroke:#a40e26,stroke-width:4px,stroke-dasharray:8 4",
        |it| it.point_of_no_return,
    );
    out
}

fn class(out: &mut String, picture: &Picture, name: &str, look: &str, of: fn(&Drawn) -> bool) {
    let members: Vec<String> = picture
        .boxes
        .iter()
        .enumerate()
        .filter(|(_, it)| of(it))
        .map(|(at, _)| format!("n{at}"))
        .collect();
    if !members.is_empty() {
        let _ = writeln!(out, "  classDef {name} {look}\n  class {} {name}", members.join(","));
    }
}

fn node(at: usize, it: &Drawn) -> String {
    let mut rows = vec![format!("<b>{}</b>", quoted(&it.name))];
    rows.extend(it.fan.iter().map(|fan| quoted(fan)));
    rows.extend(it.gate.iter().map(|gate| format!("approve {}", quoted(gate))));
    rows.extend(
        it.effects
            .iter()
            .take(SHOWN)
            .map(|(effect, name)| format!("{} {}", sign(*effect), quoted(name))),
    );
    if it.effects.len() > SHOWN {
        rows.push(format!("and {} more", it.effects.len() - SHOWN));
    }
    rows.extend(it.checkpoint.iter().map(|name| format!("checkpoint {}", quoted(name))));
    if it.point_of_no_return {
        rows.push("POINT OF NO RETURN".to_owned());
    }
    let label = rows.join("<br>");
    match it.kind {
        Kind::Gate => format!("n{at}{{\"{label}\"}}"),
        Kind::Notify => format!("n{at}>\"{label}\"]"),
        _ => format!("n{at}[\"{label}\"]"),
    }
}

/// Effects in a box; a reader of a picture wants no list.
const SHOWN: usize = 4;

/// A text inside quotes: nothing of it is markup, or ends the quotes.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() => out.push(c),
            ' ' | '-' | '_' | '.' | ',' | '@' | '/' | '[' | ']' | '·' | '+' | '(' | ')' => {
                out.push(c)
            }
            c if c.is_control() => out.push(' '),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}
