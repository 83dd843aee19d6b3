//! The process of `cutover lab load DIR`: partners who order, check orders and fetch certificates,
//! and relying parties who ask OCSP, CRLs and seals.
//!
//! They know what clients know: the edges' and providers' addresses, where they are sent, the
//! certificates. Each answer is judged at once and written down under `load/`: `answers.jsonl` (one
//! line a question), `api.jsonl` (one a request to an edge), `orders.jsonl` (what was acknowledged),
//! and `tally.json`, rewritten every second. [`super::witness`] sums them up.
//!
//! Not known here: the plan, the run, the guard.

mod partners;
mod record;
mod relying;

pub(super) use record::{Acknowledged, ApiCall, Tally, files};

use super::home::Home;
use super::http::LOAD_HEADER;
use super::{Link, Options, state};
use crate::net::{self, Ask, NetError};
use anyhow::{Context as _, Result, bail};
use record::Recorder;
use rustix::process::{Pid, getppid};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A question that takes longer went unanswered.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long those of the lab before have to leave.
const LEAVE: Duration = Duration::from_secs(15);

/// Where clients are sent, as of a version of the control's map.
#[derive(Clone, Debug, Default, Deserialize)]
struct Serving {
    version: u64,
    serving: BTreeSet<String>,
}

impl Serving {
    /// `SERVICE@SITE/HOST` of each provider of a line's service.
    fn of(&self, service: &str, line: &str) -> Vec<String> {
        let (begin, end) = (format!("{service}@"), format!("/{line}"));
        let providers = self.serving.iter().filter(|key| key.starts_with(&begin));
        providers.filter_map(|key| key.strip_suffix(&end).map(str::to_owned)).collect()
    }
}

/// What all clients share.
struct Clients {
    link: Link,
    options: Options,
    /// `SITE/HOST` to URL.
    addresses: BTreeMap<String, String>,
    serving: watch::Receiver<Serving>,
    record: Mutex<Recorder>,
    home: Home,
    /// The process that started this one: the lab.
    parent: Option<Pid>,
}

impl Clients {
    /// Asks, and says that it is the lab's own load.
    async fn ask(&self, mut ask: Ask) -> Result<net::Reply, NetError> {
        ask.headers.push((LOAD_HEADER.to_owned(), "load".to_owned()));
        net::fetch(&ask.within(TIMEOUT)).await
    }

    /// Keeps what was seen; in no directory but the one that it was begun in.
    fn keep(&self) -> Result<()> {
        self.home.ensure_ours()?;
        state::lock(&self.record).keep()
    }

    /// Where clients are sent at this very moment.
    async fn serving_now(&self) -> Option<Serving> {
        let reply = self.ask(Ask::get(format!("{}/serving", self.link.control))).await.ok()?;
        serde_json::from_slice(&reply.body).ok()
    }
}

/// Asks as clients do until the lab in `directory` ends, in a session of its own.
///
/// # Errors
/// The lab does not get ready, or the record cannot be written.
pub fn main(directory: &Path) -> Result<()> {
    // As in `serve`: it outlives the terminal and the runner.
    let _ = rustix::process::setsid();
    let directory = directory.canonicalize()?;
    // Clients of a lab that died before leave within a moment.
    let home = Home::take_as(&directory, "load.lock", LEAVE)?;
    let options: Options = state::read_json(&directory.join("options.json"))?;
    let link = wait_for_link(&directory)?;
    let record = Recorder::open(&directory)?;
    // One thread: the load is to leave the machine to what is rehearsed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&directory, link, options, record, home))
}

/// The lab starts its load a moment before it calls itself ready.
fn wait_for_link(directory: &Path) -> Result<Link> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match Link::read(directory) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

async fn run(
    directory: &Path,
    link: Link,
    options: Options,
    record: Recorder,
    home: Home,
) -> Result<()> {
    #[derive(Deserialize)]
    struct State {
        addresses: BTreeMap<String, String>,
    }
    let mut ask = Ask::get(format!("{}/state", link.control));
    ask.headers.push((LOAD_HEADER.to_owned(), "load".to_owned()));
    let reply = net::fetch(&ask).await.context("asking the lab for its addresses")?;
    let State { addresses } = serde_json::from_slice(&reply.body)?;
    let (told, serving) = watch::channel(Serving::default());
    let (record, parent) = (Mutex::new(record), getppid());
    let clients = Arc::new(Clients { link, options, addresses, serving, record, home, parent });
    let first = clients.serving_now().await.context("asking where clients are sent")?;
    told.send_replace(first);
    let relying = relying::Parties::new(directory, &clients)?;
    let watching = follow(&clients, told);
    let keeping = keep(&clients);
    let failed = tokio::select! {
        () = watching => Ok(()),
        failed = keeping => failed,
        () = relying::run(relying) => Ok(()),
        () = partners::run(&clients) => Ok(()),
    };
    // Whatever ended it: what was seen is kept.
    clients.keep()?;
    failed
}

/// Follows the serving map; returns when the lab ends, has died, or is gone for 5 s.
async fn follow(clients: &Clients, told: watch::Sender<Serving>) {
    let mut silent_since = None;
    loop {
        let since = told.borrow().version;
        let url = format!("{}/serving?since={since}", clients.link.control);
        match clients.ask(Ask::get(url)).await {
            Ok(reply) if reply.status == 503 => return,
            Ok(reply) => {
                silent_since = None;
                if let Ok(map) = serde_json::from_slice(&reply.body) {
                    told.send_replace(map);
                }
            }
            // It died. One that comes up in its place brings its own clients.
            Err(_) if getppid() != clients.parent => return,
            Err(_) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(5) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Rewrites the tally every second; fails when that cannot be done: a witness that forgets is none.
async fn keep(clients: &Clients) -> Result<()> {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        if let Err(error) = clients.keep() {
            bail!("the witness cannot write down what it saw: {error:#}");
        }
    }
}
