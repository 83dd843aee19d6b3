//! The seal of a closed run: made at its end, and judged by `journal verify`.

use super::exit::Exit;
use super::problem::Problem;
use crate::journal::JournalError;
use crate::journal::replay::{self, Verified};
use crate::journal::rundir::RunDir;
use crate::journal::seal::{self, Seal, Signer};
use crate::lane;
use crate::runner::clock::Clock;
use std::path::Path;

/// Reads the key that a run is to be sealed with, before anything begins.
pub(super) fn signer(path: Option<&Path>) -> Result<Option<Signer>, Problem> {
    path.map(|path| {
        Signer::read(path).map_err(|error| {
            Problem::wrong(format!("the seal's key `{}`: {error}", path.display()))
                .hint("`openssl genpkey -algorithm ed25519 -out FILE` makes one")
        })
    })
    .transpose()
}

/// Seals a run that has just closed, given what its journal holds. What has happened stays so when that
/// fails: it is only said.
pub(super) fn at_the_end(
    dir: &RunDir,
    journal: Result<Verified, JournalError>,
    signer: Option<&Signer>,
) {
    if let Err(problem) = journal.map_err(Problem::from).and_then(|it| put(dir, it, signer)) {
        super::err(&format!("warning: the run is not sealed: {}\n", problem.text));
        super::err(&format!("hint: `cutover journal seal {}` does it\n", dir.path().display()));
    }
}

/// `cutover journal seal`.
pub(super) fn main(dir: &RunDir, key: Option<&Path>) -> Result<Exit, Problem> {
    let signer = signer(key)?;
    let (replayed, verified) = replay::read_and_verify(dir)?;
    if replayed.run.outcome().is_none() {
        return Err(Problem::wrong(format!("`{}` is not closed yet", dir.path().display()))
            .hint("a run is sealed when it has ended"));
    }
    if let Some(Seal { key: Some(by), .. }) = known(dir)? {
        return Err(Problem::wrong(format!("it is sealed already, by the key {by}")).hint(
            "`cutover journal verify` judges the seal; move `seal.json` away to make another",
        ));
    }
    let seal = put(dir, verified, signer.as_ref())?;
    let by = seal.key.map_or_else(|| "without a key".to_owned(), |key| format!("by the key {key}"));
    super::out(&format!("{}: sealed {by}\n", dir.seal().display()));
    Ok(Exit::Done)
}

fn put(dir: &RunDir, journal: Verified, signer: Option<&Signer>) -> Result<Seal, Problem> {
    let (journal, lane) = (intact(journal)?, lane::file::verify(dir)?);
    let lane = lane.map(intact).transpose()?;
    let at = Clock::system().now();
    let seal = Seal::new(dir.name(), at, &journal, lane.as_ref(), signer);
    seal.write(dir)
        .map_err(|error| Problem::wrong(format!("writing `{}`: {error}", dir.seal().display())))?;
    Ok(seal)
}

/// What is damaged is not sealed.
fn intact(verified: Verified) -> Result<Verified, Problem> {
    match &verified.flaw {
        Some(flaw) => Err(Problem::wrong(format!("{}: {flaw}", verified.file.display()))),
        None => Ok(verified),
    }
}

fn known(dir: &RunDir) -> Result<Option<Seal>, Problem> {
    Seal::read(dir).map_err(|error| {
        Problem::wrong(format!("{}: {error}", dir.seal().display()))
            .hint("the seal was changed, or is of another program")
    })
}

/// What `journal verify` says of the seal, given what it found of the journals. A key that is named
/// must have signed.
pub(super) fn judge(
    dir: &RunDir,
    journal: &Verified,
    lane: Option<&Verified>,
    key: Option<&str>,
) -> Result<String, Problem> {
    let file = dir.seal();
    let key = key
        .map(|given| {
            seal::public_key(given)
                .map_err(|error| Problem::wrong(format!("the key `{given}`: {error}")))
        })
        .transpose()?;
    let Some(seal) = known(dir)? else {
        let text = format!("{}: unsealed", file.display());
        return match key {
            Some(_) => Err(Problem::wrong(text).hint("a seal by that key was asked for")),
            None => Ok(text),
        };
    };
    let judged = seal.judge(dir, journal, lane, key.as_deref()).map_err(|why| {
        Problem::wrong(format!("{}: the seal does not hold: {why}", file.display()))
            .hint("a record was changed, added or taken away since, or the seal was")
    })?;
    let by = match (&judged.by, key) {
        (None, _) => "without a key: it shows what is missing, not who made it".to_owned(),
        (Some(by), Some(_)) => format!("by the key {by}"),
        (Some(by), None) => format!("by the key {by} (`--key` says whose it must be)"),
    };
    let after = match judged.after {
        0 => String::new(),
        more => format!("; {more} revocation records came after it"),
    };
    Ok(format!("{}: sealed {} {by}{after}", file.display(), seal.at))
}
