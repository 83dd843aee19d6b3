//! `cutover graph`: the steps and what they hang on.

use super::args::{Graph, GraphFormat};
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use crate::proof::window::{Learned, Options};
use crate::report::graph::{self, Style};

/// The expected course is drawn, and no execution needed beside it.
const ONE: Options = Options { seed: 1, executions: 1 };

pub(super) fn main(args: &Graph) -> Result<Exit, Problem> {
    let loaded = load(&args.plan, None)?;
    super::err(&loaded.warnings);
    let graph = &loaded.graph;
    let outlook = super::check::outlook(graph, &Learned::default(), &ONE);
    let outlook = outlook.as_ref();
    let style = Style { expand: args.expand };
    let drawn = !matches!(args.format, GraphFormat::Text);
    if let Some(note) = drawn.then(|| graph::note(graph, style)).flatten() {
        super::err(&format!("note: {note}\n"));
    }
    super::out(&match args.format {
        GraphFormat::Text => graph::text(graph, outlook),
        GraphFormat::Dot => graph::dot(graph, outlook, style),
        GraphFormat::Mermaid => graph::mermaid(graph, outlook, style),
        GraphFormat::Svg => graph::svg(graph, outlook, style),
    });
    Ok(Exit::Done)
}
