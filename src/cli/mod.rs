//! The command line: one file per command; thin, as everything is decided below.

pub mod args;
mod ask;
mod check;
mod drive;
pub mod exit;
pub mod fan;
mod graph;
mod guard;
mod harden;
mod init;
mod journal;
#[cfg(feature = "lab")]
mod lab;
mod learn;
mod page;
mod preflight;
mod problem;
mod read;
#[cfg(feature = "lab")]
mod rehearse;
mod report;
mod resume;
mod revoke;
mod run;
mod schema;
mod screen;
mod seal;
mod simulate;
mod status;
mod target;
mod watch;

use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _};
use exit::Exit;
use problem::Problem;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// The whole program: reads the command line, does what it says, answers with the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with 0, mistakes to stderr with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Wrong as u8));
        }
    };
    #[cfg(feature = "lab")]
    if let Command::Lab(args::Lab::Tool { words }) = &cli.command {
        return lab::tool(words);
    }
    harden::harden();
    log();
    match command(cli.command) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            err(&format!("{problem}\n"));
            problem.exit.into()
        }
    }
}

fn command(command: Command) -> Result<Exit, Problem> {
    match command {
        Command::Check(args) => check::main(&args),
        Command::Graph(args) => graph::main(&args),
        Command::Preflight(args) => preflight::main(&args),
        Command::Guard(args) => guard::main(&args),
        Command::Simulate(args) => simulate::main(&args),
        #[cfg(feature = "lab")]
        Command::Rehearse(args) => rehearse::main(args),
        Command::Run(args) => run::main(args),
        Command::Resume(args) => resume::main(args),
        Command::Status(args) => status::main(&args),
        Command::Watch(args) => watch::main(&args),
        Command::Hold(args) => ask::hold(&args),
        Command::Release(args) => ask::release(&args),
        Command::Approve(args) => ask::approve(&args),
        Command::Answer(args) => ask::answer(&args),
        Command::Claim(args) => ask::claim(&args),
        Command::Done(args) => ask::done(&args),
        Command::Fail(args) => ask::fail(&args),
        Command::Retry(args) => ask::retry(&args),
        Command::Skip(args) => ask::skip(&args),
        Command::Abort(args) => ask::abort(&args),
        Command::Rollback(args) => ask::rollback(&args),
        Command::Revoke(args) => revoke::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Journal(args) => journal::main(&args),
        #[cfg(feature = "lab")]
        Command::Lab(args) => lab::main(args),
        Command::Schema(args) => schema::main(&args),
        Command::Init(args) => init::main(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cutover", &mut text);
            out(&String::from_utf8_lossy(&text));
            Ok(Exit::Done)
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut text)
                .map_err(|error| Problem::wrong(format!("writing the manual page: {error}")))?;
            out(&String::from_utf8_lossy(&text));
            Ok(Exit::Done)
        }
    }
}

/// Warnings of the program go to stderr; `CUTOVER_LOG=debug` says more.
fn log() {
    let level = match std::env::var("CUTOVER_LOG").as_deref() {
        Ok("trace") => tracing::Level::TRACE,
        Ok("debug") => tracing::Level::DEBUG,
        Ok("info") => tracing::Level::INFO,
        _ => tracing::Level::WARN,
    };
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
    // A second call in one process (tests) is no harm.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(!plain)
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Writes to standard output; a reader that went away is no error.
pub(crate) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed pipe means that nobody reads: there is nobody to tell.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes to standard error, likewise.
pub(crate) fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Files that a runtime has open before it does anything, and some to begin with.
const FILES: usize = 24;

/// The runtime of a command that needs one. It would panic where no file can be opened any more.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    let room = (0..FILES).map(|_| std::fs::File::open("/dev/null"));
    if let Err(error) = room.collect::<Result<Vec<_>, _>>().map(drop) {
        return Err(Problem::wrong(format!("{FILES} files more cannot be opened here: {error}"))
            .hint("`ulimit -n` says how many may be; a run takes some for each step at once"));
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Problem::wrong(format!("starting: {error}")))
}
