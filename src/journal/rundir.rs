//! The file names of a run directory; nobody else spells them. How one is made, named and found.

use super::JournalError;
use crate::event::Way;
use jiff::Timestamp;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest name of a step's directory; file systems take 255 bytes.
const LONGEST_NAME: usize = 200;

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
    /// Which channels have which notice.
    pub fn notices(&self) -> PathBuf {
        self.0.join("notices")
    }
    /// Output of attempts.
    pub fn attempts(&self) -> PathBuf {
        self.0.join("attempts")
    }
    /// The directory of an attempt: `attempts/STEP/WAY-N`.
    pub fn attempt(&self, step: &str, way: Way, attempt: u32) -> PathBuf {
        self.attempts().join(Self::file_name_of(step)).join(format!("{}-{attempt}", word(way)))
    }
    /// What a step is called there: nothing that leads elsewhere, and no longer than a file's name may
    /// be. The plan allows names without a `/` only; this does not rely on it.
    pub fn file_name_of(step: &str) -> String {
        let name = step.replace(['/', '\0'], "_");
        if name.len() <= LONGEST_NAME && !name.starts_with('.') {
            return name;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, step.as_bytes());
        let tail: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let start: String = name.chars().filter(char::is_ascii).take(LONGEST_NAME - 17).collect();
        format!("{}~{tail}", start.trim_start_matches('.'))
    }
    /// The attempts that have a directory, by the name that their step has there.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn begun_attempts(&self) -> io::Result<Vec<(String, Way, u32)>> {
        let mut begun = Vec::new();
        for step in list(&self.attempts())? {
            for attempt in list(&self.attempts().join(&step))? {
                let Some((way, number)) = attempt.split_once('-') else { continue };
                let way = [Way::Do, Way::Undo, Way::Check].into_iter().find(|it| word(*it) == way);
                if let (Some(way), Ok(number)) = (way, number.parse()) {
                    begun.push((step.clone(), way, number));
                }
            }
        }
        Ok(begun)
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
    /// What seals the journals of a run that is closed.
    pub fn seal(&self) -> PathBuf {
        self.0.join("seal.json")
    }
    /// Room kept for the day the disk is full.
    pub fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// A directory of its own under `runs`, named by the time: unique, and sorted as they began.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh(runs: &Path, at: Timestamp) -> Result<Self, JournalError> {
        let failed = |path: &Path, error| {
            JournalError::io(format!("making the run directory `{}`", path.display()), error)
        };
        fs::create_dir_all(runs).map_err(|error| failed(runs, error))?;
        loop {
            let path = runs.join(name(at));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }

    /// The run that began last among those under `runs`; none when there is none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn newest(runs: &Path) -> io::Result<Option<Self>> {
        let entries = match fs::read_dir(runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut newest: Option<(Timestamp, PathBuf)> = None;
        for entry in entries {
            let path = entry?.path();
            let Some(begun) = begun(&Self::new(&path)) else { continue };
            if newest.as_ref().is_none_or(|newest| *newest < (begun, path.clone())) {
                newest = Some((begun, path));
            }
        }
        Ok(newest.map(|(_, path)| Self(path)))
    }

    /// Makes the directory, or takes an existing one that is ours alone; no other user may enter.
    ///
    /// # Errors
    /// When it cannot be made, is no directory, or is another user's.
    pub fn make(&self) -> Result<(), JournalError> {
        let doing = || format!("making the run directory `{}`", self.0.display());
        let unfit =
            |why: &str| JournalError::Unfit { directory: self.0.clone(), why: why.to_owned() };
        if let Some(parent) = self.0.parent() {
            fs::create_dir_all(parent).map_err(|error| JournalError::io(doing(), error))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(JournalError::io(doing(), error)),
        }
        let metadata =
            fs::symlink_metadata(&self.0).map_err(|error| JournalError::io(doing(), error))?;
        if !metadata.is_dir() {
            return Err(unfit("it is not a directory"));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(unfit("it belongs to another user"));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
                .map_err(|error| JournalError::io(doing(), error))?;
        }
        Ok(())
    }

    /// The run's name: that of its directory.
    pub fn name(&self) -> String {
        let path = fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone());
        path.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Do => "do",
        Way::Undo => "undo",
        Way::Check => "check",
    }
}

/// The names in a directory; none when there is no such directory.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// `20190406T083000Z-k3qa`
fn name(at: Timestamp) -> String {
    let tail: String = std::iter::repeat_with(fastrand::lowercase).take(4).collect();
    format!("{}-{tail}", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// When the run began, from the first bytes of its journal.
fn begun(dir: &RunDir) -> Option<Timestamp> {
    let mut start = String::new();
    fs::File::open(dir.journal()).ok()?.take(64).read_to_string(&mut start).ok()?;
    let at = start.strip_prefix("{\"seq\":1,\"at\":\"")?;
    at.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_s_directory_is_one_short_name_whatever_the_step_is_called() {
        for plain in ["a", "transfer[geotrust]", "upgrade[geotrust,ocsp-1]"] {
            assert_eq!(RunDir::file_name_of(plain), plain);
        }
        let long = "x".repeat(500);
        for odd in ["..", ".", ".hidden", "../../etc", "a/b", "a\0b", &long, "\u{e4}/../\u{e4}"] {
            let name = RunDir::file_name_of(odd);
            assert!(name.len() <= LONGEST_NAME && !name.starts_with('.'), "{name}");
            assert!(!name.contains(['/', '\0']) && !name.is_empty(), "{name}");
        }
        assert_ne!(RunDir::file_name_of(&long), RunDir::file_name_of(&"x".repeat(501)));
    }
}
