//! Relying parties: browsers and servers that ask whether a certificate is revoked, and visitors of
//! shops who look at a seal. Each question goes to every provider that clients are sent to.

use super::record::{Question, Seen, ms};
use super::{Clients, Serving};
use crate::lab::judge::{self, Fault, Issuer, Known, Says};
use crate::lab::serve::Serials;
use crate::lab::store::{self, Reader};
use crate::lab::{SITES, der, now_ms, state, world};
use crate::net::Ask;
use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use hyper::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two OCSP questions, at the usual load; each goes to two providers, mostly.
const OCSP_EVERY: Duration = Duration::from_millis(8);
/// Between two questions for a list, and two for a seal.
const OTHERS_EVERY: Duration = Duration::from_millis(40);
/// How often the revocations of the run are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Once one provider said revoked, the others follow within this (the rule across sites).
const FOLLOW: i64 = 60_000;
/// Questions in flight at most; more are left out, so that a hang does not pile up.
const IN_FLIGHT: usize = 64;

/// What is expected of a serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Issued and sound; it may be revoked in the run.
    Issued,
    /// Revoked before the run.
    Revoked,
    /// Never issued.
    Unissued,
}

/// What relying parties know of a line.
struct Line {
    name: String,
    issuer: Issuer,
    sentinels: BTreeMap<&'static str, Vec<u8>>,
    /// Serials to ask for, sentinels first.
    asked: Vec<(Vec<u8>, Expect)>,
    next: usize,
    /// Revoked rows of any site's database, by serial, hex.
    revoked: BTreeSet<String>,
    /// Serial to when, and by which providers, it was called revoked in the run.
    called: BTreeMap<String, (i64, BTreeSet<String>)>,
    list: Known,
    readers: Vec<Reader>,
}

/// All relying parties.
pub(super) struct Parties {
    clients: Arc<Clients>,
    lines: Vec<Mutex<Line>>,
}

impl Parties {
    /// Knows what clients know, and a sample of what was issued.
    pub(super) fn new(directory: &Path, clients: &Arc<Clients>) -> Result<Self> {
        let serials: BTreeMap<String, Serials> =
            state::read_json(&directory.join("sentinels.json"))?;
        let mut lines = Vec::new();
        for name in &clients.options.lines {
            let serials = serials.get(name).with_context(|| format!("no sentinels of `{name}`"))?;
            lines.push(Mutex::new(Line::new(directory, name, serials)?));
        }
        Ok(Self { clients: Arc::clone(clients), lines })
    }
}

impl Line {
    fn new(directory: &Path, name: &str, serials: &Serials) -> Result<Self> {
        let bytes = |text: &str| der::from_hex(text).context("`sentinels.json` is damaged");
        let issuer = Issuer::read(&directory.join(format!("{name}-ca.pem")))?;
        let (good, revoked) = (bytes(&serials.good)?, bytes(&serials.revoked)?);
        let unissued = bytes(&serials.unissued)?;
        let mut asked = vec![
            (good.clone(), Expect::Issued),
            (revoked.clone(), Expect::Revoked),
            (unissued.clone(), Expect::Unissued),
        ];
        let mut readers: Vec<Reader> =
            SITES.iter().map(|site| Reader::new(world::database(directory, site, name))).collect();
        for reader in &mut readers {
            let Some(db) = reader.connection() else { continue };
            // The new site's is empty at first.
            asked.extend(sample(db).unwrap_or_default());
        }
        let sentinels =
            [("good", good), ("revoked", revoked), ("unissued", unissued)].into_iter().collect();
        let mut line = Self {
            name: name.to_owned(),
            issuer,
            sentinels,
            asked,
            next: 0,
            revoked: BTreeSet::new(),
            called: BTreeMap::new(),
            list: Known::default(),
            readers,
        };
        line.look();
        Ok(line)
    }

    /// Reads which serials are revoked now; new ones are asked for from now on.
    fn look(&mut self) {
        let first = self.revoked.is_empty();
        let rows: Vec<_> = self.readers.iter_mut().filter_map(Reader::revoked).flatten().collect();
        for row in rows {
            if self.revoked.contains(&row.serial) {
                continue;
            }
            if !first && let Some(serial) = der::from_hex(&row.serial) {
                let known = self.asked.iter().any(|(asked, _)| *asked == serial);
                if !known {
                    self.asked.push((serial, Expect::Issued));
                }
            }
            self.revoked.insert(row.serial);
        }
    }

    /// The next to ask for: every second time a sentinel or one that was revoked in the run.
    fn next(&mut self) -> (Vec<u8>, Expect) {
        let turn = self.next;
        self.next += 1;
        let place = if turn.is_multiple_of(2) { turn / 2 % 3 } else { turn / 2 % self.asked.len() };
        self.asked[place].clone()
    }

