//! What can be typed about plans and estates that do not run yet.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// `preflight`
#[derive(Debug, Args)]
pub struct Preflight {
    /// The plan
    pub plan: PathBuf,
    /// The estate; needed when the plan names a site, host or service
    #[arg(long, value_name = "FILE")]
    pub estate: Option<PathBuf>,
    /// Each step's command, host, check (asked now) and undo as well
    #[arg(long)]
    pub steps: bool,
    /// Write the steps to a lock, with the hashes of every file: `run --locked FILE` holds to it
    #[arg(short, long, value_name = "FILE", requires = "steps")]
    pub output: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `schema`
#[derive(Debug, Args)]
pub struct Schema {
    /// Of which file
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// Files that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A plan
    Plan,
    /// An estate
    Estate,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Name the sites, lines, hosts and services of this estate
    #[arg(long, value_name = "FILE")]
    pub estate: Option<PathBuf>,
    /// Where to; never over a file that is there; standard output when left out
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `guard`
#[derive(Debug, Args)]
pub struct Guard {
    /// The plan
    pub plan: PathBuf,
    /// The estate
    #[arg(long, value_name = "FILE")]
    pub estate: PathBuf,
    /// How long; until interrupted when left out; s, m or h
    #[arg(long = "for", value_name = "DURATION", value_parser = super::duration)]
    pub length: Option<Duration>,
    /// JSON lines, the last one with all verdicts and findings
    #[arg(long)]
    pub json: bool,
}
