//! The emergency lane: applied at every site, confirmed by what OCSP and CRL answer.

use super::*;

/// A line at two sites: databases, and providers whose answers openssl signs from them.
struct Line {
    dir: tempfile::TempDir,
    estate: Arc<Estate>,
}

const SERIAL: &str = "80aabb01";

impl Line {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut estate = Estate::default();
        for site in ["from", "to"] {
            let path = dir.path().join(format!("{site}.db"));
            let mut it = Site::default();
            it.databases.insert("geotrust".into(), spanned(Database::Sqlite(path.clone())));
            let (ocsp, crl) = providers(&path);
            for (service, url) in [("ocsp", ocsp), ("crl", crl)] {
                let provider = Provider { url, ..Provider::default() };
                let service_is = Service {
                    providers: BTreeMap::from([("one".into(), spanned(provider))]),
                    issuers: Issuers::All(vec![pem("ca")]),
                    expect: None,
                };
                it.services.insert(service.into(), spanned(service_is));
            }
            estate.sites.insert(site.into(), spanned(it));
        }
        let line = Self { dir, estate: Arc::new(estate) };
        line.fill("from");
        line
    }

    fn database(&self, site: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join(format!("{site}.db"))).expect("opens")
    }

    /// The table, with one good certificate: what a copy from before the order holds.
    fn fill(&self, site: &str) {
        self.database(site)
            .execute_batch(
                "DROP TABLE IF EXISTS certificates;
                 CREATE TABLE certificates(serial TEXT PRIMARY KEY, status TEXT, revoked_at INTEGER, reason INTEGER);
                 INSERT INTO certificates VALUES ('80aabb01', 'good', NULL, NULL);",
            )
            .expect("filled");
    }

    fn row(&self, site: &str) -> (String, Option<i64>, Option<i64>) {
        let get = "SELECT status, revoked_at, reason FROM certificates";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.database(site).query_row(get, [], read).expect("a row")
    }

    fn run_dir(&self) -> RunDir {
        let path = self.dir.path().join("run");
        fs::create_dir_all(&path).expect("made");
        RunDir::new(path)
    }

    fn order(&self, serial: &str, reason: Reason) -> Result<(), String> {
        let mut file = LaneFile::open(&self.run_dir()).expect("opens");
        let order = Order {
            certificate: Certificate::new("geotrust", serial).expect("a serial"),
            reason,
            received_at: jiff::Timestamp::now(),
            compromised_at: None,
            by: Person { login: "mara".into(), uid: 0, groups: Vec::new() },
        };
        admit::accept(&mut file, &self.estate, ["geotrust"].into_iter(), order)
            .expect("the file works")
            .map(|_| ())
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: Default::default() }
}

/// An OCSP responder and a CRL server over a database.
fn providers(path: &Path) -> (String, String) {
    let path = path.to_owned();
    let index = Arc::new(move || {
        let connection = rusqlite::Connection::open(&path).expect("opens");
        let get = "SELECT status, coalesce(revoked_at, 0), coalesce(reason, 0) FROM certificates";
        let row = connection.query_row(get, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, u8>(2)?))
        });
        let end = utc(jiff_now() + 86_400 * 1000);
        match row {
            Ok((status, at, reason)) if status == "revoked" => {
                let reason = match reason {
                    1 => ",keyCompromise",
                    4 => ",superseded",
                    _ => "",
                };
                format!("R\t{end}\t{}{reason}\t80AABB01\tunknown\t/CN=good\n", utc(at))
            }
            Ok(_) => format!("V\t{end}\t\t80AABB01\tunknown\t/CN=good\n"),
            Err(_) => String::new(),
        }
    });
    let responder = Responder::new("delegate", &["-ndays", "4"]);
    let ocsp = {
        let index = Arc::clone(&index);
        serve(move |request| {
            responder.index(&index());
            ocsp_reply(responder.answer(request))
        })
    };
    let dir = tempfile::tempdir().expect("a directory");
    let number = Mutex::new(16);
    let crl = serve(move |_| {
        let mut number = number.lock().expect("not poisoned");
        *number += 1;
        let dir = dir.path();
        for name in ["ca.cnf", "ca.pem", "ca.key", "index.txt.attr"] {
            fs::copy(pki().join(name), dir.join(name)).expect("copied");
        }
        fs::write(dir.join("crlnumber"), format!("{:04x}", *number)).expect("writable");
        fs::write(dir.join("index.txt"), index()).expect("writable");
        openssl(dir, &["ca", "-config", "ca.cnf", "-gencrl", "-out", "l.pem"]);
        let body = openssl(dir, &["crl", "-in", "l.pem", "-outform", "DER"]);
        Some(Reply(200, "application/pkix-crl", body, 0))
    });
    (ocsp, crl)
}

fn serving(sites: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let names = sites.iter().flat_map(|site| {
        ["ocsp", "crl", "seal"].map(|service| format!("{service}@{site}/one[geotrust]"))
    });
    BTreeMap::from([("geotrust".to_owned(), names.collect())])
}

