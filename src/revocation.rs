//! The emergency lane as a fold: which revocations were asked for, applied, published, confirmed.
//!
//! What was written down is kept as sets, and everything else is derived from them, so neither the
//! order of the entries nor their doubling matters: two journals merge to one state. Whether a
//! revocation may have been lost at a site is derived as well, from the run's own records that
//! touched the site, so no crash can forget it. Not known here: steps, files, databases, clocks.

use crate::event::{Person, Seq};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Version of the lane's journal.
pub const FORMAT: u32 = 1;

/// Why a certificate is revoked: the reasons of RFC 5280 that an order may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the word of RFC 5280 itself")]
pub enum Reason {
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason with its code and its name in RFC 5280.
    pub const ALL: [(u8, &'static str, Self); 6] = [
        (0, "unspecified", Self::Unspecified),
        (1, "keyCompromise", Self::KeyCompromise),
        (3, "affiliationChanged", Self::AffiliationChanged),
        (4, "superseded", Self::Superseded),
        (5, "cessationOfOperation", Self::CessationOfOperation),
        (9, "privilegeWithdrawn", Self::PrivilegeWithdrawn),
    ];

    /// The code of RFC 5280, section 5.3.1.
    pub fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, _, reason)| *reason == self).map_or(0, |(code, _, _)| *code)
    }

    /// The name in RFC 5280.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, _, reason)| *reason == self).map_or("", |(_, name, _)| name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Reason {
    type Err = String;

    /// By code or name; upper case, dashes and underscores do not matter.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let found = Self::ALL
            .iter()
            .find(|(code, name, _)| text == code.to_string() || plain(text) == plain(name));
        found.map(|(_, _, reason)| *reason).ok_or_else(|| {
            let names: Vec<String> =
                Self::ALL.iter().map(|(code, name, _)| format!("{name} ({code})")).collect();
            format!(
                "`{text}` is not a reason that may be ordered; it is one of {}",
                names.join(", ")
            )
        })
    }
}

/// A certificate of a product line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The line's name.
    pub line: String,
    /// Its serial in lower-case hex, as in the line's database.
    pub serial: String,
}

impl Certificate {
    /// A certificate as people name it: the serial may be written in upper case, with colons, with
    /// `0x`.
    ///
    /// # Errors
    /// When the serial is not one (1 to 20 bytes of hex).
    pub fn new(line: impl Into<String>, serial: &str) -> Result<Self, String> {
        let plain: String = serial
            .trim()
            .trim_start_matches("0x")
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let fits = (1..=40).contains(&plain.len()) && plain.chars().all(|c| c.is_ascii_hexdigit());
        if !fits {
            return Err(format!("`{serial}` is not a serial number: 1 to 20 bytes in hex"));
        }
        Ok(Self { line: line.into(), serial: plain })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}", self.serial, self.line)
    }
}

/// A person's order to revoke one certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Which.
    pub certificate: Certificate,
    /// Why.
    pub reason: Reason,
    /// When it was received: the clock of the duty to revoke starts here.
    pub received_at: Timestamp,
    /// An earlier moment since which the key is known to be compromised; counts for
    /// `keyCompromise` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_at: Option<Timestamp>,
    /// Who ordered it.
    pub by: Person,
}

impl Order {
    /// What the order fixes when it is accepted: a UTC second, the same everywhere.
    pub fn terms(&self) -> Terms {
        let mut at = self.received_at;
        if let (Reason::KeyCompromise, Some(earlier)) = (self.reason, self.compromised_at) {
            at = at.min(earlier);
        }
        let revoked_at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        Terms { revoked_at, reason: self.reason }
    }
}

/// The revocation as every site, responder and CRL must show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// revocationTime, a whole second.
    pub revoked_at: Timestamp,
    /// The reason.
    pub reason: Reason,
}

