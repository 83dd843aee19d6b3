//! Executors on real files: copies that prove themselves, refusals, queues.

use cutover::action::database::{Method, Snapshot, Transfer, Verify};
use cutover::action::orders::{Pause, Resume};
use cutover::action::{Action, edge};
use cutover::estate::{Database, Estate, Orders, Site};
use cutover::event::{Ending, Way};
use cutover::executor::{Ask, Context, Deed, Progress, carry_out};
use cutover::text::{Span, Spanned};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[path = "executors/fakes.rs"]
mod fakes;
#[path = "executors/notices.rs"]
mod notices;

/// Two sites with a database `odd` each, in a directory of its own.
struct Bench {
    dir: tempfile::TempDir,
    estate: Arc<Estate>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let site = |name: &str| {
            let file = Database::Sqlite(dir.path().join(format!("{name}.db")));
            let database = Spanned { value: file, span: Span::default() };
            let orders =
                Spanned { value: Orders { table: "orders".to_owned() }, span: Span::default() };
            let site = Site {
                databases: BTreeMap::from([("odd".to_owned(), database)]),
                orders: Some(orders),
                ..Site::default()
            };
            (name.to_owned(), Spanned { value: site, span: Span::default() })
        };
        let sites = BTreeMap::from([site("from"), site("to")]);
        let estate = Arc::new(Estate { name: "bench".to_owned(), sites, ..Estate::default() });
        Self { dir, estate }
    }

    fn path(&self, site: &str) -> PathBuf {
        self.dir.path().join(format!("{site}.db"))
    }

    fn open(&self, site: &str) -> Connection {
        let connection = Connection::open(self.path(site)).expect("a database");
        connection.busy_timeout(Duration::from_secs(5)).expect("a timeout");
        connection
    }

    fn context(&self, run: &str) -> (Context, watch::Sender<bool>, watch::Receiver<Progress>) {
        let (progress, seen) = watch::channel(Progress::default());
        let (stopper, stop) = watch::channel(false);
        let context = Context {
            estate: self.estate.clone(),
            run: run.to_owned(),
            step: "step".to_owned(),
            way: Way::Do,
            attempt: 1,
            plan_dir: self.dir.path().to_owned(),
            attempt_dir: self.dir.path().join("attempt"),
            notices_dir: self.dir.path().join("notices"),
            facts: Arc::default(),
            window_opens: None,
            progress,
            stop,
        };
        (context, stopper, seen)
    }

    async fn does(&self, action: Action<String>, ask: Ask) -> Ending {
        let (context, _stopper, _seen) = self.context("r1");
        carry_out(deed(action, ask), context).await
    }

    async fn done(&self, action: Action<String>) -> BTreeMap<String, String> {
        match self.does(action, Ask::Perform).await {
            Ending::Done(outputs) => outputs,
            other => panic!("{other:?}"),
        }
    }
}

fn deed(action: Action<String>, ask: Ask) -> Deed {
    Deed { action, ask, timeout: Some(Duration::from_secs(60)), outputs: Vec::new() }
}

fn transfer() -> Transfer<String> {
    Transfer {
        from: "from".to_owned(),
        to: "to".to_owned(),
        database: "odd".to_owned(),
        method: Method::Copy,
    }
}

fn verify() -> Action<String> {
    let Transfer { from, to, database, .. } = transfer();
    Action::DatabaseVerify(Verify { from, to, database })
}

