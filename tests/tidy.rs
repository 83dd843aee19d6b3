//! The house rules that a compiler does not check: who imports whom, what the pure part must not
//! touch, how large a file may grow. Reads the sources as text.

use std::fs;
use std::path::{Path, PathBuf};

/// Groups from the top of the house down; a file imports from its own group and from those above.
const GROUPS: &[(&str, &[&str])] = &[
    ("TEXT", &["text"]),
    ("WORDS", &["event", "failure"]),
    ("PLAN", &["estate", "action", "plan"]),
    ("GRAPH", &["graph"]),
    ("CORE", &["run", "revocation", "health", "history", "proof", "load"]),
    ("JOURNAL", &["journal"]),
    ("WORLD", &["net", "executor", "guard", "lane"]),
    ("RUNNER", &["runner", "operator"]),
    ("PEOPLE", &["report"]),
    ("LAB", &["lab"]),
    ("CLI", &["cli"]),
];

/// Beside the order: what a module must not know though it stands above.
const IGNORANT: &[(&str, &[&str])] = &[
    ("executor", &["graph", "run", "journal"]),
    ("guard", &["graph", "run", "journal", "plan"]),
    ("lane", &["graph", "run"]),
    ("lab", &["guard", "runner", "run", "graph", "journal", "executor"]),
];

/// Modules without clocks, files, sockets, tasks, randomness or environment.
const PURE: &[&str] = &[
    "text",
    "event",
    "failure",
    "estate",
    "action",
    "plan",
    "graph",
    "run",
    "revocation",
    "health",
    "history",
    "proof",
    "load",
];

const IMPURE_WORDS: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "fastrand",
    "HashMap",
    "HashSet",
];

const LINES_AT_MOST: usize = 700;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir).expect("a readable source directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `src/run/admit.rs` -> `run`
fn module(path: &Path) -> String {
    let rest = path.strip_prefix(root().join("src")).expect("a file under src");
    let first = rest.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn rank(module: &str) -> Option<usize> {
    GROUPS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The part of a file that is product: what stands before its tests.
fn product(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// Whether a file holds nothing but tests.
fn is_test(path: &Path) -> bool {
    path.starts_with(root().join("tests"))
        || path.ends_with("tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// Every first name after `crate::`, also inside braces (`use crate::{a, b::c}`).
fn imports(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut out = Vec::new();
    for (at, found) in text.match_indices("crate::") {
        let line_start = text[..at].rfind('\n').map_or(0, |start| start + 1);
        if text[line_start..at].trim_start().starts_with("//") {
            continue;
        }
        let rest = &text[at + found.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            out.push(name(rest));
            continue;
        };
        out.push(name(list));
        let mut depth = 0;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => out.push(name(&list[at + 1..])),
                _ => {}
            }
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

#[test]
fn imports_go_up_the_house_only() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let own = module(&path);
        let Some(own_rank) = rank(&own) else {
            let known = ["lib", "main"].contains(&own.as_str());
            assert!(known, "`{own}` has no group in tests/tidy.rs");
            continue;
        };
        if is_test(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        for import in imports(product(&text)) {
            let Some(other) = rank(&import) else { continue };
            let ignorant =
                IGNORANT.iter().any(|(who, what)| *who == own && what.contains(&import.as_str()));
            if other > own_rank || ignorant {
                wrong.push(format!("{}: `{own}` must not know `{import}`", path.display()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_pure_part_touches_nothing() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        if !PURE.contains(&module(&path).as_str()) || is_test(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        for (number, line) in product(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for word in IMPURE_WORDS.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for dir in ["src", "tests"] {
        for path in sources(&root().join(dir)) {
            let lines = fs::read_to_string(&path).expect("readable").lines().count();
            if lines > LINES_AT_MOST {
                wrong.push(format!("{}: {lines} lines, {LINES_AT_MOST} at most", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("X", "XX:"),
    ];
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).expect("readable");
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_both_forms() {
    let text = "use crate::run::{Run, Status};\n\
                use crate::{event::Seq, plan, graph::{A, B}};\n// crate::cli\n";
    assert_eq!(imports(text), ["run", "event", "plan", "graph"]);
}
