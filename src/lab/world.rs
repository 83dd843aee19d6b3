//! What all services of a lab share: authorities, databases, switches, faults, deeds.
//!
//! Not known here: HTTP.

use super::ca::Authority;
use super::crl::{self, List};
use super::fault::{Fault, Kind, Lie, Place};
use super::home::Home;
use super::state::{Deeds, Kept, lock};
use super::store::{self, Reader};
use super::{Options, SITES, now_ms};
use anyhow::{Context as _, Result};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A list is signed anew when it is older, though nothing changed.
const CADENCE: i64 = 86_400;

/// The shared part of a lab.
pub(super) struct World {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// Whether that is still this lab's.
    pub(super) home: Arc<Home>,
    /// How it was wanted.
    pub(super) options: Options,
    /// A line's authority each.
    pub(super) authorities: Vec<Arc<Authority>>,
    /// Switches.
    pub(super) state: Kept,
    /// The log.
    pub(super) deeds: Deeds,
    /// Changes with every fault put in place or taken away.
    pub(super) faults: watch::Sender<Vec<(u64, Fault)>>,
    /// Becomes true at the end.
    pub(super) ending: watch::Sender<bool>,
    /// Counts changes of the serving map.
    pub(super) serving: watch::Sender<u64>,
    readers: BTreeMap<(String, String), Mutex<Reader>>,
    writers: BTreeMap<(String, String), Mutex<Writer>>,
    signers: BTreeMap<String, Mutex<Signer>>,
    lists: Mutex<BTreeMap<String, Arc<List>>>,
    upgrading: Mutex<BTreeSet<(String, String)>>,
    ended: AtomicBool,
    touched_ms: AtomicI64,
}

/// The right to write to a line's database at a site; who has it locked cannot be fenced meanwhile.
struct Writer {
    path: PathBuf,
    held: Option<(u64, Connection)>,
}

/// What signing a line's list needs to remember.
#[derive(Default)]
struct Signer {
    readers: BTreeMap<&'static str, Reader>,
    /// Site and data version that the present list was made from.
    seen: Option<(&'static str, i64)>,
    rows: Vec<store::Revoked>,
}

/// The path of a line's database at a site.
pub(super) fn database(directory: &Path, site: &str, line: &str) -> PathBuf {
    directory.join("db").join(site).join(format!("{line}.db"))
}

impl World {
    /// Puts the parts together; databases and authorities exist.
    pub(super) fn new(
        directory: PathBuf,
        options: Options,
        authorities: Vec<Arc<Authority>>,
        home: Arc<Home>,
    ) -> Result<Self> {
        let (mut readers, mut writers) = (BTreeMap::new(), BTreeMap::new());
        let (mut signers, mut lists) = (BTreeMap::new(), BTreeMap::new());
        let state = Kept::open(&directory, &options.lines, Arc::clone(&home))?;
        for line in &options.lines {
            let mut signer = Signer::default();
            for site in SITES {
                let path = database(&directory, site, line);
                let key = (site.to_owned(), line.clone());
                readers.insert(key.clone(), Mutex::new(Reader::new(path.clone())));
                signer.readers.insert(site, Reader::new(path.clone()));
                writers.insert(key, Mutex::new(Writer { path, held: None }));
            }
            signers.insert(line.clone(), Mutex::new(signer));
            let number = state.see(|state| state.numbers.get(line).copied());
            let kept = std::fs::read(directory.join("crl").join(format!("{line}.crl"))).ok();
            if let (Some(number), Some(list)) = (number, kept.and_then(|b| crl::read(b, number?))) {
                lists.insert(line.clone(), Arc::new(List { number, ..list }));
            }
        }
        Ok(Self {
            deeds: Deeds::open(&directory)?,
            directory,
            home,
            options,
            authorities,
            state,
            faults: watch::Sender::new(Vec::new()),
            ending: watch::Sender::new(false),
            serving: watch::Sender::new(0),
            readers,
            writers,
            signers,
            lists: Mutex::new(lists),
            upgrading: Mutex::default(),
            ended: AtomicBool::new(false),
            touched_ms: AtomicI64::new(now_ms()),
        })
    }

    /// Somebody other than the lab's own clients asked something.
    pub(super) fn touch(&self) {
        self.touched_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// How long nobody asked anything.
    pub(super) fn idle(&self) -> Duration {
        let since = now_ms() - self.touched_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(since).unwrap_or(0))
    }

    /// The threads are to end.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.ending.send_replace(true);
    }

    /// Whether [`World::end`] was called.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Works with the reading connection of a line at a site.
    pub(super) fn read<T>(
        &self,
        site: &str,
        line: &str,
        look: impl FnOnce(&mut Reader) -> T,
    ) -> Option<T> {
        let reader = self.readers.get(&(site.to_owned(), line.to_owned()))?;
        Some(look(&mut lock(reader)))
    }

    /// Writes to a line's database at a site, if the site holds the line's writer; it cannot be
    /// fenced before `work` has returned. Blocks.
    pub(super) fn write<T>(
        &self,
        site: &str,
        line: &str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let writer = self
            .writers
            .get(&(site.to_owned(), line.to_owned()))
            .with_context(|| format!("there is no line `{line}`"))?;
        let mut writer = lock(writer);
        let key = super::state::role_key("writer", site, line);
        if !self.state.see(|state| state.roles.get(&key) == Some(&true)) {
            // Who may not write holds no file either: it may be about to be replaced.
            writer.held = None;
            return Ok(None);
        }
        self.home.ensure_ours()?;
        let inode = std::fs::metadata(&writer.path)
            .with_context(|| format!("`{}`", writer.path.display()))?
            .ino();
        if writer.held.as_ref().is_none_or(|(held, _)| *held != inode) {
            writer.held = Some((inode, store::open(&writer.path)?));
        }
        match &mut writer.held {
            Some((_, connection)) => Ok(Some(work(connection)?)),
            None => Ok(None),
        }
    }

