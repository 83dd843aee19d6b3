//! A command that outlived its runner: how it is found, and ended before its step goes on.
//!
//! An attempt's directory holds `intent` (a command is about to start), `pid` (which, since when, in
//! which boot) and `status` (how it ended). Intent without status is a command that may still live.
//! Its children carry the directory's name in their environment, so that a runner killed between
//! start and `pid`, or a leader that died before its children, leave nobody unfound. Not found: a
//! process that cleared its environment and left its group.

use super::Exit;
use crate::executor::until::Cut;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The environment variable that names the attempt's directory.
pub(super) const TOKEN: &str = "CUTOVER_ATTEMPT_DIR";
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);
/// After KILL; who is still there then hangs in the kernel.
const DEATH: Duration = Duration::from_secs(10);
/// How deep attempts' directories are looked for.
const DEPTH: usize = 3;

/// What was found of an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The attempt's directory.
    pub attempt: PathBuf,
    /// Processes that were still there, by pid.
    pub pids: Vec<i32>,
    /// All of them are gone now.
    pub gone: bool,
}

pub(super) fn record_intent(directory: &Path) {
    let _ = fs::remove_file(directory.join("status"));
    note(directory, "intent", &boot_id());
}

pub(super) fn forget(directory: &Path) {
    let _ = fs::remove_file(directory.join("intent"));
}

pub(super) fn record_pid(directory: &Path, pid: u32) {
    let start = i32::try_from(pid).ok().and_then(start_time).unwrap_or(0);
    note(directory, "pid", &format!("{pid} {start} {}\n", boot_id()));
}

pub(super) fn record_end(directory: &Path, exit: Exit) {
    let how = match exit {
        Exit::Code(code) => format!("exit {code}\n"),
        Exit::Signal(signal) => format!("signal {signal}\n"),
        Exit::Cut(Cut::Stop) => "stopped\n".to_owned(),
        Exit::Cut(Cut::Deadline) => "timed out\n".to_owned(),
        // It may act yet: the next attempt has to look for it.
        Exit::Undead => return,
    };
    note(directory, "status", &how);
}

/// Whole or not at all. A disk that is full must not end a step: without these notes a takeover
/// still finds the processes by their environment.
fn note(directory: &Path, name: &str, text: &str) {
    let half = directory.join(format!("{name}.new"));
    let noted = fs::write(&half, text).and_then(|()| fs::rename(&half, directory.join(name)));
    if let Err(error) = noted {
        tracing::warn!("{}: {error}", directory.join(name).display());
    }
}

/// Ends what earlier attempts of a step left running. To be called with the directory that holds
/// the step's attempts, before a check or a new attempt of the step begins; nothing of this process
/// may be running there. No stranger is touched: a process counts only by boot, pid and start time,
/// or by the attempt's name in its environment.
///
/// # Errors
/// The directory cannot be read (a missing one is empty).
pub async fn settle_leftovers(step_attempts_dir: &Path) -> io::Result<Vec<Leftover>> {
    let mut open = Vec::new();
    unended(&super::absolute(step_attempts_dir), DEPTH, &mut open)?;
    let mut found = Vec::new();
    for attempt in open {
        if let Some(leftover) = settle(&attempt).await {
            found.push(leftover);
        }
    }
    Ok(found)
}

/// Who of an attempt still runs after its group was killed: whoever left the group before. Looked for
/// until nobody is left, half a second at most: the killed take a moment to die.
pub(super) async fn survivors(directory: &Path) -> Vec<i32> {
    let mut left = Vec::new();
    for _ in 0..10 {
        left = members(directory, None).iter().map(|member| member.pid).collect();
        if left.is_empty() {
            return left;
        }
        sleep(Duration::from_millis(50)).await;
    }
    tracing::warn!("{}: outside of the command's group and alive: {left:?}", directory.display());
    left
}

/// Directories with an intent and no status.
fn unended(directory: &Path, depth: usize, open: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (mut intent, mut status) = (false, false);
    let mut below = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.file_name().to_str() {
            Some("intent" | "pid") => intent = true,
            Some("status") => status = true,
            _ if depth > 0 && entry.file_type()?.is_dir() => below.push(entry.path()),
            _ => {}
        }
    }
    below.sort();
    if intent && !status {
        open.push(directory.to_owned());
    }
    below.iter().try_for_each(|below| unended(below, depth - 1, open))
}

