//! `cutover preflight`: everything that a run would touch, looked at; every fault in one go.

use super::args::Preflight;
use super::exit::Exit;
use super::out;
use super::problem::Problem;
use super::read::{Loaded, load};
use crate::runner::clock::Clock;
use crate::runner::preflight::lock::{Lock, Sources, lock};
use crate::runner::preflight::{Level, Row, Subject, preflight};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows of one heading that are shown each for itself when nothing is wrong with them.
const FEW: usize = 3;
/// Steps that are named at a fault.
const NAMED: usize = 3;

pub(super) fn main(args: &Preflight) -> Result<Exit, Problem> {
    let loaded = load(&args.plan, args.estate.as_deref())?;
    super::err(&loaded.warnings);
    let subject = subject(&loaded)?;
    let begun = Instant::now();
    let runtime = super::runtime()?;
    let looked = runtime.block_on(async {
        let rows = preflight(&subject).await?;
        let lock = match args.steps {
            true => Some(lock(&subject, &sources(&loaded), true).await?),
            false => None,
        };
        Ok::<_, std::io::Error>((rows, lock))
    });
    // A look that hangs in the kernel must not hang the answer.
    runtime.shutdown_background();
    let (rows, lock) =
        looked.map_err(|error| Problem::wrong(format!("looking at the estate: {error}")))?;
    if let (Some(lock), Some(path)) = (&lock, &args.output) {
        lock.write(path)
            .map_err(|error| Problem::wrong(format!("writing `{}`: {error}", path.display())))?;
    }
    let faults = rows.iter().filter(|row| row.level == Level::Fault).count();
    if args.json {
        let json = Json { ok: faults == 0, rows: &rows, lock: lock.as_ref() };
        out(&format!("{}\n", serde_json::to_string_pretty(&json).map_err(anyhow::Error::from)?));
    } else {
        let estate = loaded.estate.as_ref().map(|estate| estate.name.as_str());
        let mut text = page(&loaded.graph.plan().name, estate, &rows, begun.elapsed());
        if let Some(lock) = &lock {
            steps(&mut text, lock, args.output.as_deref());
        }
        out(&text);
    }
    Ok(if faults == 0 { Exit::Done } else { Exit::Wrong })
}

/// Refuses when what would run is not what was locked.
pub(super) fn hold_to(loaded: &Loaded, path: &Path) -> Result<(), Problem> {
    let shown = path.display();
    let locked =
        Lock::read(path).map_err(|error| Problem::wrong(format!("reading `{shown}`: {error}")))?;
    let subject = subject(loaded)?;
    let now = super::runtime()?
        .block_on(lock(&subject, &sources(loaded), false))
        .map_err(|error| Problem::wrong(format!("writing down what would run: {error}")))?;
    let difference = locked.difference(&now);
    if difference.is_empty() {
        return Ok(());
    }
    Err(Problem::wrong(format!("`{shown}` is not what would run\n\n{difference}")).hint(format!(
        "review the difference, then lock anew: `cutover preflight PLAN --estate FILE --steps -o {shown}`"
    )))
}

fn subject(loaded: &Loaded) -> Result<Subject, Problem> {
    if loaded.estate.is_none()
        && let Some(why) = loaded.graph.needs_estate()
    {
        return Err(Problem::wrong(format!("the plan needs an estate: {why}"))
            .hint("name it: `--estate FILE`"));
    }
    Ok(Subject {
        graph: loaded.graph.clone(),
        estate: loaded.estate.clone().unwrap_or_default(),
        plan_dir: loaded.plan_path.parent().unwrap_or(Path::new(".")).to_path_buf(),
        now: Clock::system().now(),
    })
}

fn sources(loaded: &Loaded) -> Sources<'_> {
    Sources {
        plan: (&loaded.plan_path, &loaded.plan_text),
        estate: loaded.estate_path.as_deref().zip(loaded.estate_text.as_deref()),
    }
}

#[derive(Serialize)]
struct Json<'a> {
    ok: bool,
    rows: &'a [Row],
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<&'a Lock>,
}