/// What is written down in the lane's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Said {
    /// The first entry.
    Begun {
        /// [`FORMAT`].
        format: u32,
        /// Name of the run.
        run: String,
    },
    /// An order was taken on. It can never be taken back.
    Accepted(Order),
    /// An order was not taken on; changes nothing.
    Refused {
        /// The order.
        order: Order,
        /// Why.
        why: String,
    },
    /// The row at a site was brought to the terms, or found there so, or there is none.
    Applied {
        /// Which.
        certificate: Certificate,
        /// The site.
        site: String,
        /// The terms that the row has now.
        terms: Terms,
        /// The site holds no such row (a copy has not arrived yet): nothing to revoke until
        /// something touches the site.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        absent: bool,
        /// The newest record of the run that was known before the row was read.
        as_of: Seq,
    },
    /// A provider answered with the terms: asked past caches, verified.
    Published {
        /// Which.
        certificate: Certificate,
        /// Full name of the provider (`ocsp@to/ocsp-1[geotrust]`): OCSP and CRL alike.
        provider: String,
        /// The terms that it answered.
        terms: Terms,
        /// The newest record of the run that was known before it was asked.
        as_of: Seq,
    },
    /// A provider that had published it answered otherwise: it is asked for again.
    Lapsed {
        /// Which.
        certificate: Certificate,
        /// Full name of the provider.
        provider: String,
        /// What it answered.
        what: String,
    },
    /// Applied at every site, published at every serving provider.
    Confirmed {
        /// Which.
        certificate: Certificate,
        /// The newest record of the run then.
        as_of: Seq,
    },
}

/// An entry of the lane's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the lane's journal, from 1.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub said: Said,
}

/// Whether what touches a site still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// A job is under way there.
    Running,
    /// It has ended, one way or another.
    Ended,
}

/// A job of the run that could lose a revocation at a site: a restore, a transfer or its undo, a
/// switch, the start of a provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The line whose data or answers it touches.
    pub line: String,
    /// At which site.
    pub site: String,
    /// The job's newest record: its start while it runs, then its end.
    pub seq: Seq,
    /// Whether it still runs.
    pub until: Until,
}

/// The world around the lane, as the run tells it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// Line to the sites that have it, or had it at any moment since the orders.
    pub sites: BTreeMap<String, BTreeSet<String>>,
    /// Line to the full names of the OCSP and CRL providers that clients are sent to. A line that
    /// does not stand here is one of which nothing is known yet: it is never confirmed.
    pub serving: BTreeMap<String, BTreeSet<String>>,
    /// What touched which site; the same line and site may stand there several times.
    pub touches: Vec<Touch>,
}

impl Scene {
    /// The newest record that touched the site for the line, and whether anything there runs.
    fn touched(&self, line: &str, site: &str) -> (Seq, bool) {
        let here = self.touches.iter().filter(|touch| touch.line == line && touch.site == site);
        here.fold((0, false), |(seq, running), touch| {
            (seq.max(touch.seq), running || touch.until == Until::Running)
        })
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Bring the row at the site to the terms; then say [`Said::Applied`].
    Apply {
        /// Which.
        certificate: Certificate,
        /// Where.
        site: String,
        /// To which terms.
        terms: Terms,
        /// It was applied there before and may have been lost.
        again: bool,
    },
    /// Ask the provider until it answers with the terms; then say [`Said::Published`].
    Confirm {
        /// Which.
        certificate: Certificate,
        /// Whom.
        provider: String,
        /// Which terms it must answer.
        terms: Terms,
    },
    /// Everything is applied and published: say [`Said::Confirmed`].
    Conclude {
        /// Which.
        certificate: Certificate,
    },
}

/// How far a revocation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Taken on.
    Accepted,
    /// Applied somewhere, and something may have lost it since.
    Suspect,
    /// Applied at every site of the line.
    Applied,
    /// Published at every serving provider as well.
    Confirmed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Applied {
    as_of: Seq,
    seq: Seq,
    at: Timestamp,
    terms: Terms,
    absent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Published {
    as_of: Seq,
    seq: Seq,
    at: Timestamp,
    terms: Terms,
}

/// All that was written down about one certificate. Sets only: merging is union.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    orders: BTreeSet<Order>,
    applied: BTreeMap<String, BTreeSet<Applied>>,
    published: BTreeMap<String, BTreeSet<Published>>,
    lapsed: BTreeMap<String, BTreeSet<(Seq, Timestamp, String)>>,
    confirmed: BTreeSet<(Seq, Timestamp)>,
}

impl Revocation {
    /// The terms: earliest time, `keyCompromise` wins, else the reason of the earliest order. None
    /// when no order was accepted.
    pub fn terms(&self) -> Option<Terms> {
        let first = self.orders.iter().map(Order::terms).min()?;
        let compromised = self.orders.iter().any(|order| order.reason == Reason::KeyCompromise);
        let reason = if compromised { Reason::KeyCompromise } else { first.reason };
        Some(Terms { reason, ..first })
    }