    /// Fences a line's writer at a site, after the write that is under way; or promotes it. Whether
    /// that changed anything. Blocks.
    pub(super) fn set_role(&self, role: &str, site: &str, line: &str, on: bool) -> Result<bool> {
        let key = super::state::role_key(role, site, line);
        let place = format!("{role}@{site}/{line}");
        let set = || {
            self.state.change(|state| {
                let was = state.roles.insert(key.clone(), on);
                (was != Some(on), state.holders(role, line).len())
            })
        };
        let (changed, holders) = if role == "writer" {
            let writer = self.writers.get(&(site.to_owned(), line.to_owned()));
            let mut writer = writer.map(lock);
            let out = set()?;
            if let Some(writer) = writer.as_mut().filter(|_| !on) {
                writer.held = None;
            }
            out
        } else {
            let signer = self.signers.get(line).map(lock);
            let out = set()?;
            drop(signer);
            if on {
                self.sign(line)?;
            }
            out
        };
        let deed = if on { "role.promote" } else { "role.fence" };
        self.deeds.add(deed, &place, changed, "")?;
        if holders > 1 {
            self.deeds.add("violation.two-holders", &place, true, "")?;
        }
        Ok(changed)
    }

    /// Signs a line's list anew, where the signer is and if anything is new there. Blocks.
    pub(super) fn sign(&self, line: &str) -> Result<()> {
        let Some(signer) = self.signers.get(line) else { return Ok(()) };
        let mut signer = lock(signer);
        for site in self.state.see(|state| state.holders("crl-signer", line)) {
            self.sign_at(line, site, &mut signer)?;
        }
        Ok(())
    }

    fn sign_at(&self, line: &str, site: &'static str, signer: &mut Signer) -> Result<()> {
        let now = now_ms() / 1000;
        let last = self.list(line);
        let fresh = last.as_ref().is_some_and(|list| now - list.this_update < CADENCE);
        let Some(reader) = signer.readers.get_mut(site) else { return Ok(()) };
        let Some(version) = reader.connection().and_then(|db| {
            db.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).ok()
        }) else {
            return Ok(());
        };
        if fresh && signer.seen == Some((site, version)) {
            return Ok(());
        }
        let Some(rows) = reader.revoked() else { return Ok(()) };
        let moved = self.state.see(|state| state.signed_by.get(line).is_some_and(|by| by != site));
        if fresh && !moved && signer.seen.is_some() && rows == signer.rows {
            signer.seen = Some((site, version));
            return Ok(());
        }
        let Some(authority) = self.authorities.iter().find(|one| one.line == line) else {
            return Ok(());
        };
        let number = self.state.change(|state| {
            let number = state.numbers.get(line).copied().unwrap_or(1_000)
                + if moved { crl::GAP } else { 1 };
            state.numbers.insert(line.to_owned(), number);
            state.signed_by.insert(line.to_owned(), site.to_owned());
            number
        })?;
        // Never before the list before: clients compare.
        let this_update = now.max(last.map_or(0, |list| list.this_update));
        let list = crl::sign(authority, &rows, number, this_update, this_update + crl::LIFE)?;
        let path = self.directory.join("crl").join(format!("{line}.crl"));
        self.home.ensure_ours()?;
        super::write_whole(&path, &list.body)?;
        lock(&self.lists).insert(line.to_owned(), Arc::new(list));
        signer.seen = Some((site, version));
        signer.rows = rows;
        self.deeds.add("crl.sign", &format!("{site}/{line}"), true, &number.to_string())
    }

    /// The list that was signed last, wherever: both sites publish its bytes.
    pub(super) fn list(&self, line: &str) -> Option<Arc<List>> {
        lock(&self.lists).get(line).cloned()
    }

    /// Marks a host as being upgraded, or no longer.
    pub(super) fn set_upgrading(&self, site: &str, host: &str, on: bool) {
        let mut upgrading = lock(&self.upgrading);
        let key = (site.to_owned(), host.to_owned());
        if on {
            upgrading.insert(key);
        } else {
            upgrading.remove(&key);
        }
    }

    /// Whether a host is being upgraded.
    pub(super) fn is_upgrading(&self, site: &str, host: &str) -> bool {
        lock(&self.upgrading).contains(&(site.to_owned(), host.to_owned()))
    }

    /// What is wrong with a provider's host now, if anything: a site's partition first.
    pub(super) fn trouble(&self, site: &str, host: &str) -> Option<Kind> {
        let faults = self.faults.borrow();
        let found = faults.iter().map(|(_, fault)| fault).filter(|fault| match &fault.place {
            Place::Site(struck) => struck == site,
            Place::Provider { site: at, host: on, .. } => at == site && on == host,
        });
        found.map(|fault| fault.kind).max_by_key(|kind| *kind == Kind::Hang)
    }

    /// Waits while a site or host hangs, and as a slow one does; then tells what lie it is to answer,
    /// or that it fails.
    pub(super) async fn strike(&self, site: &str, host: &str) -> Result<Option<Lie>, Kind> {
        let mut told = self.faults.subscribe();
        loop {
            match self.trouble(site, host) {
                None => return Ok(None),
                Some(Kind::Lie(lie)) => return Ok(Some(lie)),
                Some(Kind::Slow) => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    return Ok(None);
                }
                Some(Kind::Hang) => {
                    if told.changed().await.is_err() {
                        return Err(Kind::Hang);
                    }
                }
                Some(kind @ (Kind::Down | Kind::Error)) => return Err(kind),
            }
        }
    }
}
