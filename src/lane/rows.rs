//! The rows of the lines' databases, as the emergency lane reads and changes them: directly at every
//! site, whoever holds the writer. Blocking; every change is one short transaction.
//!
//! Not known here: when and why a row is wanted; other tables than `certificates`.

use crate::estate::{Database, Estate};
use crate::revocation::{Certificate, Reason, Terms};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::time::Duration;

/// A writer of the line may hold the database this long before we give up for now.
const BUSY: Duration = Duration::from_secs(5);

/// A certificate's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// The site has the line, but not this certificate.
    Absent,
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// Unix seconds.
        at: i64,
        /// CRLReason; 0: unspecified.
        reason: u8,
    },
}

/// What became of bringing a row to terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// The row has the terms (already, or now).
    There,
    /// There is no such row.
    Absent,
    /// The row was revoked earlier than the terms, or more strongly: a revocation never moves later
    /// nor becomes weaker, so these are to be everybody's terms.
    Earlier {
        /// Unix seconds.
        at: i64,
        /// The stronger reason.
        reason: Reason,
    },
}

/// The sites that have a database of this name.
pub(super) fn sites<'a>(
    estate: &'a Estate,
    line: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Database)> + 'a {
    estate.sites.iter().filter_map(move |(name, site)| {
        let database = site.databases.get(line)?;
        Some((name.as_str(), &**database))
    })
}

/// Whether the site has the line: its database has the table of certificates.
pub(super) fn has_line(database: &Database) -> Result<bool, String> {
    match open(database)? {
        Some(connection) => has_table(&connection).map_err(|error| error.to_string()),
        None => Ok(false),
    }
}

/// The row of a certificate; none when the site does not have the line.
pub(super) fn row(database: &Database, certificate: &Certificate) -> Result<Option<Row>, String> {
    let Some(connection) = open(database)? else { return Ok(None) };
    let read = || -> rusqlite::Result<Option<Row>> {
        if !has_table(&connection)? {
            return Ok(None);
        }
        Ok(Some(select(&connection, certificate)?.map_or(Row::Absent, |(_, row)| row)))
    };
    read().map_err(|error| error.to_string())
}

/// Brings a row to the terms. Applied a second time it changes nothing.
pub(super) fn bring(
    database: &Database,
    certificate: &Certificate,
    terms: Terms,
) -> Result<Brought, String> {
    let Some(mut connection) = open(database)? else { return Ok(Brought::Absent) };
    let mut change = || -> rusqlite::Result<Brought> {
        // Immediate: what is read here is what is changed.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !has_table(&transaction)? {
            return Ok(Brought::Absent);
        }
        let Some((serial, row)) = select(&transaction, certificate)? else {
            return Ok(Brought::Absent);
        };
        let wanted = (terms.revoked_at.as_second(), terms.reason.code());
        if let Row::Revoked { at, reason } = row {
            if (at, reason) == wanted {
                return Ok(Brought::There);
            }
            if let Some(earlier) = stronger(at, reason, terms) {
                return Ok(earlier);
            }
        }
        transaction.execute(
            "UPDATE certificates SET status = 'revoked', revoked_at = ?2, reason = ?3 WHERE serial = ?1",
            (&serial, wanted.0, wanted.1),
        )?;
        transaction.commit()?;
        Ok(Brought::There)
    };
    change().map_err(|error| error.to_string())
}

/// Where a revoked row beats the terms: the earlier time, and `keyCompromise` over all.
fn stronger(at: i64, reason: u8, terms: Terms) -> Option<Brought> {
    let compromised = reason == Reason::KeyCompromise.code();
    let beats =
        at < terms.revoked_at.as_second() || (compromised && terms.reason != Reason::KeyCompromise);
    if !beats {
        return None;
    }
    let earliest = at.min(terms.revoked_at.as_second());
    let both = if compromised || terms.reason == Reason::KeyCompromise {
        Reason::KeyCompromise
    } else {
        // A reason that no order can name is replaced by the order's.
        let of_row = Reason::ALL.iter().find(|(code, ..)| *code == reason);
        of_row.map_or(terms.reason, |(.., reason)| *reason)
    };
    Some(Brought::Earlier { at: earliest, reason: both })
}

