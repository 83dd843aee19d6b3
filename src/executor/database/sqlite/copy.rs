//! The copy: schema, then rows chunk by chunk in key order, then indexes, views, triggers.
//!
//! A chunk, its proof and its bookmark are one transaction in the target: the rows are read back and
//! hashed there before it commits, so that nobody's change can come between. After a kill the finished
//! chunks are hashed once more at the source; those that changed meanwhile (a revocation) are copied
//! anew, and the rest goes on where it ended. The source is read in one consistent view, and the
//! receipt's digest is that of its rows in key order: how they were cut into chunks does not show.

use super::super::{Receipt, Work};
use super::marks::{self, CHUNKS, Holds, MARK, RECEIPT};
use super::schema::{self, Key, Schema, Table};
use super::value::{self, Cell};
use super::{Brake, Sqlite, Trouble};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// Rows of a chunk, at most.
const ROWS: u64 = 4000;
/// Bytes of a chunk, at most, but for its last row.
const BYTES: u64 = 16 << 20;

/// A finished chunk: what its bookmark says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Chunk {
    /// Key of its last row; none for a table without key.
    last: Vec<Cell>,
    rows: u64,
    bytes: u64,
    digest: String,
}

/// What was read of a piece of a table.
struct Stretch {
    chunk: Chunk,
    /// The table ended here.
    ended: bool,
}

/// How far it is.
struct Far<'a> {
    brake: &'a Brake,
    rows: u64,
    total: u64,
    bytes: u64,
}

impl Far<'_> {
    fn add(&mut self, chunk: &Chunk) {
        self.rows += chunk.rows;
        self.bytes += chunk.bytes;
        let total = self.total.max(self.rows);
        // Nobody knows the bytes of rows that were not read; at the end it is exact.
        let bytes = if self.rows == 0 {
            0
        } else {
            u64::try_from(u128::from(self.bytes) * u128::from(total) / u128::from(self.rows))
                .unwrap_or(u64::MAX)
        };
        self.brake.tell(Some((self.rows, total)), Some((self.bytes, bytes.max(self.bytes))));
    }
}

/// Copies everything, or goes on with it.
pub(super) fn copy(
    from: &Sqlite,
    to: &Sqlite,
    work: &Work,
    brake: &Brake,
) -> Result<Receipt, Trouble> {
    let source = from.view(brake)?;
    if marks::is_half(&source).map_err(|error| from.trouble(error))? {
        let what = "is itself the target of a copy that has not ended: half of it is no source";
        return Err(from.trouble(Trouble::last(what)));
    }
    let schema = schema::read(&source).map_err(|error| from.trouble(error))?;
    let mut target = to.open_or_make(brake)?;
    prepare(&source, &mut target, &schema, work).map_err(|error| to.trouble(error))?;
    let mut total = 0;
    for table in &schema.tables {
        brake.go_on()?;
        total += schema::count(&source, &table.name).map_err(|error| from.trouble(error))?;
    }
    let mut far = Far { brake, rows: 0, total, bytes: 0 };
    let mut whole = blake3::Hasher::new();
    for table in &schema.tables {
        brake.doing(format!("copying `{}`", table.name));
        let digest = rows(&source, &mut target, table, &mut far)
            .map_err(|error| to.trouble(error.during(format!("table `{}`", table.name))))?;
        whole.update(table.name.as_bytes());
        whole.update(&[0]);
        whole.update(digest.as_bytes());
    }
    let receipt =
        Receipt { rows: far.rows, bytes: far.bytes, digest: whole.finalize().to_hex().to_string() };
    let mut finish = || {
        build(&mut target, &schema, brake)?;
        brake.doing("finishing");
        close(&source, &mut target, &schema, &receipt, work)
    };
    finish().map_err(|error: Trouble| to.trouble(error))?;
    Ok(receipt)
}

/// Makes the target ours and gives it its tables, in one transaction; or finds that done.
fn prepare(
    source: &Connection,
    target: &mut Connection,
    schema: &Schema,
    work: &Work,
) -> Result<(), Trouble> {
    let kept = fingerprint(schema);
    settings(source, target)?;
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match marks::holds(&transaction, work)? {
        Holds::Nothing => {}
        Holds::Half { schema } if schema == kept => return Ok(()),
        Holds::Half { .. } => {
            return Err(Trouble::last(
                "the source's schema has changed since this copy began; undo the step and begin anew",
            ));
        }
        Holds::Whole(_) => return Err(Trouble::last("holds this run's finished copy")),
        Holds::Foreign(what) => {
            return Err(Trouble::last(format!(
                "is neither empty nor this run's: it holds {what}; nothing is written over it"
            )));
        }
    }
    transaction.execute_batch(&format!(
        "CREATE TABLE {MARK}(run TEXT, step TEXT, database TEXT, schema TEXT, begun TEXT);
         CREATE TABLE {CHUNKS}(tbl TEXT, chunk INTEGER, last BLOB, rows INTEGER, bytes INTEGER,
                               digest TEXT, PRIMARY KEY(tbl, chunk)) WITHOUT ROWID;"
    ))?;
    transaction.execute(
        &format!("INSERT INTO {MARK} VALUES (?1, ?2, ?3, ?4, datetime('now'))"),
        params![work.context.run, work.context.step, work.database, kept],
    )?;
    for table in &schema.tables {
        transaction
            .execute_batch(&table.sql)
            .map_err(|error| Trouble::from(error).during(format!("table `{}`", table.name)))?;
    }
    transaction.commit()?;
    Ok(())
}

