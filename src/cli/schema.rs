//! `cutover schema`: the JSON schema of plans and estates, for editors.

use super::args::{Schema, SchemaOf};
use super::exit::Exit;
use super::problem::Problem;
use crate::{estate, plan};

pub(super) fn main(args: &Schema) -> Result<Exit, Problem> {
    let schema = match args.of {
        SchemaOf::Plan => plan::schema(),
        SchemaOf::Estate => estate::schema(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(anyhow::Error::from)?;
    super::out(&format!("{text}\n"));
    Ok(Exit::Done)
}
