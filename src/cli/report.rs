//! `cutover report`: what happened in a run.

use super::args::{Report, ReportFormat};
use super::exit::Exit;
use super::problem::Problem;
use crate::journal::replay::{self, Replayed};
use crate::journal::rundir::RunDir;
use crate::lane::file;
use crate::report::summary::{Summary, Witness};
use jiff::SignedDuration;

pub(super) fn main(args: &Report) -> Result<Exit, Problem> {
    let summary = summary(&args.target.dir()?)?;
    let text = match args.format {
        ReportFormat::Json => format!("{}\n", summary.json()),
    };
    match &args.output {
        None => super::out(&text),
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Problem::wrong(format!("writing `{}`: {error}", path.display())))?,
    }
    Ok(Exit::Done)
}

/// The summary of a run, from the files in its directory alone.
pub(crate) fn summary(dir: &RunDir) -> Result<Summary, Problem> {
    summary_of(&replay::read(dir)?, dir)
}

/// The same of a journal that was read already.
pub(crate) fn summary_of(replayed: &Replayed, dir: &RunDir) -> Result<Summary, Problem> {
    let lane = if dir.revocations().exists() {
        file::read(dir)?.1
    } else {
        crate::revocation::Lane::new()
    };
    let witness = match std::fs::read_to_string(dir.witness()) {
        Ok(text) => Some(serde_json::from_str::<Witness>(&text).map_err(|error| {
            Problem::wrong(format!("reading `{}`: {error}", dir.witness().display()))
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Problem::wrong(format!("reading `{}`: {error}", dir.witness().display())));
        }
    };
    let options = &replayed.header.options;
    let times = (options.rehearsal, SignedDuration::from_secs(options.shift_s));
    Ok(Summary::of(&replayed.header.run, times, &replayed.run, &replayed.history, &lane, witness))
}
