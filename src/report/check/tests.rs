//! The page and its JSON, of a plan with lines, gates, a window and estimates.

use super::json::Json;
use super::{Page, ticked};
use crate::load;
use crate::proof::window::{Learned, Options, Times, in_turn, judge};
use crate::report::testing::MOVE;
use std::path::Path;

fn loaded(plan: &str) -> load::Loaded {
    match load::load(Path::new("plan.yaml"), plan, None) {
        Ok(loaded) => loaded,
        Err(faults) => panic!("{faults:?}"),
    }
}

#[test]
fn the_page_of_the_transition() {
    let loaded = loaded(include_str!("../../../plans/2019-04-06.yaml"));
    let graph = &loaded.graph;
    let times = Times::new(graph, &Learned::default());
    let outlook = judge(graph, &times, &Options { seed: 1, executions: 200 }, &in_turn);
    let page = Page { graph, proof: &loaded.proof, outlook: outlook.as_ref(), warnings: 0 };
    let text = page.text();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!("page", text);
}

#[test]
fn every_field_of_a_small_plan() {
    let loaded = loaded(MOVE);
    let graph = &loaded.graph;
    let page = Page { graph, proof: &loaded.proof, outlook: None, warnings: 1 };
    insta::assert_snapshot!("small.json", Json::of(Some(&page), true, Vec::new()).text());
    assert!(page.text().ends_with("proved: the plan can be run; 1 warning to be read above\n"));
}

#[test]
fn what_is_not_proved_is_null() {
    let json: serde_json::Value =
        serde_json::from_str(&Json::of(None, false, Vec::new()).text()).expect("JSON");
    assert_eq!(json["ok"], false);
    assert!(json["steps"].is_null() && json["outlook"].is_null());
    assert_eq!(json["bounds"], serde_json::json!([]));
}

#[test]
fn long_lists_are_counted() {
    let names = ["a", "b", "c", "d", "e"];
    assert_eq!(ticked(names[..2].iter()), "`a`, `b`");
    assert_eq!(ticked(names[..4].iter()), "`a`, `b`, `c`, `d`");
    assert_eq!(ticked(names.iter()), "`a`, `b`, `c`, and 2 more");
}
