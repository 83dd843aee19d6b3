//! A small plan to begin with, commented, in the words of an estate if there is one.
//!
//! Not known here: whether it checks clean; who writes it out proves that first.

use crate::estate::{Estate, Issuers, Site};
use std::fmt::Write as _;

const HEAD: &str = "\
# A plan to begin with. `cutover check` proves it, `cutover preflight` looks at what it would touch,
# `cutover rehearse` plays it on a lab, `cutover run` does it.
# For editors: `cutover schema plan > plan.schema.json`, and then
# yaml-language-server: $schema=plan.schema.json
cutover: v1
name: A move to begin with
# change: CHG-1                         # printed wherever the run is named
# window:                               # when; times carry their zone
#   opens: 2030-03-02T08:00[Europe/Zurich]
#   closes: 2030-03-02T12:00[Europe/Zurich]
#   reserve: 30m                        # kept free at the end for a rollback
";

const ALONE: &str = r#"on_failure: rollback                    # hold (the default) | rollback | rollback-line
steps:
  prepare:
    run: [echo, prepared]               # a command and its arguments; no shell
    undo: { run: [echo, unprepared] }   # takes it back, from half-done too
  move:
    needs: [prepare]                    # only `needs` orders; what is not ordered runs at once
    run: [echo, "moved 42 boxes"]
    check: { run: [test, -d, .] }       # settles a doubt: exit 0 done, 1 not done
    undo: { run: [echo, moved back] }
    outputs: { boxes: "moved ([0-9]+) boxes" }
  tell:
    needs: [move]
    run: [echo, "${{ steps.move.outputs.boxes }} boxes have arrived"]
    undo: { none: "words cannot be taken back" }
"#;

/// The text of a plan.
pub fn sketch(estate: Option<&Estate>) -> String {
    let mut text = HEAD.to_owned();
    let ends = estate.and_then(|estate| {
        let (from, to) = (estate.sites.get("from")?, estate.sites.get("to")?);
        Some((estate, &from.value, &to.value))
    });
    match ends {
        Some((estate, from, to)) if has_anything(from, to) => {
            Sketch::of(estate, from, to).write(&mut text)
        }
        _ => text.push_str(ALONE),
    }
    text
}

/// Whether there is something that a plan could name.
fn has_anything(from: &Site, to: &Site) -> bool {
    !to.hosts.is_empty() || from.databases.keys().any(|name| to.databases.contains_key(name))
}

/// What of an estate the plan names.
struct Sketch<'e> {
    estate: &'e Estate,
    from: &'e Site,
    to: &'e Site,
    /// Databases that both sites have: each is a line.
    lines: Vec<&'e str>,
    /// Roles that both sites have.
    roles: Vec<&'e str>,
}

impl<'e> Sketch<'e> {
    fn of(estate: &'e Estate, from: &'e Site, to: &'e Site) -> Self {
        let lines: Vec<&str> = from
            .databases
            .keys()
            .filter(|name| to.databases.contains_key(*name))
            .map(String::as_str)
            .collect();
        let both = from.roles.keys().filter(|name| to.roles.contains_key(*name));
        // A role is handed over line by line here.
        let roles = if lines.is_empty() { Vec::new() } else { both.map(String::as_str).collect() };
        Self { estate, from, to, lines, roles }
    }

    fn write(&self, text: &mut String) {
        self.tops(text);
        text.push_str("steps:\n");
        let hosts: Vec<&str> = self.to.hosts.keys().map(String::as_str).collect();
        if !hosts.is_empty() {
            let _ = write!(
                text,
                "  look:                                 # on every host of the new site\n    \
                 for_each: {{ host: [{}] }}\n    \
                 run: [uname, -n]\n    \
                 at: \"to/${{{{ host }}}}\"\n    \
                 effects: {{}}                         # it takes no service from anyone\n    \
                 undo: {{ none: \"it only looks\" }}\n",
                hosts.join(", ")
            );
        }
        let mut before: Vec<&str> = if hosts.is_empty() { Vec::new() } else { vec!["look"] };
        if !self.lines.is_empty() {
            self.copy(text);
            before.insert(0, "verify");
        }
        self.go(text, &before);
    }

    /// What stands above the steps.
    fn tops(&self, text: &mut String) {
        if !self.lines.is_empty() {
            text.push_str("lines:                                  # steps fan out over them\n");
            for line in &self.lines {
                let _ = writeln!(text, "  {line}: {{}}");
            }
        }
        let services: Vec<_> = self
            .from
            .services
            .iter()
            .filter(|(_, service)| !service.providers.is_empty())
            .collect();
        if !services.is_empty() {
            text.push_str(
                "protect:                                # answers in every state of the plan\n",
            );
        }
        for (name, service) in services {
            let providers: Vec<String> =
                service.providers.keys().map(|host| format!("\"{name}@from/{host}\"")).collect();
            let by_line = matches!(service.issuers, Issuers::ByLine(_)) && !self.lines.is_empty();
            let per = if by_line { "per: line, " } else { "" };
            let _ = writeln!(
                text,
                "  {name}: {{ {per}at_least: 1, providers: [{}] }}",
                providers.join(", ")
            );
        }
        if !self.roles.is_empty() {
            text.push_str("exclusive:                              # never two holders\n");
        }
        for role in &self.roles {
            let _ = writeln!(text, "  {role}: {{ per: line, at_most: 1, holder: from }}");
        }
        text.push_str("on_failure: rollback                    # hold (the default) | rollback | rollback-line\n");
    }

