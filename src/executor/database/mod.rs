//! `database.*`: restore points, copies that prove themselves, comparisons; behind one trait for
//! every kind of database.
//!
//! Not known here: how a kind of database does it (`sqlite`; PostgreSQL comes with the real estate),
//! and the emergency lane, which may revoke at either end at any moment and is no difference.

pub(crate) mod sqlite;

use super::until::Until;
use super::{Context, Worked};
use crate::action::database::{Method, Snapshot, Transfer, Verify};
use crate::estate::Database;
use crate::event::{Ending, Outputs};
use crate::failure::Failure;
use sqlite::Sqlite;
use std::future::Future;
use std::time::Duration;

/// Differences that a failure names.
const NAMED: usize = 20;
/// Before each further look at rows that differ: a revocation may have landed at one end and be on
/// its way to the other.
const LOOK_AGAIN: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// What a database is worked on with.
#[derive(Clone)]
pub(crate) struct Work {
    /// Stop and deadline.
    pub(crate) until: Until,
    /// Run, step and progress.
    pub(crate) context: Context,
    /// The database's name in plan and estate.
    pub(crate) database: String,
}

/// A restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Where, for people.
    pub(crate) place: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// blake3 of its content, in hex.
    pub(crate) digest: String,
}

/// What a finished copy leaves in its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Rows of all tables.
    pub(crate) rows: u64,
    /// Bytes of their values.
    pub(crate) bytes: u64,
    /// blake3 over the row streams of all tables, in hex.
    pub(crate) digest: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Rows at the source.
    pub(crate) rows_source: u64,
    /// Rows at the target.
    pub(crate) rows_target: u64,
    /// How many rows, tables, objects and sequences differ.
    pub(crate) differences: u64,
    /// How many of them are rows of one key with different content.
    pub(crate) changed: u64,
    /// The first of them, by table and key.
    pub(crate) named: Vec<String>,
}

impl Comparison {
    /// Counts a difference, and names it while there is room.
    pub(crate) fn differs(&mut self, what: impl FnOnce() -> String) {
        self.differences += 1;
        if self.named.len() < NAMED {
            self.named.push(what());
        }
    }
}

/// A kind of database, at one site. Every method may be repeated after it was cut off anywhere.
pub(crate) trait Engine: Send + Sync {
    /// Makes the run's restore point, or finds it made.
    fn snapshot(&self, work: &Work) -> impl Future<Output = Result<Point, Ending>> + Send;

    /// The run's restore point, if it is there and whole.
    fn point(&self, work: &Work) -> impl Future<Output = Result<Option<Point>, Ending>> + Send;

    /// Drops the run's restore point and what is left of a half one.
    fn drop_snapshot(&self, work: &Work) -> impl Future<Output = Result<(), Ending>> + Send;

    /// Whether neither a restore point of the run nor half of one is there.
    fn without_snapshot(&self, work: &Work) -> impl Future<Output = Result<bool, Ending>> + Send;

    /// Copies everything into `target`, which is empty or holds the beginning of this run's copy;
    /// else it refuses. Goes on from the last finished chunk.
    fn copy_to(
        &self,
        target: &Self,
        work: &Work,
    ) -> impl Future<Output = Result<Receipt, Ending>> + Send;

    /// What the run's finished copy left here.
    fn receipt(&self, work: &Work) -> impl Future<Output = Result<Option<Receipt>, Ending>> + Send;

    /// Drops the run's copy, finished or not; refuses what is not the run's. Empty is right.
    fn discard(&self, work: &Work) -> impl Future<Output = Result<(), Ending>> + Send;

    /// Whether nothing is here.
    fn is_empty(&self, work: &Work) -> impl Future<Output = Result<bool, Ending>> + Send;

    /// Compares every table's count and order-independent content, and the sequences.
    fn compare(
        &self,
        target: &Self,
        work: &Work,
    ) -> impl Future<Output = Result<Comparison, Ending>> + Send;
}

/// Finds a database of the estate. `Engine`s are never mixed: both ends are of one kind.
fn find(site: &str, name: &str, context: &Context) -> Result<Sqlite, Ending> {
    let database = context.site(site)?.databases.get(name).ok_or_else(|| {
        Ending::Failed(Failure::last(format!("site `{site}` has no database `{name}`")))
    })?;
    match &database.value {
        Database::Sqlite(path) => Ok(Sqlite::new(path, format!("{name}@{site}"))),
        Database::Postgres { .. } => Err(Ending::Failed(Failure::last(format!(
            "database `{name}` of `{site}` is PostgreSQL, which comes with the real estate"
        )))),
    }
}

fn work(database: &str, until: &Until, context: &Context) -> Work {
    Work { until: until.clone(), context: context.clone(), database: database.to_owned() }
}

pub(super) async fn snapshot(
    snapshot: &Snapshot<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (here, work) = at(snapshot, until, context)?;
    context.doing("taking a restore point");
    here.snapshot(&work).await.map(Point::into_outputs)
}

pub(super) async fn has_snapshot(
    snapshot: &Snapshot<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (here, work) = at(snapshot, until, context)?;
    here.point(&work).await?.map(Point::into_outputs).ok_or(Ending::NotDone)
}

pub(super) async fn drop_snapshot(
    snapshot: &Snapshot<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (here, work) = at(snapshot, until, context)?;
    here.drop_snapshot(&work).await.map(|()| Outputs::new())
}