const ODD: &str = r#"
PRAGMA journal_mode = wal;
CREATE TABLE plain(a INTEGER, b TEXT, c BLOB, d REAL);
INSERT INTO plain(rowid, a, b, c, d) VALUES (5, NULL, 'x', x'00ff', 1.5), (9, 7, '', x'', -0.0), (1000000, 0, 'ä', NULL, 9e99);
CREATE TABLE "Quoted ""Name"("Select" INTEGER PRIMARY KEY, "from" TEXT UNIQUE);
INSERT INTO "Quoted ""Name" VALUES (3, 'c'), (1, 'a');
CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
INSERT INTO counted(v) VALUES ('one'), ('two'), ('three');
DELETE FROM counted WHERE id = 3;
CREATE TABLE keyed(x TEXT, y INTEGER, z TEXT, PRIMARY KEY(y, x)) WITHOUT ROWID;
INSERT INTO keyed VALUES ('b', 2, 'p'), ('a', 2, 'q'), ('z', 1, 'r');
CREATE TABLE grown(base INTEGER, twice INTEGER GENERATED ALWAYS AS (base * 2) STORED, half REAL GENERATED ALWAYS AS (base / 2.0) VIRTUAL);
INSERT INTO grown(base) VALUES (1), (2), (3);
CREATE TABLE hidden(rowid TEXT, _rowid_ TEXT, oid TEXT);
INSERT INTO hidden VALUES ('same', 'same', 'same'), ('same', 'same', 'same'), ('b', NULL, 'c');
CREATE TABLE cased(k TEXT COLLATE NOCASE, PRIMARY KEY(k COLLATE BINARY)) WITHOUT ROWID;
INSERT INTO cased VALUES ('a'), ('B'), ('A'), ('b');
CREATE TABLE "größe; -- 'x'
y"("ä b" TEXT, '' REAL);
INSERT INTO "größe; -- 'x'
y" VALUES (char(97, 0, 98), 9e999), (cast(x'ff' AS TEXT), -9e999), (9223372036854775807, 9e999 - 9e999);
CREATE TABLE cutover_log(a);
INSERT INTO cutover_log VALUES ('not ours');
CREATE TABLE empty(a, b);
CREATE TABLE log(what TEXT);
CREATE INDEX plain_by_b ON plain(b DESC) WHERE b <> '';
CREATE VIEW both AS SELECT a, v FROM plain, counted;
CREATE TRIGGER told AFTER INSERT ON counted BEGIN INSERT INTO log VALUES ('fired'); END;
PRAGMA user_version = 42;
"#;

/// Everything that a dump tells, but for our own tables.
fn dump(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).expect("a database");
    let mut lines = Vec::new();
    let mut query = connection
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE name <> 'cutover_receipt' ORDER BY 1, 2")
        .expect("a schema");
    let objects: Vec<(String, String, Option<String>)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("rows");
    for (kind, name, sql) in objects {
        lines.push(format!("{kind} {name} {sql:?}"));
        if kind == "table" {
            let quoted = name.replace('"', "\"\"");
            let mut rows = connection.prepare(&format!("SELECT * FROM \"{quoted}\"")).expect("sql");
            let width = rows.column_count();
            let mut found = rows.query([]).expect("rows");
            let mut all = Vec::new();
            while let Some(row) = found.next().expect("a row") {
                let cells: Vec<_> = (0..width)
                    .map(|at| format!("{:?}", row.get_ref(at).expect("a cell")))
                    .collect();
                all.push(format!("{name}: {}", cells.join(" | ")));
            }
            all.sort();
            lines.extend(all);
        }
    }
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    lines.push(format!("user_version {version}"));
    lines
}

#[tokio::test]
async fn a_copy_of_every_odd_thing_is_equal() {
    let bench = Bench::new();
    bench.open("from").execute_batch(ODD).expect("a source");
    let before = bench.does(Action::DatabaseTransfer(transfer()), Ask::IsDone).await;
    assert_eq!(before, Ending::NotDone);
    let outputs = bench.done(Action::DatabaseTransfer(transfer())).await;
    assert_eq!(outputs["rows"], "24");
    assert_eq!(dump(&bench.path("to")), dump(&bench.path("from")));
    assert!(matches!(
        bench.does(Action::DatabaseTransfer(transfer()), Ask::IsDone).await,
        Ending::Done(_)
    ));
    let outputs = bench.done(verify()).await;
    assert_eq!((outputs["differences"].as_str(), outputs["rows_source"].as_str()), ("0", "24"));
    // The counter came over: a new row is numbered like at the source.
    bench.open("to").execute("INSERT INTO counted(v) VALUES ('four')", []).expect("a row");
    let id: i64 = bench
        .open("to")
        .query_row("SELECT max(id) FROM counted", [], |row| row.get(0))
        .expect("an id");
    assert_eq!(id, 4);
}

