//! Drives a runner to its end in front of people: screen, status page, socket.

use super::exit::Exit;
use super::page::Publisher;
use super::problem::Problem;
use super::screen::Screen;
use crate::event::Outcome;
use crate::guard::Stats;
use crate::journal::rundir::RunDir;
use crate::operator::server;
use crate::report::board::{Count, span};
use crate::runner::clock::Clock;
use crate::runner::{self, News, Runner, RunnerEnd};
use std::collections::BTreeMap;
use std::time::Duration;

/// At most four redraws a second.
const FRAME: Duration = Duration::from_millis(250);

/// Drives a runner to its end.
pub(crate) async fn drive(runner: Runner, dir: &RunDir, json: bool) -> Result<RunnerEnd, Problem> {
    let clock = Clock::system();
    let door = runner.door();
    let mut news = door.listen();
    let options = runner.header().options.clone();
    let name = runner.header().run.clone();
    let run = runner.run_so_far().clone();
    let mut screen = Screen::new(run, &name, options.rehearsal, options.shift_s, json);
    let estate = runner.estate().cloned();
    let mut page = Publisher::new(dir, estate.as_deref(), options.shift_s, options.rehearsal);
    if let Some(cut) = runner.cut() {
        screen.note(&format!(
            "warning: the journal's tail was torn at line {} ({}); {} bytes were cut off and are kept in `{}`",
            cut.damage.line,
            cut.damage.why,
            cut.bytes,
            cut.kept.display()
        ));
    }
    let socket = server::open(door.clone())
        .map_err(|error| Problem::wrong(format!("opening the operators' socket: {error}")))?;
    let mut going = tokio::spawn(runner.run());
    let mut frame = tokio::time::interval(FRAME);
    let end = loop {
        tokio::select! {
            biased;
            Some(told) = news.recv() => tell(&mut screen, told),
            _ = frame.tick() => {
                let now = clock.now();
                screen.count(counts(&door.guard_stats()));
                screen.tick(now, door.progress.snapshot());
                page.look(screen.run(), now);
            }
            end = &mut going => break end,
        }
    };
    while let Ok(told) = news.try_recv() {
        tell(&mut screen, told);
    }
    screen.tick(clock.now(), Vec::new());
    page.look(screen.run(), clock.now());
    screen.end();
    drop(socket);
    match end {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(bug)) => {
            Err(Problem { exit: Exit::Unexpected, text: bug.to_string(), hint: None }.hint(
                format!("nothing of it was recorded: `cutover resume {}`", dir.path().display()),
            ))
        }
        Err(panic) => Err(Problem {
            exit: Exit::Unexpected,
            text: format!("BUG: the runner died: {panic}"),
            hint: Some(format!("`cutover resume {}` goes on", dir.path().display())),
        }),
    }
}

fn tell(screen: &mut Screen, told: News) {
    match told {
        News::Record(record) => screen.record(&record),
        News::ClockJumped(by) => {
            let way = if by.is_negative() { "back" } else { "forward" };
            screen.note(&format!("note: the wall clock jumped {way} by {}", span(by.abs())));
        }
        News::Found { provider, verdict, why } => screen.found(provider, verdict, why),
        News::Lane(entry) => {
            if let Some(text) = crate::report::lines::lane(&entry) {
                screen.note_once(text);
            }
        }
        News::Note(text) => screen.note(&text),
    }
}

/// The guard's counts by service: sums, and the slowest provider's p99.
fn counts(stats: &[Stats]) -> BTreeMap<String, Count> {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for one in stats {
        let service = one.name.split('@').next().unwrap_or_default();
        let count = counts.entry(service.to_owned()).or_default();
        count.answers += one.answers;
        let p99 = one.percentile(99.0).unwrap_or_default().as_secs_f64() * 1000.0;
        count.p99_ms = count.p99_ms.max(p99);
    }
    counts
}

/// The exit code of a runner's end.
pub(crate) fn exit_of(end: &RunnerEnd) -> Exit {
    if end.breached() {
        return Exit::Breached;
    }
    match end.exit {
        runner::Exit::Closed(Outcome::Completed) if end.partly() => Exit::RolledBack,
        runner::Exit::Closed(Outcome::Completed) => Exit::Done,
        runner::Exit::Closed(Outcome::RolledBack) => Exit::RolledBack,
        runner::Exit::Closed(Outcome::Stuck) | runner::Exit::NeedsPerson => Exit::Person,
        runner::Exit::Interrupted { .. } | runner::Exit::JournalLost(_) => Exit::Interrupted,
    }
}

/// What a person is to do next, said on stderr when the run has not ended.
pub(crate) fn next_step(end: &RunnerEnd, dir: &RunDir) -> Option<String> {
    let dir = dir.path().display();
    match &end.exit {
        runner::Exit::Closed(_) => None,
        runner::Exit::NeedsPerson => {
            let mut text = "a person is needed:\n".to_owned();
            for question in end.run.questions() {
                let answers: Vec<_> = question.answers.iter().map(|&a| a.word()).collect();
                text.push_str(&format!(
                    "  question {}: {}\n    cutover answer {dir} {} {}\n",
                    question.id,
                    question.text,
                    question.id,
                    answers.join("|")
                ));
            }
            text.push_str(&format!(
                "\nhint: `cutover resume {dir} --wait` goes on and takes answers from any terminal\n"
            ));
            Some(text)
        }
        runner::Exit::Interrupted { why, resume_at } => Some(match resume_at {
            Some(at) => format!("{why}\n\nhint: `cutover resume {dir}` at {at}\n"),
            None => format!("interrupted: {why}\n\nhint: `cutover resume {dir}` goes on\n"),
        }),
        runner::Exit::JournalLost(why) => Some(format!(
            "error: {why}\n\nhint: nothing more was done; make room or mend the disk, then `cutover resume {dir}`\n"
        )),
    }
}
