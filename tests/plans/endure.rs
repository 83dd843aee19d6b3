//! All that `check` and `graph` do with a text, for the tests here and for `fuzz/`: whatever a file
//! holds, it ends in a page or in faults, and nothing of it drives a terminal.

use cutover::estate;
use cutover::load::{LoadFaults, Loaded, load};
use cutover::plan;
use cutover::proof::window::{self, Learned, Options, Times};
use cutover::report::check::{Json, Page};
use cutover::report::graph::{self, Style};
use cutover::report::outlook;
use cutover::text::fault::{locate, render};
use std::path::Path;

/// What estates are bound to.
const BOUND: &str = include_str!("bound.yaml");
/// Of the simulated executions; that there are many shows nothing more.
const FEW: Options = Options { seed: 1, executions: 20 };

/// A plan's text; true when it holds.
pub(crate) fn plan(text: &str) -> bool {
    judged(load(Path::new("p.yaml"), text, None))
}

/// An estate's text, by itself and with a plan bound to it; true when the plan holds there.
pub(crate) fn estate(text: &str) -> bool {
    let path = Path::new("e.yaml");
    match estate::read(path, text) {
        Err(faults) => {
            assert!(plan::is_fatal(&faults));
            unobeyed(&render(&faults, path, text));
            false
        }
        Ok((estate, faults)) => {
            assert!(!plan::is_fatal(&faults));
            unobeyed(&render(&faults, path, text));
            let plan = |plan: &str| judged(load(Path::new("p.yaml"), plan, Some((path, text))));
            let sketch = plan::sketch(Some(&estate));
            assert!(plan(&sketch), "the sketch for this estate is refused:\n{sketch}");
            plan(BOUND)
        }
    }
}

/// Shows what came of it in every way.
fn judged(result: Result<Loaded, LoadFaults>) -> bool {
    let files = match &result {
        Ok(loaded) => &loaded.warnings,
        Err(faults) => &faults.files,
    };
    let fatal = files.iter().filter(|file| plan::is_fatal(&file.faults)).count();
    assert_eq!(fatal == 0, result.is_ok(), "{files:#?}");
    for file in files {
        let shown = render(&file.faults, &file.path, &file.text);
        assert!(!shown.is_empty());
        unobeyed(&shown);
        let located = locate(&file.faults, &file.path, &file.text);
        Json::of(None, false, located).text();
    }
    if let Ok(loaded) = &result {
        pages(loaded);
    }
    result.is_ok()
}

fn pages(loaded: &Loaded) {
    let graph = &*loaded.graph;
    let times = Times::new(graph, &Learned::default());
    let outlook = window::judge(graph, &times, &FEW, &window::in_turn);
    let outlook = outlook.as_ref();
    let page = Page { graph, proof: &loaded.proof, outlook, warnings: 0 };
    unobeyed(&page.text());
    Json::of(Some(&page), true, Vec::new()).text();
    if let Some(outlook) = outlook {
        unobeyed(&outlook::text(graph, outlook));
    }
    unobeyed(&graph::text(graph, outlook));
    for expand in [false, true] {
        let style = Style { expand };
        for drawn in [graph::svg, graph::dot, graph::mermaid] {
            unobeyed(&drawn(graph, outlook, style));
        }
    }
}

/// Lines of text, in which nothing moves a cursor, colours, or turns the direction of reading.
fn unobeyed(shown: &str) {
    let obeyed = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(c) = shown.chars().find(obeyed) {
        panic!("a file drives the terminal with {c:?}: {shown:?}");
    }
}
