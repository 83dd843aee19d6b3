//! The other side of the socket: commands and watchers.
//!
//! Not known here: what becomes of a request, and how an answer is shown.

use super::SocketPath;
use super::protocol::{Ask, LONGEST_LINE, Reply};
use crate::journal::rundir::RunDir;
use std::fmt;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A connection to a run's runner.
#[derive(Debug)]
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// Why a runner could not be asked.
#[derive(Debug)]
pub enum ClientError {
    /// No runner has this run now.
    NoRunner {
        /// The run's directory.
        directory: PathBuf,
    },
    /// The socket belongs to somebody else.
    NotYours {
        /// The run's directory.
        directory: PathBuf,
    },
    /// The request is too long for a line.
    TooLong,
    /// The runner went away before it answered: see the journal for what it took.
    Gone,
    /// Anything else of the system.
    Io(io::Error),
    /// The answer is not one: another version, perhaps.
    Strange(String),
}

impl ClientError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRunner { directory } => Some(format!(
                "`cutover resume {0}` takes the run up; `cutover status {0}` shows it",
                directory.display()
            )),
            Self::NotYours { .. } => Some("ask as the user who runs it".to_owned()),
            Self::Gone => Some("see `cutover status` for whether it was recorded".to_owned()),
            Self::TooLong | Self::Io(_) | Self::Strange(_) => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRunner { directory } => {
                write!(out, "no runner has the run `{}` now", directory.display())
            }
            Self::NotYours { directory } => {
                write!(out, "the run `{}` belongs to another user", directory.display())
            }
            Self::TooLong => write!(out, "the request is longer than {LONGEST_LINE} bytes"),
            Self::Gone => out.write_str("the runner ended before it answered"),
            Self::Io(error) => write!(out, "asking the runner: {error}"),
            Self::Strange(line) => write!(out, "the runner's answer is not understood: {line}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

impl Client {
    /// Connects to the runner of a run.
    ///
    /// # Errors
    /// No runner has it, or the socket is another user's.
    pub async fn connect(dir: &RunDir) -> Result<Self, ClientError> {
        let directory = || dir.path().to_owned();
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoRunner { directory: directory() }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotYours { directory: directory() },
            _ => ClientError::Io(error),
        };
        let path = SocketPath::of(dir).map_err(refused)?;
        let stream = UnixStream::connect(&path.path).await.map_err(refused)?;
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The runner went away; a refusal is an answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Reply, ClientError> {
        let mut line = serde_json::to_vec(ask).map_err(|error| ClientError::Io(error.into()))?;
        line.push(b'\n');
        if line.len() > LONGEST_LINE {
            return Err(ClientError::TooLong);
        }
        self.write.write_all(&line).await?;
        self.next().await
    }

    /// The next line of a subscription (after [`Ask::Subscribe`]).
    ///
    /// # Errors
    /// The runner went away, or has ended.
    pub async fn next(&mut self) -> Result<Reply, ClientError> {
        let mut line = String::new();
        if self.read.read_line(&mut line).await? == 0 {
            return Err(ClientError::Gone);
        }
        serde_json::from_str(&line).map_err(|_| ClientError::Strange(line))
    }
}
