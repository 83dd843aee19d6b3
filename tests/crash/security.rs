//! Strangers on the same machine, hostile values, secrets, seals. The table of threats is in the
//! README beside this file.

use crate::space::{Said, Space};
use crate::tools::{
    RUN, WAITING, began, count, every_file, has, is_root, lines, program, records, skipped, space,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

const NOBODY: u32 = 65534;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn nobody_else_may_enter_a_run_whatever_the_umask() {
    let space = space(WAITING);
    let mut run = Command::new("sh");
    run.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(program()).args(RUN);
    run.current_dir(space.path()).env("NO_COLOR", "1").stdin(Stdio::null());
    let going = space.go(run);
    began(&space);
    assert_eq!(mode(&space.file("r")), 0o700);
    for file in ["socket", "journal.jsonl", "lock", "ballast"] {
        let file = space.file("r").join(file);
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    space.write("go", "");
    going.end().exits(0);
    assert_eq!(mode(&space.file("r/seal.json")), 0o600);
}

/// A program that another user may run, and a place that he may work in.
struct Nobody {
    space: Space,
    program: std::path::PathBuf,
}

impl Nobody {
    fn new(plan: &str) -> Option<Self> {
        if !is_root() || !has("setpriv") {
            skipped("another user takes root and `setpriv`");
            return None;
        }
        let space = Space::new();
        space.write("p.yaml", plan);
        let program = space.file("cutover");
        fs::copy(program_path(), &program).expect("copied");
        fs::set_permissions(space.path(), fs::Permissions::from_mode(0o777)).expect("set");
        Some(Self { space, program })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.arg("--clear-groups").args(words).current_dir(self.space.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn cutover(&self, args: &[&str]) -> Command {
        let program = self.program.display().to_string();
        let words: Vec<&str> =
            std::iter::once(program.as_str()).chain(args.iter().copied()).collect();
        self.command(&words)
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.cutover(args).output().expect("it starts"))
    }
}

fn program_path() -> std::path::PathBuf {
    program().into()
}

/// Who asks is known by the socket, not by what he says; and first he must get there.
#[test]
fn who_asks_is_who_the_kernel_says() {
    let Some(nobody) = Nobody::new(WAITING) else { return };
    let space = &nobody.space;
    let going = space.start(&RUN);
    began(space);
    let said = nobody.run(&["hold", "r"]);
    assert_ne!(said.code, 0, "the directory is closed to others: {said:?}");
    // Opened by mistake: he may ask, under his own name.
    for (path, mode) in [("r", 0o755), ("r/socket", 0o666), ("r/journal.jsonl", 0o644)] {
        fs::set_permissions(space.file(path), fs::Permissions::from_mode(mode)).expect("set");
    }
    let mut hold = nobody.cutover(&["hold", "r", "--reason", "by nobody"]);
    hold.env("USER", "root").env("LOGNAME", "root").env("SUDO_USER", "root");
    Said::of(&hold.output().expect("it starts")).exits(0);
    let by = records(space, "r").iter().rev().find_map(|record| {
        let asked = &record["event"]["requested"];
        asked["by"].is_object().then(|| asked["by"].clone())
    });
    assert_eq!(by.expect("a request")["uid"], NOBODY);
    space.run(&["release", "r"]).exits(0);
    space.write("go", "");
    going.end().exits(0);
}

/// Not root: what a runner needs of /proc it finds, though nobody may look into it.
#[test]
fn a_runner_that_is_not_root_finds_its_leftovers_and_shows_nobody_its_memory() {
    let Some(nobody) = Nobody::new(WAITING) else { return };
    let space = &nobody.space;
    let mut run = nobody.cutover(&RUN);
    run.env("CANARY", "a-canary-in-the-environment");
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    began(space);
    // `setpriv` has become the program.
    let process = format!("/proc/{}", child.id());
    let environ = format!("{process}/environ");
    let look = nobody.command(&["cat", &environ]).output().expect("it starts");
    assert!(!look.status.success() && look.stdout.is_empty(), "{look:?}");
    let limits = fs::read_to_string(format!("{process}/limits")).expect("limits");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let soft = cores.and_then(|line| line.split_whitespace().nth(4));
    assert_eq!(soft, Some("0"), "{limits}");
    let said = nobody.run(&["hold", "r", "--reason", "a look"]);
    assert_eq!(said.code, 0, "its own user may ask: {said:?}");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    nobody.run(&["release", "r"]).exits(0);
    space.write("go", "");
    nobody.run(&["resume", "r"]).exits(0);
    assert_eq!(count(&lines(space, "log")), BTreeMap::from([("a", 1), ("b", 1)]));
}

/// Every character that YAML can write, and what a shell would take for commands.
#[test]
fn arguments_arrive_as_they_are_written_and_no_value_becomes_a_command() {
    let every: String = (1..=255_u32).map(|code| format!("\\x{code:02x}")).collect();
    let wanted: String = (1..=255_u32).filter_map(char::from_u32).collect();
    let space = space(&format!(
        r#"
cutover: v1
name: bytes
lines:
  one: {{ note: "$(touch pwned)`touch pwned`; touch pwned; '\"${{IFS}}touch${{IFS}}pwned" }}
steps:
  a: {{ run: [printf, "%s", "{every}"], undo: {{ none: nothing }} }}
  b:
    for_each: {{ line: all }}
    run: [printf, "%s", "${{{{ line.note }}}}"]
    env: {{ NOTE: "${{{{ line.note }}}}" }}
    undo: {{ none: nothing }}
  c:
    for_each: {{ line: all }}
    env: {{ NOTE: "${{{{ line.note }}}}" }}
    script: |
      printf %s "$NOTE"
    undo: {{ none: nothing }}
"#
    ));
    space.run(&RUN).exits(0);
    let printed = |step: &str| fs::read(space.file(&format!("r/attempts/{step}/do-1/stdout")));
    assert_eq!(printed("a").expect("kept"), wanted.as_bytes());
    let note = "$(touch pwned)`touch pwned`; touch pwned; '\"${IFS}touch${IFS}pwned";
    for step in ["b[one]", "c[one]"] {
        assert_eq!(String::from_utf8_lossy(&printed(step).expect("kept")), note, "{step}");
    }
    assert!(!space.file("pwned").exists());
}

#[test]
fn a_value_is_not_put_into_a_script() {
    let plan = "cutover: v1\nname: n\nlines: { one: {} }\nsteps:\n  a:\n    for_each: { line: all }\n    script: echo ${{ line }}\n    undo: { none: nothing }\n";
    let space = space(plan);
    space.run(&["check", "p.yaml"]).exits(2).says("script");
}

/// Names become parts of paths: none leads out of the run's directory.
#[test]
fn names_that_are_paths_are_refused() {
    for name in ["..", ".", "../../etc", "a/b", "/etc", ".hidden", "-o", "a\\u0000b", "a\\nb", ""] {
        let plan = format!(
            "cutover: v1\nname: n\nsteps:\n  a:\n    for_each: {{ v: [\"{name}\"] }}\n    run: [\"true\"]\n    undo: {{ none: nothing }}\n"
        );
        let space = space(&plan);
        let said = space.run(&["check", "p.yaml"]);
        assert_eq!(said.code, 2, "{name}: {said:?}");
        let named = format!(
            "cutover: v1\nname: n\nsteps:\n  \"{name}\": {{ run: [\"true\"], undo: {{ none: nothing }} }}\n"
        );
        space.write("p.yaml", &named);
        let said = space.run(&["check", "p.yaml"]);
        assert_eq!(said.code, 2, "{name}: {said:?}");
    }
}

/// Links that somebody has laid where a run's files go.
#[test]
fn links_in_a_run_directory_are_not_followed() {
    for file in ["journal.jsonl", "journal.jsonl.new", "lock", "ballast", "seal.json.new"] {
        let space = space(WAITING);
        space.write("go", "");
        space.write("victim", "kept");
        fs::create_dir(space.file("r")).expect("made");
        std::os::unix::fs::symlink(space.file("victim"), space.file("r").join(file))
            .expect("linked");
        let said = space.run(&RUN);
        assert_eq!(space.read("victim"), "kept", "{file}: {said:?}");
        if file != "seal.json.new" {
            assert_eq!(said.code, 2, "{file}: {said:?}");
            assert_eq!(lines(&space, "log"), [""; 0], "{file}");
        }
    }
    let space = space(WAITING);
    fs::create_dir(space.file("elsewhere")).expect("made");
    std::os::unix::fs::symlink("elsewhere", space.file("r")).expect("linked");
    space.run(&RUN).exits(2).says("not a directory");
}

const CANARY: &str = "canary-7f3a9c51d2";

/// Secrets are references. What stands behind them is looked for in every byte of the run, in all
/// that was said, and in every command line of the machine while the run goes.
#[test]
fn a_secret_is_in_no_byte_of_a_run() {
    let space = Space::in_memory();
    let secret = space.write("db.pass", &format!("{CANARY}\n"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
    space.write(
        "estate.yaml",
        r#"
estate: v1
name: e
sites:
  from:
    databases:
      one: { postgres: "host=127.0.0.1 port=1 dbname=one", password: { file: db.pass } }
      two: { postgres: "host=127.0.0.1 port=1 dbname=two", password: { env: CANARY_PASSWORD } }
      three: { postgres: "host=127.0.0.1 port=1 dbname=three", password: { command: [cat, db.pass] } }
  to: {}
"#,
    );
    space.write("p.yaml", WAITING);
    let mut run = space.command(&RUN);
    run.args(["--estate", "estate.yaml"])
        .env("CANARY_PASSWORD", CANARY)
        .env("CUTOVER_LOG", "trace");
    let going = space.go(run);
    began(&space);
    let mut looked = 0;
    for entry in fs::read_dir("/proc").expect("/proc").filter_map(Result::ok) {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        looked += 1;
        assert!(!holds(&line), "{}: {}", entry.path().display(), String::from_utf8_lossy(&line));
    }
    assert!(looked > 2, "{looked} processes");
    space.write("go", "");
    let said = going.end().exits(0);
    let mut texts = vec![said.stdout, said.stderr];
    for args in [
        &["report", "r"][..],
        &["status", "r", "--json"],
        &["journal", "show", "r"],
        &["journal", "show", "r", "--json"],
        &["journal", "verify", "r"],
        &["check", "p.yaml", "--estate", "estate.yaml"],
    ] {
        let said = space.run(args).exits(0);
        texts.extend([said.stdout, said.stderr]);
    }
    assert!(texts.iter().all(|text| !holds(text.as_bytes())), "{texts:#?}");
    let files = every_file(&space.file("r"));
    assert!(files.len() > 8, "{}", files.len());
    for (path, bytes) in files {
        assert!(!holds(&bytes), "{}", path.display());
    }
    let journal = space.read("r/journal.jsonl");
    assert!(journal.contains("CANARY_PASSWORD") && journal.contains("db.pass"), "references stay");
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes())
}

/// A secret written into an estate is refused, and not shown.
#[test]
fn a_secret_in_an_estate_is_refused_and_not_repeated() {
    let space = space(WAITING);
    space.write(
        "estate.yaml",
        &format!(
            "estate: v1\nname: e\nsites:\n  from:\n    databases:\n      one: {{ postgres: \"host=h\", password: {CANARY} }}\n"
        ),
    );
    let mut run = RUN.to_vec();
    run.extend(["--estate", "estate.yaml"]);
    space.run(&run).exits(2).says("refer to it");
    assert!(!space.file("r").exists());
}

/// A closed run is sealed; who takes its newest records away, or writes it anew, is seen.
#[test]
fn a_seal_shows_what_was_taken_away_and_a_key_shows_who_sealed_it() {
    let space = space(WAITING);
    space.write("go", "");
    space.run(&RUN).exits(0);
    space.run(&["journal", "verify", "r"]).exits(0).says("sealed").says("without a key");
    // Cut at a record's end: the chain alone cannot see it.
    let whole = space.read("r/journal.jsonl");
    let last = whole.trim_end().rfind('\n').expect("lines") + 1;
    space.write("r/journal.jsonl", &whole[..last]);
    space.run(&["journal", "verify", "r"]).exits(2).says("the seal does not hold");
    space.write("r/journal.jsonl", &whole);
    fs::remove_file(space.file("r/seal.json")).expect("removed");
    space.run(&["journal", "verify", "r"]).exits(0).says("unsealed");
    if !has("openssl") {
        return skipped("there is no `openssl` to make a key with");
    }
    let openssl = |args: &[&str]| {
        let mut openssl = Command::new("openssl");
        assert!(
            openssl
                .args(args)
                .current_dir(space.path())
                .output()
                .expect("it starts")
                .status
                .success()
        );
    };
    for name in ["ours", "theirs"] {
        let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &key]);
        openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
        fs::set_permissions(space.file(&key), fs::Permissions::from_mode(0o600)).expect("set");
    }
    let verify = |key: &str| space.run(&["journal", "verify", "r", "--key", key]);
    verify("ours.pub").exits(2).says("unsealed");
    space
        .run(&["journal", "seal", "r", "--seal-key", "ours.key"])
        .exits(0)
        .says("sealed by the key");
    verify("ours.pub").exits(0).says("by the key");
    verify("theirs.pub").exits(2).says("signed by the key");
    space
        .run(&["journal", "seal", "r", "--seal-key", "theirs.key"])
        .exits(2)
        .says("sealed already");
    // The seal's text is signed as it stands: the system's own tool agrees.
    let seal: serde_json::Value = serde_json::from_str(&space.read("r/seal.json")).expect("JSON");
    let journal = &seal["journal"];
    space.write(
        "text",
        &format!(
            "cutover seal 1\nrun {}\nat {}\njournal {} {} {}\nrevocations none\n",
            seal["run"].as_str().expect("a name"),
            seal["at"].as_str().expect("a time"),
            journal["records"],
            journal["bytes"],
            journal["head"].as_str().expect("a hash"),
        ),
    );
    let signature = seal["signature"].as_str().expect("a signature");
    let bytes: Vec<u8> = (0..signature.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&signature[at..at + 2], 16).expect("hex"))
        .collect();
    fs::write(space.file("signature"), bytes).expect("written");
    openssl(&[
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "ours.pub",
        "-rawin",
        "-in",
        "text",
        "-sigfile",
        "signature",
    ]);
    // A run that is sealed by a key at its end; a key that others may read is none.
    let mut run = vec!["run", "p.yaml", "--run", "s", "--seal-key", "ours.key"];
    space.run(&run).exits(0);
    space.run(&["journal", "verify", "s", "--key", "ours.pub"]).exits(0).says("by the key");
    fs::set_permissions(space.file("ours.key"), fs::Permissions::from_mode(0o644)).expect("set");
    run[3] = "t";
    space.run(&run).exits(2).says("others may read");
    assert!(!space.file("t").exists(), "nothing was begun");
}
