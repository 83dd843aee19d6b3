//! What can be switched in a lab, kept in `state.json`, and the log of deeds, `deeds.jsonl`.
//!
//! Not known here: who switches, and what follows from it.

use super::home::Home;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks, whoever panicked before: the lab's data are whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One route of a line at an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    /// Requests go through.
    pub(super) open: bool,
    /// What is answered when they do not.
    pub(super) status: u16,
}

/// Everything that can be switched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// `writer@from/geotrust`
    pub(super) roles: BTreeMap<String, bool>,
    /// `ocsp@from/ocsp-1/geotrust`: clients are sent there.
    pub(super) providers: BTreeMap<String, bool>,
    /// `from/order/geotrust`
    pub(super) routes: BTreeMap<String, Route>,
    /// `from/ocsp-1`
    pub(super) versions: BTreeMap<String, String>,
    /// Line to its highest CRLNumber.
    pub(super) numbers: BTreeMap<String, u64>,
    /// Line to the site that signed that one.
    pub(super) signed_by: BTreeMap<String, String>,
}

impl State {
    /// The state of a new lab: all is at `from`.
    pub(super) fn new(lines: &[String]) -> Self {
        let mut state = Self::default();
        for site in super::SITES {
            let here = site == "from";
            for line in lines {
                for role in super::ROLES {
                    state.roles.insert(role_key(role, site, line), here);
                }
                for (service, host) in super::PROVIDERS {
                    state.providers.insert(provider_key(service, site, host, line), here);
                }
                for route in super::ROUTES {
                    let open = Route { open: here, status: 404 };
                    state.routes.insert(route_key(site, route, line), open);
                }
            }
            for (host, version, _) in super::HOSTS {
                state.versions.insert(format!("{site}/{host}"), version.to_owned());
            }
        }
        state
    }

    /// The sites that hold a role of a line.
    pub(super) fn holders(&self, role: &str, line: &str) -> Vec<&'static str> {
        let held = |site: &&str| self.roles.get(&role_key(role, site, line)) == Some(&true);
        super::SITES.into_iter().filter(held).collect()
    }
}

/// `writer@from/geotrust`
pub(super) fn role_key(role: &str, site: &str, line: &str) -> String {
    format!("{role}@{site}/{line}")
}

/// `ocsp@from/ocsp-1/geotrust`
pub(super) fn provider_key(service: &str, site: &str, host: &str, line: &str) -> String {
    format!("{service}@{site}/{host}/{line}")
}

/// `from/order/geotrust`
pub(super) fn route_key(site: &str, route: &str, line: &str) -> String {
    format!("{site}/{route}/{line}")
}

/// The state and the file that it is kept in.
pub(super) struct Kept {
    home: Arc<Home>,
    path: PathBuf,
    state: Mutex<State>,
}

impl Kept {
    /// What is in the file, or a new lab's.
    pub(super) fn open(directory: &Path, lines: &[String], home: Arc<Home>) -> Result<Self> {
        let path = directory.join("state.json");
        let mut state = State::new(lines);
        if path.exists() {
            let kept: State = read_json(&path)?;
            state.roles.extend(kept.roles);
            state.providers.extend(kept.providers);
            state.routes.extend(kept.routes);
            state.versions.extend(kept.versions);
            state.numbers = kept.numbers;
            state.signed_by = kept.signed_by;
        }
        super::write_whole(&path, &serde_json::to_vec_pretty(&state)?)?;
        Ok(Self { home, path, state: Mutex::new(state) })
    }

    /// Looks.
    pub(super) fn see<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&lock(&self.state))
    }

    /// Changes, and keeps the change before anybody sees it. A change that cannot be kept is none.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = lock(&self.state);
        let mut next = state.clone();
        let out = change(&mut next);
        if next != *state {
            self.home.ensure_ours()?;
            super::write_whole(&self.path, &serde_json::to_vec_pretty(&next)?)?;
            *state = next;
        }
        Ok(out)
    }
}

