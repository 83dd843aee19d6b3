//! `orders.pause` and `orders.resume`: a line's queue, in a table of the line's database.
//!
//! The queue's gate is one row of `order_gate(one, paused, released_seq)`: a worker issues the queued
//! order of lowest `seq` while the gate is not paused or the order is released. `seq` is the order of
//! submission, so that raising `released_seq` along it lets the oldest go first. Every step of it is
//! one transaction that may be repeated: an order is issued by its worker alone, once, whatever
//! happens to this process.

use super::until::Until;
use super::{Context, Worked, database::sqlite};
use crate::action::orders::{Pause, Resume};
use crate::estate::Database;
use crate::event::{Ending, Outputs};
use crate::failure::Failure;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sqlite::{Brake, Sqlite, Trouble, blocking};
use std::time::Duration;

/// How often more orders are released, and how often it is looked whether they are issued.
const BEAT: Duration = Duration::from_millis(100);
/// Of the rate, so much may stand released and not issued, seconds: a worker that stood still goes on
/// at the rate, and does not make up for it all at once.
const AHEAD: f64 = 0.5;

/// What is said of a queue without a gate.
const NO_GATE: &str = "`order_gate` does not hold its one row";

/// A line's queue at a site.
#[derive(Clone)]
struct Queue {
    database: Sqlite,
    /// Quoted.
    table: String,
}

/// The gate's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    paused: bool,
    /// Orders up to this one may go though it is paused; with an open gate: are waited for.
    released: i64,
}

/// How far the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// Queued orders up to the bound.
    queued: u64,
    /// Orders up to the bound, in all.
    all: u64,
}

/// Lets nothing be issued from the queue any more.
pub(super) async fn pause(pause: &Pause<String>, until: &Until, context: &Context) -> Worked {
    let queue = find(&pause.site, &pause.line, context)?;
    context.doing("pausing the queue");
    queue.change(until, "UPDATE order_gate SET paused = 1, released_seq = 0 WHERE one = 1").await?;
    is_paused(pause, until, context).await.map_err(|ending| match ending {
        Ending::NotDone => {
            Ending::Failed(Failure::transient("the queue's gate was paused and is open again"))
        }
        other => other,
    })
}

/// Whether the queue is paused.
pub(super) async fn is_paused(pause: &Pause<String>, until: &Until, context: &Context) -> Worked {
    let queue = find(&pause.site, &pause.line, context)?;
    if queue.gate(until).await?.paused { Ok(Outputs::new()) } else { Err(Ending::NotDone) }
}

/// Lets the queue be issued again, in order of submission and at the rate; ends when every order that
/// was queued at its begin is issued, and opens the gate. Those from before the window are among
/// them, and come first: the order of submission is the queue's own. A gate that is open already is
/// left so; the orders are waited for all the same, and the gate's row remembers up to which.
pub(super) async fn resume(resume: &Resume<String>, until: &Until, context: &Context) -> Worked {
    let queue = find(&resume.site, &resume.line, context)?;
    let paused = queue.gate(until).await?.paused;
    context.doing("releasing orders, oldest first");
    let bound = if paused { queue.last(until).await? } else { queue.await_last(until).await? };
    let mut seen = tokio::time::Instant::now();
    let first = queue.standing(bound, until).await?;
    let mut before = first;
    let most = (resume.rate * AHEAD).max(1.0);
    // Orders that may stand released and not issued just now; the first goes at once.
    let mut ahead = 1.0;
    loop {
        let now = queue.standing(bound, until).await?;
        let issued = first.queued.saturating_sub(now.queued);
        context.progress.send_modify(|progress| progress.rows = Some((issued, first.queued)));
        if now.queued == 0 {
            if now.all != first.all {
                return Err(Ending::Failed(Failure::last(format!(
                    "{} orders were queued or issued when it began, and {} are now: counting in is not counting out",
                    first.all, now.all
                ))));
            }
            break;
        }
        let went = before.queued.saturating_sub(now.queued) as f64;
        let earned = seen.elapsed().as_secs_f64() * resume.rate;
        (before, seen) = (now, tokio::time::Instant::now());
        ahead = (ahead - went + earned).clamp(0.0, most);
        if paused {
            queue.release(bound, ahead as u64, until).await?;
        }
        until.pause(BEAT).await?;
    }
    if paused {
        let open = "UPDATE order_gate SET paused = 0, released_seq = 0 WHERE one = 1";
        queue.change(until, open).await?;
    } else if queue.gate(until).await?.paused {
        let what = "the queue's gate was open and has been paused meanwhile";
        return Err(Ending::Failed(Failure::transient(what)));
    } else {
        let forget = "UPDATE order_gate SET released_seq = released_seq * paused WHERE one = 1";
        queue.change(until, forget).await?;
    }
    Ok([("released".to_owned(), first.queued.to_string())].into())
}

/// Whether the queue's gate is open, and nobody waits for an order that is not issued.
pub(super) async fn is_resumed(
    resume: &Resume<String>,
    until: &Until,
    context: &Context,
) -> Worked {
    let queue = find(&resume.site, &resume.line, context)?;
    let Gate { paused, released } = queue.gate(until).await?;
    let waits = !paused && queue.standing(released, until).await?.queued > 0;
    if paused || waits { Err(Ending::NotDone) } else { Ok(Outputs::new()) }
}

