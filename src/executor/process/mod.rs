//! `run` and `script`: a command in a process group of its own, whose end is its exit.
//!
//! Everything that a later runner needs to find it lies in the attempt's directory: its pid, when
//! it started, what it wrote, how it ended. Not known here: why a command runs (`do`, undo and check
//! are alike), and remote hosts (they come with the real estate).

mod leftover;
mod output;
mod promised;

pub use leftover::{Leftover, settle_leftovers};

use super::until::{Cut, Until};
use super::{Ask, Context, Deed, Worked};
use crate::action::process::{Run, Script};
use crate::estate::{Estate, Host};
use crate::event::{Ending, Outputs};
use crate::failure::{Failure, FailureKind};
use crate::plan::Output;
use output::{Kept, Sink};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command as Spawn};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);
/// What was written before the exit is read; a grandchild that keeps the pipe open is not waited for.
const DRAIN: Duration = Duration::from_millis(250);
/// A killed process that is not gone after it hangs in the kernel: nobody knows what it still does.
const DEATH: Duration = Duration::from_secs(10);

/// A command to run.
pub(crate) struct Command<'a> {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// `SITE/HOST`; none: this machine.
    pub(crate) at: Option<&'a str>,
    /// Added to the environment.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Where its files go: the attempt's directory or one below it.
    pub(crate) directory: PathBuf,
}

/// How a command that was started ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal that did not come from here.
    Signal(i32),
    /// Ended by us, with everything in its group.
    Cut(Cut),
    /// Killed by us, and still there.
    Undead,
}

/// A command that was started and is over.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended.
    pub(crate) exit: Exit,
    stdout: Kept,
    stderr: Kept,
    /// Of a command that was ended: processes of it that had left its group and still run.
    survivors: Vec<i32>,
}

/// Carries out `run:`.
pub(crate) async fn run(
    run: &Run<String>,
    deed: &Deed,
    until: &Until,
    context: &Context,
) -> Worked {
    let command = Command {
        argv: run.argv.clone(),
        at: run.at.as_deref(),
        env: &run.env,
        directory: context.attempt_dir.clone(),
    };
    act(&command, &run.argv, deed, until, context).await
}

/// Carries out `script:`. The text goes by a file: stdin stays empty, argv stays short.
pub(crate) async fn script(
    script: &Script<String>,
    deed: &Deed,
    until: &Until,
    context: &Context,
) -> Worked {
    let directory = absolute(&context.attempt_dir);
    let file = directory.join("script");
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&file, &script.text))
        .map_err(|error| unable(deed.ask, Failure::transient(cannot("write", &file, &error))))?;
    let argv = ["sh".to_owned(), "-eu".to_owned(), file.to_string_lossy().into_owned()];
    let command =
        Command { argv: argv.to_vec(), at: script.at.as_deref(), env: &script.env, directory };
    act(&command, &["script".to_owned()], deed, until, context).await
}

async fn act(
    command: &Command<'_>,
    named: &[String],
    deed: &Deed,
    until: &Until,
    context: &Context,
) -> Worked {
    let patterns = patterns(&deed.outputs).map_err(|failure| unable(deed.ask, failure))?;
    let name = named.first().map_or("", |name| name.as_str());
    context.doing(format!("running {name}"));
    let ran =
        execute(command, until, context).await.map_err(|failure| unable(deed.ask, failure))?;
    match deed.ask {
        Ask::Check => {
            ran.as_check(name, until)?;
            Ok(promised::after_check(&patterns, &ran.stdout.text(), &context.attempt_dir))
        }
        Ask::Perform | Ask::IsDone => {
            ran.as_deed(name, until)?;
            catch(&patterns, &ran.stdout.text())
        }
    }
}

/// What a command that was never started means: a check has no answer then.
fn unable(ask: Ask, failure: Failure) -> Ending {
    match ask {
        Ask::Perform => Ending::Failed(failure),
        Ask::IsDone | Ask::Check => Ending::Unknown(failure),
    }
}

