//! Preflight on the lab: green as it stands, and each thing that is broken has its row, alone.

use super::space::Space;
use cutover::lab;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const DAY: &str = include_str!("../../plans/2019-04-06.yaml");

/// A lab of one line, and the plan of the day for it.
struct Small {
    space: Space,
}

impl Drop for Small {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = lab::down(&self.space.file("lab"));
    }
}

impl Small {
    fn up() -> Self {
        let space = Space::new();
        let options = lab::Options {
            lines: vec!["geotrust".into()],
            certificates: 50,
            orders: 20,
            load: 0.0,
            program: Some(env!("CARGO_BIN_EXE_cutover").into()),
            ..lab::Options::default()
        };
        lab::up(&space.file("lab"), &options).expect("the lab comes up");
        let others =
            ["rapidssl: ", "symantec: ", "thawte: ", "managed-pki: ", "encryption-everywhere: "];
        let of_others =
            |line: &&str| others.iter().any(|other| line.trim_start().starts_with(other));
        let plan: Vec<&str> = DAY.lines().filter(|line| !of_others(line)).collect();
        space.write("plan.yaml", &plan.join("\n"));
        for notice in ["final.md", "all-clear.md"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/notices").join(notice);
            space.write(&format!("notices/{notice}"), &fs::read_to_string(from).expect("there"));
        }
        Self { space }
    }

    fn lab(&self, name: &str) -> PathBuf {
        self.space.file("lab").join(name)
    }

    fn estate(&self) -> String {
        fs::read_to_string(self.lab("estate.yaml")).expect("the estate")
    }

    /// The rows that are not as they should be, with an estate of this name beside the lab's own.
    fn wrong(&self, estate: &str, plan: &str) -> Vec<String> {
        let estate = format!("lab/{estate}");
        let said = self.space.run(&["preflight", plan, "--estate", &estate, "--json"]);
        let json = said.json();
        let rows = json["rows"].as_array().expect("rows");
        let text = |row: &Value, field: &str| row[field].as_str().expect("text").to_owned();
        let wrong: Vec<String> = rows
            .iter()
            .filter(|row| row["level"] != "ok")
            .map(|row| {
                let (area, name) = (text(row, "area"), text(row, "name"));
                format!("{} {area} {name}: {}", text(row, "level"), text(row, "found"))
            })
            .collect();
        let faults = wrong.iter().any(|row| row.starts_with("fault"));
        assert_eq!((said.code, json["ok"] == true), (if faults { 2 } else { 0 }, !faults));
        wrong
    }

    /// The same with a part of the lab's estate replaced.
    fn with(&self, name: &str, part: &str, by: &str) -> Vec<String> {
        let text = self.estate();
        assert!(text.contains(part), "`{part}` is not in\n{text}");
        fs::write(self.lab(name), text.replacen(part, by, 1)).expect("written");
        self.wrong(name, "plan.yaml")
    }

    /// Every line of the estate that holds the first text after the second.
    fn line(&self, of: &str, after: &str) -> String {
        let text = self.estate();
        let rest = &text[text.find(after).expect("in the estate")..];
        rest.lines().find(|line| line.contains(of)).expect("a line").to_owned()
    }
}