pub(super) async fn has_no_snapshot(
    snapshot: &Snapshot<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (here, work) = at(snapshot, until, context)?;
    answer(here.without_snapshot(&work).await?)
}

pub(super) async fn transfer(
    transfer: &Transfer<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    if transfer.method == Method::Replicate {
        let what = "`method: replicate` comes with the real estate; `copy` is built";
        return Err(Ending::Failed(Failure::last(what)));
    }
    let (from, to, work) = both(&transfer.from, &transfer.to, &transfer.database, until, context)?;
    if to.receipt(&work).await?.is_some() {
        return again(&from, &to, &work).await;
    }
    context.doing("copying");
    from.copy_to(&to, &work).await.map(Receipt::into_outputs)
}

/// A copy that this run finished before: right as long as it still is one, and never copied over.
async fn again(from: &Sqlite, to: &Sqlite, work: &Work) -> Worked {
    let found = compare(from, to, work).await?;
    if found.differences > 0 {
        return Err(Ending::Failed(found.failure(&work.database).while_doing(
            "the target holds this run's finished copy and is not like the source any more; undo the step before another copy",
        )));
    }
    to.receipt(work).await?.map(Receipt::into_outputs).ok_or(Ending::NotDone)
}

pub(super) async fn is_transferred(
    transfer: &Transfer<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (_, to, work) = both(&transfer.from, &transfer.to, &transfer.database, until, context)?;
    to.receipt(&work).await?.map(Receipt::into_outputs).ok_or(Ending::NotDone)
}

pub(super) async fn discard(
    transfer: &Transfer<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (_, to, work) = both(&transfer.from, &transfer.to, &transfer.database, until, context)?;
    context.doing("dropping the copy");
    to.discard(&work).await.map(|()| Outputs::new())
}

pub(super) async fn is_discarded(
    transfer: &Transfer<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (_, to, work) = both(&transfer.from, &transfer.to, &transfer.database, until, context)?;
    answer(to.is_empty(&work).await?)
}

pub(super) async fn verify(verify: &Verify<String>, until: &Until, context: &Context) -> Worked {
    let (from, to, work) = both(&verify.from, &verify.to, &verify.database, until, context)?;
    context.doing("comparing");
    let found = compare(&from, &to, &work).await?;
    if found.differences > 0 {
        return Err(Ending::Failed(found.failure(&verify.database)));
    }
    Ok(found.into_outputs())
}

/// A comparison is its own check: it changes nothing.
pub(super) async fn is_verified(
    verify: &Verify<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let (from, to, work) = both(&verify.from, &verify.to, &verify.database, until, context)?;
    let found = compare(&from, &to, &work).await?;
    if found.differences > 0 { Err(Ending::NotDone) } else { Ok(found.into_outputs()) }
}

/// Compares, and looks again before it calls a difference what may be a revocation on its way.
async fn compare(from: &Sqlite, to: &Sqlite, work: &Work) -> Result<Comparison, Ending> {
    let mut found = from.compare(to, work).await?;
    for pause in LOOK_AGAIN {
        // Rows that are missing do not come by waiting.
        if found.changed == 0 || found.changed < found.differences {
            break;
        }
        work.until.pause(pause).await?;
        found = from.compare(to, work).await?;
    }
    Ok(found)
}

fn at(
    snapshot: &Snapshot<String>,
    until: &Until,
    context: &Context,
) -> Result<(Sqlite, Work), Ending> {
    let here = find(&snapshot.site, &snapshot.database, context)?;
    Ok((here, work(&snapshot.database, until, context)))
}

fn both(
    from: &str,
    to: &str,
    database: &str,
    until: &Until,
    context: &Context,
) -> Result<(Sqlite, Sqlite, Work), Ending> {
    let (source, target) = (find(from, database, context)?, find(to, database, context)?);
    if source.is(&target) {
        return Err(Ending::Failed(Failure::last(format!(
            "database `{database}` is the same at `{from}` and at `{to}`"
        ))));
    }
    Ok((source, target, work(database, until, context)))
}

fn answer(yes: bool) -> Worked {
    if yes { Ok(Outputs::new()) } else { Err(Ending::NotDone) }
}

fn outputs<const N: usize>(pairs: [(&str, String); N]) -> Outputs {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Point {
    fn into_outputs(self) -> Outputs {
        outputs([
            ("snapshot", self.place),
            ("bytes", self.bytes.to_string()),
            ("digest", self.digest),
        ])
    }
}

impl Receipt {
    fn into_outputs(self) -> Outputs {
        outputs([
            ("rows", self.rows.to_string()),
            ("bytes", self.bytes.to_string()),
            ("digest", self.digest),
        ])
    }
}

impl Comparison {
    fn into_outputs(self) -> Outputs {
        outputs([
            ("rows_source", self.rows_source.to_string()),
            ("rows_target", self.rows_target.to_string()),
            ("differences", self.differences.to_string()),
        ])
    }

    fn failure(&self, database: &str) -> Failure {
        let s = if self.differences == 1 { "" } else { "s" };
        let mut failure = Failure::last(format!(
            "database `{database}`: {} difference{s} ({} rows at the source, {} at the target)",
            self.differences, self.rows_source, self.rows_target
        ));
        failure.chain.extend(self.named.iter().cloned());
        let more = self.differences - self.named.len() as u64;
        if more > 0 {
            failure.chain.push(format!("and {more} more"));
        }
        failure
    }
}
