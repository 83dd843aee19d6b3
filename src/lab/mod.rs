//! The lab: the embedded two-site estate that a rehearsal runs on, in processes of its own.
//!
//! `lab serve DIR` is the estate: two sites on loopback, each with an edge, an order service with a
//! worker for each line, two OCSP hosts, a CRL host, a seal host and one database a line. `lab load
//! DIR` is its clients, who keep their own record of every answer: the [`witness`]. Both are started
//! by [`up`], in sessions of their own, and outlive whoever called it.
//!
//! Not known here: guard, runner, run. A build without the feature `lab` can make no key and forge
//! no answer.
//!
//! Files of a lab's directory:
//!
//! | file | what |
//! |---|---|
//! | `lab.json` | the [`Link`]; renamed into place when all is ready, removed at the end |
//! | `lab.lock` | who lives here: one lab at a time; `load.lock`: its clients |
//! | `ports.json` | the addresses, so that a lab comes up again at the same ones |
//! | `estate.yaml`, `*.pem` | what a plan is bound to; [`place_estate`] copies them |
//! | `db/SITE/LINE.db` | the databases |
//! | `hosts/SITE/HOST/` | the hosts' own commands |
//! | `state.json`, `deeds.jsonl` | what is switched how, and every deed |
//! | `load/` | what clients saw |
//! | `ca/`, `crl/` | keys and lists, so that a lab can be brought up again |

mod ca;
mod control;
mod crl;
mod der;
mod edge;
mod estate;
mod fault;
mod home;
mod hosts;
mod http;
mod judge;
mod life;
pub mod load;
mod ocsp;
mod orders;
pub mod serve;
mod state;
mod store;
pub mod tool;
pub mod witness;
mod world;

pub use fault::faults;
pub use home::Tenant;
pub use life::{again, down, is_used, refuse_living, tenant, up};
pub use state::{Deed, read_deeds};

use crate::net::{self, Ask, NetError, Reply};
use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const SITES: [&str; 2] = ["from", "to"];
const ROLES: [&str; 2] = ["writer", "crl-signer"];
const ROUTES: [&str; 3] = ["order", "order-status", "fulfilment"];
/// Service and host of each provider of a site.
const PROVIDERS: [(&str, &str); 4] =
    [("ocsp", "ocsp-1"), ("ocsp", "ocsp-2"), ("crl", "crl-1"), ("seal", "seal-1")];
/// Host, first version of its software, and the software's name in commands.
const HOSTS: [(&str, &str, &str); 7] = [
    ("ocsp-1", "4.1", "ocsp"),
    ("ocsp-2", "4.1", "ocsp"),
    ("edge-1", "1.24", "edge"),
    ("orders-1", "7.2", "orders"),
    ("crl-1", "2.8", "crl"),
    ("seal-1", "1.5", "seal"),
    ("db-1", "3.42", "db"),
];

/// The six product lines.
pub const LINES: [&str; 6] =
    ["geotrust", "rapidssl", "symantec", "thawte", "managed-pki", "encryption-everywhere"];

/// What a lab is to be like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Product lines.
    pub lines: Vec<String>,
    /// Certificates a line.
    pub certificates: u64,
    /// Orders a line, a fifth of them queued at the start.
    pub orders: u64,
    /// Orders that a worker issues in a second of routine processing.
    pub issue_per_second: f64,
    /// How much clients ask, 1 is the usual; 0: no clients.
    pub load: f64,
    /// Without a request of anybody but its own clients for so long, the lab ends.
    pub idle_seconds: u64,
    /// How long a host's service is gone in an upgrade, beside what draining takes.
    pub restart_ms: u64,
    /// The program that has `lab serve`, `lab load` and `lab tool`; none: this one.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lines: LINES.map(str::to_owned).to_vec(),
            certificates: 20_000,
            orders: 2_000,
            issue_per_second: 10.0,
            load: 1.0,
            idle_seconds: 15 * 60,
            restart_ms: 300,
            program: None,
        }
    }
}

/// How a lab is reached: `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Base URL of the control API.
    pub control: String,
    /// The lab's directory, absolute.
    pub directory: PathBuf,
    /// Its estate file.
    pub estate: PathBuf,
    /// Process of `lab serve`.
    pub pid: u32,
}

impl Link {
    /// The link of a lab that is up (or was not ended properly).
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("lab.json");
        ensure!(
            path.exists(),
            "no lab is up in `{}`: it has no `lab.json`\n\nhint: start one with `cutover lab up`",
            directory.display()
        );
        state::read_json(&path)
    }
}

/// What a lab that is up says of itself: addresses, what is switched how, versions, faults.
///
/// # Errors
/// No lab is up there.
pub fn status(directory: &Path) -> Result<serde_json::Value> {
    let link = Link::read(directory)?;
    let reply = ask(Ask::get(format!("{}/state", link.control)))
        .with_context(|| format!("asking the lab in `{}`", directory.display()))?;
    ensure!(reply.status == 200, "the lab at {} answered {}", link.control, reply.status);
    serde_json::from_slice(&reply.body).context("reading the lab's answer")
}

/// Puts a fault in place (`on`), or takes it away: `ocsp@to/ocsp-1=wrong-key`; [`faults`] lists all.
///
/// # Errors
/// The lab is not up, or knows no such fault.
pub fn set_fault(directory: &Path, fault: &str, on: bool) -> Result<()> {
    let link = Link::read(directory)?;
    let method = if on { Method::PUT } else { Method::DELETE };
    let body = serde_json::json!({ "spec": fault }).to_string();
    let url = format!("{}/faults", link.control);
    let reply = ask(Ask::with_body(method, url, "application/json", body))?;
    ensure!(reply.status == 200, "{}", String::from_utf8_lossy(&reply.body).trim_end());
    Ok(())
}

/// Whether a fault is one of the lab's, before there is a lab.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn check_fault(fault: &str) -> Result<(), String> {
    fault::parse(fault).map(drop)
}

/// Copies a lab's `estate.yaml`, and the certificates that it names, to another directory: all else
/// in it is absolute.
pub fn place_estate(directory: &Path, to: &Path) -> Result<PathBuf> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pem")
            && let Some(name) = path.file_name()
        {
            write_whole(&to.join(name), &fs::read(&path)?)?;
        }
    }
    let estate = to.join("estate.yaml");
    write_whole(&estate, &fs::read(directory.join("estate.yaml"))?)?;
    Ok(estate)
}

/// One question over HTTP, from a thread of its own: may be called within a runtime or without.
fn ask(request: Ask) -> Result<Reply, NetError> {
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| NetError::Request(error.to_string()))?;
        runtime.block_on(net::fetch(&request))
    });
    asking.join().unwrap_or_else(|_| Err(NetError::Request("the asking thread died".to_owned())))
}

/// Unix milliseconds now.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let work = || -> Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    work().with_context(|| format!("writing `{}`", path.display()))
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(())
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
