//! Databases, looked at: readable, writable, empty or not, and the room they will take.
//!
//! Not known here: what is in them.

use super::super::Context;
use super::super::database::sqlite::look::{Content, File, file};
use super::{Room, Seen, existing};
use crate::estate::Database;
use crate::event::Ending;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A copy is written anew, with indexes and a log beside it: so much more than the source.
const SLACK: u64 = 5;

fn path(site: &str, name: &str, context: &Context) -> Result<PathBuf, Seen> {
    let site_found = context.site(site)?;
    let known = site_found.databases.get(name);
    let known = known.ok_or_else(|| Seen::fault(format!("site `{site}` has no such database`")))?;
    match &known.value {
        Database::Sqlite(path) => Ok(path.clone()),
        Database::Postgres { .. } => {
            Err(Seen::fault("PostgreSQL is not carried out by this version"))
        }
    }
}

async fn read(path: &Path) -> Result<File, Seen> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || file(&path)).await;
    let read = read.map_err(|error| Seen::fault(format!("BUG: the look broke off: {error}")))?;
    read.map_err(|failure| Seen::from(Ending::Failed(failure)))
}

/// A database that will be read.
pub(super) async fn source(site: &str, name: &str, context: &Context) -> Result<Seen, Seen> {
    let path = path(site, name, context)?;
    if !path.exists() {
        return Err(Seen::fault(format!("`{}` does not exist", path.display())));
    }
    let file = read(&path).await?;
    let (tables, version) = match file.content {
        Content::Objects(0) => {
            return Err(Seen::fault("it holds no table: there is nothing to copy"));
        }
        Content::Objects(tables) => (tables, &file.version),
        Content::Half(whose) => {
            return Err(Seen::fault(format!("it holds {whose}: it is no source")));
        }
    };
    Ok(Seen::ok(format!("{tables} tables and views, {}, {version}", size(file.bytes))))
}

/// The room for a restore point beside a database.
pub(super) async fn beside(site: &str, name: &str, context: &Context) -> Result<Seen, Seen> {
    let path = path(site, name, context)?;
    let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
    super::writable(&directory)?;
    // What is wrong with the database itself is said where it is read.
    let takes = read(&path).await.map_or(0, |file| file.bytes);
    let room = room(&directory, takes)?;
    Ok(Seen { room: Some(room), ..Seen::ok(format!("{} beside it", size(takes))) })
}

/// A database that will be written.
pub(super) async fn target(
    site: &str,
    name: &str,
    from: &str,
    context: &Context,
) -> Result<Seen, Seen> {
    let path = path(site, name, context)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    super::writable(directory)?;
    let source = self::path(from, name, context)?;
    let takes = read(&source).await.map_or(0, |file| file.bytes.saturating_add(file.bytes / SLACK));
    let room = Some(room(existing(directory), takes)?);
    if !path.exists() {
        return Ok(Seen { room, ..Seen::ok("not there yet: it will be made") });
    }
    rustix::fs::access(&path, rustix::fs::Access::WRITE_OK)
        .map_err(|error| Seen::fault(format!("cannot write `{}`: {error}", path.display())))?;
    let file = read(&path).await?;
    let hint = format!("empty it, or name another file in the estate (`{}`)", path.display());
    match file.content {
        Content::Objects(0) => Ok(Seen { room, ..Seen::ok(format!("empty, {}", file.version)) }),
        Content::Objects(tables) => {
            Err(Seen::fault(format!("it is not empty: {tables} tables and views")).hint(hint))
        }
        Content::Half(whose) => {
            Err(Seen::fault(format!("it holds {whose}"))
                .hint(format!("roll that run back, or {hint}")))
        }
    }
}

fn room(directory: &Path, takes: u64) -> Result<Room, Seen> {
    let cannot = |error: &dyn std::fmt::Display| {
        Seen::fault(format!("asking for the room in `{}`: {error}", directory.display()))
    };
    let device = std::fs::metadata(directory).map_err(|error| cannot(&error))?.dev();
    let about = rustix::fs::statvfs(directory).map_err(|error| cannot(&error))?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    Ok(Room { device, directory: directory.to_owned(), free, takes })
}

/// Bytes as people say them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Whether all that is wanted of one file system is there.
pub fn fits(rooms: &[Room]) -> Option<Seen> {
    let first = rooms.first()?;
    let takes = rooms.iter().fold(0_u64, |sum, room| sum.saturating_add(room.takes));
    let free = rooms.iter().map(|room| room.free).min().unwrap_or(0);
    let text = format!("{} wanted, {} free", size(takes), size(free));
    Some(if takes <= free {
        Seen::ok(text)
    } else {
        Seen::fault(text)
            .hint(format!("make room on the file system of `{}`", first.directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::preflight::Level;

    #[test]
    fn room_is_wanted_for_all_at_once() {
        let room = |takes| Room { device: 1, directory: "/d".into(), free: 100, takes };
        assert_eq!(fits(&[]), None);
        assert_eq!(fits(&[room(60)]).map(|seen| seen.level), Some(Level::Ok));
        let both = fits(&[room(60), room(41)]).expect("rooms");
        assert_eq!((both.level, both.found.as_str()), (Level::Fault, "101 B wanted, 100 B free"));
        assert!(fits(&[room(u64::MAX), room(2)]).is_some_and(|seen| seen.level == Level::Fault));
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(20 << 20), "20 MiB");
    }
}
