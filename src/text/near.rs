//! What a misspelt name was probably meant to be.

/// The candidate that is near enough to `name` to be worth a question, nearest first written.
pub fn near<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Distance is quadratic in length: nobody means a name of a thousand letters.
    if name.is_empty() || name.len() > 100 {
        return None;
    }
    let folded = name.to_lowercase().replace('_', "-");
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().filter(|c| c.len() <= 100 && *c != name) {
        let other = candidate.to_lowercase().replace('_', "-");
        let bound = other.chars().count().max(folded.chars().count()).div_ceil(3);
        let bound = bound.clamp(1, 4);
        let longer = other.len() > folded.len() && folded.len() > 2;
        let distance = if other == folded {
            0
        } else if longer && other.split(['-', '.', '/', '@']).any(|part| part == folded) {
            bound
        } else if other.len().abs_diff(folded.len()) > 4 * bound {
            continue;
        } else {
            strsim::damerau_levenshtein(&folded, &other)
        };
        if distance <= bound && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or nothing.
pub fn did_you_mean<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    near(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// What is odd about a name in which a letter stands that only looks like one of ours, or that
/// nobody sees: no name of a plan or an estate has any.
pub fn foreign(name: &str) -> Option<String> {
    let odd = name.chars().find(|c| !c.is_ascii())?;
    let code = u32::from(odd);
    Some(format!("the name holds `{odd}` (U+{code:04X}): not the letter that it may look like"))
}

/// The names in backticks, with commas, at most 12 of them.
pub fn listed<'c>(names: impl IntoIterator<Item = &'c str>) -> String {
    let mut out = String::new();
    for (place, name) in names.into_iter().enumerate() {
        if place == 12 {
            out.push_str(", ...");
            break;
        }
        if place > 0 {
            out.push_str(", ");
        }
        out.push('`');
        out.push_str(name);
        out.push('`');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_seen_through() {
        let names = ["needs", "retry", "timeout", "verify-ocsp", "point_of_no_return"];
        for (slip, meant) in [
            ("need", Some("needs")),
            ("ned", Some("needs")),
            ("verfy-ocsp", Some("verify-ocsp")),
            ("point-of-no-return", Some("point_of_no_return")),
            ("Timeout", Some("timeout")),
            ("ocsp", Some("verify-ocsp")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(near(slip, names), meant, "{slip}");
        }
    }
}
