//! Outputs of a step that a check finds done: nobody saw its command end.
//!
//! The check's own stdout counts first, so that a check can print what the step would; then what the
//! newest attempt printed before it was cut off, whole lines only. What an older attempt printed was of
//! another deed: to take it would be a guess. What neither holds stays missing, and is said where it is
//! used. Not known here: whether anybody uses it.

use crate::event::Outputs;
use std::fs;
use std::path::Path;

/// Looks for every promised output.
pub(super) fn after_check(
    patterns: &[(&str, regex_lite::Regex)],
    check: &str,
    attempt_dir: &Path,
) -> Outputs {
    let mut outputs = Outputs::new();
    if patterns.is_empty() {
        return outputs;
    }
    let printed = attempt_dir.parent().and_then(printed);
    for (name, pattern) in patterns {
        let mut texts = std::iter::once(check).chain(printed.as_deref());
        let found = texts.find_map(|text| pattern.captures(text));
        if let Some(value) = found.and_then(|found| found.get(1).or_else(|| found.get(0))) {
            outputs.insert((*name).to_owned(), value.as_str().to_owned());
        }
    }
    outputs
}

/// What the step's newest attempt printed. The output of a command is kept bounded.
fn printed(step: &Path) -> Option<String> {
    let attempts = fs::read_dir(step).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number: u32 = path.file_name()?.to_str()?.strip_prefix("do-")?.parse().ok()?;
        Some((number, path))
    });
    let (_, newest) = attempts.max()?;
    let bytes = fs::read(newest.join("stdout")).ok()?;
    // Half a line may hold half a number.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Some(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_asked_first_then_only_the_newest_attempt_and_whole_lines_only() {
        let step = tempfile::tempdir().expect("a directory");
        let write = |attempt: &str, text: &str| {
            fs::create_dir(step.path().join(attempt)).expect("made");
            fs::write(step.path().join(attempt).join("stdout"), text).expect("written");
        };
        let pattern = regex_lite::Regex::new("build ([0-9]+)").expect("a pattern");
        let patterns = [("build", pattern)];
        let found = |check: &str| {
            let outputs = after_check(&patterns, check, &step.path().join("check-4"));
            outputs.get("build").cloned()
        };
        assert_eq!(found("done"), None);
        write("do-2", "build 42\n");
        write("undo-9", "build 1\n");
        assert_eq!(found("done").as_deref(), Some("42"));
        write("do-10", "starting\nbuild 4");
        assert_eq!(found("done"), None, "a half line is none, and 42 was of another deed");
        write("do-11", "build 43\nbye");
        assert_eq!(found("done").as_deref(), Some("43"));
        assert_eq!(found("build 7").as_deref(), Some("7"));
    }
}
