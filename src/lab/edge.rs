//! A site's edge: the reverse proxy in front of the order service, OCSP, CRL and seals.
//!
//! Not known here: what passes through.

use super::ROUTES;
use super::http::{Call, LOAD_HEADER, Reply};
use super::state::{Route, lock, provider_key, route_key};
use super::world::World;
use crate::net::{self, Ask, NetError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits for a service behind the edge that is just being restarted.
const PATIENCE: Duration = Duration::from_secs(5);

/// One edge.
pub(super) struct Edge {
    world: Arc<World>,
    site: &'static str,
    /// Host to its URL.
    behind: BTreeMap<&'static str, String>,
    /// Requests that are in flight through each route of each line.
    inside: Mutex<BTreeMap<String, u64>>,
    left: tokio::sync::Notify,
}

impl Edge {
    /// In front of these hosts.
    pub(super) fn new(
        world: Arc<World>,
        site: &'static str,
        behind: BTreeMap<&'static str, String>,
    ) -> Self {
        Self { world, site, behind, inside: Mutex::default(), left: tokio::sync::Notify::new() }
    }

    /// Answers a client.
    pub(super) async fn answer(self: Arc<Self>, call: Call) -> Reply {
        if !call.own {
            self.world.touch();
        }
        if self.world.strike(self.site, "edge-1").await.is_err() {
            return Reply::text(500, "out of order");
        }
        let path = call.path.clone();
        if let Some(rest) = path.strip_prefix("/ocsp/") {
            return self.ocsp(&call, rest).await;
        }
        if let Some(rest) = path.strip_prefix("/crl/") {
            return self.forward(&["crl-1"], &format!("/{rest}"), &call).await;
        }
        if let Some(rest) = path.strip_prefix("/seal/") {
            return self.forward(&["seal-1"], &format!("/{rest}"), &call).await;
        }
        self.ordering(&path, &call).await
    }

    async fn ocsp(&self, call: &Call, rest: &str) -> Reply {
        let (line, request) = rest.split_once('/').unwrap_or((rest, ""));
        if !self.world.options.lines.iter().any(|known| known == line) {
            return Reply::text(404, "there is no such line");
        }
        let mut hosts = ["ocsp-1", "ocsp-2"];
        // Where clients are sent comes first.
        hosts.sort_by_key(|host| {
            let key = provider_key("ocsp", self.site, host, line);
            self.world.state.see(|state| state.providers.get(&key) != Some(&true))
        });
        self.forward(&hosts, &format!("/{request}"), call).await
    }

    async fn ordering(&self, path: &str, call: &Call) -> Reply {
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let (line, route) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !ROUTES.contains(&route) {
            return Reply::text(404, "there is no such route");
        }
        let key = route_key(self.site, route, line);
        let admitted = {
            // Looked up and counted in one turn: who closes a route afterwards waits for this one.
            let mut inside = lock(&self.inside);
            let found = self.world.state.see(|state| state.routes.get(&key).copied());
            if found.is_some_and(|route| route.open) {
                *inside.entry(key.clone()).or_default() += 1;
            }
            found
        };
        match admitted {
            None => Reply::text(404, "there is no such line"),
            Some(Route { open: false, status }) => {
                Reply::text(status, "closed for maintenance; see the status page")
            }
            Some(Route { open: true, .. }) => {
                let inside = Inside { edge: self, key };
                let reply = self.forward(&["orders-1"], path, call).await;
                drop(inside);
                reply
            }
        }
    }

    /// Opens or closes a route; closing waits for what is in flight through it, 5 s at most. Returns
    /// whether anything changed.
    pub(super) async fn set(&self, route: &str, line: &str, to: Route) -> anyhow::Result<bool> {
        let place = route_key(self.site, route, line);
        if to.open {
            // Logged before it is open: what is seen after the log's time may be open.
            let was = self.world.state.see(|state| state.routes.get(&place).copied());
            self.world.deeds.add("edge.open", &place, was != Some(to), "")?;
            self.world.state.change(|state| state.routes.insert(place, to))?;
            return Ok(was != Some(to));
        }
        let was = self.world.state.change(|state| state.routes.insert(place.clone(), to))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = self.left.notified();
            if lock(&self.inside).get(&place).is_none_or(|count| *count == 0)
                || tokio::time::timeout_at(until, left).await.is_err()
            {
                break;
            }
        }
        self.world.deeds.add("edge.close", &place, was != Some(to), "")?;
        Ok(was != Some(to))
    }

    /// Passes a request on to the first of the hosts that takes it.
    async fn forward(&self, hosts: &[&str], path: &str, call: &Call) -> Reply {
        let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
        let until = Instant::now() + PATIENCE;
        loop {
            let mut why = "nobody is behind".to_owned();
            for host in hosts {
                let Some(base) = self.behind.get(host) else { continue };
                let mut request = Ask::get(format!("{base}{path}{query}"));
                request.method = call.method.clone();
                request.body = call.body.clone();
                request.headers = vec![(LOAD_HEADER.to_owned(), "hop".to_owned())];
                if !call.content_type.is_empty() {
                    request.headers.push(("content-type".to_owned(), call.content_type.clone()));
                }
                match net::fetch(&request).await {
                    Ok(reply) => return passed_on(&reply),
                    // Nothing was sent: it may be asked again, here or at the next one.
                    Err(NetError::Connect(error)) => why = error,
                    Err(error) => return Reply::text(502, format!("{host}: {error}")),
                }
            }
            if Instant::now() > until {
                return Reply::text(503, why);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One request inside; leaves when dropped, also when its client is gone.
struct Inside<'a> {
    edge: &'a Edge,
    key: String,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.edge.inside).get_mut(&self.key) {
            *count = count.saturating_sub(1);
        }
        self.edge.left.notify_waiters();
    }
}

fn passed_on(reply: &net::Reply) -> Reply {
    let kind = reply.header("content-type").unwrap_or("application/octet-stream");
    let mut out = Reply::new(reply.status, kind, reply.body.clone());
    for name in ["last-modified", "expires", "etag", "cache-control", "allow"] {
        if let Some(value) = reply.header(name) {
            out = out.with(name, value);
        }
    }
    out
}
