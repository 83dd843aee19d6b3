//! A graph as a picture of its own: SVG without script, legible in light and dark, its texts texts.
//!
//! Phases are bands, gates diamonds, the critical path is bold, the point of no return a wall; what a
//! step takes from a protected service, gives to it or disturbs stands in its box with a sign and a
//! word. No meaning hangs on colour.

use super::layout::{Ask, Layout, Point, layout};
use super::picture::{Drawn, Picture, sign, word};
use crate::plan::Kind;
use maud::{Markup, PreEscaped, html};

const STYLE: &str = include_str!("svg.css");
/// Around everything.
const EDGE: f64 = 24.0;
/// Name, facts, legend.
const HEAD: f64 = 104.0;
/// Left of the boxes: names of the phases.
const SIDE: f64 = 28.0;
/// Of a row of text.
const ROW: f64 = 16.0;
/// Effects in a box.
const SHOWN: usize = 4;

/// The document.
pub(super) fn svg(picture: &Picture) -> String {
    let rows: Vec<Vec<Row>> = picture.boxes.iter().map(rows).collect();
    let sizes: Vec<(f64, f64)> =
        picture.boxes.iter().zip(&rows).map(|(it, rows)| size(it, rows)).collect();
    let mut phases: Vec<_> = picture.boxes.iter().map(|it| it.phase).collect();
    phases.sort_unstable();
    phases.dedup();
    let bands: Vec<usize> = picture
        .boxes
        .iter()
        .map(|it| phases.iter().position(|phase| *phase == it.phase).unwrap_or(0))
        .collect();
    // What only phases order, the bands show.
    let drawn: Vec<_> = picture.links.iter().filter(|link| !link.phases).collect();
    let links: Vec<(usize, usize)> = drawn.iter().map(|link| (link.from, link.to)).collect();
    let made = layout(&Ask { sizes: &sizes, bands: &bands, links: &links, wall: picture.wall() });
    let least = wide(&picture.name, 11.5).max(760.0);
    let inner = (made.width + 2.0 * SIDE).max(least);
    let (width, height) = (inner + 2.0 * EDGE, made.height + HEAD + 2.0 * EDGE);
    let across = (inner - made.width) / 2.0;
    let body = html! {
        title id="title" { (picture.name) }
        desc id="desc" { (description(picture)) }
        style { (PreEscaped(STYLE)) }
        defs { (tip("a", "tip", 7.0)) (tip("b", "tip c", 4.5)) }
        g transform=(format!("translate({EDGE} {EDGE})")) { (head(picture)) }
        g transform=(format!("translate({EDGE} {})", num(EDGE + HEAD))) {
            @for ((name, _), (_, top, bottom)) in picture.phases().zip(&made.bands) {
                rect class="band" x="0" y=(num(*top)) width=(num(inner)) height=(num(bottom - top)) rx="8" {}
                text class="bl" x="14" y=(num(top + 22.0)) { "phase " (name) }
            }
            @if let Some(wall) = made.wall { (the_wall(wall, inner)) }
            g transform=(format!("translate({} 0)", num(across))) {
                (lines(&made, |at| drawn[at].critical))
                @for (at, it) in picture.boxes.iter().enumerate() {
                    (the_box(it, &rows[at], made.boxes[at], sizes[at], picture.wall() == Some(at)))
                }
            }
        }
    };
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"graphics-document\" aria-labelledby=\"title desc\" lang=\"en\" \
         viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">",
        num(width),
        num(height)
    );
    format!("{head}{}</svg>\n", body.into_string())
}

/// A row of a box: its class and text.
struct Row {
    class: &'static str,
    text: String,
}

fn rows(it: &Drawn) -> Vec<Row> {
    let row = |class, text| Row { class, text };
    let mut rows = vec![row("n", it.name.clone())];
    // That it is a gate, the diamond says.
    let mut second: Vec<String> =
        if it.kind == Kind::Gate { Vec::new() } else { vec![it.kind.name().to_owned()] };
    second.extend(it.fan.iter().cloned());
    second.extend(it.gate.iter().map(|gate| format!("approved by {gate}")));
    rows.push(row("s", second.join(" · ")));
    rows.extend(it.effects.iter().take(SHOWN).map(|(effect, name)| {
        row(word(*effect), format!("{} {} {name}", sign(*effect), word(*effect)))
    }));
    if it.effects.len() > SHOWN {
        rows.push(row("s", format!("and {} more", it.effects.len() - SHOWN)));
    }
    rows.extend(it.checkpoint.iter().map(|name| row("s", format!("checkpoint {name}"))));
    rows
}

/// About the width of a text; fonts differ.
fn wide(text: &str, each: f64) -> f64 {
    console::measure_text_width(text) as f64 * each
}

fn size(it: &Drawn, rows: &[Row]) -> (f64, f64) {
    let text = |row: &Row| wide(&row.text, if row.class == "n" { 8.0 } else { 6.9 });
    let tall = rows.len() as f64 * ROW;
    if it.kind != Kind::Gate {
        return (rows.iter().map(text).fold(80.0, f64::max) + 24.0, tall + 14.0);
    }
    // A diamond is the narrower the farther a row is from its middle.
    let all = tall + 52.0;
    let middle = (rows.len() as f64 - 1.0) / 2.0;
    let needs = rows.iter().enumerate().map(|(index, row)| {
        let off = (index as f64 - middle).abs() * ROW + 7.0;
        text(row) / (1.0 - 2.0 * off / all)
    });
    (needs.fold(120.0, f64::max), all)
}

