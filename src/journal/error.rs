//! What can be wrong with a run's journal, as a person is told.

use super::chain::Damage;
use super::lock::Holder;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The journal's file failed while a run was under way: no deed may follow, the process ends with
/// exit code 5, and `resume` reads what is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost(String);

impl Lost {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

/// Why a run directory cannot be used.
#[derive(Debug)]
pub enum JournalError {
    /// Another runner has the run.
    Held {
        /// The run directory.
        directory: PathBuf,
        /// Who, when it has said so already.
        holder: Option<Box<Holder>>,
    },
    /// A run is there already.
    Exists {
        /// The run directory.
        directory: PathBuf,
    },
    /// No run is there.
    Absent {
        /// The run directory.
        directory: PathBuf,
    },
    /// The directory is a copy: both could be run.
    Copied {
        /// The run directory.
        directory: PathBuf,
        /// The one that it is a copy of.
        original: PathBuf,
        /// Whether the original is still there.
        is_there: bool,
    },
    /// The file is not what was written.
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where and why.
        damage: Damage,
    },
    /// The journal was written for something that this program does not make of it.
    Foreign {
        /// The file.
        file: PathBuf,
        /// What differs.
        why: String,
    },
    /// The directory is not one that a run can be kept in.
    Unfit {
        /// The directory.
        directory: PathBuf,
        /// Why.
        why: String,
    },
    /// A record that this program made itself cannot have happened.
    Impossible {
        /// Why.
        why: String,
    },
    /// The file failed.
    Lost(Lost),
    /// The system refused.
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl JournalError {
    pub(crate) fn io(doing: String, source: io::Error) -> Self {
        Self::Io { doing, source }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Held { directory, .. } => Some(format!(
                "`cutover status {0}` and the other commands work while it runs; wait for it, or end it first",
                directory.display()
            )),
            Self::Exists { directory } => Some(format!(
                "`cutover resume {}` goes on with it; name another directory for a new run",
                directory.display()
            )),
            Self::Absent { .. } => {
                Some("name a run's directory: it is the first thing that `run` prints".to_owned())
            }
            Self::Copied { directory, .. } => Some(format!(
                "resume the original; if it will never be run again, remove `{}/lock` and resume here",
                directory.display()
            )),
            Self::Damaged { .. } => Some(
                "nothing was started; `cutover journal verify` shows it again, a copy from before is needed"
                    .to_owned(),
            ),
            Self::Foreign { .. } => {
                Some("nothing was started; use the version of the program that began this run".to_owned())
            }
            Self::Unfit { .. } => Some("name another directory with `--run`".to_owned()),
            Self::Impossible { .. } => Some("this is a bug; the journal is not harmed".to_owned()),
            Self::Lost(_) => Some("make room or mend the disk, then `cutover resume`".to_owned()),
            Self::Io { source, .. } if super::store::is_full(source) => {
                Some("the disk is full: make room, then try again".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { directory, holder: Some(holder) } => {
                write!(out, "`{}` is being run by {holder}", directory.display())
            }
            Self::Held { directory, holder: None } => {
                write!(out, "`{}` is being run by another process", directory.display())
            }
            Self::Exists { directory } => {
                write!(out, "`{}` holds a run already", directory.display())
            }
            Self::Absent { directory } => write!(out, "`{}` holds no run", directory.display()),
            Self::Copied { directory, original, is_there } => write!(
                out,
                "`{}` is a copy of `{}`, which is {}: two runners could act on one estate",
                directory.display(),
                original.display(),
                if *is_there { "still there" } else { "not there any more, or on another machine" }
            ),
            Self::Damaged { file, damage } => {
                write!(
                    out,
                    "{}:{}: damaged at byte {}: {}",
                    file.display(),
                    damage.line,
                    damage.byte,
                    damage.why
                )
            }
            Self::Foreign { file, why } => write!(out, "{}: {why}", file.display()),
            Self::Unfit { directory, why } => {
                write!(out, "`{}` cannot hold a run: {why}", directory.display())
            }
            Self::Impossible { why } => write!(out, "a record cannot have happened: {why}"),
            Self::Lost(lost) => lost.fmt(out),
            Self::Io { doing, source } => write!(out, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