/// One deed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Unix milliseconds.
    pub at: i64,
    /// `edge.close`, `edge.open`, `role.promote`, `role.fence`, `provider.enable`,
    /// `provider.disable`, `host.upgrade`, `crl.sign`, `fault.on`, `fault.off`,
    /// `violation.two-holders`.
    pub deed: String,
    /// `from/order/geotrust`, `writer@from/geotrust`, `ocsp@from/ocsp-1/geotrust`, `to/ocsp-1`, ...
    #[serde(rename = "where")]
    pub place: String,
    /// How often this deed was done at this place, this time included.
    pub count: u64,
    /// Something was other than before.
    pub changed: bool,
    /// What it was about: a version, a number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
}

/// Deed and place to how often it was done there.
type Counts = BTreeMap<(String, String), u64>;

/// The log of deeds: tests show by it that nothing was done twice.
pub(super) struct Deeds {
    inner: Mutex<(File, Counts)>,
}

impl Deeds {
    /// Opens the log, counting what is in it.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for deed in read_deeds(directory)? {
            counts.insert((deed.deed, deed.place), deed.count);
        }
        let path = directory.join("deeds.jsonl");
        Ok(Self { inner: Mutex::new((open_lines(&path)?, counts)) })
    }

    /// Adds a deed.
    pub(super) fn add(&self, deed: &str, place: &str, changed: bool, what: &str) -> Result<()> {
        let mut inner = lock(&self.inner);
        let (file, counts) = &mut *inner;
        let count = counts.entry((deed.to_owned(), place.to_owned())).or_default();
        *count += 1;
        let (at, count) = (super::now_ms(), *count);
        let (deed, place, what) = (deed.to_owned(), place.to_owned(), what.to_owned());
        let mut line = serde_json::to_vec(&Deed { at, deed, place, count, changed, what })?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(())
    }
}

/// The deeds of a lab, oldest first; none when there was never one. A torn last line is left out.
pub fn read_deeds(directory: &Path) -> Result<Vec<Deed>> {
    let path = directory.join("deeds.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Opens a file of lines to append to. A line that a dying process left half written is ended first:
/// the next one is not to be lost with it.
pub(super) fn open_lines(path: &Path) -> Result<File> {
    let open = || -> std::io::Result<File> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(file)
    };
    open().with_context(|| format!("opening `{}`", path.display()))
}

/// Reads a JSON file.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("`{}` is damaged", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_counts_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let lines = vec!["geotrust".to_owned()];
        let home = Arc::new(Home::take(directory.path()).unwrap());
        let kept = Kept::open(directory.path(), &lines, Arc::clone(&home)).unwrap();
        assert_eq!(kept.see(|state| state.holders("writer", "geotrust")), ["from"]);
        kept.change(|state| state.roles.insert(role_key("writer", "from", "geotrust"), false))
            .unwrap();
        let again = Kept::open(directory.path(), &lines, home).unwrap();
        assert!(again.see(|state| state.holders("writer", "geotrust")).is_empty());
        for _ in 0..2 {
            let deeds = Deeds::open(directory.path()).unwrap();
            deeds.add("role.fence", "writer@from/geotrust", true, "").unwrap();
            // Killed in the middle of the next one.
            lock(&deeds.inner).0.write_all(b"{\"at\":17,").unwrap();
        }
        let counts: Vec<_> =
            read_deeds(directory.path()).unwrap().iter().map(|deed| deed.count).collect();
        assert_eq!(counts, [1, 2]);
    }

    #[test]
    fn a_lab_writes_no_state_into_a_directory_that_was_made_anew() {
        let around = tempfile::tempdir().unwrap();
        let place = around.path().join("lab");
        let lines = vec!["geotrust".to_owned()];
        let open = || {
            fs::create_dir(&place).unwrap();
            let home = Arc::new(Home::take(&place).unwrap());
            Kept::open(&place, &lines, home).unwrap()
        };
        let old = open();
        fs::remove_dir_all(&place).unwrap();
        let new = open();
        let fence = |kept: &Kept| {
            kept.change(|state| state.roles.insert(role_key("writer", "from", "geotrust"), false))
        };
        assert!(fence(&old).is_err());
        let state: State = read_json(&place.join("state.json")).unwrap();
        assert_eq!(state, State::new(&lines));
        fence(&new).unwrap();
    }
}
