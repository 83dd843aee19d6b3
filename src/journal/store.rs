//! The file that a journal is kept in: appended to, never rewritten; one write and one sync for a
//! batch.
//!
//! Ahead of the records the file is padded with empty lines that are durable already: to overwrite
//! them is a third cheaper to sync than to let the file grow, as the file system has nothing of its own
//! to write down. The padding is cut off at the end; a runner that is killed leaves it, and readers take
//! it for the end.
//!
//! A write or sync that fails is final: after a failed sync the kernel may call pages clean that
//! never reached the disk, so nothing read or written afterwards proves anything. Not known here:
//! what the bytes say.

use super::chain::PADDING;
use super::lock::{NO_FOLLOW, RunLock};
use super::rundir::RunDir;
use super::{JournalError, Lost};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes kept free for the day the disk is full.
pub const BALLAST: usize = 1 << 20;
/// Padding is laid by pieces of so many bytes, larger ones as the journal grows.
const PIECE: u64 = 64 << 10;
/// The largest piece; what follows the journal reads over it at every look.
const LARGEST: u64 = 1 << 20;
/// A larger batch is not padded for: it pays for the growth of the file by itself.
const LARGE_BATCH: u64 = 64 << 10;
/// The length of the file tells runners apart: each lays so many bytes more than a whole piece.
const EPOCHS: u64 = 1 << 12;

/// An append-only file that nobody else writes.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
    ballast: PathBuf,
    /// Where the records end, and the next one begins.
    len: u64,
    /// As long as we left the file: records, then padding.
    laid: u64,
    /// The runner's number; none while it has no lock, and lays no padding.
    epoch: Option<u64>,
    /// Held as long as the file is written.
    lock: Option<RunLock>,
}

impl Store {
    /// Opens a journal to go on behind `len` bytes; the file must end there.
    ///
    /// # Errors
    /// When it cannot be opened, or is of another length.
    pub fn open(dir: &RunDir, len: u64) -> Result<Self, JournalError> {
        let path = dir.journal();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW).open(&path);
        let failed = |error| JournalError::io(format!("opening `{}`", path.display()), error);
        let mut file = opened.map_err(failed)?;
        file.seek(SeekFrom::Start(len)).map_err(failed)?;
        let ballast = dir.ballast();
        let store = Self { file, path, ballast, len, laid: len, epoch: None, lock: None };
        store.check().map_err(JournalError::Lost)?;
        Ok(store)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Keeps the run's lock for as long as the file is written, by the runner of this number.
    pub fn keep(&mut self, lock: RunLock, epoch: u64) {
        self.lock = Some(lock);
        self.epoch = Some(epoch);
    }

    /// Adds whole lines and makes them durable. After an error the store is of no use any more.
    ///
    /// # Errors
    /// The file is not as it was left, or a write or sync failed.
    pub fn commit(&mut self, lines: &[u8]) -> Result<(), Lost> {
        self.check()?;
        let size = lines.len() as u64;
        let done = self
            .lay(size)
            .and_then(|()| self.file.write_all(lines))
            .and_then(|()| self.file.sync_data());
        match done {
            Ok(()) => {
                self.len += size;
                self.laid = self.laid.max(self.len);
                Ok(())
            }
            Err(error) => {
                let freed = is_full(&error) && free_ballast(&self.ballast);
                let hint = if freed {
                    "; the journal's ballast was freed, so that `hold`, `abort` and `revoke` can be recorded"
                } else {
                    ""
                };
                Err(Lost::new(format!("writing `{}`: {error}{hint}", self.path.display())))
            }
        }
    }

    /// Sees to it that padding lies where the next `size` bytes go. A device that has no room for it
    /// may have room for the records.
    fn lay(&mut self, size: u64) -> io::Result<()> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let end = self.len + size;
        if end <= self.laid || size > LARGE_BATCH {
            return Ok(());
        }
        let piece = self.len.next_power_of_two().clamp(PIECE, LARGEST);
        let laid = end.next_multiple_of(piece) + piece + epoch % EPOCHS;
        let padding = vec![PADDING; usize::try_from(laid - self.laid).unwrap_or(0)];
        match self.file.write_all_at(&padding, self.laid) {
            Ok(()) => {
                // With the length: what is overwritten later is then all there is to sync.
                self.file.sync_all()?;
                self.laid = laid;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                self.epoch = None;
                self.file.set_len(self.laid)
            }
            Err(error) => Err(error),
        }
    }

    /// Cuts off the padding: the file ends where its records end.
    ///
    /// # Errors
    /// The file is not as it was left, or cannot be cut. Nothing that was durable is lost by that.
    pub fn close(mut self) -> Result<(), Lost> {
        self.check()?;
        if self.laid > self.len {
            let cut = self.file.set_len(self.len).and_then(|()| self.file.sync_all());
            let path = self.path.display();
            cut.map_err(|error| Lost::new(format!("cutting the padding of `{path}`: {error}")))?;
            self.laid = self.len;
        }
        Ok(())
    }

    /// A second writer is seen by the length or by what stands where we go on, a removed file by its
    /// links.
    fn check(&self) -> Result<(), Lost> {
        let path = self.path.display();
        let metadata = self
            .file
            .metadata()
            .map_err(|error| Lost::new(format!("asking for the length of `{path}`: {error}")))?;
        if metadata.len() != self.laid {
            return Err(Lost::new(format!(
                "`{path}` is {} bytes long where this runner left {}: someone else writes it",
                metadata.len(),
                self.laid
            )));
        }
        if self.laid > self.len {
            let mut next = [PADDING];
            self.file
                .read_exact_at(&mut next, self.len)
                .map_err(|error| Lost::new(format!("reading `{path}`: {error}")))?;
            if next != [PADDING] {
                return Err(Lost::new(format!(
                    "`{path}` has a record at byte {} where this runner ended: someone else writes it",
                    self.len
                )));
            }
        }
        if metadata.nlink() == 0 {
            return Err(Lost::new(format!("`{path}` was removed")));
        }
        Ok(())
    }
}

/// Cuts off the padding that a killed runner left behind `len` bytes of records and whatever was torn
/// behind them; what remains is durable.
///
/// # Errors
/// When the file cannot be read or cut.
pub(crate) fn cut_padding(file: &File, len: u64) -> io::Result<()> {
    let whole = file.metadata()?.len();
    let mut end = whole;
    let mut block = vec![0; 64 << 10];
    while end > len {
        let from = end.saturating_sub(block.len() as u64).max(len);
        let bytes = &mut block[..usize::try_from(end - from).unwrap_or(0)];
        file.read_exact_at(bytes, from)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != PADDING) {
            // The newline behind it is its own.
            end = (from + last as u64 + 2).min(whole);
            break;
        }
        end = from;
    }
    if end < whole {
        file.set_len(end)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Whether the device, or the quota on it, is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Gives the ballast's room back; says whether there was any. Nothing can be done about a failure.
pub(crate) fn free_ballast(path: &Path) -> bool {
    fs::remove_file(path).is_ok()
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
