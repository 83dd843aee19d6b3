//! The databases of the lab: one SQLite file for each line and site, with certificates (metadata
//! only) and orders.
//!
//! Not known here: who asks, who may write. The new site's files begin without any table: what is in
//! them later, a transfer brought.

use super::{ca, der};
use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a database of a line is made of.
const SCHEMA: &str = "
CREATE TABLE certificates(
    serial TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    status TEXT NOT NULL CHECK(status IN ('good','revoked')),
    revoked_at INTEGER,
    reason INTEGER,
    order_id TEXT
);
CREATE INDEX certificates_revoked ON certificates(serial) WHERE status = 'revoked';
CREATE INDEX certificates_order ON certificates(order_id);
CREATE TABLE orders(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT UNIQUE NOT NULL,
    submitted_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK(state IN ('queued','issued')),
    issued_at INTEGER,
    serial TEXT
);
CREATE INDEX orders_queued ON orders(seq) WHERE state = 'queued';
CREATE TABLE order_gate(
    one INTEGER PRIMARY KEY CHECK(one = 1),
    paused INTEGER NOT NULL,
    released_seq INTEGER NOT NULL
);
INSERT INTO order_gate VALUES (1, 0, 0);
";

/// The reasons that seeded revocations have, in turn; 0 is `unspecified`.
const REASONS: [i64; 6] = [0, 1, 3, 4, 5, 9];

/// How much a line has at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Certificates, sentinels among them.
    pub(super) certificates: u64,
    /// Orders, a fifth of them queued.
    pub(super) orders: u64,
}

/// The sentinels' serials.
#[derive(Clone, Debug)]
pub(super) struct Sentinels {
    /// Issued, not revoked.
    pub(super) good: Vec<u8>,
    /// Revoked long ago.
    pub(super) revoked: Vec<u8>,
}

/// Opens for writing, with what every writer of the lab wants: WAL, 5 s of patience.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)
        .with_context(|| format!("opening the database `{}`", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

/// Makes the old site's database of a line.
pub(super) fn create(
    path: &Path,
    line: &str,
    size: Size,
    sentinels: &Sentinels,
    now_ms: i64,
) -> Result<()> {
    let mut connection = open(path)?;
    connection.pragma_update(None, "synchronous", "off")?;
    let work = connection.transaction()?;
    work.execute_batch(SCHEMA)?;
    let now = now_ms / 1000;
    let issued = size.orders - size.orders / 5;
    {
        let mut add = work.prepare(
            "INSERT INTO certificates(serial, subject, not_before, not_after, status, revoked_at, \
             reason, order_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut order = work.prepare(
            "INSERT INTO orders(order_id, submitted_at, state, issued_at, serial) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let (good, revoked) = (der::hex(&sentinels.good), der::hex(&sentinels.revoked));
        let (from, until) = (now - 30 * 86_400, now + 60 * 86_400);
        add.execute(params![
            good,
            host(line, "good"),
            from,
            until,
            "good",
            None::<i64>,
            None::<i64>,
            None::<String>
        ])?;
        let since = now - 20 * 86_400;
        add.execute(params![
            revoked,
            host(line, "revoked"),
            from,
            until,
            "revoked",
            since,
            4,
            None::<String>
        ])?;
        for number in 0..size.certificates.max(issued + 2) - 2 {
            let serial = der::hex(&ca::serial());
            let begins = now - 1_000 - fastrand::i64(0..300 * 86_400);
            let ends = now + 86_400 + fastrand::i64(0..300 * 86_400);
            let order_id = (number < issued).then(|| order_id(line, number));
            let gone = number >= issued && number % 100 == 17;
            let (status, at, reason) = if gone {
                let reason = REASONS[(number / 100) as usize % REASONS.len()];
                ("revoked", Some(now - 600 - fastrand::i64(0..10 * 86_400)), Some(reason))
            } else {
                ("good", None, None)
            };
            add.execute(params![
                serial,
                subject(line, number),
                begins,
                ends,
                status,
                at,
                reason,
                order_id
            ])?;
            if let Some(order_id) = order_id {
                let submitted = submitted(now_ms, size.orders, number);
                order.execute(params![
                    order_id,
                    submitted,
                    "issued",
                    submitted + 600_000,
                    serial
                ])?;
            }
        }
        for number in issued..size.orders {
            let submitted = submitted(now_ms, size.orders, number);
            order.execute(params![
                order_id(line, number),
                submitted,
                "queued",
                None::<i64>,
                None::<String>
            ])?;
        }
    }
    work.commit()?;
    Ok(())
}

/// Seeded orders came in one a minute, the last a minute ago; issued ones within ten minutes.
fn submitted(now_ms: i64, orders: u64, number: u64) -> i64 {
    now_ms - (orders - number) as i64 * 60_000
}

/// The name of a seeded order.
pub(super) fn order_id(line: &str, number: u64) -> String {
    format!("{line}-{number:07}")
}

fn subject(line: &str, number: u64) -> String {
    format!("CN=shop-{number}.{line}.example")
}

/// The host that a sentinel certificate is for.
pub(super) fn host(line: &str, class: &str) -> String {
    format!("{class}.{line}.example")
}

/// What a database says of a serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Issued, not revoked.
    Good,
    /// Revoked at (unix seconds), for this reason (0 and none are the same).
    Revoked(i64, u8),
    /// Never issued here.
    Unknown,
    /// The data are not here, or not all of them yet: nothing can be said.
    Absent,
}

/// A database that is only read, opened when first needed and again when its file was replaced.
pub(super) struct Reader {
    path: PathBuf,
    held: Option<(u64, Connection)>,
}

impl Reader {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, held: None }
    }

    /// The connection; none while there is no file.
    pub(super) fn connection(&mut self) -> Option<&Connection> {
        let inode = std::fs::metadata(&self.path).ok()?.ino();
        if self.held.as_ref().is_none_or(|(held, _)| *held != inode) {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags).ok()?;
            // A reader of a WAL file waits for nobody, save for moments that are shorter than this.
            connection.busy_timeout(Duration::from_millis(250)).ok()?;
            connection.pragma_update(None, "query_only", true).ok()?;
            self.held = Some((inode, connection));
        }
        self.held.as_ref().map(|(_, connection)| connection)
    }

    /// The status of a serial (lower-case hex), as of now.
    pub(super) fn status(&mut self, serial: &str) -> Status {
        self.connection().and_then(|db| status(db, serial).ok()).unwrap_or(Status::Absent)
    }

    /// The revoked rows, by serial; none when the data are not here.
    pub(super) fn revoked(&mut self) -> Option<Vec<Revoked>> {
        let db = self.connection()?;
        if !complete(db).ok()? {
            return None;
        }
        let mut query = db
            .prepare_cached(
                "SELECT serial, revoked_at, reason FROM certificates WHERE status = 'revoked' \
                 ORDER BY serial",
            )
            .ok()?;
        let rows = query
            .query_map([], |row| {
                let reason: Option<u8> = row.get(2)?;
                Ok(Revoked { serial: row.get(0)?, at: row.get(1)?, reason: reason.unwrap_or(0) })
            })
            .ok()?;
        rows.collect::<Result<_, _>>().ok()
    }
}

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    /// Lower-case hex.
    pub(super) serial: String,
    /// Unix seconds.
    pub(super) at: i64,
    /// CRLReason.
    pub(super) reason: u8,
}

