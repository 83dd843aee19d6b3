//! The lab by itself, asked as strangers would ask it: with the `openssl` command, over HTTP, by its
//! hosts' own commands, and by its witness.

#![cfg(feature = "lab")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use cutover::lab::{self, Link, Options};
use cutover::net::{self, Ask, NetError};
use hyper::Method;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A lab of its own, ended with the test.
struct Lab {
    directory: tempfile::TempDir,
    link: Link,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = lab::down(self.directory.path());
    }
}

fn small(load: f64) -> Options {
    Options {
        lines: vec!["geotrust".into(), "managed-pki".into()],
        certificates: 200,
        orders: 50,
        load,
        program: Some(env!("CARGO_BIN_EXE_cutover").into()),
        ..Options::default()
    }
}

impl Lab {
    fn up(options: &Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let link = lab::up(directory.path(), options).unwrap();
        Self { directory, link }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The address of a host, as `lab status` tells it.
    fn url(&self, host: &str) -> String {
        let status = lab::status(self.directory.path()).unwrap();
        status["addresses"][host].as_str().unwrap().to_owned()
    }

    fn database(&self, site: &str, line: &str) -> Connection {
        let db = Connection::open(self.path(&format!("db/{site}/{line}.db"))).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        db
    }

    fn put(&self, path: &str, body: &str) -> serde_json::Value {
        let url = format!("{}{path}", self.link.control);
        let reply = fetch(Ask::with_body(Method::PUT, url, "application/json", body.to_owned()));
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn host(&self, host: &str, command: &str, arguments: &[&str]) -> Output {
        let script = self.path(&format!("hosts/{host}/{command}"));
        Command::new(script).args(arguments).output().unwrap()
    }
}

fn fetch(ask: Ask) -> Result<net::Reply, NetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(net::fetch(&ask))
}

fn get(url: impl Into<String>) -> net::Reply {
    fetch(Ask::get(url)).unwrap()
}

/// Waits for what comes by itself, within 20 s.
fn until(what: &str, mut come: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !come() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn openssl(directory: &Path, arguments: &[&str]) -> Option<String> {
    match Command::new("openssl").args(arguments).current_dir(directory).output() {
        Ok(output) => {
            let (out, err) = (output.stdout, output.stderr);
            Some(format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)))
        }
        Err(_) => {
            eprintln!("SKIPPED: no openssl command here");
            None
        }
    }
}

fn ask_openssl(lab: &Lab, url: &str, extra: &[&str]) -> Option<String> {
    let mut arguments =
        vec!["ocsp", "-issuer", "geotrust-ca.pem", "-CAfile", "geotrust-ca.pem", "-url", url];
    arguments.extend(extra);
    openssl(lab.directory.path(), &arguments)
}

