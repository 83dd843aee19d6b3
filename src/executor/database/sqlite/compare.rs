//! The comparison: every table row by row in the order of its keys, what stands beside the tables,
//! and the counters. Both ends are read in one consistent view each.
//!
//! A merge of two sorted streams: memory does not grow with the tables, and every difference is named
//! by table and key. Not known here: which rows the emergency lane is changing just now.

use super::super::Comparison;
use super::schema::{self, Key, Object, Schema, Table};
use super::value::{self, Cell};
use super::{Brake, Sqlite, Trouble};
use rusqlite::{Connection, Rows};
use std::cmp::Ordering;

/// Rows between two looks whether to go on.
const LOOK: u64 = 4096;

/// Compares two databases.
pub(super) fn compare(from: &Sqlite, to: &Sqlite, brake: &Brake) -> Result<Comparison, Trouble> {
    let mut found = Comparison::default();
    if !to.path.exists() {
        return Err(Trouble::last(format!("database `{}` is not there", to.name)));
    }
    let (source, target) = (from.view(brake)?, to.view(brake)?);
    let ours = schema::read(&source).map_err(|error| from.trouble(error))?;
    let theirs = schema::read(&target).map_err(|error| to.trouble(error))?;
    objects(&ours, &theirs, &mut found);
    let mut total = 0;
    for table in &ours.tables {
        total += schema::count(&source, &table.name).map_err(|error| from.trouble(error))?;
    }
    let mut rows = 0;
    for table in &ours.tables {
        brake.doing(format!("comparing `{}`", table.name));
        let twin = theirs.tables.iter().find(|other| other.name == table.name);
        match twin {
            Some(twin) if twin == table => {
                let mut merge = Merge { table, found: &mut found, brake, rows: &mut rows, total };
                merge.run(&source, &target).map_err(|error| {
                    to.trouble(error.during(format!("comparing table `{}`", table.name)))
                })?;
            }
            Some(_) => found.differs(|| format!("table `{}` is made otherwise", table.name)),
            None => found.differs(|| format!("table `{}` is missing at the target", table.name)),
        }
    }
    for table in &theirs.tables {
        if !ours.tables.iter().any(|other| other.name == table.name) {
            found.differs(|| format!("table `{}` is only at the target", table.name));
        }
    }
    sequences(&source, &target, &mut found).map_err(|error| to.trouble(error))?;
    Ok(found)
}

fn objects(ours: &Schema, theirs: &Schema, found: &mut Comparison) {
    let lacks = |all: &[Object], object: &Object| !all.contains(object);
    for object in ours.objects.iter().filter(|object| lacks(&theirs.objects, object)) {
        found.differs(|| {
            format!("{} `{}` is missing at the target, or made otherwise", object.kind, object.name)
        });
    }
    for object in theirs.objects.iter().filter(|object| lacks(&ours.objects, object)) {
        let known = ours.objects.iter().any(|other| other.name == object.name);
        if !known {
            found.differs(|| format!("{} `{}` is only at the target", object.kind, object.name));
        }
    }
}

/// A counter that is behind would number a new row like an old one.
fn sequences(
    source: &Connection,
    target: &Connection,
    found: &mut Comparison,
) -> Result<(), Trouble> {
    let there = schema::sequences(target)?;
    for (table, value) in schema::sequences(source)? {
        let other = there.iter().find(|(name, _)| *name == table).map_or(0, |(_, value)| *value);
        if other < value {
            found.differs(|| format!("the counter of `{table}` is {other}, behind {value}"));
        }
    }
    Ok(())
}

/// Two streams of one table, in one order.
struct Merge<'a> {
    table: &'a Table,
    found: &'a mut Comparison,
    brake: &'a Brake,
    rows: &'a mut u64,
    total: u64,
}

impl Merge<'_> {
    fn run(&mut self, source: &Connection, target: &Connection) -> Result<(), Trouble> {
        let sql = self.table.select_binary();
        let (mut ours, mut theirs) = (source.prepare(&sql)?, target.prepare(&sql)?);
        let (mut ours, mut theirs) = (ours.raw_query(), theirs.raw_query());
        let mut one = self.next(&mut ours)?;
        let mut other = self.next(&mut theirs)?;
        loop {
            let order = match (&one, &other) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => self.order(one, other),
            };
            match order {
                Ordering::Less => {
                    self.count(true, false)?;
                    self.name(one.as_deref(), "is missing at the target");
                    one = self.next(&mut ours)?;
                }
                Ordering::Greater => {
                    self.count(false, true)?;
                    self.name(other.as_deref(), "is only at the target");
                    other = self.next(&mut theirs)?;
                }
                Ordering::Equal => {
                    self.count(true, true)?;
                    if one != other {
                        self.found.changed += 1;
                        self.name(one.as_deref(), "differs");
                    }
                    one = self.next(&mut ours)?;
                    other = self.next(&mut theirs)?;
                }
            }
        }
    }

    fn next(&self, rows: &mut Rows<'_>) -> Result<Option<Vec<Cell>>, Trouble> {
        match rows.next()? {
            Some(row) => Ok(Some(value::cells(row, self.table.width())?)),
            None => Ok(None),
        }
    }

    /// By key; without one by all that a row holds.
    fn order(&self, one: &[Cell], other: &[Cell]) -> Ordering {
        let width = match self.table.key {
            Key::None => self.table.width(),
            _ => self.table.key_width(),
        };
        let pairs = one.iter().zip(other).take(width);
        pairs
            .map(|(one, other)| one.order(other))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn count(&mut self, source: bool, target: bool) -> Result<(), Trouble> {
        self.found.rows_source += u64::from(source);
        self.found.rows_target += u64::from(target);
        *self.rows += 1;
        if self.rows.is_multiple_of(LOOK) {
            self.brake.go_on()?;
            self.brake.tell(Some((*self.rows, self.total.max(*self.rows))), None);
        }
        Ok(())
    }

    fn name(&mut self, row: Option<&[Cell]>, what: &str) {
        let table = self.table;
        self.found.differs(|| {
            let key: Vec<String> = row
                .unwrap_or_default()
                .iter()
                .take(table.key_width().max(1))
                .map(ToString::to_string)
                .collect();
            format!("table `{}`, key {}: {what}", table.name, key.join(", "))
        });
    }
}
