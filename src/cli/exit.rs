//! Exit codes: the one place that knows them.

use std::process::ExitCode;

/// What the process says when it ends; the table is in `--help` and in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Unexpected.
    Unexpected = 1,
    /// Usage, plan, estate or run directory wrong; another runner has it; damaged journal.
    Wrong = 2,
    /// Rolled back, wholly or a line.
    RolledBack = 3,
    /// A person is needed: held or stuck.
    Person = 4,
    /// Interrupted; can be resumed.
    Interrupted = 5,
    /// A protected service was breached.
    Breached = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For `--help`.
pub const TABLE: &str = "\
Exit codes:
  0  done
  1  unexpected
  2  usage, plan, estate or run directory wrong (also: another runner has it, damaged journal)
  3  rolled back, wholly or a line
  4  a person is needed (held, stuck)
  5  interrupted, can be resumed
  6  a protected service was breached";