/// What must be set before a file has its first table, and how this connection writes.
fn settings(source: &Connection, target: &Connection) -> Result<(), Trouble> {
    let tables: i64 =
        target.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        for pragma in ["encoding", "page_size"] {
            let value: rusqlite::types::Value =
                source.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
            target.pragma_update(None, pragma, value)?;
        }
        let mode: String = source.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode.eq_ignore_ascii_case("wal") {
            target.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))?;
        }
    }
    // What the source holds is right, even where its own rules came later; no trigger may add to it.
    target.pragma_update(None, "ignore_check_constraints", true)?;
    target.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    target.pragma_update(None, "synchronous", "full")?;
    Ok(())
}

/// What the tables are: a copy goes on only with the same.
fn fingerprint(schema: &Schema) -> String {
    let mut hasher = blake3::Hasher::new();
    for table in &schema.tables {
        hasher.update(table.name.as_bytes());
        hasher.update(&[0]);
        hasher.update(table.sql.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

/// Copies a table's rows; the digest of its row stream.
fn rows(
    source: &Connection,
    target: &mut Connection,
    table: &Table,
    far: &mut Far<'_>,
) -> Result<String, Trouble> {
    let mut stream = blake3::Hasher::new();
    let (mut past, number) = finished(source, target, table, &mut stream, far)?;
    if table.key == Key::None && number > 0 {
        return Ok(stream.finalize().to_hex().to_string());
    }
    let mut number = number;
    loop {
        far.brake.go_on()?;
        let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stretch = write(source, &transaction, table, &past, None, Some(&mut stream))?;
        if stretch.chunk.rows > 0 || table.key == Key::None {
            record(&transaction, &table.name, number, &stretch.chunk)?;
            transaction.commit()?;
            far.add(&stretch.chunk);
        }
        past = stretch.chunk.last;
        number += 1;
        if stretch.ended {
            return Ok(stream.finalize().to_hex().to_string());
        }
    }
}

/// A finished chunk whose rows are not the source's any more.
struct Stale {
    number: i64,
    past: Vec<Cell>,
    last: Vec<Cell>,
}

/// Holds the finished chunks of a table against the source and copies anew what has changed there.
/// The key of the last of them, and how many there are.
fn finished(
    source: &Connection,
    target: &mut Connection,
    table: &Table,
    stream: &mut blake3::Hasher,
    far: &mut Far<'_>,
) -> Result<(Vec<Cell>, i64), Trouble> {
    let mut past: Vec<Cell> = Vec::new();
    let mut stale = Vec::new();
    let mut number = 0;
    for chunk in bookmarks(target, &table.name)? {
        far.brake.go_on()?;
        let up_to = (table.key != Key::None).then_some(chunk.last.as_slice());
        let now = hash(source, table, &past, up_to, Some(stream))?;
        let last = chunk.last.clone();
        if now.digest == chunk.digest && now.rows == chunk.rows {
            far.add(&chunk);
        } else {
            // Changed at the source since it was copied: the present counts.
            stale.push(Stale { number, past, last: last.clone() });
        }
        past = last;
        number += 1;
    }
    // All of them are emptied before one is filled: a value that only one row may have can have
    // moved from one chunk to another.
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for chunk in &stale {
        empty(&transaction, table, chunk)?;
    }
    transaction.commit()?;
    for chunk in stale {
        far.brake.go_on()?;
        far.add(&again(source, target, table, chunk)?);
    }
    Ok((past, number))
}

/// Reads a piece of a table in key order and hashes it: what lies past a key, up to another.
fn hash(
    connection: &Connection,
    table: &Table,
    past: &[Cell],
    up_to: Option<&[Cell]>,
    stream: Option<&mut blake3::Hasher>,
) -> Result<Chunk, Trouble> {
    let mut query = connection.prepare_cached(&table.select(!past.is_empty(), up_to.is_some()))?;
    value::bind_both(&mut query, past, up_to.unwrap_or_default())?;
    let mut rows = query.raw_query();
    let mut tally = Tally::new(stream);
    while let Some(row) = rows.next()? {
        tally.take(row, table)?;
    }
    Ok(tally.chunk())
}

/// Deletes the rows of a stale chunk, and its bookmark says so: whatever happens next, it is copied
/// anew.
fn empty(target: &Transaction<'_>, table: &Table, chunk: &Stale) -> Result<(), Trouble> {
    let up_to = (table.key != Key::None).then_some(chunk.last.as_slice());
    let mut delete =
        target.prepare_cached(&table.delete(!chunk.past.is_empty(), up_to.is_some()))?;
    value::bind_both(&mut delete, &chunk.past, up_to.unwrap_or_default())?;
    delete.raw_execute()?;
    let nothing = Chunk { last: chunk.last.clone(), ..Chunk::default() };
    record(target, &table.name, chunk.number, &nothing)
}

/// Copies an emptied chunk anew: the same keys, what the source holds there now.
fn again(
    source: &Connection,
    target: &mut Connection,
    table: &Table,
    stale: Stale,
) -> Result<Chunk, Trouble> {
    let Stale { number, past, last } = stale;
    let up_to = (table.key != Key::None).then_some(last.as_slice());
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let stretch = write(source, &transaction, table, &past, up_to, None)?;
    // The bookmark keeps the chunk's bound, also where the row of that key is gone.
    let chunk = Chunk { last, ..stretch.chunk };
    record(&transaction, &table.name, number, &chunk)?;
    transaction.commit()?;
    Ok(chunk)
}

/// What adds up over the rows of a chunk; `stream` is that of the whole table.
#[derive(Default)]
struct Tally<'a> {
    hasher: blake3::Hasher,
    stream: Option<&'a mut blake3::Hasher>,
    last: Vec<Cell>,
    rows: u64,
    bytes: u64,
    row: Vec<u8>,
}

impl<'a> Tally<'a> {
    fn new(stream: Option<&'a mut blake3::Hasher>) -> Self {
        Self { stream, ..Self::default() }
    }

    fn take(&mut self, row: &rusqlite::Row<'_>, table: &Table) -> Result<(), Trouble> {
        self.row.clear();
        for column in 0..table.width() {
            value::encode(row.get_ref(column)?, &mut self.row);
        }
        for hasher in [Some(&mut self.hasher), self.stream.as_deref_mut()].into_iter().flatten() {
            hasher.update(&(self.row.len() as u64).to_le_bytes());
            hasher.update(&self.row);
        }
        self.rows += 1;
        self.bytes += self.row.len() as u64;
        self.last = value::cells(row, table.key_width())?;
        Ok(())
    }

    fn chunk(self) -> Chunk {
        let digest = self.hasher.finalize().to_hex().to_string();
        Chunk { last: self.last, rows: self.rows, bytes: self.bytes, digest }
    }
}

/// Copies the next rows past a key, or those up to another, within a transaction of the target; then
/// reads them back there and compares.
fn write(
    source: &Connection,
    target: &Transaction<'_>,
    table: &Table,
    past: &[Cell],
    up_to: Option<&[Cell]>,
    stream: Option<&mut blake3::Hasher>,
) -> Result<Stretch, Trouble> {
    let mut query = source.prepare_cached(&table.select(!past.is_empty(), up_to.is_some()))?;
    value::bind_both(&mut query, past, up_to.unwrap_or_default())?;
    let mut insert = target.prepare_cached(&table.insert())?;
    let mut rows = query.raw_query();
    let mut tally = Tally::new(stream);
    let whole = table.key == Key::None || up_to.is_some();
    let mut ended = true;
    while let Some(row) = rows.next()? {
        tally.take(row, table)?;
        for (place, column) in (table.insert_from()..table.width()).enumerate() {
            insert.raw_bind_parameter(place + 1, Cell::from(row.get_ref(column)?))?;
        }
        insert.raw_execute()?;
        if !whole && (tally.rows >= ROWS || tally.bytes >= BYTES) {
            ended = false;
            break;
        }
    }
    let chunk = tally.chunk();
    if chunk.rows > 0 {
        let up_to = if table.key == Key::None { None } else { Some(up_to.unwrap_or(&chunk.last)) };
        let back = hash(target, table, past, up_to, None)?;
        if back.digest != chunk.digest {
            return Err(Trouble::last(format!(
                "{} rows were written and read back otherwise",
                chunk.rows
            )));
        }
    }
    Ok(Stretch { chunk, ended })
}

/// The finished chunks of a table, in order.
fn bookmarks(target: &Connection, table: &str) -> Result<Vec<Chunk>, Trouble> {
    let mut query = target.prepare_cached(&format!(
        "SELECT last, rows, bytes, digest FROM {CHUNKS} WHERE tbl = ?1 ORDER BY chunk"
    ))?;
    let mut rows = query.query([table])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        let last: Vec<u8> = row.get(0)?;
        let last = value::decode(&last)
            .ok_or_else(|| Trouble::last(format!("the bookmark of `{table}` is damaged")))?;
        let number = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
        chunks.push(Chunk { last, rows: number(1)?, bytes: number(2)?, digest: row.get(3)? });
    }
    Ok(chunks)
}

/// Writes a chunk's bookmark, in the transaction of its rows.
fn record(
    target: &Transaction<'_>,
    table: &str,
    number: i64,
    chunk: &Chunk,
) -> Result<(), Trouble> {
    target.execute(
        &format!("INSERT OR REPLACE INTO {CHUNKS} VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
        params![
            table,
            number,
            value::encode_all(&chunk.last),
            chunk.rows as i64,
            chunk.bytes as i64,
            chunk.digest
        ],
    )?;
    Ok(())
}

/// Makes indexes, views and triggers that are not there yet.
fn build(target: &mut Connection, schema: &Schema, brake: &Brake) -> Result<(), Trouble> {
    for object in &schema.objects {
        brake.go_on()?;
        let there = target
            .query_row(
                "SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2",
                params![object.kind, object.name],
                |_| Ok(()),
            )
            .optional()?;
        if there.is_none() {
            brake.doing(format!("making {} `{}`", object.kind, object.name));
            target.execute_batch(&object.sql).map_err(|error| {
                Trouble::from(error).during(format!("{} `{}`", object.kind, object.name))
            })?;
        }
    }
    Ok(())
}

/// Whether the target is made as the source is, in everything: what was there already, by an earlier
/// attempt or a stranger, has the source's names perhaps and not its shape.
fn shaped(target: &Transaction<'_>, schema: &Schema) -> Result<(), Trouble> {
    let there = schema::read(target)?;
    let other = |what: &str, kind: &str, name: &str| {
        Err(Trouble::last(format!(
            "{kind} `{name}` is {what} at the source; undo the step and begin anew"
        )))
    };
    for object in &there.objects {
        if !schema.objects.contains(object) {
            let known = schema.objects.iter().any(|one| one.name == object.name);
            let what = if known { "made otherwise than" } else { "here, and not" };
            return other(what, &object.kind, &object.name);
        }
    }
    for table in &there.tables {
        match schema.tables.iter().find(|one| one.name == table.name) {
            Some(known) if known == table => {}
            Some(_) => return other("made otherwise than", "table", &table.name),
            None => return other("here, and not", "table", &table.name),
        }
    }
    Ok(())
}

/// Whether the target holds as many rows as were copied: a revocation changes rows, only a stranger
/// adds or removes them.
fn counted(target: &Transaction<'_>, schema: &Schema) -> Result<(), Trouble> {
    let copied = format!("SELECT coalesce(sum(rows), 0) FROM {CHUNKS} WHERE tbl = ?1");
    for table in &schema.tables {
        let copied: i64 = target.query_row(&copied, [&table.name], |row| row.get(0))?;
        let there = schema::count(target, &table.name)?;
        if there != copied.unsigned_abs() {
            return Err(Trouble::last(format!(
                "table `{}`: {copied} rows were copied and {there} are there: somebody else writes to the target",
                table.name
            )));
        }
    }
    Ok(())
}

/// Sequences, the file's own numbers, the receipt in the place of the mark: one transaction.
fn close(
    source: &Connection,
    target: &mut Connection,
    schema: &Schema,
    receipt: &Receipt,
    work: &Work,
) -> Result<(), Trouble> {
    let sequences = schema::sequences(source)?;
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
    shaped(&transaction, schema)?;
    counted(&transaction, schema)?;
    for (table, value) in sequences {
        if schema.tables.iter().any(|known| known.name == table) {
            transaction.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&table])?;
            transaction
                .execute("INSERT INTO sqlite_sequence VALUES (?1, ?2)", params![table, value])?;
        }
    }
    for pragma in ["user_version", "application_id"] {
        let value: i64 = source.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
        transaction.pragma_update(None, pragma, value)?;
    }
    transaction.execute_batch(&format!(
        "DROP TABLE {MARK}; DROP TABLE {CHUNKS};
         CREATE TABLE {RECEIPT}(run TEXT, step TEXT, database TEXT, rows INTEGER, bytes INTEGER,
                                digest TEXT, ended TEXT);"
    ))?;
    transaction.execute(
        &format!("INSERT INTO {RECEIPT} VALUES (?1, ?2, ?3, ?4, ?5, ?6, datetime('now'))"),
        params![
            work.context.run,
            work.context.step,
            work.database,
            receipt.rows as i64,
            receipt.bytes as i64,
            receipt.digest
        ],
    )?;
    transaction.commit()?;
    Ok(())
}
