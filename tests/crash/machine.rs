//! What the machine does to a run: control groups that freeze, starve and forbid.

use crate::space::{Going, Space, eventually};
use crate::tools::{
    MINUTE, RUN, began, count, lines, program, question, skipped, space, waiting_then_c,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group of the test's own, of the first or the second kind, whichever the machine has.
struct Group {
    at: PathBuf,
    second: bool,
}

impl Group {
    /// None, said loudly, where no such group can be made.
    fn new(controller: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cutover-test-{}-{number}", std::process::id());
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        for mount in mounts.lines() {
            let mut words = mount.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let second = kind == "cgroup2";
            let first = kind == "cgroup" && options.split(',').any(|it| it == controller);
            let at = Path::new(at).join(&name);
            if !(first || second) || fs::create_dir(&at).is_err() {
                continue;
            }
            let group = Self { at, second };
            // A group of the second kind may be there without the controller.
            if group.knob(controller).exists() {
                return Some(group);
            }
        }
        skipped(&format!("no control group for `{controller}` can be made here (it takes root)"));
        None
    }

    fn knob(&self, controller: &str) -> PathBuf {
        self.at.join(match (controller, self.second) {
            ("freezer", true) => "cgroup.freeze",
            ("freezer", false) => "freezer.state",
            ("memory", true) => "memory.max",
            ("memory", false) => "memory.limit_in_bytes",
            (_, _) => "pids.max",
        })
    }

    fn set(&self, controller: &str, value: &str) {
        fs::write(self.knob(controller), value).expect("the group can be set");
    }

    /// How many tasks are in it.
    fn tasks(&self) -> usize {
        let text = fs::read_to_string(self.at.join("pids.current")).expect("a count");
        text.trim().parse().expect("a number")
    }

    fn freeze(&self) {
        self.set("freezer", if self.second { "1" } else { "FROZEN" });
        eventually("all of it is frozen", MINUTE, || {
            let state = if self.second { "cgroup.events" } else { "freezer.state" };
            let state = fs::read_to_string(self.at.join(state)).expect("a state");
            (state.trim() == "FROZEN" || state.contains("frozen 1")).then_some(())
        });
    }

    fn thaw(&self) {
        self.set("freezer", if self.second { "0" } else { "THAWED" });
    }

    /// A shell line that puts itself into it.
    fn enter(&self) -> String {
        format!("echo $$ > '{}'", self.at.join("cgroup.procs").display())
    }

    /// The program, in it from its first moment on.
    fn start(&self, space: &Space, args: &[&str]) -> Going {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{}; exec \"$@\"", self.enter())).arg("sh");
        command.arg(program()).args(args).current_dir(space.path()).env("NO_COLOR", "1");
        command.stdin(std::process::Stdio::null());
        space.go(command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is left in it ends, frozen or not; then it can be removed.
        for text in fs::read_to_string(self.at.join("cgroup.procs")).unwrap_or_default().lines() {
            let pid = text.parse().ok().and_then(rustix::process::Pid::from_raw);
            let _ =
                pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        if self.knob("freezer").exists() {
            self.thaw();
        }
        eventually("the group is gone", MINUTE, || match fs::remove_dir(&self.at) {
            Err(error) if error.raw_os_error() == Some(16) => None,
            _ => Some(()),
        });
    }
}

#[track_caller]
fn all_once(space: &Space, what: &str) {
    let log = lines(space, "log");
    assert_eq!(count(&log), BTreeMap::from([("a", 1), ("b", 1), ("c", 1)]), "{what}: {log:?}");
    space.run(&["journal", "verify", "r"]).exits(0);
}

/// The whole group, what the run started included: as a container is that is paused.
#[test]
fn a_frozen_group_of_runner_and_steps_keeps_its_run() {
    let Some(group) = Group::new("freezer") else { return };
    let space = space(&waiting_then_c());
    let going = group.start(&space, &RUN);
    began(&space);
    group.freeze();
    space.write("go", "");
    let pid = going.pid().to_string();
    space.run(&["resume", "r"]).exits(2).says(&pid).says("is being run by");
    space.run(&["status", "r"]).exits(0);
    space.run(&["journal", "verify", "r"]).exits(0);
    assert_eq!(lines(&space, "log"), ["a"], "nothing goes on in a frozen group");
    group.thaw();
    going.end().exits(0);
    all_once(&space, "thawed");
}

/// Its memory is at an end: the kernel ends what takes most.
#[test]
fn a_step_that_the_kernel_ends_for_want_of_memory_is_told_as_that() {
    let Some(group) = Group::new("memory") else { return };
    group.set("memory", &(20 << 20).to_string());
    let space = space(&format!(
        "cutover: v1\nname: big\nsteps:\n  \
         big: {{ run: [sh, -c, \"{}; exec tail /dev/zero\"], undo: {{ none: nothing }} }}\n",
        group.enter()
    ));
    let said = space.run(&RUN);
    said.exits(4).says("SIGKILL").says("memory ran out");
}

/// No more tasks are allowed: nothing can be started.
#[test]
fn where_no_process_may_be_made_a_step_fails_before_its_deed() {
    let Some(group) = Group::new("pids") else { return };
    // Waits without starting anything, so that the limit strikes the start of `c` alone.
    let space = space(
        r#"
cutover: v1
name: waiting
steps:
  a: { run: [sh, -c, "echo a >> log"], undo: { none: nothing } }
  b:
    needs: [a]
    run: [sh, -c, ": > began; read word < go; echo b >> log"]
    undo: { none: nothing }
  c: { needs: [b], run: [sh, -c, "echo c >> log"], undo: { none: nothing } }
"#,
    );
    let fifo = Command::new("mkfifo").arg(space.file("go")).status().expect("`mkfifo`");
    assert!(fifo.success());
    let going = group.start(&space, &RUN);
    began(&space);
    group.set("pids", &(group.tasks() - 1).to_string());
    fs::write(space.file("go"), "go\n").expect("told");
    going.end().exits(4).says("c");
    assert_eq!(lines(&space, "log"), ["a", "b"], "`c` was not done");
    let question = question(&space, "r");
    space.run(&["answer", "r", &question, "retry"]).exits(0);
    space.run(&["resume", "r"]).exits(0);
    all_once(&space, "few tasks");
}
