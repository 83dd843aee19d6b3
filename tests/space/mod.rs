//! A temporary directory in which the binary itself is run.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory of its own, gone when the test passes.
pub(crate) struct Space {
    dir: tempfile::TempDir,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// What a command left that was waited for.
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with everything that was said unless the exit code is this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless the text stands on stdout or stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` is missing in\nstdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The last line of stdout that is a JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let whole = serde_json::from_str(&self.stdout);
        if let Ok(value) = whole {
            return value;
        }
        self.stdout
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("no JSON in\n{}\n{}", self.stdout, self.stderr))
    }
}

impl Space {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// On a disk of memory where there is one: for tests of many runs, of which none needs a disk.
    pub(crate) fn in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm");
        Self { dir: dir.unwrap_or_else(|_| tempfile::tempdir().expect("a temporary directory")) }
    }

    /// In a directory that somebody else looks after.
    pub(crate) fn within(place: &Path) -> Self {
        Self { dir: tempfile::tempdir_in(place).expect("a temporary directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a written file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null()).env("NO_COLOR", "1");
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().expect("the binary starts"))
    }

    /// Starts, and goes on beside the test.
    pub(crate) fn start(&self, args: &[&str]) -> Going {
        self.go(self.command(args))
    }

    /// The same with a command that was prepared.
    pub(crate) fn go(&self, mut command: Command) -> Going {
        let log = fs::File::create(self.file("stderr.log")).expect("a log");
        let child = command.stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Going { child, stdout, seen: String::new(), log: self.file("stderr.log") }
    }
}

/// A command that is going on; killed when the test fails.
pub(crate) struct Going {
    child: Child,
    stdout: BufReader<ChildStdout>,
    seen: String,
    log: PathBuf,
}

impl Going {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads stdout until a line holds the text, and returns that line.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        self.until_line(text, |line| line.contains(text))
    }

    /// Reads stdout until a line is the one; `what` names it when it never comes.
    #[track_caller]
    pub(crate) fn until_line(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        // Lines that were read while another one was waited for count as well.
        if let Some(line) = self.seen.lines().find(|line| is(line)) {
            return line.to_owned();
        }
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("readable output");
            if read == 0 {
                let stderr = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("it ended before `{what}`:\n{}\n{stderr}", self.seen);
            }
            self.seen.push_str(&line);
            if is(&line) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// Reads to the end and waits for it.
    pub(crate) fn end(mut self) -> Said {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).expect("readable output") > 0 {
            self.seen.push_str(&line);
            line.clear();
        }
        let status = self.child.wait().expect("it ends");
        Said {
            code: status.code().unwrap_or(-1),
            stdout: std::mem::take(&mut self.seen),
            stderr: fs::read_to_string(&self.log).unwrap_or_default(),
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks every 20 ms until it is so; panics after the bound. For states that announce themselves to
/// nobody, such as a file that another process writes.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < bound, "{what}: not within {bound:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
