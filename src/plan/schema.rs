//! The JSON Schema of a plan. The words that can be chosen from are the reader's own tables; that the
//! fields are exactly those that the reader asks for is held by a test.

use super::Kind;
use crate::action::{TABLE, http};
use crate::text::schema::{
    about, any, document, exactly_one, flag, list, map, number, object, text, texts, words,
};
use serde_json::{Value, json};

/// The schema of a plan.
pub fn schema() -> Value {
    let plan = object(
        "a plan",
        vec![
            ("cutover", about(words(["v1"]), "the form of the file")),
            ("name", about(text(), "printed wherever the run is named")),
            ("change", about(text(), "number of the change request")),
            ("window", window()),
            ("zones", about(texts(), "time zones in which times are shown")),
            ("lines", about(lines(), "product lines; steps fan out over them")),
            ("facts", about(map(text()), "values for `${{ plan.NAME }}`")),
            ("protect", about(map(protect()), "services that answer in every state")),
            ("exclusive", about(map(exclusive()), "roles that never have two holders")),
            (
                "limits",
                about(map(number(1, 1_000_000)), "at once: `steps`, of a kind, of a resource"),
            ),
            ("on_failure", on_failure()),
            ("steps", steps()),
        ],
        &["cutover", "name", "steps"],
    );
    document("a plan", plan)
}

fn window() -> Value {
    let time = || about(text(), "like 2019-04-06T08:30[America/Los_Angeles]");
    let fields = vec![
        ("opens", time()),
        ("closes", time()),
        ("reserve", about(text(), "kept free at the end for a rollback, like 45m")),
    ];
    object("`window`", fields, &["opens", "closes"])
}

fn lines() -> Value {
    let mut lines = map(any(vec![json!({ "type": "null" }), map(text())]));
    lines["minProperties"] = json!(1);
    lines
}

fn protect() -> Value {
    let fields = vec![
        ("per", about(words(["line"]), "each line counts for itself")),
        ("at_least", number(1, 1000)),
        ("on_breach", words(["hold", "rollback"])),
        ("providers", about(texts(), "who serves at the start, like ocsp@from/ocsp-1")),
    ];
    object("a protected service", fields, &[])
}

fn exclusive() -> Value {
    let fields = vec![
        ("per", about(words(["line"]), "each line counts for itself")),
        ("at_most", number(1, 1000)),
        ("holder", about(text(), "the site that holds it at the start")),
    ];
    object("an exclusive role", fields, &[])
}

fn on_failure() -> Value {
    words(["hold", "rollback", "rollback-line"])
}

fn steps() -> Value {
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": "^[a-z0-9][a-z0-9-]{0,99}$" },
        "additionalProperties": step(),
    })
}

fn step() -> Value {
    let fields = vec![
        ("kind", about(words(Kind::ALL.iter().map(|(name, _)| *name)), "what the step means")),
        ("for_each", for_each()),
        ("needs", needs()),
        ("phase", words(["before", "window", "after"])),
        ("not_before", about(text(), "an instant, or like `opens - 7d`")),
        ("uses", about(texts(), "resources of `limits`")),
        ("do", one_action()),
        ("run", argv()),
        ("script", script()),
        ("approve", gate()),
        ("at", at()),
        ("env", env()),
        ("check", check()),
        ("undo", undo()),
        ("effects", effects()),
        ("outputs", about(map(text()), "patterns with one group, on what the step prints")),
        ("estimate", about(text(), "like 40m, or 35m..60m")),
        ("timeout", about(text(), "1h when left out; like 2h 30m")),
        ("retry", retry()),
        ("idempotent", about(flag(), "a doubt is settled by doing it again")),
        ("on_failure", on_failure()),
        ("on_rollback", words(["finish", "end"])),
        ("checkpoint", about(text(), "`rollback --to NAME` comes back to it")),
        ("point_of_no_return", flag()),
    ];
    exactly_one(object("a step", fields, &[]), &["do", "run", "script", "approve"])
}

fn for_each() -> Value {
    let condition = any(vec![map(text()), object("`where`", vec![("not", map(text()))], &["not"])]);
    let choice = object("the choice of lines", vec![("where", condition)], &["where"]);
    let mut values = map(texts());
    values["minProperties"] = json!(1);
    values["properties"] = json!({
        "line": any(vec![words(["all"]), texts(), choice]),
        "serial": about(text(), "true: one after the other; or a variable, one chain along it"),
    });
    about(values, "variables and their values: one instance of the step for each")
}

