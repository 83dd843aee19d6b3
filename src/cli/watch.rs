//! `cutover watch`: follows a run's journal, and outlives its runner.

use super::args::Watch;
use super::exit::Exit;
use super::problem::Problem;
use super::screen::Screen;
use crate::event::Job;
use crate::executor::Progress;
use crate::graph::Graph;
use crate::journal::replay::Follow;
use crate::journal::rundir::RunDir;
use crate::operator::client::Client;
use crate::operator::protocol::{Ask, JobProgress, Reply};
use crate::runner::clock::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two attempts to reach a runner: there may be none, and then one again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the journal is looked at. Its file system tells nobody that it grew.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn main(args: &Watch) -> Result<Exit, Problem> {
    let dir = args.target.dir()?;
    let mut follow = Follow::open(&dir)?;
    let header = follow.replayed.header.clone();
    let run = follow.replayed.run.clone();
    let options = &header.options;
    let mut screen = Screen::new(run, &header.run, options.rehearsal, options.shift_s, args.json);
    super::runtime()?.block_on(async {
        let clock = Clock::system();
        let progress = Arc::new(Mutex::new(Vec::new()));
        let listening =
            tokio::spawn(listen(dir.clone(), screen.run().graph().clone(), progress.clone()));
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            while let Some(record) = follow.next()? {
                screen.record(&record);
            }
            let latest = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
            screen.tick(clock.now(), latest);
            if follow.replayed.run.outcome().is_some() {
                listening.abort();
                screen.end();
                return Ok(Exit::Done);
            }
        }
    })
}

/// Hears a runner's progress for as long as there is one, and its successor's.
async fn listen(dir: RunDir, graph: Arc<Graph>, latest: Arc<Mutex<Vec<(Job, Progress)>>>) {
    loop {
        if let Ok(mut client) = Client::connect(&dir).await {
            let mut reply = client.ask(&Ask::Subscribe).await;
            while let Ok(told) = reply {
                if let Reply::Progress(jobs) = told {
                    let jobs = jobs.into_iter().filter_map(|job| known(&graph, job)).collect();
                    *latest.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
                }
                reply = client.next().await;
            }
            latest.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn known(graph: &Graph, told: JobProgress) -> Option<(Job, Progress)> {
    let job = Job { step: graph.find(&told.step)?, way: told.way, attempt: told.attempt };
    Some((job, Progress { doing: told.doing, rows: told.rows, bytes: told.bytes }))
}