#[tokio::test]
async fn a_revocation_is_confirmed_by_openssls_answers_without_a_runner() {
    let line = Line::new();
    assert_eq!(
        line.order("ff", Reason::Superseded),
        Err("no site has a certificate `ff` of `geotrust`".into())
    );
    line.order(SERIAL, Reason::Superseded).expect("accepted");
    let view = View { seq: 4, serving: serving(&["from"]), ..View::default() };
    let (_view, receiver) = tokio::sync::watch::channel(view);
    let setup = Setup { dir: line.run_dir(), estate: Arc::clone(&line.estate) };
    let (mut worker, _said) = Worker::new(setup, receiver).expect("opens");
    let certificate = Certificate::new("geotrust", SERIAL).expect("a serial");
    let stage = worker.until_confirmed(&certificate, LONG).await.expect("the file works");
    assert_eq!(stage, Some(Stage::Confirmed));
    let (status, at, reason) = line.row("from");
    assert_eq!((status.as_str(), reason), ("revoked", Some(4)));
    let issuer = Issuer::read(&pem("ca")).expect("a CA");
    let services = &line.estate.sites["from"].services;
    let serial = Serial::from_hex(SERIAL).expect("hex");
    let url = &services["crl"].providers["one"].url;
    let list = crl::get(url, &issuer, Duration::from_secs(10)).await.expect("a list");
    assert_eq!(list.find(&serial).map(|entry| Some(entry.at)), Some(at));
    assert_eq!(
        line.order(SERIAL, Reason::Superseded).map_err(|why| why.contains("already")),
        Err(true)
    );
}

