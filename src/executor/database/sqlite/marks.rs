//! What says whose a target is: the bookmark of a copy on its way, the receipt of a finished one.
//!
//! Both lie in the target itself, written in the transactions of what they speak of.

use super::super::{Receipt, Work};
use super::{Brake, Sqlite, Trouble};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// One row while a copy is on its way: whose it is.
pub(super) const MARK: &str = "cutover_transfer";
/// One row for each finished chunk of a copy on its way.
pub(super) const CHUNKS: &str = "cutover_chunk";
/// One row after a finished copy.
pub(super) const RECEIPT: &str = "cutover_receipt";

/// Tables that are ours and no part of the data. Others whose names look like it are somebody's.
pub(super) const OURS: [&str; 3] = [MARK, CHUNKS, RECEIPT];

/// What a target holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing.
    Nothing,
    /// The beginning of a copy by this run, of a source with this schema.
    Half { schema: String },
    /// This run's finished copy.
    Whole(Receipt),
    /// Something that is not this run's: what it is.
    Foreign(String),
}

/// What lies in a target, whoever left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// The beginning of a copy: of which database, by which run (none: the mark is empty).
    Half(Option<Owner>, String),
    /// A finished copy.
    Whole(Option<Owner>, Receipt),
    /// Tables, views and triggers that no mark speaks of.
    Objects(Vec<String>),
}

/// Whose a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The run.
    run: String,
    /// Of which database.
    database: String,
}

impl Left {
    /// In words, when a copy is there.
    pub(super) fn copy(&self) -> Option<String> {
        let said = |what: &str, owner: &Option<Owner>| match owner {
            Some(Owner { run, database }) => format!("{what} of `{database}` by run `{run}`"),
            None => format!("{what} by nobody"),
        };
        match self {
            Self::Half(owner, _) => Some(said("half a copy", owner)),
            Self::Whole(owner @ Some(_), _) => Some(said("the copy", owner)),
            Self::Whole(None, _) => Some("a copy by nobody".to_owned()),
            Self::Nothing | Self::Objects(_) => None,
        }
    }
}

/// Looks at what is there, and whether it is this run's.
pub(super) fn holds(connection: &Connection, work: &Work) -> Result<Holds, Trouble> {
    let ours = |owner: &Option<Owner>| {
        owner
            .as_ref()
            .is_some_and(|owner| owner.run == work.context.run && owner.database == work.database)
    };
    let left = left(connection)?;
    let copy = left.copy();
    Ok(match left {
        Left::Nothing => Holds::Nothing,
        Left::Half(owner, schema) if ours(&owner) => Holds::Half { schema },
        Left::Whole(owner, receipt) if ours(&owner) => Holds::Whole(receipt),
        Left::Half(..) | Left::Whole(..) => Holds::Foreign(copy.unwrap_or_default()),
        Left::Objects(names) => {
            let some: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
            let more = if names.len() > 5 { ", ..." } else { "" };
            Holds::Foreign(format!("{}{more}", some.join(", ")))
        }
    })
}

/// Looks at what is there, whoever left it.
pub(super) fn left(connection: &Connection) -> Result<Left, Trouble> {
    let owner = |row: &rusqlite::Row<'_>| {
        Ok::<_, rusqlite::Error>(Owner { run: row.get(0)?, database: row.get(1)? })
    };
    if has(connection, MARK)? {
        let sql = format!("SELECT run, database, schema FROM {MARK}");
        let found = connection.query_row(&sql, [], |row| Ok((owner(row)?, row.get(2)?)));
        return Ok(match found.optional()? {
            Some((owner, schema)) => Left::Half(Some(owner), schema),
            None => Left::Half(None, String::new()),
        });
    }
    if has(connection, RECEIPT)? {
        let sql = format!("SELECT run, database, rows, bytes, digest FROM {RECEIPT}");
        let found = connection.query_row(&sql, [], |row| {
            let number = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
            let receipt = Receipt { rows: number(2)?, bytes: number(3)?, digest: row.get(4)? };
            Ok((owner(row)?, receipt))
        });
        return Ok(match found.optional()? {
            Some((owner, receipt)) => Left::Whole(Some(owner), receipt),
            None => Left::Whole(None, Receipt { rows: 0, bytes: 0, digest: String::new() }),
        });
    }
    let names = foreign(connection)?;
    Ok(if names.is_empty() { Left::Nothing } else { Left::Objects(names) })
}

/// Whether a copy into it has begun and not ended.
pub(super) fn is_half(connection: &Connection) -> Result<bool, Trouble> {
    has(connection, MARK)
}

fn has(connection: &Connection, table: &str) -> Result<bool, Trouble> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.query_row(sql, [table], |_| Ok(())).optional()?.is_some())
}

/// Tables, views and triggers that are neither SQLite's nor ours.
fn foreign(connection: &Connection) -> Result<Vec<String>, Trouble> {
    let mut query = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names = query.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().filter(|name| !OURS.contains(&name.as_str())).collect())
}

/// What a finished copy of this run left.
pub(super) fn receipt(
    here: &Sqlite,
    work: &Work,
    brake: &Brake,
) -> Result<Option<Receipt>, Trouble> {
    if !here.path.exists() {
        return Ok(None);
    }
    let connection = here.view(brake)?;
    match holds(&connection, work).map_err(|error| here.trouble(error))? {
        Holds::Whole(receipt) => Ok(Some(receipt)),
        _ => Ok(None),
    }
}

/// Whether nothing is there, not even a mark.
pub(super) fn is_empty(here: &Sqlite, work: &Work, brake: &Brake) -> Result<bool, Trouble> {
    if !here.path.exists() {
        return Ok(true);
    }
    let connection = here.view(brake)?;
    Ok(holds(&connection, work).map_err(|error| here.trouble(error))? == Holds::Nothing)
}

/// Drops this run's copy, in one transaction: after a kill all of it is still there, marks and all.
pub(super) fn discard(here: &Sqlite, work: &Work, brake: &Brake) -> Result<(), Trouble> {
    if !here.path.exists() {
        return Ok(());
    }
    let mut connection = here.open(brake)?;
    let mut drop_all = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match holds(&transaction, work)? {
            Holds::Nothing => return Ok(()),
            Holds::Foreign(what) => {
                return Err(Trouble::last(format!(
                    "holds {what}, which is not a copy by run `{}`: nothing is dropped",
                    work.context.run
                )));
            }
            Holds::Half { .. } | Holds::Whole(_) => {}
        }
        for kind in ["trigger", "view", "table"] {
            let names: Vec<String> = transaction
                .prepare(
                    "SELECT name FROM sqlite_schema WHERE type = ?1 \
                     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                )?
                .query_map([kind], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for name in names {
                brake.go_on()?;
                transaction
                    .execute_batch(&format!("DROP {kind} {}", super::schema::quote(&name)))?;
            }
        }
        transaction.pragma_update(None, "user_version", 0)?;
        transaction.pragma_update(None, "application_id", 0)?;
        transaction.commit().map_err(Trouble::from)
    };
    drop_all().map_err(|error| here.trouble(error))
}
