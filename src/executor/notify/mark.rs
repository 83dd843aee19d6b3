//! Which channels have a notice, on disk: what makes "once" hold across a crash.
//!
//! A deed that cannot be asked about afterwards (a relay keeps no list for us) is marked before it is
//! begun and after it ended, each durably. A mark of the beginning alone is a doubt. Not known here:
//! how anything is sent.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What the marks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing of it left this machine.
    Never,
    /// Its sending began; nobody wrote down how it ended.
    Maybe,
    /// It was taken.
    Yes,
}

/// The marks of one notice on its way to one channel.
pub(super) struct Mark {
    begun: PathBuf,
    taken: PathBuf,
}

impl Mark {
    /// Names them; nothing is touched.
    pub(super) fn new(directory: &Path, stem: &str) -> Self {
        let file = |ending: &str| directory.join(format!("{stem}.{ending}"));
        Self { begun: file("begun"), taken: file("taken") }
    }

    /// What they say.
    ///
    /// # Errors
    /// When the directory cannot be read: then nobody knows.
    pub(super) fn read(&self) -> io::Result<Sent> {
        if self.taken.try_exists()? {
            return Ok(Sent::Yes);
        }
        Ok(if self.begun.try_exists()? { Sent::Maybe } else { Sent::Never })
    }

    /// Durable before the first byte that could count.
    ///
    /// # Errors
    /// It could not be made durable: nothing may be sent.
    pub(super) fn begin(&self) -> io::Result<()> {
        write_once(&self.begun, b"", 0o600)
    }

    /// The receiver has it, and said so in these words.
    ///
    /// # Errors
    /// It could not be made durable: the doubt stays.
    pub(super) fn take(&self, said: &str) -> io::Result<()> {
        write_once(&self.taken, said.as_bytes(), 0o600)
    }

    /// The receiver refused it: there is no doubt.
    ///
    /// # Errors
    /// It could not be made durable: the doubt stays.
    pub(super) fn withdraw(&self) -> io::Result<()> {
        fs::remove_file(&self.begun)?;
        sync_directory_of(&self.begun)
    }
}

/// Whole or not at all, and never over what is there: that one may have been sent already.
pub(super) fn write_once(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".notice-").permissions(fs::Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    sync_directory_of(path)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_without_an_end_is_a_doubt_until_it_is_withdrawn_or_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let mark = Mark::new(&dir.path().join("notices"), "a");
        assert_eq!(mark.read().expect("read"), Sent::Never);
        mark.begin().expect("written");
        mark.begin().expect("again");
        assert_eq!(mark.read().expect("read"), Sent::Maybe);
        mark.withdraw().expect("removed");
        assert_eq!(mark.read().expect("read"), Sent::Never);
        mark.begin().expect("written");
        mark.take("250 OK").expect("written");
        assert_eq!(mark.read().expect("read"), Sent::Yes);
    }
}
