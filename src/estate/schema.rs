//! The JSON Schema of an estate; that its fields are exactly those that the reader asks for is held
//! by a test.

use crate::text::schema::{
    about, any, document, exactly_one, flag, list, map, number, object, text, texts, words,
};
use serde_json::{Value, json};

/// The schema of an estate.
pub fn schema() -> Value {
    let dns = vec![("servers", texts()), ("key", secret())];
    let lab = vec![("control", text()), ("directory", text())];
    let classes = vec![("good", texts()), ("revoked", texts()), ("unissued", texts())];
    let probe = vec![
        ("every", about(text(), "between two questions, like 2s")),
        ("recovery", about(number(1, 1000), "good answers in a row that end a breach")),
    ];
    let estate = object(
        "an estate",
        vec![
            ("estate", about(words(["v1"]), "the form of the file")),
            ("name", text()),
            ("production", about(flag(), "rehearsals and faults are refused")),
            ("sites", about(map(site()), "the data centers, `from` and `to`")),
            ("sentinels", about(object("`sentinels`", classes, &[]), "certificates asked about")),
            ("probe", object("`probe`", probe, &[])),
            ("people", about(map(texts()), "groups and their login names")),
            ("channels", about(map(channel()), "where notices go")),
            ("dns", object("`dns`", dns, &["servers"])),
            ("status", object("`status`", vec![("directory", text())], &["directory"])),
            ("lab", object("`lab`", lab, &["control", "directory"])),
        ],
        &["estate", "name", "sites"],
    );
    document("an estate", estate)
}

fn secret() -> Value {
    let fields = vec![
        ("env", about(text(), "a variable of the environment")),
        ("file", about(text(), "a file that others cannot read")),
        ("command", about(argv(), "its stdout")),
    ];
    let secret = exactly_one(object("a secret", fields, &[]), &["env", "file", "command"]);
    about(secret, "a reference, never the value")
}

fn argv() -> Value {
    list(text())
}

fn site() -> Value {
    let fields = vec![
        ("hosts", map(host())),
        ("edge", edge()),
        ("databases", map(database())),
        ("roles", map(switch("a role", Vec::new(), ["promote", "fence", "is_promoted"], true))),
        ("services", map(service())),
        ("orders", object("`orders`", vec![("table", text())], &["table"])),
    ];
    object("a site", fields, &[])
}

fn host() -> Value {
    let path = about(text(), "where bare command names are looked up");
    let local =
        any(vec![json!({ "type": "null" }), object("a local host", vec![("path", path)], &[])]);
    let fields = vec![("local", local), ("ssh", about(text(), "a destination of ssh"))];
    exactly_one(object("a host", fields, &[]), &["local", "ssh"])
}

fn edge() -> Value {
    let path = || about(map(text()), "names and paths; `{line}` is filled");
    let fields = vec![
        ("url", about(text(), "where clients reach it")),
        ("admin", about(text(), "its admin API")),
        ("routes", path()),
        ("protected", path()),
    ];
    object("an edge", fields, &["url", "admin"])
}

fn database() -> Value {
    let fields = vec![
        ("sqlite", about(text(), "a file")),
        ("postgres", about(text(), "like host=db-1 dbname=geotrust, without password")),
        ("password", secret()),
    ];
    exactly_one(object("a database", fields, &[]), &["sqlite", "postgres"])
}

/// `admin`, or three commands, or (unless `wanted`) neither.
fn switch(
    what: &str,
    mut fields: Vec<(&'static str, Value)>,
    commands: [&'static str; 3],
    wanted: bool,
) -> Value {
    fields.push(("admin", about(text(), "PUT and GET {\"on\": bool}; `{line}` is filled")));
    fields.extend(commands.map(|command| (command, argv())));
    let needed: Vec<&str> = fields.iter().map(|(name, _)| *name).filter(|f| *f == "url").collect();
    let mut schema = object(what, fields, &needed);
    let none = json!({ "anyOf": commands.map(|command| json!({ "required": [command] })) });
    let mut forms = vec![
        json!({ "required": ["admin"], "not": none }),
        json!({ "required": commands, "not": { "required": ["admin"] } }),
    ];
    if !wanted {
        let any = ["admin"].into_iter().chain(commands).map(|field| json!({ "required": [field] }));
        forms.push(json!({ "not": { "anyOf": any.collect::<Vec<_>>() } }));
    }
    schema["anyOf"] = json!(forms);
    schema
}

fn service() -> Value {
    let fields = vec![
        ("providers", map(any(vec![text(), provider()]))),
        ("issuers", any(vec![texts(), map(texts())])),
        ("expect", about(text(), "text that a page must hold")),
    ];
    object("a service", fields, &["providers"])
}

fn provider() -> Value {
    let fields = vec![
        ("url", about(text(), "`{issuer}` and `{line}` are filled")),
        ("host", about(text(), "the host that it runs on, when it is not called so")),
    ];
    switch("a provider", fields, ["enable", "disable", "is_enabled"], false)
}

fn channel() -> Value {
    let fields = vec![
        ("directory", text()),
        ("webhook", about(text(), "URL that notices are posted to")),
        ("secret", about(secret(), "signs what is posted, as Standard Webhooks has it")),
        ("smtp", about(text(), "HOST:PORT of a relay")),
        ("from", text()),
        ("to", any(vec![text(), texts()])),
        ("tls", about(words(["required", "none"]), "STARTTLS to the relay; required by default")),
        ("ca", about(text(), "file of the certificate (PEM) that vouches for the relay")),
    ];
    exactly_one(object("a channel", fields, &[]), &["directory", "webhook", "smtp"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::read::asked;
    use crate::text::schema::fields_of;

    /// Fields that the reader looks for only to say that they mean something else.
    const PROBES: [(&str, &str); 2] = [("an estate", "cutover"), ("an edge", "nginx")];

    #[test]
    fn the_schema_has_exactly_the_fields_that_the_reader_asks_for() {
        let (mut read, faults) = asked(crate::estate::read::EVERY_FORM);
        assert!(faults.is_empty(), "{faults:#?}");
        for (what, field) in PROBES {
            read.get_mut(what).expect("read").remove(field);
        }
        assert_eq!(fields_of(&schema()), read);
    }
}
