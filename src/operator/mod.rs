//! People: the socket in the run's directory, by which any number of terminals ask a run and hear
//! how far it is.
//!
//! Not known here: the runner's inside, and whether a request is admitted (`run` judges that).

pub mod client;
pub mod person;
pub mod protocol;
pub mod server;

use crate::journal::rundir::RunDir;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// A path to the socket that fits into a socket address (108 bytes) however deep the run lies: the
/// directory is opened, and named by its descriptor. It holds while the descriptor is kept.
struct SocketPath {
    path: PathBuf,
    /// Keeps `path` meaning what it means.
    _directory: OwnedFd,
}

impl SocketPath {
    fn of(dir: &RunDir) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(dir.path(), flags, Mode::empty())?;
        let name = dir.socket();
        let name = name.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: directory })
    }
}