impl Ran {
    /// Exit 0 is success, anything else a failure that another attempt may cure; what was killed is
    /// in doubt.
    pub(crate) fn as_deed(&self, name: &str, until: &Until) -> Result<(), Ending> {
        match self.exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(Ending::Failed(self.failure(
                FailureKind::Transient,
                format!("`{name}` ended with exit status {code}"),
            ))),
            exit => Err(self.cut_short(exit, name, until)),
        }
    }

    /// Exit 0 is done, 1 not done, anything else no answer.
    pub(crate) fn as_check(&self, name: &str, until: &Until) -> Worked {
        match self.exit {
            Exit::Code(0) => Ok(Outputs::new()),
            Exit::Code(1) => Err(Ending::NotDone),
            Exit::Code(code) => Err(Ending::Unknown(self.failure(
                FailureKind::InDoubt,
                format!("`{name}` ended with exit status {code}, which is neither 0 (done) nor 1 (not done)"),
            ))),
            exit => Err(self.cut_short(exit, name, until)),
        }
    }

    fn cut_short(&self, exit: Exit, name: &str, until: &Until) -> Ending {
        match exit {
            Exit::Cut(Cut::Stop) => Ending::Stopped,
            Exit::Cut(Cut::Deadline) => Ending::Unknown(self.failure(
                FailureKind::TimedOut,
                format!("`{name}` was ended: {}", until.too_late()),
            )),
            Exit::Undead => Ending::Unknown(self.failure(
                FailureKind::InDoubt,
                format!("`{name}` was killed and is still there: it hangs in the kernel"),
            )),
            Exit::Signal(signal) => Ending::Unknown(self.failure(
                FailureKind::InDoubt,
                format!("`{name}` was killed by {}", signal_name(signal)),
            )),
            Exit::Code(code) => {
                Ending::Unknown(self.failure(
                    FailureKind::InDoubt,
                    format!("`{name}` ended with exit status {code}"),
                ))
            }
        }
    }

    /// The failure, with the last thing that the command said about it.
    fn failure(&self, kind: FailureKind, what: String) -> Failure {
        let mut chain = vec![what];
        if !self.survivors.is_empty() {
            // Not ended: it may be the very service that the command was to start.
            chain.push(format!(
                "it left processes outside of its group, which still run: {:?}",
                self.survivors
            ));
        }
        chain.extend(self.stderr.last_line().or_else(|| self.stdout.last_line()));
        Failure { kind, chain }
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        // Not from us: a person, or the kernel when memory ran out.
        9 => "SIGKILL (by a person, or because memory ran out)",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// Runs a command to its end.
///
/// # Errors
/// It was never started: nothing was done.
pub(crate) async fn execute(
    command: &Command<'_>,
    until: &Until,
    context: &Context,
) -> Result<Ran, Failure> {
    let directory = absolute(&command.directory);
    if let Err(error) = fs::create_dir_all(&directory) {
        return Err(Failure::transient(cannot("make", &directory, &error)));
    }
    let mut child = start(command, &directory, context)?;
    let mut out = Sink::new(&directory, "stdout");
    let mut err = Sink::new(&directory, "stderr");
    let exit = {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut pumps = pin!(async { tokio::join!(out.pump(stdout), err.pump(stderr)) });
        let mut over = pin!(attend(&mut child, until));
        let mut pumping = true;
        let exit = loop {
            tokio::select! {
                exit = &mut over => break exit,
                _ = &mut pumps, if pumping => pumping = false,
            }
        };
        if pumping {
            let _ = timeout(DRAIN, pumps).await;
        }
        exit
    };
    let survivors = match exit {
        Exit::Cut(_) => leftover::survivors(&directory).await,
        _ => Vec::new(),
    };
    leftover::record_end(&directory, exit);
    Ok(Ran { exit, stdout: out.finish(), stderr: err.finish(), survivors })
}

fn start(command: &Command<'_>, directory: &Path, context: &Context) -> Result<Child, Failure> {
    let name = command.argv.first().ok_or_else(|| Failure::last("the command is empty"))?;
    let (program, search) = locate(name, command.at, command.env.get("PATH"), &context.estate)?;
    let work = absolute(&context.plan_dir);
    if !work.is_dir() {
        return Err(Failure::last(format!("the plan's directory `{}` is gone", work.display())));
    }
    let mut spawn = Spawn::new(&program);
    spawn
        .args(&command.argv[1..])
        .envs(command.env)
        .env("PATH", &search)
        .env("CUTOVER_RUN", &context.run)
        .env("CUTOVER_STEP", &context.step)
        .env("CUTOVER_ATTEMPT", context.attempt.to_string())
        .env(leftover::TOKEN, directory)
        .current_dir(&work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    leftover::record_intent(directory);
    let child = spawn.spawn().map_err(|error| {
        leftover::forget(directory);
        let what = format!("command `{name}` cannot be started ({}): {error}", program.display());
        // Too many files, processes, or too little memory may pass; a missing interpreter does not.
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ArgumentListTooLong
            | io::ErrorKind::InvalidInput => Failure::last(what),
            _ if error.raw_os_error() == Some(8) => Failure::last(what),
            _ => Failure::transient(what),
        }
    })?;
    if let Some(pid) = child.id() {
        leftover::record_pid(directory, pid);
    }
    Ok(child)
}

/// Waits for the exit of a command, or ends its whole group when the attempt must end.
async fn attend(child: &mut Child, until: &Until) -> Exit {
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid else {
        return code(child.wait().await);
    };
    // While its leader is not reaped, the group's number belongs to nobody else.
    let mut group = Group { pid, alive: true };
    let mut watch = Watch::new(pid);
    tokio::select! {
        biased;
        () = watch.exited(child) => {
            group.alive = false;
            code(child.wait().await)
        }
        cut = until.cut() => {
            group.signal(Signal::TERM);
            let _ = timeout(GRACE, watch.exited(child)).await;
            // Those that the leader left behind as well.
            group.signal(Signal::KILL);
            let gone = timeout(DEATH, child.wait()).await;
            group.alive = false;
            gone.map_or(Exit::Undead, |_| Exit::Cut(cut))
        }
    }
}

fn code(status: io::Result<ExitStatus>) -> Exit {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        },
        Err(error) => {
            tracing::warn!("waiting for a command: {error}");
            Exit::Undead
        }
    }
}

