//! One runner per run: a lock that dies with its holder and says who it was.
//!
//! The lock is the kernel's (`flock` by `File::try_lock`), so a dead holder needs no human. What the
//! file says is for people, and for finding out that a run directory was copied. Not known here:
//! what the lock is held for. A lock is a courtesy: on some file systems it is lost without a word,
//! so the store checks the journal's length as well.

use super::{JournalError, rundir::RunDir};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a lock is waited for that somebody may hold for a moment only: to look who runs the run,
/// or to record a request while nobody does.
const PATIENCE: Duration = Duration::from_millis(500);

/// The file is not read further.
const LONGEST: usize = 1 << 16;

/// Who holds a run, or held it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Kernel boot id.
    pub boot: String,
    /// Epoch of the runner; 0 while it is still reading the journal.
    pub epoch: u64,
    /// Login of the person who started it.
    pub person: String,
    /// The run directory as the holder saw it (absolute).
    pub directory: PathBuf,
    /// Device and inode of the journal that it wrote.
    #[serde(default)]
    pub journal: Option<(u64, u64)>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "process {} of {} (epoch {})", self.pid, self.person, self.epoch)
    }
}

/// The lock of a run, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    holder: Holder,
}

impl RunLock {
    /// Takes the lock; also answers who held it before, if that can be read.
    ///
    /// # Errors
    /// [`JournalError::Held`] when another runner lives; or the directory cannot be written.
    pub fn take(dir: &RunDir, person: &str) -> Result<(Self, Option<Holder>), JournalError> {
        let path = dir.lock();
        let doing = || format!("opening `{}`", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_FOLLOW)
            .open(&path)
            .map_err(|error| JournalError::io(doing(), error))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    thread::sleep(PATIENCE / 25);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(JournalError::Held {
                        directory: dir.path().into(),
                        holder: read(&mut file).map(Box::new),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(JournalError::io(format!("locking `{}`", path.display()), error));
                }
            }
        }
        let before = read(&mut file);
        let directory =
            fs::canonicalize(dir.path()).map_err(|error| JournalError::io(doing(), error))?;
        let holder = Holder {
            pid: std::process::id(),
            boot: boot_id(),
            epoch: 0,
            person: person.to_owned(),
            directory,
            journal: before.as_ref().and_then(|before| before.journal),
        };
        Ok((Self { file, holder }, before))
    }

    /// Writes down who holds it now, of which epoch, and which journal it is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sign(&mut self, epoch: u64, journal: &File) -> io::Result<()> {
        let metadata = journal.metadata()?;
        self.holder.epoch = epoch;
        self.holder.journal = Some((metadata.dev(), metadata.ino()));
        let mut text = serde_json::to_vec(&self.holder).map_err(io::Error::other)?;
        // Over what stands there, in one piece and never emptied before: neither a full disk nor a
        // crash makes the file forget which journal it belongs to. JSON allows blanks behind it.
        let before = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
        text.resize(text.len().max(before.min(LONGEST) - usize::from(before > 0)), b' ');
        text.push(b'\n');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data()
    }

    /// Who holds it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

/// Refuses a run directory that is a copy: another journal file at another place. Whether the
/// original can still be run, here or on another machine, only a person knows. A directory that was
/// moved holds the same file; one that was written anew in its place is the only one.
///
/// # Errors
/// [`JournalError::Copied`].
pub fn refuse_copy(
    before: Option<&Holder>,
    here: &Holder,
    dir: &RunDir,
) -> Result<(), JournalError> {
    let Some(before) = before else { return Ok(()) };
    let Some(known) = before.journal else { return Ok(()) };
    let metadata = fs::symlink_metadata(dir.journal())
        .map_err(|error| JournalError::io("asking for the journal's inode".into(), error))?;
    if known == (metadata.dev(), metadata.ino()) || before.directory == here.directory {
        return Ok(());
    }
    let original = fs::metadata(RunDir::new(&before.directory).journal());
    let is_there = original.is_ok_and(|metadata| known == (metadata.dev(), metadata.ino()));
    Err(JournalError::Copied {
        directory: here.directory.clone(),
        original: before.directory.clone(),
        is_there,
    })
}

/// Who holds the run in `directory` now: none when nobody does.
///
/// # Errors
/// When the lock cannot be asked.
pub fn holder(dir: &RunDir) -> io::Result<Option<Holder>> {
    let mut file = match File::open(dir.lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(read(&mut file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(LONGEST as u64).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The kernel's id of this boot; `unknown` where there is none.
pub fn boot_id() -> String {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"));
    text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// `O_NOFOLLOW`: a link put in the place of one of our files is refused.
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
