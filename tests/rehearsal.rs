//! The transition of 6 April 2019 on the embedded lab, small: the binary itself, real processes,
//! sockets, databases and signatures.

#![cfg(feature = "lab")]

#[path = "rehearsal/kills.rs"]
mod kills;
#[path = "rehearsal/lab_life.rs"]
mod lab_life;
#[expect(dead_code, reason = "each test binary uses a part of it")]
mod space;

use cutover::estate::Estate;
use rusqlite::Connection;
use serde_json::Value;
use space::{Going, Said, Space, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PLAN: &str = include_str!("../plans/2019-04-06.yaml");
const MINUTE: Duration = Duration::from_secs(60);

/// A lab needs the machine for itself: one rehearsal at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn space(plan: &str) -> Space {
    let space = Space::new();
    space.write("plan.yaml", plan);
    space.write("notices/final.md", include_str!("../plans/notices/final.md"));
    space.write("notices/all-clear.md", include_str!("../plans/notices/all-clear.md"));
    space
}

const SMALL: [&str; 10] = [
    "rehearse",
    "plan.yaml",
    "--run",
    "r",
    "--certificates",
    "200",
    "--orders",
    "60",
    "--settle",
    "0s",
];

fn rehearse<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain(more.iter().copied()).collect()
}

/// The lab ends with its test, also when the test fails.
struct Lab<'a>(&'a Space);

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        if self.0.file("r/lab/lab.json").exists() {
            self.0.run(&["lab", "down", "r/lab"]);
        }
    }
}

#[track_caller]
fn clients_saw_nothing(summary: &Value) {
    for service in ["ocsp", "crl", "seal"] {
        let seen = &summary["protected"][service];
        assert_eq!(seen["failures"], 0, "{service}: {summary:#}");
        assert!(seen["answers"].as_u64().is_some_and(|answers| answers > 0), "{summary:#}");
    }
    for word in ["lost", "doubled", "out_of_order"] {
        assert_eq!(summary["orders"][word], 0, "{word}: {summary:#}");
    }
    assert_eq!(summary["api"]["closed_other"], 0, "{summary:#}");
    assert!(summary["api"]["closed_404"].as_u64().is_some_and(|closed| closed > 0), "{summary:#}");
}

#[track_caller]
fn all_is_moved(summary: &Value) {
    assert_eq!(summary["outcome"], "completed", "{summary:#}");
    assert_eq!(summary["lines"]["moved"], 6, "{summary:#}");
    assert_eq!(summary["rows"]["differences"], 0, "{summary:#}");
    assert_eq!(summary["rows"]["source"], summary["rows"]["target"], "{summary:#}");
    let asked = summary["revocations"]["requested"].as_u64().expect("a number");
    assert!(asked >= 3, "{summary:#}");
    assert_eq!(summary["revocations"]["confirmed"], asked, "{summary:#}");
    clients_saw_nothing(summary);
}

fn estate(space: &Space) -> Estate {
    let path = space.file("r/estate.yaml");
    let text = space.read("r/estate.yaml");
    cutover::estate::read(&path, &text).expect("the lab's estate reads").0
}

#[test]
fn the_transition_runs_from_end_to_end_and_strangers_see_the_same() {
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    let mut going = space.start(&rehearse(&["--json"]));
    going.until("\"opened\"");
    let estate = estate(&space);
    let openssl = Openssl::of(&space, &estate);
    openssl.asks_ocsp("from");
    openssl.asks_crl("from");
    for line in cutover::lab::LINES {
        until_ended(&mut going, "done", &format!("close-ordering[{line}]"));
    }
    let edge = estate.sites["from"].edge.as_ref().expect("an edge");
    for (name, route) in &edge.routes {
        let url = format!("{}{}", edge.url, route.replace("{line}", "geotrust"));
        assert_eq!(curl(&url), "404", "{name}");
    }
    for (name, route) in &edge.protected {
        let url = format!("{}{}", edge.url, route.replace("{line}", "geotrust"));
        assert_eq!(curl(&url), "200", "{name}");
    }
    until_ended(&mut going, "done", "upgrade-ocsp[ocsp-1]");
    openssl.asks_ocsp("to");
    openssl.asks_crl("to");
    let said = going.end().exits(0);
    let summary = said.json();
    all_is_moved(&summary);
    assert!(!space.file("r/lab/lab.json").exists(), "the lab ended with its run");
    space.run(&["journal", "verify", "r"]).exits(0);
    let report = space.run(&["report", "r"]).exits(0).json();
    assert_eq!(report["lines"], summary["lines"]);
    let page: Value = serde_json::from_str(&space.read("r/status.json")).expect("JSON");
    assert_eq!(page["state"], "completed");
    assert!(space.read("r/status.html").contains("The maintenance is completed."));
    notices_went_out_once(&space);
}

