//! `cutover guard`: the guard alone.

use super::args::Guard;
use super::exit::Exit;
use super::problem::Problem;
use super::read::load;
use super::{out, run};
use crate::event::{Options, Verdict};
use crate::journal::rundir::RunDir;
use crate::runner::StartError;
use crate::runner::alone::{Watch, Word};
use crate::runner::clock::Clock;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn main(args: &Guard) -> Result<Exit, Problem> {
    let loaded = load(&args.plan, Some(&args.estate))?;
    super::err(&loaded.warnings);
    let Some(estate) = loaded.estate.clone() else {
        return Err(Problem::wrong("an estate is wanted"));
    };
    let clock = Clock::system();
    let runtime = super::runtime()?;
    let watch = runtime.block_on(async {
        let by = super::ask::me(Some(&estate)).await;
        let header = run::header(&loaded, &RunDir::new("guard"), by, Options::default());
        let mut watch = Watch::start(&loaded.graph, &estate, header, clock.now())?;
        let told = tell(&mut watch, args, &clock);
        let failed = |error| Problem::wrong(format!("signals are not caught: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let over = async {
            match args.length {
                Some(length) => tokio::time::sleep(length).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = told => told?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = over => {}
        }
        Ok::<_, Problem>(watch)
    })?;
    out(&if args.json { last_line(&watch)? } else { page(&watch) });
    Ok(if watch.breached() { Exit::Breached } else { Exit::Done })
}

/// Tells every word, until the guard is gone.
async fn tell(watch: &mut Watch, args: &Guard, clock: &Clock) -> Result<(), Problem> {
    while let Some(words) = watch.next(|| clock.now()).await.map_err(|error: StartError| error)? {
        for word in words {
            let at = clock.now();
            out(&if args.json { line(at, &word)? } else { sentence(at, &word) });
        }
    }
    Err(Problem { exit: Exit::Unexpected, text: "the guard has ended".into(), hint: None })
}

fn parts(verdict: &Verdict) -> (&'static str, &[String]) {
    match verdict {
        Verdict::Unknown => ("unknown", &[]),
        Verdict::Normal => ("normal", &[]),
        Verdict::Degraded(codes) => ("degraded", codes),
        Verdict::Down(codes) => ("down", codes),
        Verdict::Lying(codes) => ("lying", codes),
    }
}

fn sentence(at: Timestamp, word: &Word) -> String {
    let at = at.strftime("%H:%M:%S%.3f UTC");
    match word {
        Word::Verdict { provider, verdict, why } => {
            format!("{at}  {provider} {}: {why}\n", parts(verdict).0)
        }
        Word::Breached(service) => format!("{at}  BREACH of {service}\n"),
        Word::Silent => format!("{at}  BREACH: the guard is silent\n"),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breached: Option<&'a str>,
}

fn line(at: Timestamp, word: &Word) -> Result<String, Problem> {
    let none = Line { at, provider: None, verdict: None, codes: None, why: None, breached: None };
    let line = match word {
        Word::Verdict { provider, verdict, why } => {
            let (verdict, codes) = parts(verdict);
            let (provider, why) = (Some(provider.as_str()), Some(why.as_str()));
            Line { provider, verdict: Some(verdict), codes: Some(codes), why, ..none }
        }
        Word::Breached(service) => Line { breached: Some(service), ..none },
        Word::Silent => Line { breached: Some("guard-silent"), ..none },
    };
    Ok(format!("{}\n", serde_json::to_string(&line).map_err(anyhow::Error::from)?))
}

/// How often each code was found, over all providers.
fn findings(watch: &Watch) -> BTreeMap<&'static str, u64> {
    let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
    for stats in watch.stats() {
        for (code, count) in stats.findings {
            *all.entry(code).or_default() += count;
        }
    }
    all
}

fn last_line(watch: &Watch) -> Result<String, Problem> {
    let last = serde_json::json!({ "verdicts": watch.services(), "findings": findings(watch) });
    Ok(format!("{}\n", serde_json::to_string(&last).map_err(anyhow::Error::from)?))
}

fn page(watch: &Watch) -> String {
    let mut text = String::from("\n");
    // Writing to a string cannot fail.
    for stats in watch.stats() {
        let p99 = stats.percentile(99.0).unwrap_or(Duration::ZERO);
        let _ = writeln!(
            text,
            "{:<40} {:<9} {} answers, {} failures, p99 {} ms",
            stats.name,
            parts(&stats.verdict).0,
            stats.answers,
            stats.failures,
            p99.as_millis()
        );
    }
    text.push('\n');
    for (service, word) in watch.services() {
        let _ = writeln!(text, "{service:<9} {word}");
    }
    for (code, count) in findings(watch) {
        let _ = writeln!(text, "{code} {count}");
    }
    text
}
