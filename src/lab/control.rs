//! The lab's control API: switches for executors, versions for the hosts' commands, faults for
//! rehearsals, and where clients are sent.
//!
//! | path | methods |
//! |---|---|
//! | `/roles/{role}/{site}/{line}` | GET, PUT `{"on":bool}`; line `*` is all |
//! | `/providers/{service}/{site}/{host}/{line}` | the same |
//! | `/edge/{site}/routes/{route}/{line}` | GET, PUT `{"open":bool,"status":404}` |
//! | `/hosts/{site}/{host}/version` | GET, PUT `{"version":"4.2"}` (restarts the service) |
//! | `/faults` | GET, PUT `{"spec":..}`, DELETE `{"spec":..}` or `{}` for all |
//! | `/serving?since=N` | GET: where clients are sent; waits for a change after N, 2 s at most |
//! | `/state`, `/deeds`, `/witness` | GET |
//! | `/shutdown` | POST |

use super::edge::Edge;
use super::fault::{self, Kind, Place};
use super::http::{Call, Port, Reply};
use super::state::{Route, provider_key, role_key, route_key};
use super::world::World;
use super::{HOSTS, PROVIDERS, ROLES, ROUTES, SITES};
use anyhow::Result;
use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a host may take to finish what it was asked before it is restarted.
const DRAIN: Duration = Duration::from_secs(5);

/// What the control API drives.
pub(super) struct Control {
    pub(super) world: Arc<World>,
    pub(super) edges: BTreeMap<&'static str, Arc<Edge>>,
    pub(super) ports: BTreeMap<(&'static str, &'static str), Arc<Port>>,
    /// One upgrade of a host at a time.
    pub(super) upgrades: BTreeMap<(&'static str, &'static str), tokio::sync::Mutex<()>>,
    pub(super) faults_made: AtomicU64,
}

#[derive(Deserialize)]
struct On {
    on: bool,
}

#[derive(Deserialize)]
struct To {
    version: String,
}

#[derive(Deserialize)]
struct Spec {
    spec: Option<String>,
}

impl Control {
    /// Answers anybody.
    pub(super) async fn answer(self: Arc<Self>, call: Call) -> Reply {
        if !call.own {
            self.world.touch();
        }
        let path = call.path.clone();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let reply = match parts[..] {
            [""] => Ok(Reply::json(200, &json!({ "lab": self.world.directory }))),
            ["roles", role, site, line] => self.role(&call, role, site, line).await,
            ["providers", service, site, host, line] => {
                self.provider(&call, service, site, host, line).await
            }
            ["edge", site, "routes", route, line] => self.route(&call, site, route, line).await,
            ["hosts", site, host, "version"] => self.version(&call, site, host).await,
            ["faults"] => self.faults(&call).await,
            ["serving"] => Ok(self.serving(&call).await),
            ["state"] => Ok(self.state()),
            ["deeds"] => self.deeds(),
            ["witness"] => self.witness().await,
            ["shutdown"] if call.method == Method::POST => {
                self.world.end();
                Ok(Reply::text(200, "ending"))
            }
            _ => Ok(not_found(&path)),
        };
        reply.unwrap_or_else(|error| Reply::text(500, format!("{error:#}")))
    }

    /// The lines that a path names.
    fn lines(&self, line: &str) -> Vec<String> {
        let lines = self.world.options.lines.iter();
        lines.filter(|known| line == "*" || line == "%2A" || *known == line).cloned().collect()
    }

    async fn role(&self, call: &Call, role: &str, site: &str, line: &str) -> Result<Reply> {
        let lines = self.lines(line);
        if !ROLES.contains(&role) || !SITES.contains(&site) || lines.is_empty() {
            return Ok(not_found(&call.path));
        }
        // A site that is cut off does not answer here either.
        if self.world.strike(site, "").await.is_err() {
            return Ok(Reply::text(500, "out of order"));
        }
        if call.method == Method::PUT {
            let wanted: On = match body(call) {
                Ok(wanted) => wanted,
                Err(reply) => return Ok(reply),
            };
            let (world, role, site) = (Arc::clone(&self.world), role.to_owned(), site.to_owned());
            let lines = lines.clone();
            tokio::task::spawn_blocking(move || {
                lines
                    .iter()
                    .try_for_each(|line| world.set_role(&role, &site, line, wanted.on).map(drop))
            })
            .await??;
        }
        let on = self.world.state.see(|state| {
            lines.iter().all(|line| state.roles.get(&role_key(role, site, line)) == Some(&true))
        });
        Ok(Reply::json(200, &json!({ "on": on })))
    }