fn notices_went_out_once(space: &Space) {
    for channel in ["customers", "partner-blog"] {
        let dir = space.file(&format!("r/lab/channels/{channel}"));
        let names: Vec<String> = std::fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let mails = names.iter().filter(|name| name.ends_with(".eml")).count();
        assert_eq!(mails, 2, "the final notice and the all-clear: {names:?}");
    }
}

/// Reads events until a step has ended so.
#[track_caller]
fn until_ended(going: &mut Going, how: &str, step: &str) {
    going.until_line(&format!("`{step}` {how}"), |line| {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return false };
        let ended = &value["event"]["ended"];
        ended["step"] == step && ended["ending"].get(how).is_some() | (ended["ending"] == how)
    });
}

fn curl(url: &str) -> String {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", url])
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The `openssl` command of a stranger, aimed by the run's estate file alone.
struct Openssl<'a> {
    estate: &'a Estate,
    dir: PathBuf,
}

impl<'a> Openssl<'a> {
    fn of(space: &Space, estate: &'a Estate) -> Self {
        Self { estate, dir: space.file("r") }
    }

    fn asks_ocsp(&self, site: &str) {
        let service = &self.estate.sites[site].services["ocsp"];
        for line in ["geotrust", "thawte"] {
            let issuer = &service.issuers.of(Some(line))[0];
            let good = &self.sentinel(&self.estate.sentinels.good, line);
            let revoked = &self.sentinel(&self.estate.sentinels.revoked, line);
            for provider in service.providers.values() {
                let url = provider.url.replace("{line}", line);
                for (certificate, status) in [(good, ": good"), (revoked, ": revoked")] {
                    let output = Command::new("openssl")
                        .args(["ocsp", "-no_nonce", "-url", &url, "-issuer"])
                        .arg(issuer)
                        .arg("-cert")
                        .arg(certificate)
                        .arg("-CAfile")
                        .arg(issuer)
                        .output()
                        .expect("openssl runs");
                    let said = String::from_utf8_lossy(&output.stdout).into_owned()
                        + &String::from_utf8_lossy(&output.stderr);
                    assert!(said.contains("Response verify OK"), "{url}: {said}");
                    assert!(said.contains(status), "{url}: {said}");
                }
            }
        }
    }

    fn sentinel(&self, all: &[PathBuf], line: &str) -> PathBuf {
        let of_line = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(line))
        };
        all.iter().find(of_line).unwrap_or_else(|| panic!("{line} in {all:?}")).clone()
    }

    fn asks_crl(&self, site: &str) {
        let service = &self.estate.sites[site].services["crl"];
        let issuer = &service.issuers.of(Some("geotrust"))[0];
        let stem = issuer.file_stem().expect("a stem").to_string_lossy().into_owned();
        for provider in service.providers.values() {
            let url = provider.url.replace("{issuer}", &stem).replace("{line}", "geotrust");
            let list = self.dir.join("stranger.crl");
            let got = Command::new("curl").args(["-s", "-f", "-o"]).arg(&list).arg(&url).status();
            assert!(got.expect("curl runs").success(), "{url}");
            let output = Command::new("openssl")
                .args(["crl", "-inform", "DER", "-noout", "-CAfile"])
                .arg(issuer)
                .arg("-in")
                .arg(&list)
                .output()
                .expect("openssl runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("verify OK"), "{url}: {said}");
        }
    }
}

