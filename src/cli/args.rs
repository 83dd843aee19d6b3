//! What can be typed.

mod plans;

pub use plans::{Guard, Init, Preflight, Schema, SchemaOf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs a data-center migration plan as a proved graph of steps, with a durable journal and
/// rollback, while protected services keep answering.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, max_term_width = 100, after_help = super::exit::TABLE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove a plan; nothing is touched
    Check(Check),
    /// Show the steps and what they hang on
    Graph(Graph),
    /// Look at everything that a run would touch; nothing is changed
    Preflight(Preflight),
    /// Run a plan many times in a simulated world: faults, crashes and operators at every moment
    Simulate(Simulate),
    /// Run a plan on the embedded lab, or on an estate that is not production
    #[cfg(feature = "lab")]
    Rehearse(Rehearse),
    /// Run a plan
    Run(Run),
    /// Go on with a run: after a crash, an interruption, an answer
    Resume(Resume),
    /// Show where a run stands
    Status(Status),
    /// Follow a run, from any terminal; outlives its runner
    Watch(Watch),
    /// Hold a run: nothing starts until released
    Hold(Reasoned),
    /// End holds
    Release(Release),
    /// Approve a gate, or say no to it
    #[command(override_usage = "cutover approve [OPTIONS] [RUN] STEP")]
    Approve(Approve),
    /// Answer a question of a run
    #[command(override_usage = "cutover answer [OPTIONS] [RUN] QUESTION ANSWER")]
    Answer(Answer),
    /// Take a manual step, to do it
    #[command(override_usage = "cutover claim [RUN] STEP")]
    Claim(OneStep),
    /// Say that a manual step is done
    #[command(override_usage = "cutover done [OPTIONS] [RUN] STEP")]
    Done(Done),
    /// Say that a manual step cannot be done
    #[command(override_usage = "cutover fail --reason <REASON> [RUN] STEP")]
    Fail(Fail),
    /// Try a failed, in-doubt, undone or skipped step again
    #[command(override_usage = "cutover retry [RUN] STEP")]
    Retry(OneStep),
    /// Leave a step out that never started, if the plan without it still proves
    #[command(override_usage = "cutover skip --reason <REASON> [RUN] STEP")]
    Skip(Fail),
    /// End running steps, undo nothing, close the run as stuck
    Abort(Reasoned),
    /// Undo what was begun: the run, a line, or back to a checkpoint
    Rollback(Rollback),
    /// Watch what a plan protects, with no run: the guard alone
    Guard(Guard),
    /// Revoke a certificate now: the emergency lane, open at every moment of a run
    Revoke(Revoke),
    /// What happened in a run
    Report(Report),
    /// Show or verify the journal of a run
    #[command(subcommand)]
    Journal(Journal),
    /// The embedded two-site estate by itself
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Lab(Lab),
    /// JSON schema of plans or estates, for editors
    Schema(Schema),
    /// Write a small plan to begin with
    Init(Init),
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual page, in roff
    Man,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    /// The plan
    pub plan: PathBuf,
    /// Look names up in this estate as well
    #[arg(long, value_name = "FILE")]
    pub estate: Option<PathBuf>,
    /// Take durations and failures from these runs, for steps of the same name
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub learn: Vec<PathBuf>,
    /// Seed of the simulated executions
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// Refuse a plan of which something had to be taken on trust: a host that says no effects, a
    /// service of which nobody says who serves it
    #[arg(long)]
    pub strict: bool,
}

/// `graph`
#[derive(Debug, Args)]
pub struct Graph {
    /// The plan
    pub plan: PathBuf,
    /// How
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
    /// Draw every instance of a fan-out by itself, instead of one box for all of them
    #[arg(long)]
    pub expand: bool,
}

/// Formats of `graph`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum GraphFormat {
    /// A listing in layers
    Text,
    /// Graphviz
    Dot,
    /// A Mermaid block, for wikis and forges
    Mermaid,
    /// A picture of its own, for a browser
    Svg,
}

/// `simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// The plan; left out, random small plans, another for every fourth seed
    pub plan: Option<PathBuf>,
    /// Seed of the first run; the others have the numbers after it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub runs: u64,
    /// Where the shortest story of a broken run is kept, to be told again
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Tell a kept story instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "keep"])]
    pub story: Option<PathBuf>,
}