/// Whether the line's certificates are all here: no transfer is on its way.
fn complete(db: &Connection) -> rusqlite::Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'certificates'), \
         (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'cutover_transfer')",
    )?;
    query.query_row([], |row| Ok(row.get::<_, i64>(0)? == 1 && row.get::<_, i64>(1)? == 0))
}

fn status(db: &Connection, serial: &str) -> rusqlite::Result<Status> {
    if !complete(db)? {
        return Ok(Status::Absent);
    }
    let mut query =
        db.prepare_cached("SELECT status, revoked_at, reason FROM certificates WHERE serial = ?1")?;
    let found = query
        .query_row([serial], |row| {
            if row.get_ref(0)?.as_str()? != "revoked" {
                return Ok(Status::Good);
            }
            let reason: Option<u8> = row.get(2)?;
            Ok(Status::Revoked(row.get(1)?, reason.unwrap_or(0)))
        })
        .optional()?;
    Ok(found.unwrap_or(Status::Unknown))
}

/// An order as its partner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Place in the queue.
    pub(super) seq: i64,
    /// Unix milliseconds.
    pub(super) submitted_at: i64,
    /// Unix milliseconds, when issued.
    pub(super) issued_at: Option<i64>,
    /// The certificate, when issued.
    pub(super) serial: Option<String>,
}

/// Looks an order up.
pub(super) fn order(db: &Connection, order_id: &str) -> rusqlite::Result<Option<Order>> {
    db.prepare_cached(
        "SELECT seq, submitted_at, issued_at, serial FROM orders WHERE order_id = ?1",
    )?
    .query_row([order_id], |row| {
        Ok(Order {
            seq: row.get(0)?,
            submitted_at: row.get(1)?,
            issued_at: row.get(2)?,
            serial: row.get(3)?,
        })
    })
    .optional()
}

