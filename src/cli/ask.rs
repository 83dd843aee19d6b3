//! What people ask of a run from any terminal: over its socket, or, when no runner has it now, straight
//! into its journal.

use super::args::{Answer, Approve, Done, Fail, OneStep, Reasoned, Release, Rollback};
use super::exit::Exit;
use super::problem::Problem;
use super::target::run_dir;
use crate::estate::Estate;
use crate::event;
use crate::event::Answer as Word;
use crate::journal::replay;
use crate::journal::rundir::RunDir;
use crate::operator::client::{Client, ClientError};
use crate::operator::protocol::{Ask, How, Refused, Reply};
use crate::runner;
use std::collections::BTreeMap;

pub(super) fn hold(args: &Reasoned) -> Result<Exit, Problem> {
    let reason = or_else(&args.reason, "held by hand");
    ask(&args.target.dir()?, &Ask::Hold { reason })
}

pub(super) fn release(args: &Release) -> Result<Exit, Problem> {
    ask(&args.target.dir()?, &Ask::Release { hold: args.hold })
}

pub(super) fn approve(args: &Approve) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    let step = step.to_owned();
    match &args.no {
        Some(reason) => ask(&dir, &Ask::Disapprove { step, reason: reason.clone() }),
        None => ask(&dir, &Ask::Approve { step, note: args.note.clone() }),
    }
}

pub(super) fn answer(args: &Answer) -> Result<Exit, Problem> {
    let (dir, question, word) = match args.words.as_slice() {
        [question, word] => (run_dir(None)?, question, word),
        [run, question, word] => (RunDir::new(run), question, word),
        _ => return Err(Problem::wrong("a question's number and an answer are wanted")),
    };
    let number: u64 = question.parse().map_err(|_| {
        Problem::wrong(format!("`{question}` is no question's number"))
            .hint("`cutover status` lists the open questions")
    })?;
    let answer = Word::ALL.into_iter().find(|answer| answer.word() == word.as_str());
    let Some(answer) = answer else {
        let words: Vec<_> = Word::ALL.iter().map(|answer| answer.word()).collect();
        return Err(Problem::wrong(format!("`{word}` is no answer"))
            .hint(format!("one of {}", words.join(", "))));
    };
    ask(&dir, &Ask::Answer { question: number, answer, note: args.note.clone() })
}

pub(super) fn claim(args: &OneStep) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    ask(&dir, &Ask::Claim { step: step.to_owned() })
}

pub(super) fn done(args: &Done) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    ask(&dir, &Ask::Finish { step: step.to_owned(), evidence: args.evidence.clone() })
}

pub(super) fn fail(args: &Fail) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    ask(&dir, &Ask::Fail { step: step.to_owned(), reason: args.reason.clone() })
}

pub(super) fn retry(args: &OneStep) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    ask(&dir, &Ask::Retry { step: step.to_owned() })
}

pub(super) fn skip(args: &Fail) -> Result<Exit, Problem> {
    let (dir, step) = args.at.split()?;
    ask(&dir, &Ask::Skip { step: step.to_owned(), reason: args.reason.clone() })
}

pub(super) fn abort(args: &Reasoned) -> Result<Exit, Problem> {
    let reason = or_else(&args.reason, "aborted by hand");
    ask(&args.target.dir()?, &Ask::Abort { reason })
}

pub(super) fn rollback(args: &Rollback) -> Result<Exit, Problem> {
    let back = match (&args.line, &args.to) {
        (Some(line), _) => How::Line(line.clone()),
        (None, Some(name)) => How::To(name.clone()),
        (None, None) => How::Run { all: args.all },
    };
    let reason = or_else(&args.reason, "ordered by hand");
    ask(&args.target.dir()?, &Ask::Rollback { back, reason })
}

fn or_else(reason: &str, default: &str) -> String {
    if reason.is_empty() { default.to_owned() } else { reason.to_owned() }
}

/// The person who runs this process, with the estate's groups.
pub(crate) async fn me(estate: Option<&Estate>) -> event::Person {
    let nobody = BTreeMap::new();
    crate::operator::person::myself(estate.map_or(&nobody, |estate| &estate.people)).await
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let exit = match error {
            ClientError::Gone | ClientError::Io(_) | ClientError::Strange(_) => Exit::Unexpected,
            _ => Exit::Wrong,
        };
        Self { exit, text: error.to_string(), hint: error.hint() }
    }
}

/// Records what is asked of a run that nobody runs now: a held run is answered before it is resumed.
async fn without_runner(dir: &RunDir, what: &Ask) -> Result<Reply, Problem> {
    let replayed = replay::read(dir)?;
    let who = me(replayed.estate.as_deref()).await;
    let asked = match what.clone().requests(&replayed.graph) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Reply::Refused(refusal.into())),
    };
    let (names, requests): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let answers = runner::record(dir, &who, requests).await?;
    Ok(Reply::gathered(names.into_iter().zip(answers).collect()))
}

/// Asks the run's runner, and says what became of it once it is durable.
fn ask(dir: &RunDir, what: &Ask) -> Result<Exit, Problem> {
    if dir.journal().symlink_metadata().is_err() {
        return Err(crate::journal::JournalError::Absent { directory: dir.path().into() }.into());
    }
    let (reply, acts) = super::runtime()?.block_on(async {
        match Client::connect(dir).await {
            Ok(mut client) => Ok::<_, Problem>((client.ask(what).await?, "")),
            Err(ClientError::NoRunner { .. }) => {
                Ok((without_runner(dir, what).await?, "; `cutover resume` acts on it"))
            }
            Err(error) => Err(error.into()),
        }
    })?;
    match reply {
        Reply::Ok { seq, steps, refused } => {
            let about =
                if steps.is_empty() { String::new() } else { format!(" for {}", steps.join(", ")) };
            super::out(&format!("recorded as {seq}{about}{acts}\n"));
            for one in refused {
                super::err(&format!("warning: {}\n", refusal(&one)));
            }
            Ok(Exit::Done)
        }
        Reply::Refused(one) => {
            let problem = Problem::wrong(refusal(&one));
            Err(match one.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            })
        }
        Reply::Progress(_) | Reply::Durable(_) => {
            Err(ClientError::Strange("progress instead of an answer".to_owned()).into())
        }
    }
}

fn refusal(refused: &Refused) -> String {
    match &refused.step {
        Some(step) => format!("`{step}`: {}", refused.why),
        None => refused.why.clone(),
    }
}