#[test]
fn openssl_accepts_answers_and_lists_and_sees_a_revocation_at_once() {
    let lab = Lab::up(&small(0.0));
    let edge = format!("{}/ocsp/geotrust", lab.url("from/edge-1"));
    for url in [lab.url("from/ocsp-1"), lab.url("from/ocsp-2"), edge] {
        for (class, says) in [("good", "good"), ("revoked", "revoked"), ("unissued", "unknown")] {
            let file = format!("geotrust-{class}.pem");
            for extra in [&[][..], &["-no_nonce"][..]] {
                let mut arguments = vec!["-sha256", "-cert", &file];
                arguments.extend(extra);
                let Some(said) = ask_openssl(&lab, &url, &arguments) else { return };
                assert!(said.contains("Response verify OK"), "{said}");
                assert!(said.contains(&format!("{file}: {says}")), "{said}");
                assert!(!said.contains("WARNING: no nonce") || !extra.is_empty(), "{said}");
            }
        }
    }
    let list = get(format!("{}/geotrust-ca.crl", lab.url("from/crl-1")));
    std::fs::write(lab.path("list.der"), &list.body).unwrap();
    let check =
        ["crl", "-inform", "DER", "-in", "list.der", "-CAfile", "geotrust-ca.pem", "-noout"];
    let said = openssl(lab.directory.path(), &check).unwrap();
    assert!(said.contains("verify OK"), "{said}");
    let verify = ["verify", "-x509_strict", "-CAfile", "geotrust-ca.pem", "geotrust-good.pem"];
    assert!(openssl(lab.directory.path(), &verify).unwrap().contains("OK"));

    let db = lab.database("from", "geotrust");
    let serial: String = db
        .query_row("SELECT serial FROM certificates WHERE status = 'good' LIMIT 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let named = format!("0x{serial}");
    let url = lab.url("from/ocsp-2");
    let said = ask_openssl(&lab, &url, &["-serial", &named]).unwrap();
    assert!(said.contains(": good"), "{said}");
    db.execute(
        "UPDATE certificates SET status = 'revoked', revoked_at = 1700000000, reason = 1 \
         WHERE serial = ?1",
        [&serial],
    )
    .unwrap();
    let said = ask_openssl(&lab, &url, &["-serial", &named]).unwrap();
    assert!(said.contains(": revoked") && said.contains("Reason: keyCompromise"), "{said}");
    assert!(said.contains("Revocation Time: Nov 14 22:13:20 2023 GMT"), "{said}");
    until("the list has it", || {
        let list = get(format!("{}/geotrust-ca.crl", lab.url("to/crl-1")));
        std::fs::write(lab.path("list.der"), &list.body).unwrap();
        let mut show = check.to_vec();
        show.push("-text");
        let said = openssl(lab.directory.path(), &show).unwrap();
        assert!(said.contains("verify OK"), "{said}");
        said.contains(&serial.to_uppercase())
    });
    // The site without the data gives no signed answer.
    let said = ask_openssl(&lab, &lab.url("to/ocsp-1"), &["-serial", &named]).unwrap();
    assert!(said.contains("Responder Error: trylater (3)"), "{said}");
}

#[test]
fn get_agrees_with_post_however_the_path_is_written() {
    let lab = Lab::up(&small(0.0));
    let directory = lab.directory.path();
    let request = [
        "ocsp",
        "-issuer",
        "geotrust-ca.pem",
        "-cert",
        "geotrust-good.pem",
        "-no_nonce",
        "-reqout",
        "request.der",
    ];
    if openssl(directory, &request).is_none() {
        return;
    }
    let encoded = openssl(directory, &["base64", "-A", "-in", "request.der"]).unwrap();
    let raw = encoded.trim();
    assert!(raw.contains("//") && raw.contains('+'), "{raw}");
    let escaped = raw.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    for base in [lab.url("from/ocsp-1"), format!("{}/ocsp/geotrust", lab.url("from/edge-1"))] {
        for path in [raw, &escaped, raw.trim_end_matches('=')] {
            let reply = get(format!("{base}/{path}"));
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("content-type"), Some("application/ocsp-response"));
            let kept = reply.header("cache-control").unwrap();
            assert!(kept.starts_with("max-age=259"), "{kept}");
            std::fs::write(lab.path("answer.der"), &reply.body).unwrap();
            let read = [
                "ocsp",
                "-respin",
                "answer.der",
                "-issuer",
                "geotrust-ca.pem",
                "-cert",
                "geotrust-good.pem",
                "-CAfile",
                "geotrust-ca.pem",
                "-no_nonce",
            ];
            let said = openssl(directory, &read).unwrap();
            assert!(said.contains("Response verify OK") && said.contains(": good"), "{said}");
        }
        let reply = get(format!("{base}/{}", &raw[1..]));
        assert_eq!(&reply.body[..], [0x30, 3, 0x0a, 1, 1], "malformedRequest was wanted");
    }
}

