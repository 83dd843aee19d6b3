//! What stands before a run: a plan to begin with, its schema, the lock of what will run.

use super::space::Space;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Broken in its form, so that an editor with the schema marks it.
const BROKEN_IN_FORM: [&str; 19] = [
    "a-list.yaml",
    "a-plan.estate.yaml",
    "a-word.yaml",
    "an-estate.yaml",
    "bare-steps.yaml",
    "bad-for-each.yaml",
    "bad-undo.yaml",
    "no-header.yaml",
    "no-name.yaml",
    "no-sites.estate.yaml",
    "no-steps.yaml",
    "two-deeds.yaml",
    "unknown-action.yaml",
    "unknown-field.yaml",
    "unknown-fields.estate.yaml",
    "unknown-kind.yaml",
    "wrong-types.yaml",
    "wrong-version.yaml",
    "bad-limits.yaml",
];

const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
data = json.load(sys.stdin)
for schema in data["schemas"].values():
    Draft202012Validator.check_schema(schema)
wrong = []
for case in data["cases"]:
    errors = list(Draft202012Validator(data["schemas"][case["of"]]).iter_errors(case["doc"]))
    if bool(errors) == case["good"]:
        wrong.append(case["name"] + ": " + "; ".join(e.message[:200] for e in errors[:3]))
print("\n".join(wrong))
"#;

fn case(path: &Path, text: &str, good: bool) -> Option<Value> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let of =
        if name == "estate.yaml" || name.ends_with(".estate.yaml") { "estate" } else { "plan" };
    let doc: Value = serde_yaml::from_str(text).ok()?;
    Some(json!({ "name": name, "of": of, "doc": doc, "good": good }))
}

#[test]
fn the_schemas_take_what_the_reader_takes() {
    let space = Space::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = |of: &str| space.run(&["schema", of]).exits(0).json();
    let mut cases = Vec::new();
    let mut good = vec![root.join("tests/plans/estate.yaml")];
    let plans = fs::read_dir(root.join("plans")).expect("plans").map(|entry| entry.expect("entry"));
    good.extend(plans.map(|entry| entry.path()).filter(|path| path.is_file()));
    for path in &good {
        let text = fs::read_to_string(path).expect("readable");
        cases.push(case(path, &text, true).unwrap_or_else(|| panic!("{}", path.display())));
    }
    let estate = root.join("tests/plans/estate.yaml");
    for args in [vec!["init"], vec!["init", "--estate", estate.to_str().expect("text")]] {
        let sketch = space.run(&args).exits(0).stdout;
        cases.push(case(Path::new("sketch.yaml"), &sketch, true).expect("yaml"));
    }
    for name in BROKEN_IN_FORM {
        let path = root.join("tests/plans/broken").join(name);
        let text = fs::read_to_string(&path).expect("readable");
        cases.push(case(&path, &text, false).unwrap_or_else(|| panic!("{name}")));
    }
    let input = json!({
        "schemas": { "plan": schema("plan"), "estate": schema("estate") },
        "cases": cases,
    });
    assert_eq!(python(&input.to_string()).trim(), "");
}