#[tokio::test]
async fn what_a_transfer_brings_over_is_suspect_until_it_is_applied_again() {
    let line = Line::new();
    line.order(SERIAL, Reason::KeyCompromise).expect("accepted");
    let view = View { seq: 4, serving: serving(&["from"]), ..View::default() };
    let (view, receiver) = tokio::sync::watch::channel(view);
    let setup = Setup { dir: line.run_dir(), estate: Arc::clone(&line.estate) };
    let (_handle, mut said) = Worker::spawn(setup, receiver).expect("opens");
    let next = async |said: &mut UnboundedReceiver<LaneSaid>, clear: bool, from: u64| {
        let listening = async {
            loop {
                match said.recv().await.expect("the worker lives") {
                    LaneSaid::Line { clear: now, as_of, .. } if now == clear && as_of >= from => {
                        return;
                    }
                    LaneSaid::Lost(why) => panic!("{why}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LONG, listening).await.expect("told in time");
    };
    next(&mut said, true, 0).await;
    // A transfer: while it runs the line is not clear, and the copy is from before the order.
    view.send_modify(|view| {
        view.started("geotrust", "to", 10);
        view.became_durable(10);
    });
    line.fill("to");
    next(&mut said, false, 10).await;
    view.send_modify(|view| {
        view.ended("geotrust", "to", 10, 12);
        view.became_durable(12);
    });
    next(&mut said, true, 12).await;
    assert_eq!(line.row("to"), line.row("from"), "the same time and reason at both sites");
    // The new site comes to serve as well: it has to publish first.
    view.send_modify(|view| {
        view.seq = 20;
        view.serving = serving(&["from", "to"]);
    });
    next(&mut said, true, 20).await;
    // A restore throws the revocation away: it is brought back.
    view.send_modify(|view| {
        view.started("geotrust", "to", 30);
        view.became_durable(30);
    });
    next(&mut said, false, 30).await;
    line.fill("to");
    view.send_modify(|view| {
        view.ended("geotrust", "to", 30, 31);
        view.became_durable(31);
    });
    next(&mut said, true, 31).await;
    assert_eq!(line.row("to"), line.row("from"));
    drop(view);
    let mut file = LaneFile::open(&line.run_dir()).expect("opens");
    file.poll().expect("reads");
    let (entries, lane) = cutover::lane::file::read(&line.run_dir()).expect("reads");
    let published =
        entries.iter().filter(|entry| matches!(entry.said, LaneEntry::Published { .. }));
    assert!(published.count() >= 4, "ocsp and crl, at both sites");
    let (_, revocation) = lane.revocations().next().expect("one");
    assert!(revocation.delay().is_some());
}

/// A crash may take a record away whose end was not durable, and its number is given to another.
#[tokio::test]
async fn what_is_done_after_a_record_that_is_not_durable_does_not_count_as_of_it() {
    let line = Line::new();
    line.order(SERIAL, Reason::KeyCompromise).expect("accepted");
    let view = View { seq: 4, serving: serving(&["from"]), ..View::default() };
    let (view, receiver) = tokio::sync::watch::channel(view);
    let setup = Setup { dir: line.run_dir(), estate: Arc::clone(&line.estate) };
    let (mut worker, mut said) = Worker::new(setup, receiver).expect("opens");
    let mut told = async |worker: &mut Worker| {
        worker.turn().await.expect("the file works");
        let mut told = None;
        while let Ok(word) = said.try_recv() {
            if let LaneSaid::Line { clear, as_of, .. } = word {
                told = Some((clear, as_of));
            }
        }
        told
    };
    assert_eq!(told(&mut worker).await, Some((true, 4)));
    view.send_modify(|view| {
        view.started("geotrust", "from", 10);
        view.became_durable(10);
        view.ended("geotrust", "from", 10, 12);
        assert!(!view.became_durable(11), "nothing that touches");
    });
    assert_eq!(told(&mut worker).await, Some((false, 11)));
    view.send_modify(|view| assert!(view.became_durable(12)));
    assert_eq!(told(&mut worker).await, Some((true, 12)));
    let (entries, _) = cutover::lane::file::read(&line.run_dir()).expect("reads");
    let as_of = entries.iter().filter_map(|entry| match &entry.said {
        LaneEntry::Applied { as_of, .. } | LaneEntry::Published { as_of, .. } => Some(*as_of),
        _ => None,
    });
    assert!(as_of.clone().all(|seq| matches!(seq, 4 | 11 | 12)), "{:?}", as_of.collect::<Vec<_>>());
}

#[test]
fn without_a_runner_nothing_that_was_seen_before_counts() {
    let line = Line::new();
    line.order(SERIAL, Reason::Superseded).expect("accepted");
    let certificate = Certificate::new("geotrust", SERIAL).expect("a serial");
    let mut file = LaneFile::open(&line.run_dir()).expect("opens");
    let terms = file.lane().get(&certificate).and_then(|it| it.terms()).expect("accepted");
    let applied = |site: &str| LaneEntry::Applied {
        certificate: certificate.clone(),
        site: site.to_owned(),
        terms,
        absent: false,
        as_of: 2,
    };
    let published = ["ocsp", "crl"].map(|service| LaneEntry::Published {
        certificate: certificate.clone(),
        provider: format!("{service}@from/one[geotrust]"),
        terms,
        as_of: 2,
    });
    let said = [applied("from"), applied("to")].into_iter().chain(published).collect();
    file.append(jiff::Timestamp::now(), |_| said).expect("written");
    let mut view = View::after_a_runner(&line.estate, &["geotrust"], 9);
    view.serving = serving(&["from"]);
    let sites = ["from", "to"].map(ToOwned::to_owned).into();
    let scene = Scene {
        sites: [("geotrust".to_owned(), sites)].into(),
        serving: view.serving.clone(),
        touches: Vec::new(),
    };
    assert_ne!(file.lane().stage(&certificate, &scene), Some(Stage::Suspect));
    let scene = Scene { touches: view.touches, ..scene };
    assert_eq!(file.lane().stage(&certificate, &scene), Some(Stage::Suspect));
}

#[tokio::test]
async fn an_order_does_not_wait_for_a_provider_that_hangs() {
    let mut line = Line::new();
    // The list is never answered: each attempt takes ten seconds.
    let estate = Arc::make_mut(&mut line.estate);
    let site = &mut estate.sites.get_mut("from").expect("a site").value;
    let providers = &mut site.services.get_mut("crl").expect("a service").value.providers;
    providers.get_mut("one").expect("a provider").value.url = serve(|_| None);
    line.database("from")
        .execute_batch("INSERT INTO certificates VALUES ('02', 'good', NULL, NULL);")
        .expect("another");
    line.order("02", Reason::Superseded).expect("accepted");
    let view = View { seq: 4, serving: serving(&["from"]), ..View::default() };
    let (_view, receiver) = tokio::sync::watch::channel(view);
    let setup = Setup { dir: line.run_dir(), estate: Arc::clone(&line.estate) };
    let (_handle, mut said) = Worker::spawn(setup, receiver).expect("opens");
    let mut applied = async |serial: &str| {
        let listening = async {
            loop {
                if let LaneSaid::Entry(entry) = said.recv().await.expect("the worker lives")
                    && let LaneEntry::Applied { certificate, .. } = entry.said
                    && certificate.serial.trim_start_matches('0') == serial.trim_start_matches('0')
                {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, listening).await.expect("applied in time");
    };
    applied("02").await;
    let begun = std::time::Instant::now();
    line.order(SERIAL, Reason::KeyCompromise).expect("accepted");
    applied(SERIAL).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn whoever_asks_is_told_of_every_line_though_nothing_has_changed() {
    let line = Line::new();
    let view = View { seq: 4, serving: serving(&["from"]), ..View::default() };
    let (view, receiver) = tokio::sync::watch::channel(view);
    let setup = Setup { dir: line.run_dir(), estate: Arc::clone(&line.estate) };
    let (mut worker, mut said) = Worker::new(setup, receiver).expect("opens");
    worker.turn().await.expect("the file works");
    assert!(said.try_recv().is_err(), "a line without a revocation is not spoken of");
    for seq in [5, 6] {
        view.send_modify(|view| (view.asked, view.seq) = (view.asked + 1, seq));
        worker.turn().await.expect("the file works");
        let told = LaneSaid::Line { line: "geotrust".into(), clear: true, as_of: seq };
        assert_eq!(said.try_recv().ok(), Some(told));
        worker.turn().await.expect("the file works");
        assert!(said.try_recv().is_err(), "once");
    }
}
