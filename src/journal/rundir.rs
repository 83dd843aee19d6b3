//! The file names of a run directory; nobody else spells them.

use std::path::{Path, PathBuf};

/// A run's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Names a directory; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }
    /// The runner's lock.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    /// The emergency lane's journal; its own lock is on this file.
    pub fn revocations(&self) -> PathBuf {
        self.0.join("revocations.jsonl")
    }
    /// The lab's estate (rehearsals).
    pub fn estate(&self) -> PathBuf {
        self.0.join("estate.yaml")
    }
    /// The status page for machines.
    pub fn status_json(&self) -> PathBuf {
        self.0.join("status.json")
    }
    /// The status page for people.
    pub fn status_html(&self) -> PathBuf {
        self.0.join("status.html")
    }
    /// Output of attempts.
    pub fn attempts(&self) -> PathBuf {
        self.0.join("attempts")
    }
    /// The operators' socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
    /// The lab's directory (rehearsals).
    pub fn lab(&self) -> PathBuf {
        self.0.join("lab")
    }
    /// The witness's record, taken when the rehearsal closed.
    pub fn witness(&self) -> PathBuf {
        self.0.join("witness.json")
    }
}
