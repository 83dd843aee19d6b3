use super::*;
use crate::event::StepId;
use crate::graph::testing::PlanBuilder;
use crate::plan::Kind;
use crate::proof::window::{Planned, Sources};
use jiff::SignedDuration;
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
        .step("go", |s| s.gate(["bosses", "security"], 2).needs(["upgrade"]).point_of_no_return())
        .step("clean", |s| s.phase(Phase::After).no_undo())
        .graph()
}

#[test]
fn as_text() {
    insta::assert_snapshot!(text(&small(), None), @r"
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

/// The window part of the copies, the upgrade and the gate is what the end hangs on.
fn outlook(graph: &Graph) -> Outlook {
    let path = ["copy[b]", "enable[b]", "upgrade[o]", "go"];
    let ids: Vec<StepId> =
        path.iter().map(|name| graph.find(name).expect("a step of the plan")).collect();
    let minutes = SignedDuration::from_mins;
    let planned = Planned { begins: minutes(0), ends: minutes(0), after: None, limit: None };
    let mut schedule = vec![planned; graph.len()];
    for (at, id) in (0..).zip(&ids) {
        schedule[id.index()] = Planned {
            begins: minutes(40 * at),
            ends: minutes(40 * (at + 1)),
            after: None,
            limit: None,
        };
    }
    Outlook {
        schedule,
        ends: minutes(160),
        critical_path: ids,
        window: None,
        sources: Sources::default(),
        warnings: Vec::new(),
    }
}

#[test]
fn as_text_with_its_time() {
    let graph = small();
    let text = text(&graph, Some(&outlook(&graph)));
    insta::assert_snapshot!("small.critical", &text[text.find("critical").expect("told")..]);
}

#[test]
fn as_dot() {
    let graph = small();
    insta::assert_snapshot!("small.dot", dot(&graph, Some(&outlook(&graph)), Style::default()));
}

#[test]
fn as_mermaid() {
    let graph = small();
    insta::assert_snapshot!(
        "small.mermaid",
        mermaid(&graph, Some(&outlook(&graph)), Style::default())
    );
}

#[test]
fn as_svg() {
    let graph = small();
    let svg = svg(&graph, Some(&outlook(&graph)), Style::default());
    insta::assert_snapshot!("small.svg", svg.replace("><", ">\n<"));
}

#[test]
fn with_every_instance() {
    let graph = small();
    let dot = dot(&graph, None, Style { expand: true });
    for name in ["copy[a]", "copy[b]", "enable[a]", "upgrade[o]"] {
        assert!(dot.contains(&format!("label = \"{name}\\n")), "{name}: {dot}");
    }
    let svg = svg(&graph, None, Style { expand: true });
    assert_eq!(svg.matches("class=\"box").count(), graph.len());
}

#[test]
fn a_picture_says_what_it_has_to_say_and_runs_nothing() {
    let graph = small();
    let svg = svg(&graph, Some(&outlook(&graph)), Style::default());
    assert_eq!(svg.matches("class=\"box").count(), graph.plan().steps.len());
    assert_eq!(svg.matches("class=\"box c\"").count(), 4, "the critical path is bold");
    assert_eq!(svg.matches("class=\"line c\"").count(), 3);
    for said in [
        "<title id=\"title\">test</title>",
        "<desc id=\"desc\">",
        "prefers-color-scheme:dark",
        "point of no return",
        "<polygon",
        "+ gains ocsp@to/o",
        "~ disturbs ocsp@from/o",
        "phase before",
        "phase after",
    ] {
        assert!(svg.contains(said), "{said}");
    }
    assert!(!svg.contains("<script") && !svg.contains("href"));
}

/// Whatever a plan is called, a picture is well-formed: every element is closed in turn.
#[test]
fn a_hostile_name_is_a_text() {
    let hostile = "</text><script>alert(1)</script>\u{1b}[2J\"#--&\u{0}";
    let graph = PlanBuilder::new()
        .step("one", |s| s.gate([hostile], 1))
        .step("two", |s| s.needs(["one"]).checkpoint(hostile))
        .graph();
    let svg = svg(&graph, None, Style::default());
    assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && !svg.contains('\u{0}'));
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("every tag ends");
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None => open.push(tag.split(' ').next().unwrap_or_default()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let mermaid = mermaid(&graph, None, Style::default());
    assert!(!mermaid.contains("<script") && !mermaid.contains('\u{1b}'), "{mermaid}");
}

#[test]
fn ten_thousand_definitions_are_put_together() {
    let mut plan = PlanBuilder::new();
    let names: Vec<String> = (0..10_000).map(|at| format!("s{at}")).collect();
    for at in 0..10_000_usize {
        let needs: Vec<&str> = [at / 2, at / 3, at.saturating_sub(100)]
            .into_iter()
            .filter(|need| *need < at)
            .map(|need| names[need].as_str())
            .collect();
        plan = plan.step(&names[at], |s| s.needs(needs));
    }
    let graph = plan.graph();
    let svg = svg(&graph, None, Style { expand: true });
    let boxes = svg.matches("class=\"box").count();
    assert!(boxes <= 400, "{boxes}");
    let note = note(&graph, Style::default()).expect("it is said");
    assert!(note.starts_with("10000 boxes are too many to be read"), "{note}");
    assert!(svg.contains(&note));
}

#[test]
fn a_hostile_name_stays_inside_its_quotes() {
    assert_eq!(dot::quoted("a\"];\\\n\u{1b}[2J"), "\"a\\\"];\\\\\\n [2J\"");
}