async fn settle(attempt: &Path) -> Option<Leftover> {
    let leader = recorded_leader(attempt);
    let first = members(attempt, leader);
    if first.is_empty() {
        return None;
    }
    let pids = first.iter().map(|member| member.pid).collect();
    tracing::warn!("{}: ending what outlived its runner: {pids:?}", attempt.display());
    let begun = Instant::now();
    loop {
        // Looked for anew each time: they may have begotten others meanwhile.
        let left = members(attempt, leader);
        if left.is_empty() {
            return Some(Leftover { attempt: attempt.to_owned(), pids, gone: true });
        }
        let late = begun.elapsed();
        if late > GRACE + DEATH {
            return Some(Leftover { attempt: attempt.to_owned(), pids, gone: false });
        }
        let signal = if late > GRACE { Signal::KILL } else { Signal::TERM };
        for member in left {
            // Its number was checked after the pidfd was opened: it is nobody else.
            let _ = pidfd_send_signal(&member.pidfd, signal);
            if leader == Some(member.pid) {
                // While its leader lives the group is its own.
                let _ = Pid::from_raw(member.pid).map(|pid| kill_process_group(pid, signal));
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

struct Member {
    pid: i32,
    pidfd: OwnedFd,
}

/// The recorded process, if it is from this boot and the same that was recorded.
fn recorded_leader(attempt: &Path) -> Option<i32> {
    let text = fs::read_to_string(attempt.join("pid")).ok()?;
    let mut words = text.split_whitespace();
    let pid: i32 = words.next()?.parse().ok()?;
    let start: u64 = words.next()?.parse().ok()?;
    (words.next()? == boot_id().trim() && start_time(pid)? == start && start != 0).then_some(pid)
}

/// Everybody who belongs to the attempt and is not dead.
fn members(attempt: &Path, leader: Option<i32>) -> Vec<Member> {
    let token = format!("{TOKEN}={}", attempt.display());
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != me && belongs(*pid, &token, leader, attempt))
        .filter_map(|pid| {
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            // Asked again: from here on the number cannot change hands unseen.
            belongs(pid, &token, leader, attempt).then_some(Member { pid, pidfd })
        })
        .collect()
}

fn belongs(pid: i32, token: &str, leader: Option<i32>, attempt: &Path) -> bool {
    if matches!(stat(pid).map(|stat| stat.state), None | Some('Z' | 'X')) {
        return false;
    }
    if leader == Some(pid) {
        return recorded_leader(attempt) == leader;
    }
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == token.as_bytes())
}

struct Stat {
    state: char,
    start: u64,
}

/// State and start time (clock ticks since boot) of a process.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name and may hold anything, parentheses too.
    let after = text.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(text.get(after + 1..)?).into_owned();
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, start: fields.nth(18)?.parse().ok()? })
}

fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    fn sleeper(directory: &Path, text: &str) -> std::process::Child {
        Command::new("sh")
            .args(["-c", text])
            .env(TOKEN, directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh")
    }

    #[tokio::test]
    async fn a_child_that_outlived_its_runner_is_found_by_pid_and_ended() {
        let step = tempfile::tempdir().expect("a directory");
        let attempt = step.path().join("do-1");
        fs::create_dir(&attempt).expect("a directory");
        record_intent(&attempt);
        // Its environment says nothing: only pid and start time do.
        let mut child = sleeper(Path::new("/elsewhere"), "exec sleep 600");
        record_pid(&attempt, child.id());
        let found = settle_leftovers(step.path()).await.expect("readable");
        assert_eq!(found.len(), 1);
        assert!(found[0].gone);
        let status = child.wait().expect("its end");
        assert!(!status.success());
    }

    #[tokio::test]
    async fn one_whose_pid_was_never_written_is_found_by_its_environment() {
        let step = tempfile::tempdir().expect("a directory");
        let attempt = step.path().join("do-1");
        fs::create_dir(&attempt).expect("a directory");
        record_intent(&attempt);
        let mut child = sleeper(&attempt, "trap '' TERM; sleep 600 & wait");
        // The exec of `sh` is what makes the environment visible.
        while !belongs(child.id() as i32, &format!("{TOKEN}={}", attempt.display()), None, &attempt)
        {
            tokio::task::yield_now().await;
        }
        let found = settle_leftovers(step.path()).await.expect("readable");
        assert!(found[0].gone);
        child.wait().expect("its end");
    }

    #[tokio::test]
    async fn a_stranger_with_the_same_pid_is_left_alone() {
        let step = tempfile::tempdir().expect("a directory");
        let mut child = sleeper(Path::new("/elsewhere"), "exec sleep 600");
        let start = start_time(child.id() as i32).expect("its start");
        for (name, start, boot) in [("do-1", start + 1, boot_id()), ("do-2", start, "other".into())]
        {
            let attempt = step.path().join(name);
            fs::create_dir(&attempt).expect("a directory");
            record_intent(&attempt);
            note(&attempt, "pid", &format!("{} {start} {boot}\n", child.id()));
        }
        assert_eq!(settle_leftovers(step.path()).await.expect("readable"), []);
        assert!(child.try_wait().expect("a state").is_none(), "it was killed");
        child.kill().expect("ours");
        child.wait().expect("its end");
    }

    #[tokio::test]
    async fn an_attempt_that_ended_leaves_its_daemons_alone() {
        let step = tempfile::tempdir().expect("a directory");
        let attempt = step.path().join("do-1");
        fs::create_dir(&attempt).expect("a directory");
        record_intent(&attempt);
        let mut child = sleeper(&attempt, "exec sleep 600");
        record_pid(&attempt, child.id());
        record_end(&attempt, Exit::Code(0));
        assert_eq!(settle_leftovers(step.path()).await.expect("readable"), []);
        assert!(child.try_wait().expect("a state").is_none(), "it was killed");
        child.kill().expect("ours");
        child.wait().expect("its end");
    }

    #[tokio::test]
    async fn no_directory_is_no_leftover() {
        assert_eq!(settle_leftovers(Path::new("/nowhere/at/all")).await.expect("empty"), []);
    }
}