fn the_box(it: &Drawn, rows: &[Row], at: Point, (wide, tall): (f64, f64), is_wall: bool) -> Markup {
    let class = if it.critical { "box c" } else { "box" };
    let (x, y) = (at.x, at.y);
    let middle = x + wide / 2.0;
    let first = y + (tall - rows.len() as f64 * ROW) / 2.0 + 12.0;
    html! {
        g {
            title { (told(it)) }
            @match it.kind {
                Kind::Gate => {
                    polygon class=(class) points=(format!(
                        "{0},{1} {2},{3} {0},{4} {5},{3}",
                        num(middle), num(y), num(x + wide), num(y + tall / 2.0), num(y + tall), num(x)
                    )) {}
                },
                Kind::Notify => { rect class=(class) x=(num(x)) y=(num(y)) width=(num(wide)) height=(num(tall)) rx=(num(tall / 2.0)) {} },
                _ => { rect class=(class) x=(num(x)) y=(num(y)) width=(num(wide)) height=(num(tall)) rx="5" {} },
            }
            @for (index, row) in rows.iter().enumerate() {
                text class=(row.class) x=(num(middle)) y=(num(first + index as f64 * ROW)) text-anchor="middle" { (row.text) }
            }
            // The wall itself says it for the one before it.
            @if it.point_of_no_return && !is_wall {
                path class="wall" d=(format!("M{} {}h{}", num(x), num(y + tall + 5.0), num(wide))) {}
                text class="wt" x=(num(x + wide + 6.0)) y=(num(y + tall + 9.0)) { "no return" }
            }
        }
    }
}

/// Everything about a box, for who cannot see it, and for a pointer that rests on it.
fn told(it: &Drawn) -> String {
    let mut text = format!("{}, {}", it.name, it.kind.name());
    for part in it.fan.iter().chain(&it.gate) {
        text.push_str(&format!(", {part}"));
    }
    for (effect, name) in &it.effects {
        text.push_str(&format!("; {} {name}", word(*effect)));
    }
    if it.critical {
        text.push_str("; on the critical path");
    }
    if it.point_of_no_return {
        text.push_str("; point of no return");
    }
    text
}

fn the_wall(y: f64, inner: f64) -> Markup {
    html! {
        path class="wall" d=(format!("M0 {}H{}", num(y), num(inner))) {}
        text class="wt" x="14" y=(num(y - 8.0)) { "point of no return: nothing below is undone by a rollback" }
    }
}

fn lines(made: &Layout, is_critical: impl Fn(usize) -> bool) -> Markup {
    let path = |points: &[Point]| {
        let mut path = String::new();
        for (index, to) in points.iter().enumerate() {
            match index.checked_sub(1).map(|before| points[before]) {
                None => path.push_str(&format!("M{} {}", num(to.x), num(to.y))),
                Some(from) if (from.x - to.x).abs() < 0.5 => {
                    path.push_str(&format!("V{}", num(to.y)));
                }
                Some(from) => {
                    let half = (from.y + to.y) / 2.0;
                    path.push_str(&format!(
                        "C{} {} {} {} {} {}",
                        num(from.x),
                        num(half),
                        num(to.x),
                        num(half),
                        num(to.x),
                        num(to.y)
                    ));
                }
            }
        }
        path
    };
    // What is bold lies above what it crosses.
    let mut order: Vec<usize> = (0..made.lines.len()).collect();
    order.sort_by_key(|&at| is_critical(at));
    html! {
        @for at in order {
            path class=(if is_critical(at) { "line c" } else { "line" }) d=(path(&made.lines[at])) {}
        }
    }
}

fn tip(id: &str, class: &str, size: f64) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth=(num(size)) markerHeight=(num(size)) orient="auto" {
            path class=(class) d="M0 .5 8 4 0 7.5Z" {}
        }
    }
}

fn head(picture: &Picture) -> Markup {
    let any = |is: fn(&Drawn) -> bool| picture.boxes.iter().any(is);
    let mut legend: Vec<(&str, String)> = Vec::new();
    if any(|it| it.critical) {
        legend.push(("n", "bold: the critical path".to_owned()));
    }
    if any(|it| it.kind == Kind::Gate) {
        legend.push(("", "diamond: people say go".to_owned()));
    }
    for effect in
        [crate::graph::Effect::Loses, crate::graph::Effect::Gains, crate::graph::Effect::Disturbs]
    {
        if picture.boxes.iter().any(|it| it.effects.iter().any(|(its, _)| *its == effect)) {
            legend.push((word(effect), format!("{} {}", sign(effect), word(effect))));
        }
    }
    html! {
        text class="h" x="0" y="18" { (picture.name) }
        text class="s" x="0" y="42" { (picture.facts.join(" · ")) }
        text x="0" y="66" {
            @for (index, (class, text)) in legend.iter().enumerate() {
                @if index > 0 { tspan class="s" { "   ·   " } }
                tspan class=(class) { (text) }
            }
        }
        @if let Some(note) = &picture.note { text class="wt" x="0" y="88" { (note) } }
    }
}

fn description(picture: &Picture) -> String {
    let mut text = format!(
        "{}. From top to bottom: what is lower waits for what leads to it.",
        picture.facts.join(", ")
    );
    let path: Vec<&str> =
        picture.boxes.iter().filter(|it| it.critical).map(|it| it.name.as_str()).collect();
    if !path.is_empty() {
        text.push_str(&format!(" Critical path: {}.", path.join(", ")));
    }
    for it in picture.boxes.iter().filter(|it| it.point_of_no_return) {
        text.push_str(&format!(" Point of no return: {}.", it.name));
    }
    text
}

/// A number without needless digits: the same picture on every machine.
fn num(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    // Minus nothing is nothing.
    format!("{}", tenths + 0.0)
}