    /// The accepted orders.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter()
    }

    /// When the first order was received.
    pub fn received_at(&self) -> Option<Timestamp> {
        self.orders.iter().map(|order| order.received_at).min()
    }

    /// When it was confirmed for the first time.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed.iter().map(|(_, at)| *at).min()
    }

    /// From the first order to the first confirmation.
    pub fn delay(&self) -> Option<SignedDuration> {
        Some(self.confirmed_at()?.duration_since(self.received_at()?))
    }

    /// How often it was brought to a site after the first time, over all sites.
    pub fn reapplied(&self) -> usize {
        self.applied.values().map(|times| times.len().saturating_sub(1)).sum()
    }

    /// Site to the moment when it was applied there first.
    pub fn applied_at(&self) -> BTreeMap<&str, Timestamp> {
        let first = self.applied.iter().filter_map(|(site, times)| {
            let at = times.iter().filter(|applied| !applied.absent).map(|applied| applied.at).min();
            Some((site.as_str(), at?))
        });
        first.collect()
    }

    /// Provider to the moment when it published it first.
    pub fn published_at(&self) -> BTreeMap<&str, Timestamp> {
        let first = self.published.iter().filter_map(|(provider, times)| {
            Some((provider.as_str(), times.iter().map(|published| published.at).min()?))
        });
        first.collect()
    }

    /// As of which record the row at the site was last seen with these terms.
    fn applied_as_of(&self, site: &str, terms: Terms) -> Option<Seq> {
        let times = self.applied.get(site)?;
        times.iter().filter(|applied| applied.terms == terms).map(|applied| applied.as_of).max()
    }

    /// As of which record the provider was last seen with these terms and has not lapsed since.
    fn published_as_of(&self, provider: &str, terms: Terms) -> Option<Seq> {
        let lapsed = self.lapsed.get(provider).and_then(BTreeSet::last).map_or(0, |(seq, ..)| *seq);
        let times = self.published.get(provider)?;
        let valid = times.iter().filter(|seen| seen.terms == terms && seen.seq > lapsed);
        valid.map(|seen| seen.as_of).max()
    }
}

/// The emergency lane: the fold of its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    revocations: BTreeMap<Certificate, Revocation>,
    refused: BTreeMap<(Seq, Timestamp), (Order, String)>,
}

impl Lane {
    /// Nothing was ordered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one entry. Any order will do, and so will taking one in twice.
    pub fn apply(&mut self, entry: &Entry) {
        let (seq, at) = (entry.seq, entry.at);
        match &entry.said {
            Said::Begun { .. } => {}
            Said::Accepted(order) => {
                self.of(&order.certificate).orders.insert(order.clone());
            }
            Said::Refused { order, why } => {
                self.refused.insert((seq, at), (order.clone(), why.clone()));
            }
            Said::Applied { certificate, site, terms, absent, as_of } => {
                let (as_of, terms, absent) = (*as_of, *terms, *absent);
                let times = self.of(certificate).applied.entry(site.clone()).or_default();
                times.insert(Applied { as_of, seq, at, terms, absent });
            }
            Said::Published { certificate, provider, terms, as_of } => {
                let (as_of, terms) = (*as_of, *terms);
                let times = self.of(certificate).published.entry(provider.clone()).or_default();
                times.insert(Published { as_of, seq, at, terms });
            }
            Said::Lapsed { certificate, provider, what } => {
                let times = self.of(certificate).lapsed.entry(provider.clone()).or_default();
                times.insert((seq, at, what.clone()));
            }
            Said::Confirmed { certificate, .. } => {
                self.of(certificate).confirmed.insert((seq, at));
            }
        }
    }

    fn of(&mut self, certificate: &Certificate) -> &mut Revocation {
        self.revocations.entry(certificate.clone()).or_default()
    }

