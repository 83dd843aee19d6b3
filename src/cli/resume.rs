//! `cutover resume`.

use super::args::Resume;
use super::drive::{drive, exit_of};
use super::exit::Exit;
use super::problem::Problem;
use super::run::finish;
use crate::runner::{self, ResumeOptions, Resumption};
use std::io::IsTerminal as _;

pub(super) fn main(args: Resume) -> Result<Exit, Problem> {
    let dir = args.target.dir()?;
    let replayed = crate::journal::replay::read(&dir)?;
    let rehearsal = replayed.header.options.rehearsal;
    let estate = replayed.estate.clone();
    #[cfg(feature = "lab")]
    if rehearsal && replayed.run.outcome().is_none() {
        super::rehearse::revive(&dir, estate.as_deref())?;
    }
    super::runtime()?.block_on(async {
        let resumed = runner::resume(ResumeOptions {
            run_dir: dir.clone(),
            by: super::ask::me(estate.as_deref()).await,
            wait: args.wait || std::io::stdin().is_terminal(),
            exit_between: args.exit_between,
            signals: true,
        })?;
        match resumed {
            Resumption::Finished(end, _) => {
                super::err(&format!("{} is finished; nothing is done\n", dir.path().display()));
                Ok(exit_of(&end))
            }
            Resumption::Goes(runner) => {
                #[cfg(feature = "lab")]
                if rehearsal {
                    return super::rehearse::go_on(*runner, &dir, &args).await;
                }
                let _ = rehearsal;
                let end = drive(*runner, &dir, args.json).await?;
                finish(&dir, &end, args.json)
            }
        }
    })
}
