//! Restore points: a consistent copy of the file beside it, named after the run, with its digest.
//!
//! It counts only with its digest beside it: the digest is written last. Restoring is never
//! automatic, and not known here.

use super::super::{Point, Work};
use super::{Brake, Sqlite, Trouble};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages copied at once: a stop is asked about between.
const PAGES: i32 = 1000;

/// The files of a run's restore point.
struct Files {
    /// The copy.
    copy: PathBuf,
    /// Its digest and size, in one line.
    digest: PathBuf,
    /// The copy while it is made.
    half: PathBuf,
}

impl Files {
    fn of(here: &Sqlite, work: &Work) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let run: String = work.context.run.chars().map(plain).collect();
        let beside = |ending: &str| {
            let mut name = here.path.clone().into_os_string();
            name.push(format!(".snapshot-{run}{ending}"));
            PathBuf::from(name)
        };
        Self { copy: beside(""), digest: beside(".blake3"), half: beside(".half") }
    }

    /// Everything that may be there, what SQLite leaves beside a copy that somebody opened too. The
    /// digest goes first: without it nothing counts.
    fn all(&self) -> impl Iterator<Item = PathBuf> {
        let with = |path: &Path, ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let mut all = vec![self.digest.clone(), with(&self.digest, ".new")];
        for path in [&self.copy, &self.half] {
            all.extend(["", "-journal", "-wal", "-shm"].map(|ending| with(path, ending)));
        }
        all.into_iter()
    }
}

/// Makes the restore point, or finds it made and whole.
pub(super) fn take(here: &Sqlite, work: &Work, brake: &Brake) -> Result<Point, Trouble> {
    if let Some(point) = find(here, work, brake)? {
        return Ok(point);
    }
    remove(here, work)?;
    let files = Files::of(here, work);
    copy(here, &files.half, brake)?;
    let named = |error: Trouble| error.during(format!("restore point `{}`", files.copy.display()));
    let finish = || {
        File::open(&files.half)?.sync_all()?;
        let (digest, bytes) = digest(&files.half, brake)?;
        fs::rename(&files.half, &files.copy)?;
        sync_directory(&files.copy)?;
        note(&files.digest, &format!("{digest} {bytes}\n"))?;
        Ok(Point { place: files.copy.display().to_string(), bytes, digest })
    };
    finish().map_err(named)
}

fn copy(here: &Sqlite, half: &Path, brake: &Brake) -> Result<(), Trouble> {
    let source = here.view(brake)?;
    let run = || {
        let mut target = Connection::open(half)?;
        brake.watch(&target);
        {
            let backup = Backup::new(&source, &mut target)?;
            loop {
                brake.go_on()?;
                match backup.step(PAGES)? {
                    StepResult::Done => break,
                    StepResult::More => {}
                    // Somebody is writing at this moment.
                    _ => std::thread::sleep(Duration::from_millis(10)),
                }
                let at = backup.progress();
                let pages = |count: i32| u64::try_from(count).unwrap_or(0);
                let total = pages(at.pagecount);
                brake.tell(
                    None,
                    Some(((total - pages(at.remaining).min(total)) * 4096, total * 4096)),
                );
            }
        }
        target.close().map_err(|(_, error)| Trouble::from(error))
    };
    run().map_err(|error: Trouble| {
        error.during(format!("restore point `{}` of `{}`", half.display(), here.name))
    })
}

/// The restore point, if it is there and its content is what its digest says.
pub(super) fn find(here: &Sqlite, work: &Work, brake: &Brake) -> Result<Option<Point>, Trouble> {
    let files = Files::of(here, work);
    let Ok(said) = fs::read_to_string(&files.digest) else { return Ok(None) };
    let mut words = said.split_whitespace();
    let (Some(want), Some(size)) = (words.next(), words.next()) else { return Ok(None) };
    let (digest, bytes) = match digest(&files.copy, brake) {
        Ok(found) => found,
        // Unreadable is not there; a stop is a stop.
        Err(Trouble::Failed(_)) => return Ok(None),
        Err(other) => return Err(other),
    };
    let whole = digest == want && bytes.to_string() == size;
    Ok(whole.then(|| Point { place: files.copy.display().to_string(), bytes, digest }))
}

/// Drops it, and whatever is half made of it.
pub(super) fn remove(here: &Sqlite, work: &Work) -> Result<(), Trouble> {
    let mut gone = false;
    for path in Files::of(here, work).all() {
        match fs::remove_file(&path) {
            Ok(()) => gone = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::from(error).during(format!("`{}`", path.display()))),
        }
    }
    if gone {
        sync_directory(&here.path)?;
    }
    Ok(())
}

/// Whether nothing of it is there.
pub(super) fn none(here: &Sqlite, work: &Work) -> Result<bool, Trouble> {
    Ok(!Files::of(here, work).all().any(|path| path.exists()))
}

/// blake3 and length of a file.
fn digest(path: &Path, brake: &Brake) -> Result<(String, u64), Trouble> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        brake.go_on()?;
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finalize().to_hex().to_string(), bytes));
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
}

fn note(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let half = PathBuf::from(name);
    let mut file = File::create(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