    /// Whether what a provider says of a serial is what a client may see.
    fn right(
        &mut self,
        serial: &[u8],
        expect: Expect,
        says: Says,
        provider: &str,
        at: i64,
    ) -> Result<(), Fault> {
        let text = der::hex(serial);
        let wrong = |why: &str| Err(Fault::False(format!("{text}: {why}")));
        match (expect, says) {
            (Expect::Revoked, Says::Revoked) | (Expect::Unissued, Says::Unknown) => Ok(()),
            (Expect::Revoked, _) => wrong("revoked long ago, and said to be otherwise"),
            (Expect::Unissued, _) => wrong("never issued, and said to be"),
            (Expect::Issued, Says::Unknown) => wrong("issued, and said to be unknown"),
            (Expect::Issued, Says::Revoked) => {
                if !self.revoked.contains(&text) {
                    self.look();
                }
                if !self.revoked.contains(&text) {
                    return wrong("revoked by nobody, and said to be");
                }
                let now = now_ms();
                let called = self.called.entry(text).or_insert_with(|| (now, BTreeSet::new()));
                called.1.insert(provider.to_owned());
                Ok(())
            }
            (Expect::Issued, Says::Good) => match self.called.get(&text) {
                // It was asked before anybody had said so: an answer that was on its way.
                Some((since, _)) if at < *since => Ok(()),
                Some((_, by)) if by.contains(provider) => wrong("revoked, and good again"),
                Some((since, _)) if at > since + FOLLOW => wrong("revoked elsewhere for a minute"),
                _ => Ok(()),
            },
        }
    }
}

/// Twenty good ones and five revoked ones, spread over the table.
fn sample(db: &rusqlite::Connection) -> rusqlite::Result<Vec<(Vec<u8>, Expect)>> {
    let mut out = Vec::new();
    for (status, expect, wanted) in [("good", Expect::Issued, 20), ("revoked", Expect::Revoked, 5)]
    {
        let mut query = db.prepare(
            "SELECT serial FROM certificates WHERE status = ?1 AND rowid % \
             (SELECT max(1, count(*) / ?2) FROM certificates WHERE status = ?1) = 0 LIMIT ?2",
        )?;
        let rows = query.query_map((status, wanted), |row| row.get::<_, String>(0))?;
        for serial in rows {
            out.extend(der::from_hex(&serial?).map(|serial| (serial, expect)));
        }
    }
    Ok(out)
}

