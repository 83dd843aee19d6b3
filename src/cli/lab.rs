//! `cutover lab`: the two-site estate by itself.

use super::args::Lab;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use crate::lab::{self, Options};
use std::process::ExitCode;

pub(super) fn main(args: Lab) -> Result<Exit, Problem> {
    match args {
        Lab::Up { dir, certificates, orders, load } => {
            let options = Options {
                certificates: certificates.into(),
                orders: orders.into(),
                load: if load { 1.0 } else { 0.0 },
                ..Options::default()
            };
            let link = lab::up(&dir, &options).map_err(wrong)?;
            out(&format!("{}\n", link.estate.display()));
            super::err(&format!(
                "the lab's control API is at {}; end it with `cutover lab down {}`\n",
                link.control,
                dir.display()
            ));
        }
        Lab::Down { dir } => lab::down(&dir).map_err(wrong)?,
        Lab::Status { dir } => {
            let status = lab::status(&dir).map_err(wrong)?;
            let text = serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?;
            out(&format!("{text}\n"));
        }
        Lab::Fault { dir, spec, off } => lab::set_fault(&dir, &spec, !off).map_err(wrong)?,
        Lab::Serve { dir } => lab::serve::main(&dir)?,
        Lab::Load { dir } => lab::load::main(&dir)?,
        // Answered before: its exit codes are its own.
        Lab::Tool { .. } => {}
    }
    Ok(Exit::Done)
}

fn wrong(error: anyhow::Error) -> Problem {
    Problem::wrong(format!("{error:#}"))
}

/// A host's command says what it has to say by its own exit codes, as any command of a host does.
pub(super) fn tool(words: &[String]) -> ExitCode {
    let said = lab::tool::main(words);
    out(&said.out);
    super::err(&said.err);
    said.code.into()
}
