//! SQLite: files on this machine, opened for each piece of work and closed after it.
//!
//! All of it blocks, so it runs on threads that may block; a stop or deadline interrupts the
//! statement that runs and is asked about between chunks. Not known here: the tables' meaning.

mod compare;
mod copy;
pub(crate) mod look;
mod marks;
mod schema;
mod snapshot;
mod value;

use super::super::until::Until;
use super::{Comparison, Engine, Point, Receipt, Work};
use crate::event::Ending;
use crate::executor::Progress;
use crate::failure::{Failure, FailureKind};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a lock of somebody else's is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// Between two interrupts: one that comes between statements is lost.
const INTERRUPT: Duration = Duration::from_millis(20);

/// A database file.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    /// `geotrust@from`, for messages.
    name: String,
}

/// Why a piece of work ended before its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Its statement was interrupted: by us.
    Interrupted,
    /// It failed.
    Failed(Failure),
    /// It ends so.
    Ended(Ending),
}

impl Trouble {
    /// Something that no further attempt would cure.
    pub(crate) fn last(what: impl Into<String>) -> Self {
        Self::Failed(Failure::last(what))
    }

    /// Adds what was being done.
    pub(crate) fn during(self, what: impl Into<String>) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(failure.while_doing(what)),
            other => other,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => return Self::Interrupted,
            // A lock, a full disk, too little memory may pass.
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::SystemIoFailure
                | ErrorCode::SchemaChanged
                | ErrorCode::FileLockingProtocolFailed,
            ) => FailureKind::Transient,
            _ => FailureKind::Final,
        };
        Self::Failed(Failure { kind, chain: vec![error.to_string()] })
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => FailureKind::Final,
            _ => FailureKind::Transient,
        };
        Self::Failed(Failure { kind, chain: vec![error.to_string()] })
    }
}

impl From<Ending> for Trouble {
    fn from(ending: Ending) -> Self {
        Self::Ended(ending)
    }
}

/// What a blocking piece of work asks whether it may go on, and tells how far it is.
pub(crate) struct Brake {
    until: Until,
    progress: Option<watch::Sender<Progress>>,
    abandoned: AtomicBool,
    handles: Mutex<Vec<InterruptHandle>>,
}

impl Brake {
    /// To be asked where stopping leaves a known state.
    pub(crate) fn go_on(&self) -> Result<(), Trouble> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Trouble::Ended(Ending::Stopped));
        }
        self.until.go_on().map_err(Trouble::Ended)
    }

    /// From now on a stop interrupts this connection's statements.
    fn watch(&self, connection: &Connection) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.push(connection.get_interrupt_handle());
    }

    fn interrupt(&self) {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().for_each(InterruptHandle::interrupt);
    }

    /// Says how far it is: rows and bytes, done and in all.
    pub(crate) fn tell(&self, rows: Option<(u64, u64)>, bytes: Option<(u64, u64)>) {
        if let Some(progress) = &self.progress {
            progress.send_modify(|progress| {
                progress.rows = rows;
                progress.bytes = bytes;
            });
        }
    }

    /// Says what it does just now.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        if let Some(progress) = &self.progress {
            let what = what.into();
            progress.send_modify(|progress| progress.doing = what);
        }
    }
}

/// Whoever waits for the work is gone: the work ends at its next chunk.
struct Abandon(Arc<Brake>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        self.0.interrupt();
    }
}

