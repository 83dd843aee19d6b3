//! Random plans and estates: most of them nearly right, as people's are, so that they come far.

use super::Chance;
use std::fmt::Write as _;

const LINES: [&str; 4] = ["geotrust", "thawte", "rapidssl", "symantec"];
const HOSTS: [&str; 3] = ["ocsp-1", "ocsp-2", "db-1"];
const SERVICES: [&str; 3] = ["ocsp", "crl", "seal"];
/// Words that stand where a value should.
const SLIPS: [&str; 24] = [
    "~",
    "[]",
    "{}",
    "\"\"",
    "no",
    "-1",
    "99999999999999999999",
    "1e9",
    "40",
    "40M",
    "9999h",
    "1d",
    "\"${{ line }}\"",
    "\"${{\"",
    "\"${{ steps.s0.outputs.o }}\"",
    "[a, a]",
    "{ a: 1, a: 2 }",
    "*x",
    "&x y",
    "!t z",
    "\"\\0\"",
    "\"\u{202e}\u{200b}\"",
    "2019-03-10T02:30[America/Los_Angeles]",
    "|",
];

/// A plan.
pub(crate) fn plan(mut chance: Chance) -> String {
    let chance = &mut chance;
    let mut out = String::from("cutover: v1\nname: random\n");
    if chance.once_in(2) {
        out.push_str("window:\n  opens: 2019-04-06T08:30[America/Los_Angeles]\n");
        out.push_str("  closes: 2019-04-06T20:30[America/Los_Angeles]\n");
    }
    let lines = chance.below(LINES.len());
    if lines > 0 {
        out.push_str("lines:\n");
        for line in &LINES[..lines] {
            let _ = writeln!(
                out,
                "  {line}: {}",
                chance.pick(&["{ orders: paused }", "{}", "{ orders: open, x: y }"])
            );
        }
    }
    let protected = chance.below(SERVICES.len() + 1);
    if protected > 0 {
        out.push_str("protect:\n");
        for service in &SERVICES[..protected] {
            let per = chance.pick(&["per: line, ", "", ""]);
            let providers = chance.pick(&[
                "",
                ", providers: [{}@from/ocsp-1]",
                ", providers: [{}@from/ocsp-1, {}@to/ocsp-2]",
            ]);
            let _ = writeln!(
                out,
                "  {service}: {{ {per}at_least: {}{} }}",
                1 + chance.below(2),
                providers.replace("{}", service)
            );
        }
    }
    if chance.once_in(3) {
        let _ = writeln!(
            out,
            "exclusive: {{ writer: {{ {}holder: from }} }}",
            chance.pick(&["per: line, ", ""])
        );
    }
    if chance.once_in(3) {
        out.push_str("limits: { steps: 4, wan: 2 }\n");
    }
    if chance.once_in(2) {
        let _ =
            writeln!(out, "on_failure: {}", chance.pick(&["hold", "rollback", "rollback-line"]));
    }
    out.push_str("steps:\n");
    // Half of them are made of what goes together: a plan in which all goes wrong shows its first
    // faults only.
    let calm = chance.once_in(2);
    for number in 0..1 + chance.below(12) {
        if calm {
            calm_step(&mut out, chance, number, lines > 0);
        } else {
            step(&mut out, chance, number, lines > 0);
        }
    }
    if !calm && chance.once_in(3) { mutated(&out, chance) } else { out }
}

/// A step that needs earlier ones, and disturbs nothing or one of two hosts.
fn calm_step(out: &mut String, chance: &mut Chance, number: usize, has_lines: bool) {
    let _ = writeln!(out, "  s{number}:\n    run: [echo, {number}]\n    undo: {{ run: [echo] }}");
    match chance.below(4) {
        0 if has_lines => out.push_str("    for_each: { line: all }\n"),
        1 => out.push_str("    for_each: { host: [ocsp-1, ocsp-2], serial: true }\n"),
        _ => {}
    }
    if number > 0 {
        let first = chance.below(number);
        let mut needs = vec![format!("s{first}")];
        if first + 1 < number && chance.once_in(2) {
            needs.push(format!("{{ all: s{} }}", first + 1 + chance.below(number - first - 1)));
        }
        let _ = writeln!(out, "    needs: [{}]", needs.join(", "));
    }
    for extra in ["estimate: 1m..5m", "retry: { attempts: 3 }", "idempotent: true", "timeout: 2h"] {
        if chance.once_in(3) {
            let _ = writeln!(out, "    {extra}");
        }
    }
    if chance.once_in(8) {
        out.push_str("    effects: { disturbs: [\"ocsp@from/ocsp-1\"] }\n");
    }
}

