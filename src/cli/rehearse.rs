//! `cutover rehearse`: the whole plan on the embedded lab, or on an estate that is not production.

use super::args::{Rehearse, Resume};
use super::drive::drive;
use super::exit::Exit;
use super::problem::Problem;
use super::read::{Loaded, load};
use super::run::{directory, finish, header, shift};
use crate::estate::Estate;
use crate::event::Options;
use crate::journal::rundir::RunDir;
use crate::journal::seal::Signer;
use crate::lab;
use crate::runner::clock::Clock;
use crate::runner::rehearsal::{self, Script};
use crate::runner::{self, Runner, RunnerEnd, StartOptions};
use std::path::Path;
use std::time::Duration;

pub(super) fn main(args: Rehearse) -> Result<Exit, Problem> {
    if args.faults {
        super::out(&faults());
        return Ok(Exit::Done);
    }
    let Some(plan) = args.plan.clone() else {
        return Err(Problem::wrong("a plan is wanted"));
    };
    let signer = super::seal::signer(args.running.seal_key.as_deref())?;
    // A plan that is wrong by itself needs no lab to be refused.
    let first = load(&plan, args.estate.as_deref())?;
    super::err(&first.warnings);
    let now = Clock::system().now();
    let dir = directory(args.running.run.as_ref(), now)?;
    super::out(&format!("{}\n", dir.path().display()));
    let runtime = super::runtime()?;
    let (loaded, own_lab) = match &args.estate {
        Some(_) => (first, false),
        None => (bring_up(&args, &first, &dir, &plan)?, true),
    };
    let ended = runtime.block_on(async {
        let options = Options {
            rehearsal: true,
            shift_s: shift(&loaded, Clock::system().now()),
            seed: args.running.seed,
            faults: args.running.fault.clone(),
            revocations: args.revoke,
        };
        let by = super::ask::me(loaded.estate.as_deref()).await;
        let runner = runner::start(StartOptions {
            graph: loaded.graph.clone(),
            estate: loaded.estate.clone(),
            header: header(&loaded, &dir, by, options),
            run_dir: dir.clone(),
            wait: args.running.wait || args.ask,
            exit_between: false,
            signals: true,
        })?;
        let script =
            Script { seed: args.running.seed, answer: !args.ask, revocations: args.revoke };
        play(runner, &dir, script, args.running.json).await
    });
    let end = match ended {
        Ok(end) => end,
        Err(problem) => {
            if own_lab && !args.keep_lab {
                // What went wrong is said; a lab that does not end by itself now ends when idle.
                let _ = lab::down(&dir.lab());
            }
            return Err(problem);
        }
    };
    close(&dir, &end, args.settle, args.keep_lab, args.running.json, signer.as_ref())
}

/// Goes on with a rehearsal whose runner died or was interrupted.
pub(super) async fn go_on(
    runner: Runner,
    dir: &RunDir,
    args: &Resume,
    signer: Option<Signer>,
) -> Result<Exit, Problem> {
    let options = &runner.header().options;
    let script = Script { seed: options.seed, answer: !args.ask, revocations: options.revocations };
    let end = play(runner, dir, script, args.json).await?;
    let (dir, keep, json) = (dir.clone(), args.keep_lab, args.json);
    let closing = move || close(&dir, &end, Duration::ZERO, keep, json, signer.as_ref());
    tokio::task::spawn_blocking(closing)
        .await
        .map_err(|error| Problem::wrong(format!("closing the rehearsal: {error}")))?
}

async fn play(
    runner: Runner,
    dir: &RunDir,
    script: Script,
    json: bool,
) -> Result<RunnerEnd, Problem> {
    for fault in runner.lab_faults() {
        let (directory, fault) = (dir.lab(), fault.clone());
        tokio::task::spawn_blocking(move || lab::set_fault(&directory, &fault, true))
            .await
            .map_err(|error| Problem::wrong(error.to_string()))?
            .map_err(|error| Problem::wrong(format!("{error:#}")))?;
    }
    let people = rehearsal::play(&runner, script);
    let end = drive(runner, dir, json).await;
    people.abort();
    end
}

