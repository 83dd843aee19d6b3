//! From texts to a proved graph: reads a plan and its estate, compiles, proves, and keeps every
//! fault with the file that it belongs to. Not known here: where the texts come from.

use crate::estate::{self, Estate};
use crate::graph::Graph;
use crate::plan::{self, Plan};
use crate::proof::{self, Proof};
use crate::text::Span;
use crate::text::fault::{Fault, Severity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The faults of one file, with its text for the snippets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFaults {
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// Its faults, in written order.
    pub faults: Vec<Fault>,
}

/// What makes a plan or an estate unusable; at least one file has an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFaults {
    /// The plan first. Files without a fault are not listed.
    pub files: Vec<FileFaults>,
}

/// A plan, bound and proved.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The graph.
    pub graph: Arc<Graph>,
    /// The estate, when there was one.
    pub estate: Option<Arc<Estate>>,
    /// What was proved.
    pub proof: Proof,
    /// Warnings and notes, the plan's first; those of the proof are among them.
    pub warnings: Vec<FileFaults>,
}

/// Reads, compiles and proves. Each text comes with the path to say in messages.
///
/// # Errors
/// Every fault of both files in one go. A faulty estate does not keep the plan's own faults from
/// being found.
pub fn load(
    plan_path: &Path,
    plan_text: &str,
    estate: Option<(&Path, &str)>,
) -> Result<Loaded, LoadFaults> {
    load_shared(plan_path, &Arc::from(plan_text), estate)
}

/// The same of a plan's text that is shared and not copied: it may be large.
///
/// # Errors
/// As [`load`].
pub fn load_shared(
    plan_path: &Path,
    plan_text: &Arc<str>,
    estate: Option<(&Path, &str)>,
) -> Result<Loaded, LoadFaults> {
    let mut of_plan = FileFaults::new(plan_path, Arc::clone(plan_text));
    let mut of_estate = estate.map(|(path, text)| FileFaults::new(path, Arc::from(text)));
    let (plan, faults) = plan::read_anyway(plan_path, plan_text);
    let faulty = plan::is_fatal(&faults);
    of_plan.add(faults);
    let bound = match (estate, &mut of_estate) {
        (Some((path, text)), Some(of_estate)) => of_estate.take(estate::read(path, text)),
        _ => None,
    };
    let compiled = plan.and_then(|plan| compile(plan, bound.as_ref(), &mut of_plan));
    // A plan with errors was compiled for its further errors only.
    let compiled = compiled.filter(|_| !faulty);
    if faulty {
        of_plan.faults.retain(|fault| fault.severity == Severity::Error);
    }
    let files = std::iter::once(of_plan).chain(of_estate);
    let files = files.filter(|file| !file.faults.is_empty()).collect();
    let missing_estate = estate.is_some() && bound.is_none();
    match compiled {
        Some((graph, proof)) if !missing_estate => Ok(Loaded {
            graph: Arc::new(graph),
            estate: bound.map(Arc::new),
            proof,
            warnings: files,
        }),
        _ => Err(LoadFaults { files }),
    }
}

fn compile(plan: Plan, estate: Option<&Estate>, faults: &mut FileFaults) -> Option<(Graph, Proof)> {
    let graph = match Graph::compile(Arc::new(plan), estate) {
        Ok(graph) => graph,
        Err(found) => {
            faults.add(found);
            return None;
        }
    };
    faults.add(graph.warnings().to_vec());
    match proof::prove(&graph) {
        Ok(proof) => {
            faults.add(proof.warnings.clone());
            Some((graph, proof))
        }
        Err(found) => {
            faults.add(found);
            None
        }
    }
}

/// Where the faults of each rule stand, to find the one that a place has already.
struct Known {
    /// By rule: spans in order of their starts, each with the greatest end up to there.
    places: BTreeMap<&'static str, Vec<(u32, u32)>>,
}

impl Known {
    fn of(faults: &[Fault]) -> Self {
        let mut places: BTreeMap<&'static str, Vec<(u32, u32)>> = BTreeMap::new();
        for fault in faults {
            let Some(Span { start, end }) = fault.span else { continue };
            places.entry(fault.code).or_default().push((start, end));
        }
        for spans in places.values_mut() {
            spans.sort_unstable();
            let mut furthest = 0;
            spans.iter_mut().for_each(|(_, end)| {
                furthest = furthest.max(*end);
                *end = furthest;
            });
        }
        Self { places }
    }

    /// Whether the same rule is broken by something that overlaps.
    fn has(&self, fault: &Fault) -> bool {
        let (Some(span), Some(spans)) = (fault.span, self.places.get(fault.code)) else {
            return false;
        };
        let before = spans.partition_point(|(start, _)| *start < span.end);
        spans[..before].last().is_some_and(|(_, furthest)| span.start < *furthest)
    }
}

impl FileFaults {
    fn new(path: &Path, text: Arc<str>) -> Self {
        Self { path: path.to_owned(), text, faults: Vec::new() }
    }

    fn add(&mut self, faults: Vec<Fault>) {
        // Reader and graph know some of the same rules: one place breaks a rule once. The reader
        // points at a look-up, the graph at the whole text.
        let known = Known::of(&self.faults);
        self.faults.extend(faults.into_iter().filter(|fault| !known.has(fault)));
        self.faults.sort_by_key(|fault| fault.span);
    }

    fn take<T>(&mut self, read: Result<(T, Vec<Fault>), Vec<Fault>>) -> Option<T> {
        let (read, faults) = match read {
            Ok((read, warnings)) => (Some(read), warnings),
            Err(faults) => (None, faults),
        };
        self.add(faults);
        read
    }
}
