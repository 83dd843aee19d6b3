//! Which run a command means.

use super::args::{RunStep, Target};
use super::problem::Problem;
use crate::journal::rundir::RunDir;
use std::path::{Path, PathBuf};

/// Where runs are kept when no directory is named.
pub(crate) const RUNS: &str = "runs";

/// The run that was named, or the newest.
pub(crate) fn run_dir(named: Option<&PathBuf>) -> Result<RunDir, Problem> {
    if let Some(path) = named {
        return Ok(RunDir::new(path));
    }
    let newest = RunDir::newest(Path::new(RUNS))
        .map_err(|error| Problem::wrong(format!("reading `{RUNS}`: {error}")))?;
    newest.ok_or_else(|| {
        Problem::wrong(format!("no run is named, and there is none under `{RUNS}`"))
            .hint("name a run's directory: it is the first thing that `run` prints")
    })
}

impl Target {
    pub(crate) fn dir(&self) -> Result<RunDir, Problem> {
        run_dir(self.run.as_ref())
    }
}

impl RunStep {
    /// The run and the step's name; with one word the newest run.
    pub(crate) fn split(&self) -> Result<(RunDir, &str), Problem> {
        match self.words.as_slice() {
            [step] => Ok((run_dir(None)?, step)),
            [run, step] => Ok((RunDir::new(run), step)),
            _ => Err(Problem::wrong("a run and a step are wanted")),
        }
    }
}