/// Brings the lab of a rehearsal up again when its process is gone: killed, or ended because nobody
/// asked it anything while the run was held.
pub(super) fn revive(dir: &RunDir, estate: Option<&Estate>) -> Result<(), Problem> {
    let Some(known) = estate.and_then(|estate| estate.lab.as_ref()) else { return Ok(()) };
    // One that somebody brought up by hand is his to look after; and whoever has the run has its lab.
    let own = dir.lab().canonicalize().is_ok_and(|own| own == known.directory);
    if !own || crate::journal::lock::holder(dir).ok().flatten().is_some() {
        return Ok(());
    }
    let Some(found) = lab::again(&dir.lab()).map_err(|error| {
        Problem::wrong(format!(
            "the lab of this rehearsal is gone, and cannot be had again: {error:#}"
        ))
    })?
    else {
        return Ok(());
    };
    if found.control != known.control {
        let _ = lab::down(&dir.lab());
        return Err(Problem::wrong(format!(
            "the lab of this rehearsal came up at {}, and the run knows it at {}: its `ports.json` is \
             not the one that it had",
            found.control, known.control
        )));
    }
    super::err("the lab was gone: it is up again, with its data, at its addresses\n");
    Ok(())
}

/// Brings the lab up, and binds the plan to it.
fn bring_up(args: &Rehearse, first: &Loaded, dir: &RunDir, plan: &Path) -> Result<Loaded, Problem> {
    super::err("bringing up a lab of two sites\n");
    let named: Vec<String> =
        first.graph.plan().lines.iter().map(|line| line.name.value.clone()).collect();
    let options = lab::Options {
        lines: if named.is_empty() { lab::Options::default().lines } else { named },
        certificates: args.certificates.into(),
        orders: args.orders.into(),
        load: f64::from(args.load) / 100.0,
        ..lab::Options::default()
    };
    let wrong = |error: anyhow::Error| Problem::wrong(format!("{error:#}"));
    dir.make()?;
    lab::refuse_living(&dir.lab()).map_err(wrong)?;
    if lab::is_used(&dir.lab()).map_err(wrong)? {
        return Err(Problem::wrong(format!(
            "`{}` is the lab of another rehearsal, which has moved it",
            dir.lab().display()
        ))
        .hint("remove that directory, or name another with `--run`"));
    }
    lab::up(&dir.lab(), &options).map_err(wrong)?;
    let placed = lab::place_estate(&dir.lab(), dir.path()).map_err(wrong);
    let loaded = placed.and_then(|estate| load(plan, Some(&estate)));
    if loaded.is_err() {
        let _ = lab::down(&dir.lab());
    }
    loaded
}

/// Takes the witness's record, ends the lab when the run is closed, and says how it ended.
fn close(
    dir: &RunDir,
    end: &RunnerEnd,
    settle: Duration,
    keep_lab: bool,
    json: bool,
    signer: Option<&Signer>,
) -> Result<Exit, Problem> {
    let closed = matches!(end.exit, runner::Exit::Closed(_));
    if dir.lab().exists() {
        if closed {
            // Not waited for anything: clients are watched for a while after the last step.
            std::thread::sleep(settle);
        }
        match lab::witness::summary(&dir.lab()) {
            Ok(summary) => {
                let text = serde_json::to_string_pretty(&summary).map_err(anyhow::Error::from)?;
                std::fs::write(dir.witness(), text).map_err(|error| {
                    Problem::wrong(format!("writing `{}`: {error}", dir.witness().display()))
                })?;
            }
            Err(error) => super::err(&format!("warning: the witness is not heard: {error:#}\n")),
        }
        if closed && !keep_lab {
            if let Err(error) = lab::down(&dir.lab()) {
                super::err(&format!("warning: {error:#}\n"));
            }
        } else if lab::tenant(&dir.lab()).is_ok_and(|who| who.is_none()) {
            super::err("the lab's process is gone: `cutover resume` brings it up again\n");
        } else {
            super::err(&format!(
                "the lab stays up: `cutover lab down {}` ends it\n",
                dir.lab().display()
            ));
        }
    }
    finish(dir, end, json, signer)
}

fn faults() -> String {
    let mut text = String::new();
    for fault in runner::fault::faults() {
        text.push_str(&format!("{:<34} {}\n", fault.form, fault.about));
    }
    for fault in lab::faults() {
        text.push_str(&format!("{fault:<34} in the lab, until taken out or over\n"));
    }
    text
}
