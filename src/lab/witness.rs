//! What clients of a lab saw, summed up: from the load's own record, the log of when routes were
//! closed, and the databases.
//!
//! Not known here: the run. Nothing that the runner or the guard says is taken for granted.

use super::load::{Acknowledged, ApiCall, Tally, files};
use super::state::{Deed, State, read_deeds, read_json, route_key};
use super::{Options, ROUTES, SITES, store, world};
use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// What clients saw, in the fields of `report --format json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// By service.
    pub protected: BTreeMap<String, Protected>,
    /// Requests to closed routes.
    pub api: Api,
    /// Orders.
    pub orders: Orders,
}

/// What relying parties saw of a protected service. Each question is put to every provider that
/// clients are sent to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Protected {
    /// Right answers, of all providers together.
    pub answers: u64,
    /// Questions that no provider answered rightly, or that any answered falsely.
    pub failures: u64,
    /// 99 of 100 right answers came within so many milliseconds.
    pub p99_ms: f64,
}

/// Requests to closed routes, from the end of their closing to the start of their reopening, at
/// whichever edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Api {
    /// Answered with 404.
    pub closed_404: u64,
    /// Answered otherwise, or not at all.
    pub closed_other: u64,
}

/// Orders, those that were there at the start and those that partners had acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Submitted before their line's ordering was closed; all, when it never was.
    pub before: u64,
    /// Submitted after.
    pub after: u64,
    /// Taken in once, and in the line's database no more.
    pub lost: u64,
    /// Issued more than once, at whichever site.
    pub doubled: u64,
    /// By line: orders from after that were issued before one from before was.
    pub out_of_order: u64,
}

/// Sums up what the clients of the lab in `directory` saw so far. The lab may be up or not.
///
/// # Errors
/// There was no lab, or its files are damaged.
pub fn summary(directory: &Path) -> Result<Summary> {
    let options: Options = read_json(&directory.join("options.json"))?;
    let state: State = read_json(&directory.join("state.json"))?;
    let closings = Closings::of(&read_deeds(directory)?, &options.lines);
    let mut summary = Summary {
        protected: protected(directory)?,
        api: api(directory, &closings)?,
        orders: Orders::default(),
    };
    let mut acknowledged: HashMap<String, Vec<Acknowledged>> = HashMap::new();
    each_line(&directory.join(files::ORDERS), |order: Acknowledged| {
        acknowledged.entry(order.line.clone()).or_default().push(order);
    })?;
    for line in &options.lines {
        let acknowledged = acknowledged.remove(line).unwrap_or_default();
        let seeded = (0..options.orders).map(|number| store::order_id(line, number));
        let place = home(&state, line);
        let here = Book::read(&world::database(directory, place, line))
            .with_context(|| format!("reading the orders of `{line}` at `{place}`"))?;
        let elsewhere = SITES.iter().filter(|site| **site != place);
        let others: Vec<Book> = elsewhere
            .map(|site| Book::read(&world::database(directory, site, line)).unwrap_or_default())
            .collect();
        let closed = closings.first_close(line);
        summary.orders.add(&count(seeded, &acknowledged, &here, &others, closed));
    }
    Ok(summary)
}

impl Orders {
    fn add(&mut self, other: &Self) {
        self.before += other.before;
        self.after += other.after;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
    }
}

/// Where a line is: where partners order, else where its writer is, else where it came from.
fn home(state: &State, line: &str) -> &'static str {
    let open = |site: &&&str| {
        let key = route_key(site, "order", line);
        state.routes.get(&key).is_some_and(|route| route.open)
    };
    let ordering = SITES.iter().find(open).copied();
    ordering.or_else(|| state.holders("writer", line).first().copied()).unwrap_or("from")
}

fn protected(directory: &Path) -> Result<BTreeMap<String, Protected>> {
    let path = directory.join(files::TALLY);
    let tally: Tally = if path.exists() { read_json(&path)? } else { Tally::new() };
    let counted = tally.into_iter().map(|(service, count)| {
        let (answers, failures, p99_ms) = (count.answers, count.failures, count.p99_ms);
        (service, Protected { answers, failures, p99_ms })
    });
    Ok(counted.collect())
}

fn api(directory: &Path, closings: &Closings) -> Result<Api> {
    let mut api = Api::default();
    each_line(&directory.join(files::API), |call: ApiCall| {
        if closings.covers(&call) {
            match call.status {
                404 => api.closed_404 += 1,
                _ => api.closed_other += 1,
            }
        }
    })?;
    Ok(api)
}

