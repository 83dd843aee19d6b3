//! Reads the files that a command names, and says every fault of them in one go.

use super::problem::Problem;
use crate::estate::Estate;
use crate::graph::Graph;
use crate::load::{FileFaults, LoadFaults};
use crate::proof::Proof;
use crate::text::fault::{Severity, render};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No plan or estate is larger; a file that is must be a mistake.
const LARGEST: u64 = 64 << 20;

/// A plan, with its estate if it has one, read, compiled and proved.
pub(crate) struct Loaded {
    pub(crate) graph: Arc<Graph>,
    pub(crate) estate: Option<Arc<Estate>>,
    pub(crate) proof: Proof,
    /// Absolute.
    pub(crate) plan_path: PathBuf,
    pub(crate) plan_text: Arc<str>,
    /// Absolute.
    pub(crate) estate_path: Option<PathBuf>,
    pub(crate) estate_text: Option<String>,
    /// Warnings as text, empty mostly; without notes.
    pub(crate) warnings: String,
    /// Warnings as data.
    pub(crate) faults: Vec<FileFaults>,
}

/// Reads, compiles and proves; the problem holds every fault.
pub(crate) fn load(plan: &Path, estate: Option<&Path>) -> Result<Loaded, Problem> {
    try_load(plan, estate)?.map_err(|faults| problem(&faults))
}

/// The same, with the faults as data.
pub(crate) fn try_load(
    plan: &Path,
    estate: Option<&Path>,
) -> Result<Result<Loaded, LoadFaults>, Problem> {
    let plan_text: Arc<str> = text(plan)?.into();
    let estate_text = estate.map(text).transpose()?;
    // Relative paths of a file start at its own directory, wherever the program is started.
    let plan_path = absolute(plan)?;
    let estate_path = estate.map(absolute).transpose()?;
    let with = estate_path.as_deref().zip(estate_text.as_deref());
    Ok(match crate::load::load_shared(&plan_path, &plan_text, with) {
        Ok(loaded) => Ok(Loaded {
            graph: loaded.graph,
            estate: loaded.estate,
            proof: loaded.proof,
            warnings: rendered_from(&loaded.warnings, Severity::Warning),
            faults: loaded.warnings,
            plan_path,
            plan_text,
            estate_path,
            estate_text,
        }),
        Err(faults) => Err(faults),
    })
}

/// Refuses a plan of which the proof had to take something on trust.
pub(crate) fn strict(mut loaded: Loaded) -> Result<Loaded, LoadFaults> {
    let mut refused = false;
    for file in &mut loaded.faults {
        refused |= crate::proof::strict(&mut file.faults);
    }
    if refused { Err(LoadFaults { files: loaded.faults }) } else { Ok(loaded) }
}

/// Every fault as people read it, with the file's path as it was typed where that is shorter.
pub(crate) fn rendered(files: &[FileFaults]) -> String {
    rendered_from(files, Severity::Note)
}

/// The same, of what is at least so bad: notes are for `check` alone.
fn rendered_from(files: &[FileFaults], least: Severity) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let mut out = String::new();
    for file in files {
        let path = file.path.strip_prefix(&here).unwrap_or(&file.path);
        // The worst severity is the least of its order.
        let faults: Vec<_> =
            file.faults.iter().filter(|fault| fault.severity <= least).cloned().collect();
        if faults.is_empty() {
            continue;
        }
        out.push_str(&render(&faults, path, &file.text));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

pub(crate) fn problem(faults: &LoadFaults) -> Problem {
    let errors: usize = faults
        .files
        .iter()
        .flat_map(|file| &file.faults)
        .filter(|fault| fault.severity == Severity::Error)
        .count();
    let names: Vec<String> = faults
        .files
        .iter()
        .filter_map(|file| Some(format!("`{}`", file.path.file_name()?.to_string_lossy())))
        .collect();
    let plural = if errors == 1 { "fault" } else { "faults" };
    Problem::wrong(format!(
        "{} cannot be used: {errors} {plural}\n\n{}",
        names.join(" and "),
        rendered(&faults.files)
    ))
}

fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::fs::canonicalize(path)
        .map_err(|error| Problem::wrong(format!("opening `{}`: {error}", path.display())))
}

pub(crate) fn text(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let failed = |error: std::io::Error| Problem::wrong(format!("reading `{shown}`: {error}"));
    let file = std::fs::File::open(path)
        .map_err(|error| Problem::wrong(format!("opening `{shown}`: {error}")))?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Problem::wrong(format!("`{shown}` is a directory"))
            .hint("name the plan's or estate's own file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Problem::wrong(format!("`{shown}` is larger than {} MiB", LARGEST >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::wrong(format!("`{shown}` is not UTF-8 text: byte {at} is no part of a character"))
    })
}