/// Takes an order in, once: a second call with the same name changes nothing. Whether it is new.
pub(super) fn submit(db: &Connection, order_id: &str, now_ms: i64) -> rusqlite::Result<bool> {
    let added = db
        .prepare_cached(
            "INSERT INTO orders(order_id, submitted_at, state) VALUES (?1, ?2, 'queued') \
             ON CONFLICT(order_id) DO NOTHING",
        )?
        .execute(params![order_id, now_ms])?;
    Ok(added == 1)
}

/// Issues the queued order of lowest number, if the gate lets it: one transaction for certificate
/// and order. Whether one was issued, and whether the gate is paused.
pub(super) fn issue_next(
    db: &mut Connection,
    line: &str,
    now_ms: i64,
) -> rusqlite::Result<(bool, bool)> {
    if !issuable(db)? {
        return Ok((false, false));
    }
    let work = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (paused, released): (bool, i64) = work
        .prepare_cached("SELECT paused, released_seq FROM order_gate WHERE one = 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let next: Option<(i64, String)> = work
        .prepare_cached(
            "SELECT seq, order_id FROM orders WHERE state = 'queued' ORDER BY seq LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, order_id)) = next.filter(|(seq, _)| !paused || *seq <= released) else {
        return Ok((false, paused));
    };
    let (serial, now) = (der::hex(&ca::serial()), now_ms / 1000);
    work.prepare_cached(
        "INSERT INTO certificates(serial, subject, not_before, not_after, status, order_id) \
         VALUES (?1, ?2, ?3, ?4, 'good', ?5)",
    )?
    .execute(params![
        serial,
        format!("CN={order_id}.{line}.example"),
        now,
        now + 90 * 86_400,
        order_id
    ])?;
    work.prepare_cached(
        "UPDATE orders SET state = 'issued', issued_at = ?1, serial = ?2 WHERE seq = ?3",
    )?
    .execute(params![now_ms, serial, seq])?;
    work.commit()?;
    Ok((true, paused))
}

/// A look without a lock first: there is a queue at all, and something in it.
fn issuable(db: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
             AND name IN ('certificates', 'orders', 'order_gate')",
        )?
        .query_row([], |row| row.get(0))?;
    if tables != 3 || !complete(db)? {
        return Ok(false);
    }
    db.prepare_cached(
        "SELECT EXISTS(SELECT 1 FROM orders WHERE state = 'queued') \
         AND EXISTS(SELECT 1 FROM order_gate WHERE paused = 0 OR released_seq >= \
         (SELECT min(seq) FROM orders WHERE state = 'queued'))",
    )?
    .query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(orders: u64) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("line.db");
        let sentinels = Sentinels { good: ca::serial(), revoked: ca::serial() };
        create(
            &path,
            "geotrust",
            Size { certificates: 300, orders },
            &sentinels,
            1_800_000_000_000,
        )
        .unwrap();
        (directory, path)
    }

    #[test]
    fn issues_in_order_of_submission_as_far_as_the_gate_lets_it() {
        let (_directory, path) = made(50);
        let mut db = open(&path).unwrap();
        submit(&db, "late", 1_800_000_000_001).unwrap();
        assert!(!submit(&db, "late", 1_800_000_000_002).unwrap(), "an order was taken twice");
        let first = order(&db, &order_id("geotrust", 40)).unwrap().unwrap();
        db.execute("UPDATE order_gate SET paused = 1, released_seq = ?1", [first.seq]).unwrap();
        assert_eq!(issue_next(&mut db, "geotrust", 5_000).unwrap(), (true, true));
        assert!(!issue_next(&mut db, "geotrust", 6_000).unwrap().0, "the gate let one through");
        let issued = order(&db, &order_id("geotrust", 40)).unwrap().unwrap();
        assert_eq!(issued.issued_at, Some(5_000));
        let mut reader = Reader::new(path);
        assert_eq!(reader.status(&issued.serial.unwrap()), Status::Good);
        db.execute("UPDATE order_gate SET paused = 0, released_seq = 0", []).unwrap();
        while issue_next(&mut db, "geotrust", 7_000).unwrap().0 {}
        let late = order(&db, "late").unwrap().unwrap();
        assert!(late.issued_at.is_some() && late.seq == 51);
    }

    #[test]
    fn a_database_that_is_not_whole_says_nothing() {
        let (_directory, path) = made(10);
        let mut reader = Reader::new(path.clone());
        assert_eq!(reader.status("00"), Status::Unknown);
        assert!(reader.revoked().is_some_and(|rows| rows.len() > 1));
        let db = open(&path).unwrap();
        db.execute_batch("CREATE TABLE cutover_transfer(x)").unwrap();
        assert_eq!(reader.status("00"), Status::Absent);
        assert_eq!(reader.revoked(), None);
        let mut missing = Reader::new(path.with_extension("none"));
        assert_eq!(missing.status("00"), Status::Absent);
    }
}
