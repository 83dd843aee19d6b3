//! A lab's life, from outside: brought up, brought up again after its process died, ended.
//!
//! Not known here: what is in a lab.

use super::home::{self, Tenant};
use super::{Link, Options, ask, remove, state, write_whole};
use crate::net::{Ask, NetError};
use anyhow::{Context as _, Result, bail, ensure};
use hyper::Method;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a lab may take to get ready: large databases are made first.
const READY: Duration = Duration::from_secs(120);
/// How long a lab may take to end.
const GONE: Duration = Duration::from_secs(15);

/// Starts a lab in `directory` and waits until it is ready. A lab that was here before is brought up
/// again with its databases, keys and state, at the addresses that it had.
///
/// Blocks; seconds, for large databases.
///
/// # Errors
/// One lives there already; an address that it had is taken; or it did not get ready: with the end of
/// its log.
pub fn up(directory: &Path, options: &Options) -> Result<Link> {
    fs::create_dir_all(directory)
        .with_context(|| format!("making the lab's directory `{}`", directory.display()))?;
    let directory = directory.canonicalize()?;
    let _starting = starting(&directory)?;
    refuse_living(&directory)?;
    // What a lab left that was killed.
    remove(&directory.join("lab.json"))?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("finding this program's file")?,
    };
    let options = Options { program: Some(program.clone()), ..options.clone() };
    write_whole(&directory.join("options.json"), &serde_json::to_vec_pretty(&options)?)?;
    let log = File::create(directory.join("serve.log"))?;
    let child = Command::new(&program)
        .args(["lab", "serve"])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting `{} lab serve`", program.display()))?;
    until_ready(&directory, child)
}

/// One process at a time starts a lab: what it prepares is not another's to change.
fn starting(directory: &Path) -> Result<File> {
    let path = directory.join("up.lock");
    let file = File::create(&path).with_context(|| format!("opening `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process is just bringing a lab up in `{}`", directory.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking `{}`", path.display()))
        }
    }
}

/// Who lives in a lab's directory; none when there is no lab, or its process is gone.
///
/// # Errors
/// Its lock cannot be asked.
pub fn tenant(directory: &Path) -> Result<Option<Tenant>> {
    home::tenant(directory)
}

/// Refuses a directory in which a lab lives, with who it is and what to do.
///
/// # Errors
/// One lives there.
pub fn refuse_living(directory: &Path) -> Result<()> {
    let Some(who) = home::tenant(directory)? else { return Ok(()) };
    let at = Link::read(directory).map(|link| format!(", at {}", link.control));
    bail!(
        "a lab lives in `{dir}` already: {who}{at}\n\nhint: end it with `cutover lab down {dir}` \
         (`kill {pid}` if it does not answer), or choose another directory",
        dir = directory.display(),
        at = at.unwrap_or_default(),
        pid = who.pid
    )
}

fn until_ready(directory: &Path, mut child: Child) -> Result<Link> {
    let until = Instant::now() + READY;
    loop {
        if let Ok(link) = Link::read(directory)
            && link.pid == child.id()
        {
            return Ok(link);
        }
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() > until {
            if ended.is_none() {
                // Half a lab is of no use; it may have ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
            }
            // What it said is the best that can be told; it may be nothing.
            let said = fs::read_to_string(directory.join("serve.log")).unwrap_or_default();
            let tail = said.lines().filter(|line| !line.is_empty()).rev().take(5);
            let tail = tail.collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("; ");
            let how = ended.map_or("is not ready after 2 minutes".to_owned(), |status| {
                format!("ended with {status}")
            });
            bail!("the lab in `{}` {how}: {tail}", directory.display());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Brings a lab up again whose process is gone (killed, or ended because nobody asked anything), with
/// the options, data and addresses that it had. None: it lives, and nothing is done.
///
/// # Errors
/// There was none; or as [`up`].
pub fn again(directory: &Path) -> Result<Option<Link>> {
    let path = directory.join("options.json");
    ensure!(path.exists(), "no lab was ever up in `{}`", directory.display());
    if home::tenant(directory)?.is_some() {
        return Ok(None);
    }
    let options: Options = state::read_json(&path)?;
    up(directory, &Options { program: None, ..options }).map(Some)
}

/// Whether somebody's plan was carried out on the lab of a directory, be it up or not: it is no new
/// lab any more.
///
/// # Errors
/// Its log of deeds cannot be read.
pub fn is_used(directory: &Path) -> Result<bool> {
    // Lists are signed by themselves.
    Ok(state::read_deeds(directory)?.iter().any(|deed| deed.deed != "crl.sign"))
}

/// Ends a lab; its files stay. Blocks until its process is gone.
///
/// # Errors
/// No lab is up there, it does not answer, or it does not end within 15 s.
pub fn down(directory: &Path) -> Result<()> {
    let link = Link::read(directory)?;
    let file: PathBuf = directory.join("lab.json");
    let request =
        Ask::with_body(Method::POST, format!("{}/shutdown", link.control), "text/plain", "");
    match ask(request) {
        Ok(_) | Err(NetError::Lost(_)) => {}
        Err(NetError::Connect(error)) => match home::tenant(directory)? {
            // Nobody is there: a lab that was killed leaves its link.
            None => return remove(&file),
            Some(who) => bail!(
                "the lab at {} does not answer ({error}), and {who}, lives\n\nhint: `kill {}` ends it",
                link.control,
                who.pid
            ),
        },
        Err(error) => bail!(
            "the lab at {} does not answer: {error}\n\nhint: `kill {}` ends it",
            link.control,
            link.pid
        ),
    }
    let until = Instant::now() + GONE;
    // The lock goes with the process, after everything else.
    while file.exists() || home::tenant(directory)?.is_some() {
        ensure!(
            Instant::now() < until,
            "the lab in `{}` (process {}) does not end",
            directory.display(),
            link.pid
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