/// Whether the queue is paused, and how many orders are queued. Leaves no trace in the database.
pub(super) async fn standing(
    site: &str,
    line: &str,
    context: &Context,
) -> Result<(bool, u64), Ending> {
    let queue = find(site, line, context)?;
    let ask = move || {
        sqlite::look::ask(queue.database.path(), |connection| {
            let sql = "SELECT paused FROM order_gate WHERE one = 1";
            let paused: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
            let paused = paused.ok_or_else(|| Trouble::last(NO_GATE))?;
            let sql = format!("SELECT count(*) FROM {} WHERE state = 'queued'", queue.table);
            let queued: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            Ok((paused != 0, queued.unsigned_abs()))
        })
    };
    let asked = tokio::task::spawn_blocking(ask).await;
    let asked = asked.map_err(|error| {
        Ending::Unknown(Failure::in_doubt(format!("BUG: the look broke off: {error}")))
    })?;
    asked.map(|(standing, _)| standing).map_err(Ending::Failed)
}

fn find(site_name: &str, line: &str, context: &Context) -> Result<Queue, Ending> {
    let site = context.site(site_name)?;
    let lacks = |what: &str| {
        Ending::Failed(Failure::last(format!("site `{site_name}` has no {what} for `{line}`")))
    };
    let orders = site.orders.as_ref().ok_or_else(|| lacks("order queue"))?;
    let database = site.databases.get(line).ok_or_else(|| lacks("database"))?;
    match &database.value {
        Database::Sqlite(path) => Ok(Queue {
            database: Sqlite::new(path, format!("{line}@{site_name}")),
            table: format!("\"{}\"", orders.table.replace('"', "\"\"")),
        }),
        Database::Postgres { .. } => Err(Ending::Failed(Failure::last(format!(
            "database `{line}` of `{site_name}` is PostgreSQL, which comes with the real estate"
        )))),
    }
}

impl Queue {
    async fn work<T: Send + 'static>(
        &self,
        until: &Until,
        does: impl FnOnce(&Self, &mut Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Ending> {
        let here = self.clone();
        blocking(until, None, move |brake: &Brake| {
            let mut connection = here.database.open(brake)?;
            does(&here, &mut connection)
        })
        .await
    }

    /// One statement, in one transaction; the gate's row must be there.
    async fn change(&self, until: &Until, sql: &'static str) -> Result<(), Ending> {
        self.work(until, move |_, connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if transaction.execute(sql, [])? != 1 {
                return Err(Trouble::last(NO_GATE));
            }
            transaction.commit()?;
            Ok(())
        })
        .await
    }

    async fn gate(&self, until: &Until) -> Result<Gate, Ending> {
        self.work(until, |_, connection| {
            let sql = "SELECT paused, released_seq FROM order_gate WHERE one = 1";
            let gate = connection
                .query_row(sql, [], |row| {
                    Ok(Gate { paused: row.get::<_, i64>(0)? != 0, released: row.get(1)? })
                })
                .optional()?;
            gate.ok_or_else(|| Trouble::last(NO_GATE))
        })
        .await
    }

    /// Notes in an open gate up to which order the queue is waited for: the last one that is queued
    /// now, or what an earlier attempt noted.
    async fn await_last(&self, until: &Until) -> Result<i64, Ending> {
        self.work(until, |here, connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let note = format!(
                "UPDATE order_gate SET released_seq = (SELECT coalesce(max(seq), 0) FROM {} \
                 WHERE state = 'queued') WHERE one = 1 AND paused = 0 AND released_seq = 0",
                here.table
            );
            transaction.execute(&note, [])?;
            let sql = "SELECT released_seq FROM order_gate WHERE one = 1";
            let bound = transaction.query_row(sql, [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(bound)
        })
        .await
    }

    /// The last order that is queued now; 0 without one.
    async fn last(&self, until: &Until) -> Result<i64, Ending> {
        self.work(until, |here, connection| {
            let sql =
                format!("SELECT coalesce(max(seq), 0) FROM {} WHERE state = 'queued'", here.table);
            Ok(connection.query_row(&sql, [], |row| row.get(0))?)
        })
        .await
    }

    async fn standing(&self, bound: i64, until: &Until) -> Result<Standing, Ending> {
        self.work(until, move |here, connection| {
            let sql = format!(
                "SELECT coalesce(sum(state = 'queued'), 0), count(*) FROM {} WHERE seq <= ?1",
                here.table
            );
            Ok(connection.query_row(&sql, [bound], |row| {
                let number = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
                Ok(Standing { queued: number(0)?, all: number(1)? })
            })?)
        })
        .await
    }

    /// Lets the next so many queued orders go; never fewer than were let go already.
    async fn release(&self, bound: i64, count: u64, until: &Until) -> Result<(), Ending> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.work(until, move |here, connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sql = format!(
                "SELECT max(seq) FROM (SELECT seq FROM {} WHERE state = 'queued' AND seq <= ?1 \
                 ORDER BY seq LIMIT ?2)",
                here.table
            );
            let up_to: Option<i64> =
                transaction.query_row(&sql, params![bound, count], |row| row.get(0))?;
            if let Some(up_to) = up_to {
                transaction.execute(
                    "UPDATE order_gate SET released_seq = max(released_seq, ?1) WHERE one = 1",
                    [up_to],
                )?;
            }
            transaction.commit()?;
            Ok(())
        })
        .await
    }
}
