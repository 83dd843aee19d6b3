//! What the machine itself does: bare spawns, group commits, and how a process is timed, watched and
//! traced.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Spawns a second.
#[derive(Clone, Copy)]
pub(crate) struct Bare(pub(crate) f64);

impl Bare {
    /// `count` times `/bin/true`, two in flight; the standard library uses `posix_spawn` for it.
    pub(crate) fn run(count: usize) -> Self {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..count / 2 {
                        let status = silent(Command::new("/bin/true")).wait().expect("it is ours");
                        assert!(status.success(), "/bin/true ended well");
                    }
                });
            }
        });
        Self(count as f64 / begun.elapsed().as_secs_f64())
    }

    pub(crate) fn mean(self, other: Self) -> f64 {
        f64::midpoint(self.0, other.0)
    }
}

/// How long a command took.
pub(crate) struct Took {
    pub(crate) seconds: f64,
}

pub(crate) fn silent(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

pub(crate) fn timed(command: Command) -> Took {
    timed_with(command, Vec::new)
}

/// Times a command; what `beside` starts once it runs is ended after it.
pub(crate) fn timed_with(mut command: Command, beside: impl FnOnce() -> Vec<Child>) -> Took {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().expect("it starts");
    let others = beside();
    let output = child.wait_with_output().expect("it is ours");
    let seconds = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    for mut other in others {
        // It may have ended with the run.
        drop(other.kill());
        other.wait().expect("it is ours");
    }
    Took { seconds }
}

/// Waits until a file is there.
pub(crate) fn once_there(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Peak memory of a command in MiB: the kernel keeps the highest, so a look every millisecond misses
/// at most the last one.
pub(crate) fn peak(command: Command) -> f64 {
    let mut child = silent(command);
    let mut highest = 0.0_f64;
    while child.try_wait().expect("it is ours").is_none() {
        highest = highest.max(high_water(&child.id().to_string()));
        std::thread::sleep(Duration::from_millis(1));
    }
    highest
}

/// Peak memory of a process so far, in MiB.
pub(crate) fn high_water(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// How many syncs a command makes, its threads and children included; none without `strace`.
pub(crate) fn syncs(command: Command) -> Option<u64> {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-c", "-e", "trace=fdatasync,fsync,sync_file_range,msync", "--"]);
    traced.arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced.stdin(Stdio::null()).stdout(Stdio::null());
    let output = traced.output().ok()?;
    let table = String::from_utf8_lossy(&output.stderr);
    let calls = table.lines().filter(|line| line.ends_with("sync"));
    // percent, seconds, microseconds a call, calls, [errors,] name
    Some(calls.filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok()).sum())
}

/// Records a second that this disk makes durable, `batch` of `size` bytes in each write and sync.
pub(crate) fn group_commit(dir: &Path, batch: usize, size: usize) -> f64 {
    let path = dir.join("group-commit");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("opened");
    let bytes = vec![b'r'; size * batch.max(1)];
    let begun = Instant::now();
    let mut commits = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("durable");
        commits += 1;
    }
    let rate = (commits * batch.max(1)) as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("removed");
    rate
}

/// Processor, kernel, file system, load.
pub(crate) fn describe(dir: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mounts = read("/proc/self/mounts");
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let file_system = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            dir.starts_with(point).then(|| (point.len(), kind.to_owned()))
        })
        .max();
    format!(
        "Linux {}, {cores} cores, journal on {}, load before {}",
        kernel.trim(),
        file_system.map_or("?".to_owned(), |(_, kind)| kind),
        load.split(' ').take(3).collect::<Vec<_>>().join(" ")
    )
}