#[tokio::test]
async fn every_difference_is_found_and_named() {
    let bench = Bench::new();
    bench.open("from").execute_batch(ODD).expect("a source");
    bench.done(Action::DatabaseTransfer(transfer())).await;
    for (change, named) in [
        ("UPDATE keyed SET z = 'Q' WHERE x = 'a'", "table `keyed`, key 2, a: differs"),
        ("DELETE FROM plain WHERE a = 7", "table `plain`, key 9: is missing at the target"),
        ("INSERT INTO empty VALUES (1, 2)", "table `empty`, key 1: is only at the target"),
        ("UPDATE hidden SET oid = 'd' WHERE oid = 'c'", "table `hidden`"),
        ("DROP INDEX plain_by_b", "index `plain_by_b` is missing"),
        ("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'counted'", "the counter of `counted`"),
    ] {
        bench.open("to").execute_batch(change).expect(change);
        match bench.does(verify(), Ask::Perform).await {
            Ending::Failed(failure) => {
                assert!(failure.to_string().contains(named), "{change}: {failure}");
            }
            other => panic!("{change}: {other:?}"),
        }
        bench.done(Action::DatabaseDiscard(transfer())).await;
        bench.done(Action::DatabaseTransfer(transfer())).await;
    }
}

#[tokio::test]
async fn what_is_not_ours_is_neither_written_over_nor_dropped() {
    let bench = Bench::new();
    bench.open("from").execute_batch(ODD).expect("a source");
    bench
        .open("to")
        .execute_batch("CREATE TABLE theirs(a); INSERT INTO theirs VALUES (1)")
        .expect("sql");
    let then = dump(&bench.path("to"));
    for action in [Action::DatabaseTransfer(transfer()), Action::DatabaseDiscard(transfer())] {
        match bench.does(action, Ask::Perform).await {
            Ending::Failed(failure) => assert!(failure.to_string().contains("theirs"), "{failure}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(dump(&bench.path("to")), then);
    }
    // A finished copy of another run is not ours either.
    bench.open("to").execute_batch("DROP TABLE theirs").expect("sql");
    bench.done(Action::DatabaseTransfer(transfer())).await;
    let (context, _stopper, _seen) = bench.context("r2");
    let ending = carry_out(deed(Action::DatabaseDiscard(transfer()), Ask::Perform), context).await;
    assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    assert_eq!(dump(&bench.path("to")), dump(&bench.path("from")));
    // Ours may be dropped again and again.
    for _ in 0..2 {
        bench.done(Action::DatabaseDiscard(transfer())).await;
        let empty = bench.does(Action::DatabaseDiscard(transfer()), Ask::IsDone).await;
        assert!(matches!(empty, Ending::Done(_)), "{empty:?}");
    }
}

/// Starts a copy and stops it when so many rows have arrived.
async fn copy_some(bench: &Bench, rows: u64) {
    let (context, stopper, mut seen) = bench.context("r1");
    let going =
        tokio::spawn(carry_out(deed(Action::DatabaseTransfer(transfer()), Ask::Perform), context));
    seen.wait_for(|progress| progress.rows.is_some_and(|(done, _)| done >= rows))
        .await
        .expect("it copies");
    stopper.send(true).expect("it listens");
    assert_eq!(going.await.expect("it ends"), Ending::Stopped);
}

/// 20,000 rows, each with a value that no other has.
const MANY: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE many(id INTEGER PRIMARY KEY, v TEXT UNIQUE, w BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO many SELECT i, 'row ' || i, randomblob(40) FROM n;";

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_value_that_moved_between_finished_chunks_is_no_hindrance() {
    let bench = Bench::new();
    bench.open("from").execute_batch(MANY).expect("a source");
    copy_some(&bench, 9000).await;
    // Both ways: whichever chunk is copied anew first, the other still holds its value.
    bench
        .open("from")
        .execute_batch(
            "UPDATE many SET v = 'x' WHERE id = 17; UPDATE many SET v = 'row 17' WHERE id = 5000;
             UPDATE many SET v = 'row 5000' WHERE id = 17;",
        )
        .expect("a change");
    let outputs = bench.done(Action::DatabaseTransfer(transfer())).await;
    assert_eq!(dump(&bench.path("to")), dump(&bench.path("from")));
    // The digest is that of the rows: a copy in one go has the same.
    bench.done(Action::DatabaseDiscard(transfer())).await;
    assert_eq!(bench.done(Action::DatabaseTransfer(transfer())).await, outputs);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_name_and_not_the_shape_is_refused() {
    let bench = Bench::new();
    bench.open("from").execute_batch(MANY).expect("a source");
    bench.open("from").execute_batch("CREATE INDEX by_w ON many(w)").expect("an index");
    for (stranger, named) in [
        ("CREATE INDEX by_w ON many(v)", "index `by_w` is made otherwise"),
        ("CREATE TABLE guest(a)", "table `guest` is here, and not"),
        ("CREATE VIEW guest AS SELECT 1", "view `guest` is here, and not"),
    ] {
        copy_some(&bench, 4000).await;
        bench.open("to").execute_batch(stranger).expect(stranger);
        let ending = bench.does(Action::DatabaseTransfer(transfer()), Ask::Perform).await;
        let Ending::Failed(failure) = ending else { panic!("{stranger}: {ending:?}") };
        assert!(failure.to_string().contains(named), "{stranger}: {failure}");
        bench.done(Action::DatabaseDiscard(transfer())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keyed_otherwise_than_its_column_compares_is_copied_whole() {
    let bench = Bench::new();
    // Pairs that differ only in case, and one row before them, so that a chunk ends within a pair.
    bench
        .open("from")
        .execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE cased(k TEXT COLLATE NOCASE, PRIMARY KEY(k COLLATE BINARY)) WITHOUT ROWID;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9001)
             INSERT INTO cased SELECT 'A' UNION ALL SELECT 'K' || i FROM n UNION ALL SELECT 'k' || i FROM n;
             CREATE TABLE folded(k TEXT, v INTEGER, PRIMARY KEY(k COLLATE NOCASE, v DESC)) WITHOUT ROWID;
             INSERT INTO folded SELECT k, length(k) FROM cased WHERE k GLOB 'k*';",
        )
        .expect("a source");
    bench.done(Action::DatabaseTransfer(transfer())).await;
    assert_eq!(dump(&bench.path("to")), dump(&bench.path("from")));
    assert_eq!(bench.done(verify()).await["differences"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_copy_is_no_source() {
    let bench = Bench::new();
    bench.open("from").execute_batch(MANY).expect("a source");
    copy_some(&bench, 4000).await;
    let back = Transfer { from: "to".to_owned(), to: "from".to_owned(), ..transfer() };
    let ending = bench.does(Action::DatabaseTransfer(back), Ask::Perform).await;
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert!(failure.to_string().contains("half of it is no source"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_stopped_goes_on_and_takes_what_changed_meanwhile() {
    let bench = Bench::new();
    bench
        .open("from")
        .execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE many(id INTEGER PRIMARY KEY, v TEXT, w BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO many SELECT i, 'row ' || i, randomblob(40) FROM n;",
        )
        .expect("a source");
    copy_some(&bench, 8000).await;
    let half: i64 = bench
        .open("to")
        .query_row("SELECT count(*) FROM many", [], |row| row.get(0))
        .expect("a count");
    assert!((8000..60000).contains(&half), "{half} rows were copied before the stop");
    bench
        .open("from")
        .execute_batch(
            "UPDATE many SET v = 'changed' WHERE id = 17; DELETE FROM many WHERE id = 4000;",
        )
        .expect("a change");
    bench.done(Action::DatabaseTransfer(transfer())).await;
    assert_eq!(dump(&bench.path("to")), dump(&bench.path("from")));
    assert_eq!(bench.done(verify()).await["differences"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_writes_into_half_a_copy_is_noticed() {
    let bench = Bench::new();
    bench
        .open("from")
        .execute_batch(
            "CREATE TABLE first(id INTEGER PRIMARY KEY);
             INSERT INTO first VALUES (10);
             CREATE TABLE many(id INTEGER PRIMARY KEY, w BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO many SELECT i, randomblob(40) FROM n;",
        )
        .expect("a source");
    copy_some(&bench, 8000).await;
    // Into a table that is copied already: no chunk would meet it again.
    bench.open("to").execute_batch("INSERT INTO first VALUES (3)").expect("a row");
    let ending = bench.does(Action::DatabaseTransfer(transfer()), Ask::Perform).await;
    let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
    assert!(failure.to_string().contains("table `first`: 1 rows were copied and 2"), "{failure}");
    // Still marked as ours, and not finished: it can be undone.
    assert_eq!(
        bench.does(Action::DatabaseTransfer(transfer()), Ask::IsDone).await,
        Ending::NotDone
    );
    bench.done(Action::DatabaseDiscard(transfer())).await;
}

#[tokio::test]
async fn a_snapshot_is_found_made_and_dropped_any_number_of_times() {
    let bench = Bench::new();
    bench.open("from").execute_batch(ODD).expect("a source");
    let snapshot = || Snapshot { site: "from".to_owned(), database: "odd".to_owned() };
    let is = |action| bench.does(action, Ask::IsDone);
    assert_eq!(is(Action::DatabaseSnapshot(snapshot())).await, Ending::NotDone);
    let first = bench.done(Action::DatabaseSnapshot(snapshot())).await;
    let again = bench.done(Action::DatabaseSnapshot(snapshot())).await;
    assert_eq!(first, again);
    assert_eq!(dump(Path::new(&first["snapshot"])), dump(&bench.path("from")));
    assert!(matches!(is(Action::DatabaseSnapshot(snapshot())).await, Ending::Done(_)));
    for _ in 0..2 {
        bench.done(Action::DatabaseDropSnapshot(snapshot())).await;
        assert_eq!(is(Action::DatabaseSnapshot(snapshot())).await, Ending::NotDone);
        assert!(!Path::new(&first["snapshot"]).exists());
    }
}

/// Issues orders by the gate's rules until the queue is empty; says in which order.
fn worker(path: PathBuf) -> std::thread::JoinHandle<Vec<i64>> {
    std::thread::spawn(move || {
        let connection = Connection::open(path).expect("a database");
        connection.busy_timeout(Duration::from_secs(5)).expect("a timeout");
        let mut issued = Vec::new();
        loop {
            let left: i64 = connection
                .query_row("SELECT count(*) FROM orders WHERE state = 'queued'", [], |row| {
                    row.get(0)
                })
                .expect("a count");
            if left == 0 {
                return issued;
            }
            let mut next = connection
                .prepare(
                    "UPDATE orders SET state = 'issued' WHERE seq = (SELECT min(o.seq) FROM orders o, \
                     order_gate g WHERE o.state = 'queued' AND (g.paused = 0 OR o.seq <= g.released_seq)) \
                     RETURNING seq",
                )
                .expect("sql");
            let found: Vec<i64> = next
                .query_map([], |row| row.get(0))
                .expect("rows")
                .collect::<Result<_, _>>()
                .expect("rows");
            issued.extend(found);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    })
}

/// A queue of 120 orders.
const QUEUE: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE orders(seq INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT, state TEXT);
    CREATE TABLE order_gate(one INTEGER PRIMARY KEY CHECK(one = 1), paused INTEGER NOT NULL, released_seq INTEGER NOT NULL);
    INSERT INTO order_gate VALUES (1, 0, 0);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
    INSERT INTO orders(order_id, state) SELECT 'o' || i, 'queued' FROM n;";

fn resume(rate: f64) -> Action<String> {
    Action::OrdersResume(Resume { site: "to".to_owned(), line: "odd".to_owned(), rate })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_does_not_make_up_for_it_all_at_once() {
    let bench = Bench::new();
    bench.open("to").execute_batch(QUEUE).expect("a queue");
    bench.open("to").execute("UPDATE order_gate SET paused = 1", []).expect("paused");
    let released = || -> i64 {
        let get = "SELECT released_seq FROM order_gate";
        bench.open("to").query_row(get, [], |row| row.get(0)).expect("a gate")
    };
    let (context, _stopper, mut seen) = bench.context("r1");
    let going = tokio::spawn(carry_out(deed(resume(40.0), Ask::Perform), context));
    // Nobody issues anything for twice the time in which all 120 could have gone.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        seen.changed().await.expect("it goes");
        assert!(released() <= 20, "{} orders would go at once", released());
    }
    let begun = std::time::Instant::now();
    assert_eq!(worker(bench.path("to")).join().expect("it ends"), (1..=120).collect::<Vec<i64>>());
    assert!(matches!(going.await.expect("it ends"), Ending::Done(_)));
    // 20 at once, the rest at the rate.
    assert!(begun.elapsed() > Duration::from_millis(2300), "after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_gate_is_open_is_waited_for_all_the_same() {
    let bench = Bench::new();
    bench.open("to").execute_batch(QUEUE).expect("a queue");
    let (context, stopper, mut seen) = bench.context("r1");
    let going = tokio::spawn(carry_out(deed(resume(100.0), Ask::Perform), context));
    seen.wait_for(|progress| progress.rows == Some((0, 120))).await.expect("it waits");
    stopper.send(true).expect("it listens");
    assert_eq!(going.await.expect("it ends"), Ending::Stopped);
    // An attempt that was lost here is not done: 120 orders from before are not issued.
    assert_eq!(bench.does(resume(100.0), Ask::IsDone).await, Ending::NotDone);
    let (context, _stopper, _seen) = bench.context("r1");
    let going = tokio::spawn(carry_out(deed(resume(100.0), Ask::Perform), context));
    let issued = worker(bench.path("to")).join().expect("it ends");
    assert_eq!(issued.len(), 120);
    assert!(matches!(going.await.expect("it ends"), Ending::Done(_)));
    // Later orders are nobody's wait.
    let later = "INSERT INTO orders(order_id, state) VALUES ('later', 'queued')";
    bench.open("to").execute(later, []).expect("an order");
    assert!(matches!(bench.does(resume(100.0), Ask::IsDone).await, Ending::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_resumed_oldest_first_and_an_interruption_neither_loses_nor_doubles() {
    let bench = Bench::new();
    bench.open("to").execute_batch(QUEUE).expect("a queue");
    let (site, line) = ("to".to_owned(), "odd".to_owned());
    let pause = Action::OrdersPause(Pause { site: site.clone(), line: line.clone() });
    let resume = Action::OrdersResume(Resume { site, line, rate: 200.0 });
    bench.done(pause.clone()).await;
    assert!(matches!(bench.does(pause, Ask::IsDone).await, Ending::Done(_)));
    assert_eq!(bench.does(resume.clone(), Ask::IsDone).await, Ending::NotDone);
    let working = worker(bench.path("to"));
    let (context, stopper, mut seen) = bench.context("r1");
    let going = tokio::spawn(carry_out(deed(resume.clone(), Ask::Perform), context));
    seen.wait_for(|progress| progress.rows.is_some_and(|(done, _)| done >= 20))
        .await
        .expect("it goes");
    stopper.send(true).expect("it listens");
    assert_eq!(going.await.expect("it ends"), Ending::Stopped);
    let left: f64 = bench
        .open("to")
        .query_row("SELECT count(*) FROM orders WHERE state = 'queued'", [], |row| row.get(0))
        .expect("a count");
    let begun = std::time::Instant::now();
    bench.done(resume.clone()).await;
    // Released a beat early, never faster: what is left takes its time at 200 a second.
    let least = Duration::from_secs_f64((left / 200.0 - 0.15).max(0.0));
    assert!(begun.elapsed() >= least, "{left} orders after {:?}", begun.elapsed());
    assert_eq!(working.join().expect("it ends"), (1..=120).collect::<Vec<i64>>());
    assert!(matches!(bench.does(resume, Ask::IsDone).await, Ending::Done(_)));
}

#[tokio::test]
async fn an_estate_without_an_edge_is_said() {
    let bench = Bench::new();
    let close = edge::Close {
        site: "from".to_owned(),
        line: "odd".to_owned(),
        routes: vec!["order".to_owned()],
        status: 404,
    };
    match bench.does(Action::EdgeClose(close), Ask::Perform).await {
        Ending::Failed(failure) => assert!(failure.to_string().contains("edge"), "{failure}"),
        other => panic!("{other:?}"),
    }
}
