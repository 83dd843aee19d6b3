//! `cutover journal show|verify|seal`.

use super::args::Journal;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use crate::journal::chain::PADDING;
use crate::journal::replay::{self, Follow, Verified};
use crate::lane;
use crate::report::lines;
use jiff::tz::TimeZone;
use std::io::Read as _;

pub(super) fn main(args: &Journal) -> Result<Exit, Problem> {
    match args {
        Journal::Show { target, json: true } => {
            let path = target.dir()?.journal();
            let shown = path.display().to_string();
            let mut file = std::fs::File::open(&path)
                .map_err(|error| Problem::wrong(format!("opening `{shown}`: {error}")))?;
            let (mut part, mut last) = (vec![0; 1 << 16], PADDING);
            loop {
                let read = file
                    .read(&mut part)
                    .map_err(|error| Problem::wrong(format!("reading `{shown}`: {error}")))?;
                if read == 0 {
                    return Ok(Exit::Done);
                }
                // Lines that are empty are what a runner laid ahead.
                let mut lines = part[..read].to_vec();
                lines.retain(|byte| {
                    let before = std::mem::replace(&mut last, *byte);
                    (before, *byte) != (PADDING, PADDING)
                });
                out(&String::from_utf8_lossy(&lines));
            }
        }
        Journal::Show { target, json: false } => {
            let mut follow = Follow::open(&target.dir()?)?;
            let zones = &follow.replayed.plan.zones;
            let zone = zones.last().cloned().unwrap_or(TimeZone::UTC);
            while let Some(record) = follow.next()? {
                out(&format!("{}\n", lines::line(&follow.replayed.graph, &record, &zone)));
            }
            if let Some(damage) = follow.torn() {
                super::err(&format!("the tail is torn at line {}: {}\n", damage.line, damage.why));
            }
            Ok(Exit::Done)
        }
        Journal::Seal { target, seal_key } => {
            super::seal::main(&target.dir()?, seal_key.as_deref())
        }
        Journal::Verify { target, key } => {
            let dir = target.dir()?;
            let run = replay::verify(&dir)?;
            let lane = lane::file::verify(&dir)?;
            let seal = super::seal::judge(&dir, &run, lane.as_ref(), key.as_deref());
            // All are looked at before anything is said: a flaw in one does not hide another. The
            // seal of a damaged journal does not hold: the damage says more.
            let said: Vec<Result<String, Problem>> =
                std::iter::once(run).chain(lane).map(judged).chain([seal]).collect();
            for line in said.iter().flatten() {
                out(&format!("{line}\n"));
            }
            said.into_iter().collect::<Result<Vec<_>, _>>().map(|_| Exit::Done)
        }
    }
}

/// What was found of a file, as a line or as the problem that it is.
fn judged(verified: Verified) -> Result<String, Problem> {
    let file = verified.file.display();
    match verified.flaw {
        Some(flaw) => {
            Err(Problem::wrong(format!("{file}:{}: byte {}: {}", flaw.line, flaw.byte, flaw.why))
                .hint(format!(
                    "the {} records before it are intact; a torn tail is cut by `cutover resume`",
                    verified.records
                )))
        }
        None => Ok(format!(
            "{file}: {} records, {} bytes, all intact; head {}",
            verified.records, verified.bytes, verified.head
        )),
    }
}