#[test]
fn a_closed_route_answers_404_and_only_it() {
    let lab = Lab::up(&small(0.0));
    let (from, to) = (lab.url("from/edge-1"), lab.url("to/edge-1"));
    let order = |edge: &str, line: &str, name: &str| {
        let body = format!("{{\"order_id\":\"{name}\"}}");
        let url = format!("{edge}/{line}/order");
        fetch(Ask::with_body(Method::POST, url, "application/json", body)).unwrap().status
    };
    assert_eq!(order(&from, "geotrust", "one"), 201);
    assert_eq!(order(&from, "geotrust", "one"), 200, "an order was taken twice");
    assert_eq!(order(&to, "geotrust", "two"), 404);
    let path = "/edge/from/routes/order/geotrust";
    let closed = lab.put(path, "{\"open\":false,\"status\":404}");
    assert_eq!(closed, serde_json::json!({ "open": false, "status": 404 }));
    let read = get(format!("{}{path}", lab.link.control));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&read.body).unwrap(), closed);
    assert_eq!(order(&from, "geotrust", "three"), 404);
    assert_eq!(order(&from, "managed-pki", "three"), 201);
    for (path, status) in [
        ("geotrust/order", 404),
        ("geotrust/order-status/one", 200),
        ("geotrust/fulfilment/geotrust-0000001", 200),
        ("ocsp/geotrust", 200),
        ("crl/geotrust.crl", 200),
        ("seal/geotrust", 200),
    ] {
        assert_eq!(get(format!("{from}/{path}")).status, status, "{path}");
    }
    assert!(
        String::from_utf8_lossy(&get(format!("{from}/seal/geotrust")).body).contains("Secured by")
    );
    lab.put(path, "{\"open\":true,\"status\":404}");
    lab.put("/roles/writer/from/geotrust", "{\"on\":false}");
    assert_eq!(order(&from, "geotrust", "four"), 503, "an order was taken without a writer");
}

#[test]
fn an_upgrade_finishes_what_is_asked_and_the_other_host_goes_on() {
    let lab = Lab::up(&Options { restart_ms: 500, ..small(0.0) });
    let (one, other) = (lab.url("from/ocsp-1"), lab.url("from/ocsp-2"));
    assert!(lab.host("from/ocsp-1", "ocsp-version", &["--is", "4.1"]).status.success());
    lab::set_fault(lab.directory.path(), "ocsp@from/ocsp-1=slow", true).unwrap();
    let (asked, hear) = mpsc::channel();
    let slow = thread::spawn({
        let one = one.clone();
        move || {
            asked.send(()).unwrap();
            fetch(Ask::get(one))
        }
    });
    hear.recv().unwrap();
    // Long enough for the request to be in: the host takes a second for it.
    thread::sleep(Duration::from_millis(200));
    let upgrade = thread::scope(|scope| {
        let upgrading = scope.spawn(|| lab.host("from/ocsp-1", "upgrade-ocsp", &["--to", "4.2"]));
        until("the host is away", || matches!(fetch(Ask::get(&one)), Err(NetError::Connect(_))));
        assert_eq!(get(&other).status, 200);
        // A check in the middle waits for how it ends.
        assert!(lab.host("from/ocsp-1", "ocsp-version", &["--is", "4.2"]).status.success());
        upgrading.join().unwrap()
    });
    assert!(upgrade.status.success(), "{upgrade:?}");
    assert!(String::from_utf8_lossy(&upgrade.stdout).contains("build 4207"), "{upgrade:?}");
    assert_eq!(slow.join().unwrap().unwrap().status, 200, "a request in flight was dropped");
    lab::set_fault(lab.directory.path(), "ocsp@from/ocsp-1=slow", false).unwrap();
    assert_eq!(get(&one).body, "ocsp-1 4.2\n");
    assert_eq!(lab.host("from/ocsp-1", "ocsp-version", &["--is", "4.1"]).status.code(), Some(1));
    assert_eq!(lab.host("from/ocsp-1", "upgrade-ocsp", &[]).status.code(), Some(2));
    let deeds = lab::read_deeds(lab.directory.path()).unwrap();
    let upgrades = deeds.iter().filter(|deed| deed.deed == "host.upgrade");
    assert_eq!(upgrades.map(|deed| deed.count).collect::<Vec<_>>(), [1]);
}

/// Moves a line's data as a transfer would.
fn copy(lab: &Lab, line: &str) {
    let (source, mut target) = (lab.database("from", line), lab.database("to", line));
    let backup = rusqlite::backup::Backup::new(&source, &mut target).unwrap();
    backup.run_to_completion(1_000, Duration::ZERO, None).unwrap();
}

