//! `cutover check`: what is proved of a plan before anything runs.

use super::args::Check;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use super::read::{Loaded, problem, rendered, strict, try_load};
use crate::graph::Graph;
use crate::load::FileFaults;
use crate::proof::window::{self, Learned, Options, Outlook, Times};
use crate::report::check::{Json, Page};
use crate::text::fault::{Fault, Located, Severity, locate};

pub(super) fn main(args: &Check) -> Result<Exit, Problem> {
    let learned = super::learn::learn(&args.learn)?;
    let options = Options { seed: args.seed, ..Options::default() };
    let mut judged = try_load(&args.plan, args.estate.as_deref())?;
    if args.strict {
        judged = judged.and_then(strict);
    }
    let mut loaded = match judged {
        Ok(loaded) => loaded,
        Err(faults) if args.json => {
            out(&format!("{}\n", Json::of(None, false, located(&faults.files)).text()));
            return Ok(Exit::Wrong);
        }
        Err(faults) => return Err(problem(&faults)),
    };
    let outlook = outlook(&loaded.graph, &learned, &options);
    if let Some(outlook) = &outlook {
        // Its warnings stand with those of the plan from here on.
        add_faults(&mut loaded, outlook.warnings.clone());
    }
    let page = Page {
        graph: &loaded.graph,
        proof: &loaded.proof,
        outlook: outlook.as_ref(),
        warnings: warnings(&loaded.faults),
    };
    if args.json {
        out(&format!("{}\n", Json::of(Some(&page), true, located(&loaded.faults)).text()));
    } else {
        super::err(&rendered(&loaded.faults));
        out(&page.text());
    }
    Ok(Exit::Done)
}

/// What can be told of a plan's time.
pub(super) fn outlook(graph: &Graph, learned: &Learned, options: &Options) -> Option<Outlook> {
    window::judge(graph, &Times::new(graph, learned), options, &super::fan::at_once)
}

fn warnings(files: &[FileFaults]) -> usize {
    let faults = files.iter().flat_map(|file| &file.faults);
    faults.filter(|fault| fault.severity == Severity::Warning).count()
}

fn located(files: &[FileFaults]) -> Vec<Located> {
    files.iter().flat_map(|file| locate(&file.faults, &file.path, &file.text)).collect()
}

fn add_faults(loaded: &mut Loaded, faults: Vec<Fault>) {
    if faults.is_empty() {
        return;
    }
    let path = &loaded.plan_path;
    let file = match loaded.faults.iter_mut().position(|file| file.path == *path) {
        Some(at) => &mut loaded.faults[at],
        None => {
            let text = std::sync::Arc::clone(&loaded.plan_text);
            let file = FileFaults { path: path.clone(), text, faults: Vec::new() };
            loaded.faults.insert(0, file);
            &mut loaded.faults[0]
        }
    };
    file.faults.extend(faults);
    crate::text::fault::sort(&mut file.faults);
}