    /// Whether an order can be taken on: what [`Said::Accepted`] or [`Said::Refused`] should say.
    /// `lines` are those of the plan. Whether the certificate exists is for the databases to say.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn judge<'a>(
        &self,
        order: &Order,
        mut lines: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let Certificate { line, .. } = &order.certificate;
        if !lines.any(|known| known == line) {
            return Err(format!("the plan has no line `{line}`"));
        }
        let Some(known) = self.get(&order.certificate) else { return Ok(()) };
        let (Some(terms), Some(_)) = (known.terms(), known.confirmed_at()) else { return Ok(()) };
        if order.reason == Reason::KeyCompromise && terms.reason != Reason::KeyCompromise {
            return Ok(());
        }
        Err(format!("it was revoked at {} already ({})", terms.revoked_at, terms.reason))
    }

    /// What is known of a certificate; none without an accepted order.
    pub fn get(&self, certificate: &Certificate) -> Option<&Revocation> {
        self.revocations.get(certificate).filter(|revocation| !revocation.orders.is_empty())
    }

    /// Every accepted revocation.
    pub fn revocations(&self) -> impl Iterator<Item = (&Certificate, &Revocation)> {
        self.revocations.iter().filter(|(_, revocation)| !revocation.orders.is_empty())
    }

    /// The accepted revocations of a line with the terms that its rows must have: what a verify of
    /// two databases compares modulo, and demands.
    pub fn of_line<'a>(
        &'a self,
        line: &'a str,
    ) -> impl Iterator<Item = (&'a Certificate, Terms)> + 'a {
        let here = self.revocations().filter(move |(certificate, _)| certificate.line == line);
        here.filter_map(|(certificate, revocation)| Some((certificate, revocation.terms()?)))
    }

    /// Orders that were refused, in order, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&Order, &str)> {
        self.refused.values().map(|(order, why)| (order, why.as_str()))
    }

    /// Whether a revocation may have been lost at a site: something that touched the site runs, or
    /// has a record later than the reading of the row. Only reading the row again ends it.
    pub fn is_suspect(&self, certificate: &Certificate, site: &str, scene: &Scene) -> bool {
        let Some(revocation) = self.get(certificate) else { return false };
        let (touched, running) = scene.touched(&certificate.line, site);
        let applied = revocation.applied.get(site).and_then(BTreeSet::last);
        applied.is_some_and(|applied| running || applied.as_of < touched)
    }

    /// Whether the row at the site has the terms and nothing can have taken them since.
    fn is_applied(&self, certificate: &Certificate, site: &str, scene: &Scene) -> bool {
        let (touched, running) = scene.touched(&certificate.line, site);
        !running && self.is_read(certificate, site, touched)
    }

    /// Whether the row was read, with the terms, as of the newest record that touched the site.
    fn is_read(&self, certificate: &Certificate, site: &str, touched: Seq) -> bool {
        let Some(revocation) = self.get(certificate) else { return false };
        let as_of = revocation.terms().and_then(|terms| revocation.applied_as_of(site, terms));
        as_of.is_some_and(|as_of| as_of >= touched)
    }

    /// Whether the provider answers with the terms and nothing at its site can have changed that.
    fn is_published(&self, certificate: &Certificate, provider: &str, scene: &Scene) -> bool {
        let Some(revocation) = self.get(certificate) else { return false };
        let (touched, running) =
            site_of(provider).map_or((0, false), |site| scene.touched(&certificate.line, site));
        let as_of =
            revocation.terms().and_then(|terms| revocation.published_as_of(provider, terms));
        !running && as_of.is_some_and(|as_of| as_of >= touched)
    }

    /// How far a revocation has come; none without an accepted order.
    pub fn stage(&self, certificate: &Certificate, scene: &Scene) -> Option<Stage> {
        self.get(certificate)?;
        let sites = names(&scene.sites, &certificate.line);
        if sites.clone().any(|site| self.is_suspect(certificate, site, scene)) {
            return Some(Stage::Suspect);
        }
        let applied = sites.clone().all(|site| self.is_applied(certificate, site, scene));
        if !applied || sites.count() == 0 {
            return Some(Stage::Accepted);
        }
        let published = scene.serving.get(&certificate.line).is_some_and(|serving| {
            serving.iter().all(|provider| self.is_published(certificate, provider, scene))
        });
        Some(if published { Stage::Confirmed } else { Stage::Applied })
    }

    /// Whether every accepted revocation of the line is confirmed and none is suspect: only then
    /// may its verify, its go-live and its reopen start.
    pub fn is_clear(&self, line: &str, scene: &Scene) -> bool {
        let mut here = self.of_line(line);
        here.all(|(certificate, _)| self.stage(certificate, scene) == Some(Stage::Confirmed))
    }

    /// Whether every accepted revocation of the line is published on the provider: only then may
    /// clients be sent there.
    pub fn may_serve(&self, line: &str, provider: &str, scene: &Scene) -> bool {
        self.of_line(line).all(|(certificate, _)| self.is_published(certificate, provider, scene))
    }

    /// What is to be done now, by certificate, rows before answers. A row is wanted again at once
    /// when a job that touches its site starts, and once more when it has ended.
    pub fn wanted(&self, scene: &Scene) -> Vec<Want> {
        let mut wants = Vec::new();
        for (certificate, revocation) in self.revocations() {
            let Some(terms) = revocation.terms() else { continue };
            let of = || certificate.clone();
            for site in names(&scene.sites, &certificate.line) {
                if !self.is_read(certificate, site, scene.touched(&certificate.line, site).0) {
                    let again = revocation.applied.contains_key(site);
                    wants.push(Want::Apply { certificate: of(), site: site.into(), terms, again });
                }
            }
            for provider in names(&scene.serving, &certificate.line) {
                let ready = site_of(provider).is_none_or(|site| {
                    let (touched, running) = scene.touched(&certificate.line, site);
                    let has_line = names(&scene.sites, &certificate.line).any(|has| has == site);
                    !running && (!has_line || self.is_read(certificate, site, touched))
                });
                if ready && !self.is_published(certificate, provider, scene) {
                    wants.push(Want::Confirm {
                        certificate: of(),
                        provider: provider.into(),
                        terms,
                    });
                }
            }
            let confirmed = self.stage(certificate, scene) == Some(Stage::Confirmed);
            if confirmed && !self.is_concluded(revocation) {
                wants.push(Want::Conclude { certificate: of() });
            }
        }
        wants
    }

    /// Whether `Confirmed` was written down after the newest evidence that it rests on.
    fn is_concluded(&self, revocation: &Revocation) -> bool {
        let applied = revocation.applied.values().flatten().map(|applied| applied.seq);
        let published = revocation.published.values().flatten().map(|published| published.seq);
        let newest = applied.chain(published).max().unwrap_or(0);
        revocation.confirmed.last().is_some_and(|(seq, _)| *seq > newest)
    }
}

