//! `cutover run`.

use super::args::Run;
use super::drive::{drive, exit_of, next_step};
use super::exit::Exit;
use super::problem::Problem;
use super::read::{Loaded, load};
use super::target::RUNS;
use crate::event::{Header, Options, Person};
use crate::journal::seal::Signer;
use crate::journal::{FORMAT, replay, rundir::RunDir};
use crate::runner::{self, StartOptions, clock::Clock};
use jiff::Timestamp;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

pub(super) fn main(args: Run) -> Result<Exit, Problem> {
    let signer = super::seal::signer(args.running.seal_key.as_deref())?;
    let loaded = load(&args.plan, args.estate.as_deref())?;
    super::err(&loaded.warnings);
    if let Some(lock) = &args.locked {
        super::preflight::hold_to(&loaded, lock)?;
    }
    consent(&loaded, args.yes.as_deref())?;
    let now = Clock::system().now();
    let shift_s = if args.shift_window { shift(&loaded, now) } else { 0 };
    let dir = directory(args.running.run.as_ref(), now)?;
    let options = Options {
        rehearsal: false,
        shift_s,
        seed: args.running.seed,
        faults: args.running.fault.clone(),
        revocations: 0,
    };
    refuse_faults(&loaded, &options)?;
    let runtime = super::runtime()?;
    let by = runtime.block_on(super::ask::me(loaded.estate.as_deref()));
    let header = header(&loaded, &dir, by, options);
    super::out(&format!("{}\n", dir.path().display()));
    if args.detach {
        return detach(&loaded, &dir, header, args.running.seal_key.as_deref());
    }
    runtime.block_on(async {
        let runner = runner::start(StartOptions {
            graph: loaded.graph.clone(),
            estate: loaded.estate.clone(),
            header,
            run_dir: dir.clone(),
            wait: args.running.wait || std::io::stdin().is_terminal(),
            exit_between: args.exit_between,
            signals: true,
        })?;
        let end = drive(runner, &dir, args.running.json).await?;
        finish(&dir, &end, args.running.json, signer.as_ref())
    })
}

/// The directory of a new run: the named one, or a fresh one.
pub(crate) fn directory(named: Option<&PathBuf>, now: Timestamp) -> Result<RunDir, Problem> {
    match named {
        Some(path) => {
            let dir = RunDir::new(path);
            if dir.journal().symlink_metadata().is_ok() {
                return Err(Problem::from(crate::journal::JournalError::Exists {
                    directory: path.clone(),
                }));
            }
            Ok(dir)
        }
        None => Ok(RunDir::fresh(Path::new(RUNS), now)?),
    }
}

/// Seconds by which the window moves so that it opens now.
pub(crate) fn shift(loaded: &Loaded, now: Timestamp) -> i64 {
    let window = loaded.graph.plan().window.as_ref();
    window.map_or(0, |window| now.duration_since(window.opens).as_secs())
}

/// The first record of a run.
pub(crate) fn header(loaded: &Loaded, dir: &RunDir, by: Person, options: Options) -> Header {
    Header {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        run: dir.name(),
        plan_path: loaded.plan_path.display().to_string(),
        plan: loaded.plan_text.to_string(),
        estate_path: loaded.estate_path.as_ref().map(|path| path.display().to_string()),
        estate: loaded.estate_text.clone(),
        graph: loaded.graph.digest(),
        by,
        options,
    }
}

/// A production estate is run only when its name was typed.
fn consent(loaded: &Loaded, yes: Option<&str>) -> Result<(), Problem> {
    let Some(estate) = loaded.estate.as_ref().filter(|estate| estate.production) else {
        return Ok(());
    };
    let refused = |why: &str| {
        Problem::wrong(format!("estate `{}` is production: {why}", estate.name))
            .hint(format!("run it with `--yes {}`, or type the name when asked", estate.name))
    };
    let typed = match yes {
        Some(name) => name.to_owned(),
        None if std::io::stdin().is_terminal() => {
            super::err(&format!(
                "This is the production estate `{}`. Type its name to go on: ",
                estate.name
            ));
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|error| refused(&format!("nothing could be read: {error}")))?;
            line.trim().to_owned()
        }
        None => return Err(refused("nobody is there to type its name")),
    };
    if typed == estate.name { Ok(()) } else { Err(refused("its name was not typed")) }
}

fn refuse_faults(loaded: &Loaded, options: &Options) -> Result<(), Problem> {
    let production = loaded.estate.as_ref().is_some_and(|estate| estate.production);
    if production && !options.faults.is_empty() {
        return Err(Problem::wrong("faults are not put into a production estate"));
    }
    Ok(())
}

/// Leaves the run to a process of its own, which takes it up from the journal.
fn detach(
    loaded: &Loaded,
    dir: &RunDir,
    header: Header,
    seal_key: Option<&Path>,
) -> Result<Exit, Problem> {
    use std::os::unix::process::CommandExt as _;
    let now = Clock::system().now();
    let (journal, _) = crate::journal::Journal::create(dir, &loaded.graph, header, now)?;
    // The lock must be free before the other process asks for it.
    drop(journal);
    let failed =
        |error: std::io::Error| Problem::wrong(format!("going to the background: {error}"));
    let log = std::fs::File::create(dir.path().join("runner.log")).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    std::process::Command::new(program)
        .args(["resume", "--wait"])
        .args(seal_key.map(|_| "--seal-key"))
        .args(seal_key)
        .arg(dir.path())
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    super::err(&format!("hint: `cutover watch {}` follows it\n", dir.path().display()));
    Ok(Exit::Done)
}

/// Says how it ended, and answers with the exit code.
pub(crate) fn finish(
    dir: &RunDir,
    end: &runner::RunnerEnd,
    json: bool,
    signer: Option<&Signer>,
) -> Result<Exit, Problem> {
    let (replayed, verified) = replay::read_and_verify(dir)?;
    if matches!(end.exit, runner::Exit::Closed(_)) {
        super::seal::at_the_end(dir, Ok(verified), signer);
    }
    let summary = super::report::summary_of(&replayed, dir)?;
    if json {
        super::out(&format!("{}\n", summary.json_line()));
    } else {
        super::out(&summary.text());
    }
    if let Some(text) = next_step(end, dir) {
        super::err(&text);
    }
    Ok(exit_of(end))
}