/// What a validator of others finds.
fn python(input: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let there = Command::new("python3").args(["-c", "import jsonschema"]).output();
    assert!(
        there.is_ok_and(|output| output.status.success()),
        "Python has no module `jsonschema` (Debian: apt-get install python3-jsonschema)"
    );
    let mut child = Command::new("python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the validator failed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_plan_to_begin_with_checks_clean_and_runs() {
    let space = Space::new();
    space.run(&["init", "-o", "plan.yaml"]).exits(0);
    let said = space.run(&["check", "plan.yaml"]).exits(0);
    assert_eq!(said.stderr, "", "not even a warning");
    space.run(&["init", "-o", "plan.yaml"]).exits(2).says("plan.yaml");
    space.run(&["preflight", "plan.yaml"]).exits(0).says("ready");
    space.run(&["run", "plan.yaml", "--run", "r"]).exits(0);
}

#[test]
fn a_plan_for_an_estate_names_what_is_there() {
    let space = Space::new();
    let estate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans/estate.yaml");
    space.run(&["init", "--estate", estate, "-o", "plan.yaml"]).exits(0);
    let said = space.run(&["check", "plan.yaml", "--estate", estate]).exits(0);
    assert_eq!(said.stderr, "", "not even a warning");
    let bare = "estate: v1\nname: bare\nsites: { from: {}, to: {} }\n";
    space.write("bare.yaml", bare);
    space.run(&["init", "--estate", "bare.yaml"]).exits(0);
    space.write("wrong.yaml", &bare.replace("sites", "site"));
    space.run(&["init", "--estate", "wrong.yaml"]).exits(2).says("sites");
}

const LOCKED: &str = r#"
cutover: v1
name: locked
steps:
  one:
    run: [sh, move.sh, "4.2"]
    check: { run: [test, -e, moved] }
    undo: { run: [rm, -f, moved] }
  two:
    needs: [one]
    run: [sh, -c, "echo build 7"]
    outputs: { build: "build ([0-9]+)" }
    check: { run: [sh, -c, "exit 3"] }
    undo: { none: "it only prints" }
  three:
    needs: [two]
    run: [echo, "it's ${{ steps.two.outputs.build }}"]
    undo: { none: "it only prints" }
"#;

fn locked() -> Space {
    let space = Space::new();
    space.write("plan.yaml", LOCKED);
    space.write("move.sh", "touch moved\n");
    space.run(&["preflight", "plan.yaml", "--steps", "-o", "plan.lock"]).exits(0);
    space
}

#[test]
fn a_lock_says_what_will_run_and_nothing_of_this_machine() {
    let (one, other) = (locked(), locked());
    let text = one.read("plan.lock");
    assert_eq!(text, other.read("plan.lock"), "the same in every place");
    assert!(!one.file("moved").exists(), "nothing was done");
    let said = one.run(&["preflight", "plan.yaml", "--steps"]).exits(0);
    let steps = said.stdout.split_once("warnings\n").expect("the table's end").1;
    insta::assert_snapshot!(steps, @r"

    one · not done
        do: sh move.sh 4.2
        check: test -e moved
        undo: rm -f moved
    two · unknown
        do: sh -c 'echo build 7'
        check: sh -c 'exit 3'
        undo: none: it only prints
    three · no check
        do: echo 'it'\''s ${{ steps.two.outputs.build }}'
        undo: none: it only prints
    ");
}

#[test]
fn a_locked_run_is_the_locked_plan_or_none() {
    let space = locked();
    let run = |name: &str| space.run(&["run", "plan.yaml", "--locked", "plan.lock", "--run", name]);
    let refused = |name: &str| {
        let said = run(name).exits(2);
        assert!(!space.file(name).exists(), "a refused run leaves nothing behind");
        said
    };
    space.write("move.sh", "touch moved; rm -rf /\n");
    refused("a").says("file `move.sh`");
    space.write("move.sh", "touch moved\n");
    space.write("plan.yaml", &LOCKED.replace("\"4.2\"", "\"4.3\""));
    let said = refused("b").says("plan: plan.yaml").says("@@ one");
    assert!(said.stderr.contains("-do: sh move.sh 4.2\n+do: sh move.sh 4.3\n"), "{}", said.stderr);
    // Not even a comment: the reviewed bytes, or none.
    space.write("plan.yaml", &format!("{LOCKED}# a word\n"));
    let said = refused("c").says("plan: plan.yaml");
    assert!(!said.stderr.contains("@@"), "{}", said.stderr);
    space.write("plan.yaml", LOCKED);
    let lock = space.read("plan.lock");
    space.write("plan.lock", &lock.replacen("\"program\": \"", "\"program\": \"0.", 1));
    refused("d").says("program: 0.");
    for broken in ["", "{}", &lock.replace("\"v1\"", "\"v9\""), &lock[..lock.len() / 2]] {
        space.write("plan.lock", broken);
        refused("e").says("plan.lock");
    }
    space.write("plan.lock", &lock);
    run("f").exits(0);
    assert!(space.file("moved").exists());
    // What a check said is of its moment: the step is done by now.
    run("g").exits(0);
}