    async fn provider(
        &self,
        call: &Call,
        service: &str,
        site: &str,
        host: &str,
        line: &str,
    ) -> Result<Reply> {
        let lines = self.lines(line);
        let known = PROVIDERS.contains(&(service, host)) && SITES.contains(&site);
        if !known || lines.is_empty() {
            return Ok(not_found(&call.path));
        }
        if self.world.strike(site, "").await.is_err() {
            return Ok(Reply::text(500, "out of order"));
        }
        if call.method == Method::PUT {
            let wanted: On = match body(call) {
                Ok(wanted) => wanted,
                Err(reply) => return Ok(reply),
            };
            for line in &lines {
                let key = provider_key(service, site, host, line);
                let was = self
                    .world
                    .state
                    .change(|state| state.providers.insert(key.clone(), wanted.on))?;
                self.world.serving.send_modify(|version| *version += 1);
                let deed = if wanted.on { "provider.enable" } else { "provider.disable" };
                self.world.deeds.add(deed, &key, was != Some(wanted.on), "")?;
            }
        }
        let on = self.world.state.see(|state| {
            let key = |line: &String| provider_key(service, site, host, line);
            lines.iter().all(|line| state.providers.get(&key(line)) == Some(&true))
        });
        Ok(Reply::json(200, &json!({ "on": on })))
    }

    async fn route(&self, call: &Call, site: &str, route: &str, line: &str) -> Result<Reply> {
        let lines = self.lines(line);
        let Some(edge) = self.edges.get(site).filter(|_| ROUTES.contains(&route)) else {
            return Ok(not_found(&call.path));
        };
        if lines.is_empty() {
            return Ok(not_found(&call.path));
        }
        if self.world.strike(site, "edge-1").await.is_err() {
            return Ok(Reply::text(500, "out of order"));
        }
        if call.method == Method::PUT {
            let wanted: Route = match body(call) {
                Ok(wanted) => wanted,
                Err(reply) => return Ok(reply),
            };
            if !(200..600).contains(&wanted.status) {
                return Ok(Reply::text(400, "`status` is 200 to 599"));
            }
            for line in &lines {
                edge.set(route, line, wanted).await?;
            }
        }
        let found = self.world.state.see(|state| {
            let of = |line: &String| state.routes.get(&route_key(site, route, line)).copied();
            let all: Vec<Route> = lines.iter().filter_map(of).collect();
            all.iter().find(|route| !route.open).or(all.first()).copied()
        });
        Ok(found.map_or_else(|| not_found(&call.path), |route| Reply::json(200, &route)))
    }

    async fn version(&self, call: &Call, site: &str, host: &str) -> Result<Reply> {
        let known = SITES.iter().find(|known| **known == site).copied();
        let found = HOSTS.iter().find(|(known, ..)| *known == host).map(|(known, ..)| *known);
        let Some((site, host)) = known.zip(found) else { return Ok(not_found(&call.path)) };
        if self.world.strike(site, "").await.is_err() {
            return Ok(Reply::text(500, "out of order"));
        }
        let key = format!("{site}/{host}");
        if call.method != Method::PUT
            && let Some(upgrade) = self.upgrades.get(&(site, host))
        {
            // Who asks in the middle of an upgrade hears how it ended: a check has to be sure.
            drop(upgrade.lock().await);
        }
        let now = self.world.state.see(|s| s.versions.get(&key).cloned()).unwrap_or_default();
        if call.method != Method::PUT {
            return Ok(Reply::json(200, &json!({ "version": now, "build": build(&now) })));
        }
        let wanted: To = match body(call) {
            Ok(wanted) => wanted,
            Err(reply) => return Ok(reply),
        };
        let form = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if wanted.version.is_empty() || !wanted.version.bytes().all(form) {
            return Ok(Reply::text(400, "a version is of letters, digits, `.` and `-`"));
        }
        self.upgrade(site, host, &wanted.version).await?;
        let answer =
            json!({ "was": now, "version": wanted.version, "build": build(&wanted.version) });
        Ok(Reply::json(200, &answer))
    }

    /// Drains the host's service, leaves it away for a moment, starts it in its new version. The edge
    /// hands its listener over instead, as edges do.
    async fn upgrade(&self, site: &'static str, host: &'static str, version: &str) -> Result<()> {
        let _one = match self.upgrades.get(&(site, host)) {
            Some(mutex) => Some(mutex.lock().await),
            None => None,
        };
        let port = self.ports.get(&(site, host));
        let away = Duration::from_millis(self.world.options.restart_ms);
        self.world.set_upgrading(site, host, true);
        if let Some(port) = port.filter(|_| host != "edge-1") {
            port.drain(DRAIN).await;
        }
        tokio::time::sleep(away).await;
        let place = format!("{site}/{host}");
        let was = self
            .world
            .state
            .change(|state| state.versions.insert(place.clone(), version.to_owned()))?;
        self.world.deeds.add("host.upgrade", &place, was.as_deref() != Some(version), version)?;
        self.world.set_upgrading(site, host, false);
        match port {
            Some(port) if host == "edge-1" => port.hand_over().await,
            Some(port) if !self.is_down(site, host) => port.start().await?,
            _ => {}
        }
        Ok(())
    }

    fn is_down(&self, site: &str, host: &str) -> bool {
        self.world.faults.borrow().iter().any(|(_, fault)| {
            matches!(&fault.place, Place::Provider { site: at, host: on, .. } if at == site && on == host)
                && fault.kind == Kind::Down
        })
    }