fn needs() -> Value {
    let all = object("a need", vec![("all", text())], &["all"]);
    let need = || any(vec![text(), all.clone()]);
    let needs = any(vec![text(), all.clone(), json!({ "type": "array", "items": need() })]);
    about(needs, "steps that come before; `{ all: NAME }` wants every instance")
}

fn at() -> Value {
    about(text(), "SITE/HOST; left out: on the runner's machine")
}

fn env() -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": text(),
    })
}

fn argv() -> Value {
    about(list(text()), "a command and its arguments; no shell")
}

fn script() -> Value {
    about(text(), "shell text; values come through `env`")
}

fn one_action() -> Value {
    let properties: serde_json::Map<String, Value> = TABLE
        .iter()
        .map(|row| (row.name.to_owned(), about(arguments(row.name), row.about)))
        .collect();
    json!({
        "description": "exactly one action",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

/// The action among the fields of `undo` and `check`.
fn beside(names: impl Iterator<Item = &'static str>) -> Vec<(&'static str, Value)> {
    names.map(|name| (name, arguments(name))).chain([("at", at()), ("env", env())]).collect()
}

fn undo() -> Value {
    let names = || TABLE.iter().map(|row| row.name);
    let mut fields = beside(names());
    fields.push(("none", about(text(), "why nothing is to be undone")));
    let of: Vec<&str> = names().chain(["none"]).collect();
    exactly_one(object("`undo`", fields, &[]), &of)
}

fn check() -> Value {
    let names = ["run", "script", "http"];
    let check = exactly_one(object("`check`", beside(names.into_iter()), &[]), &names);
    about(check, "exit 0 done, 1 not done, else unknown; changes nothing")
}

fn gate() -> Value {
    let fields = vec![
        ("by", about(texts(), "groups of the estate's people")),
        ("quorum", about(number(1, 100), "different people; one of each group when left out")),
        ("ask", text()),
    ];
    object("`approve`", fields, &["by", "ask"])
}

fn effects() -> Value {
    let names = || about(texts(), "like ocsp@to/ocsp-1, or writer@from/geotrust");
    let fields = vec![("loses", names()), ("gains", names()), ("disturbs", names())];
    about(object("`effects`", fields, &[]), "`{}` says that there are none")
}

fn retry() -> Value {
    let fields =
        vec![("attempts", number(1, 1000)), ("backoff", about(text(), "like 10s, or 10s..2m"))];
    object("`retry`", fields, &["attempts"])
}

/// The arguments of an action of the table.
fn arguments(name: &'static str) -> Value {
    let site = || about(text(), "a site of the estate");
    let line = || about(text(), "a line");
    let of = |fields: Vec<(&str, Value)>, needed: &[&str]| object(name, fields, needed);
    match name {
        "run" => argv(),
        "script" => script(),
        "http" => http_arguments(),
        "edge.close" | "edge.open" => of(
            vec![
                ("site", site()),
                ("line", line()),
                ("routes", texts()),
                ("status", about(number(400, 599), "what a closed route answers; 404")),
            ],
            &["site", "line", "routes"],
        ),
        "database.snapshot" | "database.drop-snapshot" => {
            of(vec![("site", site()), ("database", text())], &["site", "database"])
        }
        "database.transfer" | "database.discard" => of(
            vec![
                ("from", site()),
                ("to", site()),
                ("database", text()),
                ("method", words(["copy", "replicate"])),
            ],
            &["from", "to", "database"],
        ),
        "database.verify" => of(
            vec![("from", site()), ("to", site()), ("database", text())],
            &["from", "to", "database"],
        ),
        "orders.pause" => of(vec![("site", site()), ("line", line())], &["site", "line"]),
        "orders.resume" => of(
            vec![("site", site()), ("line", line()), ("rate", about(text(), "like 100/s"))],
            &["site", "line", "rate"],
        ),
        "provider.enable" | "provider.disable" => {
            of(vec![("provider", about(text(), "SERVICE@SITE/NAME"))], &["provider"])
        }
        "role.fence" | "role.promote" => {
            of(vec![("role", about(text(), "ROLE@SITE/LINE, or ROLE@SITE"))], &["role"])
        }
        "notify" => of(
            vec![
                ("notice", about(text(), "a Markdown file beside the plan")),
                ("to", about(texts(), "channels of the estate")),
            ],
            &["notice", "to"],
        ),
        "manual" => of(
            vec![
                ("by", about(texts(), "groups of the estate's people")),
                ("people", about(number(1, 100), "different people who must say so")),
                ("how", text()),
                ("evidence", words(["required", "optional"])),
            ],
            &["how"],
        ),
        // A test sees that every row of the table is above.
        _ => json!(false),
    }
}

fn http_arguments() -> Value {
    let code = || number(100, 599);
    let status = any(vec![code(), json!({ "type": "array", "items": code() })]);
    let expect = object("`expect`", vec![("status", status), ("contains", text())], &[]);
    let mut fields = vec![
        ("method", words(http::METHODS.iter().map(|(_, method)| *method))),
        ("url", text()),
        (
            "headers",
            json!({
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z0-9-]+$" },
                "additionalProperties": text(),
            }),
        ),
        ("body", text()),
        ("every", about(text(), "ask again so often, until it comes back so")),
        ("expect", expect),
    ];
    let short: Vec<&str> = http::METHODS.iter().map(|(word, _)| *word).collect();
    fields.extend(short.iter().map(|word| (*word, text())));
    let mut one = short;
    one.push("url");
    exactly_one(object("`http`", fields, &[]), &one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::read::asked;
    use crate::text::schema::fields_of;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every action with arguments that can be read, and every form of the rest.
    const EVERY_FORM: &str = r#"
cutover: v1
name: every form
lines: { a: { orders: paused }, b: }
window: { opens: "2026-01-01T00:00[UTC]", closes: "2026-01-01T01:00[UTC]" }
protect: { ocsp: { providers: ["ocsp@from/o"] } }
exclusive: { writer: { holder: from } }
steps:
  choose: { for_each: { line: { where: { not: { orders: paused } } } }, needs: [{ all: fence }], run: [x], undo: { none: x }, retry: { attempts: 2 }, effects: {} }
  ask: { approve: { by: [g], ask: "?" } }
  run: { run: [x], check: { run: [x] }, undo: { run: [x] } }
  script: { script: x, undo: { none: x } }
  http: { do: { http: { get: "http://a/", expect: { status: 200 } } }, undo: { none: x } }
  close: { do: { edge.close: { site: from, line: a, routes: [r] } } }
  open: { do: { edge.open: { site: from, line: a, routes: [r] } } }
  snapshot: { do: { database.snapshot: { site: from, database: a } } }
  drop: { do: { database.drop-snapshot: { site: from, database: a } }, undo: { none: x } }
  transfer: { do: { database.transfer: { from: from, to: to, database: a } } }
  discard: { do: { database.discard: { from: from, to: to, database: a } }, undo: { none: x } }
  verify: { do: { database.verify: { from: from, to: to, database: a } } }
  pause: { do: { orders.pause: { site: from, line: a } } }
  resume: { do: { orders.resume: { site: from, line: a, rate: 1/s } } }
  enable: { do: { provider.enable: { provider: "ocsp@to/o" } } }
  disable: { do: { provider.disable: { provider: "ocsp@from/o" } } }
  fence: { do: { role.fence: { role: "writer@from" } } }
  promote: { do: { role.promote: { role: "writer@to" } } }
  notify: { do: { notify: { notice: n.md, to: [c] } } }
  manual: { do: { manual: { how: x } }, undo: { none: x } }
"#;

    /// Fields that the reader looks for only to say that the file is something else.
    const PROBES: [(&str, &str); 1] = [("a plan", "estate")];

    #[test]
    fn the_schema_has_exactly_the_fields_that_the_reader_asks_for() {
        let (read, faults) = asked(EVERY_FORM);
        assert!(!super::super::read::is_fatal(&faults), "{faults:#?}");
        let mut read: BTreeMap<String, BTreeSet<String>> = read;
        for (what, field) in PROBES {
            read.get_mut(what).expect("read").remove(field);
        }
        let mut says = fields_of(&schema());
        // Not read as fields: conditions on facts of the plan's own.
        assert!(says.remove("where").is_some());
        assert_eq!(says, read);
    }

    #[test]
    fn every_action_has_its_arguments() {
        for row in TABLE {
            assert_ne!(arguments(row.name), json!(false), "{}", row.name);
        }
    }
}
