//! PostgreSQL 15's words, and which names they may be: `word category label`, where `f` says that AS must stand before it.

use std::sync::LazyLock;

/// Where a word may be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    /// Anywhere.
    Unreserved,
    /// Of columns and tables, not of functions and types.
    ColumnName,
    /// Of functions and types, not of columns and tables.
    FunctionName,
    /// Nowhere.
    Reserved,
}

impl Category {
    /// As `pg_get_keywords()` has it: a letter, and what it means.
    pub(crate) fn described(self) -> (&'static str, &'static str) {
        match self {
            Category::Unreserved => ("U", "unreserved"),
            Category::ColumnName => ("C", "unreserved (cannot be function or type name)"),
            Category::FunctionName => ("T", "reserved (can be function or type name)"),
            Category::Reserved => ("R", "reserved"),
        }
    }
}

/// A word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword {
    pub word: &'static str,
    pub category: Category,
    /// Whether it may name a column without AS.
    pub is_bare_label: bool,
}

/// All of them, in the order of the alphabet.
pub(crate) static KEYWORDS: LazyLock<Vec<Keyword>> =
    LazyLock::new(|| include_str!("data/keywords.txt").lines().filter_map(parse).collect());

fn parse(line: &'static str) -> Option<Keyword> {
    let mut parts = line.split(' ');
    let word = parts.next()?;
    let category = match parts.next()? {
        "U" => Category::Unreserved,
        "C" => Category::ColumnName,
        "T" => Category::FunctionName,
        "R" => Category::Reserved,
        _ => return None,
    };
    Some(Keyword { word, category, is_bare_label: parts.next()? == "t" })
}

/// What a word may name; `None` for one that is no keyword. It is looked for in lower case.
pub(crate) fn category(word: &str) -> Option<Category> {
    let at = KEYWORDS.binary_search_by(|keyword| keyword.word.cmp(word)).ok()?;
    KEYWORDS.get(at).map(|keyword| keyword.category)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_found() {
        assert_eq!(KEYWORDS.len(), include_str!("data/keywords.txt").lines().count());
        for keyword in KEYWORDS.iter() {
            assert_eq!(category(keyword.word), Some(keyword.category), "{}", keyword.word);
        }
        assert_eq!((category("where"), category("left")), (Some(Category::Reserved), Some(Category::FunctionName)));
        assert_eq!((category("between"), category("patients")), (Some(Category::ColumnName), None));
    }
}
