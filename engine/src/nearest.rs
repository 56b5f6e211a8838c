//! "Did you mean": the nearest of the names that there are.

use crate::error::Error;

/// Adds a hint with the nearest name, or, if none is near, with all of them (at most 30).
pub(crate) fn did_you_mean<'a>(error: Error, written: &str, names: impl IntoIterator<Item = &'a str>) -> Error {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(written, names.iter().copied()) {
        Some(name) => error.hint(format!("Did you mean \"{name}\"?")),
        None if names.is_empty() => error,
        None => {
            let shown: Vec<&str> = names.iter().copied().take(30).collect();
            error.hint(format!("There are: {}.", shown.join(", ")))
        }
    }
}

/// The name that needs the fewest edits, if that is at most a third of its length (and at least one edit is allowed).
pub(crate) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any name of ours: not worth comparing.
    if written.len() > 100 {
        return None;
    }
    let written = written.to_lowercase();
    names
        .into_iter()
        .map(|name| (edits(&written, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            let value = (above + 1).min(left + 1).min(diagonal + usize::from(from != *to));
            diagonal = above;
            left = value;
            *cell = value;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, distance) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("node_idd", "node_id", 1),
            ("é", "e", 1),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
            assert_eq!(edits(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn far_names_are_not_suggested() {
        assert_eq!(nearest("min_cohrt", ["min_cohort", "unit"]), Some("min_cohort"));
        assert_eq!(nearest("weather", ["min_cohort", "unit"]), None);
    }
}
