//! `cutover resume`.

use super::args::Resume;
use super::drive::{drive, exit_of};
use super::exit::Exit;
use super::problem::Problem;
use super::run::finish;
use crate::event::Header;
use crate::journal::replay;
use crate::runner::{self, ResumeOptions, Resumption};
use std::io::IsTerminal as _;

pub(super) fn main(args: Resume) -> Result<Exit, Problem> {
    let dir = args.target.dir()?;
    let signer = super::seal::signer(args.seal_key.as_deref())?;
    let replayed = crate::journal::replay::read(&dir)?;
    say_what_changed(&replayed.header);
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
                if !dir.seal().exists() {
                    super::seal::at_the_end(&dir, replay::verify(&dir), signer.as_ref());
                }
                Ok(exit_of(&end))
            }
            Resumption::Goes(runner) => {
                #[cfg(feature = "lab")]
                if rehearsal {
                    return super::rehearse::go_on(*runner, &dir, &args, signer).await;
                }
                let _ = rehearsal;
                let end = drive(*runner, &dir, args.json).await?;
                finish(&dir, &end, args.json, signer.as_ref())
            }
        }
    })
}

/// A run goes by what its journal holds. Whoever has edited the files since is told that it does.
fn say_what_changed(header: &Header) {
    let plan = Some((&header.plan_path, &header.plan));
    let estate = header.estate_path.as_ref().zip(header.estate.as_ref());
    for (what, (path, text)) in [("plan", plan), ("estate", estate)]
        .into_iter()
        .filter_map(|(what, known)| Some((what, known?)))
    {
        // A file that is gone is not needed.
        if std::fs::read(path).is_ok_and(|now| now != text.as_bytes()) {
            super::err(&format!(
                "note: the {what} `{path}` was changed since the run began; the run goes on with the copy in its journal\n"
            ));
        }
    }
}