/// What every command that runs a plan takes.
#[derive(Debug, Args)]
pub struct Running {
    /// The run's directory; a new one under runs/ when left out
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Put a fault in: STEP=fail, STEP=fail:N, STEP=hang, STEP=slow:N, runner=kill@RECORD, guard=hang, or one
    /// of the lab's; `--faults` lists them
    #[arg(long = "fault", value_name = "SPEC")]
    pub fault: Vec<String>,
    /// Seed of whatever is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The events themselves, one JSON line each
    #[arg(long)]
    pub json: bool,
    /// Stay when a person is needed, instead of exiting with 4
    #[arg(long)]
    pub wait: bool,
    /// The ed25519 key that signs the journals when the run closes, PKCS#8 in PEM or DER; mode 0600
    #[arg(long, value_name = "FILE")]
    pub seal_key: Option<PathBuf>,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The plan
    pub plan: PathBuf,
    /// The estate; needed when the plan names a site, host or service
    #[arg(long, value_name = "FILE")]
    pub estate: Option<PathBuf>,
    /// How it is run
    #[command(flatten)]
    pub running: Running,
    /// The name of a production estate, instead of typing it when asked
    #[arg(long, value_name = "NAME")]
    pub yes: Option<String>,
    /// Only when nothing has changed since this lock was made (`preflight --steps -o FILE`)
    #[arg(long, value_name = "FILE")]
    pub locked: Option<PathBuf>,
    /// Exit with 5 instead of waiting for a phase or a `not_before`
    #[arg(long)]
    pub exit_between: bool,
    /// Go on in the background; `watch` follows it
    #[arg(long)]
    pub detach: bool,
    /// Move the window so that it opens now; journal and report say so
    #[arg(long)]
    pub shift_window: bool,
}

/// `rehearse`
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct Rehearse {
    /// The plan
    #[arg(required_unless_present = "faults")]
    pub plan: Option<PathBuf>,
    /// An estate of your own instead of the embedded lab
    #[arg(long, value_name = "FILE")]
    pub estate: Option<PathBuf>,
    /// How it is run
    #[command(flatten)]
    pub running: Running,
    /// List every fault that can be put in
    #[arg(long)]
    pub faults: bool,
    /// Emergency revocations that it asks for by itself
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub revoke: u32,
    /// Leave gates and manual steps to people
    #[arg(long)]
    pub ask: bool,
    /// Leave the lab up when the run closes
    #[arg(long)]
    pub keep_lab: bool,
    /// Certificates of each line in the lab
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub certificates: u32,
    /// Orders of each line in the lab
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub orders: u32,
    /// Client load of the lab, in percent of the usual
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    pub load: u32,
    /// How long clients go on asking after the run has closed; s, m or h
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub settle: Duration,
}

/// A run, named by its directory.
#[derive(Debug, Args)]
pub struct Target {
    /// The run's directory; the newest under runs/ when left out
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
}

/// `resume`
#[derive(Debug, Args)]
pub struct Resume {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// The events themselves, one JSON line each
    #[arg(long)]
    pub json: bool,
    /// Stay when a person is needed, instead of exiting with 4
    #[arg(long)]
    pub wait: bool,
    /// Leave gates and manual steps of a rehearsal to people
    #[arg(long)]
    pub ask: bool,
    /// Leave the lab of a rehearsal up when the run closes
    #[arg(long)]
    pub keep_lab: bool,
    /// Exit with 5 instead of waiting for a phase or a `not_before`
    #[arg(long)]
    pub exit_between: bool,
    /// The ed25519 key that signs the journals when the run closes, PKCS#8 in PEM or DER; mode 0600
    #[arg(long, value_name = "FILE")]
    pub seal_key: Option<PathBuf>,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// The events themselves, one JSON line each
    #[arg(long)]
    pub json: bool,
}

/// A request with a reason.
#[derive(Debug, Args)]
pub struct Reasoned {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// Why; for the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// `release`
#[derive(Debug, Args)]
pub struct Release {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// One hold, by its number; every one that a release ends when left out
    #[arg(long, value_name = "NUMBER")]
    pub hold: Option<u64>,
}

/// A run and a step; with one word it is the step, of the newest run.
#[derive(Debug, Args)]
pub struct RunStep {
    /// The step; before it the run's directory, unless it is the newest under runs/
    #[arg(value_name = "STEP", num_args = 1..=2, required = true)]
    pub words: Vec<String>,
}

/// A request about a step.
#[derive(Debug, Args)]
pub struct OneStep {
    /// Run and step
    #[command(flatten)]
    pub at: RunStep,
}

/// `approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// Run and gate
    #[command(flatten)]
    pub at: RunStep,
    /// Say no, and why: holds the run and offers the rollback
    #[arg(long, value_name = "REASON")]
    pub no: Option<String>,
    /// A word for the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
}