/// Asks until dropped.
pub(super) async fn run(parties: Parties) {
    let load = parties.clients.options.load.clamp(0.01, 100.0);
    let parties = Arc::new(parties);
    let mut flying = tokio::task::JoinSet::new();
    let mut ocsp = ticker(OCSP_EVERY.div_f64(load));
    let mut others = ticker(OTHERS_EVERY.div_f64(load));
    let mut look = ticker(LOOK_EVERY);
    let (mut asked, mut fetched) = (0usize, 0usize);
    if parties.lines.is_empty() {
        return std::future::pending().await;
    }
    let lines = parties.lines.len();
    loop {
        tokio::select! {
            _ = ocsp.tick() => {
                if flying.len() < IN_FLIGHT {
                    flying.spawn(ask_ocsp(Arc::clone(&parties), asked % lines, asked));
                }
                asked += 1;
            }
            _ = others.tick() => {
                if flying.len() < IN_FLIGHT {
                    flying.spawn(ask_crl(Arc::clone(&parties), fetched % lines));
                    flying.spawn(ask_seal(Arc::clone(&parties), (fetched + 1) % lines));
                }
                fetched += 1;
            }
            _ = look.tick() => parties.lines.iter().for_each(|line| state::lock(line).look()),
            Some(_) = flying.join_next() => {}
        }
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    every
}

async fn ask_ocsp(parties: Arc<Parties>, place: usize, turn: usize) {
    let (issuer, (serial, expect), line) = {
        let mut line = state::lock(&parties.lines[place]);
        (line.issuer.clone(), line.next(), line.name.clone())
    };
    // POST, GET as it is, GET with the awkward characters encoded; SHA-1 and SHA-256 in turn.
    let (way, sha256) = (turn / 6 % 3, turn / 18 % 2 == 1);
    let nonce: Option<Vec<u8>> =
        (way == 0 && turn.is_multiple_of(10)).then(|| fastrand::u128(..).to_be_bytes().repeat(2));
    let request = issuer.request(&serial, sha256, nonce.as_deref());
    let what = format!("{} {} {expect:?}", ["post", "get", "get-encoded"][way], der::hex(&serial));
    let ask = |url: &str| match way {
        0 => Ask::with_body(Method::POST, url, "application/ocsp-request", request.clone()),
        1 => Ask::get(format!("{url}{}", der::base64(&request))),
        _ => {
            let text = der::base64(&request);
            let text = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            Ask::get(format!("{url}{text}"))
        }
    };
    let judge = |provider: &str, at: i64, body: &[u8]| {
        let now = now_ms() / 1000;
        let says = judge::ocsp(&issuer, &serial, sha256, nonce.as_deref(), body, now)?;
        state::lock(&parties.lines[place]).right(&serial, expect, says, provider, at)
    };
    put(&parties.clients, "ocsp", &line, what, ask, judge).await;
}

async fn ask_crl(parties: Arc<Parties>, place: usize) {
    let (issuer, known, line, sentinels) = {
        let line = state::lock(&parties.lines[place]);
        (line.issuer.clone(), line.list, line.name.clone(), line.sentinels.clone())
    };
    let ask = |url: &str| Ask::get(format!("{url}{line}-ca.crl")).at_most(64 << 20);
    let judge = |_: &str, _: i64, body: &[u8]| {
        let of = |class| sentinels.get(class).map_or(&[][..], Vec::as_slice);
        let now = now_ms() / 1000;
        let (listed, unlisted) = ([of("revoked")], [of("good"), of("unissued")]);
        let seen = judge::crl(&issuer, body, &listed, &unlisted, known, now)?;
        let mut line = state::lock(&parties.lines[place]);
        if seen.number > line.list.number {
            line.list = seen;
        }
        Ok(())
    };
    put(&parties.clients, "crl", &line, "list".to_owned(), ask, judge).await;
}

async fn ask_seal(parties: Arc<Parties>, place: usize) {
    let line = state::lock(&parties.lines[place]).name.clone();
    let site = store::host(&line, "good");
    let ask = |url: &str| Ask::get(format!("{url}{line}"));
    let judge = |_: &str, _: i64, body: &[u8]| judge::seal(body, "Secured by", &site);
    put(&parties.clients, "seal", &line, "page".to_owned(), ask, judge).await;
}

/// Puts a question to every provider that clients are sent to. When all of them were left in the
/// meantime, it is put again: a client, too, asks anew where to go.
async fn put(
    clients: &Clients,
    service: &str,
    line: &str,
    what: String,
    ask: impl Fn(&str) -> Ask,
    judge: impl Fn(&str, i64, &[u8]) -> Result<(), Fault>,
) {
    let at = now_ms();
    let mut seen = Vec::new();
    let mut map: Serving = clients.serving.borrow().clone();
    for _ in 0..3 {
        let providers = map.of(service, line);
        let asking = providers.iter().map(|provider| one(clients, provider, &ask, &judge));
        let mut came = join_all(asking).await;
        let unwell = came.is_empty() || came.iter().any(|seen| seen.why.is_some());
        if unwell && let Some(now) = clients.serving_now().await {
            let serving = now.of(service, line);
            for seen in came.iter_mut().filter(|seen| seen.why.is_some()) {
                seen.left = !serving.contains(&seen.provider);
            }
            map = now;
        }
        let all_left = came.iter().all(|seen| seen.left);
        seen.append(&mut came);
        if !all_left {
            break;
        }
    }
    let (service, line) = (service.to_owned(), line.to_owned());
    let question = Question { at, service, line, what, seen, failed: false }.judged();
    state::lock(&clients.record).question(&question);
}

async fn one(
    clients: &Clients,
    provider: &str,
    ask: &impl Fn(&str) -> Ask,
    judge: &impl Fn(&str, i64, &[u8]) -> Result<(), Fault>,
) -> Seen {
    let host = provider.split_once('@').map_or("", |(_, host)| host);
    let url = clients.addresses.get(host).map_or(String::new(), |url| format!("{url}/"));
    let (at, begun) = (now_ms(), Instant::now());
    let came = clients.ask(ask(&url)).await;
    let took = begun.elapsed();
    let (judged, body) = match &came {
        Ok(reply) if reply.status == 200 => (judge(provider, at, &reply.body), &reply.body[..]),
        Ok(reply) => (Err(Fault::Silent(format!("HTTP {}", reply.status))), &[][..]),
        Err(error) => (Err(Fault::Silent(error.to_string())), &[][..]),
    };
    let (why, lied) = match judged {
        Ok(()) => (None, false),
        Err(Fault::Silent(why)) => (Some(why), false),
        Err(Fault::False(why)) => (Some(why), true),
    };
    let body = if lied { der::base64(&body[..body.len().min(4096)]) } else { String::new() };
    Seen { provider: provider.to_owned(), ms: ms(took), why, lied, left: false, body }
}
