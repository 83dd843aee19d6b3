//! `cutover init`: a small plan to begin with, which checks clean.

use super::args::Init;
use super::exit::Exit;
use super::problem::Problem;
use super::read::{rendered, text};
use crate::{estate, load, plan};
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub(super) fn main(args: &Init) -> Result<Exit, Problem> {
    let read = match &args.estate {
        None => None,
        Some(path) => Some((path.clone(), text(path)?)),
    };
    let known = match &read {
        None => None,
        Some((path, text)) => {
            let (known, _) = estate::read(path, text).map_err(|faults| {
                let shown = crate::text::fault::render(&faults, path, text);
                Problem::wrong(format!("`{}` cannot be used\n\n{shown}", path.display()))
            })?;
            Some(known)
        }
    };
    let sketch = plan::sketch(known.as_ref());
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from("plan.yaml"));
    prove(&path, &sketch, read.as_ref())?;
    match &args.output {
        None => super::out(&sketch),
        Some(path) => {
            write_new(path, &sketch)?;
            super::err(&format!("hint: `cutover check {}` proves it\n", path.display()));
        }
    }
    Ok(Exit::Done)
}

/// What is handed out checks clean.
fn prove(path: &Path, sketch: &str, read: Option<&(PathBuf, String)>) -> Result<(), Problem> {
    let with = read.map(|(path, text)| (path.as_path(), text.as_str()));
    load::load(path, sketch, with).map(|_| ()).map_err(|faults| {
        Problem::wrong(format!(
            "no plan could be made for this estate\n\n{}",
            rendered(&faults.files)
        ))
        .hint("begin with `cutover init`, without the estate, and tell us about it")
    })
}

fn write_new(path: &Path, text: &str) -> Result<(), Problem> {
    let failed =
        |error: std::io::Error| Problem::wrong(format!("writing `{}`: {error}", path.display()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