/// Reads a file of JSON lines; none when there is none. What a dying load left half written is left
/// out.
fn each_line<T: DeserializeOwned>(path: &Path, mut each: impl FnMut(T)) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let file = File::open(path).with_context(|| format!("reading `{}`", path.display()))?;
    for line in BufReader::new(file).lines() {
        if let Ok(value) = serde_json::from_str(&line?) {
            each(value);
        }
    }
    Ok(())
}

/// When each route of each line was closed at both sites, by the edges' own log.
#[derive(Debug, Default)]
struct Closings {
    /// Route and line to stretches of time, unix milliseconds.
    stretches: BTreeMap<(String, String), Vec<(i64, i64)>>,
}

impl Closings {
    fn of(deeds: &[Deed], lines: &[String]) -> Self {
        let mut stretches = BTreeMap::new();
        for route in ROUTES {
            for line in lines {
                let found = Self::closed(deeds, route, line);
                stretches.insert((route.to_owned(), line.clone()), found);
            }
        }
        Self { stretches }
    }

    fn closed(deeds: &[Deed], route: &str, line: &str) -> Vec<(i64, i64)> {
        let places: Vec<String> = SITES.iter().map(|site| route_key(site, route, line)).collect();
        let mut open: HashSet<&str> = HashSet::from([places[0].as_str()]);
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for deed in deeds {
            let Some(place) = places.iter().find(|place| **place == deed.place) else { continue };
            let was = !open.is_empty();
            match deed.deed.as_str() {
                "edge.close" => open.remove(place.as_str()),
                "edge.open" => open.insert(place),
                _ => continue,
            };
            match (was, open.is_empty()) {
                (true, true) => stretches.push((deed.at, i64::MAX)),
                (false, false) => {
                    if let Some(last) = stretches.last_mut() {
                        last.1 = deed.at;
                    }
                }
                _ => {}
            }
        }
        stretches
    }

    /// Whether a request fell wholly into a time at which its route was closed.
    fn covers(&self, call: &ApiCall) -> bool {
        let key = (call.route.clone(), call.line.clone());
        let stretches = self.stretches.get(&key).map_or(&[][..], Vec::as_slice);
        // A millisecond of the log is as long as one of the record: the borders do not count.
        stretches.iter().any(|(from, until)| call.at > *from && call.done < *until)
    }

    /// When ordering of a line was first closed.
    fn first_close(&self, line: &str) -> Option<i64> {
        let key = ("order".to_owned(), line.to_owned());
        self.stretches.get(&key).and_then(|stretches| stretches.first()).map(|(from, _)| *from)
    }
}

/// A site's orders of a line.
#[derive(Debug, Default)]
struct Book {
    /// Order to when it was submitted and issued (unix milliseconds), and its certificate.
    orders: HashMap<String, (i64, Option<i64>, Option<String>)>,
    /// Order to the certificates that were issued for it.
    certificates: HashMap<String, HashSet<String>>,
    /// Orders that have more than one row.
    repeated: HashSet<String>,
}

impl Book {
    /// Reads a database; one without the tables is an empty book.
    fn read(path: &Path) -> Result<Self> {
        let mut book = Self::default();
        if !path.exists() {
            return Ok(book);
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        let tables: i64 = db.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
             AND name IN ('orders', 'certificates')",
            [],
            |row| row.get(0),
        )?;
        if tables != 2 {
            return Ok(book);
        }
        let work = db.unchecked_transaction()?;
        let mut query =
            work.prepare("SELECT order_id, submitted_at, issued_at, serial FROM orders")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let order_id: String = row.get(0)?;
            let order = (row.get(1)?, row.get(2)?, row.get(3)?);
            if book.orders.insert(order_id.clone(), order).is_some() {
                book.repeated.insert(order_id);
            }
        }
        let mut query =
            work.prepare("SELECT order_id, serial FROM certificates WHERE order_id IS NOT NULL")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            book.certificates.entry(row.get(0)?).or_default().insert(row.get(1)?);
        }
        Ok(book)
    }
}