fn answers(lab: &Lab) -> u64 {
    let summary = lab::witness::summary(lab.directory.path()).unwrap();
    summary.protected.get("ocsp").map_or(0, |ocsp| ocsp.answers)
}

#[test]
fn clients_notice_nothing_but_404_while_all_moves() {
    let lab = Lab::up(&Options { issue_per_second: 50.0, ..small(4.0) });
    let lines = ["geotrust", "managed-pki"];
    until("clients ask", || answers(&lab) > 100);
    for route in ["order", "order-status", "fulfilment"] {
        lab.put(&format!("/edge/from/routes/{route}/*"), "{\"open\":false,\"status\":404}");
    }
    lab.put("/roles/writer/from/*", "{\"on\":false}");
    lines.iter().for_each(|line| copy(&lab, line));
    let revoked = lab.database("from", "geotrust");
    let revoke = "UPDATE certificates SET status = 'revoked', revoked_at = unixepoch(), reason = 4 \
                  WHERE serial = (SELECT serial FROM certificates WHERE status = 'good' AND order_id \
                  IS NOT NULL ORDER BY serial LIMIT 1)";
    assert_eq!(revoked.execute(revoke, []).unwrap(), 1);
    assert_eq!(lab.database("to", "geotrust").execute(revoke, []).unwrap(), 1);
    lab.put("/roles/crl-signer/from/*", "{\"on\":false}");
    lab.put("/roles/crl-signer/to/*", "{\"on\":true}");
    for on in [("to", true), ("from", false)] {
        for (service, host) in
            [("ocsp", "ocsp-1"), ("ocsp", "ocsp-2"), ("crl", "crl-1"), ("seal", "seal-1")]
        {
            let path = format!("/providers/{service}/{}/{host}/*", on.0);
            lab.put(&path, &format!("{{\"on\":{}}}", on.1));
        }
    }
    for host in ["from/ocsp-1", "to/ocsp-1", "to/ocsp-2"] {
        assert!(lab.host(host, "upgrade-ocsp", &["--to", "4.2"]).status.success());
        // As a plan's guard does: the next one is not taken before this one is seen to answer.
        let so_far = answers(&lab);
        until("it answers again", || answers(&lab) > so_far + 20);
    }
    assert!(lab.host("to/edge-1", "upgrade-edge", &["--to", "1.25"]).status.success());
    lab.put("/roles/writer/to/*", "{\"on\":true}");
    let so_far = answers(&lab);
    until("clients asked the new site", || answers(&lab) > so_far + 200);
    for route in ["order", "order-status", "fulfilment"] {
        lab.put(&format!("/edge/to/routes/{route}/*"), "{\"open\":true,\"status\":404}");
    }
    let summary = || lab::witness::summary(lab.directory.path()).unwrap();
    until("orders flow again", || summary().orders.after > 2);
    lab::down(lab.directory.path()).unwrap();
    let seen = summary();
    for (service, protected) in &seen.protected {
        let record = std::fs::read_to_string(lab.path("load/answers.jsonl")).unwrap();
        let failed = record.lines().find(|line| line.contains("\"failed\":true"));
        assert_eq!(protected.failures, 0, "{service}: {seen:?} {failed:?}");
        assert!(protected.answers > 20 && protected.p99_ms > 0.0, "{service}: {seen:?}");
    }
    assert!(seen.api.closed_404 > 0 && seen.api.closed_other == 0, "{seen:?}");
    let orders = &seen.orders;
    assert!(orders.before >= 100 && orders.after > 2, "{seen:?}");
    assert_eq!((orders.lost, orders.doubled, orders.out_of_order), (0, 0, 0), "{seen:?}");
}

