//! `cutover graph`: the steps and what they hang on.

use super::args::{Graph, GraphFormat};
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use crate::report::graph;

pub(super) fn main(args: &Graph) -> Result<Exit, Problem> {
    let loaded = load(&args.plan, None)?;
    super::err(&loaded.warnings);
    super::out(&match args.format {
        GraphFormat::Text => graph::text(&loaded.graph),
        GraphFormat::Dot => graph::dot(&loaded.graph),
    });
    Ok(Exit::Done)
}
