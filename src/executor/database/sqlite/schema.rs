//! What a database consists of, read from itself; no table is known beforehand.
//!
//! Left out: SQLite's own tables (`sqlite_...`) and ours (`marks`). Virtual tables are
//! refused: their content lies in tables of their module, which would not survive a copy by rows.

use super::Trouble;
use super::marks::OURS;
use rusqlite::{Connection, OptionalExtension};

/// A table and how its rows are told apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Its `CREATE TABLE`.
    pub(super) sql: String,
    /// Columns that are stored, in order; generated ones follow from them.
    pub(super) columns: Vec<String>,
    /// What orders its rows and tells them apart.
    pub(super) key: Key,
}

/// What tells the rows of a table apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    /// SQLite's row number, by a name that no column hides. Copied too: it survives.
    Rowid(&'static str),
    /// The primary key of a table without row numbers: its columns, each with the collation by
    /// which the key (not the column) tells values apart.
    Columns(Vec<(String, String)>),
    /// Nothing: a table with row numbers whose every name is hidden by a column.
    None,
}

/// An index, view or trigger.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) sql: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
    /// Indexes, then views, then triggers (which may stand on views).
    pub(super) objects: Vec<Object>,
}

/// A name as SQL has it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// The expressions of its key. Compared and ordered with their own collations: with the column's,
    /// which may be another, rows that differ only in case would be passed over.
    fn key_list(&self) -> Option<(String, usize)> {
        match &self.key {
            Key::Rowid(name) => Some(((*name).to_owned(), 1)),
            Key::Columns(names) => {
                let all =
                    names.iter().map(|(name, by)| format!("{} COLLATE {}", quote(name), quote(by)));
                Some((all.collect::<Vec<_>>().join(", "), names.len()))
            }
            Key::None => None,
        }
    }

    /// Values of a key; 0 without one.
    pub(super) fn key_width(&self) -> usize {
        self.key_list().map_or(0, |(_, width)| width)
    }

    /// Key first, then the columns, in key order: all rows, those past a key, or those up to one.
    pub(super) fn select(&self, past: bool, up_to: bool) -> String {
        let columns = listed(&self.columns);
        let from = quote(&self.name);
        let Some((key, width)) = self.key_list() else {
            // Without a key the order of the rows is that of their content.
            let by = self.columns.iter().map(|name| format!("{} COLLATE BINARY", quote(name)));
            let by = by.collect::<Vec<_>>().join(", ");
            return format!("SELECT {columns} FROM {from} ORDER BY {by}");
        };
        let filter = self.range(past, up_to);
        let columns = if columns.is_empty() { String::new() } else { format!(", {columns}") };
        debug_assert!(width > 0, "a key has a column");
        format!("SELECT {key}{columns} FROM {from}{filter} ORDER BY {key}")
    }

    /// Key first, then the columns, in an order that does not hang on collations.
    pub(super) fn select_binary(&self) -> String {
        let columns = listed(&self.columns);
        let from = quote(&self.name);
        match self.key_list() {
            Some((key, _)) => {
                let order = self.binary_order();
                let columns =
                    if columns.is_empty() { String::new() } else { format!(", {columns}") };
                format!("SELECT {key}{columns} FROM {from} ORDER BY {order}")
            }
            None => self.select(false, false),
        }
    }

    fn binary_order(&self) -> String {
        match &self.key {
            Key::Rowid(name) => (*name).to_owned(),
            Key::Columns(names) => {
                let by = names.iter().map(|(name, _)| format!("{} COLLATE BINARY", quote(name)));
                by.collect::<Vec<_>>().join(", ")
            }
            Key::None => String::new(),
        }
    }

    /// Deletes the rows past a key and up to another.
    pub(super) fn delete(&self, past: bool, up_to: bool) -> String {
        format!("DELETE FROM {}{}", quote(&self.name), self.range(past, up_to))
    }

    /// The lower bound takes the first parameters, the upper one those after them.
    fn range(&self, past: bool, up_to: bool) -> String {
        let Some((key, width)) = self.key_list() else { return String::new() };
        let marks = |from: usize| {
            let marks: Vec<_> = (from..from + width).map(|place| format!("?{place}")).collect();
            marks.join(", ")
        };
        let mut filters = Vec::new();
        if past {
            filters.push(format!("({key}) > ({})", marks(1)));
        }
        if up_to {
            filters.push(format!("({key}) <= ({})", marks(if past { width + 1 } else { 1 })));
        }
        if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) }
    }

    /// Takes what `select` gives, from `insert_from` on.
    pub(super) fn insert(&self) -> String {
        let mut names: Vec<String> = self.columns.iter().map(|name| quote(name)).collect();
        if let Key::Rowid(name) = self.key {
            names.insert(0, name.to_owned());
        }
        let marks: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        format!(
            "INSERT INTO {}({}) VALUES ({})",
            quote(&self.name),
            names.join(", "),
            marks.join(", ")
        )
    }

    /// The first column of `select` that `insert` takes: a row number is copied, a key of columns
    /// stands among the columns already.
    pub(super) fn insert_from(&self) -> usize {
        match &self.key {
            Key::Rowid(_) | Key::None => 0,
            Key::Columns(names) => names.len(),
        }
    }

    /// Columns that `select` gives.
    pub(super) fn width(&self) -> usize {
        self.key_width() + self.columns.len()
    }
}