#[test]
fn the_witness_sees_every_fault() {
    let lab = Lab::up(&small(4.0));
    let directory = lab.directory.path();
    for (fault, service) in [
        ("ocsp@from/ocsp-1=wrong-key", "ocsp"),
        ("ocsp@from/ocsp-2=expired", "ocsp"),
        ("ocsp@from/ocsp-1=stale", "ocsp"),
        ("ocsp@from/ocsp-1=good-for-all", "ocsp"),
        ("crl@from/crl-1=down", "crl"),
        ("crl@from/crl-1=error", "crl"),
        ("crl@from/crl-1=wrong-key", "crl"),
        ("crl@from/crl-1=expired", "crl"),
        ("crl@from/crl-1=stale", "crl"),
        ("crl@from/crl-1=number-back", "crl"),
        ("seal@from/seal-1=wrong-site", "seal"),
    ] {
        let failures = || {
            let summary = lab::witness::summary(directory).unwrap();
            summary.protected.get(service).map_or(0, |protected| protected.failures)
        };
        let before = failures();
        lab::set_fault(directory, fault, true).unwrap();
        until(fault, || failures() > before);
        lab::set_fault(directory, fault, false).unwrap();
    }
    // One of two that is down is no failure of the service.
    let seen = lab::witness::summary(directory).unwrap();
    let so_far = answers(&lab);
    lab::set_fault(directory, "ocsp@from/ocsp-1=down", true).unwrap();
    until("the other answers", || answers(&lab) > so_far + 100);
    let later = lab::witness::summary(directory).unwrap();
    // What was still on its way when the lies ended may have been counted since.
    assert!(later.protected["ocsp"].failures <= seen.protected["ocsp"].failures + 4, "{later:?}");
    let refused = lab::set_fault(directory, "ocsp@from/ocsp-1=tired", true).unwrap_err();
    assert!(refused.to_string().contains("`wrong-key`"), "{refused}");
}

#[test]
fn a_partition_hangs_a_whole_site_and_heals_by_itself() {
    let lab = Lab::up(&small(0.0));
    let hosts = ["to/ocsp-1", "to/crl-1", "to/edge-1"].map(|host| lab.url(host));
    lab::set_fault(lab.directory.path(), "site:to=partition:1s", true).unwrap();
    let short = |url: &str| fetch(Ask::get(url).within(Duration::from_millis(100)));
    for url in &hosts {
        assert_eq!(short(url).err(), Some(NetError::TimedOut { sent: true }), "{url}");
    }
    let switch = format!("{}/roles/writer/to/geotrust", lab.link.control);
    assert_eq!(short(&switch).err(), Some(NetError::TimedOut { sent: true }));
    assert_eq!(get(lab.url("from/ocsp-1")).status, 200);
    until("it has healed", || hosts.iter().all(|url| short(url).is_ok()));
}

