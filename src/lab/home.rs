//! Who lives in a lab's directory: one process at a time, by a lock that dies with its holder; and
//! whether the directory is still the one that the lab came up in.
//!
//! The lock is the kernel's, so a process number that another process has got meanwhile is never
//! taken for a lab. Not known here: what a lab is.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who only asks whether the lock is held holds it for a moment.
const A_MOMENT: Duration = Duration::from_secs(1);

/// The process that lives in a lab's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its number.
    pub pid: u32,
    /// Who started it.
    pub uid: u32,
    /// Since when, unix milliseconds.
    pub since: i64,
}

impl fmt::Display for Tenant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = jiff::Timestamp::from_millisecond(self.since).unwrap_or_default();
        let since = since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(out, "process {} of user {}, since {since}", self.pid, self.uid)
    }
}

/// A directory, as whoever came into it found it.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// Open, so that no other file gets its inode.
    file: File,
    id: (u64, u64),
}

impl Home {
    /// Moves in: from now on nobody else can, until the process ends.
    ///
    /// # Errors
    /// Another process lives there.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let mut home = Self::open(directory, "lab.lock")?;
        if !home.lock(A_MOMENT)? {
            let who = read(&mut home.file)
                .map_or_else(|| "another process".to_owned(), |t| t.to_string());
            bail!("another lab lives in `{}`: {who}", directory.display());
        }
        home.sign()?;
        Ok(home)
    }

    /// As [`Home::take`], for the one process of a name beside it; waits for the one before to leave.
    ///
    /// # Errors
    /// It does not leave within `patience`.
    pub(super) fn take_as(directory: &Path, name: &str, patience: Duration) -> Result<Self> {
        let mut home = Self::open(directory, name)?;
        if !home.lock(patience)? {
            bail!("another process holds `{}`", home.path.display());
        }
        home.sign()?;
        Ok(home)
    }

    /// Writes down who lives here.
    fn sign(&mut self) -> Result<()> {
        let uid = rustix::process::getuid().as_raw();
        let tenant = Tenant { pid: std::process::id(), uid, since: super::now_ms() };
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&serde_json::to_vec(&tenant)?)?;
        Ok(())
    }

    fn open(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).with_context(|| format!("opening `{}`", path.display()))?;
        let about = file.metadata()?;
        Ok(Self { path, file, id: (about.dev(), about.ino()) })
    }

    /// Whether it could be locked.
    fn lock(&self, patience: Duration) -> Result<bool> {
        let until = Instant::now() + patience;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => {
                    return Err(error)
                        .with_context(|| format!("locking `{}`", self.path.display()));
                }
            }
        }
    }

    /// Whether the directory is still there, and still this one: not taken away, emptied, replaced.
    pub(super) fn is_ours(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|about| (about.dev(), about.ino()) == self.id)
    }

    /// To be asked before anything is written by name: a directory that was taken away may have been
    /// made anew, for another lab.
    ///
    /// # Errors
    /// It is no longer ours.
    pub(super) fn ensure_ours(&self) -> Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        bail!("the lab's directory was taken away: `{}` is gone or another", self.path.display())
    }
}

/// Who lives in a directory just now.
///
/// # Errors
/// The lock cannot be asked.
pub(super) fn tenant(directory: &Path) -> Result<Option<Tenant>> {
    let path = directory.join("lab.lock");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("opening `{}`", path.display()));
        }
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        // A holder that has not written down yet who it is.
        Err(TryLockError::WouldBlock) => {
            Ok(Some(read(&mut file).unwrap_or(Tenant { pid: 0, uid: 0, since: 0 })))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking `{}`", path.display()))
        }
    }
}

fn read(file: &mut File) -> Option<Tenant> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(1 << 12).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_tenant_and_no_number_of_a_dead_one_counts() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        assert_eq!(tenant(place).unwrap(), None);
        let home = Home::take(place).unwrap();
        let who = tenant(place).unwrap().unwrap();
        assert_eq!(who.pid, std::process::id());
        let refused = Home::take(place).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", who.pid)), "{refused}");
        drop(home);
        // Its number is a living process's, as it may be when it was handed out anew.
        assert!(std::fs::read_to_string(place.join("lab.lock")).unwrap().contains("\"pid\""));
        assert_eq!(tenant(place).unwrap(), None);
        Home::take(place).unwrap();
    }

    #[test]
    fn a_directory_that_is_made_anew_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("lab");
        std::fs::create_dir(&place).unwrap();
        let home = Home::take(&place).unwrap();
        assert!(home.is_ours());
        std::fs::remove_dir_all(&place).unwrap();
        assert!(!home.is_ours());
        std::fs::create_dir(&place).unwrap();
        let next = Home::take(&place).unwrap();
        assert!(next.is_ours() && !home.is_ours());
        assert!(home.ensure_ours().unwrap_err().to_string().contains("taken away"));
    }
}