    async fn faults(self: &Arc<Self>, call: &Call) -> Result<Reply> {
        if call.method == Method::GET {
            let now: Vec<String> =
                self.world.faults.borrow().iter().map(|(_, fault)| written(fault)).collect();
            return Ok(Reply::json(200, &json!({ "faults": now, "known": super::faults() })));
        }
        let wanted: Spec = match body(call) {
            Ok(wanted) => wanted,
            Err(reply) => return Ok(reply),
        };
        let parsed = match wanted.spec.as_deref().map(fault::parse).transpose() {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Reply::text(400, error)),
        };
        if call.method == Method::DELETE {
            let gone = parsed.map(|fault| (fault.place, fault.kind));
            self.heal(|(_, fault)| match &gone {
                Some((place, kind)) => fault.place == *place && fault.kind == *kind,
                None => true,
            })
            .await?;
            return Ok(Reply::json(200, &json!({})));
        }
        let Some(fault) = parsed else { return Ok(Reply::text(400, "wanted is {\"spec\":...}")) };
        let id = self.faults_made.fetch_add(1, Ordering::Relaxed);
        let (lasts, place) = (fault.lasts, written(&fault));
        self.world.faults.send_modify(|faults| faults.push((id, fault)));
        self.world.deeds.add("fault.on", &place, true, "")?;
        self.follow_faults().await?;
        if let Some(lasts) = lasts {
            let control = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(lasts).await;
                // It fails only when the log cannot be written; the fault is gone all the same.
                let _ = control.heal(|(one, _)| *one == id).await;
            });
        }
        Ok(Reply::json(200, &json!({ "id": id })))
    }

    async fn heal(&self, which: impl Fn(&(u64, fault::Fault)) -> bool) -> Result<()> {
        let mut gone = Vec::new();
        self.world.faults.send_modify(|faults| {
            gone = faults.extract_if(.., |fault| which(fault)).collect();
        });
        for (_, fault) in gone {
            self.world.deeds.add("fault.off", &written(&fault), true, "")?;
        }
        self.follow_faults().await
    }

    /// Whose fault is `down` listens no more, all others do.
    async fn follow_faults(&self) -> Result<()> {
        for ((site, host), port) in &self.ports {
            if self.is_down(site, host) {
                port.drain(Duration::ZERO).await;
            } else if !self.world.is_upgrading(site, host) {
                port.start().await?;
            }
        }
        Ok(())
    }

    async fn serving(&self, call: &Call) -> Reply {
        let mut version = self.world.serving.subscribe();
        let mut ending = self.world.ending.subscribe();
        let since = call.query.strip_prefix("since=").and_then(|text| text.parse::<u64>().ok());
        if let Some(since) = since {
            tokio::select! {
                _ = version.wait_for(|now| *now != since) => {}
                _ = ending.wait_for(|ending| *ending) => {}
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
        if *ending.borrow() {
            return Reply::text(503, "ending");
        }
        // Read before the map: a change in between is then seen as a change next time.
        let version = *version.borrow();
        let on = self.world.state.see(|state| {
            let on = state.providers.iter().filter(|(_, on)| **on);
            on.map(|(key, _)| key.clone()).collect::<Vec<_>>()
        });
        Reply::json(200, &json!({ "version": version, "serving": on }))
    }

    fn state(&self) -> Reply {
        let state = self.world.state.see(Clone::clone);
        let faults: Vec<String> =
            self.world.faults.borrow().iter().map(|(_, fault)| written(fault)).collect();
        let addresses: BTreeMap<String, String> = self
            .ports
            .iter()
            .map(|((site, host), port)| (format!("{site}/{host}"), port.url()))
            .collect();
        Reply::json(200, &json!({ "state": state, "faults": faults, "addresses": addresses }))
    }

    fn deeds(&self) -> Result<Reply> {
        let deeds = super::read_deeds(&self.world.directory)?;
        Ok(Reply::json(200, &deeds))
    }

    async fn witness(&self) -> Result<Reply> {
        let directory = self.world.directory.clone();
        let summary =
            tokio::task::spawn_blocking(move || super::witness::summary(&directory)).await??;
        Ok(Reply::json(200, &summary))
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Reply> {
    serde_json::from_slice(&call.body)
        .map_err(|error| Reply::text(400, format!("the body is not what is wanted: {error}")))
}

fn not_found(path: &str) -> Reply {
    Reply::text(404, format!("the lab has no `{path}`"))
}

fn written(fault: &fault::Fault) -> String {
    let word = match (&fault.place, fault.kind) {
        (Place::Site(_), _) => "partition",
        (_, kind) => fault::word(kind),
    };
    format!("{}={word}", fault.place)
}

/// The build number of a version: its digits, and two more.
fn build(version: &str) -> u64 {
    let digits = version.bytes().filter(u8::is_ascii_digit).take(12);
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')) * 100 + 7
}
