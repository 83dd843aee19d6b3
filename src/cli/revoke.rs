//! `cutover revoke`: the emergency lane. Needs no runner, and no state of the run keeps it waiting.

use super::args::Revoke;
use super::exit::Exit;
use super::problem::Problem;
use crate::journal::replay::{self, Replayed};
use crate::journal::rundir::RunDir;
use crate::lane::admit::accept;
use crate::lane::file::LaneFile;
use crate::lane::worker::{LaneSaid, Setup, View, Worker};
use crate::operator::client::Client;
use crate::revocation::{Certificate, Order, Reason, Stage};
use crate::runner::clock::Clock;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the lane's file is looked at while a runner's worker does the work.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Json<'a> {
    line: &'a str,
    serial: &'a str,
    accepted: u64,
    confirmed: bool,
    ms: Option<i64>,
}

pub(super) fn main(args: &Revoke) -> Result<Exit, Problem> {
    let dir = args.target.dir()?;
    let reason = reason(&args.reason)?;
    let certificate = Certificate::new(args.line.as_str(), &args.serial)
        .map_err(|why| Problem::wrong(format!("`{}`: {why}", args.serial)))?;
    let replayed = replay::read(&dir)?;
    let Some(estate) = replayed.estate.clone() else {
        return Err(Problem::wrong("the run has no estate, so that no site can be reached"));
    };
    super::runtime()?.block_on(async {
        let by = super::ask::me(Some(&estate)).await;
        let received_at = Clock::system().now();
        let order = Order {
            certificate: certificate.clone(),
            reason,
            received_at,
            compromised_at: None,
            by,
        };
        let lines: Vec<String> =
            replayed.plan.lines.iter().map(|line| line.name.value.clone()).collect();
        let mut file = LaneFile::open(&dir)?;
        let accepted = accept(&mut file, &estate, lines.iter().map(String::as_str), order)?;
        let entry = accepted.map_err(|why| Problem::wrong(format!("refused: {why}")))?;
        if !args.json {
            super::out(&format!(
                "accepted as {}: {} of {} will be revoked\n",
                entry.seq, certificate.serial, certificate.line
            ));
        }
        let ms = if args.no_wait {
            None
        } else {
            wait(&dir, &replayed, estate, &certificate, args.within).await?
        };
        if args.json {
            let json = Json {
                line: &certificate.line,
                serial: &certificate.serial,
                accepted: entry.seq,
                confirmed: ms.is_some(),
                ms,
            };
            let text = serde_json::to_string(&json).map_err(anyhow::Error::from)?;
            super::out(&format!("{text}\n"));
        }
        match ms {
            Some(ms) => {
                if !args.json {
                    super::out(&format!("confirmed by every serving provider after {ms} ms\n"));
                }
                Ok(Exit::Done)
            }
            None if args.no_wait => Ok(Exit::Done),
            None => Err(Problem {
                exit: Exit::Person,
                text: format!("it is accepted, and not confirmed after {:?}", args.within),
                hint: Some(
                    "it stays accepted, and the runner goes on with it; without a runner ask again"
                        .to_owned(),
                ),
            }),
        }
    })
}

fn reason(text: &str) -> Result<Reason, Problem> {
    let by_name = Reason::ALL
        .into_iter()
        .find(|(code, name, _)| name.eq_ignore_ascii_case(text) || code.to_string() == text);
    by_name.map(|(_, _, reason)| reason).ok_or_else(|| {
        let names: Vec<_> =
            Reason::ALL.iter().map(|(code, name, _)| format!("{name} ({code})")).collect();
        Problem::wrong(format!("`{text}` is no reason to revoke for"))
            .hint(format!("one of {}", names.join(", ")))
    })
}

/// Waits for the confirmation: a living runner's worker does the work, else this process does.
async fn wait(
    dir: &RunDir,
    replayed: &Replayed,
    estate: Arc<crate::estate::Estate>,
    certificate: &Certificate,
    within: Duration,
) -> Result<Option<i64>, Problem> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if Client::connect(dir).await.is_err() {
            return by_itself(dir, replayed, estate, certificate, deadline).await;
        }
        let mut file = LaneFile::open(dir)?;
        // A runner that dies meanwhile is noticed every few looks.
        for _ in 0..20 {
            file.poll()?;
            if let Some(ms) = delay(&file, certificate) {
                return Ok(Some(ms));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(None)
}

fn delay(file: &LaneFile, certificate: &Certificate) -> Option<i64> {
    let delay = file.lane().get(certificate)?.delay()?;
    Some(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}

async fn by_itself(
    dir: &RunDir,
    replayed: &Replayed,
    estate: Arc<crate::estate::Estate>,
    certificate: &Certificate,
    deadline: Instant,
) -> Result<Option<i64>, Problem> {
    super::err("no runner has the run now: this command applies and confirms it by itself\n");
    let (_keep, view) = watch::channel(view(replayed, &estate));
    let (mut worker, mut said) = Worker::new(Setup { dir: dir.clone(), estate }, view)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let stage = worker.until_confirmed(certificate, left).await?;
    while let Ok(told) = said.try_recv() {
        if let LaneSaid::Trouble(text) = told {
            super::err(&format!("warning: {text}\n"));
        }
    }
    if stage != Some(Stage::Confirmed) {
        return Ok(None);
    }
    let known = worker.lane().get(certificate).and_then(|revocation| revocation.delay());
    Ok(known.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
}

/// What the journal of a run without a runner tells of the world.
fn view(replayed: &Replayed, estate: &crate::estate::Estate) -> View {
    let run = &replayed.run;
    let graph = &replayed.graph;
    let lines: Vec<&str> =
        replayed.plan.lines.iter().map(|line| line.name.value.as_str()).collect();
    let mut view = View::after_a_runner(estate, &lines, run.seq());
    for (index, provider) in graph.providers().iter().enumerate() {
        let id = crate::event::ProviderId(u32::try_from(index).unwrap_or(u32::MAX));
        if !run.is_up_in_plan(id) {
            continue;
        }
        let of = provider.line.map(|line| graph.line_name(line));
        for (line, serving) in &mut view.serving {
            if of.is_none_or(|of| of == line) {
                serving.insert(provider.name.clone());
            }
        }
    }
    view
}
