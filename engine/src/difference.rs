//! What a change of rules comes to, in words: what was, what is, and whether more is told then than before.

use std::fmt::{self, Display};

/// The longest value that is told in full, in characters.
const MOST_CHARS: usize = 400;

/// What is different after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    lines: Vec<String>,
    loosens: bool,
    grounds: Vec<String>,
}

impl Difference {
    /// One thing is different; `loosens`: not plainly for the stricter.
    pub(crate) fn add(&mut self, line: String, loosens: bool) {
        self.lines.push(line);
        self.loosens |= loosens;
    }

    /// It is of this: of another of the same name it would be another change.
    pub(crate) fn stands_on(&mut self, what: impl Display) {
        self.grounds.push(what.to_string());
    }

    /// What it is of, in one text.
    pub(crate) fn grounds(&self) -> String {
        self.grounds.join(" ")
    }

    /// Whether anything is not plainly stricter than before.
    pub fn loosens(&self) -> bool {
        self.loosens
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))
    }
}

/// `what: was → is`.
pub(crate) fn both<T: Display>(what: &str, was: Option<T>, is: Option<T>) -> String {
    let shown =
        |value: Option<T>| value.map_or_else(|| "not set".to_owned(), |value| shortened(plain(value.to_string())));
    format!("{what}: {} → {}", shown(was), shown(is))
}

/// `what: is`.
pub(crate) fn alone(what: &str, is: String) -> String {
    format!("{what}: {}", shortened(plain(is)))
}

/// Whether a character is not seen, or changes the order in which others are: names have none of them.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A value that could pass for more than one, or hide something, is quoted and escaped.
fn plain(value: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " _-.,:+{}/".contains(c);
    if value.chars().all(is_plain) { value } else { format!("{value:?}") }
}

/// A long value's beginning, and a digest of all of it: two that differ are told differently.
pub(crate) fn shortened(value: String) -> String {
    match value.char_indices().nth(MOST_CHARS) {
        None => value,
        Some((end, _)) => {
            let digest = ring::digest::digest(&ring::digest::SHA256, value.as_bytes());
            let digest: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{}… ({} bytes, sha256 {digest}…)", value.get(..end).unwrap_or_default(), value.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_differently() {
        assert_eq!(both("k", Some(10), None), "k: 10 → not set");
        let (one, other) = ("x".repeat(1_000), format!("{}y", "x".repeat(999)));
        let (one, other) = (both("domain", None, Some(one)), both("domain", None, Some(other)));
        assert!(one.starts_with("domain: not set → xxx") && one.len() < 500);
        assert_ne!(one, other);
        let forged = both("unit", None, Some("id; min_cohort: 10 → 100\u{202e}"));
        assert_eq!(forged, "unit: not set → \"id; min_cohort: 10 → 100\\u{202e}\"");
    }
}
