//! A database file, looked at without a trace: never made, never written, no log left beside it.
//!
//! SQLite's read-only mode still makes a log's index beside a file in WAL mode when there is none.
//! So a file that nobody has open (no log beside it) is opened as one that does not change.

use super::Trouble;
use super::marks::{self, Left};
use crate::failure::Failure;
use rusqlite::{Connection, OpenFlags};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a lock of somebody else's is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// What was seen of a file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its size, with what its log adds.
    pub(crate) bytes: u64,
    /// What it holds.
    pub(crate) content: Content,
    /// `SQLite 3.46.0`, ...
    pub(crate) version: String,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// So many tables, views and triggers that are not ours.
    Objects(usize),
    /// A copy, finished or not: whose.
    Half(String),
}

/// Looks at an existing file.
///
/// # Errors
/// It cannot be read, or is no database.
pub(crate) fn file(path: &Path) -> Result<File, Failure> {
    let (content, bytes) = ask(path, |connection| {
        let left = marks::left(connection)?;
        Ok(match (left.copy(), left) {
            (Some(whose), _) => Content::Half(whose),
            (None, Left::Objects(names)) => Content::Objects(names.len()),
            (None, _) => Content::Objects(0),
        })
    })?;
    Ok(File { bytes, content, version: format!("SQLite {}", rusqlite::version()) })
}

/// Asks an existing file something that changes nothing; with its size, log included.
///
/// # Errors
/// It cannot be read, or is no database.
pub(crate) fn ask<T>(
    path: &Path,
    question: impl FnOnce(&Connection) -> Result<T, Trouble>,
) -> Result<(T, u64), Failure> {
    look(path, question).map_err(|trouble| {
        match trouble.during(format!("database `{}`", path.display())) {
            Trouble::Failed(failure) => failure,
            _ => Failure::transient(format!("database `{}`: interrupted", path.display())),
        }
    })
}

fn look<T>(
    path: &Path,
    question: impl FnOnce(&Connection) -> Result<T, Trouble>,
) -> Result<(T, u64), Trouble> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(Trouble::last("is not a file"));
    }
    let log = beside(path, "-wal");
    let logged = std::fs::metadata(&log).map(|about| about.len());
    let mut header = Vec::new();
    std::fs::File::open(path)?.take(100).read_to_end(&mut header)?;
    // Bytes 18 and 19: 2 is WAL (https://www.sqlite.org/fileformat.html, 1.3.3).
    let is_wal = header.get(18) == Some(&2) || header.get(19) == Some(&2);
    if logged.as_ref().is_ok_and(|bytes| *bytes > 0) && !beside(path, "-shm").exists() {
        return Err(Trouble::last("was left in a crash: open it once with SQLite, which mends it"));
    }
    let connection = open(path, is_wal && logged.is_err())?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok((question(&connection)?, about.len() + logged.unwrap_or(0)))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn open(path: &Path, immutable: bool) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !immutable {
        return Ok(Connection::open_with_flags(path, flags)?);
    }
    let text = path.to_str().ok_or_else(|| Trouble::last("its path is no text"))?;
    let mut uri = String::from("file:");
    for c in text.chars() {
        match c {
            '%' | '?' | '#' => uri.push_str(&format!("%{:02X}", c as u32)),
            c => uri.push(c),
        }
    }
    uri.push_str("?immutable=1");
    Ok(Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?)
}
