//! Disks that fail: writes and syncs of the journal, one call at a time; full, without inodes,
//! read-only, slow; a power cut. After each: nothing was done that is not recorded, and the run comes
//! to its end when the disk is well again.

use crate::space::{Said, Space, eventually};
use crate::tools::{
    JOURNAL, MINUTE, RUN, Rule, Tmpfs, count, durable, has, is_root, lines, question, records,
    skipped, space, under, was_killed,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Four deeds in a row, each a line.
const PLAN: &str = r#"
cutover: v1
name: disk
steps:
  step:
    for_each: { n: [a, b, c, d], serial: true }
    run: [sh, -c, "echo $0 >> log", "${{ n }}"]
    check: { run: [sh, -c, "grep -qsx $0 log || exit 1", "${{ n }}"] }
    undo: { none: nothing }
"#;

#[track_caller]
fn all_once(space: &Space, what: &str) {
    let log = lines(space, "log");
    assert_eq!(count(&log), BTreeMap::from([("a", 1), ("b", 1), ("c", 1), ("d", 1)]), "{what}");
}

/// What was done had its record on the disk before.
#[track_caller]
fn nothing_without_its_record(space: &Space, records: &[serde_json::Value], what: &str) {
    for done in lines(space, "log") {
        let name = format!("step[{done}]");
        let recorded =
            records.iter().any(|record| record["event"]["started"]["step"] == name.as_str());
        assert!(recorded, "{what}: `{done}` was done, and its start was not durable");
    }
}

/// One call on the journal fails, each in turn; only that one: whoever tried again would go on.
fn one_call_fails(op: &'static str, does: &str, said: &str) {
    for at in 1.. {
        let (space, what) = (space(PLAN), format!("{op} {at} {does}"));
        let rule = Rule::journal(op, at, does);
        let Some(mut run) = under(&space, &rule, &RUN) else { return };
        let ended = Said::of(&run.output().expect("it starts"));
        if ended.code == 0 {
            assert!(at > if op == "pad" { 1 } else { 5 }, "{what}: {at} calls");
            return all_once(&space, &what);
        }
        // The first record: no run has come to be, or one that has done nothing.
        let begun = ended.code == 5;
        assert!(begun || (ended.code == 2 && at <= 2), "{what}: {ended:?}");
        let text = &ended.stderr;
        assert!(text.contains("journal.jsonl") && text.contains(said), "{what}: {text}");
        assert!(!begun || text.contains("cutover resume r"), "{what}: {text}");
        nothing_without_its_record(&space, &durable(&space, "r"), &what);
        let again = match space.file("r/journal.jsonl").exists() {
            true => space.run(&["resume", "r"]),
            false => space.run(&RUN),
        };
        assert_eq!(again.code, 0, "{what}: {again:?}");
        all_once(&space, &what);
        space.run(&["journal", "verify", "r"]).exits(0);
    }
}

#[test]
fn a_sync_that_fails_is_final_and_nothing_is_done_after_it() {
    one_call_fails("sync", "fail:5", "Input/output error");
    one_call_fails("sync", "fail:28", "No space left");
}

#[test]
fn a_write_that_fails_or_tears_is_final() {
    one_call_fails("write", "fail:5", "Input/output error");
    one_call_fails("write", "torn:28", "No space left");
    one_call_fails("write", "torn:5", "Input/output error");
    one_call_fails("pad", "fail:5", "Input/output error");
}

#[test]
fn short_writes_glue_no_lines() {
    let space = space(PLAN);
    let rule = Rule { at: "1+".to_owned(), ..Rule::journal("write", 1, "short") };
    let Some(mut run) = under(&space, &rule, &RUN) else { return };
    Said::of(&run.output().expect("it starts")).exits(0);
    all_once(&space, "short writes");
    space.run(&["journal", "verify", "r"]).exits(0);
}

/// The other files of a run: a status page or an output that cannot be written only warns.
#[test]
fn what_is_not_the_journal_only_warns() {
    for path in ["/status.", "/stdout$", "/attempts/"] {
        let space = space(PLAN);
        let does = "fail:28".to_owned();
        let rule = Rule { path: path.to_owned(), op: "write", at: "1+".to_owned(), does };
        let Some(mut run) = under(&space, &rule, &RUN) else { return };
        Said::of(&run.output().expect("it starts")).exits(0);
        all_once(&space, path);
    }
}

/// While a sync hangs nothing new begins, nobody is told that his request is recorded, and those who
/// look are answered.
#[test]
fn while_a_sync_hangs_nothing_starts_and_nothing_is_acknowledged() {
    let space = space(PLAN);
    let gate = space.file("gate");
    let does = format!("wait:{}", gate.display());
    let Some(run) = under(&space, &Rule::journal("sync", 4, &does), &RUN) else { return };
    let going = space.go(run);
    eventually("the sync hangs", MINUTE, || space.file("gate.waits").exists().then_some(()));
    let before = lines(&space, "log");
    let mut hold = space.command(&["hold", "r", "--reason", "slow disk"]);
    let mut hold = hold.stdout(std::process::Stdio::null()).spawn().expect("it starts");
    eventually("the hold is asked for", MINUTE, || {
        let answered = hold.try_wait().expect("a child of ours").is_some();
        (answered || is_asked(going.pid())).then_some(())
    });
    // Long enough for an answer that came too early; nothing tells that nothing comes.
    for _ in 0..10 {
        space.run(&["status", "r"]).exits(0);
        space.run(&["journal", "show", "r"]).exits(0);
    }
    assert_eq!(hold.try_wait().expect("a child of ours"), None, "acknowledged and not durable");
    assert_eq!(lines(&space, "log"), before);
    nothing_without_its_record(&space, &durable(&space, "r"), "hung");
    space.write("gate", "");
    assert!(hold.wait().expect("it ends").success());
    space.run(&["release", "r"]).exits(0);
    going.end().exits(0);
    all_once(&space, "hung");
}

/// Whether a process has taken a connection to its run's socket.
fn is_asked(pid: u32) -> bool {
    const CONNECTED: &str = " 03 ";
    let held = fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux");
    let held: Vec<String> = held
        .filter_map(|entry| {
            fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok()
        })
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let sockets = fs::read_to_string("/proc/net/unix").expect("Linux");
    let mut taken = sockets.lines().filter(|it| it.contains(CONNECTED) && it.ends_with("/socket"));
    taken.any(|line| line.split_whitespace().any(|word| held.iter().any(|it| it == word)))
}

/// The disk fills in the middle of a run; the run's directory lies on it, the plan does not.
fn on_a_full_disk(fill: &str) -> Option<(Tmpfs, Space, String)> {
    let disk = Tmpfs::new("size=1600k")?;
    let space = Space::in_memory();
    let filler = disk.path().join("filler");
    space.write(
        "p.yaml",
        &format!(
            r#"
cutover: v1
name: full
steps:
  a: {{ run: [sh, -c, "echo a >> log"], undo: {{ none: nothing }} }}
  fill:
    needs: [a]
    run: [sh, -c, "dd if=/dev/zero of={0} bs=4k 2>/dev/null; {fill}; echo fill >> log"]
    check: {{ run: [sh, -c, "grep -qsx fill log || exit 1"] }}
    undo: {{ none: nothing }}
  big:                               # its end is a record that needs new blocks, padded or not
    needs: [fill]
    run: [sh, -c, "head -c 400000 /dev/zero | tr '\\0' x; echo; echo big >> log"]
    outputs: {{ all: "(x+)" }}
    check: {{ run: [sh, -c, "grep -qsx big log || exit 1"] }}
    undo: {{ none: nothing }}
  b: {{ needs: [big], run: [sh, -c, "echo b >> log"], undo: {{ none: nothing }} }}
"#,
            filler.display()
        ),
    );
    let run = disk.path().join("r").display().to_string();
    Some((disk, space, run))
}

#[test]
fn a_full_disk_ends_the_runner_and_what_people_ask_is_still_recorded() {
    let Some((disk, space, run)) = on_a_full_disk("true") else { return };
    let said = space.run(&["run", "p.yaml", "--run", &run]).exits(5);
    let said = said.says("No space left").says("ballast was freed").says("make room");
    assert!(said.stderr.contains(&format!("cutover resume {run}")), "{}", said.stderr);
    let before = lines(&space, "log");
    assert!(!before.contains(&"b".to_owned()), "{before:?}");
    // Still full: only the ballast's room is there.
    space.run(&["hold", &run, "--reason", "no room"]).exits(0).says("recorded");
    space.run(&["resume", &run]).exits(2).says("full");
    assert_eq!(lines(&space, "log"), before);
    fs::remove_file(disk.path().join("filler")).expect("removed");
    space.run(&["release", &run]).exits(0);
    space.run(&["resume", &run]).exits(0);
    assert_eq!(lines(&space, "log"), ["a", "fill", "big", "b"]);
    space.run(&["journal", "verify", &run]).exits(0);
    assert!(disk.path().join("r/ballast").exists(), "laid anew");
}

/// The runner dies at once, the ballast is whole: whoever asks frees it.
#[test]
fn on_a_full_disk_a_request_frees_the_ballast_by_itself() {
    let Some((disk, space, run)) = on_a_full_disk("kill -9 $PPID") else { return };
    let output = space.command(&["run", "p.yaml", "--run", &run]).output().expect("it starts");
    // The command's parent is the runner, or what the runner starts its commands by.
    assert!(was_killed(&output) || output.status.code() == Some(5), "{output:?}");
    space.run(&["abort", &run, "--reason", "no room"]).exits(0).says("recorded");
    fs::remove_file(disk.path().join("filler")).expect("removed");
    space.run(&["resume", &run]).exits(4);
    assert!(!lines(&space, "log").contains(&"b".to_owned()), "it was aborted");
    space.run(&["journal", "verify", &run]).exits(0);
}

#[test]
fn without_inodes_a_step_fails_before_its_deed_and_goes_on_when_there_are_some() {
    // Directory, run directory, lock, journal, ballast, socket; nothing for attempts.
    let Some(disk) = Tmpfs::new("size=8m,nr_inodes=8") else { return };
    let space = space(PLAN);
    let run = disk.path().join("r").display().to_string();
    let said = space.run(&["run", "p.yaml", "--run", &run]);
    assert!([2, 4, 5].contains(&said.code), "{said:?}");
    assert!(said.stderr.contains("No space left") || said.stdout.contains("No space left"));
    assert_eq!(lines(&space, "log"), [""; 0], "{said:?}");
    disk.remount("nr_inodes=1000");
    if said.code == 4 {
        let question = question(&space, &run);
        space.run(&["answer", &run, &question, "retry"]).exits(0);
    }
    space.run(&["resume", &run]).exits(0);
    all_once(&space, "inodes");
}

/// The number of the one open question.
#[test]
fn a_run_directory_that_cannot_be_written_is_refused_before_any_deed() {
    let Some(disk) = Tmpfs::new("size=8m") else { return };
    let space = space(PLAN);
    let run = disk.path().join("r").display().to_string();
    disk.remount("ro");
    space.run(&["run", "p.yaml", "--run", &run]).exits(2).says("Read-only file system");
    disk.remount("rw");
    let fault = ["run", "p.yaml", "--run", &run, "--fault", "runner=kill@4"];
    assert!(was_killed(&space.command(&fault).output().expect("it starts")));
    let before = lines(&space, "log");
    disk.remount("ro");
    space.run(&["resume", &run]).exits(2).says("Read-only file system");
    space.run(&["hold", &run]).exits(2).says("Read-only file system");
    space.run(&["status", &run]).exits(0);
    assert_eq!(lines(&space, "log"), before);
    disk.remount("rw");
    space.run(&["resume", &run]).exits(0);
    all_once(&space, "read-only");
}

#[test]
fn a_journal_that_may_not_change_is_refused_and_so_is_a_directory_of_another_user() {
    let place = tempfile::tempdir().expect("a directory");
    let space = Space::within(place.path());
    space.write("p.yaml", PLAN);
    if !is_root() || !has("chattr") || !has("setpriv") {
        return skipped("`chattr +i` and `setpriv` take root and their tools");
    }
    let fault = ["run", "p.yaml", "--run", "r", "--fault", "runner=kill@4"];
    assert!(was_killed(&space.command(&fault).output().expect("it starts")));
    let before = lines(&space, "log");
    let chattr = |flag: &str| {
        let mut chattr = Command::new("chattr");
        chattr.arg(flag).arg(space.file("r/journal.jsonl"));
        chattr.output().is_ok_and(|output| output.status.success())
    };
    if chattr("+i") {
        let said = space.run(&["resume", "r"]);
        assert!(chattr("-i"));
        said.exits(2).says("Operation not permitted").says("journal.jsonl");
        assert_eq!(lines(&space, "log"), before);
    } else {
        skipped("the file system knows no `chattr +i`");
    }
    space.run(&["resume", "r"]).exits(0);
    all_once(&space, "chattr");
    // Somebody else finds nothing there.
    let other = as_nobody(&space, place.path(), &["resume", "r"]);
    other.exits(2).says("Permission denied");
    let other = as_nobody(&space, place.path(), &["hold", "r"]);
    assert_ne!(other.code, 0);
}

/// Runs as a user who may pass the directories above, and nothing else.
fn as_nobody(space: &Space, above: &Path, args: &[&str]) -> Said {
    use std::os::unix::fs::PermissionsExt as _;
    for place in [above, space.path()] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("set");
    }
    // The program itself may lie where others may not go.
    let program = above.join("cutover");
    if !program.exists() {
        fs::copy(crate::tools::program(), &program).expect("copied");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(args);
    command.current_dir(space.path()).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    Said::of(&command.output().expect("it starts"))
}

/// With fewer and fewer descriptors: a step fails before its deed or is done; nothing panics.
#[test]
fn without_descriptors_nothing_is_done_that_is_not_recorded() {
    if !has("prlimit") {
        return skipped("there is no `prlimit`");
    }
    let mut ends = BTreeMap::new();
    for files in (6..28).step_by(7).chain(28..44) {
        let space = space(PLAN);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}")).arg(crate::tools::program()).args(RUN);
        command.current_dir(space.path()).env("NO_COLOR", "1");
        command.stdin(std::process::Stdio::null());
        let said = Said::of(&command.output().expect("it starts"));
        *ends.entry(said.code).or_insert(0) += 1;
        // A program that cannot even be loaded ends with 127.
        assert!([0, 2, 4, 5, 127].contains(&said.code), "{files}: {said:?}");
        assert!(!said.stderr.contains("panicked"), "{files}: {said:?}");
        let done = lines(&space, "log");
        nothing_without_its_record(&space, &records(&space, "r"), "few descriptors");
        if !space.file("r/journal.jsonl").exists() {
            assert_eq!(done, [""; 0]);
            continue;
        }
        if said.code == 4 {
            let question = question(&space, "r");
            space.run(&["answer", "r", &question, "retry"]).exits(0);
        }
        space.run(&["resume", "r"]).exits(0);
        all_once(&space, &format!("{files} descriptors"));
    }
    assert!(ends.len() > 1 && ends.contains_key(&0), "{ends:?}");
}