#[test]
fn a_lab_goes_on_where_it_was_and_ends_when_nobody_asks() {
    let lab = Lab::up(&small(0.0));
    let directory = lab.directory.path().to_owned();
    let refused = lab::up(&directory, &small(0.0)).unwrap_err();
    assert!(refused.to_string().contains("already"), "{refused}");
    lab.put("/roles/writer/from/geotrust", "{\"on\":false}");
    let before = get(format!("{}/geotrust-ca.crl", lab.url("from/crl-1"))).body;
    lab::down(&directory).unwrap();
    assert!(lab::status(&directory).is_err());
    let idle = Options { idle_seconds: 3, ..small(1.0) };
    let link = lab::up(&directory, &idle).unwrap();
    let status = lab::status(&directory).unwrap();
    assert_eq!(status["state"]["roles"]["writer@from/geotrust"], false);
    let after = get(format!("{}/geotrust-ca.crl", lab.url("from/crl-1"))).body;
    assert_ne!(before, after, "the first list after a start is a new one");
    let place = tempfile::tempdir().unwrap();
    let estate = lab::place_estate(&directory, place.path()).unwrap();
    assert!(std::fs::read_to_string(estate).unwrap().contains(&link.control));
    assert!(place.path().join("geotrust-ca.pem").exists());
    // Its own clients keep it up no longer.
    until("it has ended by itself", || !directory.join("lab.json").exists());
    assert!(matches!(fetch(Ask::get(&link.control)), Err(NetError::Connect(_))));
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Kills a lab that this process has started, and waits until its lock is free.
fn kill(lab: &Link) {
    kill_process(pid(lab.pid), Signal::KILL).unwrap();
    waitpid(Some(pid(lab.pid)), WaitOptions::empty()).unwrap();
}

#[test]
fn a_directory_has_one_lab_at_a_time_whatever_its_files_say() {
    let lab = Lab::up(&small(0.0));
    let directory = lab.directory.path();
    std::fs::remove_file(lab.path("lab.json")).unwrap();
    let refused = lab::up(directory, &small(0.0)).unwrap_err().to_string();
    for part in ["lives in", "already", &format!("process {} ", lab.link.pid), "`cutover lab down"]
    {
        assert!(refused.contains(part), "`{part}` in {refused}");
    }
    kill(&lab.link);
    // Its number may be another process's by now: this one's, say.
    let stale = Link { pid: std::process::id(), ..lab.link.clone() };
    std::fs::write(lab.path("lab.json"), serde_json::to_vec(&stale).unwrap()).unwrap();
    let again = lab::up(directory, &small(0.0)).unwrap();
    assert_eq!(again.control, lab.link.control);
    lab::down(directory).unwrap();
    let free = lab::up(directory, &small(0.0));
    assert!(free.is_ok(), "who has ended it can start it: {free:?}");
}

#[test]
fn a_killed_lab_comes_up_again_at_its_addresses_with_its_data_and_its_clients() {
    let lab = Lab::up(&small(1.0));
    let directory = lab.directory.path();
    until("clients ask", || answers(&lab) > 20);
    lab.put("/roles/writer/from/geotrust", "{\"on\":false}");
    let addresses = || lab::status(directory).unwrap()["addresses"].clone();
    let before = addresses();
    kill(&lab.link);
    let taken = before["to/ocsp-1"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let stranger = std::net::TcpListener::bind(&taken).unwrap();
    let refused = lab::up(directory, &small(1.0)).unwrap_err().to_string();
    let port = taken.rsplit(':').next().unwrap();
    for part in [&format!("port {port}"), "`to/ocsp-1`", "`ports.json`", "in use"] {
        assert!(refused.contains(part), "`{part}` in {refused}");
    }
    drop(stranger);
    let again = lab::up(directory, &small(1.0)).unwrap();
    assert_eq!((again.control, addresses()), (lab.link.control.clone(), before));
    let status = lab::status(directory).unwrap();
    assert_eq!(status["state"]["roles"]["writer@from/geotrust"], false);
    let clients = || -> u32 {
        let who: lab::Tenant =
            serde_json::from_slice(&std::fs::read(lab.path("load.lock")).unwrap()).unwrap();
        who.pid
    };
    let so_far = answers(&lab);
    until("clients ask again", || answers(&lab) > so_far + 20);
    let killed = clients();
    kill_process(pid(killed), Signal::KILL).unwrap();
    until("there are others", || clients() != killed);
    let so_far = answers(&lab);
    until("they ask", || answers(&lab) > so_far + 20);
    let orders = lab::witness::summary(directory).unwrap().orders;
    assert_eq!((orders.lost, orders.doubled), (0, 0), "{orders:?}");
}

#[test]
fn a_lab_whose_directory_is_taken_away_ends_and_leaves_the_next_one_alone() {
    let around = tempfile::tempdir().unwrap();
    let place = around.path().join("lab");
    let old = lab::up(&place, &small(1.0)).unwrap();
    // Something may be written just then.
    until("it is gone", || std::fs::remove_dir_all(&place).is_ok() || !place.exists());
    let new = lab::up(&place, &small(0.0)).unwrap();
    let switch = format!("{}/roles/writer/from/geotrust", old.control);
    let body = "{\"on\":false}".to_owned();
    let switched = fetch(Ask::with_body(Method::PUT, switch, "application/json", body));
    assert!(switched.map_or(true, |reply| reply.status != 200), "it has nothing to switch");
    let mut ended = false;
    until("the old one has ended", || {
        ended |= waitpid(Some(pid(old.pid)), WaitOptions::NOHANG).unwrap().is_some();
        ended
    });
    assert_eq!(Link::read(&place).unwrap(), new);
    let status = lab::status(&place).unwrap();
    assert_eq!(status["state"]["roles"]["writer@from/geotrust"], true);
    assert!(!place.join("load/tally.json").exists(), "the new one has no clients");
    lab::down(&place).unwrap();
}