    /// From closed doors to a copy that is proved.
    fn copy(&self, text: &mut String) {
        text.push_str("  close:\n    for_each: { line: all }\n");
        match routes(self.from) {
            Some(routes) => {
                let _ = writeln!(
                    text,
                    "    do: {{ edge.close: {{ site: from, line: \"${{{{ line }}}}\", routes: [{routes}] }} }}"
                );
            }
            None => text.push_str(
                "    kind: drain\n    \
                 do: { manual: { how: \"Stop what writes to ${{ line }} at the old site.\" } }\n    \
                 undo: { manual: { how: \"Start it again.\" } }\n",
            ),
        }
        let mut fences: Vec<String> = Vec::new();
        for role in &self.roles {
            let _ = write!(
                text,
                "  fence-{0}:\n    for_each: {{ line: all }}\n    needs: [close]\n    \
                 do: {{ role.fence: {{ role: \"{role}@from/${{{{ line }}}}\" }} }}\n",
                step_name(role)
            );
            fences.push(format!("fence-{}", step_name(role)));
        }
        let needs = if fences.is_empty() { "close".to_owned() } else { fences.join(", ") };
        let _ = write!(
            text,
            "  snapshot:                             # what a rollback returns to\n    \
             for_each: {{ line: all }}\n    needs: [{needs}]\n    checkpoint: copied\n    \
             do: {{ database.snapshot: {{ site: from, database: \"${{{{ line }}}}\" }} }}\n  \
             transfer:\n    for_each: {{ line: all }}\n    needs: [snapshot]\n    \
             do: {{ database.transfer: {{ from: from, to: to, database: \"${{{{ line }}}}\" }} }}\n    \
             retry: {{ attempts: 3, backoff: 10s..2m }}\n  \
             verify:\n    for_each: {{ line: all }}\n    needs: [transfer]\n    \
             do: {{ database.verify: {{ from: from, to: to, database: \"${{{{ line }}}}\" }} }}\n"
        );
    }

    /// From the decision to open doors.
    fn go(&self, text: &mut String, before: &[&str]) {
        let all: Vec<String> = before.iter().map(|step| format!("{{ all: {step} }}")).collect();
        let group = self.estate.people.iter().find(|(_, people)| !people.is_empty());
        let _ = writeln!(text, "  go-live:\n    needs: [{}]", all.join(", "));
        match group {
            Some((group, _)) => {
                let _ = writeln!(
                    text,
                    "    approve: {{ by: [{group}], ask: \"Everything looked at and copied. Go?\" }}"
                );
            }
            None => text.push_str(
                "    do: { manual: { how: \"Say that it goes live.\" } }\n    \
                 undo: { none: \"a word is not taken back\" }\n",
            ),
        }
        if self.lines.is_empty() {
            return;
        }
        let mut needs: Vec<String> = Vec::new();
        for role in &self.roles {
            let name = step_name(role);
            let _ = write!(
                text,
                "  promote-{name}:\n    for_each: {{ line: all }}\n    needs: [go-live]\n    \
                 do: {{ role.promote: {{ role: \"{role}@to/${{{{ line }}}}\" }} }}\n"
            );
            needs.push(format!("promote-{name}"));
        }
        if needs.is_empty() {
            needs.push("go-live".to_owned());
        }
        let _ = writeln!(
            text,
            "  reopen:                               # the point of no return of its line\n    \
             for_each: {{ line: all }}\n    needs: [{}]",
            needs.join(", ")
        );
        match routes(self.to) {
            Some(routes) => {
                let _ = writeln!(
                    text,
                    "    do: {{ edge.open: {{ site: to, line: \"${{{{ line }}}}\", routes: [{routes}] }} }}"
                );
            }
            None => text.push_str(
                "    kind: reopen\n    \
                 do: { manual: { how: \"Start what writes to ${{ line }} at the new site.\" } }\n    \
                 undo: { none: \"there is no way back from here\" }\n",
            ),
        }
    }
}

/// The routes of a site's edge, if it has any.
fn routes(site: &Site) -> Option<String> {
    let routes = &site.edge.as_ref()?.routes;
    let names: Vec<&str> = routes.keys().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A name of the estate as a part of a step's name.
fn step_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}
