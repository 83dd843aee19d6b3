//! The same graphs as cutover and its peers read them, and how each is called.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const WIDTH: usize = 100;

/// What hangs on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Ten chains of a hundred.
    Chains,
    /// A hundred layers of a hundred, three needs each.
    Layers,
}

impl Shape {
    pub(crate) fn steps(self) -> usize {
        match self {
            Self::Chains => 1_000,
            Self::Layers => 10_000,
        }
    }

    /// The steps that a step needs.
    fn needs(self, step: usize) -> Vec<usize> {
        match self {
            Self::Chains if step < 10 => Vec::new(),
            Self::Chains => vec![step - 10],
            Self::Layers if step < WIDTH => Vec::new(),
            Self::Layers => {
                let (layer, place) = (step / WIDTH, step % WIDTH);
                let before = |reach| (layer - 1) * WIDTH + (place + reach) % WIDTH;
                vec![before(0), before(1 + layer % 3), before(7 + layer % 3)]
            }
        }
    }

    fn written(self, mut each: impl FnMut(usize, &[String])) {
        for step in 0..self.steps() {
            let needs: Vec<String> = self.needs(step).iter().map(|it| format!("s{it}")).collect();
            each(step, &needs);
        }
    }

    fn plan(self) -> String {
        let mut out = String::from("cutover: v1\nname: steps\nlimits: { steps: 2 }\nsteps:\n");
        self.written(|step, needs| {
            let _ = writeln!(
                out,
                "  s{step}: {{ run: [/bin/true], undo: {{ none: nothing is left }}, needs: [{}] }}",
                needs.join(", ")
            );
        });
        out
    }

    fn ninja(self) -> String {
        let mut out = String::from("rule r\n  command = /bin/true\n");
        self.written(|step, needs| {
            let _ = writeln!(out, "build s{step}: r {}", needs.join(" "));
        });
        out
    }

    fn make(self) -> String {
        let all: Vec<String> = (0..self.steps()).map(|step| format!("s{step}")).collect();
        let mut out = format!("all: {}\n", all.join(" "));
        self.written(|step, needs| {
            let _ = write!(out, "s{step}: {}\n\t@/bin/true\n", needs.join(" "));
        });
        out
    }

    fn just(self) -> String {
        let all: Vec<String> = (0..self.steps()).map(|step| format!("s{step}")).collect();
        let mut out = format!("[parallel]\nall: {}\n", all.join(" "));
        self.written(|step, needs| {
            let _ = write!(out, "s{step}: {}\n    @/bin/true\n", needs.join(" "));
        });
        out
    }

    fn doit(self) -> String {
        let mut out = String::from("def task_s():\n");
        self.written(|step, needs| {
            let needs: Vec<String> = needs.iter().map(|need| format!("'s:{need}'")).collect();
            let needs = needs.join(", ");
            let _ = writeln!(
                out,
                "    yield {{'name': 's{step}', 'actions': [['/bin/true']], 'task_dep': [{needs}]}}"
            );
        });
        out
    }
}

/// Who runs the graph.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) remark: &'static str,
    program: &'static str,
    args: Vec<String>,
    dir: PathBuf,
    /// Ours: the directory of its last run.
    run: Option<PathBuf>,
}

static FRESH: AtomicU32 = AtomicU32::new(0);

/// A directory that is not there yet.
pub(crate) fn fresh(dir: &Path) -> PathBuf {
    dir.join(format!("run-{}", FRESH.fetch_add(1, Ordering::Relaxed)))
}

impl Peer {
    /// The command for one fresh run.
    pub(crate) fn command(&mut self) -> Command {
        self.command_and_run().0
    }

    /// And where it keeps what it does.
    pub(crate) fn command_and_run(&mut self) -> (Command, PathBuf) {
        let mut command = Command::new(self.program);
        command.args(&self.args).current_dir(&self.dir);
        let run = fresh(&self.dir);
        if self.durable() {
            command.arg("--run").arg(&run);
            self.run = Some(run.clone());
        } else if self.name == "ninja" || self.name == "doit" {
            // What an earlier run noted down.
            for name in [".ninja_log", ".ninja_deps", ".doit.db"] {
                drop(std::fs::remove_file(self.dir.join(name)));
            }
        }
        (command, run)
    }

    /// Whether it says that what it keeps is durable.
    pub(crate) fn durable(&self) -> bool {
        self.name == "cutover"
    }

    /// Of ours: seconds in which the first and the last thousand steps of the last run ended.
    pub(crate) fn first_and_last(&self) -> Option<(f64, f64)> {
        use cutover::event::{Ending, Event};
        let run = cutover::journal::rundir::RunDir::new(self.run.as_ref()?);
        let mut follow = cutover::journal::replay::Follow::open(&run).ok()?;
        let mut ends = Vec::new();
        while let Ok(Some(record)) = follow.next() {
            if matches!(record.event, Event::Ended(_, Ending::Done(_))) {
                ends.push(record.at);
            }
        }
        let between = |from: usize, to: usize| {
            Some(ends.get(to)?.duration_since(*ends.get(from)?).as_secs_f64())
        };
        let last = ends.len().checked_sub(1)?;
        (ends.len() > 2_000).then_some(())?;
        Some((between(0, 1_000)?, between(last - 1_000, last)?))
    }
}

/// Ours.
pub(crate) fn ours(dir: &Path, shape: Shape) -> Peer {
    let plan = dir.join(format!("{shape:?}.yaml"));
    std::fs::write(&plan, shape.plan()).expect("written");
    let program = env!("CARGO_BIN_EXE_cutover");
    let args = vec!["run".to_owned(), plan.display().to_string()];
    Peer { name: "cutover", remark: "", program, args, dir: dir.to_owned(), run: None }
}

/// Ours, and the peers that are installed.
pub(crate) fn peers(dir: &Path, shape: Shape) -> Vec<Peer> {
    let mut peers = vec![ours(dir, shape)];
    let mut add = |name: &'static str, file: &str, text: String, args: &[&str], remark| {
        if !is_installed(name) {
            return;
        }
        let place = dir.join(format!("{name}-{shape:?}"));
        std::fs::create_dir_all(&place).expect("a directory");
        std::fs::write(place.join(file), text).expect("written");
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        peers.push(Peer { name, remark, program: name, args, dir: place, run: None });
    };
    let all: Vec<String> = (0..shape.steps()).map(|step| format!("s{step}")).collect();
    let _ = all;
    add(
        "ninja",
        "build.ninja",
        shape.ninja(),
        &["-j2", "--quiet"],
        "  (a log, not synced; `sh` a step)",
    );
    add("make", "Makefile", shape.make(), &["-j2", "-s"], "  (keeps nothing)");
    if shape == Shape::Chains {
        add("just", "justfile", shape.just(), &["all"], "  (keeps nothing; has no -j)");
        add("doit", "dodo.py", shape.doit(), &["-n", "2", "-v", "0"], "  (a db at the end)");
    }
    peers
}

/// Peers of performance.md that are not here.
pub(crate) fn absent(shape: Shape) -> Vec<&'static str> {
    let known: &[&str] = match shape {
        Shape::Chains => &["ninja", "make", "just", "doit"],
        Shape::Layers => &["ninja", "make"],
    };
    known.iter().copied().filter(|name| !is_installed(name)).collect()
}

fn is_installed(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