/// One table: what is wrong line by line, what is right by heading.
fn page(plan: &str, estate: Option<&str>, rows: &[Row], took: Duration) -> String {
    let on = estate.map_or_else(String::new, |estate| format!(" on estate `{estate}`"));
    let mut text = format!("Preflight of `{plan}`{on}; nothing was changed\n\n");
    for area in rows.chunk_by(|one, other| one.area == other.area) {
        let right: Vec<&Row> = area.iter().filter(|row| row.level == Level::Ok).collect();
        let mut heading = area.first().map_or("", |row| row.area);
        // Writing to a string cannot fail.
        if right.len() > FEW {
            let _ = writeln!(text, "{heading:<13} ok       {} looked at", right.len());
            heading = "";
        } else {
            for row in right {
                let name = if row.name == row.area { "" } else { &row.name };
                let colon = if name.is_empty() { "" } else { ": " };
                let _ = writeln!(text, "{heading:<13} ok       {name}{colon}{}", row.found);
                heading = "";
            }
        }
        let mut wrong: Vec<&Row> = area.iter().filter(|row| row.level != Level::Ok).collect();
        wrong.sort_by_key(|row| std::cmp::Reverse(row.level));
        for row in wrong {
            let word = if row.level == Level::Fault { "FAULT" } else { "warning" };
            let _ = writeln!(text, "{heading:<13} {word:<8} {}: {}", row.name, row.found);
            heading = "";
            if let Some(hint) = &row.hint {
                let _ = writeln!(text, "{:<22} hint: {hint}", "");
            }
            if !row.steps.is_empty() {
                let _ = writeln!(text, "{:<22} for {}", "", some(&row.steps));
            }
        }
    }
    let count = |level| rows.iter().filter(|row| row.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let verdict = if faults == 0 { "ready" } else { "not ready" };
    let _ = writeln!(
        text,
        "\n{verdict}: {} looked at in {:.1} s, {faults} fault{}, {warnings} warning{}",
        rows.len(),
        took.as_secs_f64(),
        s(faults),
        s(warnings)
    );
    text
}

fn some(steps: &[String]) -> String {
    let mut text = steps.iter().take(NAMED).map(|step| format!("`{step}`")).collect::<Vec<_>>();
    if steps.len() > NAMED {
        text.push(format!("and {} more", steps.len() - NAMED));
    }
    text.join(", ")
}

/// What will run, step by step.
fn steps(text: &mut String, lock: &Lock, path: Option<&Path>) {
    text.push('\n');
    for step in &lock.steps {
        let _ = writeln!(text, "{} · {}", step.step, step.now.word());
        for line in step.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    if let Some(path) = path {
        let _ = writeln!(
            text,
            "\nlocked: {} steps and {} files in `{}`",
            lock.steps.len(),
            lock.files.len() + lock.arguments.len() + 1 + usize::from(lock.estate.is_some()),
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(area: &'static str, name: &str, level: Level, found: &str) -> Row {
        Row { area, name: name.into(), level, found: found.into(), hint: None, steps: Vec::new() }
    }

    #[test]
    fn faults_stand_line_by_line_and_the_rest_by_heading() {
        let mut rows = vec![row("window", "window", Level::Ok, "none")];
        for line in ["a", "b", "c", "d"] {
            rows.push(row("databases", line, Level::Ok, "3 tables"));
        }
        rows.push(row("databases", "e", Level::Warning, "slow"));
        rows.push(row("databases", "f", Level::Fault, "gone"));
        let last = rows.last_mut().expect("a row");
        last.hint = Some("look for it".into());
        last.steps = ["s[1]", "s[2]", "s[3]", "s[4]"].map(str::to_owned).into();
        insta::assert_snapshot!(page("p", Some("e"), &rows, Duration::from_millis(1234)), @r"
        Preflight of `p` on estate `e`; nothing was changed

        window        ok       none
        databases     ok       4 looked at
                      FAULT    f: gone
                               hint: look for it
                               for `s[1]`, `s[2]`, `s[3]`, and 1 more
                      warning  e: slow

        not ready: 7 looked at in 1.2 s, 1 fault, 1 warning
        ");
    }
}
