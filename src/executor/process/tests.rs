//! Real processes, short ones.

use super::*;
use crate::action::Action;
use crate::estate::Site;
use crate::event::Way;
use crate::executor::{Progress, carry_out};
use crate::text::Spanned;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

struct Bench {
    directory: tempfile::TempDir,
    estate: Estate,
    stop: watch::Sender<bool>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, estate: Estate::default(), stop: watch::channel(false).0 }
    }

    fn attempt(&self) -> PathBuf {
        self.directory.path().join("attempts/work/do-1")
    }

    fn context(&self) -> Context {
        Context {
            estate: Arc::new(self.estate.clone()),
            run: "r1".to_owned(),
            step: "work[geotrust]".to_owned(),
            way: Way::Do,
            attempt: 3,
            plan_dir: self.directory.path().to_owned(),
            attempt_dir: self.attempt(),
            notices_dir: self.attempt(),
            facts: Arc::default(),
            window_opens: None,
            progress: watch::channel(Progress::default()).0,
            stop: self.stop.subscribe(),
        }
    }

    async fn deed(&self, ask: Ask, action: Action<String>, timeout: Option<u64>) -> Ending {
        let timeout = timeout.map(Duration::from_millis);
        carry_out(Deed { action, ask, timeout, outputs: Vec::new() }, self.context()).await
    }

    async fn script(&self, text: &str) -> Ending {
        self.deed(Ask::Perform, script(text), None).await
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.attempt().join(name)).unwrap_or_default()
    }
}

fn script(text: &str) -> Action<String> {
    Action::Script(Script { text: text.to_owned(), at: None, env: BTreeMap::new() })
}

fn argv(argv: &[&str], at: Option<&str>) -> Action<String> {
    Action::Run(Run {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        at: at.map(ToOwned::to_owned),
        env: BTreeMap::new(),
    })
}

