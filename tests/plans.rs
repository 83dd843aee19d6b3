//! Broken plans and estates, each with the message that its author gets. The messages are the
//! snapshots, so that their prose is reviewed like code.
//!
//! `NAME.estate.yaml` is an estate, every other file a plan. A plan whose first line is
//! `# estate: FILE` is bound to that estate.

#[path = "plans/endure.rs"]
mod endure;
#[path = "grown/mod.rs"]
#[expect(dead_code, reason = "each user takes a part of it")]
mod grown;
#[path = "plans/hostile.rs"]
mod hostile;
#[path = "plans/random.rs"]
mod random;

use cutover::estate;
use cutover::load::load;
use cutover::text::fault::{Fault, render};
use std::path::Path;

/// What `cutover check` says of a file: read, bound, expanded, proved. An error without an estate's
/// own file is of the plan.
fn judge(path: &Path, text: &str) -> Result<(), Vec<Fault>> {
    let name = Path::new(path.file_name().expect("a file"));
    if name.to_string_lossy().ends_with(".estate.yaml") {
        return estate::read(name, text).map(|_| ());
    }
    let bound = text.lines().next().and_then(|line| line.strip_prefix("# estate: "));
    let bound = bound.map(|file| {
        let path = path.parent().expect("a directory").join("..").join(file);
        let text = std::fs::read_to_string(&path).expect("the estate is there");
        (path, text)
    });
    let bound = bound.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
    match load(name, text, bound) {
        Ok(_) => Ok(()),
        Err(faults) => {
            assert_eq!(faults.files.len(), 1, "the estate is good: {faults:#?}");
            Err(faults.files.into_iter().flat_map(|file| file.faults).collect())
        }
    }
}

fn message(path: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned();
    let name = Path::new(path.file_name().expect("a file"));
    match judge(path, &text) {
        Ok(()) => panic!("{} is not broken", path.display()),
        Err(faults) => render(&faults, name, &text),
    }
}

#[test]
fn every_broken_file_says_what_is_wrong_with_it() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::glob!("plans/broken/*.yaml", |path| {
            insta::assert_snapshot!("broken", message(path));
        });
    });
}

/// The plan of 6 April 2019 is proved; each thing that holds it, taken away, is missed.
mod the_move {
    use super::{load, render};
    use std::path::Path;

    const PLAN: &str = include_str!("../plans/2019-04-06.yaml");

    /// What `check` says of the plan with pieces of its text replaced.
    fn without(changes: &[(&str, &str)]) -> String {
        let mut text = PLAN.to_owned();
        for (old, new) in changes {
            assert_eq!(text.matches(old).count(), 1, "`{old}` stands once in the plan");
            text = text.replace(old, new);
        }
        let path = Path::new("2019-04-06.yaml");
        match load(path, &text, None) {
            Ok(loaded) => {
                let files = loaded.warnings.iter();
                let mut told: String =
                    files.map(|file| render(&file.faults, path, &text)).collect();
                for bound in &loaded.proof.bounds {
                    told.push_str(&format!("{bound}\n"));
                }
                format!("{told}{} states\n", loaded.proof.states)
            }
            Err(faults) => {
                let [file] = faults.files.as_slice() else { panic!("one file: {faults:#?}") };
                render(&file.faults, path, &text)
            }
        }
    }

    #[test]
    fn is_proved() {
        insta::assert_snapshot!(without(&[]));
    }

    #[test]
    fn needs_its_upgrades_one_after_the_other() {
        let told =
            without(&[("host: [ocsp-1, ocsp-2], serial: true }", "host: [ocsp-1, ocsp-2] }")]);
        insta::assert_snapshot!(told);
    }

    #[test]
    fn needs_the_new_ocsp_up_before_the_old_is_disabled() {
        let told = without(&[
            (
                "    needs: [{ all: enable-ocsp }]    # all of its instances, not the paired one\n",
                "    needs: [verify]\n",
            ),
            ("    needs: [disable-old-ocsp]\n", "    needs: [disable-old-ocsp, enable-ocsp]\n"),
        ]);
        insta::assert_snapshot!(told);
    }

    #[test]
    fn needs_the_old_ocsp_not_drained() {
        let told = without(&[("  disable-old-ocsp:\n", "  disable-old-ocsp:\n    kind: drain\n")]);
        insta::assert_snapshot!(told);
    }

    #[test]
    fn needs_one_writer_at_a_time() {
        let told = without(&[
            (
                "    needs: [snapshot, upgrade-database]\n",
                "    needs: [snapshot, upgrade-database, early-writer]\n",
            ),
            (
                "  upgrade-database:\n",
                "  early-writer:\n    for_each: { line: all }\n    do: { role.promote: { role: \"writer@to/${{ line }}\" } }\n\n  upgrade-database:\n",
            ),
            (
                "    needs: [go-live]                 # and through it fence-old-writer: never two writers\n    do: { role.promote: { role: \"writer@to/${{ line }}\" } }\n",
                "    needs: [go-live]\n    run: [\"true\"]\n    undo: { run: [\"true\"] }\n",
            ),
        ]);
        insta::assert_snapshot!(told);
    }

    /// A line goes back alone; the plan without it is proved, too.
    #[test]
    fn holds_without_any_one_line() {
        let text = PLAN.replace("on_failure: rollback\n", "on_failure: rollback-line\n");
        let loaded = load(Path::new("p.yaml"), &text, None).expect("proved");
        assert_eq!(loaded.proof.lines_alone.len(), 6);
    }
}

/// The transition's own numbers: the same plan and seed give the same page, and it fits.
#[test]
fn the_transition_fits_into_its_window() {
    use cutover::proof::window::{Learned, Options, Times, in_turn, judge};
    use std::fmt::Write as _;
    let text = include_str!("../plans/2019-04-06.yaml");
    let loaded = load(Path::new("plan.yaml"), text, None).expect("a good plan");
    let graph = &loaded.graph;
    let times = Times::new(graph, &Learned::default());
    let outlook = judge(graph, &times, &Options::default(), &in_turn).expect("it has estimates");
    assert_eq!(outlook.warnings, []);
    let window = outlook.window.as_ref().expect("it has a window");
    assert_eq!((window.executions, window.inside), (10_000, 10_000));
    assert_eq!(window.no_way_back().count(), 0, "a rollback fits at every moment");
    let mut page = cutover::report::outlook::text(graph, &outlook);
    page.push('\n');
    for it in &window.turn_back {
        let (name, takes) = (graph.name(it.step), it.rollback);
        let _ = writeln!(page, "{name}: begun after {:#}, back by {}, {takes:#}", it.at, it.by);
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("window@2019-04-06", page);
    });
}
