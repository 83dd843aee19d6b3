//! `cargo bench --bench check`: what `cutover check` costs at 10,000 and at 100,000 steps, beside
//! `ninja -n` reading a graph of the same size in the same run.
//!
//! Times are whole processes, start to exit, in interleaved rounds; their ratio is the figure, as a
//! machine changes its speed from minute to minute. The command reads the plan without its estimates:
//! ninja simulates no window. What the window costs, at its full number of executions, has a column.
//! Phases are taken in a process of their own, and so is memory (`VmHWM`, read while it runs). Run it
//! on a machine that does nothing else.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../tests/grown/mod.rs"]
#[expect(dead_code, reason = "each user takes a part of it")]
mod grown;

use grown::large::{self, Form, WIDTH};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const SEED: u64 = 6;

/// What is measured: a plan's file with and without estimates, and ninja's of the same graph if there
/// is one.
struct Case {
    label: String,
    steps: usize,
    timed: PathBuf,
    untimed: PathBuf,
    ninja: Option<PathBuf>,
}

/// The phases of one load in this process.
struct Phases {
    parse: Duration,
    compile: Duration,
    proof: Duration,
    window: Duration,
    /// Peak memory of the process, in MiB.
    peak: f64,
    edges: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, file] = args.as_slice()
        && word == "phases"
    {
        return print_phases(Path::new(file));
    }
    let sizes: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 100_000] } else { sizes };
    let dir = tempfile::tempdir().expect("a directory");
    let has_ninja = Command::new("ninja").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_ninja {
        println!("ninja is not installed: no ratios (Debian: apt-get install ninja-build)");
    }
    println!(
        "{:<8} {:>7} {:>8} | {:>7} {:>7} {:>7} {:>7} {:>9} | {:>7} {:>9} | {:>7} {:>9} | ratio of {ROUNDS} rounds, median",
        "plan",
        "steps",
        "edges",
        "parse",
        "compile",
        "proof",
        "window",
        "peak MiB",
        "check",
        "peak MiB",
        "ninja",
        "peak MiB"
    );
    let mut last: Vec<(Form, usize, f64)> = Vec::new();
    for form in [Form::Written, Form::Fanned] {
        for size in &sizes {
            let case = case(dir.path(), *size, form, has_ninja);
            let check = measure(&case);
            last.push((form, *size, check));
        }
    }
    for form in [Form::Written, Form::Fanned] {
        let of_form: Vec<_> = last.iter().filter(|(of, ..)| *of == form).collect();
        for pair in of_form.windows(2) {
            let (steps, time) = (pair[1].1 as f64 / pair[0].1 as f64, pair[1].2 / pair[0].2);
            println!("{form:?}: {steps:.0} times the steps take {time:.1} times as long");
        }
    }
}

fn case(dir: &Path, steps: usize, form: Form, has_ninja: bool) -> Case {
    let layers = steps / WIDTH;
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let text = large::plan(layers, form, SEED);
    let rest: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("estimate:")).collect();
    let untimed = write(&format!("{form:?}-{steps}-untimed.yaml"), rest.join("\n"));
    let timed = write(&format!("{form:?}-{steps}.yaml"), text);
    let ninja = has_ninja.then(|| write(&format!("{steps}.ninja"), large::ninja(layers, SEED)));
    Case { label: format!("{form:?}").to_lowercase(), steps: layers * WIDTH, timed, untimed, ninja }
}

/// One row of the table; the median time of the whole command, in seconds.
fn measure(case: &Case) -> f64 {
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.arg("check").arg(&case.untimed);
        command
    };
    let ninja = case.ninja.as_ref().map(|file| {
        move || {
            let mut command = Command::new("ninja");
            command.arg("-n").arg("--quiet").arg("-f").arg(file);
            command
        }
    });
    let (mut ours, mut theirs, mut phases) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(check()));
        theirs.extend(ninja.as_ref().map(|ninja| timed(ninja())));
        phases.push(phases_of(&case.timed));
    }
    let of = |pick: &dyn Fn(&Phases) -> Duration| median(phases.iter().map(pick));
    let ratios: Vec<f64> =
        ours.iter().zip(&theirs).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let check_s = median(ours.iter().copied());
    let (ninja_s, ninja_peak) = match &ninja {
        Some(ninja) => {
            (format!("{:.3}", median(theirs.iter().copied())), format!("{:.0}", peak(ninja())))
        }
        None => ("-".into(), "-".into()),
    };
    println!(
        "{:<8} {:>7} {:>8} | {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>9.0} | {:>7.3} {:>9.0} | {:>7} {:>9} | {}, {:.2}",
        case.label,
        case.steps,
        phases.first().map_or(0, |phases| phases.edges),
        of(&|phases| phases.parse),
        of(&|phases| phases.compile),
        of(&|phases| phases.proof),
        of(&|phases| phases.window),
        phases.iter().map(|phases| phases.peak).fold(0.0, f64::max),
        check_s,
        peak(check()),
        ninja_s,
        ninja_peak,
        if shown.is_empty() { "-".into() } else { shown.join(" ") },
        median(ratios.into_iter().map(Duration::from_secs_f64)),
    );
    check_s
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

fn timed(mut command: Command) -> Duration {
    let begun = Instant::now();
    let output = command.output().expect("it starts");
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    took
}

/// Peak memory of a process in MiB: the kernel keeps the highest, so a look every millisecond
/// misses at most the last one.
fn peak(mut command: Command) -> f64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut highest = 0.0_f64;
    while child.try_wait().expect("it is ours").is_none() {
        highest = highest.max(high_water(&child.id().to_string()));
        std::thread::sleep(Duration::from_millis(1));
    }
    highest
}

fn high_water(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn phases_of(plan: &Path) -> Phases {
    let this = std::env::current_exe().expect("this program");
    let output = Command::new(this).arg("phases").arg(plan).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [parse, compile, proof, window, peak, edges] = numbers.as_slice() else {
        panic!("{said}{}", String::from_utf8_lossy(&output.stderr))
    };
    let time = |seconds: &f64| Duration::from_secs_f64(*seconds);
    Phases {
        parse: time(parse),
        compile: time(compile),
        proof: time(proof),
        window: time(window),
        peak: *peak,
        edges: *edges as usize,
    }
}

fn print_phases(path: &Path) {
    use cutover::proof::window::{self, Learned, Options, Times};
    use cutover::{graph::Graph, plan, proof};
    let text = std::fs::read_to_string(path).expect("readable").into();
    let begun = Instant::now();
    let (plan, faults) = plan::read_anyway(path, &text);
    assert!(!plan::is_fatal(&faults), "{faults:?}");
    let parsed = begun.elapsed();
    let graph = Graph::compile(plan.expect("a plan").into(), None).expect("it compiles");
    let compiled = begun.elapsed();
    proof::prove(&graph).expect("it holds");
    let proved = begun.elapsed();
    let times = Times::new(&graph, &Learned::default());
    window::judge(&graph, &times, &Options::default(), &cutover::cli::fan::at_once)
        .expect("it has estimates");
    let judged = begun.elapsed();
    let phases = [parsed, compiled - parsed, proved - compiled, judged - proved];
    let [parse, compile, proof, window] = phases.map(|time| time.as_secs_f64());
    let (peak, edges) = (high_water("self"), graph.edge_count());
    let mut out = std::io::stdout().lock();
    writeln!(out, "{parse} {compile} {proof} {window} {peak} {edges}").expect("written");
}
