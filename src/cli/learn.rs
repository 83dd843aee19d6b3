//! What earlier runs took, read from their journals, for `check --learn RUN...`.

use super::problem::Problem;
use crate::journal::replay;
use crate::journal::rundir::RunDir;
use crate::proof::window::Learned;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Learns from each run once, in the order in which they are named.
pub(super) fn learn(runs: &[PathBuf]) -> Result<Learned, Problem> {
    let mut learned = Learned::default();
    let mut known = BTreeSet::new();
    for path in runs {
        let replayed = replay::read(&RunDir::new(path))?;
        if !known.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())) {
            let what = format!("the run `{}` is named twice", path.display());
            return Err(Problem::wrong(what).hint("name each run once: it would count twice"));
        }
        learned.add(&replayed.header, &replayed.graph, &replayed.history);
    }
    Ok(learned)
}