/// Runs a piece of work on a thread that may block; interrupts it when the attempt must end.
pub(crate) async fn blocking<T: Send + 'static>(
    until: &Until,
    progress: Option<watch::Sender<Progress>>,
    work: impl FnOnce(&Brake) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Ending> {
    let brake = Arc::new(Brake {
        until: until.clone(),
        progress,
        abandoned: AtomicBool::new(false),
        handles: Mutex::default(),
    });
    let _abandon = Abandon(Arc::clone(&brake));
    let mut running = tokio::task::spawn_blocking({
        let brake = Arc::clone(&brake);
        move || work(&brake)
    });
    let joined = tokio::select! {
        joined = &mut running => joined,
        _ = until.cut() => loop {
            brake.interrupt();
            if let Ok(joined) = tokio::time::timeout(INTERRUPT, &mut running).await {
                break joined;
            }
        },
    };
    match joined {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Trouble::Failed(failure))) => Err(Ending::Failed(failure)),
        Ok(Err(Trouble::Ended(ending))) => Err(ending),
        Ok(Err(Trouble::Interrupted)) => {
            Err(until.reached().map_or(Ending::Stopped, |cut| until.ending(cut)))
        }
        Err(panicked) => {
            Err(Ending::Unknown(Failure::in_doubt(format!("BUG: the work broke off: {panicked}"))))
        }
    }
}

impl Sqlite {
    pub(crate) fn new(path: &Path, name: String) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, name }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are one file.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real(&self.path) == real(&other.path)
    }

    /// Opens an existing file, to change it.
    pub(crate) fn open(&self, brake: &Brake) -> Result<Connection, Trouble> {
        self.open_with(OpenFlags::empty(), brake)
    }

    /// Opens a file, made when there is none.
    fn open_or_make(&self, brake: &Brake) -> Result<Connection, Trouble> {
        self.open_with(OpenFlags::SQLITE_OPEN_CREATE, brake)
    }

    /// Opens an existing file in one consistent view, and changes nothing. (Not with SQLite's
    /// read-only flag: the first reader after a crash has to finish what the crash left.)
    fn view(&self, brake: &Brake) -> Result<Connection, Trouble> {
        let connection = self.open(brake)?;
        let begin = || {
            connection.pragma_update(None, "query_only", true)?;
            connection.execute_batch("BEGIN")?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        };
        begin().map_err(|error| self.trouble(error))?;
        Ok(connection)
    }

    fn open_with(&self, more: OpenFlags, brake: &Brake) -> Result<Connection, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            // Rows come in the order of their keys, not of what they refer to.
            connection.pragma_update(None, "foreign_keys", false)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        let connection = open().map_err(|error| self.trouble(error))?;
        brake.watch(&connection);
        Ok(connection)
    }

    fn trouble(&self, error: impl Into<Trouble>) -> Trouble {
        error.into().during(format!("database `{}` (`{}`)", self.name, self.path.display()))
    }

    async fn work<T: Send + 'static>(
        &self,
        work: &Work,
        does: impl FnOnce(&Self, &Work, &Brake) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Ending> {
        let (here, given) = (self.clone(), work.clone());
        let progress = Some(work.context.progress.clone());
        blocking(&work.until, progress, move |brake| does(&here, &given, brake)).await
    }
}

impl Engine for Sqlite {
    async fn snapshot(&self, work: &Work) -> Result<Point, Ending> {
        self.work(work, snapshot::take).await
    }

    async fn point(&self, work: &Work) -> Result<Option<Point>, Ending> {
        self.work(work, snapshot::find).await
    }

    async fn drop_snapshot(&self, work: &Work) -> Result<(), Ending> {
        self.work(work, |here, work, _| snapshot::remove(here, work)).await
    }

    async fn without_snapshot(&self, work: &Work) -> Result<bool, Ending> {
        self.work(work, |here, work, _| snapshot::none(here, work)).await
    }

    async fn copy_to(&self, target: &Self, work: &Work) -> Result<Receipt, Ending> {
        let target = target.clone();
        self.work(work, move |here, work, brake| copy::copy(here, &target, work, brake)).await
    }

    async fn receipt(&self, work: &Work) -> Result<Option<Receipt>, Ending> {
        self.work(work, marks::receipt).await
    }

    async fn discard(&self, work: &Work) -> Result<(), Ending> {
        self.work(work, marks::discard).await
    }

    async fn is_empty(&self, work: &Work) -> Result<bool, Ending> {
        self.work(work, marks::is_empty).await
    }

    async fn compare(&self, target: &Self, work: &Work) -> Result<Comparison, Ending> {
        let target = target.clone();
        self.work(work, move |here, _, brake| compare::compare(here, &target, brake)).await
    }
}