fn count(
    seeded: impl Iterator<Item = String>,
    acknowledged: &[Acknowledged],
    here: &Book,
    others: &[Book],
    closed: Option<i64>,
) -> Orders {
    let mut orders = Orders::default();
    let mut handed: HashMap<&str, HashSet<&str>> = HashMap::new();
    for order in acknowledged {
        let serials = handed.entry(&order.order_id).or_default();
        serials.extend(order.serial.as_deref());
    }
    let wanted: HashSet<String> =
        seeded.chain(acknowledged.iter().map(|order| order.order_id.clone())).collect();
    orders.lost = wanted.iter().filter(|order| !here.orders.contains_key(*order)).count() as u64;

    let is_before = |submitted: i64| closed.is_none_or(|closed| submitted <= closed);
    let before = here.orders.values().filter(|(submitted, ..)| is_before(*submitted));
    orders.before = before.clone().count() as u64;
    orders.after = here.orders.len() as u64 - orders.before;
    // One from before that still waits comes after everything that was issued.
    let last = before.map(|(_, issued, _)| issued.unwrap_or(i64::MAX)).max();
    let overtook = |(submitted, issued, _): &&(i64, Option<i64>, Option<String>)| {
        !is_before(*submitted) && issued.zip(last).is_some_and(|(issued, last)| issued < last)
    };
    orders.out_of_order = here.orders.values().filter(overtook).count() as u64;

    let doubled = |order_id: &&String| {
        let mut serials: HashSet<&str> = handed.get(order_id.as_str()).cloned().unwrap_or_default();
        for book in std::iter::once(here).chain(others) {
            serials.extend(book.orders.get(*order_id).and_then(|order| order.2.as_deref()));
            let issued = book.certificates.get(*order_id);
            serials.extend(issued.into_iter().flatten().map(String::as_str));
        }
        serials.len() > 1 || here.repeated.contains(*order_id)
    };
    let mut all: HashSet<&String> = here.orders.keys().chain(here.certificates.keys()).collect();
    all.extend(&wanted);
    orders.doubled = all.iter().filter(|order_id| doubled(order_id)).count() as u64;
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(at: i64, deed: &str, place: &str) -> Deed {
        let (deed, place) = (deed.to_owned(), place.to_owned());
        Deed { at, deed, place, count: 1, changed: true, what: String::new() }
    }

    fn call(at: i64, done: i64, status: u16) -> ApiCall {
        let (site, route, line) = ("from".into(), "order".into(), "geotrust".into());
        ApiCall { at, done, site, route, line, status, why: String::new() }
    }

    #[test]
    fn a_route_is_closed_from_the_last_edge_that_closes_to_the_first_that_opens() {
        let deeds = [
            deed(5, "edge.open", "from/order/geotrust"),
            deed(10, "edge.close", "from/order/geotrust"),
            deed(11, "edge.close", "from/order-status/geotrust"),
            deed(12, "edge.close", "to/order/geotrust"),
            deed(40, "edge.open", "to/order/geotrust"),
            deed(60, "edge.close", "to/order/geotrust"),
        ];
        let closings = Closings::of(&deeds, &["geotrust".to_owned()]);
        assert_eq!(closings.first_close("geotrust"), Some(10));
        for (call, covered) in [
            (call(9, 11, 201), false),
            (call(10, 11, 201), false),
            (call(11, 39, 404), true),
            (call(11, 40, 404), false),
            (call(45, 50, 201), false),
            (call(61, 62, 404), true),
        ] {
            assert_eq!(closings.covers(&call), covered, "{call:?}");
        }
    }

    fn book(rows: &[(&str, i64, Option<i64>, Option<&str>)]) -> Book {
        let mut book = Book::default();
        for (order_id, submitted, issued, serial) in rows {
            let serial = serial.map(str::to_owned);
            if let Some(serial) = &serial {
                let issued = book.certificates.entry((*order_id).to_owned()).or_default();
                issued.insert(serial.clone());
            }
            book.orders.insert((*order_id).to_owned(), (*submitted, *issued, serial));
        }
        book
    }

    fn acknowledged(order_id: &str, serial: Option<&str>) -> Acknowledged {
        let (line, serial) = ("geotrust".to_owned(), serial.map(str::to_owned));
        Acknowledged { line, order_id: order_id.to_owned(), serial }
    }

    #[test]
    fn orders_are_counted_against_what_was_promised() {
        let here = book(&[
            ("a", 1, Some(20), Some("01")),
            ("b", 2, Some(30), Some("02")),
            ("c", 50, Some(60), Some("03")),
        ]);
        let seen = [acknowledged("b", None), acknowledged("c", Some("03"))];
        let seeded = || ["a".to_owned()].into_iter();
        let fine = count(seeded(), &seen, &here, &[Book::default()], Some(40));
        assert_eq!(fine, Orders { before: 2, after: 1, ..Orders::default() });

        let lost = count(seeded(), &[acknowledged("gone", None)], &here, &[], Some(40));
        assert_eq!(lost.lost, 1);
        let other = book(&[("a", 1, Some(21), Some("99"))]);
        assert_eq!(count(seeded(), &seen, &here, &[other], Some(40)).doubled, 1);
        let handed = [acknowledged("c", Some("77"))];
        assert_eq!(count(seeded(), &handed, &here, &[], Some(40)).doubled, 1);

        let overtaken = book(&[("a", 1, None, None), ("c", 50, Some(60), Some("03"))]);
        assert_eq!(count(seeded(), &[], &overtaken, &[], Some(40)).out_of_order, 1);
        assert_eq!(count(seeded(), &[], &overtaken, &[], None).out_of_order, 0);
    }
}
