//! `cutover watch`: follows a run's journal, and outlives its runner.

use super::args::Watch;
use super::exit::Exit;
use super::problem::Problem;
use super::screen::Screen;
use crate::journal::replay::Follow;
use crate::runner::clock::Clock;
use std::time::Duration;

/// How often the journal is looked at. Its file system tells nobody that it grew.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn main(args: &Watch) -> Result<Exit, Problem> {
    let dir = args.target.dir()?;
    let mut follow = Follow::open(&dir)?;
    let header = follow.replayed.header.clone();
    let run = follow.replayed.run.clone();
    let options = &header.options;
    let mut screen =
        Screen::new(run, &header.run, options.rehearsal, options.shift_s, args.json);
    super::runtime()?.block_on(async {
        let clock = Clock::system();
        let mut link = crate::operator::client::progress(&dir, screen.run().graph());
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            while let Some(record) = follow.next()? {
                screen.record(&record);
            }
            screen.tick(clock.now(), link.latest());
            if follow.replayed.run.outcome().is_some() {
                screen.end();
                return Ok(Exit::Done);
            }
        }
    })
}