/// `answer`
#[derive(Debug, Args)]
pub struct Answer {
    /// The question's number and the answer, as `status` lists them; before them the run's directory,
    /// unless it is the newest under runs/
    #[arg(value_names = ["QUESTION", "ANSWER"], num_args = 2..=3, required = true)]
    pub words: Vec<String>,
    /// A word for the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
}

/// `done`
#[derive(Debug, Args)]
pub struct Done {
    /// Run and step
    #[command(flatten)]
    pub at: RunStep,
    /// What shows it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub evidence: String,
}

/// `fail` and `skip`
#[derive(Debug, Args)]
pub struct Fail {
    /// Run and step
    #[command(flatten)]
    pub at: RunStep,
    /// Why; for the journal
    #[arg(long)]
    pub reason: String,
}

/// `rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// One product line, and what hangs on it
    #[arg(long, conflicts_with_all = ["to", "all"])]
    pub line: Option<String>,
    /// Back to a checkpoint, and hold there
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub to: Option<String>,
    /// Done steps of phase before as well
    #[arg(long)]
    pub all: bool,
    /// Why; for the journal
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// `revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// The certificate's product line
    #[arg(long)]
    pub line: String,
    /// Its serial number, hexadecimal
    #[arg(long)]
    pub serial: String,
    /// unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation,
    /// privilegeWithdrawn, or the number of RFC 5280
    #[arg(long)]
    pub reason: String,
    /// Return when it is accepted, without waiting for its confirmation
    #[arg(long)]
    pub no_wait: bool,
    /// Give up waiting after this long (it stays accepted); s, m or h
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub within: Duration,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

/// `report`
#[derive(Debug, Args)]
pub struct Report {
    /// Which run
    #[command(flatten)]
    pub target: Target,
    /// How
    #[arg(long, value_enum, default_value_t = ReportFormat::Json)]
    pub format: ReportFormat,
    /// Where to; standard output when left out
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Formats of `report`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReportFormat {
    /// One JSON document
    Json,
}

/// `journal`
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Every record, a line each
    Show {
        /// Which run
        #[command(flatten)]
        target: Target,
        /// The records as they stand in the file
        #[arg(long)]
        json: bool,
    },
    /// Prove that no record was changed, lost or added; never cuts; judges the seal, offline
    Verify {
        /// Which run
        #[command(flatten)]
        target: Target,
        /// The public ed25519 key that must have sealed it: a PEM or DER file, or 64 hex digits
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Seal a closed run that has no signed seal
    Seal {
        /// Which run
        #[command(flatten)]
        target: Target,
        /// The ed25519 key to sign with, PKCS#8 in PEM or DER; mode 0600
        #[arg(long, value_name = "FILE")]
        seal_key: Option<PathBuf>,
    },
}

/// `lab`
#[cfg(feature = "lab")]
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Bring a lab up in a directory; its estate file is the first thing printed
    Up {
        /// Its directory
        dir: PathBuf,
        /// Certificates of each line
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        certificates: u32,
        /// Orders of each line
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        orders: u32,
        /// Client load too
        #[arg(long)]
        load: bool,
    },
    /// End a lab; its databases stay
    Down {
        /// Its directory
        dir: PathBuf,
    },
    /// What a lab is doing
    Status {
        /// Its directory
        dir: PathBuf,
    },
    /// Put a fault into a lab, or take it out with `SPEC --off`
    Fault {
        /// Its directory
        dir: PathBuf,
        /// `ocsp@to/ocsp-1=down`, ...
        spec: String,
        /// Take it out
        #[arg(long)]
        off: bool,
    },
    /// The lab's own process
    #[command(hide = true)]
    Serve {
        /// Its directory
        dir: PathBuf,
    },
    /// The lab's clients
    #[command(hide = true)]
    Load {
        /// Its directory
        dir: PathBuf,
    },
    /// A command of one of the lab's hosts
    #[command(hide = true)]
    Tool {
        /// Directory, site, host, command, arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 4..)]
        words: Vec<String>,
    },
}