/// Opens what exists; none when there is no such file yet.
fn open(database: &Database) -> Result<Option<Connection>, String> {
    let path = match database {
        Database::Sqlite(path) => path,
        Database::Postgres { .. } => {
            return Err("revocations in PostgreSQL are not carried out by this version".to_owned());
        }
    };
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        // A revocation must outlive a power cut from the moment that it is called applied.
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    };
    connect().map(Some).map_err(|error| format!("opening `{}`: {error}", path.display()))
}

fn has_table(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'certificates'",
        [],
        |row| row.get(0),
    )
}

/// The row with the serial as the database spells it: people and systems differ in leading zeros.
fn select(
    connection: &Connection,
    certificate: &Certificate,
) -> rusqlite::Result<Option<(String, Row)>> {
    let plain = certificate.serial.trim_start_matches('0');
    let even = format!("{}{plain}", if plain.len() % 2 == 1 { "0" } else { "" });
    let led = format!("00{even}");
    connection
        .query_row(
            "SELECT serial, status, revoked_at, reason FROM certificates \
             WHERE serial IN (?1, ?2, ?3, ?4) LIMIT 1",
            (&certificate.serial, plain, &even, &led),
            |row| {
                let status: String = row.get(1)?;
                let at: Option<i64> = row.get(2)?;
                let reason: Option<u8> = row.get(3)?;
                let state = if status == "revoked" {
                    Row::Revoked { at: at.unwrap_or(0), reason: reason.unwrap_or(0) }
                } else {
                    Row::Good
                };
                Ok((row.get(0)?, state))
            },
        )
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn terms(at: i64, reason: Reason) -> Terms {
        Terms { revoked_at: Timestamp::from_second(at).expect("in range"), reason }
    }

    #[test]
    fn a_row_is_brought_to_terms_and_never_later_nor_weaker() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("line.db");
        let database = Database::Sqlite(path.clone());
        let certificate = Certificate::new("geotrust", "0A:0b").expect("a serial");
        assert_eq!(row(&database, &certificate), Ok(None), "no file");
        let connection = Connection::open(&path).expect("a database");
        assert_eq!(has_line(&database), Ok(false), "no table");
        assert_eq!(
            bring(&database, &certificate, terms(50, Reason::Superseded)),
            Ok(Brought::Absent)
        );
        connection
            .execute_batch(
                "CREATE TABLE certificates(serial TEXT PRIMARY KEY, status TEXT, revoked_at INTEGER, reason INTEGER);
                 INSERT INTO certificates VALUES ('a0b', 'good', NULL, NULL);",
            )
            .expect("a table");
        assert_eq!(has_line(&database), Ok(true));
        let other = Certificate::new("geotrust", "ff").expect("a serial");
        assert_eq!(row(&database, &other), Ok(Some(Row::Absent)));
        assert_eq!(row(&database, &certificate), Ok(Some(Row::Good)), "by another spelling");
        let changes =
            || connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
        for (at, reason, brought, after) in [
            (50, Reason::Superseded, Brought::There, (50, 4)),
            (50, Reason::Superseded, Brought::There, (50, 4)),
            (
                60,
                Reason::Superseded,
                Brought::Earlier { at: 50, reason: Reason::Superseded },
                (50, 4),
            ),
            (
                60,
                Reason::KeyCompromise,
                Brought::Earlier { at: 50, reason: Reason::KeyCompromise },
                (50, 4),
            ),
            (50, Reason::KeyCompromise, Brought::There, (50, 1)),
            (
                50,
                Reason::Superseded,
                Brought::Earlier { at: 50, reason: Reason::KeyCompromise },
                (50, 1),
            ),
            (40, Reason::KeyCompromise, Brought::There, (40, 1)),
        ] {
            let wanted = terms(at, reason);
            assert_eq!(bring(&database, &certificate, wanted), Ok(brought), "{wanted:?}");
            let (at, reason) = after;
            assert_eq!(row(&database, &certificate), Ok(Some(Row::Revoked { at, reason })));
        }
        let before = changes().expect("a pragma");
        let again = bring(&database, &certificate, terms(40, Reason::KeyCompromise));
        assert_eq!(again, Ok(Brought::There));
        assert_eq!(changes().expect("a pragma"), before, "nothing was written");
    }
}