fn failed(ending: Ending) -> Failure {
    match ending {
        Ending::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

fn unknown(ending: Ending) -> Failure {
    match ending {
        Ending::Unknown(failure) => failure,
        other => panic!("not unknown: {other:?}"),
    }
}

/// Whether a process lives, as a number in a file says.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn argv_is_no_shell_and_the_files_of_the_attempt_tell() {
    let bench = Bench::new();
    let ending = bench.deed(Ask::Perform, argv(&["echo", "$(id)", ";", "a  b"], None), None).await;
    assert_eq!(ending, Ending::Done(Outputs::new()));
    assert_eq!(bench.file("stdout"), "$(id) ; a  b\n");
    assert_eq!(bench.file("status"), "exit 0\n");
    assert!(bench.file("pid").split_whitespace().count() == 3, "{}", bench.file("pid"));
}

#[tokio::test]
async fn outputs_are_caught_and_a_missing_one_fails_at_the_source() {
    let bench = Bench::new();
    let deed = |pattern: &str| Deed {
        action: argv(&["echo", "build 42 of build 43"], None),
        ask: Ask::Perform,
        timeout: None,
        outputs: vec![Output { name: "build".to_owned(), pattern: pattern.to_owned() }],
    };
    let ending = carry_out(deed("build ([0-9]+)"), bench.context()).await;
    assert_eq!(ending, Ending::Done(Outputs::from([("build".to_owned(), "42".to_owned())])));
    let failure = failed(carry_out(deed("version ([0-9]+)"), bench.context()).await);
    assert_eq!(failure.kind, FailureKind::Final);
    assert!(failure.to_string().contains("`build`"), "{failure}");
    let failure = failed(carry_out(deed("("), bench.context()).await);
    assert!(failure.to_string().contains("pattern"), "{failure}");
}

#[tokio::test]
async fn a_script_stops_at_its_first_failure_and_sees_only_its_env() {
    let bench = Bench::new();
    let text = "echo \"$CUTOVER_RUN $CUTOVER_STEP $CUTOVER_ATTEMPT $NAME\"; pwd; false; echo never";
    let env = BTreeMap::from([("NAME".to_owned(), "$(touch hacked)".to_owned())]);
    let action = Action::Script(Script { text: text.to_owned(), at: None, env });
    let failure = failed(bench.deed(Ask::Perform, action, None).await);
    assert_eq!(failure.kind, FailureKind::Transient);
    assert_eq!(failure.chain[0], "`script` ended with exit status 1");
    let place = fs::canonicalize(bench.directory.path()).expect("it is there");
    let place = place.display();
    assert_eq!(bench.file("stdout"), format!("r1 work[geotrust] 3 $(touch hacked)\n{place}\n"));
    assert!(!bench.directory.path().join("hacked").exists());
    let failure = failed(bench.script("echo $NEVER_SET_ANYWHERE").await);
    assert!(failure.to_string().contains("NEVER_SET_ANYWHERE"), "{failure}");
}

#[tokio::test]
async fn stdin_is_empty_and_a_failure_quotes_the_last_line_of_stderr() {
    let bench = Bench::new();
    let failure =
        failed(bench.script("cat; echo out; echo one >&2; echo 'disk is full' >&2; exit 7").await);
    assert_eq!(failure.chain, ["`script` ended with exit status 7", "disk is full"]);
}

#[tokio::test]
async fn a_check_reads_zero_one_and_anything_else() {
    let bench = Bench::new();
    for (text, want) in [("exit 0", Ending::Done(Outputs::new())), ("exit 1", Ending::NotDone)] {
        assert_eq!(bench.deed(Ask::Check, script(text), None).await, want);
    }
    unknown(bench.deed(Ask::Check, script("exit 2"), None).await);
    unknown(bench.deed(Ask::Check, script("kill -9 $$"), None).await);
    unknown(bench.deed(Ask::Check, argv(&["no-such-command"], None), None).await);
    unknown(bench.deed(Ask::Check, script("sleep 60"), Some(50)).await);
    unknown(bench.deed(Ask::IsDone, script("exit 0"), None).await);
}

#[tokio::test]
async fn what_cannot_start_was_not_done() {
    let mut bench = Bench::new();
    let failure = failed(bench.deed(Ask::Perform, argv(&["no-such-command"], None), None).await);
    assert_eq!(failure.kind, FailureKind::Final);
    assert!(failure.to_string().contains("`no-such-command`"), "{failure}");
    let failure = failed(bench.deed(Ask::Perform, argv(&["/etc/passwd"], None), None).await);
    assert_eq!(failure.kind, FailureKind::Final);
    let failure = failed(bench.deed(Ask::Perform, argv(&["echo"], Some("to/x")), None).await);
    assert!(failure.to_string().contains("`to/x`"), "{failure}");
    let mut site = Site::default();
    let ssh = Spanned { value: Host::Ssh("x.example".to_owned()), span: Default::default() };
    site.hosts.insert("x".to_owned(), ssh);
    let site = Spanned { value: site, span: Default::default() };
    bench.estate.sites.insert("to".to_owned(), site);
    let failure = failed(bench.deed(Ask::Perform, argv(&["echo"], Some("to/x")), None).await);
    assert_eq!(failure.kind, FailureKind::Final);
    assert!(failure.to_string().contains("comes with the real estate"), "{failure}");
    assert!(!bench.attempt().join("intent").exists(), "nothing is to be looked for");
}

#[tokio::test]
async fn a_hosts_own_commands_come_first_for_its_children_too() {
    let mut bench = Bench::new();
    let tools = bench.directory.path().join("host");
    fs::create_dir(&tools).expect("a directory");
    for (name, text) in [("upgrade", "#!/bin/sh\nversion\n"), ("version", "#!/bin/sh\necho mine\n")]
    {
        fs::write(tools.join(name), text).expect("a file");
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let mut site = Site::default();
    let host = Spanned { value: Host::Local { path: Some(tools) }, span: Default::default() };
    site.hosts.insert("ocsp-1".to_owned(), host);
    let site = Spanned { value: site, span: Default::default() };
    bench.estate.sites.insert("to".to_owned(), site);
    let ending = bench.deed(Ask::Perform, argv(&["upgrade"], Some("to/ocsp-1")), None).await;
    assert_eq!(ending, Ending::Done(Outputs::new()), "{}", bench.file("stderr"));
    assert_eq!(bench.file("stdout"), "mine\n");
}

#[tokio::test]
async fn killed_by_a_stranger_is_in_doubt() {
    let bench = Bench::new();
    let failure = unknown(bench.script("kill -9 $$").await);
    assert_eq!(failure.kind, FailureKind::InDoubt);
    assert!(failure.to_string().contains("SIGKILL"), "{failure}");
    assert_eq!(bench.file("status"), "signal 9\n");
}

#[tokio::test]
async fn a_deadline_ends_the_whole_group_though_it_ignores_term() {
    let bench = Bench::new();
    let text =
        "trap '' TERM; sleep 600 & echo $! > child; echo $$ > self; while :; do sleep 1; done";
    let begun = Instant::now();
    let failure = unknown(bench.deed(Ask::Perform, script(text), Some(300)).await);
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(begun.elapsed() < GRACE + Duration::from_secs(3), "{:?}", begun.elapsed());
    for name in ["self", "child"] {
        let pid = fs::read_to_string(bench.directory.path().join(name)).expect("written");
        assert!(!lives(&pid), "{name} lives");
    }
    assert_eq!(bench.file("status"), "timed out\n");
}

#[tokio::test]
async fn a_stop_is_answered_as_such_and_ends_grandchildren_that_ignore_term() {
    let bench = Bench::new();
    let text =
        "(trap '' TERM; sh -c 'trap \"\" TERM; sleep 600') & echo $! > child; echo ready; wait";
    let working = bench.script(text);
    let stopping = async {
        while !bench.file("stdout").contains("ready") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.stop.send_replace(true);
    };
    let (ending, ()) = tokio::join!(working, stopping);
    assert_eq!(ending, Ending::Stopped);
    let pid = fs::read_to_string(bench.directory.path().join("child")).expect("written");
    assert!(!lives(&pid), "the grandchild lives");
    // What was never begun is not begun by a stopped attempt.
    assert_eq!(bench.script("touch begun").await, Ending::Stopped);
    assert!(!bench.directory.path().join("begun").exists());
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_open_hangs_nobody() {
    let bench = Bench::new();
    let begun = Instant::now();
    let ending = bench.script("sleep 600 & echo $! > child; echo done").await;
    assert_eq!(ending, Ending::Done(Outputs::new()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(bench.file("stdout"), "done\n");
    let pid = fs::read_to_string(bench.directory.path().join("child")).expect("written");
    assert!(lives(&pid), "a daemon that the step started is not ours to end");
    let pid = Pid::from_raw(pid.trim().parse().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("ours");
}

#[tokio::test]
async fn stdout_closed_is_not_the_end() {
    let bench = Bench::new();
    let ending = bench.script("exec >&- 2>&-; sleep 0.3; touch end").await;
    assert_eq!(ending, Ending::Done(Outputs::new()));
    assert!(bench.directory.path().join("end").exists());
}

#[tokio::test]
async fn a_flood_is_kept_within_bounds() {
    let bench = Bench::new();
    let ending = bench.script("echo first; head -c 300M /dev/zero; echo; echo last").await;
    assert_eq!(ending, Ending::Done(Outputs::new()));
    let kept = fs::read(bench.attempt().join("stdout")).expect("kept");
    assert!(kept.len() < 2 * output::HALF + 100, "{}", kept.len());
    assert!(kept.starts_with(b"first\n") && kept.ends_with(b"\nlast\n"));
}

#[tokio::test]
async fn a_dropped_attempt_leaves_nobody() {
    let bench = Bench::new();
    {
        let mut working = pin!(bench.script("sleep 600 & echo $! > child; echo ready; wait"));
        while !bench.file("stdout").contains("ready") {
            let _ = timeout(Duration::from_millis(10), &mut working).await;
        }
    }
    let pid = fs::read_to_string(bench.directory.path().join("child")).expect("written");
    while lives(&pid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_left_the_group_is_named_when_the_command_is_ended() {
    let bench = Bench::new();
    // Forked twice, in a session of its own.
    let text = "(setsid sh -c 'echo $$ > away; exec sleep 600' &) ; while [ ! -s away ]; do :; done; sleep 600";
    let failure = unknown(bench.deed(Ask::Perform, script(text), Some(3000)).await);
    let pid = fs::read_to_string(bench.directory.path().join("away")).expect("it went away");
    let pid = pid.trim();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.to_string().contains(pid), "`{pid}` is not named: {failure}");
    assert!(lives(pid), "it may be what the command was to start");
    let raw = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
    rustix::process::kill_process(raw, Signal::KILL).expect("ours");
    while lives(pid) {
        tokio::task::yield_now().await;
    }
    // Who stayed in the group is gone, and nobody is named.
    let failure =
        unknown(bench.deed(Ask::Perform, script("sleep 600 & sleep 600"), Some(300)).await);
    assert!(!failure.to_string().contains("group"), "{failure}");
}