/// Every row of a line's database at a site, table by table, as text.
fn rows(space: &Space, site: &str, line: &str) -> BTreeMap<String, Vec<Option<String>>> {
    let path = space.file(&format!("r/lab/db/{site}/{line}.db"));
    let database = Connection::open(&path).expect("a database");
    let mut all = BTreeMap::new();
    for (table, key) in [("certificates", "serial"), ("orders", "order_id")] {
        let mut query = database
            .prepare(&format!("SELECT {key}, * FROM {table}"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let columns = query.column_count();
        let mut found = query.query([]).expect("rows");
        while let Some(row) = found.next().expect("a row") {
            let text = |at: usize| -> Option<String> {
                use rusqlite::types::ValueRef;
                match row.get_ref(at).expect("a column") {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    ValueRef::Real(number) => Some(number.to_string()),
                    ValueRef::Text(text) | ValueRef::Blob(text) => {
                        Some(String::from_utf8_lossy(text).into_owned())
                    }
                }
            };
            let key = format!("{table} {}", text(0).expect("a key"));
            all.insert(key, (1..columns).map(text).collect());
        }
    }
    all
}

/// Nothing that the old site held when it was fenced is gone or altered, but for the revocations
/// that were asked for and for queued orders that it has issued since it is open again.
#[track_caller]
fn old_site_is_whole(space: &Space, line: &str, then: &BTreeMap<String, Vec<Option<String>>>) {
    let now = rows(space, "from", line);
    let revoked: BTreeSet<String> = space
        .read("r/revocations.jsonl")
        .lines()
        .filter_map(|entry| serde_json::from_str::<Value>(entry).ok())
        .filter_map(|entry| {
            let text = entry["event"]["accepted"]["certificate"]["serial"].as_str()?.to_owned();
            Some(format!("certificates {text}"))
        })
        .collect();
    for (key, before) in then {
        let Some(after) = now.get(key) else { panic!("{line}: {key} is gone") };
        let issued_since =
            key.starts_with("orders ") && before.contains(&Some("queued".to_owned()));
        if before != after && !issued_since {
            assert!(revoked.contains(key), "{line}: {key}: {before:?} has become {after:?}");
        }
    }
}

#[track_caller]
fn rolls_back(fault: &str, failing: &str) {
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    let mut going = space.start(&rehearse(&["--json", "--keep-lab", "--fault", fault]));
    for line in cutover::lab::LINES {
        until_ended(&mut going, "done", &format!("fence-old-writer[{line}]"));
    }
    let then: Vec<_> = cutover::lab::LINES.iter().map(|line| rows(&space, "from", line)).collect();
    let said: Said = going.end().exits(3);
    let summary = said.json();
    assert_eq!(summary["outcome"], "rolled_back", "{summary:#}");
    assert_eq!(summary["lines"]["moved"], 0, "{summary:#}");
    assert!(summary["steps"]["failed"].as_u64().is_some_and(|failed| failed > 0), "{failing}");
    clients_saw_nothing(&summary);
    for (line, then) in cutover::lab::LINES.iter().zip(&then) {
        old_site_is_whole(&space, line, then);
        orders_flow(&space, "from", line);
    }
}

/// The edge of the site takes an order of the line, and its worker issues it.
#[track_caller]
fn orders_flow(space: &Space, site: &str, line: &str) {
    let estate = estate(space);
    let edge = estate.sites[site].edge.as_ref().expect("an edge");
    let url = format!("{}{}", edge.url, edge.routes["order-status"].replace("{line}", line));
    assert_ne!(curl(&url), "404", "{line} is open at {site}");
    let path = space.file(&format!("r/lab/db/{site}/{line}.db"));
    let issued = || -> i64 {
        let database = Connection::open(&path).expect("a database");
        database
            .query_row("SELECT count(*) FROM orders WHERE state = 'issued'", [], |row| {
                row.get::<_, i64>(0)
            })
            .expect("a count")
    };
    let before = issued();
    eventually("the worker issues", MINUTE, || (issued() > before).then_some(()));
}

#[test]
fn a_transfer_that_fails_for_good_rolls_back() {
    rolls_back("transfer[thawte]=fail", "transfer[thawte]");
}

#[test]
fn an_upgrade_that_fails_for_good_rolls_back() {
    rolls_back("upgrade-ocsp[ocsp-1]=fail", "upgrade-ocsp[ocsp-1]");
}

#[test]
fn a_verify_that_fails_for_good_rolls_back() {
    rolls_back("verify[rapidssl]=fail", "verify[rapidssl]");
}

#[test]
fn the_last_step_before_the_point_of_no_return_rolls_back() {
    rolls_back("upgrade-ocsp[ocsp-2]=fail", "upgrade-ocsp[ocsp-2]");
}

/// The plan of the day but for what happens to a line whose transfer fails.
const ROLLBACK_LINE: &str = include_str!("plans/rollback-line.yaml");

#[test]
fn the_variant_differs_from_the_plan_in_these_lines_only() {
    let head = ROLLBACK_LINE.lines().take_while(|line| line.starts_with('#')).count();
    let mut ours = ROLLBACK_LINE.lines().skip(head);
    let theirs = PLAN.lines().skip_while(|line| line.starts_with('#'));
    let mut retry_seen = false;
    for line in theirs {
        let wanted = line.replace("notice: notices/", "notice: ../../plans/notices/");
        assert_eq!(ours.next(), Some(wanted.as_str()), "instead of `{line}`");
        if line.trim_start().starts_with("retry: ") {
            assert!(!retry_seen, "one step alone says `retry`: the transfer");
            retry_seen = true;
            assert_eq!(ours.next(), Some("    on_failure: rollback-line"));
        }
    }
    assert_eq!(ours.next(), None);
    assert!(retry_seen);
}

#[test]
fn a_line_that_fails_goes_back_alone_and_the_others_are_moved() {
    let _alone = alone();
    // Where it lies: its notices are named from there.
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/rollback-line.yaml");
    let space = Space::new();
    let _lab = Lab(&space);
    let mut args = rehearse(&["--json", "--keep-lab", "--fault", "transfer[symantec]=fail"]);
    args[1] = plan.to_str().expect("a path in UTF-8");
    let mut going = space.start(&args);
    until_ended(&mut going, "done", "fence-old-writer[symantec]");
    let then = rows(&space, "from", "symantec");
    let summary = going.end().exits(3).json();
    assert_eq!(summary["outcome"], "partly_rolled_back", "{summary:#}");
    assert_eq!(summary["lines"]["moved"], 5, "{summary:#}");
    assert_eq!(summary["rows"]["differences"], 0, "{summary:#}");
    clients_saw_nothing(&summary);
    old_site_is_whole(&space, "symantec", &then);
    orders_flow(&space, "from", "symantec");
    for line in cutover::lab::LINES {
        let (open, closed) = if line == "symantec" { ("from", "to") } else { ("to", "from") };
        assert_ne!(curl(&order_route(&space, open, line)), "404", "{line} is open at {open}");
        assert_eq!(curl(&order_route(&space, closed, line)), "404", "{line} at {closed}");
    }
    // Served at the old site alone: the others' providers are at the new one.
    let status = space.run(&["lab", "status", "r/lab"]).exits(0).json();
    for (line, at) in [("symantec", "from"), ("geotrust", "to")] {
        for site in ["from", "to"] {
            for provider in ["ocsp", "crl"] {
                let key = format!("{provider}@{site}/{provider}-1/{line}");
                assert_eq!(status["state"]["providers"][&key], site == at, "{key}");
            }
            for role in ["writer", "crl-signer"] {
                let key = format!("{role}@{site}/{line}");
                assert_eq!(status["state"]["roles"][&key], site == at, "{key}");
            }
        }
    }
    notices_went_out_once(&space);
}

fn order_route(space: &Space, site: &str, line: &str) -> String {
    let edge = estate(space).sites[site].edge.clone().expect("an edge");
    format!("{}{}", edge.url, edge.routes["order"].replace("{line}", line))
}

#[test]
fn the_step_that_would_take_the_last_provider_waits_and_says_for_whom() {
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    // The upgrade needs this step, so there is time to kill the other host by hand.
    let slow = "disable-old-ocsp[geotrust,ocsp-1]";
    let fault = format!("{slow}=slow:6s");
    let mut going = space.start(&rehearse(&["--json", "--fault", &fault]));
    going.until_line("the slow step starts", |line| {
        serde_json::from_str::<Value>(line)
            .is_ok_and(|value| value["event"]["started"]["step"] == slow)
    });
    space.run(&["lab", "fault", "r/lab", "ocsp@to/ocsp-2=down"]).exits(0);
    going.until_line("the guard sees it", |line| {
        line.contains("\"verdict\"") && line.contains("ocsp@to/ocsp-2") && line.contains("down")
    });
    let status = eventually("it waits", MINUTE, || {
        let status = space.run(&["status", "r"]).exits(0).stdout;
        status.contains("waits   upgrade-ocsp[ocsp-1] for ocsp").then_some(status)
    });
    assert!(status.contains("wanted back: ocsp@to/ocsp-2"), "{status}");
    space.run(&["lab", "fault", "r/lab", "ocsp@to/ocsp-2=down", "--off"]).exits(0);
    let summary = going.end().exits(0).json();
    all_is_moved(&summary);
}

#[test]
fn a_stranger_to_the_lab_finds_nothing_under_its_directory_but_its_own() {
    // The lab writes below the run's directory only: the plan's own directory stays as it was.
    let _alone = alone();
    let space = space(PLAN);
    let _lab = Lab(&space);
    space.run(&rehearse(&["--revoke", "0", "--load", "20"])).exits(0);
    let mut names: Vec<String> = std::fs::read_dir(space.path())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["notices", "plan.yaml", "r"]);
    assert!(Path::new(&space.file("r/journal.jsonl")).exists());
}
