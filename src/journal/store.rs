//! The file that a journal is kept in: appended to, never rewritten; one write and one sync for a
//! batch.
//!
//! A write or sync that fails is final: after a failed sync the kernel may call pages clean that
//! never reached the disk, so nothing read or written afterwards proves anything. Not known here:
//! what the bytes say.

use super::lock::{NO_FOLLOW, RunLock};
use super::rundir::RunDir;
use super::{JournalError, Lost};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes kept free for the day the disk is full.
pub const BALLAST: usize = 1 << 20;

/// An append-only file that nobody else writes.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
    ballast: PathBuf,
    /// As long as we left it.
    len: u64,
    /// Held as long as the file is written.
    lock: Option<RunLock>,
}

impl Store {
    /// Opens a journal for appending behind `len` bytes; the file must end there.
    ///
    /// # Errors
    /// When it cannot be opened, or is of another length.
    pub fn open(dir: &RunDir, len: u64) -> Result<Self, JournalError> {
        let path = dir.journal();
        let file =
            OpenOptions::new().append(true).custom_flags(NO_FOLLOW).open(&path).map_err(
                |error| JournalError::io(format!("opening `{}`", path.display()), error),
            )?;
        let store = Self { file, path, ballast: dir.ballast(), len, lock: None };
        store.check().map_err(JournalError::Lost)?;
        Ok(store)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Keeps the run's lock for as long as the file is written.
    pub fn keep(&mut self, lock: RunLock) {
        self.lock = Some(lock);
    }

    /// Appends whole lines and makes them durable. After an error the store is of no use any more.
    ///
    /// # Errors
    /// The file is not as it was left, or a write or sync failed.
    pub fn commit(&mut self, lines: &[u8]) -> Result<(), Lost> {
        self.check()?;
        let done = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        match done {
            Ok(()) => {
                self.len += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                let full = is_full(&error);
                if full {
                    free_ballast(&self.ballast);
                }
                let hint = if full { "; the journal's ballast was freed" } else { "" };
                Err(Lost::new(format!("writing `{}`: {error}{hint}", self.path.display())))
            }
        }
    }

    /// A second writer is seen by the length, a removed file by its links.
    fn check(&self) -> Result<(), Lost> {
        let path = self.path.display();
        let metadata = self
            .file
            .metadata()
            .map_err(|error| Lost::new(format!("asking for the length of `{path}`: {error}")))?;
        if metadata.len() != self.len {
            return Err(Lost::new(format!(
                "`{path}` is {} bytes long where this runner left {}: someone else writes it",
                metadata.len(),
                self.len
            )));
        }
        if metadata.nlink() == 0 {
            return Err(Lost::new(format!("`{path}` was removed")));
        }
        Ok(())
    }
}

/// Whether the device, or the quota on it, is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Gives the ballast's room back. Nothing can be done about a failure, so none is told.
pub(crate) fn free_ballast(path: &Path) {
    drop(fs::remove_file(path));
}

/// Puts the ballast into the directory, with real blocks. False when there is no room for it.
///
/// # Errors
/// Any other failure than a full device.
pub(crate) fn lay_ballast(path: &Path) -> io::Result<bool> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == BALLAST as u64) {
        return Ok(true);
    }
    let laid = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(path)
        .and_then(|mut file| file.write_all(&vec![0; BALLAST]).and_then(|()| file.sync_all()));
    match laid {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => {
            free_ballast(path);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Writes a new file so that it is either whole and durable under its name, or not there.
///
/// # Errors
/// When a step of it fails; a half-written file may remain under `NAME.new`.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory_of(path)
}

/// Makes the names in a file's directory durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes the names of a run's directory and of the one that it lies in (`runs`) durable.
///
/// # Errors
/// When a directory cannot be synced; one that may not be read is left.
pub(super) fn sync_names_above(directory: &Path) -> io::Result<()> {
    for name in directory.ancestors().take(2).filter(|it| !it.as_os_str().is_empty()) {
        match sync_directory_of(name) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Forgets what the page cache holds of a file, so that what is read next comes from the disk:
/// after a failed sync the cache shows bytes that were never written.
///
/// # Errors
/// When what is still dirty cannot be synced.
pub(crate) fn drop_cache(file: &File) -> io::Result<()> {
    file.sync_all()?;
    // Advice only: a file system may not know it (tmpfs), which is no failure.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}
