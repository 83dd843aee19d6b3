//! What the faults are made with: the shim, small disks, and looks at what came about.

use crate::space::{Said, Space, eventually};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

/// Longer than anything awaited here takes.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The run that most tests make.
pub(crate) const RUN: [&str; 4] = ["run", "p.yaml", "--run", "r"];

/// `b` waits for the file `go`; what is done is a line.
pub(crate) const WAITING: &str = r#"
cutover: v1
name: waiting
steps:
  a: { run: [sh, -c, "echo a >> log"], undo: { none: nothing } }
  b:
    needs: [a]
    run: [sh, -c, "touch began; while test ! -e go; do sleep 0.02; done; echo b >> log"]
    check: { run: [sh, -c, "grep -qsx b log || exit 1"] }
    undo: { none: nothing }
"#;

/// The same with something to do when `b` is done.
pub(crate) fn waiting_then_c() -> String {
    [WAITING, "  c: { needs: [b], run: [sh, -c, \"echo c >> log\"], undo: { none: nothing } }\n"]
        .concat()
}

/// A directory, on no disk, that holds the plan.
pub(crate) fn space(plan: &str) -> Space {
    let space = Space::in_memory();
    space.write("p.yaml", plan);
    space
}

/// Waits until `b` of [`WAITING`] acts.
pub(crate) fn began(space: &Space) {
    eventually("`b` acts", MINUTE, || space.file("began").exists().then_some(()));
}

/// The file of a run at which faults strike.
pub(crate) const JOURNAL: &str = "/journal.jsonl";

/// A test that did not run must be seen.
#[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a system's tool is there.
pub(crate) fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(tool).is_file())
}

/// The shim, compiled once.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = SHIM.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&place).arg(source);
        match cc.output() {
            Ok(output) if output.status.success() => Some(place),
            Ok(output) => panic!("{}", Said::of(&output).stderr),
            Err(_) => None,
        }
    });
    if built.is_none() {
        skipped("there is no C compiler (`cc`) to make the shim with");
    }
    built.as_deref()
}

/// What goes wrong with a file, and when.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) path: String,
    pub(crate) op: &'static str,
    pub(crate) at: String,
    pub(crate) does: String,
}

impl Rule {
    /// At one call on the journal.
    pub(crate) fn journal(op: &'static str, at: u64, does: &str) -> Self {
        Self { path: JOURNAL.to_owned(), op, at: at.to_string(), does: does.to_owned() }
    }
}

/// A command under the rule; none, said loudly, where there is no shim.
pub(crate) fn under(space: &Space, rule: &Rule, args: &[&str]) -> Option<Command> {
    let mut command = space.command(args);
    command
        .env("LD_PRELOAD", shim()?)
        .env("SHIM_PATH", &rule.path)
        .env("SHIM_OP", rule.op)
        .env("SHIM_AT", &rule.at)
        .env("SHIM_DO", &rule.does)
        .env("SHIM_MARK", space.file("durable"));
    Some(command)
}

/// Records of a journal that a command under the shim made durable.
pub(crate) fn durable(space: &Space, run: &str) -> Vec<Value> {
    let mark = fs::read_to_string(space.file("durable")).unwrap_or_default();
    let bytes = fs::read(space.file(&format!("{run}/journal.jsonl"))).unwrap_or_default();
    let length = mark.parse().unwrap_or(0).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    text.lines().map(|line| serde_json::from_str(line).expect("an intact record")).collect()
}

/// A command whose wall clock goes wrong by the seconds in a file, once that is there.
pub(crate) fn with_clock(space: &Space, clock: &Path, args: &[&str]) -> Option<Command> {
    let mut command = space.command(args);
    command.env("LD_PRELOAD", shim()?).env("SHIM_CLOCK", clock);
    Some(command)
}

pub(crate) fn was_killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}

/// A file system of memory, of so many KiB.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub(crate) fn new(options: &str) -> Option<Self> {
        let temp = tempfile::tempdir().expect("a directory");
        let options = format!("{options},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(temp.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skipped("no tmpfs can be mounted here (it takes root)");
            return None;
        }
        Some(Self(temp))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(self.path());
        assert!(mount.status().expect("mount").success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// The intact records of a run, as they stand in the file.
pub(crate) fn records(space: &Space, run: &str) -> Vec<Value> {
    let text = fs::read(space.file(&format!("{run}/journal.jsonl"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The lines of a file that steps write to; none when it is not there yet.
pub(crate) fn lines(space: &Space, name: &str) -> Vec<String> {
    let text = fs::read_to_string(space.file(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// How often each line stands there.
pub(crate) fn count(lines: &[String]) -> std::collections::BTreeMap<&str, usize> {
    let mut count = std::collections::BTreeMap::new();
    lines.iter().for_each(|line| *count.entry(line.as_str()).or_default() += 1);
    count
}

/// Every byte under a directory and the file that it is in; sockets and the like are left out.
pub(crate) fn every_file(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut queue = vec![directory.to_owned()];
    while let Some(path) = queue.pop() {
        // What goes away while it is looked at is gone.
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if about.is_dir() {
            let Ok(entries) = fs::read_dir(&path) else { continue };
            queue.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        } else if about.is_file() {
            found.extend(fs::read(&path).ok().map(|bytes| (path, bytes)));
        }
    }
    found
}

/// The first question that the run asks.
pub(crate) fn question(space: &Space, run: &str) -> String {
    let status = space.run(&["status", run, "--json"]).exits(0).json();
    status["questions"][0]["question"].to_string().trim_matches('"').to_owned()
}

/// The program under test.
pub(crate) fn program() -> OsString {
    env!("CARGO_BIN_EXE_cutover").into()
}
