//! The socket's side of the runner: peers are known by their credentials, asks become requests, and
//! an answer is given when it is durable.
//!
//! Not known here: what becomes of a request.

use super::protocol::{Ask, JobProgress, LONGEST_LINE, Refused, Reply};
use super::{SocketPath, person};
use crate::event::Person;
use crate::runner::Door;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Terminals at once; more wait in the socket's queue.
const PEERS: usize = 128;

/// How long a peer may take to read an answer before it is hung up on.
const SLOW_READER: Duration = Duration::from_secs(10);

/// Between two looks at the progress for a subscriber.
const SAMPLE: Duration = Duration::from_millis(250);

/// After an accept that failed (no descriptor left, mostly).
const BREATH: Duration = Duration::from_millis(100);

/// The listening socket; gone when dropped.
#[derive(Debug)]
pub struct Server {
    accepting: JoinHandle<()>,
    door: Door,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Err(error) = std::fs::remove_file(self.door.run_dir.socket()) {
            tracing::debug!(%error, "the socket was gone already");
        }
    }
}

/// Listens in the run's directory. To be called by the runner that has the run's lock: a socket that
/// is there already is a dead runner's, and is replaced.
///
/// # Errors
/// When the socket cannot be made.
pub fn open(door: Door) -> io::Result<Server> {
    let path = SocketPath::of(&door.run_dir)?;
    match std::fs::remove_file(&path.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path.path)?;
    // Nobody came in between: the directory is ours alone.
    std::fs::set_permissions(&path.path, std::fs::Permissions::from_mode(0o600))?;
    let accepting = tokio::spawn(accept(listener, door.clone()));
    Ok(Server { accepting, door })
}

async fn accept(listener: UnixListener, door: Door) {
    let seats = Arc::new(Semaphore::new(PEERS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let door = door.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &door).await {
                        tracing::debug!(%error, "a peer of the socket is gone");
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the socket cannot take a peer now");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, door: &Door) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let who = person::of_peer(peer.pid(), peer.uid(), &door.people).await;
    let (read, mut write) = stream.into_split();
    let who = match who {
        Ok(who) => who,
        Err(error) => return say(&mut write, &refused(error.to_string())).await,
    };
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        match next_line(&mut read, &mut line).await? {
            Taken::Line => {}
            Taken::End => return Ok(()),
            Taken::TooLong => {
                let why = format!("a request of more than {LONGEST_LINE} bytes");
                return say(&mut write, &refused(why)).await;
            }
        }
        match serde_json::from_slice::<Ask>(&line) {
            Ok(Ask::Subscribe) => return tell(&mut write, door).await,
            Ok(Ask::Progress) => say(&mut write, &Reply::Progress(progress(door))).await?,
            Ok(ask) => {
                let reply = carry(ask, &who, door).await;
                say(&mut write, &reply).await?;
            }
            Err(error) => {
                say(&mut write, &refused(format!("not understood: {error}"))).await?;
            }
        }
    }
}

enum Taken {
    Line,
    End,
    TooLong,
}

async fn next_line(read: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<Taken> {
    let mut bounded = read.take(LONGEST_LINE as u64);
    let taken = bounded.read_until(b'\n', line).await?;
    match line.last() {
        Some(b'\n') => Ok(Taken::Line),
        _ if taken == LONGEST_LINE => Ok(Taken::TooLong),
        // A request that its sender did not end was perhaps not meant.
        _ => Ok(Taken::End),
    }
}

/// Asks the run, step by step, and gathers the answers.
async fn carry(ask: Ask, who: &Person, door: &Door) -> Reply {
    let requests = match ask.requests(&door.graph) {
        Ok(requests) => requests,
        Err(refusal) => return Reply::Refused(refusal.into()),
    };
    let mut answers = Vec::new();
    for (step, request) in requests {
        answers.push((step, door.ask(who.clone(), request).await));
    }
    Reply::gathered(answers)
}

/// Tells a subscriber until it hangs up or the run has ended.
async fn tell(write: &mut OwnedWriteHalf, door: &Door) -> io::Result<()> {
    let mut durable = door.durable.clone();
    let first = *durable.borrow_and_update();
    say(write, &Reply::Durable(first)).await?;
    let mut told = Vec::new();
    let mut sample = tokio::time::interval(SAMPLE);
    sample.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = durable.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let newest = *durable.borrow_and_update();
                say(write, &Reply::Durable(newest)).await?;
            }
            _ = sample.tick() => {
                let now = progress(door);
                if now != told {
                    say(write, &Reply::Progress(now.clone())).await?;
                    told = now;
                }
            }
        }
    }
}

fn progress(door: &Door) -> Vec<JobProgress> {
    let snapshot = door.progress.snapshot().into_iter();
    snapshot.map(|(job, progress)| JobProgress::of(&door.graph, job, progress)).collect()
}

fn refused(why: String) -> Reply {
    Reply::Refused(Refused { step: None, why, hint: None })
}

async fn say(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    match tokio::time::timeout(SLOW_READER, write.write_all(&line)).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")),
    }
}