/// Every row is of this kind, and there is one.
#[track_caller]
fn only(wrong: &[String], of: &str) {
    assert!(!wrong.is_empty(), "nothing was found; wanted `{of}`");
    for row in wrong {
        assert!(row.starts_with(of), "`{of}` was wanted alone:\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_lab_is_green_and_what_is_broken_in_its_estate_has_its_row_alone() {
    let lab = Small::up();
    let before = listing(&lab.lab("hosts"));
    assert_eq!(lab.wrong("estate.yaml", "plan.yaml"), Vec::<String>::new());
    assert_eq!(listing(&lab.lab("hosts")), before);
    assert!(!lab.lab("channels/customers").exists() || listing(&lab.lab("channels")).is_empty());

    let path = |file: &str| serde_json::to_string(&lab.lab(file)).expect("text");
    // A database that fills every disk, by its size alone.
    fs::copy(lab.lab("db/from/geotrust.db"), lab.lab("huge.db")).expect("copied");
    let huge = fs::OpenOptions::new().write(true).open(lab.lab("huge.db")).expect("there");
    huge.set_len(4 << 40).expect("a sparse file");
    let source = path("db/from/geotrust.db");
    only(&lab.with("huge.yaml", &source, &path("huge.db")), "fault room ");
    let found = lab.with("gone.yaml", &source, &path("gone.db"));
    only(&found, "fault ");
    assert!(found.iter().all(|row| row.contains("geotrust at from")), "{found:#?}");
    fs::write(lab.lab("text.db"), "no database at all, but a text").expect("written");
    let found = lab.with("text.yaml", &source, &path("text.db"));
    assert!(found.iter().any(|row| row.contains("not a database")), "{found:#?}");
    // A target that holds something.
    fs::copy(lab.lab("db/from/geotrust.db"), lab.lab("full.db")).expect("copied");
    let target = path("db/to/geotrust.db");
    only(&lab.with("full.yaml", &target, &path("full.db")), "fault databases geotrust at to");
    assert!(!lab.lab("full.db-wal").exists(), "a look leaves no log");

    let blog = path("channels/partner-blog");
    only(&lab.with("blog.yaml", &blog, &path("text.db")), "fault channels partner-blog");
    let host = path("hosts/to/ocsp-1");
    let by_ssh = lab.with("ssh.yaml", &format!("{{ local: {{ path: {host} }} }}"), "{ ssh: a.b }");
    only(&by_ssh, "fault commands ");
    assert_eq!(by_ssh.len(), 2, "both commands of that host: {by_ssh:#?}");
    let admin = lab.line("admin:", "edge:");
    let nobody = "      admin: \"http://127.0.0.1:1/edge\"";
    only(&lab.with("edge.yaml", &admin, nobody), "fault edges ");
    let dns = "probe: ";
    let asked = lab.with("dns.yaml", dns, "dns: { servers: [\"127.0.0.1:1\"] }\nprobe: ");
    only(&asked, "fault name servers 127.0.0.1:1");
}

#[test]
fn papers_and_people_of_an_estate_are_looked_at() {
    let lab = Small::up();
    // The sentinels of two classes taken for each other: the providers seem to lie.
    let (good, revoked) = ("good: [geotrust-good.pem]", "revoked: [geotrust-revoked.pem]");
    let text = lab.estate().replace(good, "good: [geotrust-revoked.pem]");
    let text = text.replace(revoked, "revoked: [geotrust-good.pem]");
    fs::write(lab.lab("swapped.yaml"), text).expect("written");
    let found = lab.wrong("swapped.yaml", "plan.yaml");
    only(&found, "fault services ");
    assert!(found.iter().any(|row| row.contains("ocsp@from/ocsp-1[geotrust]")), "{found:#?}");
    // One of a foreign issuer is asked about by nobody.
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/revocation/good.der");
    fs::copy(foreign, lab.lab("foreign.der")).expect("copied");
    let found = lab.with("foreign.yaml", good, "good: [foreign.der]");
    assert!(
        found.iter().any(|row| row.starts_with("fault certificates foreign.der")),
        "{found:#?}"
    );
    assert!(found.iter().any(|row| row.starts_with("warning certificates geotrust-ca.pem")));
    let found = lab.with("absent.yaml", good, "good: [absent.pem]");
    assert!(found.iter().any(|row| row.starts_with("fault certificates absent.pem")), "{found:#?}");
    // A window that closes after the certificates of the lab have ended, and its lists long before.
    let plan = lab.space.read("plan.yaml").replace("2019-04-06T", "2199-04-06T");
    lab.space.write("late.yaml", &plan);
    let found = lab.wrong("estate.yaml", "late.yaml");
    only(&found, "fault certificates ");
    // The notice of the plan.
    fs::remove_file(lab.space.file("notices/final.md")).expect("removed");
    only(&lab.wrong("estate.yaml", "plan.yaml"), "fault notices notices/final.md");
}

#[test]
fn what_is_broken_in_the_lab_has_its_row_alone() {
    let lab = Small::up();
    let wrong = || lab.wrong("estate.yaml", "plan.yaml");
    let fault = |spec: &str, off: bool| {
        let mut args = vec!["lab", "fault", "lab", spec];
        args.extend(off.then_some("--off"));
        lab.space.run(&args).exits(0);
    };
    fault("ocsp@from/ocsp-1=down", false);
    only(&wrong(), "fault services ocsp@from/ocsp-1[geotrust]");
    fault("ocsp@from/ocsp-1=down", true);
    // A command that is gone, and one that nobody may run.
    let (tool, away) = (lab.lab("hosts/to/ocsp-1/upgrade-ocsp"), lab.lab("away"));
    fs::rename(&tool, &away).expect("renamed");
    only(&wrong(), "fault commands upgrade-ocsp at to/ocsp-1");
    fs::rename(&away, &tool).expect("renamed");
    let mode = |mode| fs::set_permissions(&tool, fs::Permissions::from_mode(mode)).expect("set");
    mode(0o644);
    only(&wrong(), "fault commands upgrade-ocsp at to/ocsp-1");
    mode(0o755);
    // A role and a provider at the wrong site.
    let control = lab.line("control:", "lab:");
    let control = control.split('"').nth(1).expect("a URL");
    for (place, row) in [
        ("roles/writer/to/geotrust", "fault roles writer@to/geotrust"),
        ("providers/ocsp/to/ocsp-2/geotrust", "fault providers ocsp@to/ocsp-2[geotrust]"),
    ] {
        let put = |on: bool| {
            let body = format!("{{\"on\":{on}}}");
            let url = format!("{control}/{place}");
            let ask =
                cutover::net::Ask::with_body(hyper::Method::PUT, url, "application/json", body);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let reply = runtime.expect("a runtime").block_on(cutover::net::fetch(&ask));
            assert_eq!(reply.expect("an answer").status, 200);
        };
        put(true);
        only(&wrong(), row);
        put(false);
    }
    assert_eq!(wrong(), Vec::<String>::new(), "green again");
}

#[test]
fn a_lock_of_the_lab_pins_its_files() {
    let lab = Small::up();
    let preflight = ["preflight", "plan.yaml", "--estate", "lab/estate.yaml"];
    let args = [&preflight[..], &["--steps", "-o", "plan.lock"]].concat();
    let said = lab.space.run(&args).exits(0);
    assert!(said.stdout.contains("upgrade-ocsp[ocsp-1] · not done"), "{}", said.stdout);
    let lock = lab.space.read("plan.lock");
    let run = || {
        let args = ["run", "plan.yaml", "--estate", "lab/estate.yaml", "--locked", "plan.lock"];
        lab.space.run(&[&args[..], &["--run", "r"]].concat())
    };
    for file in ["notices/final.md", "lab/hosts/to/ocsp-1/upgrade-ocsp", "lab/estate.yaml"] {
        let text = lab.space.read(file);
        lab.space.write(file, &format!("{text}# more\n"));
        let name = Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
        run().exits(2).says(&name);
        lab.space.write(file, &text);
    }
    assert!(!lab.space.file("r").exists());
    lab.space.run(&args).exits(0);
    assert_eq!(lab.space.read("plan.lock"), lock, "the same again");
    let said = lab.space.run(&["init", "--estate", "lab/estate.yaml", "-o", "new.yaml"]).exits(0);
    drop(said);
    let said = lab.space.run(&["check", "new.yaml", "--estate", "lab/estate.yaml"]).exits(0);
    assert_eq!(said.stderr, "", "not even a warning");
    lab.space.run(&["preflight", "new.yaml", "--estate", "lab/estate.yaml"]).exits(0);
}

#[test]
fn the_guard_alone_says_what_a_run_would_hear() {
    let lab = Small::up();
    let guard = |length: &str| {
        let plan = ["guard", "plan.yaml", "--estate", "lab/estate.yaml", "--json", "--for", length];
        lab.space.run(&plan)
    };
    let said = guard("3s").exits(0);
    let last: Value =
        serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("JSON");
    for service in ["ocsp", "crl", "seal"] {
        assert_eq!(last["verdicts"][service], "normal", "{last}");
    }
    assert!(last["findings"].is_object(), "{last}");
    for server in ["ocsp-1", "ocsp-2"] {
        lab.space.run(&["lab", "fault", "lab", &format!("ocsp@from/{server}=wrong-key")]).exits(0);
    }
    let said = guard("4s").exits(6);
    let last: Value =
        serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["verdicts"]["ocsp"], "breached", "{last}");
    assert_eq!(last["verdicts"]["crl"], "normal", "{last}");
    assert!(
        last["findings"]["ocsp-bad-signature"].as_u64().is_some_and(|count| count > 0),
        "{last}"
    );
    assert!(said.stdout.lines().any(|line| line.contains("\"breached\":\"ocsp[geotrust]\"")));
}

/// Every file below a directory.
fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(path) = queue.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => queue.extend(entries.map(|entry| entry.expect("entry").path())),
            Err(_) => out.push(path),
        }
    }
    out.sort();
    out
}