fn names<'a>(
    map: &'a BTreeMap<String, BTreeSet<String>>,
    line: &str,
) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
    map.get(line).into_iter().flatten().map(String::as_str)
}

/// The site in a provider's full name: `to` in `ocsp@to/ocsp-1[geotrust]`.
fn site_of(provider: &str) -> Option<&str> {
    Some(provider.split_once('@')?.1.split_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn certificate(serial: u8) -> Certificate {
        Certificate::new("geotrust", &format!("{serial:02X}")).expect("a serial")
    }

    fn order(serial: u8, reason: Reason, second: i64) -> Order {
        let by = Person { login: "kim".into(), uid: 1000, groups: vec!["security".into()] };
        let received_at = at(second);
        Order { certificate: certificate(serial), reason, received_at, compromised_at: None, by }
    }

    fn scene() -> Scene {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut scene = Scene::default();
        scene.sites.insert("geotrust".into(), set(&["from", "to"]));
        scene
            .serving
            .insert("geotrust".into(), set(&["crl@from/crl-1", "ocsp@to/ocsp-1[geotrust]"]));
        scene
    }

    /// Does all that is wanted, until nothing is; answers how many turns it took.
    fn work(lane: &mut Lane, scene: &Scene, seq: &mut Seq, as_of: Seq) -> usize {
        for turn in 0..10 {
            let wants = lane.wanted(scene);
            if wants.is_empty() {
                return turn;
            }
            for want in wants {
                *seq += 1;
                let said = match want {
                    Want::Apply { certificate, site, terms, .. } => {
                        Said::Applied { certificate, site, terms, absent: false, as_of }
                    }
                    Want::Confirm { certificate, provider, terms } => {
                        Said::Published { certificate, provider, terms, as_of }
                    }
                    Want::Conclude { certificate } => Said::Confirmed { certificate, as_of },
                };
                lane.apply(&Entry { seq: *seq, at: at(1000 + *seq as i64), said });
            }
        }
        panic!("it never ends: {:?}", lane.wanted(scene));
    }

    fn accepted(orders: &[Order]) -> (Lane, Seq) {
        let mut lane = Lane::new();
        for (seq, order) in (1..).zip(orders) {
            lane.apply(&Entry { seq, at: order.received_at, said: Said::Accepted(order.clone()) });
        }
        (lane, orders.len() as Seq)
    }

    #[test]
    fn an_order_comes_to_its_confirmation_and_rests() {
        let scene = scene();
        let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
        let certificate = certificate(1);
        assert!(!lane.is_clear("geotrust", &scene));
        assert_eq!(lane.stage(&certificate, &scene), Some(Stage::Accepted));
        let wants = lane.wanted(&scene);
        assert!(
            wants.iter().all(|want| matches!(want, Want::Apply { again: false, .. })),
            "{wants:?}"
        );
        work(&mut lane, &scene, &mut seq, 7);
        assert_eq!(lane.stage(&certificate, &scene), Some(Stage::Confirmed));
        assert!(lane.is_clear("geotrust", &scene));
        assert!(lane.may_serve("geotrust", "ocsp@to/ocsp-1[geotrust]", &scene));
        assert!(!lane.may_serve("geotrust", "ocsp@to/ocsp-2[geotrust]", &scene));
        let revocation = lane.get(&certificate).expect("accepted");
        assert_eq!(revocation.reapplied(), 0);
        assert!(revocation.delay().expect("confirmed") > SignedDuration::ZERO);
    }

    #[test]
    fn what_touches_a_site_makes_it_suspect_until_the_row_is_read_again() {
        let mut scene = scene();
        let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
        work(&mut lane, &scene, &mut seq, 7);
        let touch = |seq, until| Touch { line: "geotrust".into(), site: "to".into(), seq, until };

        scene.touches = vec![touch(9, Until::Running)];
        assert_eq!(lane.stage(&certificate(1), &scene), Some(Stage::Suspect));
        assert!(lane.is_suspect(&certificate(1), "to", &scene));
        assert!(!lane.is_suspect(&certificate(1), "from", &scene));
        // Reading while it runs is right and ends nothing: the job may still undo it.
        work(&mut lane, &scene, &mut seq, 9);
        assert!(!lane.is_clear("geotrust", &scene));

        scene.touches = vec![touch(12, Until::Ended)];
        assert!(!lane.is_clear("geotrust", &scene));
        assert!(lane.wanted(&scene).contains(&Want::Apply {
            certificate: certificate(1),
            site: "to".into(),
            terms: order(1, Reason::Superseded, 100).terms(),
            again: true,
        }));
        // A reading that began before the end was known proves nothing.
        seq += 1;
        let said = Said::Applied {
            certificate: certificate(1),
            site: "to".into(),
            terms: order(1, Reason::Superseded, 100).terms(),
            absent: false,
            as_of: 11,
        };
        lane.apply(&Entry { seq, at: at(2000), said });
        assert!(!lane.is_clear("geotrust", &scene));
        work(&mut lane, &scene, &mut seq, 12);
        assert!(lane.is_clear("geotrust", &scene));
        assert!(lane.get(&certificate(1)).expect("accepted").reapplied() >= 2);
        // Another line's touch is none of ours.
        scene.touches.push(Touch {
            line: "thawte".into(),
            site: "to".into(),
            seq: 40,
            until: Until::Running,
        });
        assert!(lane.is_clear("geotrust", &scene));
    }

    #[test]
    fn a_provider_that_answers_otherwise_reopens_it() {
        let scene = scene();
        let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
        work(&mut lane, &scene, &mut seq, 7);
        seq += 1;
        let provider = "crl@from/crl-1".to_owned();
        let said = Said::Lapsed { certificate: certificate(1), provider, what: "good".into() };
        lane.apply(&Entry { seq, at: at(3000), said });
        assert!(!lane.is_clear("geotrust", &scene));
        work(&mut lane, &scene, &mut seq, 7);
        assert!(lane.is_clear("geotrust", &scene));
    }

    #[test]
    fn the_earliest_time_and_a_compromised_key_win() {
        let mut compromised = order(1, Reason::KeyCompromise, 300);
        compromised.compromised_at = Some(at(50));
        let mut backdated = order(1, Reason::Superseded, 200);
        backdated.compromised_at = Some(at(10)); // counts for a compromised key only
        let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100), backdated.clone()]);
        let terms = |lane: &Lane| lane.get(&certificate(1)).and_then(Revocation::terms);
        let first = Terms { revoked_at: at(100), reason: Reason::Superseded };
        assert_eq!(terms(&lane), Some(first));
        let scene = scene();
        work(&mut lane, &scene, &mut seq, 1);
        assert!(lane.is_clear("geotrust", &scene));
        let judged = |lane: &Lane, order: &Order| lane.judge(order, ["geotrust"].into_iter());
        assert!(judged(&lane, &backdated).is_err(), "revoked already");
        assert!(judged(&lane, &compromised).is_ok(), "a compromised key is news");
        seq += 1;
        lane.apply(&Entry { seq, at: at(300), said: Said::Accepted(compromised.clone()) });
        assert_eq!(terms(&lane), Some(Terms { revoked_at: at(50), reason: Reason::KeyCompromise }));
        assert!(!lane.is_clear("geotrust", &scene), "the new terms are not applied yet");
        work(&mut lane, &scene, &mut seq, 1);
        assert!(lane.is_clear("geotrust", &scene));
        assert!(judged(&lane, &compromised).is_err());
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (mut lane, seq) = accepted(&[order(1, Reason::Superseded, 100)]);
        let before = lane.clone();
        let refused = order(2, Reason::Superseded, 100);
        assert!(lane.judge(&refused, ["thawte"].into_iter()).is_err(), "another line");
        let said = Said::Refused { order: refused, why: "no such certificate".into() };
        lane.apply(&Entry { seq: seq + 1, at: at(1), said });
        assert_eq!(lane.wanted(&scene()), before.wanted(&scene()));
        assert_eq!(lane.refused().count(), 1);
    }

    #[test]
    fn nothing_is_confirmed_where_nothing_is_known_of_who_serves() {
        let scene = Scene { serving: BTreeMap::new(), ..scene() };
        let (mut lane, mut seq) = accepted(&[order(1, Reason::Superseded, 100)]);
        work(&mut lane, &scene, &mut seq, 1);
        assert_eq!(lane.stage(&certificate(1), &scene), Some(Stage::Applied));
        assert!(!lane.is_clear("geotrust", &scene));
        assert!(lane.is_clear("thawte", &scene), "no order, nothing to wait for");
    }

    #[test]
    fn serials_and_reasons_are_read_as_people_write_them() {
        let plain = Certificate::new("a", "0aff").expect("a serial");
        assert_eq!(Certificate::new("a", "0A:FF"), Ok(plain.clone()));
        assert_eq!(Certificate::new("a", "0x0AFF"), Ok(plain));
        for bad in ["", "0x", "xyz", "12 34", &"0".repeat(41)] {
            assert!(Certificate::new("a", bad).is_err(), "{bad}");
        }
        for text in ["1", "keyCompromise", "key-compromise", "KEY_COMPROMISE"] {
            assert_eq!(text.parse(), Ok(Reason::KeyCompromise));
        }
        for bad in ["2", "6", "8", "caCompromise", "", "certificateHold"] {
            let why = bad.parse::<Reason>().expect_err(bad);
            assert!(why.contains("keyCompromise (1)"), "{why}");
        }
    }

    fn any_said() -> impl Strategy<Value = Said> {
        let reason = prop::sample::select(Reason::ALL.map(|(_, _, reason)| reason).to_vec());
        let site = prop::sample::select(vec!["from", "to"]);
        let provider = prop::sample::select(vec!["crl@from/crl-1", "ocsp@to/ocsp-1[geotrust]"]);
        (0..6, 0..3_u8, reason, 0..400_i64, site, provider, 0..20_u64, any::<bool>()).prop_map(
            |(kind, serial, reason, second, site, provider, as_of, flag)| {
                let order = order(serial, reason, second);
                let (terms, certificate) = (order.terms(), certificate(serial));
                match kind {
                    0 | 1 => Said::Accepted(order),
                    2 => {
                        let site = site.to_owned();
                        Said::Applied { certificate, site, terms, absent: flag, as_of }
                    }
                    3 => Said::Published { certificate, provider: provider.into(), terms, as_of },
                    4 if flag => Said::Refused { order, why: "no".into() },
                    4 => Said::Confirmed { certificate, as_of },
                    _ => {
                        let provider = provider.to_owned();
                        Said::Lapsed { certificate, provider, what: "good".into() }
                    }
                }
            },
        )
    }

    fn any_touch() -> impl Strategy<Value = Touch> {
        (prop::sample::select(vec!["from", "to"]), 0..20_u64, any::<bool>()).prop_map(
            |(site, seq, running)| Touch {
                line: "geotrust".into(),
                site: site.into(),
                seq,
                until: if running { Until::Running } else { Until::Ended },
            },
        )
    }

    proptest! {
        /// R5, R17, R18: any order, any doubling, any cut into two journals: one state.
        #[test]
        fn entries_fold_to_one_state_in_any_order(
            said in prop::collection::vec(any_said(), 0..40),
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
            doubled in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let entries: Vec<Entry> = (1..)
                .zip(said)
                .map(|(seq, said)| Entry { seq, at: at(seq as i64), said })
                .collect();
            let fold = |entries: &[Entry]| {
                let mut lane = Lane::new();
                entries.iter().for_each(|entry| lane.apply(entry));
                lane
            };
            let straight = fold(&entries);
            let mut moved = entries.clone();
            if !moved.is_empty() {
                for (one, other) in &swaps {
                    let (one, other) = (one.index(moved.len()), other.index(moved.len()));
                    moved.swap(one, other);
                }
                for again in &doubled {
                    let entry = moved[again.index(moved.len())].clone();
                    moved.push(entry);
                }
            }
            prop_assert_eq!(fold(&moved), straight);
        }

        /// R2: nothing that is said later shrinks the accepted set or makes terms later or weaker.
        #[test]
        fn accepted_stays_accepted(
            said in prop::collection::vec(any_said(), 1..40),
        ) {
            let mut lane = Lane::new();
            for (seq, said) in (1..).zip(said) {
                let before: Vec<_> =
                    lane.revocations().map(|(c, r)| (c.clone(), r.terms())).collect();
                lane.apply(&Entry { seq, at: at(seq as i64), said });
                for (certificate, terms) in before {
                    let now = lane.get(&certificate).and_then(Revocation::terms);
                    let (now, terms) = (now.expect("kept"), terms.expect("had"));
                    prop_assert!(now.revoked_at <= terms.revoked_at);
                    prop_assert!(
                        terms.reason != Reason::KeyCompromise || now.reason == Reason::KeyCompromise
                    );
                }
            }
        }

        /// R3, R6, R9: from any state, when nothing touches any more, all is confirmed in few turns;
        /// and while something runs at a site of the line, its revocations are never clear.
        #[test]
        fn everything_is_confirmed_in_the_end(
            said in prop::collection::vec(any_said(), 0..40),
            touches in prop::collection::vec(any_touch(), 0..4),
        ) {
            let mut lane = Lane::new();
            let mut seq = 0;
            for said in said {
                seq += 1;
                lane.apply(&Entry { seq, at: at(seq as i64), said });
            }
            let mut scene = Scene { touches, ..scene() };
            let running = scene.touches.iter().any(|touch| touch.until == Until::Running);
            work(&mut lane, &scene, &mut seq, 20);
            let some = lane.of_line("geotrust").count() > 0;
            prop_assert_eq!(lane.is_clear("geotrust", &scene), !(some && running));
            for touch in &mut scene.touches {
                if touch.until == Until::Running {
                    *touch = Touch { seq: 21, until: Until::Ended, ..touch.clone() };
                }
            }
            work(&mut lane, &scene, &mut seq, 21);
            prop_assert!(lane.is_clear("geotrust", &scene));
            for (certificate, revocation) in lane.revocations() {
                prop_assert_eq!(lane.stage(certificate, &scene), Some(Stage::Confirmed));
                prop_assert!(revocation.confirmed_at().is_some());
            }
        }
    }
}
