//! The faults put into the core by hand (reliability.md section 6): the patch still fits the sources, and
//! has them all. That each is found is for `tests/mutants/run.sh`, which needs a build of its own.

use std::path::Path;

/// One hunk: what stands there without the patch, line by line.
struct Hunk {
    file: String,
    old: Vec<String>,
}

fn hunks(patch: &str) -> Vec<Hunk> {
    let (mut hunks, mut file) = (Vec::<Hunk>::new(), String::new());
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- ") {
            file = path.trim_start_matches("a/").to_owned();
        } else if line.starts_with("+++ ")
            || line.starts_with("diff ")
            || line.starts_with("index ")
        {
        } else if line.starts_with("@@") {
            hunks.push(Hunk { file: file.clone(), old: Vec::new() });
        } else if let Some(hunk) = hunks.last_mut()
            && let Some(old) = line.strip_prefix([' ', '-'])
        {
            hunk.old.push(old.to_owned());
        }
    }
    hunks
}

#[test]
fn the_patch_of_faults_fits_and_has_them_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patch = std::fs::read_to_string(root.join("tests/mutants/core.patch")).expect("the patch");
    for Hunk { file, old } in hunks(&patch) {
        if file == "/dev/null" {
            continue;
        }
        let text = std::fs::read_to_string(root.join(&file)).expect("a patched file");
        let lines: Vec<&str> = text.lines().collect();
        let fits = lines.windows(old.len()).any(|window| window == old);
        assert!(fits, "tests/mutants/core.patch no longer fits {file}:\n{}", old.join("\n"));
    }
    for number in 1..=18 {
        let direct = patch.contains(&format!("mutant::is({number})"));
        let of_the_disk = patch.contains(&format!("({number}, "));
        assert!(direct || of_the_disk, "fault {number} is not in the patch");
    }
}