/// A process group that dies with its runner's interest in it.
struct Group {
    pid: Pid,
    alive: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        // A group that is gone already is what was wanted.
        let _ = kill_process_group(self.pid, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.alive {
            self.signal(Signal::KILL);
        }
    }
}

/// Sees a child exit without reaping it.
struct Watch {
    pid: Pid,
    deaths: Option<unix::Signal>,
}

impl Watch {
    /// Listens before the first look, so that no death is missed.
    fn new(pid: Pid) -> Self {
        Self { pid, deaths: unix::signal(SignalKind::child()).ok() }
    }

    async fn exited(&mut self, child: &mut Child) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Some(deaths) = &mut self.deaths {
            match waitid(WaitId::Pid(self.pid), look) {
                Ok(Some(_)) => return,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
            if deaths.recv().await.is_none() {
                break;
            }
        }
        // Without signals the exit is seen by reaping.
        let _ = child.wait().await;
    }
}

/// The directory of a local host's own commands, if it has one.
fn host_path(estate: &Estate, at: Option<&str>) -> Result<Option<PathBuf>, Failure> {
    let Some(at) = at else { return Ok(None) };
    let unknown = || Failure::last(format!("the estate has no host `{at}`"));
    let (site, host) = at.split_once('/').ok_or_else(unknown)?;
    let site = estate.sites.get(site).ok_or_else(unknown)?;
    match &site.hosts.get(host).ok_or_else(unknown)?.value {
        Host::Local { path } => Ok(path.as_deref().map(absolute)),
        Host::Ssh(destination) => Err(Failure::last(format!(
            "host `{at}` is reached by ssh (`{destination}`), which comes with the real estate"
        ))),
    }
}

/// Where a command and its children look for commands: the host's own first.
fn search_path(host: Option<&Path>, given: Option<&String>) -> OsString {
    let rest = match given {
        Some(given) => OsString::from(given),
        None => std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
    };
    match host {
        Some(host) => {
            let mut path = host.as_os_str().to_owned();
            path.push(":");
            path.push(rest);
            path
        }
        None => rest,
    }
}

/// The program that a name means at a host, and where it and its children look for commands.
pub(crate) fn locate(
    name: &str,
    at: Option<&str>,
    path: Option<&String>,
    estate: &Estate,
) -> Result<(PathBuf, OsString), Failure> {
    let own = host_path(estate, at)?;
    let search = search_path(own.as_deref(), path);
    let program = find(name, &search).ok_or_else(|| {
        let place = at.map_or_else(|| "on this machine".to_owned(), |at| format!("at `{at}`"));
        let first =
            own.as_ref().map_or_else(String::new, |path| format!("`{}` and ", path.display()));
        Failure::last(format!("command `{name}` is not found {place}: looked in {first}the PATH"))
    })?;
    Ok((program, search))
}

fn find(name: &str, search: &OsString) -> Option<PathBuf> {
    // With a slash it starts from the plan's directory, as the child's working directory has it.
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(search).map(|place| place.join(name)).find(|file| {
        fs::metadata(file)
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    })
}

/// A command as it would be typed, for people.
pub(crate) fn shown(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn patterns(outputs: &[Output]) -> Result<Vec<(&str, regex_lite::Regex)>, Failure> {
    outputs
        .iter()
        .map(|output| {
            let pattern = regex_lite::Regex::new(&output.pattern).map_err(|error| {
                Failure::last(format!("the pattern of output `{}`: {error}", output.name))
            })?;
            Ok((output.name.as_str(), pattern))
        })
        .collect()
}

/// The first match of each pattern: its first group, or all of it. A step that does not say what it
/// promised has failed here, where it can be seen, and not where the value is used.
fn catch(patterns: &[(&str, regex_lite::Regex)], stdout: &str) -> Worked {
    let mut outputs = Outputs::new();
    for (name, pattern) in patterns {
        let found = pattern.captures(stdout).ok_or_else(|| {
            Ending::Failed(Failure::last(format!(
                "output `{name}`: nothing in stdout matches `{pattern}`"
            )))
        })?;
        let value = found.get(1).or_else(|| found.get(0)).map_or("", |value| value.as_str());
        outputs.insert((*name).to_owned(), value.to_owned());
    }
    Ok(outputs)
}

/// Catches outputs from a text that is not a command's.
pub(crate) fn catch_from(outputs: &[Output], text: &str) -> Worked {
    catch(&patterns(outputs).map_err(Ending::Failed)?, text)
}

/// Spelled in one way, without a trailing slash: a later runner looks for the very same text.
fn absolute(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.components().collect()
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} `{}`: {error}", path.display())
}

#[cfg(test)]
mod tests;