/// Reads the schema of a database.
pub(super) fn read(connection: &Connection) -> Result<Schema, Trouble> {
    let mut tables = Vec::new();
    let mut query = connection.prepare(
        "SELECT s.name, s.sql, l.type, l.wr FROM sqlite_schema s \
         JOIN pragma_table_list l ON l.schema = 'main' AND l.name = s.name \
         WHERE s.type = 'table' ORDER BY s.rowid",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !data(&name) {
            continue;
        }
        let kind: String = row.get(2)?;
        if kind != "table" {
            return Err(Trouble::last(format!(
                "`{name}` is a {kind} table, which a copy by rows cannot bring over"
            )));
        }
        tables.push(table(connection, name, row.get(1)?, row.get(3)?)?);
    }
    Ok(Schema { tables, objects: objects(connection)? })
}

/// Whether a table is part of the data.
fn data(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    !lower.starts_with("sqlite_") && !OURS.contains(&lower.as_str())
}

fn table(
    connection: &Connection,
    name: String,
    sql: String,
    without_rowid: bool,
) -> Result<Table, Trouble> {
    let mut query = connection
        .prepare_cached("SELECT name, hidden, pk FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let all = query
        .query_map([&name], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let key = if without_rowid {
        Key::Columns(primary_key(connection, &name)?)
    } else {
        let hidden = |name: &str| all.iter().any(|(column, ..)| column.eq_ignore_ascii_case(name));
        ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| !hidden(name))
            .map_or(Key::None, Key::Rowid)
    };
    let columns = all.into_iter().filter(|(_, hidden, _)| *hidden == 0).map(|(name, ..)| name);
    Ok(Table { columns: columns.collect(), name, sql, key })
}

/// Columns and collations of the primary key of a table without row numbers.
fn primary_key(connection: &Connection, table: &str) -> Result<Vec<(String, String)>, Trouble> {
    let mut query = connection.prepare_cached(
        "SELECT x.name, x.coll FROM pragma_index_list(?1) l, pragma_index_xinfo(l.name) x \
         WHERE l.origin = 'pk' AND x.key = 1 ORDER BY x.seqno",
    )?;
    let key = query.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let key: Vec<_> = key.collect::<Result<_, _>>()?;
    if key.is_empty() {
        return Err(Trouble::last(format!("`{table}` has neither row numbers nor a primary key")));
    }
    Ok(key)
}

fn objects(connection: &Connection) -> Result<Vec<Object>, Trouble> {
    let mut query = connection.prepare(
        "SELECT type, name, sql, tbl_name FROM sqlite_schema \
         WHERE type IN ('index', 'view', 'trigger') AND sql IS NOT NULL \
         ORDER BY CASE type WHEN 'index' THEN 0 WHEN 'view' THEN 1 ELSE 2 END, rowid",
    )?;
    let mut objects = Vec::new();
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if data(&row.get::<_, String>(3)?) {
            objects.push(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? });
        }
    }
    Ok(objects)
}

/// The counters of `AUTOINCREMENT`, by table.
pub(super) fn sequences(connection: &Connection) -> Result<Vec<(String, i64)>, Trouble> {
    let there = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", [], |_| Ok(()))
        .optional()?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut query = connection.prepare("SELECT name, seq FROM sqlite_sequence ORDER BY name")?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, i64)> = found.collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|(name, _)| data(name)).collect())
}

/// Rows of a table.
pub(super) fn count(connection: &Connection, table: &str) -> Result<u64, Trouble> {
    let sql = format!("SELECT count(*) FROM {}", quote(table));
    let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}