/// A file system in a file, mounted: what its device holds is what a power cut would leave.
struct Image(tempfile::TempDir);

impl Image {
    /// Makes one at the path; none, said loudly, where it cannot be had.
    fn make(file: &Path) -> Option<Self> {
        let size = fs::File::create(file).and_then(|file| file.set_len(16 << 20));
        size.expect("a sparse file");
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(file).output();
        if !made.is_ok_and(|output| output.status.success()) {
            skipped("there is no `mkfs.ext4`");
            return None;
        }
        Self::mount(file)
    }

    fn mount(file: &Path) -> Option<Self> {
        let place = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(file).arg(place.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skipped("no image can be mounted here (it takes root and loop devices)");
            return None;
        }
        Some(Self(place))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

/// While a step runs, the device is copied as it is: a power cut. What had been called durable by
/// then is in the copy, what a finished step did is not done again.
#[test]
fn after_a_power_cut_all_that_was_durable_is_there() {
    let space = Space::in_memory();
    let (file, cut) = (space.file("disk.img"), space.file("cut.img"));
    let Some(image) = Image::make(&file) else { return };
    space.write(
        "p.yaml",
        &format!(
            r#"
cutover: v1
name: cut
steps:
  a: {{ run: [sh, -c, "echo a >> log"], undo: {{ none: nothing }} }}
  cut:
    needs: [a]
    run: [sh, -c, "cp {} {}; echo cut >> log"]
    check: {{ run: [sh, -c, "grep -qsx cut log || exit 1"] }}
    undo: {{ none: nothing }}
  b: {{ needs: [cut], run: [sh, -c, "echo b >> log"], undo: {{ none: nothing }} }}
"#,
            file.display(),
            cut.display()
        ),
    );
    let run = image.0.path().join("r").display().to_string();
    space.run(&["run", "p.yaml", "--run", &run]).exits(0);
    assert_eq!(lines(&space, "log"), ["a", "cut", "b"]);
    // Both are there, on devices of their own.
    let Some(after) = Image::mount(&cut) else { return };
    let run = after.0.path().join("r").display().to_string();
    let shown = space.run(&["journal", "show", &run]).exits(0).stdout;
    assert!(shown.contains("done      a") && shown.contains("starts    cut"), "{shown}");
    assert!(!shown.contains("closed"), "{shown}");
    // Another place: a person says that this is the one.
    space.run(&["resume", &run]).exits(2).says("is a copy of");
    fs::remove_file(after.0.path().join("r/lock")).expect("removed");
    space.run(&["resume", &run]).exits(0);
    assert_eq!(lines(&space, "log"), ["a", "cut", "b", "b"], "only what came after the cut");
    space.run(&["journal", "verify", &run]).exits(0);
}

/// The device behind the file system is full while that still has room: writing back fails, once.
#[test]
fn when_the_device_fails_to_take_what_was_written_the_runner_ends() {
    let Some(disk) = Tmpfs::new("size=5m") else { return };
    let file = disk.path().join("disk.img");
    let Some(image) = Image::make(&file) else { return };
    let space = Space::in_memory();
    let filler = image.0.path().join("filler");
    space.write(
        "p.yaml",
        &format!(
            r#"
cutover: v1
name: device
steps:
  a: {{ run: [sh, -c, "echo a >> log"], undo: {{ none: nothing }} }}
  fill:
    needs: [a]
    run: [sh, -c, "dd if=/dev/urandom of={} bs=64k count=128 2>/dev/null; sync; echo fill >> log"]
    check: {{ run: [sh, -c, "grep -qsx fill log || exit 1"] }}
    undo: {{ none: nothing }}
  b: {{ needs: [fill], run: [sh, -c, "echo b >> log"], undo: {{ none: nothing }} }}
"#,
            filler.display()
        ),
    );
    let run = image.0.path().join("r").display().to_string();
    let said = space.run(&["run", "p.yaml", "--run", &run]);
    if said.code == 0 {
        return skipped("the file system had taken its blocks before: nothing failed");
    }
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains(&JOURNAL[1..]) && said.stderr.contains("resume"), "{said:?}");
    assert!(!lines(&space, "log").contains(&"b".to_owned()), "a deed after the failure");
}
