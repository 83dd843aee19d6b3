//! Takes orders to revoke on, or refuses them: durable before it is acknowledged, from any process.
//!
//! Not known here: who may order (the system's accounts say that), what follows (`worker`).

use super::file::LaneFile;
use super::rows::{self, Row};
use crate::estate::Estate;
use crate::journal::JournalError;
use crate::revocation::{Certificate, Entry, Order, Reason, Said};
use jiff::Timestamp;
use std::io;

/// What the sites say of a certificate, before an order is taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The site.
    pub site: String,
    /// Its row; none when the site does not have the line; an error when it cannot be read.
    pub row: Result<Option<Row>, String>,
}

/// Reads a certificate's row at every site. Blocking.
pub fn examine(estate: &Estate, certificate: &Certificate) -> Vec<Found> {
    rows::sites(estate, &certificate.line)
        .map(|(site, database)| Found {
            site: site.to_owned(),
            row: rows::row(database, certificate),
        })
        .collect()
}

/// Takes an order on, or refuses it, durably: when this has answered, the entry is written and
/// synced. From any process, with or without a runner. Blocking: for a database that is busy and for
/// the lane's lock, seconds at most.
///
/// Refused are a line that the plan does not have, a certificate that no site knows, and one that is
/// revoked already unless `keyCompromise` is new. Where a site cannot be read the order is taken on:
/// nothing may keep the lane from working.
///
/// # Errors
/// The lane's file failed: nothing is acknowledged.
pub fn accept<'a>(
    file: &mut LaneFile,
    estate: &Estate,
    lines: impl Iterator<Item = &'a str>,
    mut order: Order,
) -> Result<Result<Entry, String>, JournalError> {
    let found = examine(estate, &order.certificate);
    let judged = judge_rows(&mut order, &found);
    let mut refusal = None;
    let entries = file.append(Timestamp::now(), |lane| {
        // Of what the lane itself has applied, the rows say nothing new: two orders are one.
        let known = lane.get(&order.certificate).is_some();
        let judged = lane.judge(&order, lines).and(if known { Ok(()) } else { judged });
        vec![match judged {
            Ok(()) => Said::Accepted(order),
            Err(why) => {
                refusal = Some(why.clone());
                Said::Refused { order, why }
            }
        }]
    })?;
    match (refusal, entries.into_iter().next_back()) {
        (Some(why), _) => Ok(Err(why)),
        (None, Some(entry)) => Ok(Ok(entry)),
        (None, None) => Err(JournalError::io(
            "writing the order".to_owned(),
            io::Error::other("it is not in the lane's journal"),
        )),
    }
}

/// What the rows have against an order.
fn judge_rows(order: &mut Order, found: &[Found]) -> Result<(), String> {
    let unread = found.iter().any(|found| found.row.is_err());
    let rows: Vec<Row> =
        found.iter().filter_map(|found| found.row.as_ref().ok().copied().flatten()).collect();
    let known = rows.iter().any(|row| *row != Row::Absent);
    if !known && !unread {
        let Certificate { line, serial } = &order.certificate;
        return Err(if rows.is_empty() {
            format!("no site has a database of `{line}` with certificates")
        } else {
            format!("no site has a certificate `{serial}` of `{line}`")
        });
    }
    let revoked: Vec<(i64, u8)> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Revoked { at, reason } => Some((*at, *reason)),
            _ => None,
        })
        .collect();
    // Revoked everywhere, and nothing new in the order.
    let Some(earliest) = revoked.iter().map(|(at, _)| *at).min() else { return Ok(()) };
    let compromised = Reason::KeyCompromise.code();
    let everywhere = rows.iter().all(|row| matches!(row, Row::Revoked { .. } | Row::Absent));
    let is_new = order.reason == Reason::KeyCompromise
        && revoked.iter().any(|(_, reason)| *reason != compromised);
    if everywhere && !unread && !is_new {
        let at =
            Timestamp::from_second(earliest).map_or_else(|_| String::new(), |at| at.to_string());
        return Err(format!("it was revoked at {at} already"));
    }
    if order.reason == Reason::KeyCompromise
        && let Ok(at) = Timestamp::from_second(earliest)
    {
        // A revocation never moves later.
        order.compromised_at = Some(order.compromised_at.map_or(at, |known| known.min(at)));
    }
    Ok(())
}
