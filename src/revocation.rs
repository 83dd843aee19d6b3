//! The emergency lane as a fold: which revocations were asked for, applied, published, confirmed.
//!
//! What was written down is kept as sets, and everything else is derived from them, so neither the
//! order of the entries nor their doubling matters: two journals merge to one state. Whether a
//! revocation may have been lost at a site is derived as well, from the run's own records that
//! touched the site, so no crash can forget it. Not known here: steps, files, databases, clocks.

mod words;

#[cfg(test)]
mod tests;

pub use words::{Certificate, Entry, FORMAT, Order, Reason, Said, Terms};

use crate::event::Seq;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