fn step(out: &mut String, chance: &mut Chance, number: usize, has_lines: bool) {
    let _ = writeln!(out, "  s{number}:");
    let (mut over_line, mut over_host) = (false, false);
    if chance.once_in(2) {
        over_line = has_lines && chance.once_in(2);
        over_host = !over_line || chance.once_in(3);
        let mut parts = Vec::new();
        if over_line {
            parts.push(chance.pick(&[
                "line: all",
                "line: all",
                "line: [geotrust]",
                "line: { where: { orders: paused } }",
                "line: { where: { not: { orders: open } } }",
            ]));
        }
        if over_host {
            parts.push(chance.pick(&[
                "host: [ocsp-1, ocsp-2]",
                "host: [ocsp-1]",
                "host: [db-1, ocsp-2, ocsp-1]",
            ]));
        }
        if chance.once_in(3) {
            parts.push(chance.pick(&["serial: true", "serial: host", "serial: line"]));
        }
        let _ = writeln!(out, "    for_each: {{ {} }}", parts.join(", "));
    }
    if number > 0 && !chance.once_in(4) {
        let needs: Vec<String> = (0..1 + chance.below(3))
            .map(|_| {
                let other =
                    if chance.once_in(12) { chance.below(14) } else { chance.below(number) };
                if chance.once_in(6) { format!("{{ all: s{other} }}") } else { format!("s{other}") }
            })
            .collect();
        let _ = writeln!(out, "    needs: [{}]", needs.join(", "));
    }
    let line = if over_line { "\"${{ line }}\"" } else { "geotrust" };
    let host = if over_host { "${{ host }}" } else { HOSTS[chance.below(HOSTS.len())] };
    work(out, chance, line, host);
    const EXTRAS: [&str; 14] = [
        "estimate: 1m..5m",
        "timeout: 2h",
        "retry: { attempts: 3, backoff: 10s..2m }",
        "idempotent: true",
        "on_failure: rollback-line",
        "on_failure: hold",
        "phase: before",
        "phase: after",
        "uses: [wan]",
        "not_before: opens - 7d",
        "point_of_no_return: true",
        "kind: verify",
        "on_rollback: finish",
        "kind: drain",
    ];
    for _ in 0..chance.below(3) {
        let _ = writeln!(out, "    {}", chance.pick(&EXTRAS));
    }
    if chance.once_in(20) {
        let _ = writeln!(out, "    checkpoint: c{}", chance.below(3));
    }
    if chance.once_in(40) {
        let field = chance.pick(&[
            "needs", "estimate", "for_each", "retry", "run", "undo", "effects", "outputs", "nedes",
        ]);
        let _ = writeln!(out, "    {field}: {}", chance.pick(&SLIPS));
    }
}

fn work(out: &mut String, chance: &mut Chance, line: &str, host: &str) {
    let site = chance.pick(&["from", "to"]);
    let service = SERVICES[chance.below(SERVICES.len())];
    let _ = match chance.below(12) {
        0..=4 => {
            let _ = writeln!(out, "    run: [echo, {line}]\n    outputs: {{ o: \"x ([0-9]+)\" }}");
            let _ = writeln!(
                out,
                "    undo: {}",
                chance.pick(&["{ run: [echo] }", "{ run: [echo] }", "{ none: nothing }"])
            );
            if chance.once_in(2) {
                let verb = chance.pick(&["loses", "gains", "disturbs", "disturbs"]);
                let _ = writeln!(out, "    effects: {{ {verb}: [\"{service}@{site}/{host}\"] }}");
            } else if chance.once_in(3) {
                let _ = writeln!(out, "    at: \"{site}/{host}\"");
            }
            Ok(())
        }
        5 => writeln!(
            out,
            "    do: {{ edge.close: {{ site: {site}, line: {line}, routes: [order] }} }}"
        ),
        6 => writeln!(
            out,
            "    do: {{ edge.open: {{ site: {site}, line: {line}, routes: [order] }} }}"
        ),
        7 => writeln!(out, "    do: {{ database.snapshot: {{ site: from, database: {line} }} }}"),
        8 => writeln!(
            out,
            "    do: {{ database.transfer: {{ from: from, to: to, database: {line} }} }}"
        ),
        9 => {
            let way = chance.pick(&["enable", "disable"]);
            writeln!(
                out,
                "    do: {{ provider.{way}: {{ provider: \"{service}@{site}/{host}\" }} }}"
            )
        }
        10 => {
            let way = chance.pick(&["fence", "promote"]);
            writeln!(out, "    do: {{ role.{way}: {{ role: \"writer@{site}/geotrust\" }} }}")
        }
        _ => writeln!(out, "    approve: {{ by: [security], ask: \"Go?\" }}"),
    };
}

/// An estate: one that fits, with lines of it taken out, doubled or swapped.
pub(crate) fn estate(good: &str, mut chance: Chance) -> String {
    mutated(good, &mut chance)
}

/// Lines taken out, doubled, swapped, or with a slip for a value.
fn mutated(text: &str, chance: &mut Chance) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + chance.below(3) {
        let (at, to) = (chance.below(lines.len()), chance.below(lines.len()));
        match chance.below(5) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(to, lines[at].clone()),
            2 => lines.swap(at, to),
            3 => lines[at].insert_str(0, "  "),
            _ => {
                if let Some((key, _)) = lines[at].split_once(": ") {
                    lines[at] = format!("{key}: {}", chance.pick(&SLIPS));
                }
            }
        }
    }
    lines.join("\n") + "\n"
}
